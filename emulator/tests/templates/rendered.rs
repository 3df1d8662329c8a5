//! The templates, rendered in their regions.

use std::path::Path;

use emulator::policy::template::{Template, read};
use serde_json::Value;

/// One template in one region.
pub(crate) struct Rendered {
    /// Whether the region is in AWS China.
    pub(crate) china: bool,
    pub(crate) template: Template,
}

impl Rendered {
    /// Both templates, rendered in each of their regions.
    pub(crate) fn all(values: &[(&str, &str)]) -> Vec<Self> {
        ["us-east-1", "eu-west-1", "cn-north-1", "cn-northwest-1"]
            .iter()
            .map(|region| Self::in_region(region, values))
            .collect()
    }

    pub(crate) fn in_region(region: &str, values: &[(&str, &str)]) -> Self {
        let china = region.starts_with("cn-");
        let file = if china { "aws-cn.yaml" } else { "aws.yaml" };
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)).unwrap();
        let mut values: Vec<_> = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if china {
            values.push(("Alias".to_owned(), "ab.example.com.cn".to_owned()));
        }
        Self { china, template: Template::new(read(&text).unwrap(), region, &values).unwrap() }
    }

    /// The only resource of a type.
    pub(crate) fn only(&self, kind: &str) -> Value {
        let mut found = self.template.resources(kind).unwrap();
        assert_eq!(found.len(), 1, "{kind}");
        found.remove(0).1
    }

    /// The resource of a type with this logical id.
    pub(crate) fn named(&self, kind: &str, id: &str) -> Value {
        let found = self.template.resources(kind).unwrap();
        found.into_iter().find(|(name, _)| name == id).unwrap_or_else(|| panic!("{kind} {id}")).1
    }

    pub(crate) fn distribution(&self) -> Value {
        self.only("AWS::CloudFront::Distribution")["DistributionConfig"].clone()
    }

    /// The statements of the function's role.
    pub(crate) fn statements(&self) -> Vec<Value> {
        let role = self.named("AWS::IAM::Role", "Role");
        role["Policies"][0]["PolicyDocument"]["Statement"].as_array().unwrap().clone()
    }
}

/// The settings of the function.
pub(crate) fn settings(rendered: &Rendered) -> Value {
    rendered.only("AWS::Lambda::Function")["Environment"]["Variables"].clone()
}

/// The headers that the default behaviour lists, in lower case: of the origin request policy, or of the legacy settings.
pub(crate) fn listed_headers(rendered: &Rendered) -> Vec<String> {
    let headers = if rendered.china {
        rendered.distribution()["DefaultCacheBehavior"]["ForwardedValues"]["Headers"].clone()
    } else {
        let policy = rendered.only("AWS::CloudFront::OriginRequestPolicy");
        policy["OriginRequestPolicyConfig"]["HeadersConfig"]["Headers"].clone()
    };
    headers.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_lowercase()).collect()
}

/// The headers of the cache key, with `Caching=on`.
pub(crate) fn key_headers(values: &[(&str, &str)]) -> Value {
    let rendered = Rendered::in_region("eu-west-1", &[&[("Caching", "on")], values].concat());
    let policy = rendered.named("AWS::CloudFront::CachePolicy", "CachePolicy")["CachePolicyConfig"].clone();
    assert_eq!(policy["MinTTL"], 0, "a minimum TTL would override private and no-store");
    policy["ParametersInCacheKeyAndForwardedToOrigin"]["HeadersConfig"]["Headers"].clone()
}
