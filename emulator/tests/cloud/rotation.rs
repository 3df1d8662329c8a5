//! Rotation of the secret in the three steps of `deploy/rotate.sh`, under continuous requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use emulator::cloud::Cloud;
use http::{HeaderValue, StatusCode};
use tokio::task::JoinHandle;

use crate::support::{TestCloud, start, wait_until, with_env};

const OLD: &str = "lambdaapi_test";
const NEW: &str = "5f0c9d3e7a41b86295dc1f3870be64a9";

/// Viewers that continuously request both variants.
struct Viewers {
    responses: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<StatusCode>>>,
}

impl Viewers {
    fn start(test: &Arc<TestCloud>) -> Self {
        let (responses, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let view = |variant: &'static str| {
            let (test, responses, stop) = (test.clone(), responses.clone(), stop.clone());
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Relaxed) {
                    let response = test.cdn("/test.html", &[("test_version", variant)]).await;
                    if response.status != StatusCode::OK {
                        failures.push(response.status);
                    } else {
                        assert_eq!(response.header("x-variant"), variant);
                    }
                    responses.fetch_add(1, Relaxed);
                }
                failures
            })
        };
        let tasks = ["v1", "v2", "v1", "v2"].map(view).into();
        Self { responses, stop, tasks }
    }

    /// Waits for a hundred more responses.
    async fn proceed(&self) {
        let target = self.responses.load(Relaxed) + 100;
        wait_until(|| self.responses.load(Relaxed) >= target).await;
    }

    /// Stops the viewers. Returns the statuses other than 200.
    async fn stop(self) -> Vec<StatusCode> {
        self.stop.store(true, Relaxed);
        let mut failures = Vec::new();
        for task in self.tasks {
            failures.extend(task.await.unwrap());
        }
        failures
    }
}

/// Changes the secret that the CDN sends.
fn send_secret(cloud: &Cloud, secret: &'static str) {
    cloud.origin_header.change(HeaderValue::from_static(secret));
}

async fn shut_down(test: Arc<TestCloud>) {
    Arc::try_unwrap(test).ok().unwrap().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_in_three_steps_loses_no_request() {
    let test = Arc::new(start(with_env(&[("cache_ttl_secs", "10")])).await);
    let (cloud, viewers) = (&test.cloud, Viewers::start(&test));
    viewers.proceed().await;
    cloud.lambda.configure(&[("lambda_auth_next", NEW)]);
    viewers.proceed().await;
    send_secret(cloud, NEW);
    viewers.proceed().await;
    cloud.lambda.configure(&[("lambda_auth", NEW), ("lambda_auth_next", "")]);
    viewers.proceed().await;
    let failures = viewers.stop().await;
    assert!(failures.is_empty(), "expected only 200, found {failures:?}");

    assert_eq!(test.api("/", &[("lambda_auth", NEW)]).await.status, StatusCode::OK);
    assert_eq!(test.api("/", &[("lambda_auth", OLD)]).await.status, StatusCode::FORBIDDEN);
    shut_down(test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_secret_in_one_step_loses_requests() {
    let test = Arc::new(start(with_env(&[("cache_ttl_secs", "10")])).await);
    let (cloud, viewers) = (&test.cloud, Viewers::start(&test));
    viewers.proceed().await;
    cloud.lambda.configure(&[("lambda_auth", NEW)]);
    viewers.proceed().await;
    send_secret(cloud, NEW);
    viewers.proceed().await;
    let failures = viewers.stop().await;
    assert!(!failures.is_empty() && failures.iter().all(|status| *status == StatusCode::FORBIDDEN), "{failures:?}");
    shut_down(test).await;
}
