//! From the environment to a running function: what the deployed binary and the local cloud both start.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::allocator;
use crate::cache::Cache;
use crate::config::{Config, S3Config, TracesConfig, WarmUp};
use crate::exporter::{Exporter, Occasion};
use crate::http_client::{bundled_anchors, read_anchors};
use crate::log_line::LineWriter;
use crate::object::{Fetched, Head};
use crate::origin::Origin;
use crate::runtime::{self, Pace, Telemetry, Tracing};
use crate::s3::S3;
use crate::store::{Ask, Part, Store};
use crate::telemetry::{self, LogFilter, Traces};

/// How long the cache may be filled for; Lambda ends an INIT of ten seconds
/// ([Lambda lifecycle](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html)).
const PRELOAD_BUDGET: Duration = Duration::from_secs(5);

/// How long opening a connection may keep the first event waiting.
const PREWARM_BUDGET: Duration = Duration::from_secs(2);

/// How long spans may take at the end: Lambda leaves half a second.
const LAST_FLUSH: Duration = Duration::from_millis(400);

/// Runs the function until the Runtime API goes away; `env` gives the value of a variable.
///
/// What prevents the start is told to the Runtime API and the log, and ends in a non-zero exit code.
pub fn run(env: impl Fn(&str) -> Option<String>) -> ExitCode {
    let started = Instant::now();
    let _ = allocator::map_large_blocks();
    match Config::from_env(&env) {
        Ok(config) => {
            let traces = config.telemetry.traces.as_ref().map(Traces::new);
            start_logging(&config.log, traces.as_ref());
            if config.telemetry.metrics.is_some() {
                warn_of_lost_metrics(&env);
            }
            finish(block_on(config.concurrency, serve(config, traces, started)))
        }
        Err(error) => {
            start_logging(&LogFilter::default(), None);
            // Outside Lambda there is nobody to tell but the log.
            if env("AWS_LAMBDA_RUNTIME_API").is_some_and(|address| !address.is_empty()) {
                let _ = block_on(1, runtime::report_init_error(&error.to_string()));
            }
            finish(Ok(Err(error.into())))
        }
    }
}

/// Lambda takes a metrics line for INFO, and drops what is below the level that it is told
/// ([application log level](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html)).
fn warn_of_lost_metrics(env: impl Fn(&str) -> Option<String>) {
    let level = env("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default();
    if ["WARN", "ERROR", "FATAL"].iter().any(|above| level.eq_ignore_ascii_case(above)) {
        // At these levels a warning would not be seen.
        error!(
            "Lambda drops the metrics at AWS_LAMBDA_LOG_LEVEL={level}: set the application log level to INFO, or metrics=false"
        );
    }
}

async fn serve(config: Config, traces: Option<Traces>, started: Instant) -> Result<(), lambda_http::Error> {
    // The SDK panics on some of its own settings; that too is to be told, not only suffered.
    let connected = AssertUnwindSafe(S3::connect(&config.s3)).catch_unwind().await;
    let store = match connected.unwrap_or_else(|_| Err("the S3 client panicked: see the log".into())) {
        Ok(store) => store,
        Err(error) => {
            runtime::report_init_error(&error.to_string()).await;
            return Err(error);
        }
    };
    let tracing =
        traces.zip(config.telemetry.traces).and_then(|(traces, told)| tracing(&config.s3, &store, traces, told));
    let exporter = tracing.as_ref().map(|tracing| tracing.exporter.clone());
    let telemetry = Telemetry { lines: config.telemetry.metrics.map(LineWriter::new), traces: tracing, started };
    let cache = Cache::new(store, config.cache);
    warm_up(&cache, &config.warm_up).await;
    let origin = Origin::new(cache, config.policy, config.presentation, config.exceptions);
    let pace = Pace { concurrency: config.concurrency, deadline_margin: config.deadline_margin };
    match exporter {
        None => runtime::run(origin, pace, telemetry).await,
        Some(exporter) => {
            let ended = until_terminated(runtime::run(origin, pace, telemetry)).await;
            // Whatever has ended by now is sent, whoever stopped us.
            exporter.flush(Occasion::Last, Instant::now() + LAST_FLUSH).await;
            ended
        }
    }
}

/// What sends spans; an environment without it answers all the same.
fn tracing(s3: &S3Config, store: &S3, traces: Traces, told: TracesConfig) -> Option<Tracing> {
    let certificate = told.export.certificate.as_ref().or(s3.ca_bundle.as_ref());
    let anchors = certificate.map_or_else(|| Ok(bundled_anchors()), |pem| read_anchors(pem));
    let Traces { policy, resource, queue, .. } = traces;
    let exporter =
        anchors.and_then(|anchors| Exporter::new(&told.export, queue, &resource, anchors, store.credentials()));
    match exporter {
        Ok(exporter) => Some(Tracing { policy, exporter: Arc::new(exporter) }),
        Err(problem) => {
            warn!("no traces: {problem}");
            None
        }
    }
}

/// Runs until the end, or until SIGTERM: Lambda sends it to an environment that is to go, if anything in it registered
/// an extension
/// ([Shutdown phase](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown)).
async fn until_terminated<T: Default, E>(running: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return running.await };
    tokio::select! {
        ended = running => ended,
        _ = terminated.recv() => Ok(T::default()),
    }
}

/// Opens a connection to S3 and fills the cache while nobody waits. What fails here is tried again by whoever wants it,
/// so it is only told.
async fn warm_up(cache: &Cache<S3>, warm_up: &WarmUp) {
    let started = Instant::now();
    let mut loaded = 0;
    for key in &warm_up.preload {
        let fits = |head: &Head, _: Option<&Range<u64>>| cache.keeps(head);
        let reply = cache.fetch(&Ask::plain(key, Part::Whole, &fits), started + PRELOAD_BUDGET).await;
        match reply.fetched {
            Ok(Fetched::Object(_)) if cache.holds(key) => loaded += 1,
            Ok(Fetched::Object(_)) => {
                warn!(key = key.as_str(), "not preloaded: its Cache-Control forbids it, or there is no room for it");
            }
            Ok(_) => warn!(key = key.as_str(), "not preloaded: it is larger than cache_object_max_bytes"),
            Err(error) => {
                let why = error.trouble().unwrap_or("there is no such object, or no access to it");
                warn!(key = key.as_str(), "not preloaded: {why}");
            }
        }
    }
    if loaded > 0 {
        info!(objects = loaded, duration_ms = started.elapsed().as_millis(), "preloaded");
    }
    // After the objects too: what was too large for the cache has cost the connection.
    if warm_up.prewarm {
        let opened = cache.store().open_connection(&warm_up.index_document, started + PREWARM_BUDGET).await;
        if let Err(error) = opened {
            let why = error.trouble().unwrap_or("no answer");
            warn!("no connection to S3 was opened before the first request, which will try again: {why}");
        }
    }
}

/// Runs on one thread when one invocation runs at a time: nothing then is ever sent between threads.
fn block_on<F: Future>(concurrency: u32, future: F) -> io::Result<F::Output> {
    let mut builder = if concurrency > 1 {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    Ok(builder.enable_all().build()?.block_on(future))
}

/// Panics go to the log as one line, like everything else.
fn start_logging(filter: &LogFilter, traces: Option<&Traces>) {
    // A process that logs already, as in a test, goes on as it does.
    let _ = telemetry::init(filter, traces);
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, "panicked: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
}

fn finish(ended: io::Result<Result<(), lambda_http::Error>>) -> ExitCode {
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            error!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            error!("the runtime cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
