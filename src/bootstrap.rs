//! From the environment to a running function: what the deployed binary and the local cloud both start.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use futures_util::FutureExt;
use tracing::error;

use crate::config::Config;
use crate::origin::Origin;
use crate::runtime::{self, Pace};
use crate::s3::S3;
use crate::telemetry::{self, LogFilter};

/// Runs the function until the Runtime API goes away; `env` gives the value of a variable.
///
/// What prevents the start is told to the Runtime API and the log, and ends in a non-zero exit code.
pub fn run(env: impl Fn(&str) -> Option<String>) -> ExitCode {
    match Config::from_env(&env) {
        Ok(config) => {
            start_logging(&config.log);
            finish(block_on(config.concurrency, serve(config)))
        }
        Err(error) => {
            start_logging(&LogFilter::default());
            // Outside Lambda there is nobody to tell but the log.
            if env("AWS_LAMBDA_RUNTIME_API").is_some_and(|address| !address.is_empty()) {
                let _ = block_on(1, runtime::report_init_error(&error.to_string()));
            }
            finish(Ok(Err(error.into())))
        }
    }
}

async fn serve(config: Config) -> Result<(), lambda_http::Error> {
    // The SDK panics on some of its own settings; that too is to be told, not only suffered.
    let connected = AssertUnwindSafe(S3::connect(&config.s3)).catch_unwind().await;
    let store = match connected.unwrap_or_else(|_| Err("the S3 client panicked: see the log".into())) {
        Ok(store) => store,
        Err(error) => {
            runtime::report_init_error(&error.to_string()).await;
            return Err(error);
        }
    };
    let origin = Origin::new(store, config.policy, config.presentation, config.exceptions);
    runtime::run(origin, Pace { concurrency: config.concurrency, deadline_margin: config.deadline_margin }).await
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
fn start_logging(filter: &LogFilter) {
    // A process that logs already, as in a test, goes on as it does.
    let _ = telemetry::init(filter);
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
