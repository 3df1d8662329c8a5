//! The errors with which S3 refuses to read an object that may exist.
//!
//! The texts of the denials are those of
//! [access denied messages](https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html). The
//! codes of KMS are those of [Decrypt](https://docs.aws.amazon.com/kms/latest/APIReference/API_Decrypt.html), after
//! `KMS.`, with which S3 passes them on.

use http::StatusCode;
use s3s::{S3Error, S3ErrorCode, s3_error};

use crate::fault::Refusal;

/// The role of the denials. The account is the one of AWS's examples.
const ROLE: &str = "arn:aws:sts::123456789012:assumed-role/lambdaapi/lambdaapi";

/// The KMS key of the errors.
const KMS_KEY: &str = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The error of a denial that does not depend on whether the key exists.
pub(crate) fn denied(refusal: Option<Refusal>, bucket: &str, key: &str) -> Option<S3Error> {
    match refusal? {
        Refusal::Denied => Some(s3_error!(AccessDenied, "Access Denied")),
        Refusal::ExplicitDeny => Some(s3_error!(
            AccessDenied,
            "User: {ROLE} is not authorized to perform: s3:GetObject on resource: \"arn:aws:s3:::{bucket}/{key}\" with \
             an explicit deny in a resource-based policy"
        )),
        _ => None,
    }
}

/// The error for a missing key and a role without `s3:ListBucket`.
pub(crate) fn list_denied(bucket: &str) -> S3Error {
    s3_error!(
        AccessDenied,
        "User: {ROLE} is not authorized to perform: s3:ListBucket on resource: \"arn:aws:s3:::{bucket}\" because no \
         identity-based policy allows the s3:ListBucket action"
    )
}

/// The error for an existing object whose KMS key cannot be used.
pub(crate) fn undecryptable(refusal: Option<Refusal>) -> Option<S3Error> {
    match refusal? {
        Refusal::KmsDenied => Some(s3_error!(
            AccessDenied,
            "User: {ROLE} is not authorized to perform: kms:Decrypt on resource: {KMS_KEY} because no identity-based \
             policy allows the kms:Decrypt action"
        )),
        Refusal::KmsDisabled => Some(kms("DisabledException", format!("{KMS_KEY} is disabled."))),
        Refusal::KmsPendingDeletion => Some(kms("KMSInvalidStateException", format!("{KMS_KEY} is pending deletion."))),
        Refusal::KmsNotFound => Some(kms("NotFoundException", format!("Key '{KMS_KEY}' does not exist"))),
        _ => None,
    }
}

fn kms(code: &str, message: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(format!("KMS.{code}").into()), message);
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

/// The error for a GET of an archived object
/// ([GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html)).
pub(crate) fn archived() -> S3Error {
    s3_error!(InvalidObjectState, "The operation is not valid for the object's storage class")
}

/// The error for a request without the key of an object under SSE-C
/// ([SSE-C](https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html)).
pub(crate) fn customer_key_missing() -> S3Error {
    s3_error!(
        InvalidRequest,
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
         retrieve the object."
    )
}

/// The error for a request with a key for an object that has none.
pub(crate) fn customer_key_unexpected() -> S3Error {
    s3_error!(InvalidRequest, "The encryption parameters are not applicable to this object.")
}

/// The error for a request with another key than the one of the object.
pub(crate) fn customer_key_wrong() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}
