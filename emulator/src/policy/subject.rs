//! The subject of a check: a distribution and the function behind it.

use std::collections::BTreeMap;

use nearedge_core::request::header_names::{AUTH_HEADER, VERSION_HEADER};
use serde_json::Value;

use crate::policy::copies::Copies;
use crate::policy::distribution::Distribution;
use crate::policy::experiment::Experiments;
use crate::policy::json::{items, number_or, text};
use crate::policy::policies::Policies;
use crate::policy::site::Site;
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
    /// The name of the header with the secret, in lower case: the function's `auth_header`.
    pub auth_header: String,
    /// The name of the header with the variant, in lower case: the function's `version_header`.
    pub version_header: String,
    /// The function's `redirect_path`, if known.
    pub redirect_path: Option<String>,
    /// The function's `redirect_query`.
    pub redirect_query: bool,
    /// Whether the function's `spa_fallback` is set.
    pub spa_fallback: bool,
    /// Which copies of objects the function sends.
    pub copies: Copies,
    /// The function's `test_versions`, if known.
    pub test_versions: Option<Vec<String>>,
    /// The function's experiments.
    pub experiments: Experiments,
    /// The function's files of rules.
    pub site: Site,
    /// The function's timeout, in seconds.
    pub timeout_secs: u64,
    /// Whether the function's `streaming` is set.
    pub streaming: bool,
    /// The types of the template's resources, by logical id.
    pub resource_types: BTreeMap<String, String>,
    /// The status of each alias's ICP recordal, by alias, if CloudFront's API returned it.
    pub icp_recordals: BTreeMap<String, String>,
}

/// The walk-through's variants.
const VARIANTS: [&str; 2] = ["v1", "v2"];

/// The walk-through's timeout.
const TIMEOUT_SECS: u64 = 20;

/// Lambda's default
/// [timeout](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-lambda-function.html).
const TIMEOUT_DEFAULT_SECS: u64 = 3;

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
        // https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_AliasICPRecordal.html
        let recordals = items(&document["Distribution"]["AliasICPRecordals"]).iter();
        let icp_recordals =
            recordals.map(|recordal| (text(&recordal["CNAME"]), text(&recordal["ICPRecordalStatus"]))).collect();
        Ok(Self {
            china: china || is_in_china(&distribution),
            distribution,
            is_template: false,
            variants: VARIANTS.map(str::to_owned).to_vec(),
            auth_header: AUTH_HEADER.to_owned(),
            version_header: VERSION_HEADER.to_owned(),
            redirect_path: None,
            redirect_query: false,
            spa_fallback: false,
            copies: Copies::UNKNOWN,
            test_versions: None,
            experiments: Experiments::default(),
            site: Site::default(),
            timeout_secs: TIMEOUT_SECS,
            streaming: false,
            resource_types: BTreeMap::new(),
            icp_recordals,
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
        let message = |error: TemplateError| error.to_string();
        for kind in ["CachePolicy", "OriginRequestPolicy"] {
            for (id, properties) in template.resources(&format!("AWS::CloudFront::{kind}")).map_err(message)? {
                for reference in [format!("${{{id}}}"), format!("${{{id}.Id}}")] {
                    policies.add(&reference, &properties)?;
                }
            }
        }
        let mut functions = template.resources("AWS::Lambda::Function").map_err(message)?;
        functions.extend(template.resources("AWS::Serverless::Function").map_err(message)?);
        // nearedge is the function that has the secret, or trusts its function URL.
        let has = |function: &Value, name: &str| function["Environment"]["Variables"].get(name).is_some();
        let function = functions
            .iter()
            .map(|(_, function)| function)
            .find(|function| has(function, "lambda_auth") || has(function, "function_url_iam"));
        let setting = |name: &str| {
            let value = function?.pointer(&format!("/Environment/Variables/{name}"))?;
            Some(text(&template.resolve(value)))
        };
        // The function, too, reads an empty setting as absent.
        let header = |name: &str, default: &str| {
            let value = setting(name).filter(|value| !value.trim().is_empty());
            value.map_or_else(|| default.to_owned(), |value| value.trim().to_ascii_lowercase())
        };
        let timeout_secs =
            function.map_or(TIMEOUT_SECS, |function| number_or(&function["Timeout"], TIMEOUT_DEFAULT_SECS, 0));
        let variants: Option<Vec<String>> =
            setting("test_versions").map(|versions| versions.split(',').map(|each| each.trim().to_owned()).collect());
        let is_enabled = setting("experiments").is_some_and(|key| !key.trim().is_empty());
        let experiments = Experiments { enabled: Some(is_enabled), ..Experiments::from_settings(setting) };
        let site = Site::from_settings(setting);
        let mut subjects = Vec::new();
        for (id, properties) in template.resources("AWS::CloudFront::Distribution").map_err(message)? {
            let distribution = Distribution::parse(&template.resolve(&properties["DistributionConfig"]), &policies)?;
            subjects.push((
                id,
                Self {
                    china: china || is_in_china(&distribution),
                    distribution,
                    is_template: true,
                    variants: variants.clone().unwrap_or_else(|| VARIANTS.map(str::to_owned).to_vec()),
                    auth_header: header("auth_header", AUTH_HEADER),
                    version_header: header("version_header", VERSION_HEADER),
                    redirect_path: setting("redirect_path"),
                    redirect_query: setting("redirect_query").as_deref() == Some("true"),
                    spa_fallback: setting("spa_fallback").is_some(),
                    copies: function.map_or(Copies::UNKNOWN, |_| Copies::from_settings(setting)),
                    test_versions: variants.clone(),
                    experiments: experiments.clone(),
                    site: site.clone(),
                    timeout_secs,
                    streaming: setting("streaming").as_deref() == Some("true"),
                    resource_types: template.resource_types().map_err(message)?,
                    icp_recordals: BTreeMap::new(),
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

/// Whether an address that exists only in AWS China shows that the distribution is there.
fn is_in_china(distribution: &Distribution) -> bool {
    let is_chinese = |domain: &str| [".amazonaws.com.cn", ".cloudfront.cn"].iter().any(|end| domain.ends_with(end));
    let origins = distribution.origins.iter().map(|origin| &origin.domain);
    origins.chain(&distribution.aliases).any(|domain| is_chinese(&domain.to_ascii_lowercase()))
}
