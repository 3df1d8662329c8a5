//! Tests of access.json as a whole.

mod definition;
mod known;
mod link;
mod path;
mod token;

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use crate::access::check::{Denial, Grant, Verdict};
use crate::access::credentials::{CookieValues, Credentials};
use crate::access::known::KnownTokens;
use crate::access::rules::{AccessRules, Target, Versions};

/// Unix seconds at which the tests check.
const NOW: u64 = 1_800_000_000;

/// A key of links.
const KEY: &str = "0123456789abcdef";

fn parse(rules: &Json) -> AccessRules {
    AccessRules::parse(&json!({"rules": rules}).to_string(), Some("access.json")).unwrap().0
}

/// The parts of a request that access control reads.
#[derive(Default, Clone)]
struct Sent {
    headers: Vec<(&'static str, String)>,
    cookies: Vec<(&'static str, String)>,
    query: String,
    url: Option<&'static str>,
}

impl Sent {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn cookie(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.cookies.push((name, value.into()));
        self
    }

    fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    fn page(mut self, url: &'static str) -> Self {
        self.url = Some(url);
        self
    }
}

impl Credentials for Sent {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| Cow::Borrowed(&**value))
    }

    fn cookies(&self, name: &str) -> CookieValues<'_> {
        self.cookies.iter().filter(|(known, _)| *known == name).map(|(_, value)| &**value).collect()
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn page_url(&self) -> Option<Cow<'_, str>> {
        self.url.map(Cow::Borrowed)
    }
}

/// Checks a request for one path at a time in Unix seconds.
fn check_at<'r>(rules: &'r AccessRules, path: &str, sent: &Sent, now: u64) -> Verdict<'r> {
    let versions = Versions::Listed(&|version| version == "v1");
    rules.check(&[Target::from(path)], versions, sent, &KnownTokens::new(), now)
}

/// The grant of a request at [`NOW`].
fn granted<'r>(rules: &'r AccessRules, path: &str, sent: &Sent) -> Grant<'r> {
    match check_at(rules, path, sent, NOW) {
        Verdict::Granted(grant) => grant,
        verdict => panic!("{path}: {verdict:?}"),
    }
}

/// The denial of a request at [`NOW`].
fn denied(rules: &AccessRules, path: &str, sent: &Sent) -> Denial {
    match check_at(rules, path, sent, NOW) {
        Verdict::Denied(denial) => denial,
        verdict => panic!("{path}: {verdict:?}"),
    }
}
