//! Errors of S3, sorted into those that the origin tells apart.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::ErrorKind;
use nearedge_core::object::ObjectKey;
use nearedge_core::store::{FetchError, Missing};

use crate::storage::s3::limits::FIRST_BYTE_TIMEOUT;

/// The error of a request to S3. The text is for logs and holds no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum S3Error {
    /// The circuit breaker rejected the request.
    #[error("circuit breaker open: S3 timed out less than 1 s ago")]
    CircuitOpen,
    /// The invocation's deadline has passed.
    #[error("request not sent to S3: the invocation has no time left")]
    NoTimeLeft,
    /// All connections were in use until the deadline.
    #[error("request not sent to S3: all connections are in use, as many as the limit of open files allows")]
    NoConnection,
    /// S3 did not respond before the deadline.
    #[error("no response from S3 within {} ms{}", waited.as_millis(), after(retried.as_ref()))]
    Deadline {
        /// How long the request waited.
        waited: Duration,
        /// Why the first attempt failed, if the deadline passed during the second.
        retried: Option<String>,
    },
    /// S3 sent an error response. S3's own message is left out: it repeats the signed request, and with it the session
    /// token.
    #[error("S3 responded {status} {code} (request id {request_id}){}", advice.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Status {
        /// The HTTP status.
        status: u16,
        /// S3's error code.
        code: String,
        /// S3's request id, for AWS Support.
        request_id: String,
        /// How to fix it.
        advice: Option<Cow<'static, str>>,
    },
    /// A timeout of the SDK.
    #[error("no response from S3")]
    Timeout(#[source] Box<dyn Error + Send + Sync>),
    /// The connection could not be opened, or failed before the response was complete.
    #[error("S3 cannot be reached")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// The connection failed within an error response.
    #[error("S3 closed the connection within its response")]
    Aborted(#[source] Box<dyn Error + Send + Sync>),
    /// The body ended early, twice.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The request could not be built, or the response could not be parsed.
    #[error("request not sent, or unexpected response from S3")]
    Unexpected(#[source] Box<dyn Error + Send + Sync>),
    /// The response holds another range than the request.
    #[error("S3 responded with another range than requested")]
    WrongRange,
    /// S3 answered a condition or a range that the request did not have.
    #[error("S3 responded {0} to a request without {1}")]
    Unrequested(u16, &'static str),
    /// The object changed between two requests for it, twice.
    #[error("the object changed in S3 during each of two attempts to read it")]
    ObjectChanged,
    /// No URL could be signed.
    #[error("cannot sign a URL")]
    Presign(#[source] Box<dyn Error + Send + Sync>),
    /// No URL could be signed: there are no credentials.
    #[error("cannot sign a URL: the function has no credentials")]
    NoCredentials,
    /// No URL could be signed: the credentials expire now.
    #[error("cannot sign a URL: the credentials expire now")]
    CredentialsExpire,
    /// The credentials did not arrive before the deadline.
    #[error("cannot sign a URL: no credentials before the deadline")]
    CredentialsTimeout,
}

fn after(retried: Option<&String>) -> String {
    retried.map(|error| format!(", after {error}")).unwrap_or_default()
}

/// How a body ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection failed.
    #[error("S3 closed the connection within the body")]
    Aborted(#[source] Box<dyn Error + Send + Sync>),
    /// S3 paused for too long.
    #[error("S3 sent nothing for {} ms within the body", FIRST_BYTE_TIMEOUT.as_millis())]
    Stalled,
    /// The body is shorter or longer than its Content-Length.
    #[error("S3 sent {sent} of {expected} bytes")]
    WrongLength {
        /// Bytes received.
        sent: u64,
        /// Bytes announced.
        expected: u64,
    },
}

/// The HTTP status of an error response.
pub(super) fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The error codes with which S3 (none), SeaweedFS and MinIO reject the name of a key.
const INVALID_NAME_CODES: [&str; 5] =
    ["(no code)", "InvalidURI", "InvalidRequest", "XMinioInvalidObjectName", "XMinioInvalidResourceName"];

/// The advice for an object that is encrypted with a key of the client
/// ([SSE-C](https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html)).
const SSE_C_ADVICE: &str = "the object is encrypted with a key of the client (SSE-C), which nearedge does not have: upload it \
    with SSE-S3 or SSE-KMS";

/// Why S3 refuses this object although it serves others: the advice for the log. `None` for other errors.
///
/// [S3 error codes](https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList)
fn refusal(status: u16, code: &str, message: &str) -> Option<&'static str> {
    match (status, code) {
        (_, "InvalidObjectState") => {
            Some("the object is archived: restore it, or copy it to a storage class that S3 reads at once")
        }
        // The code has other meanings too, such as an unsupported signature.
        (400, "InvalidRequest") if message.contains("Server Side Encryption") => Some(SSE_C_ADVICE),
        (_, "ServerSideEncryptionConfigurationNotFoundError") => Some(SSE_C_ADVICE),
        // Throttled and internal errors of KMS pass by themselves.
        (_, code) if code.starts_with("KMS.") && !code.contains("Throttl") && !code.contains("Internal") => Some(
            "S3 cannot use the object's KMS key: enable it, cancel its deletion, or encrypt the object with another key",
        ),
        (404, "NoSuchVersion") | (410, _) => Some("this version of the object no longer exists: upload it again"),
        (451, _) => Some("the storage withholds the object for legal reasons"),
        _ => None,
    }
}

/// The action that an AccessDenied message names, such as `s3:GetObject`
/// ([access denied messages](https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html)).
fn denied_action(message: &str) -> Option<&str> {
    let is_separator =
        |char: char| !(char.is_ascii_alphanumeric() || matches!(char, ':' | '-' | '*' | '/' | '.' | '_'));
    message.split(is_separator).map(|word| word.trim_end_matches('.')).find(|word| {
        word.split_once(':').is_some_and(|(service, action)| {
            // An ARN has more colons, and a service is lower case.
            let is_service = !service.is_empty()
                && service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            let is_action = action.starts_with(|first: char| first.is_ascii_uppercase())
                && action.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'*');
            is_service && is_action
        })
    })
}

/// Sorts an error of the SDK into the kinds that the origin tells apart.
pub(super) fn fetch_error<E>(error: SdkError<E, HttpResponse>, key: &ObjectKey) -> FetchError
where
    E: ProvideErrorMetadata + RequestId + Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or("(no code)");
            // Only inspected, and never logged: it may repeat the signed request.
            let message = service.err().message().unwrap_or_default();
            let cause = |advice: Option<Cow<'static, str>>| {
                let request_id = service.err().request_id().unwrap_or("unknown").to_owned();
                S3Error::Status { status, code: code.to_owned(), request_id, advice }.into()
            };
            let advised = |advice: &'static str| cause(Some(Cow::Borrowed(advice)));
            if let Some(advice) = refusal(status, code, message) {
                return FetchError::Refused(advised(advice));
            }
            match (status, code) {
                // A key that is too long cannot exist.
                (404, "NoSuchKey") | (400, "KeyTooLongError") => FetchError::Missing(Missing::NoSuchKey),
                // Neither can a key with `..` on a server that rejects such names.
                (400, code) if key.has_dot_segment() && INVALID_NAME_CODES.contains(&code) => {
                    FetchError::Missing(Missing::NoSuchKey)
                }
                // S3 denies a missing key to a role without s3:ListBucket. Any other action is really denied.
                (403, "AccessDenied") => match denied_action(message) {
                    None | Some("s3:ListBucket") => FetchError::Missing(Missing::AccessDenied),
                    Some(action) if message.contains("explicit deny") => {
                        FetchError::Failed(cause(Some(Cow::Owned(format!(
                            "a policy denies {action} explicitly: remove that statement, or exempt the function's role"
                        )))))
                    }
                    Some(action) => FetchError::Failed(cause(Some(Cow::Owned(format!(
                        "the function's role lacks {action}: allow it in the role's policy and in that of the bucket or key"
                    ))))),
                },
                (429 | 503, _) | (_, "SlowDown" | "RequestLimitExceeded" | "ServiceUnavailable") => {
                    FetchError::Unavailable(cause(None))
                }
                (_, code) if code.contains("Throttl") => FetchError::Unavailable(cause(None)),
                (408 | 504, _) | (_, "RequestTimeout") => FetchError::TimedOut(cause(None)),
                (404, "NoSuchBucket") => FetchError::Failed(advised("check the setting bucket")),
                (301, _) | (_, "AuthorizationHeaderMalformed") => {
                    FetchError::Failed(advised("check that AWS_REGION is the bucket's region"))
                }
                _ => FetchError::Failed(cause(None)),
            }
        }
        SdkError::TimeoutError(_) => FetchError::TimedOut(S3Error::Timeout(error.into()).into()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            FetchError::TimedOut(S3Error::Timeout(error.into()).into())
        }
        // The SDK reports a connection that breaks before the response is complete as "other, transient".
        SdkError::DispatchFailure(failure)
            if failure.is_io() || failure.as_other() == Some(ErrorKind::TransientError) =>
        {
            FetchError::Unavailable(S3Error::Connection(error.into()).into())
        }
        // An error response whose body is cut off does not say what failed.
        SdkError::ResponseError(_) if has_io_source(&error) => {
            FetchError::Unavailable(S3Error::Aborted(error.into()).into())
        }
        _ => FetchError::Failed(S3Error::Unexpected(error.into()).into()),
    }
}

/// Whether the connection caused the error, and not the content of the response.
fn has_io_source(error: &dyn Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if error.is::<std::io::Error>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_denied_message_names_its_action() {
        let user = "User: arn:aws:sts::123456789012:assumed-role/Role/lambdaapi is not authorized to perform: ";
        for (message, action) in [
            ("Access Denied", None),
            ("", None),
            (
                &format!(
                    "{user}s3:ListBucket on resource: \"arn:aws:s3:::site\" because no identity-based policy allows the s3:ListBucket action"
                ),
                Some("s3:ListBucket"),
            ),
            (
                &format!(
                    "{user}s3:GetObject on resource: \"arn:aws:s3:::site/a\" with an explicit deny in a resource-based policy"
                ),
                Some("s3:GetObject"),
            ),
            (
                &format!(
                    "{user}kms:Decrypt on resource: arn:aws:kms:us-east-1:1:key/2 because no resource-based policy allows it."
                ),
                Some("kms:Decrypt"),
            ),
            ("not authorized to perform: s3-object-lambda:GetObject.", Some("s3-object-lambda:GetObject")),
            ("see https://example.com/A:B for arn:aws:s3:::Site/Key", None),
        ] {
            assert_eq!(denied_action(message), action, "{message}");
        }
    }

    #[test]
    fn only_refusals_of_the_object_itself_are_refusals() {
        for (status, code, message) in [
            (403, "InvalidObjectState", ""),
            (400, "InvalidRequest", "The object was stored using a form of Server Side Encryption. …"),
            (400, "KMS.DisabledException", ""),
            (400, "KMS.NotFoundException", ""),
            (400, "KMS.KMSInvalidStateException", ""),
            (451, "(no code)", ""),
        ] {
            assert!(refusal(status, code, message).is_some(), "{code}");
        }
        for (status, code, message) in [
            (400, "InvalidRequest", "Please use AWS4-HMAC-SHA256."),
            (403, "AccessDenied", ""),
            (400, "KMS.ThrottlingException", ""),
            (500, "KMS.InternalException", ""),
            (403, "SignatureDoesNotMatch", ""),
            (404, "NoSuchKey", ""),
        ] {
            assert!(refusal(status, code, message).is_none(), "{code}");
        }
    }
}
