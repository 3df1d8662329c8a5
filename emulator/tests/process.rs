//! The function's process against a scripted Runtime API: what a whole local cloud cannot show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use emulator::serve::{self, Server};
use http::{Method, Response, StatusCode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

/// Upper bound of everything that a test waits for.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A Runtime API that delivers the same event a number of times, and records the ids of acknowledged responses.
struct RuntimeApi {
    server: Server,
    address: SocketAddr,
    acknowledged: mpsc::UnboundedReceiver<String>,
    init_errors: mpsc::UnboundedReceiver<Value>,
    waiting: Arc<Notify>,
}

impl RuntimeApi {
    async fn new(event: Value, events: usize) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acknowledge, acknowledged) = mpsc::unbounded_channel();
        let (report, init_errors) = mpsc::unbounded_channel();
        let (delivered, waiting) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let event = event.to_string();
        let notify = waiting.clone();
        let server = serve::serve(listener, move |request, _| {
            let (acknowledge, report, event) = (acknowledge.clone(), report.clone(), event.clone());
            let (delivered, waiting) = (delivered.clone(), notify.clone());
            async move {
                let path = request.uri().path().to_owned();
                let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
                match (request.method(), &parts[..]) {
                    (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => {
                        let number = delivered.fetch_add(1, Ordering::SeqCst);
                        if number >= events {
                            waiting.notify_one();
                            return std::future::pending().await;
                        }
                        let response = Response::builder()
                            .header("lambda-runtime-aws-request-id", format!("request-{number}"))
                            .header("lambda-runtime-deadline-ms", "32503680000000")
                            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:1:function:f");
                        Ok(response.body(serve::full(event))?)
                    }
                    (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                        let id = (*id).to_owned();
                        serve::collect(request.into_body(), 1 << 23).await.map_err(|_| "no body")?;
                        let _ = acknowledge.send(id);
                        Ok(serve::json(StatusCode::ACCEPTED, "{}"))
                    }
                    (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                        let body = serve::collect(request.into_body(), 1 << 20).await.map_err(|_| "no body")?;
                        let _ = report.send(serde_json::from_slice(&body)?);
                        Ok(serve::json(StatusCode::ACCEPTED, "{}"))
                    }
                    _ => Ok(serve::json(StatusCode::NOT_FOUND, "{}")),
                }
            }
        });
        Self { server, address, acknowledged, init_errors, waiting }
    }
}

/// The function's process. Its output is read all the time: otherwise it would drop lines once the pipe is full.
struct Function {
    child: Child,
    output: JoinHandle<String>,
}

/// Starts the function, with at most this many open files.
fn start(api: &RuntimeApi, concurrency: usize, open_files: usize, env: &[(&str, &str)]) -> Function {
    let script = format!("ulimit -n {open_files} && exec \"$0\" as-bootstrap");
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_nearedge")).env_clear();
    command.envs([
        ("AWS_LAMBDA_RUNTIME_API", api.address.to_string().as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_MAX_CONCURRENCY", concurrency.to_string().as_str()),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key"),
        ("bucket", "my-site"),
        ("lambda_auth", "secret"),
        ("redirect_path", "https://d1.cloudfront.net"),
        ("prewarm", "false"),
    ]);
    command.envs(env.iter().copied());
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let output = tokio::spawn(async move {
        let mut output = String::new();
        stdout.read_to_string(&mut output).await.unwrap();
        output
    });
    Function { child, output }
}

/// A request without the secret: the response needs no S3.
fn forbidden() -> Value {
    json!({"version": "2.0", "rawPath": "/", "headers": {}, "requestContext": {"http": {"method": "GET"}}})
}

impl Function {
    fn terminate(&self) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }

    /// The exit status, and everything that the process wrote.
    async fn finish(mut self) -> (ExitStatus, String) {
        let status = tokio::time::timeout(TIMEOUT, self.child.wait()).await.expect("the process ends").unwrap();
        (status, self.output.await.unwrap())
    }
}

#[tokio::test]
async fn workers_exit_quietly_when_the_runtime_api_disappears() {
    for events in [0, 20] {
        let api = RuntimeApi::new(forbidden(), events).await;
        let function = start(&api, 8, 1024, &[("metrics", "false"), ("AWS_LAMBDA_LOG_LEVEL", "WARN")]);
        api.waiting.notified().await;
        drop(api.server);
        let (status, output) = function.finish().await;
        assert!(!status.success(), "{output}");
        assert!(output.contains("the Runtime API returns no events"), "{output}");
        assert!(output.lines().count() < 20, "{output}");
    }
}

#[tokio::test]
async fn sigterm_under_load_loses_no_line_of_an_answered_invocation() {
    let mut api = RuntimeApi::new(forbidden(), 1_000_000).await;
    let function = start(&api, 8, 1024, &[]);
    let mut ids = Vec::new();
    for _ in 0..500 {
        ids.push(api.acknowledged.recv().await.unwrap());
    }
    function.terminate();
    let (status, output) = function.finish().await;
    assert!(status.success(), "{status}");
    while let Ok(id) = api.acknowledged.try_recv() {
        ids.push(id);
    }
    let mut logged: Vec<String> = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["request_id"].as_str().map(str::to_owned))
        .collect();
    logged.sort();
    let lost: Vec<&String> = ids.iter().filter(|id| logged.binary_search(id).is_err()).collect();
    assert!(lost.is_empty(), "{} of {} lines are lost", lost.len(), ids.len());
}

#[tokio::test]
async fn few_descriptors_suffice_for_many_workers() {
    let mut api = RuntimeApi::new(forbidden(), 400).await;
    let function = start(&api, 16, 64, &[]);
    for _ in 0..400 {
        tokio::time::timeout(TIMEOUT, api.acknowledged.recv()).await.expect("every response arrives").unwrap();
    }
    function.terminate();
    assert!(function.finish().await.0.success());
}

#[tokio::test]
async fn too_few_descriptors_are_an_init_error() {
    let mut api = RuntimeApi::new(forbidden(), 0).await;
    let function = start(&api, 400, 100, &[]);
    let error = tokio::time::timeout(TIMEOUT, api.init_errors.recv()).await.unwrap().unwrap();
    assert!(error["errorMessage"].as_str().unwrap().contains("open file descriptors"), "{error}");
    assert!(!function.finish().await.0.success());
}

#[tokio::test]
async fn a_warm_up_event_succeeds_and_is_counted_apart() {
    let mut api = RuntimeApi::new(json!({"warmer": true, "concurrency": 3}), 2).await;
    let function = start(&api, 2, 1024, &[]);
    for _ in 0..2 {
        tokio::time::timeout(TIMEOUT, api.acknowledged.recv()).await.unwrap().unwrap();
    }
    function.terminate();
    let (_, output) = function.finish().await;
    let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warm_ups: Vec<Value> = lines.filter(|line| line["outcome"] == "warm_up").collect();
    assert_eq!(warm_ups.len(), 2, "{output}");
    for line in &warm_ups {
        assert_eq!(line["WarmUp"], json!(1), "{line}");
        assert!(line["Duration"].is_null() && line["Status2xx"].is_null(), "a warm-up is no request: {line}");
    }
}

#[tokio::test]
async fn a_misspelt_setting_is_reported_once_at_the_start() {
    let api = RuntimeApi::new(forbidden(), 0).await;
    let function = start(&api, 2, 1024, &[("cache_ttl_sec", "0"), ("Test_Versions", "v1")]);
    api.waiting.notified().await;
    function.terminate();
    let (_, output) = function.finish().await;
    for meant in ["cache_ttl_secs", "test_versions"] {
        assert_eq!(output.matches(&format!("did you mean {meant}?")).count(), 1, "{output}");
    }
}
