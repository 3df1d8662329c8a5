//! The real invocation loop over a store that panics for the key `panic`, for the tests.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use nearedge::lambda::invocation::{self, LoopConfig, Telemetry};
use nearedge::origin::{Exceptions, Origin, Oversize};
use nearedge_core::access::secret::Secrets;
use nearedge_core::object::{BodyEncoder, Object, ObjectKey};
use nearedge_core::response::Presentation;
use nearedge_core::rules::Policy;
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Fetched, Part, Source, Store};

struct Panicking;

impl Store for Panicking {
    async fn fetch(&self, request: &FetchRequest<'_>, _: Instant) -> FetchResponse {
        assert_ne!(request.key.as_str(), "panic", "requested panic");
        let mut encoder = BodyEncoder::with_capacity(2);
        encoder.push(&b"ok"[..]);
        let object = Object { body: encoder.finish(), ..Object::default() };
        FetchResponse::new(Ok(Fetched::Object(object)), Source::Bypass)
    }

    async fn presign(&self, _: &ObjectKey, _: Part, _: Duration, _: Instant) -> Result<String, FetchError> {
        Err(FetchError::Failed(std::io::Error::other("this store presigns nothing").into()))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Ok(secrets) = Secrets::new("lambdaapi_test") else { return ExitCode::FAILURE };
    let policy = Policy::new(secrets, "");
    let origin = Origin::new(
        Panicking,
        policy,
        Presentation::new("test_version"),
        Exceptions {
            error_document: None,
            oversize: Oversize::Reject,
            object_redirects: false,
            compress_guarded: false,
            presign_ttl: Duration::from_secs(300),
        },
    );
    let config = LoopConfig { concurrency: 1, deadline_margin: Duration::ZERO, header_names: None };
    let telemetry = Telemetry { metrics: None, traces: None, started: Instant::now() };
    match invocation::run(origin, config, telemetry).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
