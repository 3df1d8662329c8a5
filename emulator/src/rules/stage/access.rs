//! The stage of the rules of access.

use nearedge_core::access::check::{Denial, Verdict};
use nearedge_core::access::credentials::Credentials as _;
use nearedge_core::access::known::KnownTokens;
use nearedge_core::access::rules::{Rule, RuleKind, Target};
use nearedge_core::response::Outcome;
use nearedge_core::rules::Action;

use crate::rules::explained::{Explained, has_parameter, presence};
use crate::rules::explanation::Stage;

const NAME: &str = "access";

/// The decision of the rules of access.
pub(super) fn stage(explained: &Explained<'_, '_>) -> Stage {
    let Some(file) = &explained.site.access else { return Stage::new(NAME, "off", "the site has no access.json") };
    let Some(rules) = &file.parsed else {
        let text = format!("{} cannot be used, so every request is refused: run `nearedge rules check`", file.name);
        return Stage::new(NAME, "denied", text);
    };
    let path = &*explained.complete.path;
    let readings = explained.site.with_versions(|versions| rules.guards_by_reading(path.into(), versions));
    let mut stage = Stage::empty(NAME, "open");
    let mut guards: Vec<&Rule> = Vec::new();
    for (reading, found) in &readings {
        for rule in found {
            let read = if reading == path { String::new() } else { format!(", read as {reading}") };
            let text = format!("{} guards {path}{read}: {}", rule.path, kind_of(rule));
            stage.add_at(explained.site.place_of(rule), text);
            if !guards.iter().any(|known| std::ptr::eq(*known, *rule)) {
                guards.push(rule);
            }
        }
    }
    guards.iter().for_each(|rule| add_credentials(explained, rule, &mut stage));
    if guards.is_empty() {
        match open_rule(rules.rules(), path) {
            Some(rule) => stage.add_at(explained.site.place_of(rule), format!("{} is open", rule.path)),
            None => stage.add("no rule guards the path"),
        }
    }
    let known = KnownTokens::new();
    let verdict = explained.site.with_versions(|versions| {
        let verdict = rules.check(&[Target::from(path)], versions, explained.viewer, &known, explained.now);
        match verdict {
            Verdict::Open => None,
            Verdict::Granted(grant) => Some(Ok(grant.expires.saturating_sub(explained.now))),
            Verdict::Denied(denial) => Some(Err(denial)),
        }
    });
    match verdict {
        None => {}
        Some(Ok(secs)) => {
            stage.decision = "granted";
            stage.add(format!("the credentials are valid for {secs} s"));
        }
        Some(Err(denial)) => {
            stage.decision = "denied";
            stage.add(describe(&denial));
            return stage;
        }
    }
    if let Action::Respond(Outcome::Denied(denial)) = &explained.decision.action {
        stage.decision = "denied";
        let variant = explained.decision.variant;
        let rewritten = explained.decision.rule.filter(|rule| !rule.is_redirect()).map(|rule| &*rule.to);
        for path in [Some(path), rewritten].into_iter().flatten() {
            for rule in explained.site.guards(Target { version: variant, path }) {
                let text = format!("{} guards {path}: {}", rule.path, kind_of(rule));
                stage.add_at(explained.site.place_of(rule), text);
            }
        }
        stage.add(format!("an object that the path leads to is guarded: {}", describe(denial)));
    }
    stage
}

/// Whether the path is open or granted, but not an object that it leads to.
pub(super) fn is_denied_by_object(explained: &Explained<'_, '_>) -> bool {
    let Some((_, rules)) = explained.site.access() else { return false };
    let known = KnownTokens::new();
    let path = Target::from(&*explained.complete.path);
    explained.site.with_versions(|versions| {
        let verdict = rules.check(&[path], versions, explained.viewer, &known, explained.now);
        !matches!(verdict, Verdict::Denied(_))
    })
}

fn kind_of(rule: &Rule) -> &'static str {
    match rule.kind {
        RuleKind::Token(_) => "requires a token (jwt)",
        RuleKind::Link(_) => "requires a signed link (signed_url)",
        RuleKind::Open => "open",
        RuleKind::Hidden => "holds keys, and is never served",
    }
}

/// Adds which of the places of a rule's credentials the request has, without their values.
fn add_credentials(explained: &Explained<'_, '_>, rule: &Rule, stage: &mut Stage) {
    match &rule.kind {
        RuleKind::Token(token) => {
            let places = token.sources().iter().map(|place| format!("{place} {}", presence(explained.viewer, place)));
            stage.add(format!("credentials: {}", places.collect::<Vec<_>>().join(", ")));
        }
        RuleKind::Link(link) => {
            let named = |is_present: bool| if is_present { "present" } else { "absent" };
            let parameter = named(has_parameter(explained.viewer.query(), link.parameter()));
            let mut text = format!("credentials: query:{} {parameter}", link.parameter());
            if let Some(cookie) = link.cookie() {
                let session = named(!explained.viewer.cookies(cookie).is_empty());
                text.push_str(&format!(", cookie:{cookie} {session}"));
            }
            stage.add(text);
        }
        RuleKind::Open | RuleKind::Hidden => {}
    }
}

/// The most specific open rule of a path.
fn open_rule<'r>(rules: &'r [Rule], path: &str) -> Option<&'r Rule> {
    let contains = |rule: &&Rule| match rule.path.strip_suffix('*') {
        Some(folder) => path.starts_with(folder) || path == folder.trim_end_matches('/'),
        None => *rule.path == *path,
    };
    let open = rules.iter().filter(|rule| matches!(rule.kind, RuleKind::Open));
    open.filter(contains).max_by_key(|rule| rule.path.len())
}

fn describe(denial: &Denial) -> String {
    let login = |login: &Option<String>| match login {
        Some(url) => format!(", so the visitor is sent to {url}"),
        None => String::new(),
    };
    match denial {
        Denial::MissingToken { login: to } => format!("the request has no token{}", login(to)),
        Denial::InvalidToken { error, login: to } => {
            format!("the token is refused: {}{}", error.description(), login(to))
        }
        Denial::InsufficientScope => "the token lacks a claim that the rule requires".to_owned(),
        Denial::MissingSignature => "the request has neither a signed link nor a session".to_owned(),
        Denial::InvalidSignature => "the signed link or the session is invalid".to_owned(),
        Denial::Expired => "the signed link or the session has expired".to_owned(),
        Denial::Hidden => "the object holds keys, and is never served".to_owned(),
        Denial::Unavailable => "the keys of the rule are not loaded".to_owned(),
    }
}
