//! `cargo run`: the local cloud on the command line.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::time::Duration;

use aws_credential_types::Credentials;
use clap::builder::TypedValueParser;
use clap::{Parser, Subcommand};
use emulator::cloud::{Bootstrap, Cloud, Options, Storage};
use emulator::fault::{self, Fault, Faults};
use emulator::journal::{HandlerLog, Journal};
use emulator::policy;
use emulator::s3::MissingKey;
use http::{HeaderName, Uri};
use tokio::signal::unix::{SignalKind, signal};

/// The first argument that makes this executable the handler: one build gives both. The emulator's process
/// id follows, and where another handler is to run, its path.
const AS_BOOTSTRAP: &str = "as-bootstrap";

/// nearedge's local cloud: CloudFront, API Gateway, Lambda and S3 in one process.
///
/// It serves a sample site with two variants, or a folder of yours, through the same hops as in AWS: a
/// CDN that adds the secret header, an HTTP API with payload format 2.0, the real handler in frozen
/// execution environments, and a bucket that checks signatures. Every request is one line on the terminal.
#[derive(Debug, Parser)]
#[command(name = "nearedge", version, after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,

    /// Where the CDN listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000", help_heading = "Addresses")]
    edge: SocketAddr,
    /// Where the HTTP API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3001", help_heading = "Addresses")]
    gateway: SocketAddr,
    /// Where the local bucket listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3002", help_heading = "Addresses")]
    s3: SocketAddr,

    /// Where the console listens, and the OTLP endpoint
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3003", help_heading = "Addresses")]
    console: SocketAddr,

    /// The folder to serve as the bucket; it is only read, what is put over S3 stays in memory
    #[arg(long, value_name = "DIR", default_value = SAMPLE_SITE, help_heading = "Objects", hide_default_value = true)]
    site: PathBuf,
    /// The bucket's name
    #[arg(long, value_name = "NAME", default_value = "lambda-api-2022", help_heading = "Objects")]
    bucket: String,
    /// What the bucket says of a key that is not there: access-denied, as to a role without s3:ListBucket
    #[arg(
        long,
        value_name = "ANSWER",
        default_value = "no-such-key",
        help_heading = "Objects",
        value_parser = clap::builder::PossibleValuesParser::new(["no-such-key", "access-denied"]).map(|answer| missing_key(&answer))
    )]
    missing_key: MissingKey,
    /// Use a real S3 at this address instead of the folder, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
    /// and AWS_SESSION_TOKEN of this shell
    #[arg(long, value_name = "URL", help_heading = "Objects")]
    s3_endpoint: Option<Uri>,
    /// The variants whose folders the CDN serves straight from the bucket
    #[arg(long, value_name = "LIST", default_value = "v1,v2", value_delimiter = ',', help_heading = "Objects")]
    variants: Vec<String>,

    /// A request header that the CDN's policy forwards besides test_version and redirect, such as accept for
    /// spa_fallback; can be repeated
    #[arg(long = "forward", value_name = "HEADER", help_heading = "Addresses")]
    forwarded: Vec<HeaderName>,

    /// Set a variable in the handler's environment, such as variant_fallback=true; can be repeated
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value, help_heading = "Function")]
    env: Vec<(String, String)>,
    /// Run another handler: any program that speaks the Lambda Runtime API
    #[arg(long, value_name = "PATH", help_heading = "Function")]
    bootstrap: Option<PathBuf>,
    /// The function's timeout, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, help_heading = "Function")]
    timeout: Duration,
    /// The function's memory, in MB; the handler is told, nothing is enforced
    #[arg(long, value_name = "MB", default_value_t = 128, value_parser = clap::value_parser!(u32).range(128..=10_240), help_heading = "Function")]
    memory: u32,
    /// The most execution environments
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100), help_heading = "Function")]
    environments: u16,
    /// Invocations at once in one environment, as on Lambda Managed Instances (these are never frozen)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "Function")]
    concurrency: u16,
    /// Do not freeze environments between invocations
    #[arg(long, help_heading = "Function")]
    no_freeze: bool,
    /// Answer 503 when all environments are busy, as at Lambda's concurrency limit, instead of waiting
    #[arg(long, help_heading = "Function")]
    throttle: bool,
    /// How many of the invocations X-Ray samples, from 0 to 1
    #[arg(long, value_name = "RATIO", default_value_t = 1.0, value_parser = ratio, help_heading = "Function")]
    sampled: f64,
    /// The region that everything believes to be in
    #[arg(long, value_name = "REGION", default_value = "us-east-1", help_heading = "Function")]
    region: String,
    /// The API's stage; a named one prefixes every path of the API
    #[arg(long, value_name = "STAGE", default_value = "$default", value_parser = stage, help_heading = "Function")]
    stage: String,

    /// Make something go wrong; can be repeated, and changed while it runs (see the console's /fault)
    #[arg(long = "fault", value_name = "FAULT", help_heading = "Trouble", long_help = fault_help())]
    faults: Vec<Fault>,
    /// Show every line of the handler's own log, not only warnings and errors
    #[arg(long, help_heading = "Trouble")]
    logs: bool,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check a CloudFront distribution for this origin, without starting anything
    Policy {
        #[command(subcommand)]
        command: policy::command::Command,
    },
}

const SAMPLE_SITE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/site");

const AFTER_HELP: &str = "\
Examples:
  cargo run -- --site ./public                     your own site
  cargo run -- --env variant_fallback=true         with a setting of the handler
  cargo run -- --fault s3-error=503                with an S3 that throttles
  cargo run -- --missing-key access-denied         as with the walk-through's role
  cargo run --release -- --bootstrap ./bootstrap   another handler in our place
  cargo run -- policy check deploy/aws.yaml        what is wrong with a distribution for this origin";

fn fault_help() -> String {
    format!("Make something go wrong, can be repeated: {}", fault::HELP)
}

fn missing_key(answer: &str) -> MissingKey {
    if answer == "access-denied" { MissingKey::AccessDenied } else { MissingKey::NoSuchKey }
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("use NAME=VALUE, such as variant_fallback=true".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=900.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("use a number of seconds from 0.1 to 900, which is Lambda's limit".to_owned()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or_else(|| "use a number from 0 to 1".to_owned())
}

fn stage(text: &str) -> Result<String, String> {
    let named = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if named || text == "$default" {
        Ok(text.to_owned())
    } else {
        Err("use $default, or letters, digits, hyphens and underscores".to_owned())
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == AS_BOOTSTRAP) {
        return be_bootstrap(arguments.next(), arguments.next());
    }
    let cli = Cli::parse();
    if let Some(Task::Policy { command }) = &cli.task {
        return policy::command::run(command);
    }
    let ended = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(format!("no threads to run on: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            drop(writeln!(std::io::stderr(), "emulator: {problem}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the handler, or another program in its place, for as long as the emulator lives.
fn be_bootstrap(emulator: Option<OsString>, program: Option<OsString>) -> ExitCode {
    // However the emulator ends, nothing that it started outlives it, frozen or not.
    #[cfg(target_os = "linux")]
    {
        let armed = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        let parent = std::os::unix::process::parent_id().to_string();
        if armed.is_err() || emulator.is_some_and(|emulator| emulator != *parent) {
            return ExitCode::FAILURE;
        }
    }
    match program {
        Some(program) => {
            let error = Command::new(&program).exec();
            drop(writeln!(std::io::stderr(), "{} cannot be started: {error}", program.display()));
            ExitCode::FAILURE
        }
        None => nearedge::bootstrap::run(|name| std::env::var(name).ok()),
    }
}

async fn run(cli: Cli) -> Result<(), String> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminated = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let faults = Faults::default();
    faults.set(cli.faults.clone());
    let journal = Journal::to_stdout(if cli.logs { HandlerLog::All } else { HandlerLog::Trouble });
    let options = options(cli)?;
    let mut ended = pin!(async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    });
    let cloud = tokio::select! {
        started = Cloud::start(options, faults, journal) => started?,
        // What was started dies with this process.
        () = &mut ended => return Ok(()),
    };
    drop(writeln!(std::io::stdout(), "{}", cloud.welcome()));
    ended.await;
    cloud.shut_down().await;
    Ok(())
}

fn options(cli: Cli) -> Result<Options, String> {
    let this = std::env::current_exe().map_err(|error| format!("this program cannot find itself: {error}"))?;
    let mut arguments = vec![AS_BOOTSTRAP.to_owned(), std::process::id().to_string()];
    let mut env = Vec::new();
    if let Some(path) = cli.bootstrap {
        let program = executable(&path)?;
        let folder = Path::new(&program).parent().map(|folder| folder.display().to_string());
        env.extend(folder.map(|folder| ("LAMBDA_TASK_ROOT".to_owned(), folder)));
        arguments.push(program);
    }
    env.extend(cli.env);
    let bootstrap = Bootstrap { program: this, arguments };
    let storage = match cli.s3_endpoint {
        Some(url) => Storage::Endpoint { url, credentials: credentials_of_shell()? },
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

/// The full path of a program, once it is known that it can be run.
fn executable(path: &Path) -> Result<String, String> {
    let refuse = |problem: &str| format!("--bootstrap {}: {problem}", path.display());
    let program = path.canonicalize().map_err(|error| refuse(&error.to_string()))?;
    let metadata = program.metadata().map_err(|error| refuse(&error.to_string()))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(refuse("this is no executable file: `chmod +x` it, or name another"));
    }
    program.into_os_string().into_string().map_err(|_| refuse("its path is not UTF-8"))
}

fn credentials_of_shell() -> Result<Credentials, String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(Credentials::from_keys(id, secret, variable("AWS_SESSION_TOKEN"))),
        _ => Err("--s3-endpoint needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to be set".to_owned()),
    }
}
