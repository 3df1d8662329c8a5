//! `nearedge experiment report` from log lines, as a process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Lines of 400 visitors, of whom 40 and 80 convert.
fn lines(experiment: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for visitor in 0..400 {
        let (variation, variant) = if visitor % 2 == 0 { ("control", "v1") } else { ("treatment", "v2") };
        let line = |message: &str, member: &str, value: &str, second: u32| {
            json!({"message": message, "timestamp": format!("2026-11-23T12:{:02}:{second:02}.000Z", visitor / 20),
                   "experiment_id": experiment, "variation_id": variation, "anonymous_id": format!("visitor {visitor}"),
                   "phase": "1", member: value, "country": "CN"})
            .to_string()
        };
        lines.push(line("exposure", "variant", variant, 0));
        if visitor % 10 == 0 || visitor % 5 == 1 && visitor % 2 == 1 || visitor % 10 == 3 {
            lines.push(line("conversion", "goal", "signup", 9));
        }
    }
    lines
}

fn report(arguments: &[&str], input: &str, path: Option<&Path>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearedge"));
    command.args(["experiment", "report"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(path) = path {
        command.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()));
        command.env("FOLDER", path);
    }
    let mut child = command.spawn().unwrap();
    // The program may end without reading.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

fn succeeds(arguments: &[&str], input: &str) -> String {
    let output = report(arguments, input, None);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn lines_and_counts_give_the_same_numbers() {
    let document: Value =
        serde_json::from_str(&succeeds(&["--format", "json"], &lines("checkout").join("\n"))).unwrap();
    let row = &document["goals"]["signup"][1];
    let of = |variation: usize| {
        let row = &document["goals"]["signup"][variation];
        json!({"key": row["variation"], "weight": 1, "visitors": row["visitors"],
               "goals": {"signup": {"conversions": row["conversions"]}}})
    };
    let counts = json!({"experiment": "checkout", "variations": [of(0), of(1)]}).to_string();
    let counted: Value = serde_json::from_str(&succeeds(&["--counts", "-", "--format", "json"], &counts)).unwrap();
    assert_eq!((&document["goals"], &document["srm"]), (&counted["goals"], &counted["srm"]));
    assert_eq!((&row["visitors"], &document["phase"]), (&json!(200), &json!("1")));
    assert!(row["uplift"].as_f64().unwrap() > 0.5, "{row}");
    assert_eq!(document["lines"]["broken"], 0);
}

#[test]
fn text_has_no_colours_without_a_terminal() {
    let text = succeeds(&["--by", "country"], &(lines("checkout").join("\n") + "\n{\"message\":\"exposure\"}"));
    assert!(!text.contains('\u{1b}'), "{text}");
    for expected in [
        "experiment checkout",
        "phase 1",
        "goal signup",
        "by country",
        "1 line is broken",
        "are unknown and taken as equal",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn names_from_lines_are_escaped_in_html() {
    let html = succeeds(&["--format", "html"], &lines("<script>alert('1')</script>&\"").join("\n"));
    assert!(html.contains("&lt;script&gt;alert") && !html.contains("<script"), "{html}");
    // Nothing is loaded from elsewhere.
    for part in ["http://", "https://", "src=", "url(/", "@import"] {
        assert!(!html.contains(part), "{part}");
    }
}

#[test]
fn results_of_a_part_of_the_lines_exit_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole.log"), folder.path().join("cut.gz"));
    std::fs::write(&whole, lines("checkout").join("\n")).unwrap();
    std::fs::write(&cut, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]).unwrap();
    let output = report(&[whole.to_str().unwrap(), cut.to_str().unwrap()], "", None);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(out.contains("goal signup") && error.contains("could not be read to its end"), "{out}{error}");
}

#[test]
fn input_without_exposures_says_what_was_found() {
    for (arguments, expected) in [
        (&["--experiment", "other"][..], "the lines have checkout (phase 1)"),
        (&["--from", "yesterday"], "RFC 3339"),
        (&["missing.log"], "cannot read missing.log"),
    ] {
        let output = report(arguments, &lines("checkout").join("\n"), None);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.contains(expected)), (Some(2), true), "{error}");
    }
    let output = report(&[], "START RequestId: 1\n", None);
    assert!(String::from_utf8(output.stderr).unwrap().contains("no exposures in 1 lines"));
}

/// An `aws` that answers as the AWS CLI does. Each second has 6,000 lines, and a query at most 10,000.
const AWS: &str = r#"#!/usr/bin/env bash
echo "aws $*" >>"$FOLDER/log"
case $* in
*describe-stack-resource*missing*) echo 'An error occurred (ValidationError): Stack with id missing does not exist' >&2; exit 254 ;;
*describe-stack-resource*) echo /aws/lambda/lambdaapi ;;
*start-query*)
  while [ $# -gt 0 ]; do case $1 in --start-time) start=$2 ;; --end-time) end=$2 ;; esac; shift; done
  echo "$start-$end"
  ;;
*get-query-results*)
  all=$*; id=${all#*--query-id }; id=${id%% *}
  # The first look finds the query running.
  if [ ! -e "$FOLDER/$id" ]; then touch "$FOLDER/$id"; echo '{"results": [], "status": "Running"}'; exit; fi
  start=${id%-*}; end=${id#*-}
  seconds=$((end - start + 1)); count=$((seconds * 6000)); [ $count -le 10000 ] || count=10000
  printf '{"status": "Complete", "results": ['
  for ((n = 0; n < count; n++)); do
    [ $n = 0 ] || printf ,
    printf '[{"field": "@message", "value": "{\\"message\\":\\"exposure\\",\\"timestamp\\":\\"2026-11-23T12:00:01.000Z\\",\\"experiment_id\\":\\"checkout\\",\\"variation_id\\":\\"control\\",\\"anonymous_id\\":\\"%s-%s\\",\\"phase\\":\\"1\\",\\"variant\\":\\"v1\\"}\\n"}]' "$start" "$n"
  done
  echo ']}'
  ;;
esac
"#;

#[test]
fn a_stack_is_read_in_slices_below_the_limit() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("aws");
    fs::write(&file, AWS).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let arguments =
        ["--stack", "nearedge", "--from", "2026-11-23T12:00:00Z", "--to", "2026-11-23T12:00:03Z", "--format", "json"];
    let output = report(&arguments, "", Some(folder.path()));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    assert!(error.contains("/aws/lambda/lambdaapi") && error.contains("filter message in"), "{error}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["variations"][0]["visitors"], 18_000);
    assert_eq!(document["lines"]["exposures"], 18_000);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.matches("start-query").count() >= 4, "{log}");
}

#[test]
fn a_stack_that_is_missing_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("aws");
    fs::write(&file, AWS).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    let output = report(&["--stack", "missing"], "", Some(folder.path()));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.contains("does not exist")), (Some(2), true), "{error}");
}
