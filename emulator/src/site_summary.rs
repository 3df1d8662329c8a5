//! The files of rules that are active, for the message when the cloud is ready.

use std::path::Path;

use nearedge::origin::SiteConfig;
use nearedge_core::access::rules::AccessRules;
use nearedge_core::problem::Severity;
use nearedge_core::rules::headers::Headers;
use nearedge_core::rules::redirects::Redirects;

use crate::definition::text;
use crate::s3::site::Site;

/// The numbers of rules and of problems, or why the file cannot be used.
type Counted = Result<(usize, usize), String>;

/// One line for each file of rules that the function loads.
pub(crate) fn summaries(folder: &Path, site: &Site, config: &SiteConfig) -> Vec<String> {
    let content = |key: &str| {
        site.find(key).ok().flatten().map_or_else(|| Err("does not exist".to_owned()), |stored| text(&stored))
    };
    let check = format!("`nearedge rules check {}`", folder.display());
    let mut lines = Vec::new();
    let mut add = |key: &str, parse: &dyn Fn(&str) -> Counted| {
        let found = content(key).and_then(|text| parse(&text));
        lines.push(match found {
            Ok((rules, 0)) => format!("{key}: {rules} {}", plural(rules, "rule")),
            Ok((rules, problems)) => {
                format!("{key}: {rules} {}, {problems} {}: {check}", plural(rules, "rule"), plural(problems, "problem"))
            }
            Err(reason) => format!("{key} {reason}: {check}"),
        });
    };
    if let Some(key) = &config.redirects {
        add(key.as_str(), &|text| {
            let (rules, problems) = match text.trim_start().starts_with(['<', '{', '[']) {
                true => Redirects::of_s3_routing_rules(text).map_err(|reason| format!("cannot be used ({reason})"))?,
                false => Redirects::parse(text),
            };
            Ok((rules.len(), problems.len()))
        });
    }
    if let Some(key) = &config.headers {
        add(key.as_str(), &|text| {
            let (rules, problems) = Headers::parse(text);
            Ok((rules.len(), problems.len()))
        });
    }
    if let Some(key) = &config.access {
        add(key.as_str(), &|text| match AccessRules::parse(text, Some(key.as_str())) {
            Ok((rules, problems)) => {
                let listed = rules.listed().count();
                Ok((listed, problems.len()))
            }
            Err(problems) => {
                let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
                Err(format!(
                    "cannot be used, so every request is answered with 503, {errors} {}",
                    plural(errors, "error")
                ))
            }
        });
    }
    lines
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}
