//! A new secret without a lost request: the three steps of `deploy/rotate.sh`, under requests that never stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use emulator::cloud::Cloud;
use http::{HeaderValue, StatusCode};
use tokio::task::JoinHandle;

use crate::support::{TestCloud, start, until, with_env};

const OLD: &str = "lambdaapi_test";
const NEW: &str = "5f0c9d3e7a41b86295dc1f3870be64a9";

/// Viewers that ask for both variants, one request after another.
struct Viewers {
    answered: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<StatusCode>>>,
}

impl Viewers {
    fn start(test: &Arc<TestCloud>) -> Self {
        let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let view = |variant: &'static str| {
            let (test, answered, stop) = (test.clone(), answered.clone(), stop.clone());
            tokio::spawn(async move {
                let mut others = Vec::new();
                while !stop.load(Relaxed) {
                    let answer = test.cdn("/test.html", &[("test_version", variant)]).await;
                    if answer.status != StatusCode::OK {
                        others.push(answer.status);
                    } else {
                        assert_eq!(answer.header("x-variant"), variant);
                    }
                    answered.fetch_add(1, Relaxed);
                }
                others
            })
        };
        let tasks = ["v1", "v2", "v1", "v2"].map(view).into();
        Self { answered, stop, tasks }
    }

    /// Until a hundred more have been answered.
    async fn go_on(&self) {
        let wanted = self.answered.load(Relaxed) + 100;
        until(|| self.answered.load(Relaxed) >= wanted).await;
    }

    /// The answers that were no 200.
    async fn end(self) -> Vec<StatusCode> {
        self.stop.store(true, Relaxed);
        let mut others = Vec::new();
        for task in self.tasks {
            others.extend(task.await.unwrap());
        }
        others
    }
}

fn sends(cloud: &Cloud, secret: &'static str) {
    cloud.origin_header.change(HeaderValue::from_static(secret));
}

async fn end(test: Arc<TestCloud>) {
    Arc::try_unwrap(test).ok().unwrap().end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_in_three_steps_loses_no_request_and_ends_with_the_new_secret_alone() {
    let test = Arc::new(start(with_env(&[("cache_ttl_secs", "10")])).await);
    let (cloud, viewers) = (&test.cloud, Viewers::start(&test));
    viewers.go_on().await;
    cloud.lambda.configure(&[("lambda_auth_next", NEW)]);
    viewers.go_on().await;
    sends(cloud, NEW);
    viewers.go_on().await;
    cloud.lambda.configure(&[("lambda_auth", NEW), ("lambda_auth_next", "")]);
    viewers.go_on().await;
    let others = viewers.end().await;
    assert!(others.is_empty(), "every answer is a 200, not {others:?}");

    assert_eq!(test.api("/", &[("lambda_auth", NEW)]).await.status, StatusCode::OK);
    assert_eq!(test.api("/", &[("lambda_auth", OLD)]).await.status, StatusCode::FORBIDDEN);
    end(test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_simply_changed_loses_requests() {
    let test = Arc::new(start(with_env(&[("cache_ttl_secs", "10")])).await);
    let (cloud, viewers) = (&test.cloud, Viewers::start(&test));
    viewers.go_on().await;
    cloud.lambda.configure(&[("lambda_auth", NEW)]);
    viewers.go_on().await;
    sends(cloud, NEW);
    viewers.go_on().await;
    let others = viewers.end().await;
    assert!(!others.is_empty() && others.iter().all(|status| *status == StatusCode::FORBIDDEN), "{others:?}");
    end(test).await;
}
