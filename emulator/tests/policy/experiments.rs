//! What experiments need from a distribution: each fault is found, and the configuration without it has no finding.

use std::io::Write;

use emulator::policy::experiment::Experiments;
use emulator::policy::finding::{Finding, Severity};
use emulator::policy::policies::Policies;
use emulator::policy::rule::check;
use emulator::policy::subject::Subject;
use emulator::policy::template::{Template, read};
use nearedge_core::experiment::definition::{Constraints, Definition, FEATURE};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{command, distribution, ids, legacy};

/// The headers that every definition needs.
const BASE: [&str; 6] = ["test_version", "redirect", "accept", "user-agent", "sec-fetch-dest", "sec-purpose"];

/// A distribution with a cache policy and an origin request policy, a definition, and the function's settings.
#[derive(Clone)]
struct Input {
    forwarded: Vec<&'static str>,
    cookies: Value,
    queries: Value,
    key: Vec<&'static str>,
    key_cookies: Vec<&'static str>,
    key_queries: Value,
    ttls: [u64; 3],
    settings: Vec<(&'static str, &'static str)>,
    /// The condition of the definition's rule.
    condition: Value,
    /// The automatic experiments.
    automatic: Value,
    /// The goals.
    goals: Value,
    /// A behaviour for beacons, which overrides members of a valid one; null for none.
    beacons: Value,
}

fn all() -> Value {
    json!({"CookieBehavior": "all", "QueryStringBehavior": "all"})
}

fn none() -> Value {
    json!({"CookieBehavior": "none", "QueryStringBehavior": "none"})
}

fn only(name: &str) -> Value {
    json!({"CookieBehavior": "whitelist", "Cookies": [name], "QueryStringBehavior": "whitelist", "QueryStrings": [name]})
}

/// The distribution of `deploy/aws.yaml` with experiments, without caching.
fn valid() -> Input {
    Input {
        forwarded: BASE.to_vec(),
        cookies: all(),
        queries: all(),
        key: vec![],
        key_cookies: vec![],
        key_queries: none(),
        ttls: [0, 0, 0],
        settings: vec![],
        condition: json!({}),
        automatic: json!([]),
        goals: json!([]),
        beacons: Value::Null,
    }
}

/// The same with `Caching=on`.
fn cached() -> Input {
    Input { key: vec!["test_version", "redirect"], key_cookies: vec!["nearedge_v"], ttls: [0, 60, 600], ..valid() }
}

impl Input {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn experiments(&self) -> Experiments {
        let rule = json!({"key": "checkout", "variations": ["v1", "v2"], "condition": self.condition});
        let definition = json!({"features": {"test_version": {"rules": [rule]}}, "experiments": self.automatic,
            "goals": self.goals});
        let constraints = Constraints { feature: FEATURE, test_versions: None, cache_key: &[] };
        let (definition, _) = Definition::parse(&definition.to_string(), constraints).unwrap();
        let setting = |name: &str| Some(self.settings.iter().find(|(set, _)| *set == name)?.1.to_owned());
        Experiments { definition: Some(definition), ..Experiments::from_settings(setting) }
    }

    fn findings(&self) -> Vec<Finding> {
        let mut policies = Policies::default();
        let headers = |names: &[&str]| match names {
            [] => json!({"HeaderBehavior": "none"}),
            ["*", ..] => json!({"HeaderBehavior": "allExcept", "Headers": ["host"]}),
            names => json!({"HeaderBehavior": "whitelist", "Headers": names}),
        };
        let key_cookies = match &self.key_cookies[..] {
            [] => none(),
            names => json!({"CookieBehavior": "whitelist", "Cookies": names}),
        };
        let [minimum, default, maximum] = self.ttls;
        let cache = json!({"CachePolicyConfig": {"MinTTL": minimum, "DefaultTTL": default, "MaxTTL": maximum,
            "ParametersInCacheKeyAndForwardedToOrigin": {"HeadersConfig": headers(&self.key),
                "CookiesConfig": key_cookies, "QueryStringsConfig": self.key_queries}}});
        let request = json!({"OriginRequestPolicyConfig": {"HeadersConfig": headers(&self.forwarded),
            "CookiesConfig": self.cookies, "QueryStringsConfig": self.queries}});
        policies.add("cache", &cache).unwrap();
        policies.add("request", &request).unwrap();
        let mut document = distribution();
        let behavior = &mut document["DistributionConfig"]["DefaultCacheBehavior"];
        (behavior["CachePolicyId"], behavior["OriginRequestPolicyId"]) = ("cache".into(), "request".into());
        if let Some(members) = self.beacons.as_object() {
            let methods = json!(["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]);
            let mut beacons = behavior.clone();
            (beacons["PathPattern"], beacons["AllowedMethods"]) = ("/.nearedge/*".into(), json!({"Items": methods}));
            beacons["CachePolicyId"] = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad".into();
            for (name, value) in members {
                beacons[name] = value.clone();
            }
            let behaviors = document["DistributionConfig"]["CacheBehaviors"]["Items"].as_array_mut().unwrap();
            behaviors.insert(0, beacons);
        }
        self.check(&document, &policies)
    }

    fn check(&self, document: &Value, policies: &Policies) -> Vec<Finding> {
        let mut subject = Subject::from_config(document, policies, false).unwrap();
        subject.experiments = self.experiments();
        check(&subject)
    }
}

/// The finding with an id whose text contains a part.
fn found<'a>(findings: &'a [Finding], id: &str, part: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.id == id && finding.to_string().contains(part));
    found.unwrap_or_else(|| panic!("expected {id} with {part:?}, found {findings:#?}"))
}

#[test]
fn the_base_is_enough_for_experiments_without_attributes() {
    assert_eq!(valid().findings(), []);
    assert_eq!(cached().findings(), []);
}

#[test]
fn each_header_of_the_base_is_required() {
    for name in &BASE[2..] {
        let input = valid().with(|input| input.forwarded.retain(|each| each != name));
        let findings = input.findings();
        assert_eq!(ids(&findings), ["experiment-header"]);
        let finding = found(&findings, "experiment-header", name);
        assert!(finding.fix.contains("6 of the 10 headers"), "the count with the missing one: {finding}");
    }
    let without = valid().with(|input| input.forwarded.retain(|name| *name != "user-agent")).findings();
    found(&without, "experiment-header", "bots count as visitors");
    let everything = valid().with(|input| input.forwarded = vec!["*"]);
    assert_eq!(everything.findings(), []);
}

#[test]
fn each_attribute_requires_its_headers() {
    let cases = [
        ("country", vec!["cloudfront-viewer-country"]),
        ("region", vec!["cloudfront-viewer-country-region"]),
        ("city", vec!["cloudfront-viewer-city"]),
        (
            "deviceType",
            vec![
                "cloudfront-is-desktop-viewer",
                "cloudfront-is-mobile-viewer",
                "cloudfront-is-smarttv-viewer",
                "cloudfront-is-tablet-viewer",
            ],
        ),
        ("language", vec!["accept-language"]),
        ("referrer", vec!["referer"]),
        ("header.X-Plan", vec!["x-plan"]),
    ];
    for (attribute, headers) in cases {
        let input = valid().with(|input| input.condition = json!({attribute: "x"}));
        let findings = input.findings();
        assert_eq!(findings.len(), headers.len(), "{attribute}: {findings:#?}");
        for header in &headers {
            let name = if attribute.starts_with("header.") { "header.x-plan" } else { attribute };
            found(&findings, "experiment-header", &format!("{header} does not reach the origin: the attribute {name}"));
        }
        assert_eq!(input.with(|input| input.forwarded.extend(headers)).findings(), [], "{attribute}");
    }
    // All headers of viewers do not contain those that CloudFront adds.
    let country = valid().with(|input| input.condition = json!({"country": "CN"}));
    let findings = country.with(|input| input.forwarded = vec!["*"]).findings();
    found(&findings, "experiment-header", "cloudfront-viewer-country");
}

#[test]
fn the_user_agent_carries_three_attributes() {
    let input = valid().with(|input| input.condition = json!({"browser": "chrome", "os": "ios", "bot": false}));
    assert_eq!(input.findings(), []);
    let findings = input.with(|input| input.forwarded.retain(|name| *name != "user-agent")).findings();
    assert_eq!(ids(&findings), ["experiment-header"]);
    for attribute in ["browser", "os", "bot"] {
        found(&findings, "experiment-header", &format!("the attribute {attribute} is absent"));
    }
}

#[test]
fn a_header_that_no_policy_can_list_is_never_suggested() {
    for name in ["accept-encoding", "authorization", "cookie", "host", "connection", "range"] {
        let findings = valid().with(|input| input.condition = json!({format!("header.{name}"): "x"})).findings();
        assert_eq!(ids(&findings), ["experiment-attribute"], "{name}");
        assert!(findings[0].fix.starts_with("test "), "{}", findings[0]);
    }
    let instead = valid().with(|input| input.condition = json!({"host": "a.example.com", "cookie.session": "x"}));
    assert_eq!(instead.findings(), []);
}

#[test]
fn more_than_ten_headers_exceed_the_quota() {
    let device = ["cloudfront-is-desktop-viewer", "cloudfront-is-mobile-viewer"];
    let tv = ["cloudfront-is-smarttv-viewer", "cloudfront-is-tablet-viewer"];
    let ten = valid().with(|input| {
        input.condition = json!({"deviceType": "tv"});
        input.forwarded.extend(device.into_iter().chain(tv));
    });
    assert_eq!(ten.findings(), [], "ten headers");
    let missing = ten.clone().with(|input| input.condition = json!({"deviceType": "tv", "country": "CN"})).findings();
    found(&missing, "experiment-quota", "the origin request policy needs 11 of the 10 headers");
    found(&missing, "experiment-header", "11 of the 10 headers");
    let listed = ten.with(|input| input.forwarded.push("x-other")).findings();
    assert_eq!(ids(&listed), ["experiment-quota"], "also without a missing header");
    let key = cached().with(|input| input.key.extend(["a", "b", "c", "d", "e", "f", "g", "h", "i"])).findings();
    found(&key, "experiment-quota", "the cache policy needs 11 of the 10 headers");
}

#[test]
fn the_cookies_must_reach_the_origin() {
    let none = valid().with(|input| input.cookies = none()).findings();
    assert_eq!(none.iter().map(|finding| finding.id).collect::<Vec<_>>(), ["experiment-cookie"; 2]);
    assert!(!none[0].why.contains("collapses"), "not without caching: {}", none[0]);
    let uncooked = cached().with(|input| (input.cookies, input.key_cookies) = (crate::experiments::none(), vec![]));
    found(&uncooked.findings(), "experiment-cookie", "collapses concurrent requests");

    let listed = valid().with(|input| {
        input.cookies = json!({"CookieBehavior": "whitelist", "Cookies": ["nearedge", "nearedge_v"]});
    });
    assert_eq!(listed.findings(), []);
    let consent = listed.clone().with(|input| input.settings = vec![("experiments_consent", "ok=1")]);
    found(
        &consent.findings(),
        "experiment-cookie",
        "the cookie ok does not reach the origin: no visitor ever consents",
    );
    let plan = listed.with(|input| input.condition = json!({"cookie.plan": "pro"}));
    found(&plan.findings(), "experiment-cookie", "the attribute cookie.plan is absent");
    assert_eq!(plan.with(|input| input.cookies = all()).findings(), []);
    let renamed = valid().with(|input| {
        input.settings = vec![("experiments_cookie", "ab")];
        input.cookies = json!({"CookieBehavior": "whitelist", "Cookies": ["ab", "nearedge_v"]});
    });
    assert_eq!(renamed.findings().len(), 1);
    found(&renamed.findings(), "experiment-cookie", "ab_v");
}

#[test]
fn the_query_string_must_reach_the_origin() {
    let redirect = json!([{"key": "move", "persistQueryString": true, "urlPatterns": [{"type": "simple", "pattern": "/a",
        "include": true}], "variations": [{}, {"urlRedirect": "https://a.example.com/b"}]}]);
    let url = valid().with(|input| input.condition = json!({"url": "x"}));
    let utm = valid().with(|input| input.condition = json!({"utmSource": "x"}));
    let query = valid().with(|input| input.condition = json!({"query.q": "x"}));
    let preview = valid().with(|input| input.settings = vec![("experiments_preview", "true")]);
    let moved = valid().with(|input| input.automatic = redirect);
    let cases = [
        (url, "url"),
        (utm, "utmSource"),
        (query, "query.q"),
        (preview, "preview of checkout"),
        (moved, "persistQuery"),
    ];
    for (input, reader) in cases {
        assert_eq!(input.findings(), [], "{reader}");
        let findings = input.with(|input| input.queries = none()).findings();
        assert_eq!(ids(&findings), ["experiment-query"]);
        found(&findings, "experiment-query", reader);
    }
    assert_eq!(valid().with(|input| input.queries = none()).findings(), [], "nothing reads it");
    let listed = valid().with(|input| (input.condition, input.queries) = (json!({"query.q": "x"}), only("q")));
    assert_eq!(listed.findings(), []);
}

#[test]
fn the_cache_key_contains_the_assignments_and_not_the_id() {
    let without = cached().with(|input| input.key_cookies = vec![]).findings();
    assert_eq!(found(&without, "experiment-key", "nearedge_v is not in the cache key").severity, Severity::Error);
    let with_id = cached().with(|input| input.key_cookies.push("nearedge")).findings();
    assert_eq!(ids(&with_id), ["experiment-key"]);
    assert_eq!(found(&with_id, "experiment-key", "no two visitors share").severity, Severity::Warning);
}

#[test]
fn legacy_settings_must_not_cache() {
    let check = |ttls| {
        let mut document = distribution();
        legacy(&mut document["DistributionConfig"], &BASE, ttls);
        valid().check(&document, &crate::policies())
    };
    assert_eq!(check([0, 0, 0]), []);
    let findings = check([0, 60, 600]);
    assert_eq!(ids(&findings), ["experiment-caching"]);
    found(&findings, "experiment-caching", "set MinTTL, DefaultTTL and MaxTTL to 0");
    let mut document = distribution();
    legacy(&mut document["DistributionConfig"], &["test_version", "redirect"], [0, 0, 0]);
    let findings = valid().check(&document, &crate::policies());
    found(&findings, "experiment-header", "list it in ForwardedValues.Headers, which then has 4 of the 10 headers");
    assert_eq!(findings.len(), 2, "Accept and User-Agent: legacy settings forward the others unlisted: {findings:#?}");
}

/// An attribute, and the change that adds it to the cache key.
type Key = (&'static str, fn(&mut Input));

#[test]
fn an_attribute_in_experiments_cache_key_is_in_the_cache_key() {
    let trusts = |attribute: &'static str| {
        cached().with(|input| {
            input.condition = json!({attribute: "x"});
            input.settings = vec![("experiments_cache_key", attribute)];
            input.forwarded.push("cloudfront-viewer-country");
        })
    };
    for (attribute, part) in [
        ("country", "cloudfront-viewer-country"),
        ("query.q", "the query string"),
        ("utmTerm", "the query string"),
        ("url", "the query string"),
        ("cookie.plan", "the cookie plan"),
        ("bot", "user-agent"),
        ("id", "the cookie nearedge"),
    ] {
        let findings = trusts(attribute).findings();
        let finding =
            found(&findings, "experiment-key", &format!("lists {attribute}, but {part} is not in the cache key"));
        assert_eq!((findings.len(), finding.severity), (1, Severity::Error), "{findings:#?}");
    }
    let key: [Key; 5] = [
        ("country", |input| input.key.push("cloudfront-viewer-country")),
        ("query.q", |input| input.key_queries = only("q")),
        ("utmTerm", |input| input.key_queries = all()),
        ("cookie.plan", |input| input.key_cookies.push("plan")),
        ("bot", |input| input.key.push("user-agent")),
    ];
    for (attribute, add) in key {
        assert_eq!(trusts(attribute).with(add).findings(), [], "{attribute}");
    }
}

#[test]
fn responses_of_other_attributes_are_not_cached() {
    let input = cached().with(|input| {
        input.condition = json!({"language": "de", "path": "/a", "id": "x"});
        input.forwarded.push("accept-language");
    });
    let findings = input.findings();
    assert_eq!(ids(&findings), ["experiment-uncached"]);
    assert_eq!(found(&findings, "experiment-uncached", "does not list language").severity, Severity::Warning);
    let uncached = input.clone().with(|input| (input.key, input.key_cookies, input.ttls) = (vec![], vec![], [0, 0, 0]));
    assert_eq!(uncached.findings(), []);
    let listed = input.with(|input| {
        input.key.push("accept-language");
        input.settings = vec![("experiments_cache_key", "language")];
    });
    assert_eq!(listed.findings(), []);
}

#[test]
fn a_preview_needs_the_query_string_in_the_key() {
    let preview = cached().with(|input| input.settings = vec![("experiments_preview", "true")]);
    let findings = preview.findings();
    assert_eq!(ids(&findings), ["experiment-key"]);
    found(&findings, "experiment-key", "a cached page takes the place of the preview of checkout");
    for queries in [all(), only("checkout")] {
        assert_eq!(preview.clone().with(|input| input.key_queries = queries).findings(), []);
    }
}

#[test]
fn responses_of_url_patterns_and_consent_need_the_cache_key() {
    let pattern = |kind: &str, pattern: &str| {
        json!([{"key": "move", "urlPatterns": [{"type": kind, "pattern": pattern, "include": true}],
            "variations": [{}, {"urlRedirect": "https://a.example.com/b"}]}])
    };
    let simple = cached().with(|input| input.automatic = pattern("simple", "/a?b=1"));
    let regex = cached().with(|input| input.automatic = pattern("regex", "/a"));
    for input in [simple, regex] {
        found(&input.findings(), "experiment-uncached", "does not list url");
        let listed = input.with(|input| {
            (input.settings, input.key_queries) = (vec![("experiments_cache_key", "url")], all());
        });
        assert_eq!(listed.findings(), []);
    }
    assert_eq!(cached().with(|input| input.automatic = pattern("simple", "/a")).findings(), [], "only the path");

    let consent = cached().with(|input| input.settings = vec![("experiments_consent", "ok=1")]);
    found(&consent.findings(), "experiment-uncached", "does not list cookie.ok");
    let listed = consent.with(|input| {
        input.settings.push(("experiments_cache_key", "cookie.ok"));
        input.key_cookies.push("ok");
    });
    assert_eq!(listed.findings(), []);
}

#[test]
fn a_minimum_ttl_gives_one_visitors_response_to_others() {
    let findings = cached().with(|input| input.ttls = [1, 60, 600]).findings();
    assert_eq!(ids(&findings), ["ttl-minimum"]);
    found(&findings, "ttl-minimum", "one visitor's cookies and variation");
}

#[test]
fn cached_errors_mix_variations_without_the_assignments_in_the_key() {
    let mut document = distribution();
    legacy(&mut document["DistributionConfig"], &BASE, [0, 0, 0]);
    document["DistributionConfig"]["CustomErrorResponses"] = json!({"Quantity": 0});
    let with_cookies = valid().check(&document, &crate::policies());
    assert_eq!(found(&with_cookies, "error-caching", "").severity, Severity::Warning);
    document["DistributionConfig"]["DefaultCacheBehavior"]["ForwardedValues"]["Cookies"] =
        json!({"Forward": "whitelist", "WhitelistedNames": {"Quantity": 1, "Items": ["nearedge"]}});
    let without = valid().check(&document, &crate::policies());
    let finding = found(&without, "error-caching", "nearedge_v is not in the cache key");
    assert_eq!(finding.severity, Severity::Error);
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The path of a file, as an argument.
fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

#[test]
fn the_command_reads_the_definition_and_its_options() {
    let text = r#"{"features": {"test_version": {"rules": [
        {"key": "checkout", "variations": ["v1", "v2"], "condition": {"country": "CN"}}]}}}"#;
    let definition = file(text);
    let policy = ["-", "--policy", "tests/policy/origin-request-policy.json", "--experiments", path(&definition)];
    let output = command(&[&policy[..], &["--json"]].concat(), &distribution().to_string());
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let findings: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(findings.len(), 5, "four headers of the base, and the country: {lines}");
    assert!(findings.iter().all(|finding| finding["id"] == "experiment-header"), "{lines}");

    let consent = ["--experiments-consent", "ok=1", "--experiments-cookie", "ab", "--experiments-cache-key", "country"];
    let output = command(&[&policy[..], &consent].concat(), &distribution().to_string());
    assert_eq!(output.status.code(), Some(1));
    let output = command(&[&policy[..], &["--experiments-cache-key", "planet"]].concat(), "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("an attribute of requests"));
    let output = command(&["-", "--experiments-preview"], "");
    assert!(String::from_utf8_lossy(&output.stderr).contains("--experiments <FILE>"));
}

#[test]
fn a_template_without_the_setting_has_no_experiments() {
    let definition = file(r#"{"features": {"test_version": {"defaultValue": "v1"}}}"#);
    let output = command(&["../deploy/aws.yaml", "--experiments", path(&definition), "--json"], "");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("experiments-off"));
}

/// Checks a template of `deploy/` with parameters and a definition whose rule has a condition.
fn check_deployed(file: &str, region: &str, values: &[(&str, &str)], condition: &Value) -> Vec<Finding> {
    let mut values: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    values.push(("Experiments".to_owned(), "experiments.json".to_owned()));
    let template = Template::new(read(&crate::template(file)).unwrap(), region, &values).unwrap();
    let mut subjects = Subject::from_template(&template, Policies::default(), file == "aws-cn.yaml").unwrap();
    let (_, subject) = &mut subjects[0];
    let definition = with_goals(json!({})).with(|input| input.condition = condition.clone()).experiments().definition;
    subject.experiments.definition = definition;
    check(subject)
}

/// A definition with goals, and a behaviour for beacons with these members.
fn with_goals(beacons: Value) -> Input {
    valid().with(|input| {
        (input.goals, input.beacons) = (json!([{"key": "order"}, {"key": "signup", "path": "/a"}]), beacons);
    })
}

#[test]
fn each_fault_of_the_beacons_behaviour_is_found() {
    assert_eq!(with_goals(json!({})).findings(), []);
    let everything = json!({"Items": ["GET", "HEAD", "OPTIONS"]});
    let legacy = |minimum: u64| {
        json!({"CachePolicyId": null, "OriginRequestPolicyId": null, "MinTTL": minimum, "DefaultTTL": 60, "MaxTTL": 60,
            "ForwardedValues": {"Headers": {"Items": BASE}, "QueryString": true, "Cookies": {"Forward": "all"}}})
    };
    let cases = [
        (json!({"AllowedMethods": everything}), "beacon-post", Severity::Warning, "navigator.sendBeacon"),
        (json!({"CachePolicyId": "cache"}), "", Severity::Warning, ""),
        (legacy(0), "beacon-cached", Severity::Warning, "no-store"),
        (legacy(5), "beacon-cached", Severity::Error, "for 5 s"),
        (json!({"TargetOriginId": "bucket"}), "beacon-bypassed", Severity::Error, "/.nearedge/goal/order"),
    ];
    for (members, id, severity, part) in cases {
        let findings = with_goals(members.clone()).findings();
        match id {
            "" => assert_eq!(findings, [], "the policy of the input caches nothing: {members}"),
            _ => assert_eq!(found(&findings, id, part).severity, severity, "{members}"),
        }
        let without_goals = with_goals(members).with(|input| input.goals = json!([])).findings();
        assert!(without_goals.iter().all(|finding| !finding.id.starts_with("beacon")), "{without_goals:#?}");
    }
    let without = with_goals(Value::Null).findings();
    assert_eq!(ids(&without), ["beacon-post"], "the default behaviour receives beacons");
    let cached = cached().with(|input| input.goals = json!([{"key": "order"}])).findings();
    assert_eq!(ids(&cached), ["beacon-cached", "beacon-post"]);
    let no_query = with_goals(json!({})).with(|input| input.queries = none()).findings();
    found(&no_query, "beacon-value", "value=12.50");
}

#[test]
fn beacons_are_checked_at_the_functions_path() {
    let definition = file(r#"{"features": {"test_version": {"defaultValue": "v1"}}, "goals": [{"key": "order"}]}"#);
    let check = |arguments: &[&str]| {
        let base = ["../deploy/aws.yaml", "--set", "Experiments=a.json", "--set", "Caching=on", "--json"];
        let output = command(&[&base, &["--experiments", path(&definition)][..], arguments].concat(), "");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!check(&[]).contains("beacon"));
    assert!(!check(&["--set", "ExperimentsPath=/track"]).contains("beacon"));
    let other = check(&["--experiments-path", "/track"]);
    assert!(other.contains("beacon-post") && other.contains("/track/goal/order"), "{other}");
}

#[test]
fn the_templates_forward_what_their_parameters_name() {
    let china = [("Alias", "ab.example.com.cn")];
    let aws = |values: &[_], condition: &Value| check_deployed("aws.yaml", "eu-west-1", values, condition);
    let cn = |values: &[_], condition: &Value| {
        check_deployed("aws-cn.yaml", "cn-north-1", &[&china[..], values].concat(), condition)
    };
    let country = json!({"country": "CN"});
    let header = ("ExperimentsHeaders", "cloudfront-viewer-country");
    let [consent, preview, caching] =
        [("ExperimentsConsent", "ok=1"), ("ExperimentsPreview", "true"), ("Caching", "on")];
    for values in [&[][..], &[consent], &[preview], &[("SpaFallback", "index.html")], &[("VersionHeader", "x-version")]]
    {
        assert_eq!(aws(values, &json!({})), [], "{values:?}");
        assert_eq!(aws(&[values, &[caching]].concat(), &json!({})), [], "{values:?}");
        assert_eq!(cn(values, &json!({})), [], "{values:?}");
        assert_eq!(aws(&[values, &[header]].concat(), &country), [], "{values:?}");
        assert_eq!(cn(&[values, &[header]].concat(), &country), [], "{values:?}");
    }
    assert_eq!(ids(&aws(&[], &country)), ["experiment-header"]);
    assert_eq!(ids(&cn(&[], &country)), ["experiment-header"]);
    assert_eq!(ids(&aws(&[caching, header], &country)), ["experiment-uncached"]);
    let key = ("ExperimentsCacheKey", "country");
    assert_eq!(aws(&[caching, header, key], &country), []);
    assert_eq!(ids(&aws(&[caching, key], &json!({}))), ["experiment-key"], "the header is missing");
    assert_eq!(aws(&[caching, ("ExperimentsCacheKey", "query.q")], &json!({"query.q": "x"})), []);
    let five = ("ExperimentsHeaders", "a,b,c,d,e");
    assert_eq!(ids(&aws(&[five], &json!({}))), ["experiment-quota"]);
    assert_eq!(ids(&cn(&[five], &json!({}))), ["experiment-quota"]);
}

#[test]
fn a_definition_that_cannot_be_used_is_invalid_input() {
    let cases = [
        (r#"{"features": {"test_version": {"defaultValue": 5, "rules": [{"force": "a b"}]}}}"#, 2),
        (r#"{"features": {"test_version": {"defaultValue": "v3"}}}"#, 1),
        ("{", 1),
    ];
    for (text, problems) in cases {
        let definition = file(text);
        let output = command(&["../deploy/aws.yaml", "--experiments", path(&definition)], "");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert_eq!(message.lines().count(), problems, "{message}");
        assert!(message.lines().all(|line| line.contains("line ")), "{message}");
    }
    let output = command(&["../deploy/aws.yaml", "--experiments", "no-such-file"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file"));
}
