//! A [`Store`] over aws-sdk-s3: signed requests over HTTP.
//!
//! - `request`: the requests that one fetch needs; `attempt`: interceptors; `response_fields`: repairs odd header fields
//! - `error`: S3's errors, sorted; `limits`: timeouts and retries; `circuit_breaker`: protection from an S3 that hangs
//! - `body_budget`: the memory of bodies in flight; `presign`: URLs for objects that do not fit into a response
//! - `opened`: bodies that are read while they are sent; `resolvers`: the endpoint, found out once

mod attempt;
mod body_budget;
mod circuit_breaker;
mod error;
mod limits;
mod opened;
mod presign;
mod request;
mod resolvers;
mod response_fields;

use std::error::Error;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aws_config::BehaviorVersion;
use aws_config::environment::{EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, ResponseChecksumValidation, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use nearedge_core::object::{Encoding, ObjectKey, Reservation};
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Part, Source, Store, StoreStats};
use tokio::sync::Semaphore;

use self::attempt::{Attempts, EachAttempt};
use self::body_budget::BodyBudget;
use self::circuit_breaker::{CallOutcome, CircuitBreaker, PROBE_TIMEOUT, Permit};
use self::error::{S3Error, fetch_error};
use self::limits::{
    ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, FIRST_BACKOFF, FIRST_BYTE_TIMEOUT, LAST_BACKOFF, RETRY_BURST, RETRY_COST,
};
use self::resolvers::{OneAuthScheme, OneEndpoint};
use crate::http_client;

/// Which bucket to use, beyond what the SDK reads from the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket's name, or an access point's ARN.
    pub bucket: String,
    /// Whether requests carry the bucket in the path instead of the host name, as servers other than AWS need.
    pub path_style: bool,
    /// PEM certificates to trust instead of the bundled ones.
    pub ca_bundle: Option<Vec<u8>>,
    /// Whether the environment holds the credentials, as in every Lambda: the SDK then searches nowhere else.
    pub credentials_in_env: bool,
    /// How bodies are kept in memory.
    pub encoding: Encoding,
}

/// The resources that requests may use at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections to S3.
    pub connections: usize,
    /// Memory for bodies until their responses are posted, in bytes of base64 text.
    pub body_bytes: u64,
}

/// A bucket in S3.
#[derive(Debug, Clone)]
pub struct S3 {
    client: aws_sdk_s3::Client,
    bucket: String,
    /// Kept for their expiry: a presigned URL does not outlive its credentials.
    credentials: Option<SharedCredentialsProvider>,
    attempts: Arc<Attempts>,
    breaker: Arc<CircuitBreaker>,
    connections: Arc<Semaphore>,
    bodies: BodyBudget,
    encoding: Encoding,
}

/// Why the client cannot be built: one line, without a secret.
pub type ConnectError = Box<dyn Error + Send + Sync>;

impl S3 {
    /// Builds a client. Region, endpoint, credentials and retries come from the SDK's own environment variables.
    ///
    /// # Errors
    /// If the trust anchors are unusable.
    pub async fn connect(config: &S3Config, limits: Limits) -> Result<Self, ConnectError> {
        let anchors = match &config.ca_bundle {
            Some(pem) => http_client::read_anchors(pem)?,
            None => http_client::bundled_anchors(),
        };
        let http = http_client::client(anchors, CONNECT_TIMEOUT)?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(
            // The attempt timeout covers the bodies of error responses, which the SDK reads completely.
            TimeoutConfig::builder()
                .read_timeout(FIRST_BYTE_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .build(),
        );
        // The configuration requires the variable. The default provider would also build a client of the instance metadata.
        loader = loader.region(EnvironmentVariableRegionProvider::new());
        if config.credentials_in_env {
            // As in every Lambda: skip the other providers and the profile files.
            loader = loader
                .credentials_provider(EnvironmentVariableCredentialsProvider::new())
                .profile_files(EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "").build());
        }
        let sdk = loader.load().await;
        let retry = sdk.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let tokens = TokenBucket::builder().capacity(RETRY_BURST * RETRY_COST).retry_cost(RETRY_COST as u32);
        let tokens = tokens.timeout_retry_cost(RETRY_COST as u32).throttling_retry_cost(RETRY_COST as u32);
        let attempts = Arc::new(Attempts::default());
        let s3 = Builder::from(&sdk)
            .force_path_style(config.path_style)
            .retry_config(retry.with_initial_backoff(FIRST_BACKOFF).with_max_backoff(LAST_BACKOFF))
            .retry_partition(RetryPartition::custom("nearedge").token_bucket(tokens.build()).build());
        let credentials = sdk.credentials_provider();
        Ok(Self {
            client: aws_sdk_s3::Client::from_conf(for_one_bucket(s3, &attempts).build()),
            bucket: config.bucket.clone(),
            credentials,
            attempts,
            breaker: Arc::default(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            bodies: BodyBudget::new(limits.body_bytes),
            encoding: config.encoding,
        })
    }

    /// The provider of the credentials that sign requests.
    pub fn credentials(&self) -> Option<&SharedCredentialsProvider> {
        self.credentials.as_ref()
    }

    /// Opens a connection for the next fetch with a HEAD of `key`. Any response will do.
    ///
    /// # Errors
    /// If S3 does not respond before `deadline`.
    pub async fn open_connection(&self, key: &ObjectKey, deadline: Instant) -> Result<(), FetchError> {
        let started = Instant::now();
        let call = self.client.head_object().bucket(&self.bucket).key(key.as_str()).send();
        let budget = deadline.saturating_duration_since(started);
        match tokio::time::timeout(budget, call).await {
            Ok(Err(error)) if error.raw_response().is_none() => Err(fetch_error(error, key)),
            Ok(_) => {
                self.breaker.record(CallOutcome::Responded);
                Ok(())
            }
            Err(_) => {
                if budget >= CONNECT_TIMEOUT {
                    self.breaker.suspect();
                }
                Err(FetchError::TimedOut(S3Error::Deadline { waited: started.elapsed(), retried: None }.into()))
            }
        }
    }
}

/// Changes the SDK's defaults for a client that reads the objects of one bucket.
fn for_one_bucket(config: Builder, attempts: &Arc<Attempts>) -> Builder {
    config
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // TLS protects every byte, and Content-Length their number.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .endpoint_resolver(OneEndpoint::default())
        .auth_scheme_resolver(OneAuthScheme::default())
        .interceptor(EachAttempt(attempts.clone()))
}

impl Store for S3 {
    async fn fetch(&self, request: &FetchRequest<'_>, deadline: Instant) -> FetchResponse {
        let failed = |error| FetchResponse::new(Err(error), Source::Bypass);
        let budget = deadline.saturating_duration_since(Instant::now());
        if budget.is_zero() {
            return failed(FetchError::TimedOut(S3Error::NoTimeLeft.into()));
        }
        // Before the clock starts: waiting for a connection says nothing about S3.
        let Ok(Ok(connection)) = tokio::time::timeout(budget, self.connections.clone().acquire_owned()).await else {
            return failed(FetchError::Busy(S3Error::NoConnection.into()));
        };
        let started = Instant::now();
        let budget = deadline.saturating_duration_since(started);
        let timeout = match self.breaker.acquire() {
            Permit::Normal => budget,
            Permit::Probe => budget.min(PROBE_TIMEOUT),
            Permit::Rejected => return failed(FetchError::Unavailable(S3Error::CircuitOpen.into())),
        };
        let body_error = OnceLock::new();
        let responses = self.attempts.responses.load(Ordering::Relaxed);
        let has_responded = || self.attempts.responses.load(Ordering::Relaxed) != responses;
        let call = async {
            match request.part {
                Part::Whole => self.get(request, &body_error).await,
                Part::Head => self.head(request).await,
            }
        };
        // Dropping the call closes its connection: it never outlives the invocation.
        let mut call = pin!(call);
        let mut result = tokio::time::timeout(timeout, &mut call).await;
        if result.is_err() && timeout < budget && has_responded() && body_error.get().is_none() {
            // S3 has sent response headers, so it is slow rather than down: let this call use the rest of its budget.
            result = tokio::time::timeout(budget.saturating_sub(started.elapsed()), &mut call).await;
        }
        let waited = started.elapsed();
        let result = result.unwrap_or_else(|_| {
            Err(FetchError::TimedOut(S3Error::Deadline { waited, retried: body_error.get().cloned() }.into()))
        });
        self.breaker.record(match &result {
            Err(error)
                if error.is_outage()
                    && waited >= FIRST_BYTE_TIMEOUT
                    && (!has_responded() || body_error.get().is_some()) =>
            {
                CallOutcome::TimedOut
            }
            Err(_) if !has_responded() => CallOutcome::Inconclusive,
            _ => CallOutcome::Responded,
        });
        if let Some(overflow) = request.overflow {
            overflow.hold(Reservation::new(connection));
        }
        FetchResponse { waited, ..FetchResponse::new(result, Source::Bypass) }
    }

    fn stats(&self) -> StoreStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStats {
            requests: count(&self.attempts.sent),
            retries: count(&self.attempts.retries),
            ..StoreStats::default()
        }
    }

    async fn presign(
        &self,
        key: &ObjectKey,
        part: Part,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<String, FetchError> {
        // The provider may have to fetch credentials first.
        let budget = deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(budget, self.sign(key, part, ttl))
            .await
            .unwrap_or_else(|_| Err(FetchError::TimedOut(S3Error::CredentialsTimeout.into())))
    }
}

#[cfg(test)]
mod tests;
