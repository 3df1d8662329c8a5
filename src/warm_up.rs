//! Opens a connection and fills the cache before the first event, so that no viewer waits for that.

use std::ops::Range;
use std::time::{Duration, Instant};

use nearedge_core::object::{Head, ObjectKey};
use nearedge_core::store::{FetchError, FetchRequest, Fetched, Part, Store};
use tracing::{info, warn};

use crate::storage::cache::Cache;
use crate::storage::s3::S3;

/// Timeout for preloading. Lambda ends an INIT phase after ten seconds
/// ([Lambda lifecycle](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html)).
const PRELOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for opening a connection to S3.
const PREWARM_TIMEOUT: Duration = Duration::from_secs(2);

/// The work before the first event, during INIT, when Lambda gives the most CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmUp {
    /// Whether to open a connection to S3.
    pub prewarm: bool,
    /// The objects to load into the cache.
    pub preload: Vec<ObjectKey>,
    /// The document of `/`: the key that opens the connection.
    pub index_document: ObjectKey,
}

/// Fills the cache and opens a connection to S3. Failures are logged only: the first request that needs S3 tries again.
pub(crate) async fn warm_up(cache: &Cache<S3>, config: &WarmUp) {
    let started = Instant::now();
    let mut loaded = 0;
    for key in &config.preload {
        let fits = |head: &Head, _: Option<&Range<u64>>| cache.keeps(head);
        let request = FetchRequest::unconditional(key, Part::Whole, &fits);
        let key = key.as_str();
        match cache.fetch(&request, started + PRELOAD_TIMEOUT).await.result {
            Ok(Fetched::Object(_)) if cache.holds(request.key) => loaded += 1,
            Ok(Fetched::Object(_)) => {
                warn!(key, "not preloaded: its Cache-Control forbids it, or the cache is full");
            }
            Ok(_) => warn!(key, "not preloaded: the object is larger than cache_object_max_bytes"),
            Err(error) => warn!(key, "not preloaded: {}", reason(&error)),
        }
    }
    if loaded > 0 {
        info!(objects = loaded, duration_ms = started.elapsed().as_millis(), "preloaded");
    }
    // After preloading too: dropping the body of an object that is too large has closed its connection.
    if config.prewarm {
        let opened = cache.store().open_connection(&config.index_document, started + PREWARM_TIMEOUT).await;
        if let Err(error) = opened {
            warn!("no connection to S3 during INIT; the first request opens one: {}", reason(&error));
        }
    }
}

fn reason(error: &FetchError) -> String {
    match error.cause() {
        Some(cause) => cause.to_string(),
        None => "the object does not exist, or the role has no access to it".to_owned(),
    }
}
