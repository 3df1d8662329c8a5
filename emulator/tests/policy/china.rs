//! Each feature that AWS China lacks is found in both shapes, with its place; so are old TLS versions for viewers.

use emulator::policy::finding::Severity;
use emulator::policy::policies::Policies;
use emulator::policy::rule::check;
use emulator::policy::subject::Subject;
use serde_json::{Value, json};

use crate::shape::{check_both, check_template, template, valid};

/// A place, a part of the reason, and a change to a valid configuration that the rule must report.
type Fault = (&'static str, &'static str, fn(&mut Value));

fn variant(config: &mut Value) -> &mut Value {
    &mut config["CacheBehaviors"]["Items"][0]
}

fn list(items: &[&str]) -> Value {
    json!({"Quantity": items.len(), "Items": items})
}

const DISTRIBUTION: &str = "the distribution";
const DEFAULT: &str = "the default behaviour";
const VARIANT: &str = "the behaviour /v1/*";
const API: &str = "the origin api";
const BUCKET: &str = "the origin bucket";

const FAULTS: [Fault; 29] = [
    (DISTRIBUTION, "HTTP/3", |c| c["HttpVersion"] = "http2and3".into()),
    (DISTRIBUTION, "HTTP/3", |c| c["HttpVersion"] = "http3".into()),
    (DISTRIBUTION, "IPv6", |c| c["IsIPV6Enabled"] = true.into()),
    (DISTRIBUTION, "IPv6", |c| c["IsIPV6Enabled"] = "true".into()),
    (DISTRIBUTION, "price classes", |c| c["PriceClass"] = "PriceClass_100".into()),
    (DISTRIBUTION, "price classes", |c| c["PriceClass"] = "PriceClass_200".into()),
    (DISTRIBUTION, "WAF", |c| {
        c["WebACLId"] = "arn:aws-cn:wafv2:cn-north-1:111111111111:global/webacl/a/b".into();
    }),
    (DISTRIBUTION, "static IP addresses", |c| c["AnycastIpListId"] = "aip-1".into()),
    (DISTRIBUTION, "continuous deployment", |c| c["ContinuousDeploymentPolicyId"] = "policy".into()),
    (DISTRIBUTION, "continuous deployment", |c| c["Staging"] = true.into()),
    (DISTRIBUTION, "multi-tenant", |c| c["ConnectionMode"] = "tenant-only".into()),
    (DISTRIBUTION, "client certificates", |c| c["ViewerMtlsConfig"] = json!({"Mode": "required"})),
    (DISTRIBUTION, "log buckets", |c| c["Logging"]["Bucket"] = "logs.s3.amazonaws.com".into()),
    (DISTRIBUTION, "log buckets", |c| c["Logging"]["Bucket"] = "logs.s3.amazonaws.com.cn".into()),
    (DISTRIBUTION, "ACM", |c| c["ViewerCertificate"]["ACMCertificateArn"] = "arn:aws-cn:acm:c".into()),
    (DISTRIBUTION, "cache policies", |c| {
        let behavior = variant(c).as_object_mut().unwrap();
        behavior.remove("ForwardedValues");
        behavior.insert("CachePolicyId".to_owned(), "4135ea2d-6df8-44a3-9df3-4b5a84be39ad".into());
    }),
    (DISTRIBUTION, "may not serve content", |c| c["Aliases"] = list(&[])),
    (DISTRIBUTION, "d1.cloudfront.cn", |c| c["Aliases"] = list(&["d1.cloudfront.cn"])),
    (DISTRIBUTION, "d1.cloudfront.cn", |c| c["Aliases"] = list(&["ab.example.com.cn", "d1.cloudfront.cn"])),
    (DISTRIBUTION, "D1.CloudFront.cn.", |c| c["Aliases"] = list(&["D1.CloudFront.cn."])),
    (DISTRIBUTION, "d1.cloudfront.net", |c| c["Aliases"] = list(&["d1.cloudfront.net"])),
    (DEFAULT, "Lambda@Edge", |c| {
        c["DefaultCacheBehavior"]["LambdaFunctionAssociations"] = json!({"Quantity": 1, "Items": [{
            "LambdaFunctionARN": "arn:aws-cn:lambda:cn-north-1:111111111111:function:f:1", "EventType": "viewer-request"}]});
    }),
    (VARIANT, "CloudFront Functions", |c| {
        variant(c)["FunctionAssociations"] = json!({"Quantity": 1, "Items": [{
            "FunctionARN": "arn:aws-cn:cloudfront::111111111111:function/f", "EventType": "viewer-request"}]});
    }),
    (VARIANT, "field-level encryption", |c| variant(c)["FieldLevelEncryptionId"] = "C1".into()),
    (DEFAULT, "response headers policies", |c| {
        c["DefaultCacheBehavior"]["ResponseHeadersPolicyId"] = "67f7725c-6f97-4210-82d7-5512b31e9d03".into();
    }),
    (BUCKET, "origin access control", |c| c["Origins"]["Items"][1]["OriginAccessControlId"] = "E1".into()),
    (API, "Origin Shield", |c| {
        c["Origins"]["Items"][0]["OriginShield"] = json!({"Enabled": true, "OriginShieldRegion": "cn-north-1"});
    }),
    (API, "VPC origins", |c| c["Origins"]["Items"][0]["VpcOriginConfig"] = json!({"VpcOriginId": "vo_1"})),
    (API, "IPv6 to the origin", |c| {
        c["Origins"]["Items"][0]["CustomOriginConfig"]["IpAddressType"] = "dualstack".into();
    }),
];

#[test]
fn each_feature_that_china_lacks_is_found_in_both_shapes() {
    for (index, (place, reason, seed)) in FAULTS.iter().enumerate() {
        let mut config = valid(true);
        seed(&mut config);
        for (shape, findings) in check_both(&config, true) {
            let found = findings
                .iter()
                .any(|finding| finding.id == "not-in-china" && finding.place == *place && finding.why.contains(reason));
            assert!(found, "fault {index}, {shape}: expected {reason} at {place}, found {findings:#?}");
        }
    }
}

#[test]
fn a_function_url_is_rejected_for_china() {
    let mut config = valid(true);
    config["Origins"]["Items"][0]["DomainName"] = "abc.lambda-url.cn-north-1.on.aws".into();
    for (shape, findings) in check_both(&config, true) {
        let found: Vec<_> = findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect();
        assert_eq!(found, [("not-in-china", API)], "{shape}");
    }
}

#[test]
fn these_features_are_accepted_outside_china() {
    let mut config = valid(false);
    config["WebACLId"] = "arn:aws:wafv2:us-east-1:111111111111:global/webacl/a/b".into();
    config["PriceClass"] = "PriceClass_100".into();
    config["HttpVersion"] = "http3".into();
    config["IsIPV6Enabled"] = true.into();
    config["Origins"]["Items"][0]["OriginShield"] = json!({"Enabled": true, "OriginShieldRegion": "us-east-1"});
    for (shape, findings) in check_both(&config, false) {
        assert_eq!(findings, [], "{shape}");
    }
}

#[test]
fn an_address_in_china_implies_the_region() {
    let mut config = valid(true);
    config["HttpVersion"] = "http3".into();
    for (shape, findings) in check_both(&config, false) {
        let found: Vec<_> = findings.iter().map(|finding| finding.id).collect();
        assert_eq!(found, ["not-in-china"], "{shape}");
    }
}

#[test]
fn only_a_template_selects_the_default_price_class() {
    let mut document = template(&valid(true));
    document["Resources"]["Distribution"]["Properties"]["DistributionConfig"]["PriceClass"] = "PriceClass_All".into();
    let findings = check_template(&document, "cn-north-1");
    assert_eq!(findings.iter().map(|finding| finding.id).collect::<Vec<_>>(), ["not-in-china"]);
    assert_eq!(findings[0].severity, Severity::Warning);
    assert_eq!(valid(true)["PriceClass"], "PriceClass_All");
}

#[test]
fn a_resource_type_that_china_lacks_is_found() {
    for kind in ["AWS::CloudFront::Function", "AWS::CloudFront::MonitoringSubscription", "AWS::Lambda::Url"] {
        let mut document = template(&valid(true));
        document["Conditions"] = json!({"Never": {"Fn::Equals": ["a", "b"]}});
        document["Resources"]["Unused"] = json!({"Type": kind, "Properties": {}});
        let findings = check_template(&document, "cn-north-1");
        let found: Vec<_> = findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect();
        assert_eq!(found, [("not-in-china", "the resource Unused")]);
        assert_eq!(check_template(&template(&valid(false)), "us-east-1"), []);
        document["Resources"]["Unused"]["Condition"] = "Never".into();
        assert_eq!(check_template(&document, "cn-north-1"), []);
    }
}

#[test]
fn the_docs_list_each_resource_type_that_china_lacks() {
    // CI compares the types in the document with CloudFormation's schemas.
    let docs = std::fs::read_to_string(crate::here("../deploy/README.md")).unwrap();
    let (_, table) = docs.split_once("\n## AWS and AWS China\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rules = std::fs::read_to_string(crate::here("src/policy/rule/china.rs")).unwrap();
    let types: Vec<_> = rules.split("\n    \"AWS::").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(types.len() >= 14, "{types:?}");
    for kind in types {
        assert!(table.contains(&format!("no `AWS::{kind}`")), "deploy/README.md does not list AWS::{kind}");
    }
}

#[test]
fn an_alias_without_a_valid_icp_recordal_is_found() {
    for (status, expected) in [("APPROVED", &[][..]), ("SUSPENDED", &["not-in-china"]), ("PENDING", &["not-in-china"])]
    {
        let document = json!({"Distribution": {
            "DistributionConfig": valid(true),
            "AliasICPRecordals": [{"CNAME": "ab.example.com.cn", "ICPRecordalStatus": status}],
        }});
        let subject = Subject::from_config(&document, &Policies::default(), true).unwrap();
        assert_eq!(check(&subject).iter().map(|finding| finding.id).collect::<Vec<_>>(), expected, "{status}");
    }
}

#[test]
fn redirects_to_cloudfronts_own_domain_in_china_are_found() {
    let mut document = template(&valid(true));
    document["Resources"]["Function"] = json!({"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 20,
        "Environment": {"Variables": {"lambda_auth": {"Ref": "Secret"}, "redirect_path": {"Fn::Sub":
            "https://${Distribution.DomainName}"}}}}});
    let findings = check_template(&document, "cn-north-1");
    let found: Vec<_> = findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect();
    assert_eq!(found, [("not-in-china", "the function's redirect_path")]);
}

#[test]
fn old_tls_versions_for_viewers_are_found_everywhere() {
    for china in [false, true] {
        for version in ["SSLv3", "TLSv1", "TLSv1_2016", "TLSv1.1_2016"] {
            let mut config = valid(china);
            if !china {
                config["Aliases"] = list(&["ab.example.com"]);
                config["ViewerCertificate"] = json!({"ACMCertificateArn": "arn:aws:acm:us-east-1:1:certificate/c", "SSLSupportMethod": "sni-only"});
            }
            config["ViewerCertificate"]["MinimumProtocolVersion"] = version.into();
            for (shape, findings) in check_both(&config, china) {
                let found: Vec<_> = findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect();
                assert_eq!(found, [("viewer-old-tls", "ViewerCertificate")], "{shape}: {version}");
            }
        }
        for version in ["TLSv1.2_2018", "TLSv1.2_2019", "TLSv1.2_2021", "TLSv1.2_2025", "TLSv1.3_2025"] {
            let mut config = valid(true);
            config["ViewerCertificate"]["MinimumProtocolVersion"] = version.into();
            for (shape, findings) in check_both(&config, true) {
                assert_eq!(findings, [], "{shape}: {version}");
            }
        }
    }
}

#[test]
fn a_chosen_tls_version_for_cloudfronts_certificate_is_found() {
    for version in ["TLSv1", "SSLv3", "TLSv1.2_2021"] {
        let mut config = valid(false);
        config["ViewerCertificate"]["MinimumProtocolVersion"] = version.into();
        for (shape, findings) in check_both(&config, false) {
            assert_eq!(findings.iter().map(|finding| finding.id).collect::<Vec<_>>(), ["viewer-old-tls"], "{shape}");
        }
        // The output of CloudFront's API for its own certificate: CloudFront sets this version.
        config["ViewerCertificate"] = json!({"CloudFrontDefaultCertificate": true, "SSLSupportMethod": "vip",
            "MinimumProtocolVersion": "TLSv1", "CertificateSource": "cloudfront"});
        let document = json!({"DistributionConfig": config});
        let subject = Subject::from_config(&document, &crate::policies(), false).unwrap();
        assert_eq!(check(&subject), []);
    }
}

#[test]
fn an_alias_without_a_certificate_is_found() {
    let mut config = valid(false);
    config["Aliases"] = list(&["ab.example.com"]);
    for (shape, findings) in check_both(&config, false) {
        let found: Vec<_> = findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect();
        assert_eq!(found, [("certificate-missing", "ViewerCertificate")], "{shape}");
    }
}

#[test]
fn a_list_of_origin_tls_versions_is_required() {
    let mut config = valid(false);
    config["Origins"]["Items"][0]["CustomOriginConfig"].as_object_mut().unwrap().remove("OriginSslProtocols");
    for (shape, findings) in check_both(&config, false) {
        let found: Vec<_> = findings.iter().map(|finding| (finding.id, finding.place.as_str())).collect();
        assert_eq!(found, [("old-tls", API)], "{shape}");
    }
}
