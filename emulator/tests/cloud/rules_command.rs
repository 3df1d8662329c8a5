//! The commands `rules check`, `rules explain` and `sign`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::command::{folder_of, text};
use crate::support::nearedge;

/// The key of signed links.
const KEY: &str = "6jV0mB3nT8rXq2Lw";

fn run(arguments: &[&str]) -> Output {
    Command::new(nearedge()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The exit code and the lines of `rules check` without the folder's name.
fn check(site: &Path, options: &[&str]) -> (i32, Vec<String>) {
    let output = run(&[&["rules", "check", text(site)], options].concat());
    let out = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let folder = format!("{}/", text(site));
    (output.status.code().unwrap(), out.lines().map(|line| line.replace(&folder, "")).collect())
}

fn explain(site: &Path, url: &str, options: &[&str]) -> Value {
    let output = run(&[&["rules", "explain", url, "--site", text(site), "--json"], options].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The decision of a stage, and its reasons with their places.
fn stage(explanation: &Value, name: &str) -> (String, String) {
    let stage = explanation["stages"].as_array().unwrap().iter().find(|stage| stage["stage"] == name);
    let Some(stage) = stage else { return (String::new(), String::new()) };
    let reasons = stage["reasons"].as_array().unwrap().iter().map(|reason| {
        let place = reason["file"].as_str().map_or(String::new(), |file| format!("{file}:{} ", reason["line"]));
        format!("{place}{}", reason["text"].as_str().unwrap())
    });
    (stage["decision"].as_str().unwrap().to_owned(), reasons.collect::<Vec<_>>().join("\n"))
}

fn signed_rule(path: &str) -> String {
    format!(r#"{{"path": "{path}", "signed_url": {{"keys": ["{KEY}"], "parameter": "sig", "ttl_secs": 3600}}}}"#)
}

const TOKEN_RULE: &str = r#"{"path": "/members/*", "login": "/login.html?to={url}", "jwt": {"algorithms": ["HS256"],
  "keys": {"keys": [{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]},
  "issuer": "i", "audience": "a", "from": ["header:authorization", "cookie:token"]}}"#;

fn access(rules: &[&str]) -> String {
    format!("{{\"rules\": [\n{}\n]}}", rules.join(",\n"))
}

/// A site with objects and these files.
fn site(objects: &[&str], files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = folder_of(objects);
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[test]
fn a_clean_site_has_no_findings() {
    let site = site(
        &["index.html", "new.html", "login.html", "members/a.html", "assets/a.js"],
        &[
            ("_redirects", "/old /new.html 301\n/blog/* /new.html 302\n/app/* /index.html 200\n"),
            ("_headers", "/assets/*\n  Cache-Control: public, max-age=60\n/old\n  X-A: b\n/\n  X-B: c\n"),
            ("access.json", &access(&[TOKEN_RULE])),
        ],
    );
    assert_eq!(check(site.path(), &[]), (0, vec!["0 errors, 0 warnings, 0 notes".to_owned()]));
    let output = run(&["rules", "check", text(site.path()), "--json"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"[]\n"[..]));
}

/// Checks that one line, and one only, starts and contains these texts.
fn assert_finding(site: &Path, options: &[&str], start: &str, reason: &str) {
    let (code, lines) = check(site, options);
    let found: Vec<&String> = lines.iter().filter(|line| line.starts_with(start) && line.contains(reason)).collect();
    assert_eq!(found.len(), 1, "expected `{start}` … `{reason}` in {lines:#?}");
    assert_eq!(code, i32::from(!start.ends_with("note: ")), "{lines:#?}");
}

#[test]
fn problems_of_each_file_have_line_reason_and_fix() {
    let site = site(
        &["index.html"],
        &[
            ("_redirects", "/a / 301\n/a / 302\nnonsense\n"),
            ("_headers", "/*\n  Location: x\n"),
            ("access.json", "{\"rules\": [\n{\"path\": \"/a*\", \"open\": true}]}"),
            ("experiments.json", "{\"features\": {\n\"test_version\": {\"defaultValue\": 7}}}"),
        ],
    );
    let (code, lines) = check(site.path(), &[]);
    assert_eq!(code, 1);
    for (start, reason) in [
        ("_redirects:2: warning: ", "line 1 matches all of its requests"),
        ("_redirects:3: error: ", "`nonsense`: "),
        ("_headers:2: error: ", "`Location: x`: "),
        ("access.json:2:10: error: rules[0].path: ", "expected * only as the whole last segment"),
        ("experiments.json:2:", "features.test_version"),
    ] {
        assert!(lines.iter().any(|line| line.starts_with(start) && line.contains(reason)), "{start}: {lines:#?}");
    }
    let output = run(&["rules", "check", text(site.path()), "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_access = list.as_array().unwrap().iter().find(|finding| finding["path"] == "rules[0].path").unwrap();
    assert_eq!(
        (&of_access["line"], &of_access["column"], &of_access["severity"]),
        (&2.into(), &10.into(), &"error".into())
    );
    assert!(of_access["fix"].as_str().is_some_and(|fix| !fix.is_empty()));
}

#[test]
fn redirects_are_followed_over_the_objects_of_the_site() {
    let objects = ["index.html", "about.html", "x/index.html", "old.html"];
    let redirects = "/about /about.html 301!\n/old.html /index.html 301\n/lost /none.html 302\n/err /e.html 410!\n\
                     /app/* /none.html 200\n/x /x/ 301!\n";
    let site = site(&objects, &[("_redirects", redirects)]);
    let auto = ["--html-handling", "auto-trailing-slash"];
    assert_finding(
        site.path(),
        &auto,
        "_redirects:1: error: ",
        "/about → /about.html → /about (with html_handling=auto",
    );
    let drop = ["--html-handling", "drop-trailing-slash"];
    assert_finding(site.path(), &drop, "_redirects:6: error: ", "/x → /x/ → /x");
    std::fs::write(site.path().join("_redirects"), "/shop/* /about.html 200\n").unwrap();
    assert_eq!(check(site.path(), &auto).0, 0, "a rewrite serves its target");
    std::fs::write(site.path().join("_redirects"), redirects).unwrap();
    let (_, lines) = check(site.path(), &[]);
    assert!(!lines.iter().any(|line| line.contains("for ever")), "without html_handling there is no loop: {lines:#?}");
    assert_finding(site.path(), &[], "_redirects:2: warning: ", "never applies: /old.html exists");
    assert_finding(site.path(), &[], "_redirects:3: warning: ", "/none.html leads to no object");
    assert_finding(site.path(), &[], "_redirects:4: warning: ", "no object for the body /e.html");
    assert_finding(site.path(), &[], "_redirects:5: warning: ", "/none.html leads to no object");
    // A version has the object.
    std::fs::create_dir(site.path().join("v1")).unwrap();
    std::fs::write(site.path().join("v1/none.html"), "").unwrap();
    assert!(!check(site.path(), &[]).1.iter().any(|line| line.contains("/none.html")));
    assert_finding(site.path(), &["--test-versions", "v2"], "_redirects:3: warning: ", "/none.html leads to no object");
    // Without the folder the pages are taken to exist, and no object is known to be missing.
    let file = site.path().join("_redirects");
    let (code, lines) = check(&file, &auto);
    assert_eq!((code, lines.len()), (1, 2), "{lines:#?}");
    assert!(lines[0].contains("/about → /about.html → /about"), "{lines:#?}");
}

#[test]
fn guarded_paths_are_compared_with_redirects_and_headers() {
    let objects = ["index.html", "members/a.html", "files/a.zip"];
    let rules = access(&[TOKEN_RULE, &signed_rule("/files/*")]);
    let redirects = "/secret /members/a.html 200\n/members/x / 302\n/dl /files/a.zip 302\n";
    let headers = "/members/*\n  Cache-Control: public\n/*\n  Cache-Control: public\n/none/*\n  X-A: b\n";
    let files = [("access.json", &*rules), ("_redirects", redirects), ("_headers", headers)];
    let site = site(&objects, &files);
    let notes = ["--setting", "index_document=index.html"];
    let (_, lines) = check(site.path(), &notes);
    for (start, reason) in [
        ("_redirects:1: note: ", "/secret is open, but access.json:2 (/members/*) guards its object /members/a.html"),
        ("_redirects:2: note: ", "access.json:2 (/members/*) guards /members/x"),
        ("_redirects:3: warning: ", "the target needs a link that access.json:5 (/files/*) accepts"),
        ("_headers:1: warning: ", "`cache-control: public` has no effect: access.json:2 guards /members/*"),
        ("_headers:5: warning: ", "/none/* matches no path of the site"),
        ("access.json:2: warning: ", "the site has no login page /login.html"),
    ] {
        let found = lines.iter().filter(|line| line.starts_with(start) && line.contains(reason)).count();
        assert_eq!(found, 1, "{start} {reason}: {lines:#?}");
    }
    assert_eq!(lines.last().unwrap(), "0 errors, 4 warnings, 2 notes");
}

#[test]
fn login_pages_must_be_open() {
    let rules = access(&[
        TOKEN_RULE,
        r#"{"path": "/login.html", "jwt": {"algorithms": ["HS256"], "issuer": "i", "audience": "a",
      "keys": {"keys": [{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}, "from": ["cookie:token"]}}"#,
    ]);
    let first = site(&["login.html", "members/a.html"], &[("access.json", &rules)]);
    assert_finding(first.path(), &[], "access.json:2:", "the login page /login.html is guarded itself");
    let second = site(
        &["members/a.html"],
        &[("access.json", &access(&[TOKEN_RULE])), ("_redirects", "/login.html /members/a.html 200\n")],
    );
    assert_finding(
        second.path(),
        &[],
        "access.json:2: warning: ",
        "the login page /login.html leads to a guarded object",
    );
}

#[test]
fn versions_and_claims_of_experiments_are_compared_with_access() {
    let definition = r#"{"features": {"test_version": {"defaultValue": "v1", "rules": [
        {"key": "home", "condition": {"claims.plan": "pro"}, "variations": ["v1", "v2"]}]}}}"#;
    let rules = access(&[&signed_rule("/v2/beta/*")]);
    let site = site(&["v1/index.html", "v2/index.html"], &[("experiments.json", definition), ("access.json", &rules)]);
    assert_finding(site.path(), &[], "access.json:2: warning: ", "/v2/beta/* guards only v2");
    assert_finding(site.path(), &[], "experiments.json:2: warning: ", "claims.plan never holds");
    std::fs::write(site.path().join("_redirects"), "/vip /v1/index.html 302 Role=vip\n").unwrap();
    assert_finding(site.path(), &[], "_redirects:1: warning: ", "Role= never holds");
    std::fs::write(site.path().join("access.json"), access(&[TOKEN_RULE])).unwrap();
    std::fs::write(site.path().join("login.html"), "").unwrap();
    let (_, lines) = check(site.path(), &["--setting", "variant_fallback=true"]);
    assert!(!lines.iter().any(|line| line.contains("never holds") || line.contains("guards only")), "{lines:#?}");
}

#[test]
fn guarded_paths_that_the_distribution_serves_from_s3_are_errors() {
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/aws.yaml");
    let site = site(&["members/a.html", "v1/index.html"], &[("access.json", &access(&[&signed_rule("/members/*")]))]);
    let options = ["--distribution", template, "--set", "Caching=on"];
    assert_eq!(check(site.path(), &options).0, 0, "no guarded object is below /v1/*");
    std::fs::create_dir(site.path().join("v1/members")).unwrap();
    std::fs::write(site.path().join("v1/members/a.html"), "").unwrap();
    assert_finding(
        site.path(),
        &options,
        "access.json:2: error: ",
        "/v1/members/a.html is guarded, but the behaviour /v1/*",
    );
    // Without the folder, every version may have the object.
    let (code, lines) = check(&site.path().join("access.json"), &options);
    assert_eq!(code, 1);
    assert!(lines[0].contains("/v1/members/example.html is guarded"), "{lines:#?}");
}

#[test]
fn unreadable_files_have_exit_code_2() {
    let empty = folder_of(&["index.html"]);
    let broken = site(&[], &[("access.json", "{"), ("_redirects", "x\n")]);
    let binary = folder_of(&[]);
    std::fs::write(binary.path().join("_headers"), b"\xff").unwrap();
    let unknown = site(&[], &[("notes.txt", "hello"), ("rules.json", "{\"rules\": [")]);
    for (path, expected) in [
        (Path::new("/nowhere"), "No such file"),
        (empty.path(), "expected _redirects, _headers, access.json or experiments.json in the folder, found none"),
        (broken.path(), "invalid JSON"),
        (binary.path(), "is not UTF-8"),
        (&unknown.path().join("notes.txt"), "rename it to"),
        (&unknown.path().join("rules.json"), "invalid JSON: EOF while parsing a list at line 1 column 11"),
    ] {
        let (code, lines) = check(path, &[]);
        assert_eq!(code, 2, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(expected)), "{expected}: {lines:#?}");
    }
    assert!(check(broken.path(), &[]).1.iter().any(|line| line.starts_with("_redirects:1: error")), "the other files");
}

#[test]
fn files_are_recognised_by_their_content() {
    let files = site(
        &[],
        &[
            ("r", "# comment\n/a /b 301\n/b /a 301\n"),
            ("h", "/*\n  Location: /x\n"),
            ("a", "{\"rules\": [{\"path\": \"a\", \"open\": true}]}"),
            ("e", "{\"features\": {\"test_version\": {\"defaultValue\": 7}}}"),
            ("s3", "[{\"Redirect\": {\"HttpRedirectCode\": \"200\"}}]"),
        ],
    );
    for (name, expected) in [
        ("r", "redirect to each other"),
        ("h", "Location"),
        ("a", "rules[0].path"),
        ("e", "test_version"),
        ("s3", "error"),
    ] {
        let (code, lines) = check(&files.path().join(name), &[]);
        assert!(code == 1 && lines.iter().any(|line| line.contains(expected)), "{name}: {lines:#?}");
    }
}

/// The site of the explanations.
fn explained() -> tempfile::TempDir {
    site(
        &["index.html", "new.html", "about.html", "members/a.html", "login.html", "v1/index.html", "v2/index.html"],
        &[
            (
                "_redirects",
                "# moved\n/old /new.html 301\n/secret /members/a.html 200\n/index.html /new.html 302\n/go / 302!\n",
            ),
            ("_headers", "/*\n  X-Frame-Options: DENY\n/members/*\n  X-A: b\n"),
            (
                "access.json",
                &access(&[TOKEN_RULE, r#"{"path": "/members/free.html", "open": true}"#, &signed_rule("/files/*")]),
            ),
        ],
    )
}

#[test]
fn an_explanation_names_the_line_of_each_decision() {
    let site = explained();
    let old = explain(site.path(), "https://www.example.com/old?a=1", &[]);
    assert_eq!(stage(&old, "access"), ("open".into(), "no rule guards the path".into()));
    let (decision, reason) = stage(&old, "redirects");
    assert_eq!(decision, "redirect");
    assert!(reason.starts_with("_redirects:2 /old → 301 to /new.html?a=1; only if the object is missing"), "{reason}");
    assert_eq!(stage(&old, "objects").1.lines().next(), Some("old missing"));
    assert_eq!(stage(&old, "headers").1, "_headers:1 /*  x-frame-options: DENY");
    assert_eq!(old["response"]["status"], 301);
    assert_eq!(old["response"]["headers"]["location"], "/new.html?a=1");
    assert_eq!(old["response"]["headers"]["x-frame-options"], "DENY");
    let forced = explain(site.path(), "/go", &[]);
    assert!(stage(&forced, "redirects").1.contains("_redirects:5 /go → 302 to /; forced"), "{forced}");
    assert_eq!(stage(&forced, "objects").0, "skipped");
    // The object exists, so the rule does not apply.
    let page = explain(site.path(), "/index.html", &[]);
    assert_eq!(
        (&page["response"]["status"], stage(&page, "objects").1),
        (&200.into(), "index.html exists ←".to_owned())
    );
}

#[test]
fn an_explanation_shows_who_guards_which_reading() {
    let site = explained();
    for (url, reading) in [("/members/a.html", ""), ("//members//a.html", ", read as /members/a.html")] {
        let denied = explain(site.path(), url, &[]);
        let (decision, reasons) = stage(&denied, "access");
        assert_eq!((&*decision, &denied["response"]["status"]), ("denied", &401.into()), "{denied:#}");
        let expected = format!("access.json:2 /members/* guards {url}{reading}: requires a token (jwt)");
        assert!(reasons.contains(&expected), "{reasons}");
        assert!(reasons.contains("credentials: header:authorization absent, cookie:token absent"), "{reasons}");
        assert_eq!(stage(&denied, "redirects").0, "", "later stages are not reached");
    }
    let refused = explain(site.path(), "/members/a.html", &["--cookie", "token=abc", "--header", "accept: text/html"]);
    let (_, reasons) = stage(&refused, "access");
    assert!(reasons.contains("cookie:token present") && reasons.contains("the token is refused"), "{reasons}");
    assert!(!refused.to_string().contains("abc"), "no credential is printed");
    assert_eq!(refused["response"]["status"], 302);
    assert!(refused["response"]["headers"]["location"].as_str().unwrap().starts_with("/login.html?to=https%3A%2F%2F"));
    let free = explain(site.path(), "/members/free.html", &["--setting", "test_versions=v1"]);
    assert_eq!(stage(&free, "access"), ("open".into(), "access.json:5 /members/free.html is open".into()));
    // The path is open, but not the object of its rewrite.
    let rewritten = explain(site.path(), "/secret", &[]);
    let reasons = stage(&rewritten, "access").1;
    assert!(reasons.contains("access.json:2 /members/* guards /members/a.html"), "{reasons}");
    assert!(reasons.contains("an object that the path leads to is guarded: the request has no token"), "{reasons}");
    assert_eq!((stage(&rewritten, "redirects").0, &rewritten["response"]["status"]), ("rewrite".into(), &401.into()));
    let hidden = explain(site.path(), "/access.json", &[]);
    assert_eq!((stage(&hidden, "access").0, &hidden["response"]["status"]), ("denied".into(), &404.into()));
}

#[test]
fn an_explanation_lists_the_keys_of_a_page() {
    let site = explained();
    let auto = ["--setting", "html_handling=auto-trailing-slash"];
    let page = explain(site.path(), "/about", &auto);
    let (decision, keys) = stage(&page, "objects");
    assert_eq!((&*decision, keys.lines().nth(1)), ("found", Some("about.html exists ←")), "{keys}");
    let moved = explain(site.path(), "/about.html", &auto);
    assert_eq!(moved["response"]["status"], 307);
    assert!(stage(&moved, "objects").1.contains("redirects to /about"), "{moved:#}");
    let variant = explain(site.path(), "/", &["--header", "test_version: v2"]);
    assert_eq!(stage(&variant, "variant"), ("set".into(), "v2, by the header test_version".into()));
    assert_eq!(variant["response"]["headers"]["x-variant"], "v2");
    let head = explain(site.path(), "/", &["--method", "HEAD"]);
    assert_eq!((&head["method"], &head["response"]["status"]), (&"HEAD".into(), &200.into()));
}

#[test]
fn an_explanation_and_its_response_are_for_one_visitor() {
    let definition = "{\"features\": {\"test_version\": {\"defaultValue\": \"v1\", \"rules\": [\n\
        {\"key\": \"home\", \"variations\": [\"v1\", \"v2\"]}]}}}";
    let site = site(&["v1/index.html", "v2/index.html"], &[("experiments.json", definition)]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let page = explain(site.path(), "https://www.example.com/", &["--header", "accept: text/html"]);
        let (decision, reasons) = stage(&page, "experiments");
        let variant = page["response"]["headers"]["x-variant"].as_str().unwrap().to_owned();
        assert_eq!(decision, "assigned");
        assert!(reasons.starts_with(&format!("experiments.json:2 version {variant}: variation ")), "{reasons}");
        assert_eq!(stage(&page, "variant").1, format!("{variant}, by the experiments"));
        assert_eq!(page["response"]["cookies"].as_array().unwrap().len(), 2);
        seen.insert(variant);
    }
    assert_eq!(seen.len(), 2, "12 new visitors all get one version once in 2,048 runs");
    let forced = explain(site.path(), "/", &["--header", "test_version: v1"]);
    assert_eq!(stage(&forced, "experiments").0, "skipped");
}

#[test]
fn an_explanation_as_text_aligns_its_stages() {
    let site = explained();
    let output = run(&["rules", "explain", "/old", "--site", text(site.path())]);
    let out = String::from_utf8(output.stdout).unwrap();
    for line in [
        "GET https://site.example/old",
        "secret       assumed    CloudFront adds the secret header",
        "redirects    redirect   _redirects:2  /old → 301 to /new.html; only if the object is missing",
        "response     301        moved",
        "                        location: /new.html",
    ] {
        assert!(out.lines().any(|found| found == line), "{line}\n{out}");
    }
    for (arguments, expected) in [
        (&["rules", "explain", "ftp"][..], "expected a URL"),
        (&["rules", "explain", "ftp://x/"], "expected a URL such as https://"),
        (&["rules", "explain", "/", "--site", "/nowhere"], "is not a folder"),
        (&["rules", "explain", "/", "--setting", "html_handling=x"], "html_handling"),
        (&["rules", "explain", "/%ff"], "not percent-encoded UTF-8"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("rules explain: ") && error.contains(expected), "{error}");
    }
}

fn sign_with(key: &[u8], arguments: &[&str]) -> Output {
    let mut child = Command::new(nearedge())
        .args(["sign", "--key-file", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // An invalid argument ends the command before it reads the key.
    let _ = child.stdin.take().unwrap().write_all(key);
    child.wait_with_output().unwrap()
}

#[test]
fn a_signed_link_is_accepted_by_the_real_rules() {
    let site = site(&["files/a b.zip"], &[("access.json", &access(&[&signed_rule("/files/*")]))]);
    let rules = site.path().join("access.json");
    for end in ["", "\n", "\r\n"] {
        let key = format!("{KEY}{end}");
        let url = "https://www.example.com/files/a%20b.zip?x=1&sig=old#part";
        let output = sign_with(key.as_bytes(), &[url, "--access", text(&rules)]);
        assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]));
        let link = String::from_utf8(output.stdout).unwrap();
        assert!(
            link.starts_with("https://www.example.com/files/a%20b.zip?x=1&sig=") && link.ends_with("#part\n"),
            "{link}"
        );
        assert!(!link.contains("old") && !link.contains(KEY), "{link}");
        let opened = explain(site.path(), link.trim(), &[]);
        assert_eq!((stage(&opened, "access").0, &opened["response"]["status"]), ("granted".into(), &200.into()));
        assert!(opened["url"].as_str().unwrap().ends_with("?x=1&sig=…"), "no signature is printed: {opened:#}");
        assert!(!opened["response"].to_string().contains("sig="), "{opened:#}");
    }
    // The vector of docs/access.md's shell command.
    let output = sign_with(KEY.as_bytes(), &["/files/a.zip", "--at", "1800000000", "--parameter", "verify"]);
    let expected = "/files/a.zip?verify=1800000000-";
    let link = String::from_utf8(output.stdout).unwrap();
    assert!(link.starts_with(expected) && link.trim_end().len() == expected.len() + 43, "{link}");
}

#[test]
fn sign_warns_of_links_that_have_no_effect() {
    let site = site(&[], &[("access.json", &access(&[&signed_rule("/files/*"), TOKEN_RULE]))]);
    let rules = site.path().join("access.json");
    for (key, arguments, warning) in [
        (KEY, &["/open.html"][..], "no rule with signed_url guards /open.html"),
        (KEY, &["/members/a.html"], "no rule with signed_url guards /members/a.html"),
        ("another key of 16 bytes", &["/files/a"], "the key is none of its keys"),
        (KEY, &["/files/a", "--at", "1"], "has expired already"),
    ] {
        let output = sign_with(key.as_bytes(), &[arguments, &["--access", text(&rules)]].concat());
        let warnings = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{warnings}");
        assert!(warnings.contains(warning), "{warning}: {warnings}");
    }
}

#[test]
fn sign_refuses_unusable_keys_without_quoting_them() {
    for (key, arguments, expected) in [
        (&b"fifteen bytes15"[..], &["/a"][..], "expected a key of 16 to 1024 bytes, found 15"),
        (b"fifteen bytes15\n", &["/a"], "found 15"),
        (b"", &["/a"], "found 0"),
        (b"\xff\xfe0123456789abcdef", &["/a"], "expected UTF-8"),
        (KEY.as_bytes(), &["a"], "expected a URL"),
        (KEY.as_bytes(), &["/a%3Fb"], "cannot be signed"),
        (KEY.as_bytes(), &["/a", "--parameter", "a b"], "--parameter"),
        (KEY.as_bytes(), &["/a", "--access", "/nowhere"], "--access /nowhere"),
    ] {
        let output = sign_with(key, arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{error}");
        assert!(error.contains(expected) && !error.contains("fifteen bytes"), "{expected}: {error}");
    }
}

#[test]
fn each_command_has_a_help_text() {
    for (arguments, expected) in [
        (&["rules", "--help"][..], "Explain what happens to a request"),
        (&["rules", "check", "--help"], "--html-handling"),
        (&["rules", "explain", "--help"], "--cookie"),
        (&["sign", "--help"], "--key-file"),
    ] {
        let output = run(arguments);
        assert!(
            output.status.success() && String::from_utf8(output.stdout).unwrap().contains(expected),
            "{arguments:?}"
        );
    }
}
