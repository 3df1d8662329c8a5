//! Import of the routing rules of an S3 website
//! ([RoutingRules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-page-redirect.html)), as JSON or XML.
//!
//! S3 applies rules without an error code before it looks for the object, and those with one after it found none. So a rule
//! without an error code is forced, and the forced rules come first.

use serde_json::Value;

use crate::rules::line_problem::{Checked, Fault, Problems, part};
use crate::rules::line_reader::FILE_BYTES_MAX;
use crate::rules::path_pattern::SPLAT;
use crate::rules::redirects::condition::Conditions;
use crate::rules::redirects::parse::RULES_MAX;
use crate::rules::redirects::query::QueryPattern;
use crate::rules::redirects::rule::{Rule, Target};
use crate::rules::redirects::target::{Address, Unknown};
use crate::rules::redirects::xml::{self, Element};
use crate::rules::url_pattern::UrlPattern;

/// A routing rule as names and values, without its groups.
struct RoutingRule {
    /// The rule for problems.
    text: String,
    members: Vec<(String, String)>,
}

/// The rules, and a text for each position.
pub(super) struct Imported {
    pub(super) rules: Vec<Rule>,
    pub(super) texts: Vec<String>,
}

/// Reads a list of routing rules. The line of a rule is its position.
pub(super) fn rules(text: &str, problems: &mut Problems) -> Result<Imported, String> {
    if text.len() > FILE_BYTES_MAX {
        return Err(format!("expected at most {FILE_BYTES_MAX} bytes, found {}", text.len()));
    }
    let listed = if text.trim_start().starts_with(['\u{feff}', '<']) { of_xml(text)? } else { of_json(text)? };
    let mut rules = Vec::with_capacity(listed.len());
    for (routing_rule, position) in listed.iter().zip(1..) {
        let fault = match rule(routing_rule, position) {
            Ok(_) if position > RULES_MAX => Fault::new(format!("expected at most {RULES_MAX} rules"), "remove some"),
            Ok(rule) => {
                rules.push(rule);
                continue;
            }
            Err(fault) => fault,
        };
        problems.reject(position, &routing_rule.text, fault);
    }
    rules.sort_by_key(|rule: &Rule| !rule.forced);
    Ok(Imported { rules, texts: listed.into_iter().map(|rule| rule.text).collect() })
}

fn of_json(text: &str) -> Result<Vec<RoutingRule>, String> {
    let expected = "expected the array RoutingRules as JSON, or the element RoutingRules as XML";
    let value: Value = serde_json::from_str(text).map_err(|error| format!("{expected}: {error}"))?;
    let list = match &value {
        Value::Array(list) => list,
        Value::Object(members) => members.get("RoutingRules").and_then(Value::as_array).ok_or(expected)?,
        _ => return Err(expected.to_owned()),
    };
    Ok(list.iter().map(|rule| RoutingRule { text: rule.to_string(), members: members_of_json(rule) }).collect())
}

/// The names and values of an object and of its groups.
fn members_of_json(rule: &Value) -> Vec<(String, String)> {
    let mut members = Vec::new();
    for (name, value) in rule.as_object().into_iter().flatten() {
        match value {
            Value::String(value) => members.push((name.clone(), value.clone())),
            // The names of CloudFormation come last.
            Value::Object(_) if is_group(name) => members.extend(members_of_json(value)),
            other => members.push((name.clone(), other.to_string())),
        }
    }
    members
}

fn of_xml(text: &str) -> Result<Vec<RoutingRule>, String> {
    let root = xml::parse(text)?;
    let list = root.find("RoutingRules").ok_or("expected the element RoutingRules")?;
    let rule = |element: &Element| {
        let mut members = Vec::new();
        for child in &element.children {
            match is_group(&child.name) {
                true => members.extend(child.children.iter().map(|member| (member.name.clone(), member.text.clone()))),
                false => members.push((child.name.clone(), child.text.clone())),
            }
        }
        let texts: Vec<String> = members.iter().map(|(name, value)| format!("{name}={value}")).collect();
        RoutingRule { text: texts.join(" "), members }
    };
    Ok(list.children.iter().map(rule).collect())
}

fn is_group(name: &str) -> bool {
    matches!(name, "Condition" | "Redirect" | "RoutingRuleCondition" | "RedirectRule")
}

fn rule(routing_rule: &RoutingRule, position: usize) -> Checked<Rule> {
    let members = &routing_rule.members;
    for (number, (name, _)) in members.iter().enumerate() {
        let known = [
            "KeyPrefixEquals",
            "HttpErrorCodeReturnedEquals",
            "HostName",
            "Protocol",
            "ReplaceKeyPrefixWith",
            "ReplaceKeyWith",
            "HttpRedirectCode",
        ];
        if !known.contains(&&**name) {
            return Err(Fault::new(format!("the member {} is unknown", part(name)), "remove it"));
        }
        if members.iter().take(number).any(|(other, _)| other == name) {
            return Err(Fault::new(format!("the member {name} occurs twice"), "remove one of them"));
        }
    }
    let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| &**value);
    let forced = match member("HttpErrorCodeReturnedEquals") {
        None => true,
        Some("404" | "403") => false,
        Some(code) => {
            return Err(Fault::new(
                format!("expected the error code 404 or 403, which a missing object has, found {}", part(code)),
                "remove the rule: other errors have no redirects",
            ));
        }
    };
    let status = member("HttpRedirectCode").map_or(Ok(301), str::parse);
    let Ok(status @ (301 | 302 | 303 | 307 | 308)) = status else {
        let reason =
            format!("expected a redirect, found HttpRedirectCode {}", part(member("HttpRedirectCode").unwrap_or("")));
        return Err(Fault::new(reason, "use 301 (default), 302, 303, 307 or 308"));
    };
    let prefix = member("KeyPrefixEquals").unwrap_or_default();
    // Some examples of AWS start the prefix with a slash. No key does.
    let prefix = prefix.strip_prefix('/').unwrap_or(prefix);
    let to = target(&member, prefix)?;
    let pattern = UrlPattern::of_prefix(prefix);
    let target = Target::Address(Address::parse(&to, &[SPLAT.into()], &mut Unknown::new())?);
    Ok(Rule {
        line: position,
        from: format!("/{prefix}*").into(),
        to: to.into(),
        status,
        forced,
        pattern,
        query: QueryPattern::default(),
        conditions: Conditions::default(),
        target,
    })
}

/// The target as a line of `_redirects` would have it.
fn target<'r>(member: &impl Fn(&str) -> Option<&'r str>, prefix: &str) -> Checked<String> {
    let origin = match (member("HostName"), member("Protocol")) {
        (Some(host), None | Some("https")) => format!("https://{host}"),
        (Some(host), Some("http")) => format!("http://{host}"),
        (None, None) => String::new(),
        (_, Some(protocol @ ("http" | "https"))) => {
            let reason = format!("the protocol {protocol} needs a HostName");
            return Err(Fault::new(reason, "add HostName; redirect http to https in CloudFront"));
        }
        (_, Some(protocol)) => {
            return Err(Fault::new(format!("expected http or https, found {}", part(protocol)), "use https"));
        }
    };
    // A colon would start a placeholder.
    let written = |key: &str| key.strip_prefix('/').unwrap_or(key).replace(':', "%3A");
    match (member("ReplaceKeyPrefixWith"), member("ReplaceKeyWith")) {
        (Some(_), Some(_)) => {
            Err(Fault::new("ReplaceKeyPrefixWith and ReplaceKeyWith exclude each other", "remove one of them"))
        }
        (Some(start), None) => Ok(format!("{origin}/{}:splat", written(start))),
        (None, Some(key)) => Ok(format!("{origin}/{}", written(key))),
        (None, None) if origin.is_empty() => {
            Err(Fault::new("the rule changes nothing", "add HostName, ReplaceKeyPrefixWith or ReplaceKeyWith"))
        }
        (None, None) => Ok(format!("{origin}/{}:splat", encoded(prefix))),
    }
}

/// A prefix in a target: `#` and `?` are characters of the key.
fn encoded(prefix: &str) -> String {
    prefix.replace('%', "%25").replace('#', "%23").replace('?', "%3F").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use crate::rules::redirects::Redirects;

    fn import(text: &str) -> (Vec<String>, Vec<String>) {
        let (redirects, problems) = Redirects::of_s3_routing_rules(text).expect("expected routing rules");
        let rules = redirects.rules().iter().map(|rule| {
            let forced = if rule.forced { "!" } else { "" };
            format!("{}: {} {} {}{forced}", rule.line, rule.from, rule.to, rule.status)
        });
        (rules.collect(), problems.iter().map(ToString::to_string).collect())
    }

    const EXAMPLES: &str = r##"[
        {"Condition": {"HttpErrorCodeReturnedEquals": "404"}, "Redirect": {"HostName": "ec2-11-22-333-44.compute-1.amazonaws.com", "ReplaceKeyPrefixWith": "report-404/"}},
        {"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "documents/"}},
        {"Condition": {"KeyPrefixEquals": "images/"}, "Redirect": {"ReplaceKeyWith": "folderdeleted.html", "HttpRedirectCode": "302"}},
        {"RoutingRuleCondition": {"KeyPrefixEquals": "/x"}, "RedirectRule": {"HostName": "b.com", "Protocol": "http"}},
        {"Condition": {"HttpErrorCodeReturnedEquals": "403", "KeyPrefixEquals": ""}, "Redirect": {"ReplaceKeyPrefixWith": "#!/"}}
    ]"##;

    #[test]
    fn rules_without_an_error_code_are_forced_and_first() {
        let expected = [
            "2: /docs/* /documents/:splat 301!",
            "3: /images/* /folderdeleted.html 302!",
            "4: /x* http://b.com/x:splat 301!",
            "1: /* https://ec2-11-22-333-44.compute-1.amazonaws.com/report-404/:splat 301",
            "5: /* /#!/:splat 301",
        ];
        let (rules, problems) = import(EXAMPLES);
        assert_eq!(rules, expected);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("line 5: ") && problems[0].contains("line 1 matches all of its requests"));
    }

    #[test]
    fn a_rule_for_missing_objects_may_match_its_target() {
        let of = |condition| format!(r#"[{{{condition}"Redirect": {{"ReplaceKeyWith": "error.html"}}}}]"#);
        let (rules, problems) = import(&of(r#""Condition": {"HttpErrorCodeReturnedEquals": "404"}, "#));
        assert_eq!((rules, problems), (vec!["1: /* /error.html 301".to_owned()], vec![]));
        assert_eq!(import(&of("")).0, Vec::<String>::new(), "without the object it redirects for ever");
    }

    #[test]
    fn xml_gives_the_same_rules_as_json() {
        let xml = "<?xml version=\"1.0\"?><WebsiteConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">
            <IndexDocument><Suffix>index.html</Suffix></IndexDocument>
            <RoutingRules>
              <RoutingRule><Condition><KeyPrefixEquals>docs/</KeyPrefixEquals></Condition>
                <Redirect><ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith></Redirect></RoutingRule>
              <RoutingRule><Redirect><HostName>b.com</HostName></Redirect></RoutingRule>
            </RoutingRules></WebsiteConfiguration>";
        let expected = ["1: /docs/* /documents/:splat 301!", "2: /* https://b.com/:splat 301!"];
        assert_eq!(import(xml), (expected.map(str::to_owned).to_vec(), vec![]));
    }

    #[test]
    fn a_bad_rule_has_a_reason_and_the_others_stay() {
        for (rule, reason) in [
            (r#"{}"#, "the rule changes nothing"),
            (r#"{"Redirect": {"HttpRedirectCode": "302"}}"#, "the rule changes nothing"),
            (r#"{"Redirect": {"Protocol": "https"}}"#, "the protocol https needs a HostName"),
            (r#"{"Redirect": {"HostName": "b.com", "Protocol": "ftp"}}"#, "expected http or https, found ftp"),
            (
                r#"{"Redirect": {"HostName": "b.com", "HttpRedirectCode": "304"}}"#,
                "expected a redirect, found HttpRedirectCode 304",
            ),
            (
                r#"{"Redirect": {"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}}"#,
                "ReplaceKeyPrefixWith and ReplaceKeyWith",
            ),
            (r#"{"Redirect": {"ReplaceKeyWith": "a", "Host": "b"}}"#, "the member Host is unknown"),
            (
                r#"{"Condition": {"HttpErrorCodeReturnedEquals": "500"}, "Redirect": {"ReplaceKeyWith": "a"}}"#,
                "expected the error code",
            ),
            (r#"{"Redirect": {"HostName": "a.com@b.com"}}"#, "expected a fixed host name in the target"),
            (r#"{"Redirect": {"ReplaceKeyWith": "a"}}"#, "the rule matches its own target"),
        ] {
            let (rules, problems) = import(&format!(r#"[{rule}, {{"Redirect": {{"HostName": "c.com"}}}}]"#));
            assert_eq!(rules, ["2: /* https://c.com/:splat 301!"], "{rule}");
            assert!(problems[0].starts_with("line 1: ") && problems[0].contains(reason), "{problems:?}");
        }
        for text in [&*" ".repeat(1 << 21), "", "[", "{}", "1", "<A/>", "<RoutingRules>"] {
            assert!(Redirects::of_s3_routing_rules(text).is_err(), "{text}");
        }
    }
}
