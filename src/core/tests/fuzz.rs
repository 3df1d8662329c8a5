//! Runs the checks of the fuzz targets on stable Rust, with generated inputs that resemble real ones.
//!
//! Each test runs for `FUZZ_SECONDS` seconds (default 1). It shrinks a failing input and prints it.
#![allow(clippy::expect_used, clippy::panic, missing_docs, reason = "tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "a test prints the number of its inputs")]
#![allow(clippy::disallowed_methods, reason = "the runner reads the clock; the core does not")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

#[path = "../fuzz/checks.rs"]
mod checks;

/// Checks generated inputs for `FUZZ_SECONDS`.
fn run<S: Strategy>(strategy: S, check: impl Fn(S::Value)) {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(1.0);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut cases = 0_u64;
    while Instant::now() < end {
        let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&strategy, |input| {
            check(input);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{error}");
        }
        cases += 1_000;
    }
    println!("{cases} inputs");
}

/// Concatenates meaningful pieces, arbitrary text and numbers.
fn text(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![4 => select(pieces).prop_map(str::to_owned), 1 => "(?s:.){0,6}", 1 => "[0-9]{1,22}"];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "2.0",
    "\"2.0\"",
    "\"1.0\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"\\n\"",
    "\"version\":\"2.0\"",
    "\"rawPath\":\"/a\"",
    "\"rawPath\":\"/%ff%00\"",
    "\"headers\":{",
    "\"lambda_auth\":\"swordfish\"",
    "\"lambda_auth\":\"sword\\u0066ish\"",
    "\"LAMBDA_AUTH\":\"swordfish\"",
    "\"test_version\":\"v1\"",
    "\"requestContext\":{",
    "\"http\":{\"method\":\"GET\"}",
    "\"stage\":\"prod\"",
    "\"domainName\":\"x.lambda-url.y.on.aws\"",
    "\"elb\":{}",
    "swordfish",
];

/// Complete events with unusual values, which [`text`] rarely generates.
fn event() -> impl Strategy<Value = Vec<u8>> {
    let value = || {
        prop_oneof![
            4 => "(?s:.){0,20}".prop_map(serde_json::Value::from),
            2 => select(&["swordfish", "2.0", "GET", "/", "prod", "$default", "x.lambda-url.y.on.aws"][..])
                .prop_map(Into::into),
            1 => Just(serde_json::Value::Null),
            1 => any::<i64>().prop_map(Into::into),
        ]
    };
    let fields = (value(), value(), value(), value(), value(), value(), prop::bool::weighted(0.9));
    fields.prop_map(|(path, auth, version, method, stage, domain, is_v2)| {
        let format = if is_v2 { "2.0" } else { "1.0" };
        let event = serde_json::json!({
            "version": format, "rawPath": path, "headers": {"lambda_auth": auth, "test_version": version, "x": null},
            "requestContext": {"http": {"method": method}, "stage": stage, "domainName": domain},
        });
        event.to_string().into_bytes()
    })
}

#[test]
fn any_event_parses_or_fails_and_needs_the_secret() {
    let bytes = prop::collection::vec(any::<u8>(), 0..100);
    let strategy = prop_oneof![3 => event(), 2 => text(JSON).prop_map(String::into_bytes), 1 => bytes];
    run(strategy, |bytes| checks::event(&bytes));
}

#[test]
fn any_range_selects_bytes_of_the_object_or_none() {
    let fields = text(&[
        "bytes",
        "=",
        "-",
        ",",
        " ",
        "\t",
        "0",
        "1",
        "9",
        "*",
        "W/",
        "\"",
        "\"tag\"",
        "Sun, 06 Nov 1994 08:49:37 GMT",
    ]);
    run((fields, prop_oneof![any::<u64>(), 0_u64..20]), |(field, size_bytes)| checks::range(&field, size_bytes));
}

#[test]
fn any_conditions_have_a_verdict() {
    let fields =
        text(&["\"", "W/", ",", " ", "*", "\"tag\"", "\"b\"", "Sun, 06 Nov 1994 08:49:37 GMT", "GMT", "Nov", ":", "-"]);
    run(fields, |field| checks::conditional(&field));
}

#[test]
fn any_path_gives_keys_of_its_variant_and_a_safe_location() {
    let paths = || text(&["/", "//", "..", ".", "%", "%2F", "+", "?", "#", "\r", "\n", "\0", "index.html", "v1", "日"]);
    run((paths(), text(&["v1", "v2", ".", "..", "_", "-"]), paths()), |(path, variant, query)| {
        checks::path(&path, &variant, &query);
    });
}

const DEFINITION: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "0.5",
    "1e999",
    "\"v1\"",
    "\"../x\"",
    "\"\\ud800\"",
    "{\"features\":{\"test_version\":{\"rules\":[",
    "{\"force\":\"v1\"}",
    "\"condition\":{",
    "\"$or\":[",
    "\"$savedGroup\":{\"id\":\"g\"}",
    "\"path\":{\"$regex\":\"(a+)+$\"}",
    "\"variations\":[\"v1\",\"v2\"]",
    "\"weights\":[0.5,0.5]",
    "\"parentConditions\":[{\"id\":\"test_version\"}]",
    "\"experiments\":[{\"key\":\"r\",\"urlPatterns\":[],\"variations\":[{},{\"urlRedirect\":\"https://a/\"}]}]",
    "]}}}",
];

/// Definitions of a valid form with unusual values.
fn definition() -> impl Strategy<Value = String> {
    let scalar = || {
        prop_oneof![
            3 => select(&["v1", "id", "country", "test_version", "$in", "(a+)+$", "", "https://a/b", "\u{10ffff}"][..])
                .prop_map(serde_json::Value::from),
            1 => any::<f64>().prop_map(serde_json::Value::from),
            1 => any::<bool>().prop_map(serde_json::Value::from),
            1 => Just(serde_json::Value::Null),
        ]
    };
    let value = scalar().prop_recursive(4, 24, 4, |inner| {
        let name = select(
            &[
                "$or",
                "$and",
                "$not",
                "$nor",
                "$in",
                "$regex",
                "$elemMatch",
                "$all",
                "$size",
                "$vgt",
                "$savedGroup",
                "id",
                "path",
            ][..],
        );
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                members
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect::<serde_json::Map<_, _>>()
                    .into()
            }),
        ]
    });
    let member = select(
        &[
            "key",
            "variations",
            "force",
            "condition",
            "weights",
            "coverage",
            "ranges",
            "range",
            "hashVersion",
            "meta",
            "phase",
            "namespace",
            "filters",
            "hashAttribute",
            "fallbackAttribute",
            "parentConditions",
            "urlPatterns",
            "minBucketVersion",
        ][..],
    );
    let rule = prop::collection::vec((member, value.clone()), 0..6).prop_map(|members| {
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
        serde_json::Value::from(members.collect::<serde_json::Map<_, _>>())
    });
    (prop::collection::vec(rule, 0..4), value).prop_map(|(rules, other)| {
        let feature = serde_json::json!({"rules": rules});
        serde_json::json!({
            "features": {"test_version": feature}, "experiments": rules, "savedGroups": {"v1": other, "id": other},
        })
        .to_string()
    })
}

#[test]
fn any_definition_is_evaluated_or_has_a_reason() {
    run(prop_oneof![3 => definition(), 1 => text(DEFINITION)], |text| checks::definition(&text));
}

#[test]
fn any_cookies_give_a_version_and_settle() {
    let visitor = || text(&["1.", "2.", "AAECAwQFBgcICQoLDA0ODw", ".", "4XpL", "-", "_", "\r\n", ";", "=", "\0", "日"]);
    let assignments = text(&["a%20b", "a b", "c", "__", "0", "1", "2", "01", ".", "~", "%", ";", "\r\n", "日", "-"]);
    run((visitor(), assignments), |(visitor, assignments)| checks::cookies(&visitor, &assignments));
}

#[test]
fn no_spelling_of_a_path_bypasses_a_rule() {
    let paths = || {
        text(&[
            "/",
            "//",
            ".",
            "..",
            "/../",
            "/./",
            "%2f",
            "%2F",
            "%2e",
            "%5c",
            "%25",
            "2e",
            "2f",
            "\\",
            "members",
            "free",
            "free.html",
            "a.html",
            "secret.html",
            "access.json",
            "%6dembers",
            "v1",
            "v2",
            "x",
            "日",
        ])
    };
    run(
        (
            paths(),
            prop_oneof![4 => select(&["v1", "v2", "x", "members", ".."][..]).prop_map(str::to_owned), 1 => paths()],
        ),
        |(path, version)| {
            checks::access(&path, &version);
        },
    );
}

#[test]
fn no_text_is_accepted_as_a_token_or_link() {
    // {"alg":"HS256"} and {"exp":9999999999}.
    let tokens = text(&[
        ".",
        "-",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJub25lIn0",
        "eyJleHAiOjk5OTk5OTk5OTl9",
        "=",
        "&",
        "verify=",
        "1800000000",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "c=",
        "%76erify",
        ",",
        " ",
    ]);
    let rules = text(&[
        "{\"rules\":[",
        "]}",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"path\":\"/a/*\"",
        "\"open\":true",
        "\"jwt\":{",
        "\"signed_url\":{",
        "\"keys\":[\"0123456789abcdef\"]",
        "\"keys\":{\"keys\":[{\"kty\":\"oct\"}]}",
        "\"parameter\":\"verify\"",
        "\"ttl_secs\":60",
        "\"algorithms\":[\"HS256\"]",
        "\"from\":[\"cookie:c\"]",
        "null",
    ]);
    run(prop_oneof![2 => tokens, 1 => rules], |text| checks::token(&text));
}

const REDIRECTS: &[&str] = &[
    "\n",
    " ",
    "\t",
    "/",
    "/a",
    "/:x",
    "/*",
    ":splat",
    "//",
    "\\",
    "..",
    "%2e",
    "%2f",
    "%zz",
    "?",
    "?q=:x",
    "#",
    "https://",
    "www.example.com",
    "https://:x.b.com/",
    " /b ",
    " 301",
    " 200!",
    " 404",
    " k=:k ",
    " Country=cn",
    " Cookie=beta",
    "\u{feff}",
    "\u{85}",
];

const S3: &[&str] = &[
    "<RoutingRules>",
    "<RoutingRule>",
    "<Condition>",
    "</",
    "<KeyPrefixEquals>a/</KeyPrefixEquals>",
    "<Redirect><HostName>a.com</HostName></Redirect>",
    "</RoutingRule>",
    "</RoutingRules>",
    "&amp;",
    "<!--",
    "[{\"Redirect\":{\"ReplaceKeyWith\":\"b\"}}]",
    "{\"RoutingRules\":[",
    "]}",
];

#[test]
fn any_redirects_are_read_and_give_a_safe_location() {
    let paths = || text(&["a", "/", "//", "..", ".", "\\", "\r", "\n", "\0", "@", "evil.com", "日"]);
    let files = prop_oneof![4 => text(REDIRECTS), 1 => text(S3)];
    run((files, paths(), text(&["k=", "&", "1", "%2f", "..", "\r\n", "日"])), |(file, path, query)| {
        checks::redirects(&file, &path, &query);
    });
}

const HEADERS: &[&str] = &[
    "\n",
    " ",
    "/*\n",
    "/a/:x\n",
    "/a\u{7f}\n",
    "https://www.example.com/*\n",
    "X: 1\n",
    "x: :splat, :x\n",
    "! X\n",
    "Vary: A\n",
    "Access-Control-Allow-Origin: https://a.com https://b.com\n",
    "Access-Control-Allow-Origin: *\n",
    "Set-Cookie: a=b\n",
    ":",
    "!",
    "#",
    "\r",
    "é",
];

#[test]
fn any_headers_are_read_and_give_safe_values() {
    let paths = text(&["a", "/", "x", ";", ",", "\"", "\r", "\n", "\0", "日"]);
    run((text(HEADERS), paths, text(&["https://a.com", "https://B.com", "null", "\r\n"])), |(file, path, origin)| {
        checks::headers(&file, &path, &origin);
    });
}
