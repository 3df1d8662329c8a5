//! Request collapsing: concurrent requests with the same key wait for one request to the origin.
//!
//! [Simultaneous requests for the same object](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html#request-custom-traffic-spikes).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::cloudfront::cache::key::Key;

/// The requests in flight, by key.
#[derive(Debug, Default, Clone)]
pub struct Flights(Arc<Mutex<HashMap<Key, watch::Receiver<()>>>>);

/// The part of a request in its flight.
#[derive(Debug)]
pub enum Join {
    /// It sends the request to the origin. The flight ends when the guard is dropped, also if the viewer disconnects.
    Leader(Guard),
    /// It waits for the leader.
    Follower(Flight),
}

/// Ends a flight on drop.
#[derive(Debug)]
pub struct Guard {
    flights: Flights,
    key: Key,
    _sender: watch::Sender<()>,
}

/// A flight of another request.
#[derive(Debug)]
pub struct Flight(watch::Receiver<()>);

impl Flights {
    /// Joins the flight of a key, or starts one.
    pub fn join(&self, key: &Key) -> Join {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(key) {
            return Join::Follower(Flight(flight.clone()));
        }
        let (sender, receiver) = watch::channel(());
        flights.insert(key.clone(), receiver);
        Join::Leader(Guard { flights: self.clone(), key: key.clone(), _sender: sender })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.flights.0.lock().remove(&self.key);
    }
}

impl Flight {
    /// Waits for the end of the flight.
    pub async fn ended(mut self) {
        // The sender sends nothing; its end is an error.
        while self.0.changed().await.is_ok() {}
    }
}
