//! The command line `nearedge`: starts the local cloud, or runs `policy check`.

mod cli;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{self, ExitCode};

use aws_credential_types::Credentials;
use clap::Parser;
use emulator::cloud::{Bootstrap, Cloud, Options, Storage};
use emulator::fault::Faults;
use emulator::journal::{HandlerLog, Journal};
use emulator::policy;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command};

/// The first argument with which this executable runs as the handler, so that one build contains both.
///
/// The next argument is the process id of the local cloud. The last one, if any, is the path of another handler to run.
const AS_BOOTSTRAP: &str = "as-bootstrap";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == AS_BOOTSTRAP) {
        return run_bootstrap(arguments.next(), arguments.next());
    }
    let cli = Cli::parse();
    if let Some(Command::Policy { command }) = &cli.command {
        return policy::command::run(command);
    }
    let result = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(format!("cannot start the async runtime: {error}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "nearedge: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the handler, or another program in its place, in a child process of the local cloud.
fn run_bootstrap(cloud: Option<OsString>, program: Option<OsString>) -> ExitCode {
    // The kernel kills the handler, frozen or not, when the local cloud exits for any reason.
    #[cfg(target_os = "linux")]
    {
        let armed = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        let parent = std::os::unix::process::parent_id().to_string();
        if armed.is_err() || cloud.is_some_and(|cloud| cloud != *parent) {
            return ExitCode::FAILURE;
        }
    }
    match program {
        Some(program) => {
            let error = process::Command::new(&program).exec();
            drop(writeln!(std::io::stderr(), "cannot start {}: {error}", program.display()));
            ExitCode::FAILURE
        }
        None => nearedge::bootstrap::run(|name| std::env::var(name).ok()),
    }
}

/// Runs the local cloud until SIGINT or SIGTERM.
async fn run(cli: Cli) -> Result<(), String> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let faults = Faults::default();
    faults.set(cli.faults.clone());
    let journal = Journal::to_stdout(if cli.logs { HandlerLog::All } else { HandlerLog::Warnings });
    let options = options(cli)?;
    let mut stopped = pin!(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    let cloud = tokio::select! {
        cloud = Cloud::start(options, faults, journal) => cloud?,
        // The child processes die with this process.
        () = &mut stopped => return Ok(()),
    };
    drop(writeln!(std::io::stdout(), "{}", cloud.banner()));
    stopped.await;
    cloud.shut_down().await;
    Ok(())
}

/// The options of the local cloud from those of the command line.
fn options(cli: Cli) -> Result<Options, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find the path of this executable: {error}"))?;
    let mut arguments = vec![AS_BOOTSTRAP.to_owned(), process::id().to_string()];
    let mut env = Vec::new();
    if let Some(path) = cli.bootstrap {
        let handler = executable(&path)?;
        let folder = Path::new(&handler).parent().map(|folder| folder.display().to_string());
        env.extend(folder.map(|folder| ("LAMBDA_TASK_ROOT".to_owned(), folder)));
        arguments.push(handler);
    }
    env.extend(cli.env);
    let bootstrap = Bootstrap { program, arguments };
    let storage = match cli.s3_endpoint {
        Some(url) => Storage::Endpoint { url, credentials: shell_credentials()? },
        None => Storage::Folder { site: cli.site, address: cli.s3, missing_key: cli.missing_key },
    };
    Ok(Options {
        edge: cli.edge,
        gateway: cli.gateway,
        console: cli.console,
        storage,
        bucket: cli.bucket,
        variants: cli.variants,
        forwarded: cli.forwarded,
        stage: cli.stage,
        region: cli.region,
        env,
        memory_mb: cli.memory,
        timeout: cli.timeout,
        environments: cli.environments.into(),
        concurrency: cli.concurrency.into(),
        freeze: !cli.no_freeze,
        throttle: cli.throttle,
        sampled: cli.sampled,
        ..Options::new(bootstrap, PathBuf::new())
    })
}

/// The absolute path of the program at `path`.
///
/// # Errors
/// If the program is not an executable file: a message that names the option.
fn executable(path: &Path) -> Result<String, String> {
    let failure = |reason: &str| format!("--bootstrap {}: {reason}", path.display());
    let program = path.canonicalize().map_err(|error| failure(&error.to_string()))?;
    let metadata = program.metadata().map_err(|error| failure(&error.to_string()))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(failure("expected an executable file: run `chmod +x` on it, or choose another file"));
    }
    program.into_os_string().into_string().map_err(|_| failure("the path is not UTF-8"))
}

/// The AWS credentials in the environment of this process.
fn shell_credentials() -> Result<Credentials, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(Credentials::from_keys(id, secret, variable("AWS_SESSION_TOKEN"))),
        _ => Err("--s3-endpoint requires credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned()),
    }
}
