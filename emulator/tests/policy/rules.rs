//! The requirements of access control, conditions and CORS on a distribution: each fault is found, and the configuration without it
//! has no finding.

use std::io::Write;

use emulator::policy::finding::{Finding, Severity};
use emulator::policy::path_pattern::{common, matches};
use emulator::policy::policies::Policies;
use emulator::policy::rule::check;
use emulator::policy::subject::Subject;
use emulator::policy::template::{Template, read};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{behavior_with, behaviors, command, distribution, ids, legacy, template};

/// The files of rules, and a distribution with a cache policy and an origin request policy.
#[derive(Clone)]
struct Input {
    access: Option<Value>,
    redirects: &'static str,
    headers: &'static str,
    forwarded: Vec<&'static str>,
    queries_and_cookies: Value,
    key: Vec<&'static str>,
    key_queries_and_cookies: Value,
    ttls: [u64; 3],
    methods: Vec<&'static str>,
    /// With rules of access, the pattern of the only behaviour whose target is the bucket.
    from_bucket: Option<&'static str>,
}

fn all() -> Value {
    json!({"CookieBehavior": "all", "QueryStringBehavior": "all"})
}

fn none() -> Value {
    json!({"CookieBehavior": "none", "QueryStringBehavior": "none"})
}

/// A distribution that forwards all but Host, and caches nothing. With rules of access, everything leads to the API.
fn valid() -> Input {
    Input {
        access: None,
        redirects: "",
        headers: "",
        forwarded: vec!["*"],
        queries_and_cookies: all(),
        key: vec![],
        key_queries_and_cookies: none(),
        ttls: [0, 0, 0],
        methods: vec!["GET", "HEAD", "OPTIONS"],
        from_bucket: None,
    }
}

/// The same with lists of headers.
fn listed(headers: &[&'static str]) -> Input {
    valid().with(|input| input.forwarded = [&["test_version", "redirect"], headers].concat())
}

fn guarded(path: &str) -> Input {
    valid().with(|input| input.access = Some(json!({"rules": [link(path)]})))
}

fn link(path: &str) -> Value {
    json!({"path": path, "signed_url": {"keys": ["6jV0mB3nT8rXq2Lw"], "parameter": "verify", "ttl_secs": 60}})
}

fn token(from: &[&str]) -> Value {
    json!({"rules": [{"path": "/members/*", "jwt": {"keys": {"keys": [{"kty": "oct", "k": "c".repeat(43), "alg": "HS256"}]},
        "algorithms": ["HS256"], "issuer": "https://id.example", "audience": "site", "from": from}}]})
}

impl Input {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn subject(&self, document: &Value) -> Subject {
        let headers = |names: &[&str]| match names {
            [] => json!({"HeaderBehavior": "none"}),
            ["*", ..] => json!({"HeaderBehavior": "allExcept", "Headers": ["host"]}),
            names => json!({"HeaderBehavior": "whitelist", "Headers": names}),
        };
        let [minimum, default, maximum] = self.ttls;
        let key = &self.key_queries_and_cookies;
        let cache = json!({"CachePolicyConfig": {"MinTTL": minimum, "DefaultTTL": default, "MaxTTL": maximum,
            "ParametersInCacheKeyAndForwardedToOrigin": {"HeadersConfig": headers(&self.key), "CookiesConfig": key,
                "QueryStringsConfig": key}}});
        let forwarded = &self.queries_and_cookies;
        let request = json!({"OriginRequestPolicyConfig": {"HeadersConfig": headers(&self.forwarded),
            "CookiesConfig": forwarded, "QueryStringsConfig": forwarded}});
        let mut policies = Policies::default();
        policies.add("cache", &cache).unwrap();
        policies.add("request", &request).unwrap();
        let mut subject = Subject::from_config(document, &policies, false).unwrap();
        if let Some(access) = &self.access {
            subject.site.load_access(file(&access.to_string()).path()).unwrap();
        }
        if !self.redirects.is_empty() {
            subject.site.load_redirects(file(self.redirects).path()).unwrap();
        }
        if !self.headers.is_empty() {
            subject.site.load_headers(file(self.headers).path()).unwrap();
        }
        subject
    }

    fn findings(&self) -> Vec<Finding> {
        let mut document = distribution();
        let config = &mut document["DistributionConfig"];
        if self.access.is_some() {
            let bucket = behaviors(config)[0].clone();
            *behaviors(config) = self.from_bucket.iter().map(|pattern| behavior_with(pattern, &bucket)).collect();
        }
        let behavior = &mut config["DefaultCacheBehavior"];
        (behavior["CachePolicyId"], behavior["OriginRequestPolicyId"]) = ("cache".into(), "request".into());
        behavior["AllowedMethods"] = json!({"Items": self.methods});
        let findings = check(&self.subject(&document));
        // Another rule reports wide patterns.
        findings.into_iter().filter(|finding| finding.id != "behaviour-takes-versions").collect()
    }
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The finding with an id whose text contains a part.
fn found<'a>(findings: &'a [Finding], id: &str, part: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.id == id && finding.to_string().contains(part));
    found.unwrap_or_else(|| panic!("expected {id} with {part:?}, found {findings:#?}"))
}

#[test]
fn a_guarded_path_that_the_bucket_serves_bypasses_the_rules() {
    for (rule, pattern, path) in [
        ("/members/*", "/v1/*", "/v1/members/a"),
        ("/members/a.html", "/v2/*", "/v2/members/a.html"),
        ("/*", "/static/*", "/static/a"),
        ("/members/*", "/members/img/*", "/members/img/a"),
        ("/members/*", "*.png", "/members/a.png"),
        ("/files/a.zip", "/f*/?.zip", "/files/a.zip"),
        ("/v2/*", "/v2/*", "/v2/a"),
    ] {
        let input = guarded(rule).with(|input| input.from_bucket = Some(pattern));
        let findings = input.findings();
        let finding = found(&findings, "access-bypassed", path);
        assert_eq!((finding.severity, &*finding.place), (Severity::Error, &*format!("the behaviour {pattern}")));
        assert!(
            !input.with(|input| input.from_bucket = None).findings().iter().any(|each| each.id == "access-bypassed")
        );
    }
    for (rule, pattern) in [("/members/*", "/static/*"), ("/members/a.html", "*.png"), ("/v1/*", "/v2/*")] {
        let findings = guarded(rule).with(|input| input.from_bucket = Some(pattern)).findings();
        assert!(!findings.iter().any(|each| each.id == "access-bypassed"), "{rule} {pattern}: {findings:#?}");
    }
}

#[test]
fn an_open_part_of_a_guarded_folder_may_come_from_the_bucket() {
    let rules = json!({"rules": [link("/members/*"), {"path": "/members/img/*", "open": true}]});
    let input = valid().with(|input| (input.access, input.from_bucket) = (Some(rules), Some("/members/img/*")));
    assert_eq!(input.findings(), []);
    let wider = input.with(|input| input.from_bucket = Some("/members/i*"));
    found(&wider.findings(), "access-bypassed", "/members/ia");
}

#[test]
fn a_failover_to_the_bucket_bypasses_the_rules() {
    let mut document = distribution();
    let config = &mut document["DistributionConfig"];
    behaviors(config).clear();
    config["OriginGroups"] = json!({"Quantity": 1, "Items": [{"Id": "both", "Members": {"Quantity": 2,
        "Items": [{"OriginId": "api"}, {"OriginId": "bucket"}]}}]});
    config["DefaultCacheBehavior"]["TargetOriginId"] = "both".into();
    let behavior = &mut config["DefaultCacheBehavior"];
    (behavior["CachePolicyId"], behavior["OriginRequestPolicyId"]) = ("cache".into(), "request".into());
    let findings = check(&guarded("/members/*").subject(&document));
    found(&findings, "access-bypassed", "the default behaviour");
}

#[test]
fn without_the_file_the_folder_of_a_variant_may_hold_guarded_objects() {
    let text = template("aws.yaml").replace("HasNoAccess: !Not [!Condition HasAccess]", "HasNoAccess: !Equals [a, a]");
    let values = [("Access".to_owned(), "access.json".to_owned())];
    let template = Template::new(read(&text).unwrap(), "eu-west-1", &values).unwrap();
    let (_, subject) = Subject::from_template(&template, Policies::default(), false).unwrap().remove(0);
    assert_eq!(ids(&check(&subject)), ["access-bypassed"]);
}

#[test]
fn authorization_arrives_in_the_key_or_with_all_headers() {
    let authorization = valid().with(|input| input.access = Some(token(&["header:authorization"])));
    assert_eq!(authorization.findings(), [], "AllViewerExceptHostHeader");
    let lost = authorization.clone().with(|input| input.forwarded = vec!["test_version", "redirect"]);
    let findings = lost.findings();
    assert_eq!(ids(&findings), ["access-token"]);
    let finding = found(&findings, "access-token", "header:authorization");
    assert!(finding.severity == Severity::Error && finding.fix.contains("AllViewerExceptHostHeader"), "{finding}");
    let in_key = lost.clone().with(|input| {
        (input.key, input.ttls) = (vec!["test_version", "redirect", "authorization"], [0, 60, 600]);
    });
    assert_eq!(in_key.findings(), []);
    let listed = lost.with(|input| input.forwarded.push("authorization"));
    assert_eq!(ids(&listed.findings()), ["access-authorization"], "CloudFront refuses the policy");

    let mut document = distribution();
    behaviors(&mut document["DistributionConfig"]).clear();
    for (headers, expected) in [
        (&["test_version", "redirect"][..], &["access-token"][..]),
        (&["test_version", "redirect", "Authorization"], &[]),
    ] {
        legacy(&mut document["DistributionConfig"], headers, [0, 0, 0]);
        let findings = check(&authorization.subject(&document));
        assert_eq!(ids(&findings), expected);
        if let Some(finding) = findings.first() {
            assert!(finding.fix.contains("ForwardedValues.Headers"), "{finding}");
        }
    }
}

#[test]
fn each_place_of_a_token_must_reach_the_origin() {
    for (place, fix) in [
        ("header:x-token", "origin request policy"),
        ("cookie:token", "all cookies"),
        ("query:token", "all query strings"),
    ] {
        let input = valid().with(|input| input.access = Some(token(&[place])));
        assert_eq!(input.findings(), [], "{place}");
        let lost = input.with(|input| {
            (input.forwarded, input.queries_and_cookies) = (vec!["test_version", "redirect"], none());
        });
        let findings = lost.findings();
        let finding = found(&findings, "access-token", place);
        assert!(finding.severity == Severity::Error && finding.fix.contains(fix), "{finding}");
    }
    let some = valid().with(|input| {
        input.access = Some(token(&["header:authorization", "cookie:token"]));
        input.forwarded = vec!["test_version", "redirect"];
    });
    let findings = some.findings();
    assert_eq!(found(&findings, "access-token", "only the other places").severity, Severity::Warning);
    for name in ["host", "cookie", "range"] {
        let findings = valid().with(|input| input.access = Some(token(&[&format!("header:{name}")]))).findings();
        found(&findings, "access-token", "in another header, a cookie or the query string");
    }
}

#[test]
fn links_and_sessions_must_reach_the_origin() {
    let rule = |cookie: Option<&str>| {
        let mut rule = link("/preview/*");
        if let Some(cookie) = cookie {
            rule["signed_url"]["cookie"] = cookie.into();
        }
        valid().with(|input| input.access = Some(json!({"rules": [rule]})))
    };
    assert_eq!(rule(Some("preview")).findings(), []);
    let no_query = json!({"CookieBehavior": "all", "QueryStringBehavior": "none"});
    let no_cookie = json!({"CookieBehavior": "none", "QueryStringBehavior": "all"});
    let lost = rule(None).with(|input| input.queries_and_cookies = no_query);
    found(&lost.findings(), "access-token", "query:verify");
    assert_eq!(rule(None).with(|input| input.queries_and_cookies = no_cookie.clone()).findings(), []);
    let lost = rule(Some("preview")).with(|input| input.queries_and_cookies = no_cookie);
    found(&lost.findings(), "access-token", "cookie:preview");
}

#[test]
fn a_minimum_ttl_keeps_guarded_responses() {
    let input = guarded("/members/*").with(|input| {
        (input.key, input.ttls) = (vec!["test_version", "redirect"], [1, 60, 600]);
    });
    found(&input.findings(), "access-cached", "/members/a");
    assert_eq!(input.with(|input| input.ttls = [0, 60, 600]).findings(), []);
}

#[test]
fn conditions_need_their_facts_at_the_origin() {
    let headers = ["cloudfront-viewer-country", "accept-language"];
    let facts = "/a /b Country=cn Language=zh Cookie=guest
/c id=:id /d/:id";
    let input = listed(&headers).with(|input| input.redirects = facts);
    assert_eq!(input.findings(), []);
    let lost = input.with(|input| {
        (input.forwarded, input.queries_and_cookies) = (vec!["test_version", "redirect"], none());
    });
    let findings = lost.findings();
    found(&findings, "condition-header", "cloudfront-viewer-country does not reach the origin: no condition Country=");
    found(&findings, "condition-header", "accept-language");
    found(&findings, "condition-cookie", "guest");
    found(&findings, "condition-query", "id");
    assert_eq!(findings.len(), 4, "{findings:#?}");
    // All headers of viewers do not contain those that CloudFront adds.
    let everything = lost.clone().with(|input| input.forwarded = vec!["*"]);
    found(&everything.findings(), "condition-header", "AccessAuthorization=false");
    let plain = lost.with(|input| input.redirects = "/a /b");
    let findings = plain.findings();
    assert_eq!(ids(&findings), ["condition-query"]);
    assert_eq!(findings[0].severity, Severity::Warning, "only the query string of redirects");
}

#[test]
fn conditions_need_their_facts_in_the_cache_key() {
    let input = listed(&["cloudfront-viewer-country"]).with(|input| {
        input.redirects = "/a /b 200 Country=cn Cookie=guest
/c id=:id /d/:id 200";
        (input.key, input.ttls) = (vec!["test_version", "redirect"], [0, 60, 600]);
    });
    let findings = input.findings();
    assert_eq!(ids(&findings), ["condition-key"]);
    found(&findings, "condition-key", "cloudfront-viewer-country, the cookie guest, the parameter id");
    let complete = input.with(|input| {
        input.key.push("cloudfront-viewer-country");
        input.key_queries_and_cookies = json!({"CookieBehavior": "whitelist", "Cookies": ["guest"],
            "QueryStringBehavior": "all"});
    });
    assert_eq!(complete.findings(), []);
}

#[test]
fn rules_respect_the_quota_of_ten_headers() {
    let eight = ["a", "b", "c", "d", "e", "f", "cloudfront-viewer-country", "accept-language"];
    let ten = listed(&eight).with(|input| input.redirects = "/a /b Country=cn Language=zh");
    assert_eq!(ten.findings(), [], "ten headers");
    let cors = "/*
  Access-Control-Allow-Origin: *";
    let more = ten.with(|input| input.headers = cors);
    let findings = more.findings();
    found(&findings, "condition-quota", "the origin request policy needs 13 of the 10 headers");
    found(&findings, "cors-header", "origin");
}

const LIST: &str = "/fonts/*
  Access-Control-Allow-Origin: https://a.example, https://b.example";
const ONE: &str = "/fonts/*
  Access-Control-Allow-Origin: https://a.example";
const CORS: [&str; 3] = ["origin", "access-control-request-method", "access-control-request-headers"];

#[test]
fn preflights_need_options_and_their_headers() {
    for file in [LIST, ONE] {
        let input = listed(&CORS).with(|input| input.headers = file);
        assert_eq!(input.findings(), []);
        let refused = input.clone().with(|input| input.methods = vec!["GET", "HEAD"]);
        assert_eq!(ids(&refused.findings()), ["cors-options"]);
        let lost = input.with(|input| input.forwarded.retain(|name| *name != "origin"));
        assert_eq!(ids(&lost.findings()), ["cors-header"]);
        let effect = if file == LIST { "no listed origin gets access" } else { "what a preflight request asks for" };
        found(&lost.findings(), "cors-header", effect);
    }
    let other = listed(&[]).with(|input| {
        input.headers = "/*
  X-A: b"
    });
    assert_eq!(other.findings(), [], "without Access-Control-Allow-Origin nothing is needed");
}

#[test]
fn a_list_of_origins_needs_the_origin_in_the_cache_key() {
    let cached = |file| {
        listed(&CORS).with(|input| {
            input.headers = file;
            (input.key, input.ttls) = (vec!["test_version", "redirect"], [0, 60, 600]);
        })
    };
    assert_eq!(ids(&cached(LIST).findings()), ["cors-key"]);
    assert_eq!(cached(LIST).with(|input| input.key.push("origin")).findings(), []);
    assert_eq!(cached(ONE).findings(), [], "one origin is sent to all");
}

#[test]
fn the_command_checks_the_files_against_the_templates() {
    let access = file(&token(&["header:authorization", "cookie:token", "query:token"]).to_string());
    let redirects = file("/ /zh/ 302 Country=cn Language=zh\n/old /new 301\n");
    let headers = file(LIST);
    let files = [("--access", &access), ("--redirects", &redirects), ("--headers", &headers)];
    let run = |template: &str, region: &str, values: &[&str]| {
        let mut arguments = vec![template, "--region", region];
        values.iter().for_each(|value| arguments.extend(["--set", *value]));
        files.iter().for_each(|(option, file)| arguments.extend([*option, file.path().to_str().unwrap()]));
        let output = command(&arguments, "");
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let set = ["Access=access.json", "Redirects=_redirects", "Headers=_headers"];
    let conditions = "ExperimentsHeaders=cloudfront-viewer-country,accept-language";
    let with = |more: &[&'static str]| [&set[..], &[conditions], more].concat();
    let (aws, china) = ("../deploy/aws.yaml", "../deploy/aws-cn.yaml");
    for (template, region, values) in
        [(aws, "eu-west-1", with(&["Caching=on"])), (china, "cn-north-1", with(&["Alias=ab.example.com.cn"]))]
    {
        assert_eq!(run(template, region, &values).0, Some(0), "{}", run(template, region, &values).1);
    }
    // All headers of viewers do not contain the country, which CloudFront adds.
    let (code, text) = run(aws, "eu-west-1", &with(&["Compress=off"]));
    assert!(code == Some(1) && text.contains("condition-header") && text.contains("1 errors, 0 warnings"), "{text}");
    let (code, text) = run(aws, "eu-west-1", &with(&["Compress=off", "AccessAuthorization=false"]));
    assert!(code == Some(1) && text.contains("access-token") && text.contains("0 errors, 1 warnings"), "{text}");
    let (code, text) = run(aws, "eu-west-1", &[]);
    for setting in ["access", "redirects", "headers"] {
        assert!(text.contains(&format!("rules-off  the function's {setting}")), "{text}");
    }
    assert!(code == Some(1) && text.contains("access-bypassed"), "{text}");
}

#[test]
fn a_file_with_an_error_is_invalid_input() {
    let access = file(r#"{"rules": [{"path": "/a*", "open": true}]}"#);
    let redirects = file("/old /new 299\n");
    let headers = file("/a\n  Transfer-Encoding: x\n");
    for (option, file, part) in [
        ("--access", &access, "rules[0].path"),
        ("--redirects", &redirects, "line 1"),
        ("--headers", &headers, "line 2"),
    ] {
        let output = command(&["../deploy/aws.yaml", option, file.path().to_str().unwrap()], "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && error.contains(part), "{error}");
    }
}

proptest! {
    #[test]
    fn a_common_path_matches_both_patterns(one in "[ab*?/]{0,6}", other in "[ab*?/]{0,6}", filler in "[ab/]{0,2}") {
        if let Some(path) = common(&one, &other, &filler) {
            prop_assert!(matches(&one, &path) && matches(&other, &path), "{one} {other} {path}");
        }
    }

    #[test]
    fn a_pattern_and_a_path_that_matches_it_have_a_common_path(pattern in "[ab*?/]{0,6}", path in "[ab/]{0,6}") {
        prop_assert_eq!(matches(&pattern, &path), common(&pattern, &path, "").is_some());
    }
}
