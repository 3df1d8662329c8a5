//! Other names of the headers with the secret and the variant: `auth_header` and `version_header`.

use serde_json::{Value, json};

use crate::{check, check_template, command, distribution, ids, subject, template};

/// The distribution of the template with the renamed headers, with the legacy settings.
fn renamed() -> Value {
    let mut document = distribution();
    let config = &mut document["DistributionConfig"];
    config["Origins"]["Items"][0]["CustomHeaders"]["Items"][0]["HeaderName"] = "X-Lambda-Auth".into();
    crate::legacy(config, &["X-Test-Version", "redirect"], [0, 0, 0]);
    document
}

#[test]
fn options_name_the_headers_of_a_distribution() {
    let with_names = ["-", "--auth-header", "X-Lambda-Auth", "--version-header", "x-test-version"];
    let output = command(&with_names, &renamed().to_string());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(ids(&check(&subject(&renamed()))), ["header-not-forwarded", "secret-missing"]);
    let findings = check(&subject(&renamed()));
    assert!(findings[0].fix.contains("--version-header") && findings[1].fix.contains("--auth-header"), "{findings:#?}");

    let output = command(&["../deploy/aws.yaml", "--auth-header", "x-auth", "--json"], "");
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &findings["id"]), (Some(1), &json!("secret-missing")));
    let output = command(&["../deploy/aws.yaml", "--auth-header", "x-a", "--version-header", "x-a"], "");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the secret and the variant need two headers"));
}

#[test]
fn an_option_with_a_bad_header_name_is_refused() {
    for bad in ["", "x auth", "Host", "x-amz-auth", "Range", "redirect"] {
        let output = command(&["-", "--auth-header", bad], "");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{bad:?}: {message}");
        assert!(message.contains("such as x-lambda-auth"), "{bad:?}: {message}");
    }
}

#[test]
fn findings_use_the_headers_names() {
    let mut document = renamed();
    let config = &mut document["DistributionConfig"];
    config["Origins"]["Items"][1]["CustomHeaders"] = config["Origins"]["Items"][0]["CustomHeaders"].clone();
    let headers = config["Origins"]["Items"][0]["CustomHeaders"]["Items"].as_array_mut().unwrap();
    headers.push(json!({"HeaderName": "x-test-version", "HeaderValue": "v1"}));
    config["CustomErrorResponses"]["Items"][2] =
        json!({"ErrorCode": 404, "ResponsePagePath": "/404.html", "ErrorCachingMinTTL": 0});
    let page = crate::behavior_with("/test.html", &crate::behaviors(config)[0]);
    crate::behaviors(config).push(page);
    let mut subject = subject(&document);
    (subject.auth_header, subject.version_header) = ("x-lambda-auth".to_owned(), "x-test-version".to_owned());
    let findings = check(&subject);
    for id in ["header-overwritten", "secret-leaks", "error-replaced", "behaviour-takes-versions"] {
        let finding = findings.iter().find(|finding| finding.id == id);
        let finding = finding.unwrap_or_else(|| panic!("expected {id}, found {findings:#?}"));
        assert!(finding.to_string().contains("x-test-version") || finding.to_string().contains("x-lambda-auth"));
    }
    for finding in findings {
        let text = finding.to_string();
        assert!(!text.contains("lambda_auth") && !text.contains("test_version"), "{text}");
    }
}

#[test]
fn a_template_without_the_new_names_is_reported() {
    let values = [("AuthHeader", "x-lambda-auth"), ("VersionHeader", "x-test-version")];
    for (file, region) in [("aws.yaml", "eu-west-1"), ("aws-cn.yaml", "cn-north-1")] {
        let check = |from: &str, to: &str| {
            let text = template(file);
            assert!(text.contains(from), "{from}");
            let mut values = values.to_vec();
            values.extend((file == "aws-cn.yaml").then_some(("Alias", "ab.example.com.cn")));
            ids(&check_template(&text.replace(from, to), region, &values))
        };
        assert_eq!(check("", ""), Vec::<&str>::new(), "{file}");
        assert_eq!(check("HeaderName: !Ref AuthHeader", "HeaderName: lambda_auth"), ["secret-missing"], "{file}");
        assert_eq!(check("- - !Ref VersionHeader", "- - test_version"), ["header-not-forwarded"], "{file}");
        let setting = "          version_header: !If [HasVersionHeader, !Ref VersionHeader, !Ref AWS::NoValue]\n";
        assert_eq!(check(setting, ""), ["header-not-forwarded"], "the function still reads test_version: {file}");
    }
}

#[test]
fn names_with_which_the_function_cannot_start_are_found() {
    let cases: [(&str, &str); 4] =
        [("Host", "x-version"), ("x-auth", "x version"), ("x-auth", "X-Auth"), ("test_version", "test_version")];
    for (auth, version) in cases {
        let found =
            check_template(&template("aws.yaml"), "eu-west-1", &[("AuthHeader", auth), ("VersionHeader", version)]);
        assert!(ids(&found).contains(&"header-name"), "{auth}, {version}: {found:#?}");
    }
}

#[test]
fn header_names_that_only_aws_knows_are_no_error() {
    let unknown = |name: &str| {
        let values = ["x-a", "x-v"].map(|value| format!("Default: {value}"));
        let text = template("aws.yaml")
            .replace("Default: lambda_auth", &values[0])
            .replace("Default: test_version", &values[1]);
        text.replace(&format!("HeaderName: !Ref {name}"), "HeaderName: !ImportValue Name").replace(
            "- - !Ref VersionHeader",
            if name == "VersionHeader" { "- - !ImportValue Name" } else { "- - !Ref VersionHeader" },
        )
    };
    assert_eq!(check_template(&unknown("AuthHeader"), "eu-west-1", &[]), []);
    assert_eq!(ids(&check_template(&unknown("VersionHeader"), "eu-west-1", &[])), ["policy-unknown"]);
    for name in ["AuthHeader", "VersionHeader"] {
        let text = template("aws.yaml");
        let setting = if name == "AuthHeader" { "auth_header" } else { "version_header" };
        let from = format!("{setting}: !If [Has{name}, !Ref {name}, !Ref AWS::NoValue]");
        assert!(text.contains(&from));
        let found = check_template(&text.replace(&from, &format!("{setting}: !ImportValue Name")), "eu-west-1", &[]);
        assert!(found.iter().all(|finding| finding.id == "policy-unknown"), "{name}: {found:#?}");
    }
}
