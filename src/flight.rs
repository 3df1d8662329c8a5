//! Calls under way, one for each key: whoever wants the same takes part in it.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

/// A call under way. Everyone who holds it drives it; when the last one lets go it is dropped, and not before.
pub(crate) type Flight<T> = Shared<BoxFuture<'static, T>>;

/// The calls that are under way.
pub(crate) struct Flights<K, T>(Arc<Mutex<Airborne<K, T>>>);

struct Airborne<K, T> {
    flights: HashMap<K, (u64, WeakShared<BoxFuture<'static, T>>)>,
    /// Tells a flight from an earlier one of the same key.
    next_id: u64,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Airborne { flights: HashMap::new(), next_id: 0 })))
    }
}

impl<K, T> fmt::Debug for Flights<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Flights").field(&lock(&self.0).flights.len()).finish()
    }
}

/// A way to take part in a call.
#[derive(Debug)]
pub(crate) enum Boarding<T: Clone, R> {
    /// It has not been made before.
    First(Flight<T>),
    /// It is under way.
    Another(Flight<T>),
    /// There is no need: it has just landed.
    Landed(R),
}

impl<K: Hash + Eq + Clone + Send + 'static, T: Clone + Send + Sync + 'static> Flights<K, T> {
    /// Joins the flight of `key`, or starts one with `take_off` unless `landed` finds its result already.
    ///
    /// A flight must have put its result where `landed` looks for it before it ends: then no second one starts for
    /// somebody who looked a moment too early.
    pub(crate) fn board<R>(
        &self,
        key: K,
        landed: impl FnOnce() -> Option<R>,
        take_off: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> Boarding<T, R> {
        let mut airborne = lock(&self.0);
        if let Some(flight) = airborne.flights.get(&key).and_then(|(_, flight)| flight.upgrade()) {
            return Boarding::Another(flight);
        }
        if let Some(result) = landed() {
            return Boarding::Landed(result);
        }
        let id = airborne.next_id;
        airborne.next_id += 1;
        let entry = Departure { airborne: self.0.clone(), key: key.clone(), id };
        let call = take_off();
        let flight = async move {
            // Whether it lands or is dropped, its entry goes with it.
            let _entry = entry;
            call.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            airborne.flights.insert(key, (id, weak));
        }
        Boarding::First(flight)
    }
}

/// The entry of a flight; it is taken out when this is dropped.
struct Departure<K: Hash + Eq, T> {
    airborne: Arc<Mutex<Airborne<K, T>>>,
    key: K,
    id: u64,
}

impl<K: Hash + Eq, T> Drop for Departure<K, T> {
    fn drop(&mut self) {
        let mut airborne = lock(&self.airborne);
        if airborne.flights.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            airborne.flights.remove(&self.key);
        }
    }
}

/// A panic of somebody else leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
