//! The stages of a request, in the order of [`nearedge_core::rules::decide`].

mod access;

use nearedge_core::object::ObjectKey;
use nearedge_core::response::Outcome;
use nearedge_core::rules::{Action, Candidate, Instead, Otherwise, Viewer as _};
use percent_encoding::percent_decode_str;

use crate::rules::explained::Explained;
use crate::rules::explanation::Stage;

/// The decisions of all stages.
pub(super) fn all(explained: &Explained<'_, '_>) -> Vec<Stage> {
    let mut stages = vec![Stage::new("secret", "assumed", "CloudFront adds the secret header")];
    let access = access::stage(explained);
    let is_refused = access.decision == "denied" && !access::is_denied_by_object(explained);
    stages.push(access);
    if !is_refused {
        stages.extend([redirects(explained), experiments(explained), variant(explained), objects(explained)]);
    }
    stages.push(headers(explained));
    stages
}

fn redirects(explained: &Explained<'_, '_>) -> Stage {
    const NAME: &str = "redirects";
    let Some(file) = &explained.site.redirects else { return Stage::new(NAME, "off", "the site has no _redirects") };
    let Some(rule) = explained.decision.rule else { return Stage::new(NAME, "none", "no rule matches") };
    let (decision, effect) = match (&explained.decision.action, rule.status) {
        (Action::Respond(Outcome::Moved(status, location)), _) => ("redirect", format!("{status} to {location}")),
        (Action::Fetch { otherwise: Otherwise::Redirect(status, location), .. }, _) => {
            ("redirect", format!("{status} to {location}"))
        }
        (_, 200) => ("rewrite", format!("serves {}", rule.to)),
        (_, status) if status >= 400 => ("respond", format!("{status} with {} as its body", rule.to)),
        (_, status) => ("redirect", format!("{status} to {}", rule.to)),
    };
    let when = match rule.forced {
        true => "forced, so before the object is looked up",
        false => "only if the object is missing",
    };
    let mut stage = Stage::empty(NAME, decision);
    stage.add_at((&file.name, rule.line), format!("{} → {effect}; {when}", rule.from));
    stage
}

fn experiments(explained: &Explained<'_, '_>) -> Stage {
    const NAME: &str = "experiments";
    let Some(file) = &explained.site.experiments else {
        return Stage::new(NAME, "off", "the site has no experiments.json");
    };
    if file.parsed.is_none() {
        return Stage::new(NAME, "off", format!("{} cannot be used: run `nearedge rules check`", file.name));
    }
    if explained.request.test_version.is_some() {
        return Stage::new(NAME, "skipped", "the request states its version itself");
    }
    let Some(assignment) = &explained.decision.assignment else {
        return Stage::new(NAME, "skipped", "an earlier stage has decided");
    };
    let decision = match (&assignment.redirect, assignment.version) {
        (Some(_), _) => "redirect",
        (None, Some(_)) => "assigned",
        (None, None) => "none",
    };
    let mut stage = Stage::empty(NAME, decision);
    let version = assignment.version.map_or("no version".to_owned(), |version| format!("version {version}"));
    let timing = assignment.personal.server_timing.as_deref().unwrap_or_default();
    for name in timing.split("\\\"").skip(1).step_by(2) {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (key, variation) = name.rsplit_once('.').unwrap_or((name, ""));
        let (key, variation) = (decode(key), decode(variation));
        let quoted = serde_json::Value::from(&*key).to_string();
        let line = file.text.lines().position(|line| line.contains("\"key\"") && line.contains(&quoted));
        stage.add_at((&file.name, line.map_or(0, |at| at + 1)), format!("{version}: variation {variation} of {key}"));
    }
    if stage.reasons.is_empty() {
        stage.add_at((&file.name, 0), format!("{version}, without an experiment"));
    }
    if let Some(location) = &assignment.redirect {
        stage.add(format!("redirects to {location}"));
    }
    if assignment.personal.cookies.is_some() {
        stage.add("a new view: the response sets cookies; a new visitor is assigned at random");
    }
    stage
}

fn variant(explained: &Explained<'_, '_>) -> Stage {
    const NAME: &str = "variant";
    let header = explained.site.trial.version_header();
    match (explained.decision.variant, &explained.request.test_version) {
        (Some(variant), Some(_)) => Stage::new(NAME, "set", format!("{variant}, by the header {header}")),
        (Some(variant), None) => Stage::new(NAME, "set", format!("{variant}, by the experiments")),
        (None, _) => Stage::new(NAME, "none", format!("no {header}, and no version by experiments")),
    }
}

fn objects(explained: &Explained<'_, '_>) -> Stage {
    const NAME: &str = "objects";
    let exists = |key: &ObjectKey| explained.site.objects.exists(key.as_str());
    let state = |key: &ObjectKey| if exists(key) { "exists" } else { "missing" };
    match &explained.decision.action {
        Action::Respond(_) => Stage::new(NAME, "skipped", "an earlier stage has decided"),
        Action::Redirect { key, location } => {
            Stage::new(NAME, "skipped", format!("{}: redirects to {location}", key.as_str()))
        }
        Action::Missing { key } => {
            Stage::new(NAME, "missing", format!("{}: cannot exist, or is never served", key.as_str()))
        }
        Action::Fetch { first, others, otherwise, .. } => {
            let all: Vec<&Candidate> = std::iter::once(first).chain(others).collect();
            let is_used = |candidate: &&&Candidate| {
                exists(&candidate.key)
                    && match &candidate.instead {
                        Some(Instead::Redirect(redirect)) => !redirect.unless.iter().any(exists),
                        _ => true,
                    }
            };
            let used = all.iter().find(is_used).copied();
            let mut stage = Stage::empty(NAME, if used.is_some() { "found" } else { "missing" });
            for candidate in &all {
                let instead = match &candidate.instead {
                    None => String::new(),
                    Some(Instead::Body(status)) => format!(", as the body of a {status}"),
                    Some(Instead::Redirect(redirect)) => {
                        let unless: Vec<String> =
                            redirect.unless.iter().map(|key| format!("{} ({})", key.as_str(), state(key))).collect();
                        let unless =
                            if unless.is_empty() { String::new() } else { format!(" unless {}", unless.join(", ")) };
                        format!(", redirects to {}{unless}", redirect.location)
                    }
                };
                let mark = if used.is_some_and(|used| std::ptr::eq(used, *candidate)) { " ←" } else { "" };
                stage.add(format!("{} {}{instead}{mark}", candidate.key.as_str(), state(&candidate.key)));
            }
            if used.is_none() {
                stage.add(match otherwise {
                    Otherwise::Missing => "none exists, so the object is missing".to_owned(),
                    Otherwise::Redirect(..) => "none exists, so the rule of _redirects applies".to_owned(),
                    Otherwise::Generated(status) => format!("none exists, so the {status} has no body"),
                });
            }
            stage
        }
    }
}

fn headers(explained: &Explained<'_, '_>) -> Stage {
    const NAME: &str = "headers";
    let Some((file, headers)) = explained.site.headers() else {
        return Stage::new(NAME, "off", "the site has no _headers");
    };
    let host = || explained.viewer.host();
    let rules = headers.find(&host, &explained.request.path);
    let mut stage = Stage::empty(NAME, if rules.is_empty() { "none" } else { "apply" });
    for rule in &rules {
        let lines: Vec<String> = headers.lines(rule).collect();
        stage.add_at((&file.name, rule.line), format!("{}  {}", rule.path, lines.join("; ")));
    }
    if rules.is_empty() {
        stage.add("no rule matches");
    }
    stage
}
