//! Environment → running function. The deployed binary and the local cloud both start here.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join;
use rustls::RootCertStore;
use tracing::{error, warn};

use crate::config::Config;
use crate::config::names::misspelt;
use crate::http_client::{bundled_anchors, read_anchors};
use crate::lambda::invocation::{self, LoopConfig, Metrics, Telemetry, Tracing};
use crate::lambda::{allocator, descriptors};
use crate::origin::{Origin, Site};
use crate::storage::cache::Cache;
use crate::storage::s3::{Limits, S3, S3Config};
use crate::telemetry::MetricsMode;
use crate::telemetry::exporter::{Exporter, FlushReason};
use crate::telemetry::log::{self, LogFilter};
use crate::telemetry::metrics_batch::BatchWriter;
use crate::telemetry::metrics_exporter::{MetricsExport, MetricsExporter};
use crate::telemetry::metrics_line::{LineWriter, MetricsConfig};
use crate::telemetry::spans::{Traces, TracesConfig};
use crate::warm_up::warm_up;

/// The memory of the process without cache and bodies, with a margin: at rest it has less than 10 MB, and glibc keeps
/// freed blocks.
const PROCESS_BYTES: u64 = 40 << 20;

/// The least memory for bodies in flight: two of the largest responses that Lambda accepts.
const BODY_BYTES_MIN: u64 = 16 << 20;

/// Timeout for the last export of spans and metrics, at the same time: Lambda kills the process half a second after SIGTERM.
const LAST_FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// Timeout for loading the files of the site before the first event.
const SITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the function until the Runtime API closes; `env` returns the value of an environment variable, `names` are those of all
/// variables.
///
/// Reports a failed start to the Runtime API and the log, and returns a non-zero exit code.
pub fn run(env: impl Fn(&str) -> Option<String>, names: impl IntoIterator<Item = String>) -> ExitCode {
    let started = Instant::now();
    let _ = allocator::map_large_blocks();
    match Config::from_env(&env) {
        Ok(config) => {
            let traces = config.telemetry.traces.as_ref().map(Traces::new);
            start_logging(&config.log, traces.as_ref());
            for misspelt in misspelt(names) {
                warn!("{misspelt}");
            }
            if config.telemetry.metrics.is_some() && !matches!(config.telemetry.mode, MetricsMode::Otlp(..)) {
                warn_of_dropped_metrics(&env);
            }
            finish(block_on(config.concurrency, serve(config, traces, started)))
        }
        Err(error) => {
            start_logging(&LogFilter::default(), None);
            // Outside Lambda there is no Runtime API to report to.
            if env("AWS_LAMBDA_RUNTIME_API").is_some_and(|address| !address.is_empty()) {
                let problem = error.to_string();
                let _ = block_on(1, async move { invocation::report_init_error(&problem).await });
            }
            finish(Ok(Err(error.into())))
        }
    }
}

/// Logs an error if Lambda would drop the metrics: it treats a metrics line as INFO
/// ([application log level](https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html)).
fn warn_of_dropped_metrics(env: impl Fn(&str) -> Option<String>) {
    let level = env("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default();
    if ["WARN", "ERROR", "FATAL"].iter().any(|above| level.eq_ignore_ascii_case(above)) {
        // Not a warning: these levels drop warnings too.
        error!(
            "Lambda drops the metrics at AWS_LAMBDA_LOG_LEVEL={level}: set the application log level to INFO, or metrics=false"
        );
    }
}

async fn serve(config: Config, traces: Option<Traces>, started: Instant) -> Result<(), lambda_http::Error> {
    let limits = match s3_limits(&config) {
        Ok(limits) => limits,
        Err(error) => {
            invocation::report_init_error(&error).await;
            return Err(error.into());
        }
    };
    // The SDK panics on some invalid settings. Catch that, so that it is reported as an init error.
    let connected = AssertUnwindSafe(S3::connect(&config.s3, limits)).catch_unwind().await;
    let store = match connected.unwrap_or_else(|_| Err("the S3 client panicked: see the log".into())) {
        Ok(store) => store,
        Err(error) => {
            invocation::report_init_error(&error.to_string()).await;
            return Err(error);
        }
    };
    let tracing = traces
        .zip(config.telemetry.traces)
        .and_then(|(traces, settings)| tracing(&config.s3, &store, traces, settings));
    let exporter = tracing.as_ref().map(|tracing| tracing.exporter.clone());
    let mode = config.telemetry.mode;
    let metrics = config.telemetry.metrics.and_then(|settings| match mode {
        MetricsMode::Line => Some(Metrics::Lines(LineWriter::new(settings))),
        MetricsMode::Batch(access) => Some(Metrics::Batches(BatchWriter::new(settings), access)),
        MetricsMode::Otlp(access, export) => {
            Some(Metrics::Exported(metrics_exporter(&config.s3, &store, settings, &export)?, access))
        }
    });
    let metrics_exporter = match &metrics {
        Some(Metrics::Exported(exporter, _)) => Some(exporter.clone()),
        _ => None,
    };
    let telemetry = Telemetry { metrics, traces: tracing, started };
    let cache = Cache::new(store, config.cache);
    let site = Site::new(config.site);
    let mut warm_up_config = config.warm_up;
    if !site.is_empty() {
        site.load(&cache, Instant::now() + SITE_TIMEOUT).await;
        // That has opened the connection, or S3 does not answer.
        warm_up_config.prewarm = false;
    }
    warm_up(&cache, &warm_up_config).await;
    let origin = Origin::new(cache, config.policy, config.presentation, config.exceptions).with_site(site);
    let settings = LoopConfig {
        concurrency: config.concurrency,
        deadline_margin: config.deadline_margin,
        header_names: config.header_names,
    };
    let result = invocation::run(origin, settings, telemetry).await;
    // Exports what has ended, however the loop ended.
    let latest = Instant::now() + LAST_FLUSH_TIMEOUT;
    let spans = async {
        if let Some(exporter) = exporter {
            exporter.flush(FlushReason::Shutdown, latest).await;
        }
    };
    let metrics = async {
        if let Some(exporter) = metrics_exporter {
            exporter.flush(FlushReason::Shutdown, latest).await;
        }
    };
    join(spans, metrics).await;
    result
}

/// Builds the exporter of spans. If that fails, the function runs without traces.
fn tracing(s3: &S3Config, store: &S3, traces: Traces, settings: TracesConfig) -> Option<Tracing> {
    let anchors = anchors(settings.export.certificate.as_ref(), s3);
    let Traces { policy, resource, queue, .. } = traces;
    let exporter =
        anchors.and_then(|anchors| Exporter::new(&settings.export, queue, &resource, anchors, store.credentials()));
    match exporter {
        Ok(exporter) => Some(Tracing { policy, exporter: Arc::new(exporter) }),
        Err(problem) => {
            warn!("traces are off: {problem}");
            None
        }
    }
}

/// Builds the exporter of metrics. If that fails, the function runs without metrics.
fn metrics_exporter(
    s3: &S3Config,
    store: &S3,
    settings: MetricsConfig,
    export: &MetricsExport,
) -> Option<Arc<MetricsExporter>> {
    let anchors = anchors(export.certificate.as_ref(), s3);
    match anchors.and_then(|anchors| MetricsExporter::new(settings, export, anchors, store.credentials())) {
        Ok(exporter) => Some(Arc::new(exporter)),
        Err(problem) => {
            warn!("metrics are off: {problem}");
            None
        }
    }
}

/// The trust anchors of an exporter: its own, else those for S3, else the bundled ones.
fn anchors(certificate: Option<&Vec<u8>>, s3: &S3Config) -> Result<RootCertStore, String> {
    certificate.or(s3.ca_bundle.as_ref()).map_or_else(|| Ok(bundled_anchors()), |pem| read_anchors(pem))
}

/// The resources that requests to S3 may use.
fn s3_limits(config: &Config) -> Result<Limits, String> {
    let connections = descriptors::s3_connections(descriptors::raise_limit(), config.concurrency)?;
    let body_bytes = config.memory_bytes.saturating_sub(config.cache.max_bytes + PROCESS_BYTES).max(BODY_BYTES_MIN);
    Ok(Limits { connections, body_bytes })
}

/// Runs on one thread if one invocation runs at a time: nothing then moves between threads.
///
/// `future` becomes a task: waking the future of tokio's `block_on` costs a system call, waking a task does not.
fn block_on<F>(concurrency: u32, future: F) -> io::Result<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut builder = if concurrency > 1 {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = builder.enable_all().build()?;
    let task = runtime.spawn(future);
    runtime.block_on(task).map_err(io::Error::other)
}

/// Starts the log, and logs each panic as one line.
fn start_logging(filter: &LogFilter, traces: Option<&Traces>) {
    // A process that logs already, such as a test, keeps its own log.
    let _ = log::init(filter, traces);
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        error!(location, "panicked: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
}

fn finish(result: io::Result<Result<(), lambda_http::Error>>) -> ExitCode {
    match result {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            error!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            error!("the async runtime failed: {error}");
            ExitCode::FAILURE
        }
    }
}
