//! The cache of an edge location.
//!
//! - [`key`]: the cache key of a request
//! - [`mod@freshness`]: how long a response may be used
//! - [`store`]: the cached responses
//! - [`collapse`]: request collapsing
//! - [`answer`]: the response to a viewer from a cached one
//!
//! [How CloudFront delivers content](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HowCloudFrontWorks.html).

pub mod answer;
pub mod collapse;
pub mod freshness;
pub mod key;
pub mod store;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::{CONTENT_LENGTH, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use parking_lot::Mutex;

use self::collapse::{Flights, Join};
use self::freshness::{Rules, freshness};
use self::key::Key;
use self::store::{Entry, Found, Store};
use crate::serve::{self, Body, BoxError};

/// The largest response that is cached. CloudFront's limit is 50 GB.
const OBJECT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The cache's clock. Tests pass their own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// What the cache requests from the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginRequest {
    /// The viewer's request, with its conditions and its Range.
    AsReceived,
    /// The whole object, with these conditions in place of the viewer's.
    Revalidation(Vec<(HeaderName, HeaderValue)>),
}

/// The origin's response, or CloudFront's error page in its place.
pub struct OriginResponse {
    /// The response.
    pub response: Response<Body>,
    /// Whether it is from the origin; otherwise the origin is unreachable.
    pub reachable: bool,
}

/// Sends a request to the origin. It outlives the viewer's request: a stale object is revalidated in the background.
pub type Origin = Arc<dyn Fn(OriginRequest) -> BoxFuture<'static, OriginResponse> + Send + Sync>;

/// Where a response comes from, as `X-Cache` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// From the cache, without a request to the origin for it.
    Hit,
    /// From the cache, after the origin has confirmed it.
    RefreshHit,
    /// From the origin.
    Miss,
}

/// The cache of one distribution.
pub struct Cache {
    store: Mutex<Store>,
    flights: Flights,
    clock: Clock,
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { store: Mutex::default(), flights: Flights::default(), clock })
    }

    /// Responds to a viewer from the cache or the origin.
    pub async fn respond(
        self: &Arc<Self>,
        key: Key,
        viewer: &HeaderMap,
        rules: &Rules,
        origin: Origin,
    ) -> (Response<Body>, Source) {
        if !rules.caches_objects && !rules.caches_errors {
            return (origin(OriginRequest::AsReceived).await.response, Source::Miss);
        }
        // A HEAD request is a hit if the whole object is in the cache.
        if key.method() == Method::HEAD
            && let Found::Usable(entry) = self.store.lock().find(&key.of_get(), (self.clock)())
        {
            return (self.answer(&entry, &key, viewer, true), Source::Hit);
        }
        let found = self.store.lock().find(&key, (self.clock)());
        let expired = match found {
            Found::Usable(entry) => return (self.answer(&entry, &key, viewer, true), Source::Hit),
            Found::UsableWhileRevalidating(entry) => {
                let response = self.answer(&entry, &key, viewer, true);
                self.revalidate_in_background(key, entry, rules.clone(), origin);
                return (response, Source::Hit);
            }
            Found::Expired(entry) => Some(entry),
            Found::Missing => None,
        };
        let revalidates = expired.as_ref().is_some_and(|entry| !validators(entry).is_empty());
        // Without an object to revalidate, conditions and ranges are the origin's to answer, for each viewer.
        let shares = revalidates || !answer::is_conditional_or_partial(viewer);
        let mut leader = None;
        if rules.collapses && shares {
            match self.flights.join(&key) {
                Join::Leader(flight) => leader = Some(flight),
                Join::Follower(flight) => {
                    flight.ended().await;
                    if let Found::Usable(entry) = self.store.lock().find(&key, (self.clock)()) {
                        return (self.answer(&entry, &key, viewer, true), Source::Hit);
                    }
                }
            }
        }
        let result = self.fetch(&key, Some(viewer), expired, rules, &origin).await;
        drop(leader);
        result
    }

    /// Requests the object from the origin, and stores the response. Without a viewer it runs in the background.
    async fn fetch(
        &self,
        key: &Key,
        viewer: Option<&HeaderMap>,
        expired: Option<Arc<Entry>>,
        rules: &Rules,
        origin: &Origin,
    ) -> (Response<Body>, Source) {
        let conditions = expired.as_ref().map(|entry| validators(entry)).unwrap_or_default();
        let revalidates = !conditions.is_empty();
        let request = if revalidates || viewer.is_none() {
            OriginRequest::Revalidation(conditions)
        } else {
            OriginRequest::AsReceived
        };
        let OriginResponse { response, reachable } = origin(request).await;
        let no_conditions = HeaderMap::new();
        let viewer = viewer.unwrap_or(&no_conditions);
        let now = (self.clock)();
        let status = response.status();
        if let Some(entry) = &expired {
            if revalidates && status == StatusCode::NOT_MODIFIED {
                let entry = Arc::new(entry.confirmed(response.headers(), rules, now));
                self.store.lock().insert(key.clone(), entry.clone());
                return (self.answer(&entry, key, viewer, false), Source::RefreshHit);
            }
            if status.is_server_error() && entry.serves_despite_error(reachable, now) {
                let entry = Arc::new(entry.held_until(now + rules.error_ttl(status)));
                self.store.lock().insert(key.clone(), entry.clone());
                return (self.answer(&entry, key, viewer, true), Source::Hit);
            }
        }
        let Some(freshness) = freshness(status, response.headers(), rules, now) else {
            return (response, Source::Miss);
        };
        if response.body().size_hint().lower() > OBJECT_BYTES_MAX {
            return (response, Source::Miss);
        }
        let (mut parts, body) = response.into_parts();
        let body = match read(body).await {
            Ok(Read::Whole(body)) => body,
            Ok(Read::TooLarge(body)) => return (Response::from_parts(parts, body), Source::Miss),
            Err(error) => return (Response::from_parts(parts, serve::failed(error)), Source::Miss),
        };
        // A stream has no length until it has been read.
        if parts.headers.remove(TRANSFER_ENCODING).is_some() {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let entry = Arc::new(Entry::new(status, &parts.headers, body.clone(), freshness, now));
        self.store.lock().insert(key.clone(), entry.clone());
        if revalidates && answer::is_conditional_or_partial(viewer) {
            return (self.answer(&entry, key, viewer, false), Source::Miss);
        }
        (Response::from_parts(parts, serve::full(body)), Source::Miss)
    }

    fn revalidate_in_background(self: &Arc<Self>, key: Key, entry: Arc<Entry>, rules: Rules, origin: Origin) {
        let Join::Leader(flight) = self.flights.join(&key) else { return };
        let cache = self.clone();
        tokio::spawn(async move {
            cache.fetch(&key, None, Some(entry), &rules, &origin).await;
            drop(flight);
        });
    }

    fn answer(&self, entry: &Entry, key: &Key, viewer: &HeaderMap, with_age: bool) -> Response<Body> {
        let age = with_age.then(|| (self.clock)().duration_since(entry.stored_at).unwrap_or(Duration::ZERO));
        answer::answer(entry, &key.method(), viewer, age).map(serve::full)
    }
}

/// A response's body as far as the cache reads it.
enum Read {
    Whole(Bytes),
    /// The body, of which only the start has been read.
    TooLarge(Body),
}

/// Reads a body, whose size a stream does not announce.
async fn read(mut body: Body) -> Result<Read, BoxError> {
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        received.extend_from_slice(&frame?.into_data().unwrap_or_default());
        if received.len() as u64 > OBJECT_BYTES_MAX {
            return Ok(Read::TooLarge(serve::prefixed(received.freeze(), body)));
        }
    }
    Ok(Read::Whole(received.freeze()))
}

/// The conditions that ask the origin whether an expired object is current; none if it cannot be revalidated.
fn validators(entry: &Entry) -> Vec<(HeaderName, HeaderValue)> {
    if !entry.freshness.revalidate {
        return Vec::new();
    }
    let condition = |name: HeaderName, validator: HeaderName| Some((name, entry.headers.get(validator)?.clone()));
    [condition(IF_NONE_MATCH, ETAG), condition(IF_MODIFIED_SINCE, LAST_MODIFIED)].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
