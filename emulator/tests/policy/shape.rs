//! Valid configurations in the two shapes: CloudFront's API and CloudFormation.

use emulator::policy::finding::Finding;
use emulator::policy::policies::Policies;
use emulator::policy::rule::check;
use emulator::policy::subject::Subject;
use emulator::policy::template::Template;
use serde_json::{Map, Value, json};

use crate::{load, policies};

/// A valid configuration of CloudFront's API, for AWS or AWS China.
pub(crate) fn valid(china: bool) -> Value {
    let name = if china { "tests/policy/distribution-cn.json" } else { "tests/policy/distribution.json" };
    load(name)["DistributionConfig"].clone()
}

/// Checks a configuration in the API's shape, and the same configuration in CloudFormation's shape.
pub(crate) fn check_both(config: &Value, china: bool) -> [(&'static str, Vec<Finding>); 2] {
    let document = json!({"ETag": "E", "DistributionConfig": config});
    let api = Subject::from_config(&document, &policies(), china).unwrap();
    let region = if china { "cn-north-1" } else { "us-east-1" };
    [("API", check(&api)), ("CloudFormation", check_template(&template(config), region))]
}

/// Checks the distributions of a template.
pub(crate) fn check_template(template: &Value, region: &str) -> Vec<Finding> {
    let template = Template::new(template.clone(), region, &[]).unwrap();
    let subjects = Subject::from_template(&template, Policies::default(), region.starts_with("cn-")).unwrap();
    subjects.iter().flat_map(|(_, subject)| check(subject)).collect()
}

/// The template of a configuration in the API's shape.
pub(crate) fn template(config: &Value) -> Value {
    let policy = load("tests/policy/origin-request-policy.json")["OriginRequestPolicy"].clone();
    let mut config = in_cloudformation(config);
    let reference = |behavior: &mut Value| {
        if behavior["OriginRequestPolicyId"] == policy["Id"] {
            behavior["OriginRequestPolicyId"] = json!({"Ref": "Policy"});
        }
    };
    reference(&mut config["DefaultCacheBehavior"]);
    config["CacheBehaviors"].as_array_mut().into_iter().flatten().for_each(reference);
    json!({
        "Parameters": {"Secret": {"Type": "String", "NoEcho": true}},
        "Resources": {
            "Distribution": {"Type": "AWS::CloudFront::Distribution", "Properties": {"DistributionConfig": config}},
            "Policy": {
                "Type": "AWS::CloudFront::OriginRequestPolicy",
                "Properties": {
                    "OriginRequestPolicyConfig": in_cloudformation(&policy["OriginRequestPolicyConfig"]),
                },
            },
        },
    })
}

/// The names of the API that CloudFormation spells differently.
const NAMES: [(&str, &str); 6] = [
    ("CustomHeaders", "OriginCustomHeaders"),
    ("OriginSslProtocols", "OriginSSLProtocols"),
    ("IsIPV6Enabled", "IPV6Enabled"),
    ("ACMCertificateArn", "AcmCertificateArn"),
    ("IAMCertificateId", "IamCertificateId"),
    ("SSLSupportMethod", "SslSupportMethod"),
];

/// The properties of the API's output that CloudFormation does not have.
const ONLY_IN_API: [&str; 4] = ["CallerReference", "CertificateSource", "Certificate", "PriceClass"];

/// Converts a value from the API's shape to CloudFormation's.
fn in_cloudformation(value: &Value) -> Value {
    let Value::Object(entries) = value else { return value.clone() };
    if let Some(items) = list(entries) {
        return items;
    }
    let mut converted = Map::new();
    for (name, entry) in entries {
        if ONLY_IN_API[..3].contains(&name.as_str()) || (name == ONLY_IN_API[3] && entry == "PriceClass_All") {
            continue;
        }
        let known = NAMES.iter().find(|(api, _)| api == name).map_or(name.as_str(), |(_, renamed)| renamed);
        let entry = match name.as_str() {
            "OriginGroups" | "Members" | "StatusCodes" => group(entry),
            "HeaderValue" if entry.as_str().is_some_and(|secret| secret.len() > 32) => json!({"Ref": "Secret"}),
            _ => in_cloudformation(entry),
        };
        converted.insert(known.to_owned(), entry);
    }
    converted.into()
}

/// The lists of origin groups have a quantity in CloudFormation too.
fn group(list: &Value) -> Value {
    let items: Vec<Value> = list["Items"].as_array().into_iter().flatten().map(in_cloudformation).collect();
    json!({"Quantity": items.len(), "Items": items})
}

fn list(entries: &Map<String, Value>) -> Option<Value> {
    let is_list = entries.keys().all(|name| ["Quantity", "Items", "CachedMethods"].contains(&name.as_str()));
    if !is_list || entries.is_empty() {
        return None;
    }
    Some(entries.get("Items").and_then(Value::as_array).into_iter().flatten().map(in_cloudformation).collect())
}
