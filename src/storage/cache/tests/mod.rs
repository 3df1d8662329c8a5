//! Tests of the cache over a bucket in memory that records requests and fails on demand.
//!
//! Most tests pause tokio's clock: time passes only when a test advances it.

mod backoff;
mod consistency;
mod copies;
mod hits;
mod limits;
mod revalidation;
mod singleflight;

use std::collections::HashMap;
use std::sync::Mutex;

use nearedge_core::http::conditional::Conditions;
use nearedge_core::http::freshness::Limits;
use nearedge_core::http::range::ByteRange;
use nearedge_core::object::{Body, BodyEncoder, Metadata, base64_len};
use nearedge_core::request::door::PAYLOAD_BYTES_MAX;
use nearedge_core::store::{Cause, Fits, Missing};
use tokio::sync::Semaphore;

use super::*;
use crate::storage::copies::CopiesConfig;

const TTL: Duration = Duration::from_secs(10);

/// A bucket in memory.
#[derive(Default)]
struct Bucket {
    objects: Mutex<HashMap<String, Head>>,
    requests: Mutex<Vec<String>>,
    failure: Mutex<Option<Failure>>,
    /// If set, each request waits for a permit.
    gate: Mutex<Option<Arc<Semaphore>>>,
}

/// How every request to the bucket fails.
#[derive(Clone, Copy)]
enum Failure {
    Unavailable,
    /// S3 rejects this object only, such as an archived one.
    Rejected,
    /// No response before the deadline.
    Hang,
    /// A 504 of S3, long before the deadline.
    TimedOut,
}

/// An object's bytes repeat its ETag, so a test can tell which version they belong to.
fn content(head: &Head) -> Vec<u8> {
    let etag = head.etag.clone().unwrap_or_default();
    etag.bytes().cycle().take(usize::try_from(head.size_bytes).unwrap()).collect()
}

fn body(head: &Head) -> Body {
    let bytes = content(head);
    let mut encoder = BodyEncoder::with_capacity(bytes.len());
    encoder.push(bytes.as_slice());
    encoder.finish()
}

impl Bucket {
    fn put(&self, key: &str, etag: &str, bytes: u64, cache_control: &str) {
        let metadata = Metadata {
            etag: Some(format!("\"{etag}\"")),
            cache_control: Some(cache_control.to_owned()).filter(|field| !field.is_empty()),
            size_bytes: bytes,
            ..Metadata::default()
        };
        self.objects.lock().unwrap().insert(key.to_owned(), Head::new(metadata));
    }

    fn put_modified(&self, key: &str, etag: &str, bytes: u64, last_modified: &str) {
        let metadata = Metadata {
            etag: Some(format!("\"{etag}\"")),
            last_modified: Some(last_modified.to_owned()),
            size_bytes: bytes,
            ..Metadata::default()
        };
        self.objects.lock().unwrap().insert(key.to_owned(), Head::new(metadata));
    }

    fn delete(&self, key: &str) {
        self.objects.lock().unwrap().remove(key);
    }

    fn set_failure(&self, failure: Option<Failure>) {
        *self.failure.lock().unwrap() = failure;
    }

    /// Makes each request wait for a permit of the semaphore.
    fn close_gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    fn get(&self, request: &FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let head = self.objects.lock().unwrap().get(request.key.as_str()).cloned();
        let head = head.ok_or(FetchError::Missing(Missing::NoSuchKey))?;
        if request.cached.is_some_and(|cached| cached.etag == head.etag) {
            return Ok(Fetched::NotModified(head));
        }
        Ok(match Selection::new(request, &head) {
            Selection::Answer(fetched) => fetched,
            Selection::Body(range) => slice(&head, &body(&head), range),
        })
    }
}

impl Store for Bucket {
    async fn fetch(&self, request: &FetchRequest<'_>, deadline: Instant) -> FetchResponse {
        let gate = self.gate.lock().unwrap().clone();
        let method = if request.part == Part::Head { "HEAD" } else { "GET" };
        let condition = if request.cached.is_some() { " if-none-match" } else { "" };
        let range = request.range.map(|range| format!(" {range}")).unwrap_or_default();
        self.requests.lock().unwrap().push(format!("{method} {}{condition}{range}", request.key));
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let failure = *self.failure.lock().unwrap();
        let fetched = match failure {
            None => self.get(request),
            Some(Failure::Unavailable) => Err(FetchError::Unavailable(cause("unavailable"))),
            Some(Failure::Rejected) => Err(FetchError::Failed(cause("rejected"))),
            Some(Failure::TimedOut) => Err(FetchError::TimedOut(cause("504"))),
            Some(Failure::Hang) => {
                tokio::time::sleep(deadline.saturating_duration_since(Instant::now())).await;
                Err(FetchError::TimedOut(cause("deadline passed")))
            }
        };
        FetchResponse::new(fetched, Source::Bypass)
    }

    async fn presign(&self, _: &ObjectKey, _: Part, _: Duration, _: Instant) -> Result<String, FetchError> {
        Err(FetchError::Failed(cause("this store cannot presign")))
    }
}

fn cause(text: &'static str) -> Cause {
    std::io::Error::other(text).into()
}

fn config() -> CacheConfig {
    CacheConfig {
        max_bytes: 8 << 20,
        object_max_bytes: 1 << 20,
        limits: Limits { ttl: TTL, stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::from_secs(300) },
        missing_ttl: Duration::from_secs(2),
        copies: CopiesConfig::default(),
    }
}

fn cache_with(config: CacheConfig) -> Cache<Bucket> {
    Cache::new(Bucket::default(), config)
}

fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key.to_owned())
}

/// The deadline of a request that starts now.
fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

const FITS: Fits<'static> =
    &|head, part| base64_len(part.map_or(head.size_bytes, |part| part.end - part.start)) < PAYLOAD_BYTES_MAX;

fn whole(key: &ObjectKey) -> FetchRequest<'_> {
    FetchRequest::unconditional(key, Part::Whole, FITS)
}

impl Cache<Bucket> {
    /// The requests to the bucket since the last call.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.store().requests.lock().unwrap())
    }

    async fn get(&self, name: &str) -> FetchResponse {
        self.fetch(&whole(&key(name)), deadline()).await
    }

    async fn head(&self, name: &str) -> FetchResponse {
        self.fetch(&FetchRequest { part: Part::Head, ..whole(&key(name)) }, deadline()).await
    }

    async fn range(&self, name: &str, range: ByteRange) -> FetchResponse {
        self.fetch(&FetchRequest { range: Some(range), ..whole(&key(name)) }, deadline()).await
    }

    async fn get_if_none_match(&self, name: &str, etag: &str) -> FetchResponse {
        let conditions = Conditions { if_none_match: Some(etag), ..Conditions::default() };
        self.fetch(&FetchRequest { conditions, ..whole(&key(name)) }, deadline()).await
    }
}

/// The ETag and the source of a response. Checks that the body belongs to that ETag.
fn object(response: &FetchResponse) -> (&str, Source) {
    let Ok(Fetched::Object(object)) = &response.result else { panic!("expected an object, found {response:?}") };
    let range = object.range.clone().unwrap_or(0..object.head.size_bytes);
    assert_eq!(object.body, body(&object.head).slice(range), "{response:?}");
    (object.head.etag.as_deref().unwrap(), response.source)
}

fn error(response: &FetchResponse) -> &FetchError {
    response.result.as_ref().expect_err("expected an error")
}
