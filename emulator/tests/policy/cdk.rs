//! Templates as the CDK synthesizes them: intrinsic functions over values of which only AWS knows a part.

use emulator::policy::finding::Finding;
use emulator::policy::template::{Template, read};
use serde_json::{Value, json};

use crate::command;
use crate::shape::check_template;
use crate::{here, load};

fn cdk() -> Value {
    load("tests/policy/cdk.json")
}

fn config(template: &mut Value) -> &mut Value {
    &mut template["Resources"]["Distribution830FAC52"]["Properties"]["DistributionConfig"]
}

fn api(template: &mut Value) -> &mut Value {
    &mut config(template)["Origins"][0]
}

/// A name, and a change that puts a value into the CDK's template.
type Change = (&'static str, fn(&mut Value, Value));

fn found(findings: &[Finding]) -> Vec<(&str, &str)> {
    findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect()
}

/// Evaluates a value in the CDK's template.
fn evaluate(value: &Value) -> Value {
    let mut template = cdk();
    template["Resources"]["Url5C6D7E8F"] =
        json!({"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "NONE", "TargetFunctionArn": "f"}});
    template["Parameters"]["List"] = json!({"Type": "CommaDelimitedList", "Default": "a, b"});
    template["Parameters"]["Unset"] = json!({"Type": "List<String>"});
    template["Mappings"] = json!({"Site": {"us-east-1": {"index": "1", "hosts": ["x", "y"]}}});
    Template::new(template, "us-east-1", &[]).unwrap().properties(value).unwrap()
}

#[test]
fn a_template_of_the_cdk_has_no_findings_and_exits_with_0() {
    assert_eq!(check_template(&cdk(), "us-east-1"), []);
    let output = command(&["tests/policy/cdk.json"], "");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // The same template in YAML, as `cdk synth` prints it.
    let yaml = command(&["-"], &to_yaml(&cdk()));
    assert_eq!(yaml.status.code(), Some(0), "{}", String::from_utf8_lossy(&yaml.stderr));
}

/// Block mappings with flow values: YAML as far as these templates need it.
fn to_yaml(template: &Value) -> String {
    let entries = template.as_object().unwrap().iter();
    entries.map(|(name, value)| format!("{name}:\n  {value}\n")).collect()
}

#[test]
fn the_api_of_a_cdk_template_is_recognized_without_a_secret() {
    let endpoint = json!({"Fn::GetAtt": ["HttpApiF5A9A8A7", "ApiEndpoint"]});
    for domain in [
        json!({"Fn::Select": [2, {"Fn::Split": ["/", endpoint]}]}),
        json!({"Fn::Select": ["2", {"Fn::Split": ["/", {"Fn::Sub": "${HttpApiF5A9A8A7.ApiEndpoint}"}]}]}),
        json!({"Fn::Select": [1, {"Fn::Split": ["://", endpoint]}]}),
        json!({"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::Sub": ["${Url}", {"Url": endpoint}]}]}]}),
        json!({"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::Join": ["", [endpoint, "/"]]}]}]}),
        json!({"Fn::Join": ["", [{"Ref": "HttpApiF5A9A8A7"}, ".execute-api.", {"Ref": "AWS::Region"}, ".",
            {"Ref": "AWS::URLSuffix"}]]}),
        json!({"Fn::Sub": "${HttpApiF5A9A8A7}.execute-api.${AWS::Region}.${AWS::URLSuffix}"}),
    ] {
        let mut template = cdk();
        api(&mut template)["DomainName"] = domain.clone();
        assert_eq!(check_template(&template, "us-east-1"), [], "{domain}");
        api(&mut template).as_object_mut().unwrap().remove("OriginCustomHeaders");
        let findings = check_template(&template, "us-east-1");
        assert_eq!(found(&findings), [("secret-missing", "the origin AbDistributionOrigin1A0B1C2D3")], "{domain}");
    }
}

#[test]
fn a_function_url_of_a_cdk_template_needs_a_signature_and_no_secret() {
    let mut template = cdk();
    template["Resources"]["Url5C6D7E8F"] = json!({"Type": "AWS::Lambda::Url", "Properties": {"AuthType": "AWS_IAM"}});
    let url = json!({"Fn::GetAtt": ["Url5C6D7E8F", "FunctionUrl"]});
    api(&mut template)["DomainName"] = json!({"Fn::Select": [2, {"Fn::Split": ["/", url]}]});
    let origin = "the origin AbDistributionOrigin1A0B1C2D3";
    assert_eq!(found(&check_template(&template, "us-east-1")), [("url-unsigned", origin)]);
    api(&mut template).as_object_mut().unwrap().remove("OriginCustomHeaders");
    assert_eq!(found(&check_template(&template, "us-east-1")), [("url-unsigned", origin), ("secret-missing", origin)]);
    api(&mut template)["OriginAccessControlId"] = json!({"Fn::GetAtt": ["UrlAccessControl", "Id"]});
    assert_eq!(check_template(&template, "us-east-1"), []);
}

#[test]
fn split_and_select_know_the_form_of_documented_attributes() {
    let get = |resource: &str, attribute: &str| json!({"Fn::GetAtt": [resource, attribute]});
    let select = |index: Value, separator: &str, text: Value| {
        evaluate(&json!({"Fn::Select": [index, {"Fn::Split": [separator, text]}]}))
    };
    let endpoint = || get("HttpApiF5A9A8A7", "ApiEndpoint");
    assert_eq!(select(json!(2), "/", endpoint()), "${HttpApiF5A9A8A7}.execute-api.us-east-1.amazonaws.com");
    assert_eq!(select(json!("0"), ":", endpoint()), "https");
    assert_eq!(select(json!(2), "/", get("Url5C6D7E8F", "FunctionUrl")), "${Url5C6D7E8F}.lambda-url.us-east-1.on.aws");
    assert_eq!(
        select(json!(2), "/", get("Site9A1B2C3D", "WebsiteURL")),
        "${Site9A1B2C3D}.s3-website-us-east-1.amazonaws.com"
    );
    assert_eq!(select(json!(0), ".", get("Site9A1B2C3D", "RegionalDomainName")), "${Site9A1B2C3D}");
    // SAM generates the resource of a function's URL.
    assert_eq!(select(json!(2), "/", get("FunctionUrl", "FunctionUrl")), "${FunctionUrl}.lambda-url.us-east-1.on.aws");
    // A separator does not split a placeholder.
    assert_eq!(select(json!(0), ".", get("Nested", "Outputs.Url")), "${Nested.Outputs.Url}");
    assert_eq!(select(json!(1), ":", json!({"Fn::Sub": "a:${AWS::AccountId}:b"})), "${AWS::AccountId}");
    let index = json!({"Fn::FindInMap": ["Site", {"Ref": "AWS::Region"}, "index"]});
    assert_eq!(evaluate(&json!({"Fn::Select": [index, {"Ref": "List"}]})), "b");
}

#[test]
fn values_that_only_aws_knows_stay_unknown() {
    for (value, expected) in [
        (json!({"Fn::ImportValue": "Api:Endpoint"}), json!("${Fn::ImportValue}")),
        (json!({"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::ImportValue": "e"}]}]}), json!("${Fn::ImportValue}")),
        (json!({"Fn::Select": [0, {"Fn::GetAZs": ""}]}), json!("${Fn::GetAZs}")),
        (json!({"Fn::Select": [1, {"Ref": "Unset"}]}), json!("${Unset}")),
        (json!({"Fn::Select": [{"Ref": "Unset"}, ["a", "b"]]}), json!("${Unset}")),
        (json!({"Fn::Select": [3, {"Fn::Cidr": ["10.0.0.0/16", 6]}]}), json!("${Fn::Cidr}")),
        (json!({"Fn::Select": [5, {"Fn::Split": ["/", {"Fn::GetAtt": ["Custom", "Url"]}]}]}), json!("${Custom.Url}")),
        (json!({"Fn::Join": ["", ["https://", {"Fn::ImportValue": "d"}]]}), json!("https://${Fn::ImportValue}")),
        (json!({"Fn::Join": [",", {"Ref": "Unset"}]}), json!("${Unset}")),
        (json!({"Fn::Join": [",", {"Ref": "List"}]}), json!("a,b")),
        (json!({"Fn::Sub": ["${A}/${B}", {"A": {"Fn::ImportValue": "a"}, "B": "b"}]}), json!("${Fn::ImportValue}/b")),
        (json!({"Fn::FindInMap": ["Site", {"Ref": "AWS::Region"}, "hosts"]}), json!(["x", "y"])),
        (json!({"Fn::FindInMap": ["Site", "eu-west-1", "hosts"]}), json!("${Fn::FindInMap}")),
        (json!({"Fn::FindInMap": ["Site", "eu-west-1", "hosts", {"DefaultValue": "z"}]}), json!("z")),
        (json!({"Ref": "BootstrapVersion"}), json!("${BootstrapVersion}")),
        (json!({"Fn::Transform": {"Name": "AWS::Include"}}), json!("${Fn::Transform}")),
    ] {
        assert_eq!(evaluate(&value), expected, "{value}");
    }
    let template = Template::new(cdk(), "us-east-1", &[]).unwrap();
    for invalid in [json!({"Fn::Select": [2, ["a", "b"]]}), json!({"Fn::Select": ["x", ["a"]]})] {
        assert!(template.properties(&invalid).is_err(), "{invalid}: CloudFormation rejects it");
    }
}

#[test]
fn unknown_values_cause_no_errors() {
    let unknown = json!({"Fn::ImportValue": "x"});
    let changes: [Change; 11] = [
        ("the API's domain", |t, x| api(t)["DomainName"] = json!({"Fn::Select": [2, {"Fn::Split": ["/", x]}]})),
        ("the secret", |t, x| api(t)["OriginCustomHeaders"][0]["HeaderValue"] = x),
        ("protocol", |t, x| api(t)["CustomOriginConfig"]["OriginProtocolPolicy"] = x),
        ("TLS", |t, x| api(t)["CustomOriginConfig"]["OriginSSLProtocols"] = x),
        ("timeout", |t, x| api(t)["CustomOriginConfig"]["OriginReadTimeout"] = x),
        ("error TTL", |t, x| config(t)["CustomErrorResponses"][0]["ErrorCachingMinTTL"] = x),
        ("aliases", |t, x| {
            config(t)["Aliases"] = x.clone();
            config(t)["ViewerCertificate"] = json!({"AcmCertificateArn": x, "MinimumProtocolVersion": x});
        }),
        ("the function's timeout", |t, x| t["Resources"]["Function76856677"]["Properties"]["Timeout"] = x),
        ("TTL", |t, x| {
            let policy = &mut t["Resources"]["Objects3A4B5C6D"]["Properties"]["CachePolicyConfig"];
            for name in ["MinTTL", "DefaultTTL", "MaxTTL"] {
                policy[name] = x.clone();
            }
        }),
        ("the bucket's domain", |t, x| config(t)["Origins"][1]["DomainName"] = x),
        ("price class", |t, x| config(t)["PriceClass"] = x),
    ];
    for (name, change) in changes {
        let mut template = cdk();
        change(&mut template, unknown.clone());
        assert_eq!(check_template(&template, "us-east-1"), [], "{name}");
    }
}

#[test]
fn unknown_values_that_rules_need_are_warnings() {
    let mut template = cdk();
    let unknown = json!({"Fn::ImportValue": "Variants"});
    template["Resources"]["Function76856677"]["Properties"]["Environment"]["Variables"]["test_versions"] =
        unknown.clone();
    assert_eq!(found(&check_template(&template, "us-east-1")), [("variants-unknown", "the function's test_versions")]);

    for headers in [json!({"Ref": "Headers"}), json!(["test_version", {"Ref": "Headers"}])] {
        let mut template = cdk();
        template["Parameters"]["Headers"] = json!({"Type": "CommaDelimitedList"});
        let policy = &mut template["Resources"]["Forwarded2F3A4B5C"]["Properties"]["OriginRequestPolicyConfig"];
        policy["HeadersConfig"]["Headers"] = headers;
        assert_eq!(found(&check_template(&template, "us-east-1")), [("policy-unknown", "the default behaviour")]);
    }

    let mut template = cdk();
    config(&mut template)["DefaultCacheBehavior"]["OriginRequestPolicyId"] = unknown;
    assert_eq!(found(&check_template(&template, "us-east-1")), [("policy-unknown", "the default behaviour")]);
}

#[test]
fn faults_of_a_cdk_template_are_found() {
    let mut template = cdk();
    config(&mut template)["DefaultCacheBehavior"]["TargetOriginId"] = "AbDistributionOrigin2B1C2D3E4".into();
    let findings = check_template(&template, "us-east-1");
    assert!(found(&findings).contains(&("test-bypassed", "the default behaviour")), "{findings:#?}");

    let mut template = cdk();
    api(&mut template)["DomainName"] = json!({"Fn::GetAtt": ["HttpApiF5A9A8A7", "ApiEndpoint"]});
    let findings = check_template(&template, "us-east-1");
    assert_eq!(found(&findings), [("origin-domain", "the origin AbDistributionOrigin1A0B1C2D3")]);

    // HttpOrigin(bucket.bucketWebsiteDomainName)
    let mut template = cdk();
    config(&mut template)["Origins"][1] = json!({"Id": "AbDistributionOrigin2B1C2D3E4",
        "CustomOriginConfig": {"OriginProtocolPolicy": "http-only", "OriginSSLProtocols": ["TLSv1.2"]},
        "DomainName": {"Fn::Select": [2, {"Fn::Split": ["/", {"Fn::GetAtt": ["Site9A1B2C3D", "WebsiteURL"]}]}]}});
    let findings = check_template(&template, "us-east-1");
    assert_eq!(found(&findings), [("bucket-website", "the origin AbDistributionOrigin2B1C2D3E4")]);

    let mut template = cdk();
    template["Resources"]["Function76856677"]["Properties"]["Environment"]["Variables"]["redirect_path"] =
        json!({"Fn::GetAtt": ["HttpApiF5A9A8A7", "ApiEndpoint"]});
    let findings = check_template(&template, "us-east-1");
    assert_eq!(found(&findings), [("redirect-path", "the function's redirect_path")]);

    let mut template = cdk();
    template["Resources"]["Function76856677"]["Properties"]["Timeout"] = "60".into();
    let findings = check_template(&template, "us-east-1");
    assert_eq!(found(&findings), [("origin-timeout", "the origin AbDistributionOrigin1A0B1C2D3")]);
}

#[test]
fn json_escapes_that_yaml_lacks_are_read() {
    assert_eq!(read(r#"{"a": "\ud83d\ude00 \/"}"#).unwrap(), json!({"a": "😀 /"}));
    assert!(here("tests/policy/cdk.json").exists());
}

#[test]
fn a_misspelt_region_is_an_error() {
    for region in ["china", "CN-NORTH-1", "cn-north", "cn_north_1", ""] {
        let output = command(&["tests/policy/cdk.json", "--region", region], "");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{region}: {message}");
        assert!(message.contains("cn-north-1"), "{region}: {message}");
    }
    for region in ["us-gov-west-1", "ap-southeast-2", "cn-northwest-1", "eusc-de-east-1"] {
        let output = command(&["tests/policy/cdk.json", "--region", region], "");
        assert_ne!(output.status.code(), Some(2), "{region}");
    }
}
