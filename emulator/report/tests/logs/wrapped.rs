//! The tools that write the lines, and damaged lines.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use nearedge_report::lines::scan::Summary;
use nearedge_report::lines::wrapper::Found;
use nearedge_report::tally::collect::Selection;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::line::{NOON, access, conversion, expected, exposure, numbers, tallies_of, text, with};

fn lines() -> Vec<Value> {
    // A viewer chooses the attribute, and tries to look like a line and to end a text.
    let trap = r#"{"message":"exposure"} \"message\":\"exposure\" {"" } { [ , 'é"#;
    vec![
        with(exposure(1, "control", NOON), "cookie.plan", json!(trap)),
        with(exposure(2, "treatment", NOON), "query.message", json!(exposure(7, "treatment", NOON).to_string())),
        with(conversion(2, "treatment", "order", NOON + 1), "value", json!(12.5)),
        with(access("v2", 200, 1.5, NOON), "key", json!(format!("v2/{trap}"))),
        with(
            json!({"level": "WARN", "message": "S3 failed", "key": "x"}),
            "key",
            json!(exposure(8, "control", NOON).to_string()),
        ),
    ]
}

fn read(inputs: &[&[u8]]) -> Summary {
    let (tallies, summary) = tallies_of(inputs, &Selection::default(), &[], None);
    let counts = &tallies.first().expect("an experiment").counts;
    assert_eq!(numbers(counts, "order"), expected((1, 0), (1, 1)));
    assert_eq!(counts.variations[1].goals["order"].sum, Some(12.5));
    assert_eq!(tallies[0].guardrails[1].requests, summary.found.accesses);
    summary
}

/// Checks that a text has the records of `lines`.
fn check(text: &str) {
    let summary = read(&[text.as_bytes()]);
    assert_eq!((summary.broken, &summary.first_broken), (0, &None), "{text}");
    assert_eq!(summary.found, Found { exposures: 2, conversions: 1, accesses: 1 }, "{text}");
}

/// The messages as CloudWatch Logs keeps them: with their line feeds.
fn messages() -> impl Iterator<Item = String> {
    lines().into_iter().map(|line| format!("{line}\n"))
}

fn events(name: &str) -> Value {
    let event = |message| json!({"logStreamName": "2026/11/23/[$LATEST]8476a536", "timestamp": NOON, name: message, "eventId": "39"});
    json!({"events": messages().map(event).collect::<Vec<_>>(), "searchedLogStreams": []})
}

#[test]
fn the_handlers_own_lines_are_read() {
    check(&text(&lines()));
    check(&text(&lines()).replace('\n', "\r\n"));
    check(text(&lines()).trim_end());
}

#[test]
fn aws_logs_tail_is_read() {
    let prefixed = |prefix: &str| messages().map(|message| format!("{prefix} {message}")).collect::<String>();
    check(&prefixed("2026-11-23T12:54:50.550000+00:00 2026/11/23/[$LATEST]8476a536"));
    check(&prefixed("2026-11-23T12:54:50"));
    // An export to S3.
    check(&prefixed("2026-11-23T12:54:50.550Z"));
    check(
        &(String::from("START RequestId: 8476a536 Version: 7\n") + &prefixed("\u{1b}[32m2026-11-23T12:54:50\u{1b}[0m")),
    );
}

#[test]
fn events_of_the_aws_cli_are_read() {
    let document = events("message");
    check(&serde_json::to_string_pretty(&document).unwrap());
    check(&document.to_string());
    // --query 'events[].message'
    let list: Vec<String> = messages().collect();
    check(&serde_json::to_string_pretty(&list).unwrap());
    check(&json!(list).to_string());
    // --output text
    let row = |message: String| format!("EVENTS\t3956\t1795438490551\tstream\t{}\t1795438490551\n", message.trim_end());
    check(&messages().map(row).collect::<String>());
    check(&messages().map(|message| message.trim_end().to_owned()).collect::<Vec<_>>().join("\t"));
}

#[test]
fn results_of_logs_insights_are_read() {
    let row = |message| json!([{"field": "@timestamp", "value": "2026-11-23 12:54:50.550"}, {"field": "@message", "value": message}]);
    let document = json!({"results": messages().map(row).collect::<Vec<_>>(), "status": "Complete"});
    check(&serde_json::to_string_pretty(&document).unwrap());
    check(&document.to_string());
    let quoted = |message: String| format!("2026-11-23 12:54:50.550,\"{}\"\n", message.replace('"', "\"\""));
    check(&(String::from("@timestamp,@message\n") + &messages().map(quoted).collect::<String>()));
}

#[test]
fn documents_of_subscriptions_are_read_without_line_feeds() {
    let document = |message| {
        json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": "/aws/lambda/x", "logStream": "2026/11/23/[$LATEST]84",
               "subscriptionFilters": ["all"], "logEvents": [{"id": "39", "timestamp": NOON, "message": message}]})
        .to_string()
    };
    check(&messages().map(document).collect::<String>());
    check(&events("message").to_string().replace("\"events\"", "\"logEvents\""));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip_is_read_in_several_members_and_files() {
    let all = text(&lines());
    let (one, other) = all.split_at(all.len() / 2);
    let members = [gzip(one), gzip(other)].concat();
    let summary = read(&[&members, &gzip("")]);
    assert_eq!((summary.broken, summary.failed.len(), summary.lines), (0, 0, 5));
}

#[test]
fn gzip_that_ends_early_keeps_its_lines() {
    // Data without repetitions is not compressed, so that a cut leaves a readable part.
    let mut bytes = gzip(&text(&lines()));
    bytes.extend(gzip("more"));
    bytes.truncate(bytes.len() - 3);
    let summary = read(&[&bytes]);
    assert_eq!((summary.failed.len(), summary.found.exposures), (1, 2), "{summary:?}");
}

#[test]
fn broken_lines_are_counted_with_the_first_ones_number() {
    let good = text(&lines());
    let cut = exposure(5, "control", NOON).to_string();
    for (broken, reason) in [
        (&cut[..cut.len() - 3], "not valid JSON: EOF"),
        (r#"{"_aws":{"Timestamp":1795438490551,"Cloud"#, "the line is cut off"),
        (r#"{"message":"exposure","experiment_id":"checkout"}"#, "missing"),
        (r#"    "message": "exposure","#, "several lines"),
        (r#"{"message":"conversion","timestamp":"now"}"#, "missing"),
    ] {
        let summary = read(&[good.as_bytes(), format!("{good}{broken}\n{good}{broken}").as_bytes()]);
        let first = summary.first_broken.unwrap();
        assert_eq!((summary.broken, first.input, first.line), (2, 1, 6), "{broken}");
        assert!(first.reason.contains(reason), "{broken}: {}", first.reason);
    }
}

#[test]
fn a_line_without_end_is_read_in_parts() {
    // Much more than is kept in memory.
    let mut text = String::new();
    let padding = json!({"logEvents": [{"id": "1", "message": "x".repeat(1000)}]}).to_string();
    for message in messages() {
        text += &padding.repeat(3000);
        text += &json!({"logEvents": [{"id": "39", "message": message}]}).to_string();
    }
    check(&text);
    check(&format!("[{}]\n", text.replace("}{", "},{")));
}

#[test]
fn a_string_without_end_is_a_broken_line() {
    let text = format!("{}\"{}\n{}", text(&lines()), "x".repeat(20 << 20), text(&lines()));
    let summary = read(&[text.as_bytes()]);
    assert!(summary.broken >= 1, "{summary:?}");
    assert_eq!(summary.first_broken.map(|broken| broken.line), Some(6));
    assert_eq!(summary.found.exposures, 4);
}

#[test]
fn records_after_many_objects_of_a_line_are_found() {
    // With a search per object, this takes minutes.
    let line = format!(
        "[{}{}]\n",
        "{},".repeat(1_000_000),
        lines().iter().map(Value::to_string).collect::<Vec<_>>().join(",")
    );
    check(&line);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..400, at in 0_usize..400) {
        let mut text = text(&lines()).into_bytes();
        let at = at.min(text.len());
        text.splice(at..(at + cut).min(text.len()), bytes);
        tallies_of(&[&text], &Selection::default(), &[], Some("cookie.plan"));
    }

    #[test]
    fn no_text_of_json_makes_it_panic(text in r#"([\[\]{}",:\\n ]|"message"|"exposure"|"value"|\{\\"|\{""){0,60}"#) {
        tallies_of(&[text.as_bytes()], &Selection::default(), &[], None);
    }
}
