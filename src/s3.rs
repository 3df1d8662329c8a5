//! A [`Store`] over aws-sdk-s3: real requests, signed, over HTTP.

use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use aws_config::BehaviorVersion;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::ErrorKind;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::S3Config;
use crate::object::{BodyEncoder, FetchError, Missing, Object, ObjectKey, base64_bytes};
use crate::payload::PAYLOAD_BYTES_MAX;
use crate::store::{Part, Store};

/// The longest wait before the first retry; it doubles with each. The SDK's second is for batch jobs: a
/// viewer is waiting here.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// A bucket in S3.
#[derive(Debug, Clone)]
pub struct S3 {
    client: aws_sdk_s3::Client,
    bucket: String,
}

/// Why no client could be made: one line, without a secret.
pub type ConnectError = Box<dyn Error + Send + Sync>;

impl S3 {
    /// Makes a client; region, endpoint and credentials are the SDK's own variables.
    ///
    /// # Errors
    /// When the trust anchors cannot be used.
    pub async fn connect(config: &S3Config) -> Result<Self, ConnectError> {
        let trust = match &config.ca_bundle {
            Some(pem) => TrustStore::empty().with_pem_certificate(pem.clone()),
            None => TrustStore::default(),
        };
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(TlsContext::builder().with_trust_store(trust).build()?)
            .build_https();
        let sdk = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
        let retry =
            sdk.retry_config().cloned().unwrap_or_else(RetryConfig::standard).with_initial_backoff(FIRST_BACKOFF);
        let s3 =
            aws_sdk_s3::config::Builder::from(&sdk).force_path_style(config.path_style).retry_config(retry).build();
        Ok(Self { client: aws_sdk_s3::Client::from_conf(s3), bucket: config.bucket.clone() })
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, FetchError> {
        let request = self.client.get_object().bucket(&self.bucket).key(key.as_str());
        let output = request.send().await.map_err(|error| fetch_error(&error))?;
        let length = u64::try_from(output.content_length.unwrap_or(0)).unwrap_or(0);
        if base64_bytes(length) > PAYLOAD_BYTES_MAX {
            return Err(FetchError::TooLarge(length));
        }
        let mut encoder = BodyEncoder::with_capacity(usize::try_from(length).unwrap_or(0));
        read(output.body, &mut encoder).await?;
        let body = encoder.finish();
        if output.content_length.is_some() && body.bytes() != length {
            return Err(FetchError::Unavailable(format!("S3 sent {} of {length} bytes", body.bytes())));
        }
        Ok(Object { content_type: output.content_type, body })
    }

    async fn head(&self, key: &ObjectKey) -> Result<Object, FetchError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key.as_str());
        match request.send().await {
            Ok(output) => Ok(Object { content_type: output.content_type, ..Object::default() }),
            Err(error) if matches!(status_of(&error), Some(403 | 404)) => Err(self.reason(key).await),
            Err(error) => Err(fetch_error(&error)),
        }
    }

    /// The error of a HEAD has no body, so that a missing key, a missing bucket and a refused signature
    /// look alike: ask again in a way that is told the reason.
    async fn reason(&self, key: &ObjectKey) -> FetchError {
        match self.client.get_object().bucket(&self.bucket).key(key.as_str()).range("bytes=0-0").send().await {
            Ok(_) => FetchError::Unavailable("S3 has the object now and refused it a moment ago".to_owned()),
            Err(error) => fetch_error(&error),
        }
    }
}

impl Store for S3 {
    async fn fetch(&self, key: &ObjectKey, part: Part, deadline: Instant) -> Result<Object, FetchError> {
        let budget = deadline.saturating_duration_since(Instant::now());
        let fetched = async {
            match part {
                Part::Whole => self.get(key).await,
                Part::Head => self.head(key).await,
            }
        };
        if budget.is_zero() {
            return Err(FetchError::TimedOut("no time is left to ask S3".to_owned()));
        }
        // Dropping the call closes its connection: nothing of it outlives the invocation.
        tokio::time::timeout(budget, fetched)
            .await
            .unwrap_or_else(|_| Err(FetchError::TimedOut(format!("no answer from S3 in {} ms", budget.as_millis()))))
    }
}

async fn read(mut body: ByteStream, encoder: &mut BodyEncoder) -> Result<(), FetchError> {
    while let Some(chunk) = body.next().await {
        match chunk {
            Ok(chunk) => encoder.push(chunk),
            Err(error) => return Err(FetchError::Unavailable(format!("S3 broke off its answer: {}", chain(&error)))),
        }
    }
    Ok(())
}

fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Sorts S3's errors into those that the rules tell apart.
///
/// Only the code and the request id go into the text: S3's own messages repeat the request that was
/// signed, and with it the session token.
fn fetch_error<E>(error: &SdkError<E, HttpResponse>) -> FetchError
where
    E: ProvideErrorMetadata + RequestId + Error + 'static,
{
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let code = service.err().code().unwrap_or("(no code)");
            let text = || {
                let request_id = service.err().request_id().unwrap_or("unknown");
                format!("S3 answered {status} {code} (request id {request_id})")
            };
            match (status, code) {
                // A key that is too long cannot exist, however S3 puts it.
                (404, "NoSuchKey") | (400, "KeyTooLongError") => FetchError::Missing(Missing::NoSuchKey),
                (403, "AccessDenied") => FetchError::Missing(Missing::AccessDenied),
                (429 | 503, _) | (_, "SlowDown" | "RequestLimitExceeded" | "ServiceUnavailable") => {
                    FetchError::Unavailable(text())
                }
                (408 | 504, _) | (_, "RequestTimeout") => FetchError::TimedOut(text()),
                (404, "NoSuchBucket") => FetchError::Failed(format!("{}: check the setting bucket", text())),
                (301, _) | (_, "AuthorizationHeaderMalformed") => {
                    FetchError::Failed(format!("{}: check that AWS_REGION is the bucket's region", text()))
                }
                _ => FetchError::Failed(text()),
            }
        }
        SdkError::TimeoutError(_) => FetchError::TimedOut(format!("no answer from S3: {}", chain(error))),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            FetchError::TimedOut(format!("no answer from S3: {}", chain(error)))
        }
        // A connection that breaks before the answer is complete is "other, transient" to the SDK.
        SdkError::DispatchFailure(failure)
            if failure.is_io() || failure.as_other() == Some(ErrorKind::TransientError) =>
        {
            FetchError::Unavailable(format!("S3 cannot be reached: {}", chain(error)))
        }
        _ => FetchError::Failed(format!("S3 was not asked, or made no sense: {}", chain(error))),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// Checks that a PEM file holds certificates that can be trusted; the HTTP client would panic on others.
///
/// # Errors
/// With what is wrong, as the end of a sentence about the file.
pub(crate) fn check_certificates(pem: &[u8]) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("holds a certificate that cannot be used: {error}"))?;
    }
    if roots.is_empty() { Err("holds no certificate".to_owned()) } else { Ok(()) }
}
