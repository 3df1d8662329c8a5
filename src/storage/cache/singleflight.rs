//! Singleflight: concurrent calls for the same key share one future.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

/// A shared future. Any holder can poll it; it is cancelled when the last holder drops it.
pub(crate) type SharedFuture<T> = Shared<BoxFuture<'static, T>>;

/// The calls in flight, by key.
pub(crate) struct Singleflight<K, T>(Arc<Mutex<InFlight<K, T>>>);

struct InFlight<K, T> {
    calls: HashMap<K, (u64, WeakShared<BoxFuture<'static, T>>)>,
    /// Tells a call from an earlier one for the same key.
    next_id: u64,
}

impl<K, T> Default for Singleflight<K, T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(InFlight { calls: HashMap::new(), next_id: 0 })))
    }
}

impl<K, T> fmt::Debug for Singleflight<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Singleflight").field(&self.0.lock().calls.len()).finish()
    }
}

/// The role of a caller.
#[derive(Debug)]
pub(crate) enum Join<T: Clone, R> {
    /// The caller started the call.
    Leader(SharedFuture<T>),
    /// The caller joined a call in flight.
    Follower(SharedFuture<T>),
    /// The call has just ended, and its result is cached.
    Cached(R),
}

impl<K: Hash + Eq + Clone + Send + 'static, T: Clone + Send + Sync + 'static> Singleflight<K, T> {
    /// Joins the call for `key`, or starts one with `start` unless `cached` returns its result.
    ///
    /// Contract: `start` must publish its result (where `cached` reads it) before it resolves. Otherwise a caller that
    /// checked the cache just before would start a second request.
    pub(crate) fn join<R>(
        &self,
        key: K,
        cached: impl FnOnce() -> Option<R>,
        start: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Join<T, R> {
        let mut in_flight = self.0.lock();
        if let Some(call) = in_flight.calls.get(&key).and_then(|(_, call)| call.upgrade()) {
            return Join::Follower(call);
        }
        if let Some(result) = cached() {
            return Join::Cached(result);
        }
        let id = in_flight.next_id;
        in_flight.next_id += 1;
        let guard = Guard { in_flight: self.0.clone(), key: key.clone(), id };
        let call = start();
        let call = async move {
            // Removes the entry when the call resolves or is dropped.
            let _guard = guard;
            call.await
        };
        let call = call.boxed().shared();
        if let Some(weak) = call.downgrade() {
            in_flight.calls.insert(key, (id, weak));
        }
        Join::Leader(call)
    }
}

/// Removes the entry of a call when dropped.
struct Guard<K: Hash + Eq, T> {
    in_flight: Arc<Mutex<InFlight<K, T>>>,
    key: K,
    id: u64,
}

impl<K: Hash + Eq, T> Drop for Guard<K, T> {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock();
        if in_flight.calls.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            in_flight.calls.remove(&self.key);
        }
    }
}
