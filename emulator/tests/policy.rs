//! `policy check`: every rule finds its seeded fault, in API output and in templates. The templates in `deploy/` have
//! no findings for any parameters, and no input causes a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "policy/cdk.rs"]
mod cdk;
#[path = "policy/china.rs"]
mod china;
#[path = "policy/evaluation.rs"]
mod evaluation;
#[path = "policy/experiments.rs"]
mod experiments;
#[path = "policy/names.rs"]
mod names;
#[path = "policy/route.rs"]
mod route;
#[path = "policy/rules.rs"]
mod rules;
#[path = "policy/shape.rs"]
mod shape;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use emulator::policy::finding::{Finding, Severity};
use emulator::policy::path_pattern::matches;
use emulator::policy::policies::Policies;
use emulator::policy::rule::check;
use emulator::policy::subject::Subject;
use emulator::policy::template::{Template, read};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A path within the package.
fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn load(name: &str) -> Value {
    read(&std::fs::read_to_string(here(name)).unwrap()).unwrap()
}

/// The distribution of `deploy/aws.yaml`, as MiniStack returns it in `.ci/account.py`.
fn distribution() -> Value {
    load("tests/policy/distribution.json")
}

fn policies() -> Policies {
    let policy = load("tests/policy/origin-request-policy.json")["OriginRequestPolicy"].clone();
    let mut policies = Policies::default();
    policies.add(policy["Id"].as_str().unwrap(), &policy).unwrap();
    policies
}

fn subject(config: &Value) -> Subject {
    Subject::from_config(config, &policies(), false).unwrap()
}

/// The rules of the findings, without repetition.
fn ids(findings: &[Finding]) -> Vec<&'static str> {
    let mut ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
    ids.dedup();
    ids
}

fn check_template(text: &str, region: &str, values: &[(&str, &str)]) -> Vec<Finding> {
    let values: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let template = Template::new(read(text).unwrap(), region, &values).unwrap();
    let subjects = Subject::from_template(&template, Policies::default(), region.starts_with("cn-")).unwrap();
    subjects.iter().flat_map(|(_, subject)| check(subject)).collect()
}

fn template(name: &str) -> String {
    std::fs::read_to_string(here("../deploy").join(name)).unwrap()
}

#[test]
fn the_distribution_of_the_template_has_no_findings() {
    assert_eq!(check(&subject(&distribution())), []);
}

/// A rule, and a change to the output of the API that the rule must report.
type Fault = (&'static str, fn(&mut Value));

const LEGACY: &str = r#"{"QueryString": true, "Cookies": {"Forward": "all"},
    "Headers": {"Quantity": 2, "Items": ["test_version", "redirect"]}}"#;

/// Replaces the policies of the default behavior by the legacy settings.
fn legacy(config: &mut Value, headers: &[&str], ttls: [u64; 3]) {
    let behavior = &mut config["DefaultCacheBehavior"];
    behavior["ForwardedValues"] = serde_json::from_str(LEGACY).unwrap();
    behavior["ForwardedValues"]["Headers"]["Items"] = json!(headers);
    for (name, ttl) in ["MinTTL", "DefaultTTL", "MaxTTL"].iter().zip(ttls) {
        behavior[*name] = ttl.into();
    }
    for name in ["CachePolicyId", "OriginRequestPolicyId"] {
        behavior.as_object_mut().unwrap().remove(name);
    }
}

fn secret(config: &mut Value, value: &str) {
    config["Origins"]["Items"][0]["CustomHeaders"]["Items"][0]["HeaderValue"] = value.into();
}

fn behaviors(config: &mut Value) -> &mut Vec<Value> {
    config["CacheBehaviors"]["Items"].as_array_mut().unwrap()
}

fn behavior_with(pattern: &str, like: &Value) -> Value {
    let mut behavior = like.clone();
    behavior["PathPattern"] = pattern.into();
    behavior
}

const FAULTS: [Fault; 45] = [
    ("header-not-forwarded", |c| c["DefaultCacheBehavior"]["OriginRequestPolicyId"] = Value::Null),
    ("header-not-forwarded", |c| {
        // CORS-CustomOrigin
        c["DefaultCacheBehavior"]["OriginRequestPolicyId"] = "59781a5b-3903-41f3-afcb-af62929ccde1".into();
    }),
    ("header-not-forwarded", |c| legacy(c, &["test_version"], [0, 0, 0])),
    ("header-not-in-key", |c| {
        // CachingOptimized instead of CachingDisabled: the most common mistake.
        c["DefaultCacheBehavior"]["CachePolicyId"] = "658327ea-f89d-4fab-a63d-7e88639e58f6".into();
    }),
    ("host-forwarded", |c| {
        // AllViewer
        c["DefaultCacheBehavior"]["OriginRequestPolicyId"] = "216adef6-5c7f-47e4-b989-5492eafa07d3".into();
    }),
    ("host-forwarded", |c| legacy(c, &["test_version", "redirect", "Host"], [0, 0, 0])),
    ("host-forwarded", |c| {
        // AllViewer, for the bucket.
        behaviors(c)[0]["OriginRequestPolicyId"] = "216adef6-5c7f-47e4-b989-5492eafa07d3".into();
    }),
    ("header-overwritten", |c| {
        let headers = c["Origins"]["Items"][0]["CustomHeaders"]["Items"].as_array_mut().unwrap();
        headers.push(json!({"HeaderName": "test_version", "HeaderValue": "v1"}));
    }),
    ("key-of-everything", |c| legacy(c, &["*"], [0, 60, 600])),
    ("secret-missing", |c| c["Origins"]["Items"][0]["CustomHeaders"] = json!({"Quantity": 0})),
    ("secret-missing", |c| secret(c, "")),
    ("url-unsigned", |c| c["Origins"]["Items"][0]["DomainName"] = "a1b2.lambda-url.eu-west-1.on.aws".into()),
    ("secret-weak", |c| secret(c, "lambdaapi_test")),
    ("secret-weak", |c| secret(c, "hunter2")),
    ("secret-weak", |c| secret(c, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")),
    ("secret-leaks", |c| c["Origins"]["Items"][1]["CustomHeaders"] = c["Origins"]["Items"][0]["CustomHeaders"].clone()),
    ("secret-in-clear", |c| {
        c["Origins"]["Items"][0]["CustomOriginConfig"]["OriginProtocolPolicy"] = "http-only".into()
    }),
    ("secret-in-clear", |c| {
        c["Origins"]["Items"][0]["CustomOriginConfig"]["OriginProtocolPolicy"] = "match-viewer".into()
    }),
    ("old-tls", |c| {
        c["Origins"]["Items"][0]["CustomOriginConfig"]["OriginSslProtocols"]["Items"] = json!(["TLSv1", "TLSv1.2"])
    }),
    ("origin-timeout", |c| c["Origins"]["Items"][0]["CustomOriginConfig"]["OriginReadTimeout"] = 10.into()),
    ("ttl-minimum", |c| legacy(c, &["test_version", "redirect"], [60, 60, 600])),
    ("ttl-default", |c| legacy(c, &["test_version", "redirect"], [0, 86_400, 31_536_000])),
    ("ttl-order", |c| legacy(c, &["test_version", "redirect"], [0, 600, 60])),
    ("error-caching", |c| c["CustomErrorResponses"] = json!({"Quantity": 0})),
    ("error-caching", |c| {
        let errors = c["CustomErrorResponses"]["Items"].as_array_mut().unwrap();
        errors.iter_mut().find(|error| error["ErrorCode"] == 503).unwrap()["ErrorCachingMinTTL"] = 60.into();
    }),
    ("error-replaced", |c| {
        let errors = c["CustomErrorResponses"]["Items"].as_array_mut().unwrap();
        *errors.iter_mut().find(|error| error["ErrorCode"] == 404).unwrap() = json!({"ErrorCode": 404, "ResponsePagePath": "/index.html", "ResponseCode": "200", "ErrorCachingMinTTL": 0});
    }),
    ("behaviour-takes-versions", |c| {
        let pictures = behavior_with("*.png", &behaviors(c)[0]);
        behaviors(c).push(pictures);
    }),
    ("behaviour-takes-versions", |c| {
        let page = behavior_with("/test.html", &behaviors(c)[0]);
        behaviors(c).push(page);
    }),
    ("behaviour-shadowed", |c| {
        let all = behavior_with("/v*", &behaviors(c)[0]);
        behaviors(c).insert(0, all);
    }),
    ("redirect-loops", |c| {
        behaviors(c).remove(1);
    }),
    ("redirect-loops", |c| behaviors(c)[0]["TargetOriginId"] = "api".into()),
    ("origin-path", |c| c["Origins"]["Items"][1]["OriginPath"] = "/site".into()),
    ("origin-path", |c| c["Origins"]["Items"][0]["OriginPath"] = "/prod".into()),
    ("bucket-open", |c| c["Origins"]["Items"][1]["OriginAccessControlId"] = "".into()),
    ("bucket-website", |c| {
        let origin = &mut c["Origins"]["Items"][1];
        origin["DomainName"] = "site.s3-website-us-east-1.amazonaws.com".into();
        origin["CustomOriginConfig"] = json!({"OriginProtocolPolicy": "http-only"});
        origin.as_object_mut().unwrap().remove("S3OriginConfig");
    }),
    ("viewer-in-clear", |c| c["DefaultCacheBehavior"]["ViewerProtocolPolicy"] = "allow-all".into()),
    ("policy-unknown", |c| {
        c["DefaultCacheBehavior"]["OriginRequestPolicyId"] = "00000000-0000-0000-0000-000000000000".into()
    }),
    ("test-bypassed", |c| c["DefaultCacheBehavior"]["TargetOriginId"] = "bucket".into()),
    ("origin-missing", |c| c["DefaultCacheBehavior"]["TargetOriginId"] = "nothing".into()),
    ("failover-bypasses-test", |c| {
        c["OriginGroups"] = json!({"Quantity": 1, "Items": [{"Id": "both", "FailoverCriteria": {"StatusCodes": {
            "Items": [404]}}, "Members": {"Items": [{"OriginId": "api"}, {"OriginId": "bucket"}]}}]});
        c["DefaultCacheBehavior"]["TargetOriginId"] = "both".into();
    }),
    ("root-object", |c| c["DefaultRootObject"] = "v1/index.html".into()),
    ("origin-domain", |c| c["Origins"]["Items"][0]["DomainName"] = "https://a.execute-api.example.com".into()),
    ("certificate-missing", |c| c["Aliases"] = json!({"Quantity": 1, "Items": ["ab.example.com"]})),
    ("viewer-old-tls", |c| {
        c["ViewerCertificate"] = json!({"IAMCertificateId": "A", "MinimumProtocolVersion": "TLSv1"})
    }),
    ("not-in-china", |c| c["Origins"]["Items"][1]["DomainName"] = "site.s3.cn-north-1.amazonaws.com.cn".into()),
];

#[test]
fn each_seeded_fault_is_found_by_its_rule() {
    for (index, (id, seed)) in FAULTS.iter().enumerate() {
        let mut document = distribution();
        seed(&mut document["DistributionConfig"]);
        let findings = check(&subject(&document));
        let found = findings.iter().find(|finding| finding.id == *id);
        let found = found.unwrap_or_else(|| panic!("fault {index}: expected {id}, found {:?}", ids(&findings)));
        assert!(!found.place.is_empty() && found.why.len() > 20 && found.fix.len() > 20, "{found}");
    }
}

/// The ids in the source of the rules.
fn ids_of_rules() -> Vec<String> {
    let mut ids = Vec::new();
    for file in std::fs::read_dir(here("src/policy/rule")).unwrap() {
        let rules = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for start in [" id: \"", " ID: &str = \""] {
            ids.extend(rules.split(start).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    ids
}

#[test]
fn every_rule_has_a_seeded_fault() {
    let known: Vec<&str> = FAULTS.iter().map(|(id, _)| *id).collect();
    // Only templates can have these faults; `faults_are_found_in_templates`, policy/cdk.rs and policy/names.rs seed them.
    let elsewhere = [
        "secret-in-template",
        "redirect-path",
        "query-not-forwarded",
        "accept-not-forwarded",
        "accept-encoding-not-forwarded",
        "variants-unknown",
        "header-name",
    ];
    // policy/experiments.rs and policy/rules.rs seed these.
    let prefixes = ["experiment", "beacon", "access-", "condition-", "cors-", "rules-"];
    let of_experiments = |id: &str| prefixes.iter().any(|prefix| id.starts_with(prefix));
    let ids = ids_of_rules();
    for id in &ids {
        assert!(
            known.contains(&id.as_str()) || elsewhere.contains(&id.as_str()) || of_experiments(id),
            "no fault seeds the rule {id}"
        );
    }
    assert!(ids.len() >= 35, "expected 35 rules or more, found {}", ids.len());
}

#[test]
fn the_docs_list_the_id_of_every_rule() {
    let docs = template("README.md");
    let (_, section) = docs.split_once("\n## Check a distribution\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let listed: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split(" | ").next().unwrap().split('`').filter(|id| !id.trim().is_empty()))
        .collect();
    let ids = ids_of_rules();
    for id in &ids {
        assert!(listed.contains(&id.as_str()), "deploy/README.md does not list {id}");
    }
    for id in listed {
        assert!(ids.iter().any(|known| known == id), "deploy/README.md lists {id}, which no rule reports");
    }
}

#[test]
fn no_finding_shows_a_secret() {
    for value in ["hunter2hunter2", "lambdaapi_test", "aaaaaaaaaaaaaaaaaaaaaaaaab"] {
        let mut document = distribution();
        secret(&mut document["DistributionConfig"], value);
        let findings = check(&subject(&document));
        assert!(!findings.is_empty());
        for finding in findings {
            assert!(!finding.to_string().contains(value), "{finding}");
        }
    }
}

#[test]
fn a_signed_function_url_needs_no_secret() {
    let mut document = distribution();
    let origin = &mut document["DistributionConfig"]["Origins"]["Items"][0];
    origin["DomainName"] = "a1b2.lambda-url.eu-west-1.on.aws".into();
    origin["CustomHeaders"] = json!({"Quantity": 0});
    assert_eq!(ids(&check(&subject(&document))), ["url-unsigned", "secret-missing"]);
    document["DistributionConfig"]["Origins"]["Items"][0]["OriginAccessControlId"] = "E2QWRUHEXAMPLE".into();
    assert_eq!(check(&subject(&document)), []);
    // The API has no signature: it needs the secret.
    document["DistributionConfig"]["Origins"]["Items"][0]["OriginAccessControlId"] = "".into();
    document["DistributionConfig"]["Origins"]["Items"][0]["DomainName"] =
        "a1b2.execute-api.eu-west-1.amazonaws.com".into();
    assert_eq!(ids(&check(&subject(&document))), ["secret-missing"]);
}

#[test]
fn authorization_does_not_pass_a_signed_function_url() {
    let rules = |from: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let keys = json!({"keys": [{"kty": "oct", "k": "c".repeat(43), "alg": "HS256"}]});
        let jwt = json!({"keys": keys, "algorithms": ["HS256"], "from": [from], "issuer": "a", "audience": "b"});
        let rule = json!({"path": "/members/*", "jwt": jwt});
        std::io::Write::write_all(&mut file, json!({"rules": [rule]}).to_string().as_bytes()).unwrap();
        file
    };
    let checked = |door: &str, from: &str| {
        let file = rules(from);
        let (door, path) = (format!("FrontDoor={door}"), file.path().to_str().unwrap());
        let arguments =
            ["../deploy/aws.yaml", "--set", "Access=access.json", "--set", &door, "--access", path, "--json"];
        String::from_utf8_lossy(&command(&arguments, "").stdout).into_owned()
    };
    for door in ["HttpApi", "HttpApiWithFunctionUrl"] {
        assert_eq!(checked(door, "header:authorization"), "", "{door}");
    }
    for door in ["FunctionUrlWithHttpApi", "FunctionUrl"] {
        let findings = checked(door, "header:authorization");
        assert!(findings.contains("access-token") && findings.contains("a cookie or the query string"), "{findings}");
        assert_eq!(checked(door, "cookie:token"), "", "{door}");
    }
}

#[test]
fn cached_errors_are_worse_without_the_version_in_the_key() {
    let mut document = distribution();
    document["DistributionConfig"]["CustomErrorResponses"] = json!({"Quantity": 0});
    let without_version = check(&subject(&document));
    legacy(&mut document["DistributionConfig"], &["test_version", "redirect"], [0, 0, 0]);
    let with_version = check(&subject(&document));
    assert_eq!((ids(&without_version), without_version[0].severity), (vec!["error-caching"], Severity::Error));
    assert_eq!((ids(&with_version), with_version[0].severity), (vec!["error-caching"], Severity::Warning));
}

#[test]
fn an_origin_group_counts_as_its_first_origin() {
    let mut document = distribution();
    let config = &mut document["DistributionConfig"];
    config["OriginGroups"] = json!({"Quantity": 1, "Items": [{"Id": "both", "Members": {"Quantity": 2,
        "Items": [{"OriginId": "api"}, {"OriginId": "bucket"}]}}]});
    config["DefaultCacheBehavior"]["TargetOriginId"] = "both".into();
    assert_eq!(check(&subject(&document)), []);
    document["DistributionConfig"]["DefaultCacheBehavior"]["OriginRequestPolicyId"] = Value::Null;
    assert_eq!(ids(&check(&subject(&document))), ["header-not-forwarded"]);
}

#[test]
fn our_templates_have_no_findings_by_default() {
    for region in ["us-east-1", "eu-west-1"] {
        assert_eq!(check_template(&template("aws.yaml"), region, &[]), []);
    }
    for region in ["cn-north-1", "cn-northwest-1"] {
        assert_eq!(check_template(&template("aws-cn.yaml"), region, &[("Alias", "ab.example.com.cn")]), []);
    }
}

proptest! {
    #[test]
    fn our_templates_have_no_findings_for_any_parameters(
        caching: bool, spa: bool, four: bool, rotating: bool, sends_next: bool, manager: bool, alias: bool, renamed: bool,
        redirects: bool, headers: bool, access: bool, streaming: bool,
        door in proptest::sample::select(vec!["HttpApi", "HttpApiWithFunctionUrl", "FunctionUrlWithHttpApi", "FunctionUrl"]),
        variants in proptest::sample::subsequence(vec!["v1", "blue", "2026.11", "a_b"], 2..=4),
        timeout in 3_u8..=28,
    ) {
        let timeout = timeout.to_string();
        let mut values = vec![("VariantA", variants[0]), ("VariantB", variants[1]), ("Timeout", &timeout)];
        if four {
            values.extend(variants.get(2).map(|variant| ("VariantC", *variant)));
            values.extend(variants.get(3).map(|variant| ("VariantD", *variant)));
        }
        if renamed { values.extend([("AuthHeader", "x-auth"), ("VersionHeader", "x-version")]); }
        if spa { values.push(("SpaFallback", "index.html")); }
        if redirects { values.push(("Redirects", "_redirects")); }
        if headers { values.push(("Headers", "_headers")); }
        if access { values.push(("Access", "access.json")); }
        if rotating { values.push(("LambdaAuthNext", "x")); }
        if sends_next { values.push(("SecretSent", "next")); }
        if manager {
            values.extend([("SecretArn", "arn:aws:secretsmanager:eu-west-1:111111111111:secret:s"), ("SecretVersionId", "1")]);
            if rotating { values.push(("SecretNextVersionId", "2")); }
        }
        let mut china = values.clone();
        china.extend([("Alias", "ab.example.com.cn"), ("CertificateId", "ASCA")]);
        values.push(("FrontDoor", door));
        if streaming { values.push(("Streaming", "on")); }
        if access && door.starts_with("FunctionUrl") { values.push(("AccessAuthorization", "false")); }
        if caching { values.push(("Caching", "on")); }
        if alias { values.extend([("Alias", "ab.example.com"), ("CertificateArn", "arn")]); }
        // Without the dashboards and alarms: parsing them takes most of the time, and no rule reads them.
        let without_boards = |file: &str| template(file).split_once("  # --- from dashboards/").unwrap().0.to_owned();
        prop_assert_eq!(check_template(&without_boards("aws.yaml"), "eu-west-1", &values), []);
        prop_assert_eq!(check_template(&without_boards("aws-cn.yaml"), "cn-north-1", &china), []);
    }

    #[test]
    fn path_patterns_match_letters_stars_and_question_marks(pattern in "[ab*?/]{0,8}", path in "[ab/]{0,8}") {
        // A plain matcher that tries every length of a star.
        fn plain(pattern: &[u8], path: &[u8]) -> bool {
            match (pattern.split_first(), path.split_first()) {
                (None, None) => true,
                (Some((b'*', rest)), _) if plain(rest, path) => true,
                (Some((b'*', _)), Some((_, left))) => plain(pattern, left),
                (Some((wanted, rest)), Some((byte, left))) if *wanted == b'?' || wanted == byte => plain(rest, left),
                _ => false,
            }
        }
        let bare = |text: &str| text.strip_prefix('/').unwrap_or(text).as_bytes().to_vec();
        prop_assert_eq!(matches(&pattern, &path), plain(&bare(&pattern), &bare(&path)));
    }

    #[test]
    fn no_document_causes_a_panic(text in "[ -~\n]{0,200}") {
        if let Ok(document) = read(&text) {
            drop(Subject::from_config(&document, &Policies::default(), false).map(|subject| check(&subject)));
            if let Ok(template) = Template::new(document, "us-east-1", &[]) {
                drop(Subject::from_template(&template, Policies::default(), false));
            }
        }
    }
}

/// The template `aws.yaml` with every occurrence of `from` replaced.
fn changed(from: &str, to: &str) -> String {
    let text = template("aws.yaml");
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[test]
fn faults_are_found_in_templates() {
    let header = "AllowedPattern: '[!-~]*'\n    Description: Secret that CloudFront sends";
    let cases = [
        (
            "host-forwarded",
            changed(
                "                - redirect\n                - !If [HasExperiments,",
                "                - redirect,host\n                - !If [HasExperiments,",
            ),
        ),
        (
            "header-not-forwarded",
            changed(
                "          OriginRequestPolicyId: !If [ForwardsAllHeaders, b689b0a8-53d0-40ab-baf2-68738e2966ac, !Ref OriginRequestPolicy]\n",
                "",
            ),
        ),
        (
            "secret-in-template",
            changed(header, "AllowedPattern: '[!-~]*'\n    x: ").replacen(
                "NoEcho: true\n    Default: ''",
                "NoEcho: true\n    Default: 5f0c9d3e7a41b86295dc1f3870be64a9",
                1,
            ),
        ),
        (
            "redirect-path",
            changed(
                "- !If [HasAlias, !Sub 'https://${Alias}', !Sub 'https://${Distribution.DomainName}']",
                "- !Sub 'https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}'",
            ),
        ),
        (
            "query-not-forwarded",
            changed("variant_fallback: !Ref VariantFallback", "redirect_query: 'true'")
                .replace("QueryStringBehavior: all", "QueryStringBehavior: none"),
        ),
        (
            "accept-not-forwarded",
            changed(
                "spa_fallback: !If [HasSpaFallback, !Ref SpaFallback, !Ref AWS::NoValue]",
                "spa_fallback: shell.html",
            ),
        ),
        ("origin-timeout", changed("OriginReadTimeout: 30", "OriginReadTimeout: 5")),
    ];
    for (id, text) in cases {
        assert_eq!(ids(&check_template(&text, "eu-west-1", &[("Compress", "off")])), [id]);
    }
    let caching = changed(
        "- - !Ref VersionHeader\n                  - redirect\n                  - !If [SelectsByAccept,",
        "- - redirect\n                  - !If [SelectsByAccept,",
    );
    assert!(ids(&check_template(&caching, "eu-west-1", &[("Caching", "on")])).contains(&"header-not-in-key"));
    let off = check_template(&caching, "eu-west-1", &[("Compress", "off")]);
    assert_eq!(off, [], "without caching and copies the cache key is not used");
    let uncoded = changed("EnableAcceptEncodingGzip: true", "EnableAcceptEncodingGzip: false")
        .replace("EnableAcceptEncodingBrotli: true", "EnableAcceptEncodingBrotli: false");
    assert_eq!(ids(&check_template(&uncoded, "eu-west-1", &[])), ["accept-encoding-not-forwarded"]);
    assert_eq!(check_template(&uncoded, "eu-west-1", &[("Compress", "off")]), []);
}

#[test]
fn the_aws_template_is_rejected_for_china() {
    assert_eq!(ids(&check_template(&template("aws.yaml"), "cn-north-1", &[])), ["not-in-china"]);
}

fn command(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nearedge"))
        .args(["policy", "check"])
        .args(arguments)
        .current_dir(here(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // An invalid argument ends the command before it reads the input.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_exit_code_is_0_for_none_1_for_findings_2_for_bad_input() {
    let success = command(&["../deploy/aws.yaml"], "");
    assert_eq!(success.status.code(), Some(0), "{}", String::from_utf8_lossy(&success.stderr));

    let mut document = distribution();
    secret(&mut document["DistributionConfig"], "lambdaapi_test");
    let findings =
        command(&["-", "--policy", "tests/policy/origin-request-policy.json", "--json"], &document.to_string());
    assert_eq!(findings.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&findings.stdout).unwrap();
    assert_eq!(line["id"], "secret-weak");

    for (arguments, input, hint) in [
        (&["-"][..], "{}", "Origins"),
        (&["-"], "Resources: {}", "AWS::CloudFront::Distribution"),
        (&["-"], "a: [", "neither JSON nor YAML"),
        (&["-"], "", "empty file"),
        (&["no-such-file"], "", "no-such-file"),
        (&["../deploy/aws.yaml", "--set", "Nonsense=1"], "", "no parameter Nonsense"),
        (&["-", "--policy", "tests/policy/distribution.json"], "{}", "get-cache-policy"),
    ] {
        let output = command(arguments, input);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(hint) && message.lines().count() == 1, "{arguments:?}: {message}");
    }
}
