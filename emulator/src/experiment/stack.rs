//! `experiment report --stack`: reads exposures and conversions from CloudWatch Logs, through the AWS CLI.
//!
//! A query of Logs Insights returns at most 10,000 lines. A time with more is divided into halves.

use std::io::{self, ErrorKind, Write};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::ProgressBar;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The most lines of a result
/// ([quotas](https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html)).
const LIMIT: usize = 10_000;

/// The query. Lines of requests are left out: there are many more of them.
const QUERY: &str = "fields @message | filter message in [\"exposure\", \"conversion\"] | limit 10000";

/// The time without `--from`, in seconds.
const DEFAULT_SECS: i64 = 30 * 86_400;

/// The waits between two looks at a query.
const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The lines of a stack in a time, as documents of `aws logs get-query-results`.
pub(super) struct StackLines {
    group: String,
    /// The slices that are still to be read, the last one first: first and last second.
    slices: Vec<(i64, i64)>,
    progress: ProgressBar,
    /// Why reading ended early.
    pub(super) error: Option<String>,
}

impl StackLines {
    /// Finds the log group of a stack, and prints the query. Times are in milliseconds since 1970.
    ///
    /// # Errors
    /// With the reason.
    pub(super) fn find(stack: &str, from: Option<i64>, to: Option<i64>) -> Result<Self, String> {
        let group = aws(&[
            "cloudformation",
            "describe-stack-resource",
            "--stack-name",
            stack,
            "--logical-resource-id",
            "LogGroup",
            "--query",
            "StackResourceDetail.PhysicalResourceId",
            "--output",
            "text",
        ])?;
        let group = group.trim().to_owned();
        if group.is_empty() || group == "None" {
            return Err(format!("the stack {stack} has no resource LogGroup: expected one of deploy/aws.yaml"));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
        // The last second is part of a slice.
        let end = to.map_or(now, |to| (to - 1).div_euclid(1000)).min(now);
        let start = from.map_or(end - DEFAULT_SECS, |from| from.div_euclid(1000));
        if start > end {
            return Err("--from is not before --to, or in the future".to_owned());
        }
        let since = if from.is_none() { ", the last 30 days (--from changes this)" } else { "" };
        let times = format!("--start-time {start} --end-time {end}");
        drop(writeln!(io::stderr(), "Logs Insights, {group}{since}:\n  {QUERY}\n  {times}"));
        let progress = ProgressBar::new((end - start + 1).unsigned_abs());
        Ok(Self { group, slices: vec![(start, end)], progress, error: None })
    }

    /// The result of a slice, and the number of its lines.
    fn query(&self, (start, end): (i64, i64)) -> Result<(String, usize), String> {
        let (start, end) = (start.to_string(), end.to_string());
        let id = aws(&[
            "logs",
            "start-query",
            "--log-group-name",
            &self.group,
            "--start-time",
            &start,
            "--end-time",
            &end,
            "--query-string",
            QUERY,
            "--query",
            "queryId",
            "--output",
            "text",
        ])?;
        let mut wait = WAIT_MIN;
        loop {
            let document = aws(&["logs", "get-query-results", "--query-id", id.trim(), "--output", "json"])?;
            let result: QueryResult = serde_json::from_str(&document)
                .map_err(|error| format!("expected the JSON of aws logs get-query-results: {error}"))?;
            match &*result.status {
                "Complete" => return Ok((document, result.results.len())),
                "Scheduled" | "Running" | "Unknown" => thread::sleep(wait),
                status => {
                    return Err(format!("the query of Logs Insights ended with the status {status}: run it again"));
                }
            }
            wait = (wait * 2).min(WAIT_MAX);
        }
    }
}

impl Iterator for StackLines {
    type Item = io::Cursor<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let slice = self.slices.pop()?;
        let (start, end) = slice;
        match self.query(slice) {
            Ok((_, lines)) if lines >= LIMIT && start < end => {
                let middle = start + (end - start) / 2;
                self.slices.extend([(middle + 1, end), (start, middle)]);
                self.next()
            }
            Ok((_, lines)) if lines >= LIMIT => {
                self.error =
                    Some(format!("the second {start} has {LIMIT} lines or more: export the log group to S3 instead"));
                None
            }
            Ok((document, _)) => {
                self.progress.inc((end - start + 1).unsigned_abs());
                Some(io::Cursor::new(document.into_bytes()))
            }
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}

#[derive(Deserialize)]
struct QueryResult {
    status: String,
    #[serde(default)]
    results: Vec<IgnoredAny>,
}

/// Runs the AWS CLI, and returns its standard output.
fn aws(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("aws").args(arguments).output().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "aws is missing: install the AWS CLI, or give log lines on standard input".to_owned(),
        _ => format!("cannot run aws: {error}"),
    })?;
    if !output.status.success() {
        let (command, error) = (arguments[..2].join(" "), String::from_utf8_lossy(&output.stderr));
        return Err(format!("aws {command} failed: {}", error.trim()));
    }
    String::from_utf8(output.stdout).map_err(|_| "the output of aws is not UTF-8".to_owned())
}
