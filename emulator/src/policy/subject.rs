//! The subject of a check: a distribution and the function behind it.

use serde_json::Value;

use crate::policy::distribution::Distribution;
use crate::policy::policies::Policies;
use crate::policy::template::{Template, TemplateError};

/// A distribution, and the settings of the function behind it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The distribution.
    pub distribution: Distribution,
    /// Whether it is in AWS China.
    pub china: bool,
    /// Whether it comes from a template, which must not contain the secret.
    pub is_template: bool,
    /// The variants.
    pub variants: Vec<String>,
    /// The function's `redirect_path`, if known.
    pub redirect_path: Option<String>,
    /// The function's `redirect_query`.
    pub redirect_query: bool,
    /// Whether the function's `spa_fallback` is set.
    pub spa_fallback: bool,
    /// The function's timeout, in seconds.
    pub timeout_secs: u64,
}

/// The walk-through's variants.
const VARIANTS: [&str; 2] = ["v1", "v2"];

/// The walk-through's timeout.
const TIMEOUT_SECS: u64 = 20;

impl Subject {
    /// Parses the output of `aws cloudfront get-distribution-config` or `get-distribution`, or a `DistributionConfig`.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn from_config(document: &Value, policies: &Policies, china: bool) -> Result<Self, String> {
        let config = ["/Distribution/DistributionConfig", "/DistributionConfig"]
            .iter()
            .find_map(|path| document.pointer(path))
            .unwrap_or(document);
        let distribution = Distribution::parse(config, policies)?;
        Ok(Self {
            china: china || distribution.origins.iter().any(|origin| origin.domain.ends_with(".amazonaws.com.cn")),
            distribution,
            is_template: false,
            variants: VARIANTS.map(str::to_owned).to_vec(),
            redirect_path: None,
            redirect_query: false,
            spa_fallback: false,
            timeout_secs: TIMEOUT_SECS,
        })
    }

    /// The distributions of a template, with their logical ids.
    ///
    /// # Errors
    /// If the template is invalid or has no distribution.
    pub fn from_template(
        template: &Template,
        mut policies: Policies,
        china: bool,
    ) -> Result<Vec<(String, Self)>, String> {
        let text = |error: TemplateError| error.to_string();
        for kind in ["CachePolicy", "OriginRequestPolicy"] {
            for (id, properties) in template.resources(&format!("AWS::CloudFront::{kind}")).map_err(text)? {
                policies.add(&format!("${{{id}}}"), &properties)?;
            }
        }
        let functions = template.resources("AWS::Lambda::Function").map_err(text)?;
        // nearedge is the function that has the secret.
        let function = functions
            .iter()
            .map(|(_, function)| function)
            .find(|function| function.pointer("/Environment/Variables/lambda_auth").is_some());
        let setting = |name: &str| {
            let value = function?.pointer(&format!("/Environment/Variables/{name}"))?;
            value.as_str().map(str::to_owned).or_else(|| Some(value.to_string()))
        };
        let timeout = function.and_then(|function| function["Timeout"].as_u64());
        let variants =
            setting("test_versions").map(|versions| versions.split(',').map(|each| each.trim().to_owned()).collect());
        let mut subjects = Vec::new();
        for (id, properties) in template.resources("AWS::CloudFront::Distribution").map_err(text)? {
            let distribution = Distribution::parse(&properties["DistributionConfig"], &policies)?;
            subjects.push((
                id,
                Self {
                    distribution,
                    china,
                    is_template: true,
                    variants: variants.clone().unwrap_or_else(|| VARIANTS.map(str::to_owned).to_vec()),
                    redirect_path: setting("redirect_path"),
                    redirect_query: setting("redirect_query").as_deref() == Some("true"),
                    spa_fallback: setting("spa_fallback").is_some(),
                    timeout_secs: timeout.unwrap_or(TIMEOUT_SECS),
                },
            ));
        }
        if subjects.is_empty() {
            Err("expected an AWS::CloudFront::Distribution in the template, found none".to_owned())
        } else {
            Ok(subjects)
        }
    }
}
