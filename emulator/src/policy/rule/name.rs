//! Rules for the names of the headers with the secret and the variant.

use nearedge_core::request::header_names::parse_header_name;

use crate::policy::finding::{Finding, Severity};
use crate::policy::json::is_unknown;
use crate::policy::rule::context::Context;

/// Finds names with which the function does not start.
pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let (auth, version) = (&context.subject.auth_header, &context.subject.version_header);
    let mut findings: Vec<Finding> = [("auth_header", auth), ("version_header", version)]
        .iter()
        .filter_map(|(setting, name)| bad(setting, name))
        .collect();
    if auth == version {
        findings.push(finding(
            "version_header",
            format!("it is {version}, as auth_header: the secret and the variant need two headers"),
        ));
    }
    findings
}

fn bad(setting: &str, name: &str) -> Option<Finding> {
    let error = (!is_unknown(name)).then(|| parse_header_name(name).err()).flatten()?;
    Some(finding(setting, format!("{name:?} {error}")))
}

fn finding(setting: &str, why: String) -> Finding {
    Finding {
        severity: Severity::Error,
        id: "header-name",
        place: format!("the function's {setting}"),
        why,
        fix: "use two free names; the function does not start with these".to_owned(),
    }
}
