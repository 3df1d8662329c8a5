//! The real loop over a store that panics for one key, for the tests: no real store can be made to.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use nearedge::auth::Secrets;
use nearedge::decision::Policy;
use nearedge::object::{BodyEncoder, FetchError, Object, ObjectKey};
use nearedge::origin::Origin;
use nearedge::response::Presentation;
use nearedge::runtime::{self, Pace};
use nearedge::store::{Part, Store};

struct Panicking;

impl Store for Panicking {
    async fn fetch(&self, key: &ObjectKey, _: Part, _: Instant) -> Result<Object, FetchError> {
        assert_ne!(key.as_str(), "panic", "asked to");
        let mut encoder = BodyEncoder::with_capacity(2);
        encoder.push(&b"ok"[..]);
        Ok(Object { content_type: None, body: encoder.finish() })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Ok(secrets) = Secrets::new("lambdaapi_test") else { return ExitCode::FAILURE };
    let policy = Policy {
        secrets,
        redirect_path: String::new(),
        redirect_query: false,
        test_versions: None,
        variant_fallback: false,
    };
    let origin = Origin::new(Panicking, policy, Presentation { missing_status: 404 });
    let pace = Pace { concurrency: 1, deadline_margin: Duration::ZERO };
    match runtime::run(origin, pace).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
