//! The command `nearedge`: output, exit code and processes.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{nearedge, wait_until};

const FREE_PORTS: [&str; 8] =
    ["--edge", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--console", "127.0.0.1:0"];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(nearedge());
    command.args(FREE_PORTS).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts the command, and returns when it has printed the whole banner.
async fn start(arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>, Vec<String>) {
    let mut child = command(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut banner = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let last = line.contains("Ctrl-C");
        banner.push(line);
        if last {
            return (child, lines, banner);
        }
    }
    panic!("the command exited before it was ready: {banner:#?}");
}

/// The error that the command prints.
async fn error_of(arguments: &[&str]) -> String {
    let output = command(arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "expected one line, found: {error}");
    error
}

/// Counts the child processes of the emulator.
fn handlers_of(emulator: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{emulator}/task/{emulator}/children")).unwrap_or_default();
    children.split_whitespace().count()
}

/// Counts the processes with this text in their environment.
fn handlers_with(variable: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    processes
        .filter(|process| {
            std::fs::read(process.join("environ"))
                .is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(variable))
        })
        .count()
}

#[tokio::test]
async fn the_banner_lists_the_addresses_and_seven_commands() {
    let (mut child, _lines, banner) = start(&[]).await;
    assert_eq!(banner.iter().filter(|line| line.starts_with("  curl ")).count(), 7, "{banner:#?}");
    for word in ["CDN", "API", "bucket"] {
        assert!(banner.iter().any(|line| line.trim_start().starts_with(word) && line.contains("http://127.0.0.1:")));
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn sigint_and_sigterm_end_all_processes() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let marker = format!("marker=of-{}-{signal}", std::process::id());
        let (mut child, _lines, _) = start(&["--env", &marker]).await;
        let id = child.id().unwrap();
        assert!(handlers_of(id) + handlers_with(&marker) > 0, "no handler runs");
        kill(Pid::from_raw(id.try_into().unwrap()), signal).unwrap();
        assert!(child.wait().await.unwrap().success());
        // The emulator has the marker as an argument, not in its environment.
        assert_eq!(handlers_with(&marker), 0);
    }
}

#[tokio::test]
async fn a_killed_emulator_leaves_no_handler_process() {
    let marker = format!("marker=of-{}-killed", std::process::id());
    let (mut child, _lines, _) = start(&["--env", &marker]).await;
    assert_eq!(handlers_with(&marker), 1);
    child.kill().await.unwrap();
    wait_until(|| handlers_with(&marker) == 0).await;
}

#[tokio::test]
async fn each_request_prints_one_line() {
    let (mut child, mut lines, banner) = start(&[]).await;
    let cdn = banner.iter().find_map(|line| line.trim_start().strip_prefix("CDN")).unwrap();
    let cdn = cdn.split_whitespace().next().unwrap().strip_prefix("http://").unwrap();
    let stream = tokio::net::TcpStream::connect(cdn).await.unwrap();
    stream.writable().await.unwrap();
    stream.try_write(b"GET /test.html HTTP/1.1\r\nhost: x\r\ntest_version: v2\r\n\r\n").unwrap();
    let line = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.contains("/test.html") {
            break line;
        }
    };
    for part in ["cdn>api", "GET", "/test.html", "v2", "200", "446 B", " ms", "cold start"] {
        assert!(line.contains(part), "expected {part} in {line}");
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_a_one_line_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--edge", "--gateway", "--s3", "--console"] {
        let mut command = Command::new(nearedge());
        let others = FREE_PORTS.chunks(2).filter(|pair| pair[0] != flag).flatten();
        let output = command.args(others).args([flag, &address]).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(&address) && error.contains("is already in use") && error.contains(flag), "{error}");
    }
}

#[tokio::test]
async fn an_unusable_site_or_handler_is_a_one_line_error() {
    assert!(error_of(&["--site", "/nowhere/at/all"]).await.contains("/nowhere/at/all"));
    assert!(error_of(&["--bootstrap", "/nowhere/bootstrap"]).await.contains("/nowhere/bootstrap"));
    assert!(error_of(&["--bootstrap", "/dev/null"]).await.contains("expected an executable file"));
    assert!(error_of(&["--bootstrap", "/bin/false"]).await.contains("exited: exit status: 1"));
    assert!(error_of(&["--env", "missing_status=9"]).await.contains("missing_status is \"9\""));
    assert!(error_of(&["--env", "lambda_auth="]).await.contains("lambda_auth is empty"));
}
