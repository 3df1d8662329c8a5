//! Errors of S3, sorted into those that the origin tells apart.

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
    #[error("S3 responded {status} {code} (request id {request_id}){}", advice.map(|text| format!(": {text}")).unwrap_or_default())]
    Status {
        /// The HTTP status.
        status: u16,
        /// S3's error code.
        code: String,
        /// S3's request id, for AWS Support.
        request_id: String,
        /// How to fix it.
        advice: Option<&'static str>,
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
    /// The object changed between two requests for it.
    #[error("the object changed in S3 between two requests")]
    ObjectChanged,
    /// S3 refused a HEAD and accepted the GET after it.
    #[error("S3 refused the object and returned it a moment later")]
    ObjectAppeared,
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

/// Sorts an error of the SDK into the kinds that the origin tells apart.
pub(super) fn fetch_error<E>(error: SdkError<E, HttpResponse>, key: &ObjectKey) -> FetchError
where
    E: ProvideErrorMetadata + RequestId + Error + Send + Sync + 'static,
{
    match &error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or("(no code)");
            let cause = |advice| {
                let request_id = service.err().request_id().unwrap_or("unknown").to_owned();
                S3Error::Status { status, code: code.to_owned(), request_id, advice }.into()
            };
            match (status, code) {
                // A key that is too long cannot exist.
                (404, "NoSuchKey") | (400, "KeyTooLongError") => FetchError::Missing(Missing::NoSuchKey),
                // Neither can a key with `..` on a server that rejects such names.
                (400, code) if key.has_dot_segment() && INVALID_NAME_CODES.contains(&code) => {
                    FetchError::Missing(Missing::NoSuchKey)
                }
                (403, "AccessDenied") => FetchError::Missing(Missing::AccessDenied),
                (429 | 503, _) | (_, "SlowDown" | "RequestLimitExceeded" | "ServiceUnavailable") => {
                    FetchError::Unavailable(cause(None))
                }
                (408 | 504, _) | (_, "RequestTimeout") => FetchError::TimedOut(cause(None)),
                (404, "NoSuchBucket") => FetchError::Failed(cause(Some("check the setting bucket"))),
                (301, _) | (_, "AuthorizationHeaderMalformed") => {
                    FetchError::Failed(cause(Some("check that AWS_REGION is the bucket's region")))
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
