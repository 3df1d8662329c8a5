//! A move between the front doors, in the steps of `deploy/deploy.sh set FrontDoor=…`, under continuous requests.
//!
//! Each task is an edge location of CloudFront. It sends its requests to the HTTP API with the secret, or to the function URL. Lambda has
//! then checked the signature, and the function gets an event without the secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use emulator::cloud::Options;
use emulator::gateway::door::Door;

use crate::support::{SECRET, TestCloud, buffered, start, wait_until, with_env};

const EDGES: usize = 4;

/// The event of a request that CloudFront has signed for the function URL.
fn url_event() -> Value {
    json!({
        "version": "2.0", "rawPath": "/test.html", "rawQueryString": "", "headers": {"test_version": "v1"},
        "requestContext": {
            "domainName": "abc.lambda-url.us-east-1.on.aws", "stage": "$default", "http": {"method": "GET"},
            "accountId": "123456789012", "authorizer": {"iam": {"accountId": "123456789012"}},
        },
        "isBase64Encoded": false,
    })
}

/// The status of a request through the function URL.
async fn by_url(test: &TestCloud) -> u64 {
    let invocation = test.cloud.lambda.invoke(url_event().to_string().into(), "Root=1-0-0".to_owned()).await.unwrap();
    let response: Value = serde_json::from_slice(&invocation.result.unwrap()).unwrap();
    response["statusCode"].as_u64().unwrap()
}

/// The status of a request through the HTTP API.
async fn by_api(test: &TestCloud) -> u64 {
    u64::from(test.api("/test.html", &[SECRET, ("test_version", "v1")]).await.status.as_u16())
}

/// Edge locations that continuously send requests.
struct Edges {
    use_url: Arc<[AtomicBool; EDGES]>,
    responses: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Vec<u64>>>,
}

impl Edges {
    fn start(test: &Arc<TestCloud>) -> Self {
        let use_url: Arc<[AtomicBool; EDGES]> = Arc::default();
        let (responses, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let run = |edge: usize| {
            let (test, use_url, responses, stop) = (test.clone(), use_url.clone(), responses.clone(), stop.clone());
            tokio::spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Relaxed) {
                    let status = if use_url[edge].load(Relaxed) { by_url(&test).await } else { by_api(&test).await };
                    if status != 200 {
                        failures.push(status);
                    }
                    responses.fetch_add(1, Relaxed);
                }
                failures
            })
        };
        let tasks = (0..EDGES).map(run).collect();
        Self { use_url, responses, stop, tasks }
    }

    /// Waits for a hundred more responses.
    async fn proceed(&self) {
        let target = self.responses.load(Relaxed) + 100;
        wait_until(|| self.responses.load(Relaxed) >= target).await;
    }

    /// Deploys a distribution that uses the URL, or no longer uses it: the edge locations receive it one after the other.
    async fn deploy(&self, uses_url: bool) {
        for edge in self.use_url.iter() {
            edge.store(uses_url, Relaxed);
            self.proceed().await;
        }
    }

    /// Stops the edge locations. Returns the statuses other than 200.
    async fn stop(self) -> Vec<u64> {
        self.stop.store(true, Relaxed);
        let mut failures = Vec::new();
        for task in self.tasks {
            failures.extend(task.await.unwrap());
        }
        failures
    }
}

async fn shut_down(test: Arc<TestCloud>) {
    Arc::try_unwrap(test).ok().unwrap().shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_between_the_front_doors_loses_no_request() {
    let test = Arc::new(start(buffered(with_env(&[("cache_ttl_secs", "10")]))).await);
    let edges = Edges::start(&test);
    edges.proceed().await;
    // HttpApiWithFunctionUrl
    test.cloud.lambda.configure(&[("function_url_iam", "true")]);
    edges.proceed().await;
    // FunctionUrlWithHttpApi
    edges.deploy(true).await;
    // FunctionUrl: no edge location uses the API, which the step removes. Then the same steps back.
    edges.proceed().await;
    edges.deploy(false).await;
    test.cloud.lambda.configure(&[("function_url_iam", "")]);
    edges.proceed().await;
    let failures = edges.stop().await;
    assert!(failures.is_empty(), "expected only 200, found {failures:?}");
    shut_down(test).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_function_url_before_its_setting_loses_requests() {
    let test = Arc::new(start(buffered(with_env(&[("cache_ttl_secs", "10")]))).await);
    let edges = Edges::start(&test);
    edges.proceed().await;
    edges.deploy(true).await;
    test.cloud.lambda.configure(&[("function_url_iam", "true")]);
    edges.proceed().await;
    let failures = edges.stop().await;
    assert!(!failures.is_empty() && failures.iter().all(|status| *status == 403), "{failures:?}");
    shut_down(test).await;
}

#[tokio::test]
async fn a_signed_request_is_answered_only_with_function_url_iam() {
    let door = Door::FunctionUrl { streaming: None, origin_access_control: true };
    for (env, status) in
        [(&[][..], 200), (&[("function_url_iam", "false"), ("lambda_auth", "a-secret-of-the-stack")], 403)]
    {
        let test = start(Options { door: door.clone(), ..with_env(env) }).await;
        // The distribution does not forward the viewer's own field.
        let headers = [("lambda_auth", "a-secret-of-the-stack"), ("test_version", "v1")];
        assert_eq!(test.cdn("/test.html", &headers).await.status.as_u16(), status, "{env:?}");
        // Past the CDN, Lambda refuses what is not signed.
        assert_eq!(test.api("/test.html", &headers).await.status.as_u16(), 403, "{env:?}");
        test.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_function_url_is_trusted_without_the_secret() {
    let test = Arc::new(start(buffered(with_env(&[("function_url_iam", "true")]))).await);
    assert_eq!(by_url(&test).await, 200);
    assert_eq!(by_api(&test).await, 200);
    assert_eq!(test.api("/test.html", &[("test_version", "v1")]).await.status.as_u16(), 403);
    assert_eq!(test.cdn("/test.html", &[("test_version", "v1")]).await.status.as_u16(), 200);
    shut_down(test).await;
}
