//! A [`Store`] over aws-sdk-s3: real requests, signed, over HTTP.

use std::error::Error;
use std::fmt::Write as _;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    ProvideCredentials, ResponseChecksumValidation, SharedCredentialsProvider, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat as Format};
use aws_smithy_runtime::client::retries::{RetryPartition, TokenBucket};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::retry::ErrorKind;
use tracing::field;

mod attempt;
mod breaker;

use self::attempt::{Attempts, EachAttempt, OnlySigned, Unfinished};
use self::breaker::{Breaker, PROBE, Passage, Told};
use crate::conditional::{Conditions, EntityTag, entity_tags, http_date};
use crate::config::S3Config;
use crate::http_client;
use crate::object::{Body, BodyEncoder, FetchError, Fetched, Head, Metadata, Missing, Object, ObjectKey, base64_bytes};
use crate::payload::PAYLOAD_BYTES_MAX;
use crate::range::ByteRange;
use crate::store::{Ask, Part, Reply, Source, Store, Tally};
use crate::trace::child_span;

/// The longest wait before the first retry; it doubles with each. The SDK's second is for batch jobs: a
/// viewer is waiting here.
const FIRST_BACKOFF: Duration = Duration::from_millis(25);

/// The longest wait before any retry.
const LAST_BACKOFF: Duration = Duration::from_millis(400);

/// How long a connection may take to open, within the deadline: a fraction of a second at its worst in one region.
const CONNECT: Duration = Duration::from_secs(1);

/// How long S3 may take until its answer begins, or goes on, within the deadline. Its slowest, to a first request for a
/// bucket, take a second; a connection that died unnoticed never answers, and another is tried after this.
const FIRST_BYTE: Duration = Duration::from_secs(3);

/// How long an attempt may take until there is an answer: an object's head, or an error as a whole.
const ATTEMPT: Duration = Duration::from_secs(5);

/// How many retries there may be in a row; then each needs successes to be paid with. An S3 in trouble is not asked
/// three times as much for that.
const RETRIES_IN_A_ROW: usize = 20;

/// What one costs, in the SDK's tokens; a success pays one.
const RETRY_COST: usize = 5;

/// A bucket in S3.
#[derive(Debug, Clone)]
pub struct S3 {
    client: aws_sdk_s3::Client,
    bucket: String,
    /// Kept to learn when they expire: an address that they sign does not outlive them.
    credentials: Option<SharedCredentialsProvider>,
    attempts: Arc<Attempts>,
    breaker: Arc<Breaker>,
}

/// Why no client could be made: one line, without a secret.
pub type ConnectError = Box<dyn Error + Send + Sync>;

impl S3 {
    /// Makes a client; region, endpoint, credentials and retries are the SDK's own variables.
    ///
    /// # Errors
    /// When the trust anchors cannot be used.
    pub async fn connect(config: &S3Config) -> Result<Self, ConnectError> {
        let anchors = match &config.ca_bundle {
            Some(pem) => http_client::read_anchors(pem)?,
            None => http_client::bundled_anchors(),
        };
        let http = http_client::client(anchors, CONNECT)?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http).timeout_config(
            // The second for errors, whose bodies are read before there is an answer.
            TimeoutConfig::builder().read_timeout(FIRST_BYTE).operation_attempt_timeout(ATTEMPT).build(),
        );
        if config.credentials_in_env {
            // As in every Lambda: nothing else need be looked for, and no profile read.
            loader = loader
                .credentials_provider(EnvironmentVariableCredentialsProvider::new())
                .profile_files(EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Config, "").build());
        }
        let sdk = loader.load().await;
        let retry = sdk.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let tokens = TokenBucket::builder().capacity(RETRIES_IN_A_ROW * RETRY_COST).retry_cost(RETRY_COST as u32);
        let tokens = tokens.timeout_retry_cost(RETRY_COST as u32).throttling_retry_cost(RETRY_COST as u32);
        let attempts = Arc::new(Attempts::default());
        let s3 = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(config.path_style)
            .retry_config(retry.with_initial_backoff(FIRST_BACKOFF).with_max_backoff(LAST_BACKOFF))
            .retry_partition(RetryPartition::custom("nearedge").token_bucket(tokens.build()).build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // TLS has checked every byte already, and Content-Length their number.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .interceptor(EachAttempt(attempts.clone()))
            .build();
        let credentials = sdk.credentials_provider();
        Ok(Self {
            client: aws_sdk_s3::Client::from_conf(s3),
            bucket: config.bucket.clone(),
            credentials,
            attempts,
            breaker: Arc::default(),
        })
    }

    /// What signs the requests.
    pub fn credentials(&self) -> Option<&SharedCredentialsProvider> {
        self.credentials.as_ref()
    }

    /// Opens a connection that the next fetch will use; whatever S3 answers will do.
    ///
    /// # Errors
    /// When there is no answer before `deadline`.
    pub async fn open_connection(&self, key: &ObjectKey, deadline: Instant) -> Result<(), FetchError> {
        let asked = self.client.head_object().bucket(&self.bucket).key(key.as_str()).send();
        let budget = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(budget, asked).await {
            Ok(Err(error)) if error.raw_response().is_none() => Err(fetch_error(&error, key)),
            Ok(_) => {
                self.breaker.heard(Told::Answer);
                Ok(())
            }
            Err(_) => {
                if budget >= CONNECT {
                    self.breaker.doubt();
                }
                Err(FetchError::TimedOut("no answer from S3 in time".to_owned()))
            }
        }
    }

    /// GetObject. S3 is given the conditions, so that what the client has moves no body, and the range, so that
    /// no whole object is read for a part; what S3 makes of them is judged again here, as other servers differ.
    async fn get(&self, ask: &Ask<'_>, broken_off: &OnceLock<String>) -> Result<Fetched, FetchError> {
        if ask.conditions_need_a_head() {
            let known = self.head_metadata(ask.key).await?;
            match ask.judge(&known, None) {
                // A part of what does not fit may.
                None | Some(Fetched::TooLarge(_)) => {}
                Some(answered) => return Ok(answered),
            }
        }
        let send = |range| self.send(ask, range, broken_off);
        let Some(range) = ask.range else { return send(None).await };
        let part = send(Some(range)).await?;
        match (ask.if_range, &part) {
            (Some(if_range), Fetched::Object(object)) if !if_range.holds(&object.head) => send(None).await,
            // Whether those bytes exist matters only for the object that the client has part of.
            (Some(if_range), Fetched::Unsatisfiable(_)) if !if_range.holds(&*self.head_metadata(ask.key).await?) => {
                send(None).await
            }
            // It has grown since.
            (_, Fetched::Unsatisfiable(bytes)) if range.select(*bytes).is_some() => send(Some(range)).await,
            _ => Ok(part),
        }
    }

    /// Asks, and once more where the body breaks off: the SDK tries again only until a body begins. How it broke off is kept in
    /// `broken_off`, for whoever has no time for the second.
    async fn send(
        &self,
        ask: &Ask<'_>,
        range: Option<ByteRange>,
        broken_off: &OnceLock<String>,
    ) -> Result<Fetched, FetchError> {
        let how = match self.send_once(ask, range).await? {
            Ok(fetched) => return Ok(fetched),
            Err(BrokenOff(how)) => how,
        };
        if !self.attempts.budget.pay() {
            return Err(FetchError::Unavailable(how));
        }
        let _ = broken_off.set(how);
        self.attempts.retries.fetch_add(1, Ordering::Relaxed);
        self.send_once(ask, range).await?.map_err(|BrokenOff(how)| FetchError::Unavailable(how))
    }

    async fn send_once(
        &self,
        ask: &Ask<'_>,
        range: Option<ByteRange>,
    ) -> Result<Result<Fetched, BrokenOff>, FetchError> {
        let Conditions { if_match, if_none_match, if_modified_since, if_unmodified_since } = ask.conditions;
        let date = |field: Option<&str>| field.and_then(http_date).map(DateTime::from);
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(ask.key.as_str())
            .set_range(range.map(|range| range.to_string()))
            .set_if_match(ask.sent_if_match())
            .set_if_none_match(ask.held.and_then(|held| held.etag.clone()).or_else(|| if_none_match.and_then(one_tag)))
            .set_if_modified_since(date(if_modified_since.filter(|_| if_none_match.is_none())))
            .set_if_unmodified_since(date(if_unmodified_since.filter(|_| if_match.is_none())))
            .send()
            .await;
        let output = match sent {
            Ok(output) => output,
            Err(error) => return self.without_object(ask, &error).await.map(Ok),
        };
        let length = u64::try_from(output.content_length.unwrap_or(0)).unwrap_or(0);
        let selected = match output.content_range.as_deref() {
            None => None,
            // Another part than was asked for is no part of the answer.
            Some(field) => match content_range(field) {
                Some((part, bytes)) if range.and_then(|range| range.select(bytes)) == Some(part.clone()) => {
                    Some((part, bytes))
                }
                _ => return Err(FetchError::Failed("S3 answered with another range than it was asked for".to_owned())),
            },
        };
        let head = Head::new(Metadata {
            bytes: selected.as_ref().map_or(length, |(_, bytes)| *bytes),
            content_type: output.content_type,
            etag: output.e_tag,
            last_modified: output.last_modified.as_ref().and_then(http_date_of),
            cache_control: output.cache_control,
            content_encoding: output.content_encoding,
            content_language: output.content_language,
            content_disposition: output.content_disposition,
            expires: output.expires_string,
        });
        // From here on nothing of the body is read unless it is to be sent: dropping it closes the connection.
        if let Some(answered) = ask.judge(&head, selected.as_ref().map(|(part, _)| part)) {
            return Ok(Ok(answered));
        }
        let mut encoder = BodyEncoder::with_capacity(usize::try_from(length).unwrap_or(0));
        // The attempt's span ends with the head of the response.
        let mut reading = Unfinished::new(child_span!(
            "S3 body",
            http.response.body.size = i64::try_from(length).unwrap_or(i64::MAX),
            "error.type" = field::Empty,
            otel.status_code = field::Empty,
        ));
        let read = read(output.body, &mut encoder).await;
        reading.finish(read.as_ref().err().map(|_| "broken off"));
        drop(reading);
        match read {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(Fetched::TooLarge(head))),
            Err(broken_off) => return Ok(Err(broken_off)),
        }
        self.attempts.budget.earn();
        let body = encoder.finish();
        if output.content_length.is_some() && body.bytes() != length {
            return Ok(Err(BrokenOff(format!("S3 sent {} of {length} bytes", body.bytes()))));
        }
        // Where S3 did not say how much there would be.
        let head = match &selected {
            None if head.bytes != body.bytes() => Head::new(Metadata { bytes: body.bytes(), ..(*head).clone() }),
            _ => head,
        };
        Ok(Ok(Fetched::Object(Object { head, range: selected.map(|(range, _)| range), body })))
    }

    /// HeadObject; what it says is judged here.
    async fn head(&self, ask: &Ask<'_>) -> Result<Fetched, FetchError> {
        let head = self.head_metadata(ask.key).await?;
        let judged = ask.judge(&head, None);
        Ok(judged.unwrap_or_else(|| Fetched::Object(Object { head, range: None, body: Body::default() })))
    }

    async fn head_metadata(&self, key: &ObjectKey) -> Result<Head, FetchError> {
        let request = self.client.head_object().bucket(&self.bucket).key(key.as_str());
        let output = match request.send().await {
            Ok(output) => output,
            Err(error) if matches!(status_of(&error), Some(400 | 403 | 404)) => return Err(self.reason(key).await),
            Err(error) => return Err(fetch_error(&error, key)),
        };
        Ok(Head::new(Metadata {
            bytes: u64::try_from(output.content_length.unwrap_or(0)).unwrap_or(0),
            content_type: output.content_type,
            etag: output.e_tag,
            last_modified: output.last_modified.as_ref().and_then(http_date_of),
            cache_control: output.cache_control,
            content_encoding: output.content_encoding,
            content_language: output.content_language,
            content_disposition: output.content_disposition,
            expires: output.expires_string,
        }))
    }

    /// What an error of GetObject means where it is no trouble but an answer.
    async fn without_object<E>(&self, ask: &Ask<'_>, error: &SdkError<E, HttpResponse>) -> Result<Fetched, FetchError>
    where
        E: ProvideErrorMetadata + RequestId + Error + Send + Sync + 'static,
    {
        match status_of(error) {
            // S3's 304 reaches us as an error; its headers are what there is to know.
            Some(304) => {
                let raw = error.raw_response().map(HttpResponse::headers);
                let field = |name: &str| raw.and_then(|headers| headers.get(name)).map(str::to_owned);
                let said = Metadata {
                    etag: field("etag"),
                    last_modified: field("last-modified"),
                    cache_control: field("cache-control"),
                    // Where the SDK puts it: it drops an Expires that is no date, such as `0`.
                    expires: field("ExpiresString"),
                    ..Metadata::default()
                };
                if let Some(held) = ask.held.filter(|held| said.is_still(held)) {
                    return Ok(Fetched::NotModified(held.clone()));
                }
                // S3 does not document what its 304 carries; what a 200 would say of caching has to be said
                // (RFC 9110 §15.4.5).
                if ask.held.is_none() && said.cache_control.is_some() && said.expires.is_some() {
                    return Ok(Fetched::NotModified(Head::new(said)));
                }
                let known = self.head_metadata(ask.key).await?;
                let same = |etag: &Option<String>| etag.is_some() && *etag == known.etag;
                match ask.held {
                    // The same bytes, with other metadata.
                    Some(held) if same(&held.etag) => Ok(Fetched::NotModified(known)),
                    Some(_) => Err(FetchError::Unavailable("S3's object changed while it was looked at".to_owned())),
                    None if same(&said.etag) => Ok(Fetched::NotModified(known)),
                    // Changed since: the client's copy must not be given the new object's tag.
                    None => Ok(Fetched::NotModified(Head::new(said))),
                }
            }
            Some(412) => Ok(Fetched::PreconditionFailed),
            Some(416) => {
                let known = self.head_metadata(ask.key).await?;
                match ask.judge(&known, None) {
                    None | Some(Fetched::TooLarge(_)) => Ok(Fetched::Unsatisfiable(known.bytes)),
                    Some(answered) => Ok(answered),
                }
            }
            _ => Err(fetch_error(error, ask.key)),
        }
    }

    /// The error of a HEAD has no body, so that a missing key, a missing bucket and a refused signature
    /// look alike: ask again in a way that is told the reason.
    async fn reason(&self, key: &ObjectKey) -> FetchError {
        match self.client.get_object().bucket(&self.bucket).key(key.as_str()).range("bytes=0-0").send().await {
            Ok(_) => FetchError::Unavailable("S3 has the object now and refused it a moment ago".to_owned()),
            Err(error) => fetch_error(&error, key),
        }
    }

    /// Signs an address that lives for `ttl`, or for as long as the credentials that sign it.
    async fn sign(&self, key: &ObjectKey, part: Part, ttl: Duration) -> Result<String, FetchError> {
        let failed =
            |problem: &dyn Error| FetchError::Failed(format!("no address could be signed: {}", chain(problem)));
        let Some(provider) = &self.credentials else {
            return Err(FetchError::Failed("no address could be signed: there are no credentials".to_owned()));
        };
        // Those that are looked at are those that sign. From Lambda's environment they come without an expiry.
        let credentials = provider.provide_credentials().await.map_err(|error| failed(&error))?;
        let left = credentials.expiry().map_or(ttl, |at| at.duration_since(SystemTime::now()).unwrap_or_default());
        // Addresses live for whole seconds.
        let lifetime = Duration::from_secs(left.min(ttl).as_secs());
        if lifetime.is_zero() {
            return Err(FetchError::Failed("no address could be signed: the credentials expire now".to_owned()));
        }
        let config = PresigningConfig::expires_in(lifetime).map_err(|error| failed(&error))?;
        let signing = aws_sdk_s3::config::Builder::new().credentials_provider(credentials);
        let key = key.as_str();
        // A signature covers the method.
        let signed = match part {
            Part::Whole => {
                let request = self
                    .client
                    .get_object()
                    .bucket(&self.bucket)
                    .key(key)
                    .customize()
                    .config_override(signing)
                    .interceptor(OnlySigned);
                request.presigned(config).await.map_err(|error| failed(&error))?
            }
            Part::Head => {
                let request = self
                    .client
                    .head_object()
                    .bucket(&self.bucket)
                    .key(key)
                    .customize()
                    .config_override(signing)
                    .interceptor(OnlySigned);
                request.presigned(config).await.map_err(|error| failed(&error))?
            }
        };
        Ok(signed.uri().to_owned())
    }
}

impl Metadata {
    /// Whether a 304 that says this is of the object that is held: the same tag, and written when that was. A copy of
    /// an object over itself, as one changes its metadata, keeps the tag and moves Last-Modified.
    fn is_still(&self, held: &Self) -> bool {
        self.etag.as_ref().is_none_or(|_| self.etag == held.etag)
            && self.last_modified.as_ref().is_none_or(|_| self.last_modified == held.last_modified)
    }
}

impl Ask<'_> {
    /// Whether the conditions hold a list, which S3 does not document: they are judged by a HEAD first, so that
    /// what the client has moves no body.
    fn conditions_need_a_head(&self) -> bool {
        let Conditions { if_match, if_none_match, .. } = self.conditions;
        // An If-Match that S3 is not told of must not be outrun by its 304 (RFC 9110 §13.2.2).
        let unsent = if_match.is_some_and(|field| field.trim_ascii() != "*") && self.sent_if_match().is_none();
        let star_or_list = |field: &str| field.trim_ascii() == "*" || entity_tags(field).nth(1).is_some();
        unsent || if_none_match.is_some_and(star_or_list)
    }

    /// The one strong tag of If-Match; a weak one is never strongly equal to another.
    fn sent_if_match(&self) -> Option<String> {
        let field = self.conditions.if_match?;
        EntityTag::parse(field).filter(|tag| !tag.weak).and_then(|_| one_tag(field))
    }
}

/// The field's one entity tag as S3 has tags: strong, and ASCII, since the SDK sends nothing else.
fn one_tag(field: &str) -> Option<String> {
    EntityTag::parse(field).filter(|tag| tag.opaque.is_ascii()).map(|tag| format!("\"{}\"", tag.opaque))
}

impl Store for S3 {
    async fn fetch(&self, ask: &Ask<'_>, deadline: Instant) -> Reply {
        let asked = Instant::now();
        let budget = deadline.saturating_duration_since(asked);
        let failed = |error| Reply::new(Err(error), Source::Bypass);
        if budget.is_zero() {
            return failed(FetchError::TimedOut("no time is left to ask S3".to_owned()));
        }
        let patience = match self.breaker.enter() {
            Passage::Free => budget,
            Passage::Probe => budget.min(PROBE),
            Passage::Shut => {
                return failed(FetchError::Unavailable("S3 was not asked: it did not answer a moment ago".to_owned()));
            }
        };
        let broken_off = OnceLock::new();
        let heads = self.attempts.heads.load(Ordering::Relaxed);
        let has_answered = || self.attempts.heads.load(Ordering::Relaxed) != heads;
        let fetched = async {
            match ask.part {
                Part::Whole => self.get(ask, &broken_off).await,
                Part::Head => self.head(ask).await,
            }
        };
        // Dropping the call closes its connection: nothing of it outlives the invocation.
        let mut fetched = pin!(fetched);
        let mut in_time = tokio::time::timeout(patience, &mut fetched).await;
        if in_time.is_err() && patience < budget && has_answered() && broken_off.get().is_none() {
            // It is there, and slow: what it has begun may come to an end.
            in_time = tokio::time::timeout(budget.saturating_sub(asked.elapsed()), &mut fetched).await;
        }
        let waited = asked.elapsed();
        let fetched = in_time.unwrap_or_else(|_| {
            let before = broken_off.get().map(|how| format!(", after {how}")).unwrap_or_default();
            Err(FetchError::TimedOut(format!("no answer from S3 in {} ms{before}", waited.as_millis())))
        });
        self.breaker.heard(match &fetched {
            Err(FetchError::TimedOut(_) | FetchError::Unavailable(_))
                if waited >= FIRST_BYTE && (!has_answered() || broken_off.get().is_some()) =>
            {
                Told::Silence
            }
            Err(_) if !has_answered() => Told::Nothing,
            _ => Told::Answer,
        });
        Reply { waited, ..Reply::new(fetched, Source::Bypass) }
    }

    fn tally(&self) -> Tally {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Tally { requests: count(&self.attempts.made), retries: count(&self.attempts.retries), ..Tally::default() }
    }

    async fn presign(
        &self,
        key: &ObjectKey,
        part: Part,
        ttl: Duration,
        deadline: Instant,
    ) -> Result<String, FetchError> {
        // Credentials may have to be fetched first.
        let budget = deadline.saturating_duration_since(Instant::now());
        tokio::time::timeout(budget, self.sign(key, part, ttl))
            .await
            .unwrap_or_else(|_| Err(FetchError::TimedOut("no credentials in time to sign an address".to_owned())))
    }
}

/// Whether a body of so many bytes is too large for any answer: a bound for what S3 did not announce.
fn is_too_large(bytes: u64) -> bool {
    base64_bytes(bytes) > PAYLOAD_BYTES_MAX
}

/// Reads `bytes first-last/length` (RFC 9110 §14.4).
fn content_range(field: &str) -> Option<(Range<u64>, u64)> {
    let (range, bytes) = field.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, bytes.parse().ok()?))
}

/// Writes Last-Modified as S3 wrote it: the SDK has read it, and there is one way to write it.
fn http_date_of(date: &DateTime) -> Option<String> {
    date.fmt(Format::HttpDate).ok()
}

/// How a body ended before its end.
#[derive(Debug)]
struct BrokenOff(String);

/// Reads a body to its end; `false` when there is more of it than was said and than fits.
async fn read(mut body: ByteStream, encoder: &mut BodyEncoder) -> Result<bool, BrokenOff> {
    loop {
        match tokio::time::timeout(FIRST_BYTE, body.next()).await {
            Ok(None) => return Ok(true),
            Ok(Some(Ok(chunk))) => encoder.push(chunk),
            Ok(Some(Err(error))) => return Err(BrokenOff(format!("S3 broke off its answer: {}", chain(&error)))),
            Err(_) => {
                let ms = FIRST_BYTE.as_millis();
                return Err(BrokenOff(format!("S3 stopped for {ms} ms in the middle of its answer")));
            }
        }
        if is_too_large(encoder.bytes()) {
            return Ok(false);
        }
    }
}

fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// How S3 (without a code), SeaweedFS and MinIO refuse a name.
const NO_SUCH_NAME: [&str; 5] =
    ["(no code)", "InvalidURI", "InvalidRequest", "XMinioInvalidObjectName", "XMinioInvalidResourceName"];

/// Sorts S3's errors into those that the rules tell apart.
///
/// Only the code and the request id go into the text: S3's own messages repeat the request that was
/// signed, and with it the session token.
fn fetch_error<E>(error: &SdkError<E, HttpResponse>, key: &ObjectKey) -> FetchError
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
                // Nor one with a `..`, where a server has no such names: each puts that in its own way.
                (400, code) if key.has_dot_segment() && NO_SUCH_NAME.contains(&code) => {
                    FetchError::Missing(Missing::NoSuchKey)
                }
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
        // An error's body that breaks off says nothing of why there was one.
        SdkError::ResponseError(_) if is_of_the_connection(error) => {
            FetchError::Unavailable(format!("S3 broke off its answer: {}", chain(error)))
        }
        _ => FetchError::Failed(format!("S3 was not asked, or made no sense: {}", chain(error))),
    }
}

/// Whether the cause is the connection's and not what came over it.
fn is_of_the_connection(error: &dyn Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return true;
        }
        cause = error.source();
    }
    false
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

#[cfg(test)]
mod tests;
