//! Parser of the lines of a file of redirects.
//!
//! ```text
//! FROM [NAME=VALUE …] TO [STATUS[!]] [Country=…] [Language=…] [Cookie=…] [Role=…]
//! FROM/* 200[!] …
//! ```

use crate::rules::line_problem::{Checked, Fault, Problems, part};
use crate::rules::line_reader::{Line, is_blank, lines};
use crate::rules::redirects::condition::Conditions;
use crate::rules::redirects::query::QueryPattern;
use crate::rules::redirects::rule::{Rule, Target};
use crate::rules::redirects::target::{Address, ObjectPath, Unknown};
use crate::rules::url_pattern::UrlPattern;

/// The most rules of a file.
pub(super) const RULES_MAX: usize = 10_000;

/// The status of a rule without one. Netlify has 301, which browsers keep for ever.
const STATUS_DEFAULT: u16 = 302;

/// Reads the rules of a file in its order.
pub(super) fn rules(text: &str, problems: &mut Problems) -> Vec<Rule> {
    let mut rules = Vec::new();
    for line in lines(text, problems).into_iter().filter(|line| line.is_usable) {
        if rules.len() == RULES_MAX {
            let reason = format!("expected at most {RULES_MAX} rules");
            let fix = "join rules by * or placeholders; the file is ignored from this line on";
            problems.reject(line.number, line.text, Fault::new(reason, fix));
            break;
        }
        match rule(line, problems) {
            Ok(rule) => rules.push(rule),
            Err(fault) => problems.reject(line.number, line.text, fault),
        }
    }
    rules
}

fn rule(line: Line<'_>, problems: &mut Problems) -> Checked<Rule> {
    let mut tokens: Vec<&str> = line.text.split(is_blank).filter(|token| !token.is_empty()).collect();
    if let Some(comment) = tokens.iter().position(|token| token.starts_with('#')) {
        tokens.truncate(comment);
    }
    let [from, rest @ ..] = &*tokens else { return Err(Fault::new("the line is empty", "remove it")) };
    let pattern = UrlPattern::parse(from)?;
    let Some(next) = rest.first() else {
        return Err(Fault::new("the target is missing", "add a path or a URL, such as /new"));
    };
    let is_target = |token: &&str| ["/", "https://", "http://"].iter().any(|start| token.starts_with(start));
    let (pairs, to, rest) = if is_status(next) {
        (&[][..], None, rest)
    } else if let Some(at) = rest.iter().position(is_target) {
        let (pairs, rest) = rest.split_at(at);
        (pairs, rest.first().copied(), rest.get(1..).unwrap_or_default())
    } else if next.contains('=') {
        return Err(Fault::new("the target is missing", "add a path or a URL behind the query parameters"));
    } else {
        return Err(Fault::new(
            format!("expected a target, found {}", part(next)),
            "start the target with /, https:// or http://",
        ));
    };
    let (status, forced, tests) = match rest {
        [token, tests @ ..] if !token.contains('=') => {
            let (status, forced) = status(token)?;
            (status, forced, tests)
        }
        tests => (STATUS_DEFAULT, false, tests),
    };
    let to = match to {
        Some(to) => to.to_owned(),
        None => implied_target(from, status, rest)?,
    };
    let mut names = pattern.names.to_vec();
    let query = QueryPattern::parse(pairs, &mut names)?;
    let conditions = Conditions::parse(tests)?;
    let mut unknown = Unknown::new();
    let target = match status {
        300..=399 => Target::Address(Address::parse(&to, &names, &mut unknown)?),
        _ => {
            let (object, has_more) = ObjectPath::parse(&to, &names, &mut unknown)?;
            if has_more {
                let reason = "the query string and the fragment of an object's path have no effect";
                problems.warn(line.number, line.text, Fault::new(reason, "remove them, or redirect by 301 or 302"));
            }
            Target::Object(object)
        }
    };
    for name in unknown {
        let reason = format!("the target has {name}, which the rule does not capture: it stays as text");
        let fix = "write the name of a placeholder of this line, or :splat for *; encode a colon as %3A";
        problems.warn(line.number, line.text, Fault::new(reason, fix));
    }
    let (from, to, line) = ((*from).into(), to.into(), line.number);
    Ok(Rule { line, from, to, status, forced, pattern, query, conditions, target })
}

/// Whether a token has the form of a status.
fn is_status(token: &str) -> bool {
    let digits = token.strip_suffix('!').unwrap_or(token);
    digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a status, and whether it ends in `!`.
fn status(token: &str) -> Checked<(u16, bool)> {
    let digits = token.strip_suffix('!').unwrap_or(token);
    let status = digits.parse().ok().filter(|_| is_status(token));
    match status {
        Some(status @ (200 | 301 | 302 | 303 | 307 | 308 | 400..=599)) => Ok((status, digits.len() < token.len())),
        _ => Err(Fault::new(
            format!("expected a status or a condition, found {}", part(token)),
            "use 301, 302 (default), 303, 307, 308, 200, or 400 to 599, perhaps with ! behind it",
        )),
    }
}

/// The target of `/path/* 200`: the requested path itself.
fn implied_target(from: &str, status: u16, rest: &[&str]) -> Checked<String> {
    if let Some(target) = rest.get(1).filter(|token| token.starts_with('/') || token.contains("://")) {
        let reason = format!("the status stands before the target {}", part(target));
        return Err(Fault::new(reason, "write the status behind the target"));
    }
    match from.strip_suffix("/*").filter(|start| status == 200 && start.starts_with('/') || start.is_empty()) {
        Some(start) if status == 200 => Ok(format!("{start}/:splat")),
        _ => Err(Fault::new("the target is missing", "add a path or a URL; only a rule /path/* 200 needs none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Rule>, Vec<String>) {
        let mut problems = Problems::default();
        let rules = rules(text, &mut problems);
        (rules, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_line_has_a_path_a_target_a_status_and_conditions() {
        for (line, from, to, status, forced, conditional) in [
            ("/a /b", "/a", "/b", 302, false, false),
            ("/a /b 301", "/a", "/b", 301, false, false),
            ("/a /b#c 301! # comment", "/a", "/b#c", 301, true, false),
            ("/a\t/b#c #comment", "/a", "/b#c", 302, false, false),
            ("/a /b Country=cn", "/a", "/b", 302, false, true),
            ("/a /b 307! Country=cn Language=zh", "/a", "/b", 307, true, true),
            ("/a id=:id page=/x /b/:id", "/a", "/b/:id", 302, false, true),
            ("/a/* 200!", "/a/*", "/a/:splat", 200, true, false),
            ("/* 200", "/*", "/:splat", 200, false, false),
            ("/a/* /404.html 404", "/a/*", "/404.html", 404, false, false),
            ("http://a.com/* https://b.com/:splat 308!", "http://a.com/*", "https://b.com/:splat", 308, true, false),
        ] {
            let (rules, problems) = read(line);
            assert_eq!(problems, Vec::<String>::new());
            let rule = &rules[0];
            assert_eq!((&*rule.from, &*rule.to, rule.status, rule.forced), (from, to, status, forced), "{line}");
            assert_eq!(rule.is_conditional(), conditional, "{line}");
        }
    }

    #[test]
    fn a_bad_line_has_a_reason_and_the_others_stay() {
        for (line, reason) in [
            ("/a", "the target is missing"),
            ("/a #/b", "the target is missing"),
            ("/a id=:id", "the target is missing"),
            ("/a index.html", "expected a target, found index.html"),
            ("a /b", "expected a path or a URL, found a"),
            ("/a 302", "the target is missing"),
            ("/a/* 404", "the target is missing"),
            ("https://a.com/* 200", "the target is missing"),
            ("/a 302 /b", "the status stands before the target /b"),
            ("/a /b 301abc", "expected a status or a condition, found 301abc"),
            ("/a /b 99999", "expected a status or a condition, found 99999"),
            ("/a /b 301!!", "expected a status or a condition, found 301!!"),
            ("/a /b 304", "expected a status or a condition, found 304"),
            ("/a /b 201", "expected a status or a condition, found 201"),
            ("/a /b 600", "expected a status or a condition, found 600"),
            ("/a /b /c", "expected a status or a condition, found /c"),
            ("/a /b 302 !important", "expected a condition, found !important"),
            ("/a /b Country=us, gb", "expected two-letter countries such as cn,hk, found Country=us,"),
            ("/a https://b.com/ 200", "the object is in the bucket, other hosts are not fetched"),
            ("/a https://b.com/ 404", "the object is in the bucket, other hosts are not fetched"),
            ("/:a https://:a.com/", "expected a fixed host name in the target, found :a.com"),
            ("/* https://a.com:splat", "expected a fixed host name in the target, found a.com:splat"),
            ("/a https://me:x1@b.com/", "expected a fixed host name in the target, found me:x1@b.com"),
            ("/a https://b.com:123456/", "expected a fixed host name in the target, found b.com:123456"),
            ("/a https:///b", "expected a fixed host name in the target, found "),
            ("/a /b/%2E./c", "the target has a segment . or .."),
            ("/a /b/../c 200", "the target has a segment . or .."),
            ("/a /%ff 200", "/%ff is not UTF-8"),
        ] {
            let (rules, problems) = read(&format!("/1 /2\n{line}\n/3 /4"));
            assert_eq!(rules.len(), 2, "{line}");
            assert!(problems[0].starts_with(&format!("line 2: `{line}`: {reason}: ")), "{problems:?}");
            assert_eq!(problems.len(), 1);
        }
    }

    #[test]
    fn parts_without_effect_are_warnings() {
        for (line, reason) in [
            ("/a /b?c 200", "the query string and the fragment of an object's path have no effect"),
            ("/a/* /b/*", "the target has *, which the rule does not capture: it stays as text"),
            ("/a/:b /b/:c", "the target has :c, which the rule does not capture: it stays as text"),
        ] {
            let (rules, problems) = read(line);
            assert_eq!((rules.len(), problems.len()), (1, 1));
            assert!(problems[0].contains(reason), "{problems:?}");
        }
    }

    #[test]
    fn rules_beyond_the_limit_are_reported_once() {
        let (rules, problems) = read(&"/a /b\n".repeat(RULES_MAX + 5));
        assert_eq!((rules.len(), problems.len()), (RULES_MAX, 1));
        assert!(problems[0].starts_with("line 10001: `/a /b`: expected at most 10000 rules"), "{problems:?}");
    }
}
