//! The cached responses.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, SET_COOKIE};
use http::{HeaderMap, StatusCode};

use crate::cloudfront::cache::freshness::{Freshness, Rules, freshness};
use crate::cloudfront::cache::key::Key;

/// The maximum size of the cache, which evicts what was used least recently.
const BYTES_MAX: usize = 256 * 1024 * 1024;

/// A cached response.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// How long it may be used.
    pub freshness: Freshness,
    /// When the origin sent or last confirmed it.
    pub stored_at: SystemTime,
    /// When the origin is to be asked again, after an error. The expired entry is used until then.
    held_until: Option<SystemTime>,
}

impl Entry {
    /// An entry of a response, with its Set-Cookie fields.
    ///
    /// "CloudFront also caches the Set-Cookie headers with the object returned from the origin, and sends those Set-Cookie
    /// headers to viewers on all cache hits"
    /// ([cookies](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/Cookies.html)).
    pub fn new(status: StatusCode, headers: &HeaderMap, body: Bytes, freshness: Freshness, now: SystemTime) -> Self {
        let mut headers = headers.clone();
        if !freshness.keeps_cookies {
            headers.remove(SET_COOKIE);
        }
        Self { status, headers, body, freshness, stored_at: now, held_until: None }
    }

    /// The entry after a 304, whose fields replace the stored ones (RFC 9111 §3.2).
    pub fn confirmed(&self, not_modified: &HeaderMap, rules: &Rules, now: SystemTime) -> Self {
        let mut headers = self.headers.clone();
        for name in not_modified.keys().filter(|name| ![CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE].contains(name))
        {
            headers.remove(name);
            for value in not_modified.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let freshness = freshness(self.status, &headers, rules, now).unwrap_or(self.freshness);
        Self::new(self.status, &headers, self.body.clone(), freshness, now)
    }

    /// The entry, used until `until` although it has expired.
    pub fn held_until(&self, until: SystemTime) -> Self {
        Self { held_until: Some(until), ..self.clone() }
    }

    /// Whether the expired entry replaces the response of a failing or unreachable origin.
    pub fn serves_despite_error(&self, reachable: bool, now: SystemTime) -> bool {
        let limit = if reachable { self.freshness.stale_if_error } else { self.freshness.stale_if_unreachable };
        limit > Duration::ZERO && self.staleness(now) <= limit
    }

    fn staleness(&self, now: SystemTime) -> Duration {
        now.duration_since(self.stored_at + self.freshness.ttl).unwrap_or(Duration::ZERO)
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        now.duration_since(self.stored_at).unwrap_or(Duration::ZERO) < self.freshness.ttl
    }
}

/// The result of a search.
#[derive(Debug, Clone)]
pub enum Found {
    /// A response that needs no request to the origin.
    Usable(Arc<Entry>),
    /// An expired response that is used during its revalidation.
    UsableWhileRevalidating(Arc<Entry>),
    /// An expired response.
    Expired(Arc<Entry>),
    /// None.
    Missing,
}

/// The cached responses by key.
#[derive(Debug, Default)]
pub struct Store {
    entries: HashMap<Key, (Arc<Entry>, u64)>,
    bytes: usize,
    uses: u64,
}

impl Store {
    /// Finds the response for a key.
    pub fn find(&mut self, key: &Key, now: SystemTime) -> Found {
        let Some((entry, used)) = self.entries.get_mut(key) else { return Found::Missing };
        self.uses += 1;
        *used = self.uses;
        let entry = entry.clone();
        if entry.is_fresh(now) || entry.held_until.is_some_and(|until| now < until) {
            Found::Usable(entry)
        } else if entry.staleness(now) < entry.freshness.stale_while_revalidate {
            Found::UsableWhileRevalidating(entry)
        } else {
            Found::Expired(entry)
        }
    }

    /// Stores a response, and evicts others if the cache is full.
    pub fn insert(&mut self, key: Key, entry: Arc<Entry>) {
        self.remove(&key);
        self.bytes += size(&entry);
        self.uses += 1;
        self.entries.insert(key, (entry, self.uses));
        while self.bytes > BYTES_MAX && self.entries.len() > 1 {
            let oldest = self.entries.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
        }
    }

    /// Removes a response.
    pub fn remove(&mut self, key: &Key) {
        if let Some((entry, _)) = self.entries.remove(key) {
            self.bytes -= size(&entry);
        }
    }
}

/// An estimate of the memory that an entry uses.
fn size(entry: &Entry) -> usize {
    entry.body.len() + entry.headers.len() * 64 + 512
}
