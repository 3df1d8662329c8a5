//! access.json: parsed and checked as a whole. A file with an error is refused as a whole.

use std::collections::HashMap;

use crate::access::jwt::TokenRule;
use crate::access::login::Login;
use crate::access::path::PathPattern;
use crate::access::rules::{AccessRules, Rule, RuleKind, Versions};
use crate::access::signed_url::LinkRule;
use crate::access::{member, strict};
use crate::experiment::value::Value;
use crate::problem::{Problem, Problems, Severity};

/// The largest file, in bytes.
pub const BYTES_MAX: usize = 256 * 1024;

/// The most rules of a file.
pub const RULES_MAX: usize = 1_000;

/// The deepest file. The deepest part is a JWK Set with certificates and unknown members.
const DEPTH_MAX: usize = 16;

const MEMBERS: [&str; 6] = ["path", "jwt", "signed_url", "open", "login", "cache"];

impl AccessRules {
    /// Parses access.json. Returns the rules with warnings.
    ///
    /// `file` is the key of the file in the bucket: it holds keys, so it is never served. Neither are JWK Sets.
    ///
    /// # Errors
    /// With all problems, errors first, if the file has an error.
    pub fn parse(text: &str, file: Option<&str>) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        if text.len() > BYTES_MAX {
            let reason = format!("the file has {} bytes, more than {BYTES_MAX}", text.len());
            return Err(vec![Problem::at(0, 0, reason, "guard folders instead of single objects")]);
        }
        let json = strict::parse(text.as_bytes(), DEPTH_MAX).map_err(|error| vec![Problem::of_syntax(&error)])?;
        let mut problems = Problems::default();
        let mut rules = read_rules(&json, &mut problems);
        hide_keys(file, &mut rules, &mut problems);
        let rules = Self::new(rules);
        warn_of_guarded_logins(&rules, &mut problems);
        let problems = problems.into_located(text);
        match problems.first() {
            Some(Problem { severity: Severity::Error, .. }) => Err(problems),
            _ => Ok((rules, problems)),
        }
    }

    /// The same rules with the keys of an object that [`AccessRules::jwks_objects`] names.
    ///
    /// # Errors
    /// With all problems of the JWK Set, if one of the rules cannot use it.
    pub fn with_jwks(&self, name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        if text.len() > BYTES_MAX {
            let reason = format!("the JWK Set has {} bytes, more than {BYTES_MAX}", text.len());
            return Err(vec![Problem::at(0, 0, reason, "remove retired keys")]);
        }
        let mut rules = self.rules.clone();
        for rule in &mut rules {
            if let RuleKind::Token(token) = &mut rule.kind
                && token.jwks() == Some(name)
            {
                **token = token.with_keys(text)?;
            }
        }
        Ok(Self::new(rules))
    }
}

fn read_rules(json: &Value, problems: &mut Problems) -> Vec<Rule> {
    if !member::require_object(json, problems) {
        return Vec::new();
    }
    member::reject_unknown(json, &["rules"], problems);
    member::require(json, "rules", "write {\"rules\": [{\"path\": …}]}", problems);
    problems.enter("rules");
    let list = json.get("rules").and_then(Value::as_list);
    if list.is_none() && json.get("rules").is_some() {
        problems.reject("expected a list", "write {\"rules\": [{\"path\": …}]}");
    }
    let list = list.unwrap_or_default();
    if list.len() > RULES_MAX {
        let reason = format!("the file has {} rules, more than {RULES_MAX}", list.len());
        problems.reject(reason, "guard folders instead of single objects");
    }
    let mut rules: Vec<Rule> = Vec::new();
    let mut paths: HashMap<&str, usize> = HashMap::new();
    for (position, json) in list.iter().take(RULES_MAX).enumerate() {
        problems.enter_element(position);
        rules.extend(read_rule(json, position, problems));
        if let Some(path) = json.get("path").and_then(Value::as_str)
            && let Some(first) = paths.insert(path, position)
        {
            let reason = format!("rules[{first}] has the same path {path:?}");
            problems.reject(reason, "write one rule for each path");
        }
        problems.leave();
    }
    problems.leave();
    rules
}

fn read_rule(json: &Value, position: usize, problems: &mut Problems) -> Option<Rule> {
    member::require_object(json, problems).then_some(())?;
    member::reject_unknown(json, &MEMBERS, problems);
    member::require(json, "path", "write the path of an object or a folder, such as /members/*", problems);
    let path = member::at(json, "path", problems, |json, problems| {
        let path = member::text(json, problems)?;
        match PathPattern::parse(path) {
            Ok(pattern) => Some((path, pattern)),
            Err((reason, fix)) => {
                problems.reject(format!("{reason}, found {path:?}"), fix);
                None
            }
        }
    });
    let path = path.flatten();
    let kinds = ["jwt", "signed_url", "open"].into_iter().filter(|kind| json.get(kind).is_some()).count();
    if kinds != 1 {
        problems.reject(format!("expected one of jwt, signed_url and open, found {kinds}"), "write one of them");
    }
    let written = path.as_ref().map_or("", |(path, _)| path);
    let kind = if json.get("jwt").is_some() {
        member::at(json, "jwt", problems, TokenRule::read).flatten().map(|rule| RuleKind::Token(Box::new(rule)))
    } else if json.get("signed_url").is_some() {
        let read = |json: &Value, problems: &mut Problems| LinkRule::read(json, written, problems);
        member::at(json, "signed_url", problems, read).flatten().map(RuleKind::Link)
    } else {
        member::at(json, "open", problems, read_open).flatten()
    };
    let login = member::at(json, "login", problems, |json, problems| {
        if !matches!(kind, None | Some(RuleKind::Token(_))) {
            problems.reject("only a rule with jwt has a login page", "remove the member");
        }
        Login::read(json, problems)
    });
    let cache = member::at(json, "cache", problems, |json, problems| {
        if matches!(kind, Some(RuleKind::Open)) {
            problems.reject("an open rule does not change caching", "remove the member");
        }
        match json.as_str() {
            Some("private") => false,
            Some("no-store") => true,
            _ => {
                problems.reject("expected private or no-store", "write \"private\" or \"no-store\"");
                true
            }
        }
    });
    let (path, pattern) = path?;
    let no_store = cache.unwrap_or_default();
    let (path, login) = (path.into(), login.flatten());
    Some(Rule { path, kind: kind?, no_store, login, position: Some(position), pattern, id: 0 })
}

fn read_open(json: &Value, problems: &mut Problems) -> Option<RuleKind> {
    if *json == Value::Bool(true) {
        return Some(RuleKind::Open);
    }
    problems.reject("expected true", "write \"open\": true, or remove the rule");
    None
}

/// Adds rules that hide the objects with keys.
fn hide_keys(file: Option<&str>, rules: &mut Vec<Rule>, problems: &mut Problems) {
    let token_rule = |rule: &Rule| match &rule.kind {
        RuleKind::Token(token) => token.jwks().map(str::to_owned),
        _ => None,
    };
    let mut names: Vec<String> = rules.iter().filter_map(token_rule).chain(file.map(str::to_owned)).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let path = format!("/{name}");
        let Ok(pattern) = PathPattern::parse(&path) else {
            problems.reject(format!("the key {name:?} is no plain path, and cannot be hidden"), "rename the object");
            continue;
        };
        if let Some(position) = rules.iter().find(|rule| rule.pattern == pattern).and_then(|rule| rule.position) {
            at_rule(position, "path", problems, |problems| {
                problems.reject("the object holds keys and is never served", "remove the rule");
            });
            continue;
        }
        let (path, kind) = (path.into(), RuleKind::Hidden);
        rules.push(Rule { path, kind, no_store: true, login: None, position: None, pattern, id: 0 });
    }
}

/// Warns of login pages that need a token themselves: a client without a token would be redirected for ever.
fn warn_of_guarded_logins(rules: &AccessRules, problems: &mut Problems) {
    for rule in rules.rules() {
        let (Some(path), Some(position)) = (rule.login.as_ref().and_then(Login::path), rule.position) else { continue };
        if rules.guards(path.into(), Versions::Listed(&|_| false)).is_empty() {
            continue;
        }
        at_rule(position, "login", problems, |problems| {
            problems.warn(format!("the login page {path} is guarded itself"), "add an open rule for it");
        });
    }
}

/// Records a problem of a member of a rule.
fn at_rule(position: usize, member: &str, problems: &mut Problems, record: impl FnOnce(&mut Problems)) {
    problems.enter("rules");
    problems.enter_element(position);
    problems.enter(member);
    record(problems);
    (0..3).for_each(|_| problems.leave());
}
