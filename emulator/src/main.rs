//! The command line `nearedge`: starts the local cloud, or runs a subcommand.

mod cli;

use std::ffi::OsString;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};

use aws_credential_types::Credentials;
use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use emulator::cloud::{Bootstrap, Caching, Cloud, Options, Storage};
use emulator::cloudfront::behavior::Behaviors;
use emulator::definition;
use emulator::experiment;
use emulator::fault::Faults;
use emulator::journal::{Format, HandlerLog, Journal};
use emulator::policy;
use emulator::policy::document::{self, Documents};
use emulator::rules;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Cli, Command, LogFormat};

/// The first argument with which this executable runs as the handler, so that one build contains both.
///
/// The next argument is the process id of the local cloud. The last one, if any, is the path of another handler to run.
const AS_BOOTSTRAP: &str = "as-bootstrap";

/// The setting of nearedge that lists the existing variants.
const TEST_VERSIONS: &str = "test_versions";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|argument| argument == AS_BOOTSTRAP) {
        return run_bootstrap(arguments.next(), arguments.next());
    }
    let cli = Cli::parse();
    match &cli.command {
        Some(Command::Policy { command }) => return policy::command::run(command),
        Some(Command::Experiment { command }) => return experiment::command::run(command),
        Some(Command::Rules { command }) => return rules::command::run(command),
        Some(Command::Sign(arguments)) => return rules::sign::run(arguments),
        Some(Command::Completion { shell }) => return print_completion(*shell),
        None => {}
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
        None => nearedge::bootstrap::run(
            |name| std::env::var(name).ok(),
            std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
        ),
    }
}

/// Prints the completion script of a shell.
fn print_completion(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "nearedge", &mut script);
    // The reader may close the pipe early, as `head` does.
    drop(std::io::stdout().write_all(&script));
    ExitCode::SUCCESS
}

/// The signals that stop the local cloud.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Runs the local cloud until SIGINT or SIGTERM.
async fn run(cli: Cli) -> Result<(), String> {
    let mut signals = StopSignals::new().map_err(|error| format!("cannot handle signals: {error}"))?;
    let faults = Faults::default();
    faults.set(cli.faults.clone());
    let journal = Journal::to_stdout(if cli.logs { HandlerLog::All } else { HandlerLog::Warnings }, format(cli.log));
    let options = options(cli)?;
    let cloud = tokio::select! {
        cloud = Cloud::start(options, faults, journal.clone()) => cloud?,
        () = signals.recv() => {
            // The child processes die with this process.
            journal.stopping();
            return Ok(());
        }
    };
    journal.ready(cloud.banner());
    signals.recv().await;
    journal.stopping();
    tokio::select! {
        () = cloud.shut_down() => {}
        () = signals.recv() => {}
    }
    Ok(())
}

/// The format of the lines on standard output.
fn format(wanted: LogFormat) -> Format {
    // NO_COLOR, CLICOLOR_FORCE, CLICOLOR and TERM decide, and whether standard output is a terminal.
    let colours = || anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    match wanted {
        LogFormat::Json => Format::Json,
        LogFormat::Text if colours() => Format::Colours,
        LogFormat::Text => Format::Text,
    }
}

/// The variants of the command line, otherwise those of the setting `test_versions`; empty if neither lists any.
fn variants(listed: &[String], env: &[(String, String)]) -> Vec<String> {
    let setting = env.iter().rev().find(|(name, _)| name == TEST_VERSIONS).map_or("", |(_, value)| value);
    let named = setting.split(',').map(str::trim).filter(|variant| !variant.is_empty()).map(str::to_owned);
    if listed.is_empty() { named.collect() } else { listed.to_vec() }
}

/// The options of the local cloud from those of the command line.
fn options(cli: Cli) -> Result<Options, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot find the path of this executable: {error}"))?;
    let caching = caching(&cli)?;
    let door = cli.front_door()?;
    let mut arguments = vec![AS_BOOTSTRAP.to_owned(), process::id().to_string()];
    let mut env = Vec::new();
    let foreign_handler = cli.bootstrap.is_some();
    if let Some(path) = cli.bootstrap {
        let handler = executable(&path)?;
        let folder = Path::new(&handler).parent().map(|folder| folder.display().to_string());
        env.extend(folder.map(|folder| ("LAMBDA_TASK_ROOT".to_owned(), folder)));
        arguments.push(handler);
    }
    env.extend(cli.env);
    let variants = variants(&cli.variants, &env);
    if !cli.variants.is_empty() {
        // The first of several values, so that one of --env overrides it.
        env.insert(0, (TEST_VERSIONS.to_owned(), cli.variants.join(",")));
    }
    let address = |offset| {
        let port = if cli.port_base == 0 { 0 } else { cli.port_base + offset };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    };
    let bootstrap = Bootstrap { program, arguments };
    let experiments = experiments(cli.experiments, cli.s3_endpoint.is_none().then_some(&cli.site))?;
    let storage = match cli.s3_endpoint {
        Some(url) => Storage::Endpoint { url, credentials: shell_credentials()? },
        None => Storage::Folder {
            site: cli.site,
            address: cli.s3.unwrap_or_else(|| address(2)),
            missing_key: cli.missing_key,
        },
    };
    let defaults = Options::new(bootstrap, PathBuf::new());
    Ok(Options {
        edge: cli.edge.unwrap_or_else(|| address(0)),
        gateway: cli.gateway.unwrap_or_else(|| address(1)),
        console: cli.console.unwrap_or_else(|| address(3)),
        public_url: cli.public_url,
        storage,
        bucket: cli.bucket,
        experiments,
        variants,
        foreign_handler,
        forwarded: cli.forwarded,
        caching,
        stage: cli.stage,
        door,
        region: cli.region,
        env,
        memory_mb: cli.memory,
        timeout: cli.timeout,
        environments: cli.environments.into(),
        concurrency: cli.concurrency.into(),
        freeze: !cli.no_freeze,
        throttle: cli.throttle,
        reload: !cli.no_reload,
        sampled: cli.sampled,
        ..defaults
    })
}

/// The file of the definition of experiments: that of the command line, otherwise that of the site, if it has one.
///
/// # Errors
/// If the file of the command line does not exist: a message that names the option.
fn experiments(listed: Option<PathBuf>, site: Option<&PathBuf>) -> Result<Option<PathBuf>, String> {
    let Some(file) = listed else {
        return Ok(site.map(|site| site.join(definition::KEY)).filter(|file| file.is_file()));
    };
    let failure = |reason: &str| format!("--experiments {}: {reason}", file.display());
    if !file.metadata().map_err(|error| failure(&error.to_string()))?.is_file() {
        return Err(failure("expected a file"));
    }
    Ok(Some(file))
}

/// What the CDN caches.
///
/// # Errors
/// If the distribution cannot be read, or CloudFront would not accept it.
fn caching(cli: &Cli) -> Result<Caching, String> {
    let Some(file) = &cli.distribution else { return Ok(if cli.cache { Caching::On } else { Caching::Off }) };
    let (policies, parameters, region) = (&cli.policies, &cli.parameters, &cli.region);
    let failure = |reason| format!("--distribution {reason}");
    let subjects = document::subjects(&Documents { file, policies, parameters, region }).map_err(failure)?;
    let in_file = |reason| failure(format!("{}: {reason}", file.display()));
    match subjects.as_slice() {
        [(_, subject)] => Behaviors::parse(&subject.distribution).map(Caching::By).map_err(in_file),
        subjects => Err(in_file(format!("expected one distribution, found {}", subjects.len()))),
    }
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
