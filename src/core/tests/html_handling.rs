//! Cloudflare's test cases for `html_handling`, and properties of the alternatives.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use nearedge_core::rules::html::{HtmlHandling, canonical};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use serde_json::Value;

/// The result of the alternatives on a site.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Served(String),
    Redirected(String),
    Missing,
}

fn mode(name: &str) -> HtmlHandling {
    HtmlHandling::ALL.into_iter().find(|mode| mode.name() == name).unwrap()
}

/// Carries out the alternatives; `keys` are those of the site.
fn find(mode: HtmlHandling, path: &str, keys: &BTreeSet<String>) -> Found {
    let address = canonical(path);
    for alternative in mode.alternatives(&address, "index.html") {
        if !keys.contains(&alternative.key) {
            continue;
        }
        match alternative.redirect {
            None if *address == *path => return Found::Served(alternative.key),
            None => return Found::Redirected(address.into_owned()),
            Some(redirect) if redirect.unless.iter().any(|key| keys.contains(key)) => {}
            Some(redirect) => return Found::Redirected(redirect.path),
        }
    }
    Found::Missing
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A path without dot segments, as every client sends it ([URL standard](https://url.spec.whatwg.org/#path-state)).
fn without_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        match segment.to_ascii_lowercase().replace("%2e", ".").as_str() {
            "." if is_last => segments.push(""),
            "." => {}
            ".." => {
                segments.pop();
                if is_last {
                    segments.push("");
                }
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// The cases that differ, by set and name, and the reason.
const DIFFERENT: [(&str, &str, &str); 5] = [
    ("html-handling-test-cases", "/ -> 404", FOLDER),
    ("html-handling-test-cases", "/both/ -> 404", FOLDER),
    ("html-handling-test-cases", "/bin%2F -> 404", FOLDER),
    ("html-handling-test-cases", "/bin/ -> 404", FOLDER),
    (
        "handler.test",
        "returns expected responses for malformed path (2)",
        "a path that is not UTF-8 has no object: S3's keys are UTF-8",
    ),
];
const FOLDER: &str = "with html_handling=none, a folder's path is that of its index document";

#[test]
fn cloudflares_cases_pass_or_differ_as_listed() {
    let suite: Value = serde_json::from_str(include_str!("suites/cloudflare_html_handling.json")).unwrap();
    let (mut passed, mut encoded, mut failed) = (0, 0, Vec::new());
    for case in suite["cases"].as_array().unwrap() {
        let text = |name: &str| case[name].as_str().unwrap_or_default();
        let keys =
            case["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()[1..].to_owned()).collect();
        let request = text("request").split(['?', '#']).next().unwrap();
        // An HTTP API passes the path on decoded.
        let path = decoded(&without_dots(request));
        let found = find(mode(text("mode")), &path, &keys);
        let expected = &case["expected"];
        let file = || expected["file"].as_str().unwrap()[1..].to_owned();
        let expected = match expected["status"].as_u64().unwrap() {
            200 if case["not_found_handling"] == "single-page-application" && found == Found::Missing => Found::Missing,
            200 => Found::Served(file()),
            307 => {
                let location = expected["location"].as_str().unwrap();
                let address = decoded(location.split(['?', '#']).next().unwrap());
                // Only the encoding of the address differs, which the function cannot see.
                if address == path {
                    encoded += 1;
                    Found::Served(file())
                } else {
                    Found::Redirected(address)
                }
            }
            _ => Found::Missing,
        };
        let differs = DIFFERENT.iter().any(|(set, name, _)| text("set") == *set && text("name") == *name);
        match found == expected {
            _ if (found == expected) == differs => failed.push(format!("{case}: {found:?}, expected {expected:?}")),
            true => passed += 1,
            false => {}
        }
    }
    println!("{passed} passed, {encoded} of them without the redirect that corrects the encoding");
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert_eq!((passed, encoded), (219, 23));
}

proptest! {
    /// Whatever the files, a redirect leads to a page; by way of one more for an odd address such as `/index/`.
    #[test]
    fn redirects_lead_to_a_page(
        keys in prop::collection::btree_set("(a|index|a/index|a/a|a/a/index|a/b)(\\.html)?(\\.html)?", 0..6),
        path in "/((a|b|index)/){0,2}(a|b|index)?(\\.html)?/?",
        mode in prop::sample::select(HtmlHandling::ALL.to_vec()),
    ) {
        let mut found = find(mode, &path, &keys);
        for _ in 0..2 {
            if let Found::Redirected(address) = &found {
                found = find(mode, address, &keys);
            }
        }
        prop_assert!(!matches!(found, Found::Redirected(_)), "{} -> {:?}", path, found);
        prop_assert!(found != Found::Missing || find(mode, &path, &keys) == Found::Missing);
    }
}
