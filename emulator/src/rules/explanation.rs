//! An explanation: what each stage decided, and because of which lines.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::rules::trial::Reply;

/// A part of a stage's decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reason {
    /// The file and the line that decide, if there is one.
    pub(super) place: Option<(String, usize)>,
    /// The text.
    pub(super) text: String,
}

/// The decision of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stage {
    /// The name of the stage.
    pub(super) name: &'static str,
    /// The decision in one word.
    pub(super) decision: &'static str,
    /// The reasons, the main one first.
    pub(super) reasons: Vec<Reason>,
}

impl Stage {
    /// A stage with one reason.
    pub(super) fn new(name: &'static str, decision: &'static str, text: impl Into<String>) -> Self {
        Self { name, decision, reasons: vec![Reason { place: None, text: text.into() }] }
    }

    /// A stage without a reason yet.
    pub(super) fn empty(name: &'static str, decision: &'static str) -> Self {
        Self { name, decision, reasons: Vec::new() }
    }

    /// Adds a reason.
    pub(super) fn add(&mut self, text: impl Into<String>) {
        self.reasons.push(Reason { place: None, text: text.into() });
    }

    /// Adds a reason with the line that decides.
    pub(super) fn add_at(&mut self, (file, line): (&str, usize), text: impl Into<String>) {
        self.reasons.push(Reason { place: Some((file.to_owned(), line)), text: text.into() });
    }
}

/// The explanation of a request.
#[derive(Debug)]
pub(super) struct Explanation {
    /// The method.
    pub(super) method: String,
    /// The URL.
    pub(super) url: String,
    /// The stages, in their order.
    pub(super) stages: Vec<Stage>,
    /// The response.
    pub(super) reply: Reply,
}

impl Explanation {
    /// Writes the explanation as text.
    pub(super) fn write(&self, mut out: impl Write) -> io::Result<()> {
        writeln!(out, "{} {}\n", self.method, self.url)?;
        for Stage { name, decision, reasons } in &self.stages {
            let mut first = format!("{name:<12} {decision:<10}");
            for Reason { place, text } in reasons {
                let place = match place {
                    Some((file, 0)) => format!("{file}  "),
                    Some((file, line)) => format!("{file}:{line}  "),
                    None => String::new(),
                };
                writeln!(out, "{first} {place}{text}")?;
                first = " ".repeat(23);
            }
        }
        let Reply { status, outcome, headers, cookies, .. } = &self.reply;
        writeln!(out, "{:<12} {status:<10} {outcome}", "response")?;
        let cookies = cookies.iter().map(|cookie| ("set-cookie", &**cookie));
        for (name, value) in headers.iter().map(|(name, value)| (&**name, &**value)).chain(cookies) {
            writeln!(out, "{}{name}: {value}", " ".repeat(24))?;
        }
        Ok(())
    }

    /// The explanation as JSON.
    pub(super) fn json(&self) -> Value {
        let reason = |reason: &Reason| {
            let (file, line) = reason.place.as_ref().map_or((None, None), |(file, line)| (Some(file), Some(line)));
            json!({"file": file, "line": line.filter(|line| **line > 0), "text": reason.text})
        };
        let stage = |stage: &Stage| {
            let reasons: Vec<Value> = stage.reasons.iter().map(reason).collect();
            json!({"stage": stage.name, "decision": stage.decision, "reasons": reasons})
        };
        let Reply { status, outcome, headers, cookies, .. } = &self.reply;
        let headers: serde_json::Map<String, Value> =
            headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        json!({
            "method": self.method, "url": self.url, "stages": self.stages.iter().map(stage).collect::<Vec<_>>(),
            "response": {"status": status, "outcome": outcome, "headers": headers, "cookies": cookies},
        })
    }
}
