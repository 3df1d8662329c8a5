//! The command itself: what it prints, what it exits with, what it leaves behind.

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::support::{emulator, until};

const FREE_PORTS: [&str; 8] =
    ["--edge", "127.0.0.1:0", "--gateway", "127.0.0.1:0", "--s3", "127.0.0.1:0", "--console", "127.0.0.1:0"];

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(emulator());
    command.args(FREE_PORTS).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts the command and reads to the line that says it is ready, and on to the end of the welcome.
async fn started(arguments: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>, Vec<String>) {
    let mut child = command(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut welcome = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let last = line.contains("Ctrl-C ends everything");
        welcome.push(line);
        if last {
            return (child, lines, welcome);
        }
    }
    panic!("it ended before it was ready: {welcome:#?}");
}

async fn refused(arguments: &[&str]) -> String {
    let output = command(arguments).output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "one line: {error}");
    error
}

fn handlers_of(emulator: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{emulator}/task/{emulator}/children")).unwrap_or_default();
    children.split_whitespace().count()
}

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
async fn when_ready_it_prints_the_addresses_and_the_seven_commands() {
    let (mut child, _lines, welcome) = started(&[]).await;
    assert_eq!(welcome.iter().filter(|line| line.starts_with("  curl ")).count(), 7, "{welcome:#?}");
    for word in ["CDN", "API", "bucket"] {
        assert!(welcome.iter().any(|line| line.trim_start().starts_with(word) && line.contains("http://127.0.0.1:")));
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn ctrl_c_ends_it_all_and_no_child_is_left() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let marker = format!("marker=of-{}-{signal}", std::process::id());
        let (mut child, _lines, _) = started(&["--env", &marker]).await;
        let id = child.id().unwrap();
        assert!(handlers_of(id) + handlers_with(&marker) > 0, "a handler runs");
        kill(Pid::from_raw(id.try_into().unwrap()), signal).unwrap();
        assert!(child.wait().await.unwrap().success());
        // The emulator itself has it as an argument, not in its environment.
        assert_eq!(handlers_with(&marker), 0);
    }
}

#[tokio::test]
async fn even_a_killed_emulator_leaves_no_handler_behind() {
    let marker = format!("marker=of-{}-killed", std::process::id());
    let (mut child, _lines, _) = started(&["--env", &marker]).await;
    assert_eq!(handlers_with(&marker), 1);
    child.kill().await.unwrap();
    until(|| handlers_with(&marker) == 0).await;
}

#[tokio::test]
async fn a_request_is_one_line_with_method_path_variant_status_bytes_and_time() {
    let (mut child, mut lines, welcome) = started(&[]).await;
    let cdn = welcome.iter().find_map(|line| line.trim_start().strip_prefix("CDN")).unwrap();
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
        assert!(line.contains(part), "{part} in {line}");
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_one_clear_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    // The last of two options of a name counts.
    for flag in ["--edge", "--gateway", "--s3", "--console"] {
        let mut command = Command::new(emulator());
        let others = FREE_PORTS.chunks(2).filter(|pair| pair[0] != flag).flatten();
        let output = command.args(others).args([flag, &address]).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(&address) && error.contains("is taken") && error.contains(flag), "{error}");
    }
}

#[tokio::test]
async fn an_unreadable_folder_and_a_handler_that_does_not_start_are_one_clear_line_each() {
    assert!(refused(&["--site", "/nowhere/at/all"]).await.contains("/nowhere/at/all"));
    assert!(refused(&["--bootstrap", "/nowhere/bootstrap"]).await.contains("/nowhere/bootstrap"));
    assert!(refused(&["--bootstrap", "/dev/null"]).await.contains("no executable file"));
    assert!(refused(&["--bootstrap", "/bin/false"]).await.contains("exited: exit status: 1"));
    assert!(refused(&["--env", "missing_status=9"]).await.contains("missing_status is \"9\""));
    assert!(refused(&["--env", "lambda_auth="]).await.contains("lambda_auth is empty"));
}
