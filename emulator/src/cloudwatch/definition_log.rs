//! The log lines of execution environments about the definition of experiments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;

/// The prefix of the handler's messages about experiments.
const PREFIX: &str = "experiments: ";

/// The handler's message when it starts to use a new version.
const ACTIVE: &str = "a new definition is active";

/// The handler's message when a load succeeds after one that failed.
const RECOVERED: &str = "the definition can be used again";

/// The start of the handler's message about a failed load.
const FAILED: &str = "the definition cannot be used, and ";

/// The most retained failures and warnings.
const MESSAGES_MAX: usize = 10;

/// The active definition of each environment, and the failures to load it.
#[derive(Debug, Clone, Default)]
pub struct DefinitionLog {
    active: BTreeMap<u64, Version>,
    failures: VecDeque<Failure>,
    warnings: Vec<String>,
}

/// A version of the definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// The ETag, with its quotes, if the object has one.
    pub etag: Option<String>,
    /// When it became active, in milliseconds since 1970.
    pub since_ms: u64,
}

/// Loads that failed in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The consequence, the reason and the fix.
    pub message: String,
    /// The time of the first one, in milliseconds since 1970.
    pub first_ms: u64,
    /// The time of the last one.
    pub last_ms: u64,
    /// The number of log lines. The handler logs a failure that persists once.
    pub lines: u64,
    /// The environments in which it persists.
    pub environments: BTreeSet<u64>,
}

impl DefinitionLog {
    /// Records a log line of an environment, unless it is about something else.
    pub(super) fn put_line(&mut self, environment: u64, line: &Value, now_ms: u64) {
        let Some(message) = line["message"].as_str().and_then(|message| message.strip_prefix(PREFIX)) else { return };
        if message == ACTIVE {
            self.recover(environment);
            let etag = line["etag"].as_str().map(str::to_owned);
            if self.active.values().all(|version| version.etag != etag) {
                self.warnings.clear();
            }
            self.active.insert(environment, Version { etag, since_ms: now_ms });
        } else if message == RECOVERED {
            self.recover(environment);
        } else if message.starts_with(FAILED) {
            self.fail(environment, message, now_ms);
        } else if line["level"] == "WARN"
            && self.warnings.len() < MESSAGES_MAX
            && !self.warnings.iter().any(|known| known == message)
        {
            self.warnings.push(message.to_owned());
        }
    }

    /// Forgets an environment that has ended.
    pub(super) fn end(&mut self, environment: u64) {
        self.active.remove(&environment);
        self.recover(environment);
    }

    /// The versions that are active, the newest first, with their environments.
    pub fn active(&self) -> Vec<(Version, usize)> {
        let mut versions: Vec<(Version, usize)> = Vec::new();
        for version in self.active.values() {
            match versions.iter_mut().find(|(known, _)| known.etag == version.etag) {
                Some((known, environments)) => {
                    known.since_ms = known.since_ms.min(version.since_ms);
                    *environments += 1;
                }
                None => versions.push((version.clone(), 1)),
            }
        }
        versions.sort_by_key(|(version, _)| std::cmp::Reverse(version.since_ms));
        versions
    }

    /// The failures, the newest first.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.failures.iter().rev()
    }

    /// The warnings about the newest version, as the handler logs them.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn fail(&mut self, environment: u64, message: &str, now_ms: u64) {
        self.recover(environment);
        let known = self.failures.iter().position(|failure| failure.message == message);
        let mut failure = known.and_then(|index| self.failures.remove(index)).unwrap_or_else(|| Failure {
            message: message.to_owned(),
            first_ms: now_ms,
            last_ms: now_ms,
            lines: 0,
            environments: BTreeSet::new(),
        });
        failure.last_ms = now_ms;
        failure.lines += 1;
        failure.environments.insert(environment);
        self.failures.push_back(failure);
        if self.failures.len() > MESSAGES_MAX {
            self.failures.pop_front();
        }
    }

    fn recover(&mut self, environment: u64) {
        for failure in &mut self.failures {
            failure.environments.remove(&environment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn log(lines: &[(u64, Value)]) -> DefinitionLog {
        let mut log = DefinitionLog::default();
        for (index, (environment, line)) in lines.iter().enumerate() {
            log.put_line(*environment, line, index as u64);
        }
        log
    }

    fn active(etag: &str) -> Value {
        json!({"message": "experiments: a new definition is active", "etag": etag})
    }

    fn failed(reason: &str) -> Value {
        let message = format!("experiments: the definition cannot be used, and no visitor is assigned: {reason}");
        json!({"level": "ERROR", "message": message})
    }

    #[test]
    fn a_version_is_active_since_its_first_environment() {
        let log = log(&[(1, active("a")), (2, active("a")), (1, active("b")), (3, json!({"message": "answered"}))]);
        let version = |etag: &str, since_ms| Version { etag: Some(etag.to_owned()), since_ms };
        assert_eq!(log.active(), [(version("b", 2), 1), (version("a", 1), 1)]);
    }

    #[test]
    fn a_failure_persists_until_each_environment_recovers_or_ends() {
        let mut log = log(&[(1, failed("x")), (2, failed("x")), (3, failed("x")), (1, active("a"))]);
        let environments = |log: &DefinitionLog| log.failures().next().unwrap().environments.len();
        assert_eq!((environments(&log), log.failures().next().unwrap().lines), (2, 3));
        log.put_line(2, &json!({"message": "experiments: the definition can be used again"}), 5);
        assert_eq!(environments(&log), 1);
        log.end(3);
        assert_eq!(environments(&log), 0);
    }

    #[test]
    fn the_newest_failures_are_retained() {
        let lines: Vec<_> = (0..15).map(|index| (1, failed(&index.to_string()))).collect();
        let log = log(&lines);
        let newest = log.failures().next().unwrap();
        assert!(newest.message.ends_with(": 14") && log.failures().count() == MESSAGES_MAX);
        assert_eq!(log.failures().map(|failure| failure.environments.len()).sum::<usize>(), 1);
    }

    #[test]
    fn a_new_version_replaces_the_warnings() {
        let warning = |text: &str| json!({"level": "WARN", "message": format!("experiments: {text}")});
        let lines = [(1, active("a")), (1, warning("one")), (2, active("a")), (2, warning("one")), (1, warning("two"))];
        let mut log = log(&lines);
        assert_eq!(log.warnings(), ["one", "two"]);
        log.put_line(1, &active("b"), 9);
        assert_eq!(log.warnings(), [""; 0]);
    }
}
