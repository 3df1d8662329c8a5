//! Runs the test cases of Cloudflare and Netlify for `_redirects` and `_headers`.
//!
//! A case passes, or `LISTED` names the reason why nearedge differs. `docs/rules.md` summarizes the reasons.
//! Cases about the HTML handling and the caches of Cloudflare, and about `netlify.toml`, are not run.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "a test prints the number of its cases")]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use nearedge_core::rules::headers::{Field, FieldChange, Headers};
use nearedge_core::rules::redirects::{Effect, Lookup, Redirects, Rule, Viewer};
use nearedge_core::rules::{LineProblem, Severity};
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Why nearedge differs from the original, and the cases. `*` at the end of a name stands for any text.
const LISTED: &[(&str, &[&str])] = &[
    (
        "FROM with a query string is an error; Cloudflare drops the query",
        &["parseRedirects should preserve querystrings on to"],
    ),
    ("400 to 599 are generated responses, as on Netlify", &["parseRedirects should reject invalid status codes"]),
    ("a rule that closes a loop is an error", &["parseRedirects should reject duplicate 'from' paths"]),
    (
        "the limits are higher: 10,000 rules, and 4,000 bytes in a line",
        &[
            "parseRedirects should reject any dynamic rules after the first 100",
            "parseRedirects should reject any static rules after the first 2000",
            "parseRedirects should reject a combination of lots of static and dynamic rules",
            "parseHeaders should reject lines longer than 2000 chars",
            "parseHeaders should reject any rules after the first 100",
        ],
    ),
    (
        "FROM can have a host, in any scheme, and needs a / or a scheme",
        &["parseRedirects should reject malformed URLs"],
    ),
    ("a path can have the scheme http", &["parseHeaders should reject malformed URLs"]),
    (
        "a rewrite to index.html is no loop: the rules run once, and no suffix is removed",
        &[
            "parseRedirects should reject wildcard patterns to index",
            "parseRedirects should allow root patterns to index when HTML handling disabled",
        ],
    ),
    (
        "Set-Cookie is refused: cookies belong to experiments",
        &[
            "parseHeaders should combine headers together",
            "[Asset Worker] `handleRequest` > _headers > attaches custom headers (5/13)",
            "[Asset Worker] `handleRequest` > _headers > attaches custom headers (6/13)",
            "[Asset Worker] `handleRequest` > _headers > attaches custom headers (9/13)",
        ],
    ),
    (
        "an ETag that is not the object's is refused",
        &["[Asset Worker] `handleRequest` > _headers > attaches custom headers (7/13)"],
    ),
    (
        "other hosts are not fetched, so a rewrite to a URL is an error",
        &["line-parser/proxy", "line-parser/signed", "line-parser/signed_backward_compat"],
    ),
    ("no path is reserved", &["line-parser/invalid_dot_netlify_url", "line-parser/invalid_dot_netlify_path"]),
    ("a line without a colon is an error; Netlify ignores it", &["line-parser/no_colon"]),
    (
        "case, a trailing slash and repeated slashes are significant, as on Cloudflare, and a path has one *",
        &[
            "for-regexp/empty",
            "for-regexp/single_slash",
            "for-regexp/whitespaces",
            "for-regexp/trim_end",
            "for-regexp/trim_start",
            "for-regexp/several_characters",
            "for-regexp/placeholder",
            "for-regexp/wildcard_single",
            "for-regexp/wildcard_append",
            "for-regexp/wildcard_prepend",
            "for-regexp/wildcard_surround",
            "for-regexp/wildcard_multiple",
            "for-regexp/wildcard_inside",
            "for-regexp/trailing_slash",
            "for-regexp/regexp_escape",
            "for-regexp/double_slash_single",
            "for-regexp/double_slash_multiple",
        ],
    ),
    (
        "the redirect is made by the HTML handling of Cloudflare Pages, not by a rule",
        &[
            "asset-server handler > Won't redirect to protocol-less double-slashed URLs*",
            "asset-server handler > Match exact pathnames, before any HTML redirection (1/6)",
            "asset-server handler > Match exact pathnames, before any HTML redirection (2/6)",
        ],
    ),
    (
        "the caller decides which responses the rules apply to, and the cache-control of errors",
        &[
            "asset-server handler > internal asset error doesn't set headers > 500 skips headers",
            "asset-server handler > 404 responses from our asset serving should not cache > 404 adds cache-control: no-store",
            "asset-server handler > 404 responses from our asset serving should not cache > 404 removes user-controlled \
             cache-control",
        ],
    ),
    (
        "a target with a host stays a whole URL, on its own host too",
        &["asset-server handler > redirects > redirects to hash component same-origin"],
    ),
];

/// A viewer for whom no condition holds.
struct Guest;

impl Viewer for Guest {
    fn country(&self) -> Option<Cow<'_, str>> {
        None
    }
    fn language(&self) -> Option<Cow<'_, str>> {
        None
    }
    fn has_cookie(&self, _: &str) -> bool {
        false
    }
    fn has_role(&self, _: &str) -> bool {
        false
    }
}

/// The result of a case: the difference, if there is one.
type Outcome = Result<(), String>;

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Outcome {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: {ours:?} instead of {theirs:?}")) }
}

fn suite(name: &str) -> Value {
    let path = format!("{}/tests/suites/{name}.json", env!("CARGO_MANIFEST_DIR"));
    #[allow(clippy::disallowed_methods, reason = "the test reads its cases")]
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// The repetitions of a template.
fn generated<T>(generate: &Value, of: impl Fn(&str, u64) -> T) -> Vec<T> {
    let from = generate["from"].as_u64().unwrap();
    (from..from + generate["count"].as_u64().unwrap()).map(|n| of(&n.to_string(), n - from)).collect()
}

/// The file of a case.
fn file(case: &Value) -> String {
    if let Some(file) = case["file"].as_str() {
        return file.to_owned();
    }
    let piece = |piece: &Value| match piece.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let generate = &piece["generate"];
            generated(generate, |n, _| text(generate, "template").replace("{n}", n)).join(text(generate, "join"))
        }
    };
    list(case, "file_parts").iter().map(piece).collect()
}

/// A path or URL in a comparable form: decoded, and with a path.
fn comparable(url: &str) -> String {
    let decoded = percent_decode_str(url).decode_utf8_lossy().into_owned();
    let has_no_path = decoded.split_once("://").is_some_and(|(_, rest)| !rest.contains('/'));
    if has_no_path { decoded + "/" } else { decoded }
}

/// The lines with problems.
fn problem_lines(problems: &[LineProblem]) -> BTreeSet<u64> {
    problems.iter().map(|problem| problem.line as u64).collect()
}

/// The expected lines with problems, if the case names them.
fn expected_lines(case: &Value) -> Option<BTreeSet<u64>> {
    list(case, "invalid").iter().map(|problem| problem["line_number"].as_u64()).collect()
}

fn cloudflare_redirects(case: &Value) -> Outcome {
    let (redirects, problems) = Redirects::parse(&file(case));
    let unreached: BTreeSet<usize> = problems
        .iter()
        .filter(|problem| problem.reason.starts_with("no request reaches"))
        .map(|problem| problem.line)
        .collect();
    let ours: Vec<_> = redirects
        .rules()
        .iter()
        .filter(|rule| !unreached.contains(&rule.line))
        .map(|rule| (comparable(&rule.from), comparable(&rule.to), u64::from(rule.status), rule.line as u64))
        .collect();
    let of_rule = |rule: &Value, n: &str, line: u64| {
        let part = |name| comparable(&text(rule, name).replace("{n}", n));
        (part("from"), part("to"), rule["status"].as_u64().unwrap(), line)
    };
    let mut theirs = Vec::new();
    for part in list(case, if case["rules"].is_null() { "rules_parts" } else { "rules" }) {
        match &part["generate"] {
            Value::Null => theirs.push(of_rule(part, "", part["line"].as_u64().unwrap())),
            generate => theirs.extend(generated(generate, |n, index| {
                of_rule(&generate["rule"], n, generate["line_from"].as_u64().unwrap() + index)
            })),
        }
    }
    equal("rules", ours, theirs)?;
    match expected_lines(case) {
        Some(lines) => equal("problems", problem_lines(&problems), lines),
        None => equal("has problems", !problems.is_empty(), true),
    }
}

fn cloudflare_headers(case: &Value) -> Outcome {
    let (headers, problems) = Headers::parse(&file(case));
    let ours: Vec<_> = headers
        .rules()
        .iter()
        .map(|rule| (comparable(&rule.path), headers.lines(rule).collect::<BTreeSet<_>>()))
        .collect();
    let theirs: Vec<_> = list(case, "rules")
        .iter()
        .map(|rule| {
            let set = rule["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.as_str().unwrap()));
            let unset = list(rule, "unset").iter().map(|name| format!("! {}", name.as_str().unwrap().to_lowercase()));
            (comparable(text(rule, "path")), set.chain(unset).collect())
        })
        .collect();
    equal("rules", ours, theirs)?;
    match expected_lines(case) {
        Some(lines) => equal("problems", problem_lines(&problems), lines),
        None => equal("has problems", !problems.is_empty(), true),
    }
}

/// A rule of Netlify as a line. Its tests state the parts of query parameters without their order.
fn netlify_line(rule: &Value, is_reversed: bool) -> String {
    let pair = |(name, value): (&String, &Value)| {
        let list: Option<Vec<&str>> = value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect());
        format!("{name}={}", list.map_or_else(|| value.as_str().unwrap_or_default().to_owned(), |list| list.join(",")))
    };
    let pairs = |name| rule[name].as_object().unwrap().iter().map(pair).collect::<Vec<_>>();
    let mut query = pairs("query");
    if is_reversed {
        query.reverse();
    }
    let force = if rule["force"] == true { "!" } else { "" };
    let status = rule["status"].as_u64().unwrap_or(302);
    let (query, conditions) = (query.join(" "), pairs("conditions").join(" "));
    format!("{} {query} {} {status}{force} {conditions}", text(rule, "from"), text(rule, "to"))
}

fn netlify_redirects(case: &Value) -> Outcome {
    let (redirects, problems) = Redirects::parse(&file(case));
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    equal("errors", errors, list(case, "actual_errors").len())?;
    if case["rules_asserted_by_test"] == false {
        return Ok(());
    }
    let theirs = list(case, "rules");
    equal("rules", redirects.len(), theirs.len())?;
    for (ours, theirs) in redirects.rules().iter().zip(theirs) {
        let mut ours: Rule = ours.clone();
        ours.line = 1;
        let is_equal = [false, true].into_iter().any(|is_reversed| {
            Redirects::parse(&netlify_line(theirs, is_reversed)).0.rules() == std::slice::from_ref(&ours)
        });
        equal("rule", is_equal, true)?;
    }
    Ok(())
}

fn netlify_headers(case: &Value) -> Outcome {
    let (headers, problems) = Headers::parse(&file(case));
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    equal("errors", errors, list(case, "actual_errors").len())?;
    if case["rules_asserted_by_test"] == false {
        return Ok(());
    }
    let ours: Vec<_> = headers
        .rules()
        .iter()
        .map(|rule| (rule.path.to_string(), headers.lines(rule).collect::<BTreeSet<_>>()))
        .collect();
    let theirs: Vec<_> = list(case, "rules")
        .iter()
        .map(|rule| {
            let set = rule["headers"].as_object().unwrap().iter();
            let set = set.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap())).collect();
            (text(rule, "path").to_owned(), set)
        })
        .collect();
    equal("rules", ours, theirs)
}

/// Compares a pattern of Netlify's headers with its regular expression.
fn netlify_path_pattern(case: &Value) -> Outcome {
    let theirs = regex_lite::Regex::new(&format!("(?i){}", text(case, "regex"))).unwrap();
    let (headers, _) = Headers::parse(&format!("{}\n x: 1", text(case, "for")));
    for path in [
        "/", "//", "/a", "/A", "/a/", "/ a", "/abc", "/a/x", "/x/a", "/a/b", "/a/x/b", "/a/bxc", "/a.", "/a/b/",
        "/a./", "/A/bxc", "/ A",
    ] {
        let ours = !headers.find(&|| "h".into(), path).is_empty();
        equal(path, ours, theirs.is_match(path))?;
    }
    Ok(())
}

/// The host, the decoded path and the query of a request.
struct Url {
    host: String,
    path: String,
    query: String,
}

impl Url {
    fn parse(url: &str) -> Self {
        let (_, rest) = url.split_once("://").unwrap();
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let path = percent_decode_str(path).decode_utf8().unwrap().into_owned();
        Self { host: host.to_owned(), path, query: query.to_owned() }
    }
}

/// The file of a ruleset's redirects: static rules, then dynamic ones.
fn redirects_of(ruleset: &Value) -> String {
    let redirects = &ruleset["redirects"];
    let mut fixed: Vec<&Value> = list(redirects, "static").iter().collect();
    fixed.sort_by_key(|rule| rule["line"].as_u64());
    let line = |rule: &Value| format!("{} {} {}\n", text(rule, "from"), text(rule, "to"), rule["status"]);
    fixed.into_iter().chain(list(redirects, "dynamic")).map(line).collect()
}

fn headers_of(ruleset: &Value) -> String {
    let rule = |rule: &Value| {
        let set = rule["set"].as_object().into_iter().flatten();
        let set: String = set.map(|(name, value)| format!(" {name}: {}\n", value.as_str().unwrap())).collect();
        let unset: String = list(rule, "unset").iter().map(|name| format!(" ! {}\n", name.as_str().unwrap())).collect();
        format!("{}\n{unset}{set}", text(rule, "path"))
    };
    list(ruleset, "headers").iter().map(rule).collect()
}

fn matched_redirect(case: &Value, ruleset: &Value) -> Outcome {
    let (redirects, _) = Redirects::parse(&redirects_of(ruleset));
    let url = Url::parse(text(&case["request"], "url"));
    let lookup = Lookup { host: &|| url.host.as_str().into(), path: &url.path, query: &url.query, viewer: &Guest };
    let expected = &case["expected"];
    let effect = redirects.find(&lookup).map(|found| found.effect);
    // Cloudflare also finds a path with `.html` or an index document.
    let is_file_of = |path: &str, file: &str| {
        [path.to_owned(), format!("{path}.html"), format!("{path}index.html")].iter().any(|known| known == file)
    };
    match effect {
        Some(Effect::Redirect { status, location }) => {
            if let Some(status_expected) = expected["status"].as_u64() {
                equal("status", u64::from(status), status_expected)?;
            }
            match expected["final_file"].as_str() {
                Some(file) => equal("final file", is_file_of(&location, file), true),
                None => equal("location", location.as_str(), text(expected, "location")),
            }
        }
        Some(Effect::Rewrite { path }) => {
            let files: Vec<&str> = list(case, "files").iter().filter_map(Value::as_str).collect();
            let exists = case["files"] == "*" || files.iter().any(|file| is_file_of(&path, file));
            equal("status", expected["status"].as_u64(), Some(if exists { 200 } else { 404 }))?;
            let file = expected["file"].as_str();
            equal("file", file.is_none_or(|file| is_file_of(&path, file)), true)
        }
        other => {
            equal("effect", other, None)?;
            equal("location", expected["location"].as_str(), None)?;
            equal("status", matches!(expected["status"].as_u64(), Some(200 | 404)), true)
        }
    }
}

fn matched_headers(case: &Value, ruleset: &Value) -> Outcome {
    let (headers, _) = Headers::parse(&headers_of(ruleset));
    let url = Url::parse(text(&case["request"], "url"));
    let set: BTreeMap<String, String> = headers
        .fields(&|| url.host.as_str().into(), &url.path, None)
        .into_iter()
        .filter_map(|Field { name, change }| match change {
            FieldChange::Set(value) | FieldChange::Append(value) => Some((name.to_owned(), value.into_owned())),
            FieldChange::Remove => None,
        })
        .collect();
    let expected = &case["expected"];
    let of = |name: &str| set.get(&name.to_lowercase()).map(String::as_str);
    for (name, value) in expected["headers"].as_object().into_iter().flatten() {
        equal(name, of(name), value.as_str())?;
    }
    for name in list(expected, "headers_absent").iter().filter_map(Value::as_str) {
        equal(name, of(name), None)?;
    }
    for name in list(expected, "headers_present").iter().filter_map(Value::as_str) {
        equal(name, of(name).is_some(), true)?;
    }
    Ok(())
}

/// The values of all matching rules, each as a field of its own.
fn matcher(case: &Value) -> Outcome {
    let value = |rule: &Value| rule["value"].as_str().map_or_else(|| rule["value"].to_string(), str::to_owned);
    let rules = list(case, "rules").iter().enumerate();
    let file: String = rules.map(|(n, rule)| format!("{}\n x-{n}: {}\n", text(rule, "path"), value(rule))).collect();
    let (headers, _) = Headers::parse(&file);
    let url = Url::parse(text(&case["request"], "url"));
    let fields = headers.fields(&|| url.host.as_str().into(), &url.path, None);
    let ours: Vec<String> = fields
        .into_iter()
        .map(|field| match field.change {
            FieldChange::Set(value) => value.into_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    let theirs = list(&case["expected"], "values").iter();
    equal("values", ours, theirs.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect())
}

/// A text with inserted values, as the value of a field.
fn replacer(case: &Value) -> Outcome {
    let (mut pattern, mut path) = (String::new(), String::new());
    // `*` comes last.
    let mut values: Vec<_> = case["values"].as_object().unwrap().iter().collect();
    values.sort_by_key(|(name, _)| *name == "splat");
    for (name, value) in values {
        pattern += &if name == "splat" { "/*".to_owned() } else { format!("/:{name}") };
        path += &format!("/{}", value.as_str().unwrap());
    }
    let (headers, _) = Headers::parse(&format!("{pattern}\n x: {}", text(case, "text")));
    let fields = headers.fields(&|| "h".into(), &path, None);
    equal("text", &fields[0].change, &FieldChange::Set(text(&case["expected"], "text").into()))
}

#[test]
fn cases_of_cloudflare_and_netlify_pass_or_are_listed() {
    let mut outcomes: Vec<(String, Outcome)> = Vec::new();
    let mut run = |suite: &Value, list_name: &str, of: &dyn Fn(&Value) -> Outcome| {
        outcomes.extend(list(suite, list_name).iter().map(|case| (text(case, "name").to_owned(), of(case))));
    };
    let redirects = suite("cloudflare_redirects");
    run(&redirects, "cases", &cloudflare_redirects);
    run(&redirects, "fixture_cases", &cloudflare_redirects);
    let headers = suite("cloudflare_headers");
    run(&headers, "cases", &cloudflare_headers);
    run(&headers, "fixture_cases", &cloudflare_headers);
    run(&suite("netlify_redirects"), "cases", &|case| netlify_redirects(case));
    let netlify = suite("netlify_headers");
    run(&netlify, "cases", &netlify_headers);
    run(&netlify, "path_patterns", &netlify_path_pattern);
    let matching = suite("cloudflare_matching");
    let ruleset = |case: &Value| matching["rulesets"][text(case, "ruleset")].clone();
    for case in list(&matching, "cases") {
        let outcome = match text(case, "kind") {
            "redirect" => matched_redirect(case, &ruleset(case)),
            "headers" => matched_headers(case, &ruleset(case)),
            "matcher" => matcher(case),
            "replacer" => replacer(case),
            // Static routing, HTML handling and ETags are no rules.
            _ => continue,
        };
        outcomes.push((text(case, "name").to_owned(), outcome));
    }
    let is_listed = |name: &str| {
        let is_name = |listed: &&str| listed.strip_suffix('*').map_or(*listed == name, |start| name.starts_with(start));
        LISTED.iter().any(|(_, names)| names.iter().any(is_name))
    };
    let mut unexpected = Vec::new();
    for (name, outcome) in &outcomes {
        match outcome {
            Ok(()) if is_listed(name) => unexpected.push(format!("passes, but is listed: {name}")),
            Err(difference) if !is_listed(name) => unexpected.push(format!("{name}: {difference}")),
            _ => {}
        }
    }
    let listed = outcomes.iter().filter(|(name, _)| is_listed(name)).count();
    println!("{} passed, {listed} listed", outcomes.len() - listed);
    for (reason, names) in LISTED {
        println!("{}: {reason}", names.join("; "));
        for name in *names {
            let start = name.trim_end_matches('*');
            let occurs = outcomes.iter().any(|(known, _)| known.starts_with(start));
            assert!(occurs, "the listed case {name} does not exist");
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

#[test]
fn the_examples_of_the_document_are_valid() {
    let blocks: Vec<&str> = include_str!("../../../docs/rules.md").split("```").skip(1).step_by(2).collect();
    let [_, redirects, headers, ..] = blocks[..] else {
        panic!("expected at least three blocks, found {}", blocks.len())
    };
    let (redirects, problems) = Redirects::parse(redirects.trim_start_matches("text"));
    assert_eq!((redirects.len(), problems), (8, vec![]));
    let (headers, problems) = Headers::parse(headers.trim_start_matches("text"));
    assert_eq!((headers.len(), problems), (3, vec![]));
}
