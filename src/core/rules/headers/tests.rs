use proptest::prelude::*;

use super::*;

/// The changes for a URL, one in each line.
fn fields(rules: &str, url: &str, origin: Option<&str>) -> String {
    let (headers, _) = Headers::parse(rules);
    let (host, path) = match url.strip_prefix("https://") {
        Some(rest) => rest.split_at(rest.find('/').expect("expected a path")),
        None => ("www.example.com", url),
    };
    let texts = headers.fields(&|| host.into(), path, origin).into_iter().map(|Field { name, change }| match change {
        FieldChange::Set(value) => format!("{name}: {value}"),
        FieldChange::Append(value) => format!("{name}+ {value}"),
        FieldChange::Remove => format!("! {name}"),
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn all_matching_rules_apply_in_their_order() {
    for (rules, url, expected) in [
        ("/a\n X: 1", "/a", "x: 1"),
        ("/a\n X: 1", "/b", ""),
        ("/a\n X: 1\n x: 2", "/a", "x: 1, 2"),
        ("/*\n X: 1\n/a\n X: 2\n Y: 3", "/a", "x: 1, 2\ny: 3"),
        ("/a\n X: 2\n/*\n X: 1\n/a\n X: 3", "/a", "x: 2, 1, 3"),
        ("/*\n X: 1\n/a\n ! X", "/a", "! x"),
        ("/*\n X: 1\n/a\n X: 2\n ! X", "/a", "x: 2"),
        ("/*\n ! X\n/a\n X: 2", "/a", "x: 2"),
        ("/:a/*\n X: :a :splat :b", "/1/2/é", "x: 1 2/%C3%A9 :b"),
        ("https://:sub.a.com/*\n X: :sub :splat\n/*\n Y: 1", "https://WWW.a.com/p", "x: www p\ny: 1"),
        ("https://b.com/*\n X: 1", "https://a.com/p", ""),
        ("/*\n Vary: A\n/a\n Vary: B", "/a", "vary+ A, B"),
        ("/a b\n X: #1", "/a b", "x: #1"),
    ] {
        assert_eq!(fields(rules, url, None), expected, "{rules} {url}");
    }
}

#[test]
fn a_list_of_origins_becomes_the_requests_origin() {
    let rules =
        "/*\n Access-Control-Allow-Origin: https://a.com\n/b\n access-control-allow-origin: https://b.com\n Vary: X";
    let from = |path, origin| fields(rules, path, origin);
    assert_eq!(from("/a", Some("https://b.com")), "access-control-allow-origin: https://a.com");
    assert_eq!(from("/b", Some("https://b.com")), "access-control-allow-origin: https://b.com\nvary+ X, Origin");
    assert_eq!(from("/b", Some("https://c.com")), "! access-control-allow-origin\nvary+ X, Origin");
    assert_eq!(from("/b", None), "! access-control-allow-origin\nvary+ X, Origin");
    let rules = "/b\n Access-Control-Allow-Origin: https://a.com *";
    assert_eq!(fields(rules, "/b", Some("https://b.com")), "access-control-allow-origin: *");
}

#[test]
fn the_policy_of_a_path_is_that_of_all_its_rules() {
    let (headers, _) = Headers::parse(
        "/*\n Access-Control-Allow-Origin: *\n/api/*\n ! Access-Control-Allow-Origin\n Access-Control-Allow-Origin: https://a.com\n \
         Access-Control-Max-Age: 60",
    );
    let policy = |path| headers.cors(&|| "h".into(), path);
    assert_eq!(policy("/x").map(|policy| policy.origins), Some("*".into()));
    let api = policy("/api/x").expect("expected a policy");
    assert_eq!((&*api.origins, api.max_age.as_deref()), ("https://a.com", Some("60")));
    assert_eq!(Headers::parse("/*\n X: 1").0.cors(&|| "h".into(), "/x"), None);
}

#[test]
fn a_bad_line_has_a_reason_and_the_others_stay() {
    for (rules, expected) in [
        ("X: 1", vec!["line 1: `X: 1`: the field has no path"]),
        ("/a\n x", vec!["line 2: `x`: expected a path or a field"]),
        ("/a\n !x", vec!["line 2: `!x`: expected a path or a field"]),
        ("/a\n ! x: 1", vec!["line 2: `! x: 1`: expected the name of a field, found x: 1"]),
        ("/a\n : 1", vec!["line 2: `: 1`: expected the name of a field, found "]),
        ("/a\n x:", vec!["line 2: `x:`: the field has no value"]),
        ("/a\n x: é", vec!["line 2: `x: é`: expected visible ASCII characters, found é"]),
        ("/a\n Set-Cookie: a=b", vec!["line 2: `Set-Cookie: a=b`: the field set-cookie identifies visitors"]),
        ("/a\n! vary", vec!["line 2: `! vary`: the field vary tells caches"]),
        ("/a/*/*\n x: 1\n y: 2", vec!["line 1: `/a/*/*`: expected at most one *"]),
        ("/a\n/b\u{7f}\n x: 1", vec![r"line 2: `/b\u{7f}`: found the control character"]),
        ("https://a.com:80/\n x: 1", vec!["line 1: `https://a.com:80/`: expected a host name without port"]),
    ] {
        let (headers, problems) = Headers::parse(&format!("{rules}\n/ok\n z: 1"));
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let has_empty = problems.iter().any(|problem| problem.contains("`/a`: the path has no fields"));
        assert_eq!(problems.len(), expected.len() + usize::from(has_empty), "{problems:?}");
        for expected in expected {
            assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:?}");
        }
        assert_eq!(headers.rules().iter().map(|rule| &*rule.path).collect::<Vec<_>>(), ["/ok"]);
    }
}

#[test]
fn parts_that_browsers_ignore_are_warnings() {
    for (value, reason) in [
        ("Access-Control-Allow-Origin: https://a.com/", "expected an origin"),
        ("Access-Control-Allow-Origin: https://*.a.com", "expected an origin"),
        ("Access-Control-Allow-Origin: *\n Access-Control-Allow-Credentials: true", "browsers refuse credentials"),
        ("Access-Control-Allow-Credentials: True", "expected true"),
        ("Access-Control-Max-Age: 1h", "expected seconds"),
    ] {
        let (headers, problems) = Headers::parse(&format!("/a\n {value}"));
        assert_eq!((headers.len(), problems.len()), (1, 1));
        assert!(problems[0].reason.starts_with(reason) && problems[0].line == 1, "{problems:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_and_every_line_counts(text in "([/#: a-c*\n\t!]|x: 1\n|\n/|(?s:.)){0,60}") {
        let (headers, problems) = Headers::parse(&text);
        // The problem of an invalid path covers the fields below it.
        let mut is_covered = false;
        let mut used = 0;
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim_matches(|character: char| character.is_whitespace() || character == '\u{feff}');
            let has_problem = problems.iter().any(|problem| problem.line == index + 1);
            if line.is_empty() || line.starts_with('#') {
                prop_assert!(!has_problem);
            } else if ["/", "https://", "http://"].iter().any(|start| line.starts_with(start)) {
                let is_rule = headers.rules().iter().any(|rule| rule.line == index + 1);
                is_covered = has_problem && !is_rule;
                prop_assert!(is_rule || has_problem, "line {}: {:?}", index + 1, line);
            } else if !has_problem && !is_covered {
                used += 1;
            }
        }
        let fields: usize = headers.rules().iter().map(|rule| rule.removed.len() + rule.set.len()).sum();
        prop_assert!(fields <= used && (used == 0) == (fields == 0), "{} {}", fields, used);
    }

    #[test]
    fn the_index_finds_the_rules_of_a_scan(
        paths in prop::collection::vec("(|https://www\\.example\\.com|https://:q\\.com)/([ab*/x.-]|:p|:q){0,6}", 0..12),
        path in "/[ab*/x.-]{0,8}",
    ) {
        let text: String = paths.iter().map(|path| format!("{path}\n x: :p :q :splat\n")).collect();
        let (headers, _) = Headers::parse(&text);
        let by_scan: Vec<usize> = headers
            .rules()
            .iter()
            .filter(|rule| rule.pattern.matches(|| "www.example.com", &path, &mut Captures::new()))
            .map(|rule| rule.line)
            .collect();
        let found = headers.find(&|| "www.example.com".into(), &path);
        prop_assert_eq!(found.iter().map(|rule| rule.line).collect::<Vec<_>>(), by_scan);
    }

    #[test]
    fn values_are_visible_and_names_occur_once(
        values in prop::collection::vec("[:a-c*p;, ]{1,5}", 1..8),
        path in "/(?s:.){0,8}",
        origin in prop::option::of("https://(?s:.){0,4}"),
    ) {
        let text: String =
            values.iter().map(|value| format!("/*\n x: {value}:splat\n access-control-allow-origin: {value}\n vary: a\n")).collect();
        let (headers, _) = Headers::parse(&text);
        let fields = headers.fields(&|| "h".into(), &path, origin.as_deref());
        for (position, field) in fields.iter().enumerate() {
            prop_assert!(fields.iter().take(position).all(|other| other.name != field.name));
            if let FieldChange::Set(value) | FieldChange::Append(value) = &field.change {
                prop_assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')), "{:?}", value);
            }
        }
    }
}
