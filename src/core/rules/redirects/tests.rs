use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

/// A viewer with what the name says.
struct Guest;

impl Viewer for Guest {
    fn country(&self) -> Option<Cow<'_, str>> {
        Some("CN".into())
    }
    fn language(&self) -> Option<Cow<'_, str>> {
        Some("zh-CN, en;q=0.5".into())
    }
    fn has_cookie(&self, name: &str) -> bool {
        name == "beta"
    }
    fn has_role(&self, role: &str) -> bool {
        role == "admin"
    }
}

fn find<'r>(redirects: &'r Redirects, url: &str) -> Option<Match<'r>> {
    let (host, path) = match url.strip_prefix("https://") {
        Some(rest) => rest.split_at(rest.find('/').expect("expected a path")),
        None => ("www.example.com", url),
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    redirects.find(&Lookup { host: &|| host.into(), path, query, viewer: &Guest })
}

fn effect(rules: &str, url: &str) -> Option<String> {
    let (redirects, _) = Redirects::parse(rules);
    Some(match find(&redirects, url)?.effect {
        Effect::Redirect { status, location } => format!("{status} {location}"),
        Effect::Rewrite { path } => format!("200 {path}"),
        Effect::Respond { status, path } => format!("{status} {path}"),
    })
}

#[test]
fn a_matching_rule_redirects_rewrites_or_responds() {
    for (rules, url, expected) in [
        ("/a /b", "/a", Some("302 /b")),
        ("/a /b", "/a/", None),
        ("/a%20b /c", "/a b", Some("302 /c")),
        ("/a /日?q=é#ü", "/a", Some("302 /%E6%97%A5?q=%C3%A9#%C3%BC")),
        ("/a /%7e%2F%zz", "/a", Some("302 /%7e%2F%25zz")),
        ("/a https://B.com", "/a", Some("302 https://b.com/")),
        ("/a https://b.com?x#y", "/a", Some("302 https://b.com/?x#y")),
        ("/a /b 200", "/a", Some("200 /b")),
        ("/a /b%20c 200", "/a", Some("200 /b c")),
        ("/a/* /404.html 404", "/a/x", Some("404 /404.html")),
        ("/a/* /b/:splat 200", "/a/x y/日", Some("200 /b/x y/日")),
        ("/a/* /b/:splat", "/a/x y/日", Some("302 /b/x%20y/%E6%97%A5")),
        ("/a/* /b?x=:splat&y=1#:splat", "/a/1&2=3#4+5/6", Some("302 /b?x=1%262%3D3%234%2B5/6&y=1#1&2=3%234+5/6")),
        ("/a/:x/:y /b/:y-:x.html", "/a/1/2", Some("302 /b/2-1.html")),
        ("/a/:x /b/:xy", "/a/1", Some("302 /b/:xy")),
        ("/a /1\n/a /2", "/a", Some("302 /1")),
        ("/:x /b/1\n/a /2", "/a", Some("302 /b/1")),
        ("/a /1 Country=us\n/* /2 Country=cn\n/a /3", "/a", Some("302 /2")),
        ("https://a.com/* https://b.com/:splat 301", "https://A.com:8080/x", Some("301 https://b.com/x")),
        ("https://a.com/* https://b.com/:splat 301", "/x", None),
    ] {
        assert_eq!(effect(rules, url).as_deref(), expected, "{rules} {url}");
    }
}

#[test]
fn the_query_is_passed_on_if_the_target_has_none() {
    for (rules, url, expected) in [
        ("/a /b", "/a?x=1&y=%20<", "302 /b?x=1&y=%20%3C"),
        ("/a /b#c", "/a?x=1", "302 /b?x=1#c"),
        ("/a /b?y=2", "/a?x=1", "302 /b?y=2"),
        ("/a /b?", "/a?x=1", "302 /b"),
        ("/a /b 200", "/a?x=1", "200 /b"),
        ("/blog post=:id /blog/:id", "/blog?post=1%2f2+3", "302 /blog/1%2F2%203?post=1%2f2+3"),
        ("/blog post=:id /blog/:id?", "/blog?post=1", "302 /blog/1"),
        ("/blog post=:id /x?id=:id", "/blog?post=a%26b", "302 /x?id=a%26b"),
        ("/blog post=:id /posts/:id.html 200", "/blog?post=1", "200 /posts/1.html"),
    ] {
        assert_eq!(effect(rules, url).as_deref(), Some(expected), "{rules} {url}");
    }
}

#[test]
fn a_capture_changes_neither_the_host_nor_the_folder() {
    for (rules, url, expected) in [
        ("/go/* https://x.com/:splat", "/go//evil.com", Some("302 https://x.com//evil.com")),
        ("/go/* https://x.com/:splat", "/go/@evil.com", Some("302 https://x.com/@evil.com")),
        ("/go/* /:splat", "/go//evil.com", Some("302 /evil.com")),
        ("/go/* /:splat", "/go/\\evil.com", Some("302 /%5Cevil.com")),
        ("/go/* /:splat", "/go/\t/evil.com", Some("302 /%09/evil.com")),
        ("/go/* //:splat", "/go/evil.com", Some("302 /evil.com")),
        ("/go/* /\\:splat", "/go/evil.com", Some("302 /%5Cevil.com")),
        ("/go ///evil.com/x", "/go", Some("302 /evil.com/x")),
        ("/go/* /:splat 200", "/go//x", Some("200 /x")),
        ("/go/* /a/:splat", "/go/x\r\nset-cookie: y", Some("302 /a/x%0D%0Aset-cookie:%20y")),
        ("/go/* /a/:splat", "/go/../x", None),
        ("/go/* /a/:splat", "/go/x/..", None),
        ("/go/* /a/.:splat", "/go/.", None),
        ("/go/* /a/:splat 200", "/go/../x", None),
        ("/blog post=:id /posts/:id 200", "/blog?post=..%2fx", None),
        ("/blog post=:id /posts/:id 200", "/blog?post=x%2fy", None),
        ("/blog post=:id /posts/:id 200", "/blog?post=..", None),
        ("/blog post=:id /posts/:id", "/blog?post=..", None),
    ] {
        assert_eq!(effect(rules, url).as_deref(), expected, "{rules} {url:?}");
    }
}

#[test]
fn a_redirect_to_the_requested_url_does_not_match() {
    for (rules, url, expected) in [
        ("/* https://www.example.com/:splat", "/a b", None),
        ("/* https://www.example.com/:splat", "https://example.com/a?x=1", Some("302 https://www.example.com/a?x=1")),
        ("/:x /a Country=cn\n/:y /b/next", "/a", Some("302 /b/next")),
    ] {
        assert_eq!(effect(rules, url).as_deref(), expected, "{rules} {url}");
    }
}

/// The lines with problems.
fn problems(rules: &str) -> Vec<String> {
    Redirects::parse(rules).1.iter().map(ToString::to_string).collect()
}

#[test]
fn a_rule_that_closes_a_loop_is_left_out() {
    for (rules, expected) in [
        ("/a /b\n/b /a", vec!["line 2: `/b /a`: the rule and line 1 redirect to each other for ever"]),
        ("/b /c\n/a /b\n/c /a\n/d /a", vec!["line 3: `/c /a`: the rule and lines 1, 2 redirect to each other"]),
        ("/* /index.html 302", vec!["line 1: `/* /index.html 302`: the rule matches its own target"]),
        ("/a/* /a/b/:splat", vec!["line 1: `/a/* /a/b/:splat`: the rule matches its own target"]),
        ("/a /a", vec!["line 1: `/a /a`: the rule matches its own target"]),
        ("/a /a?x=1", vec!["line 1: `/a /a?x=1`: the rule matches its own target"]),
        ("/r/:a/:b/:c /r/:b/:c/:a", vec!["line 1: `/r/:a/:b/:c /r/:b/:c/:a`: the rule matches its own target"]),
        ("/a/* /b/:splat\n/b/* /a/:splat", vec!["line 2: `/b/* /a/:splat`: the rule and line 1"]),
        (
            "http://a.com/* https://a.com/:splat",
            vec!["line 1: `http://a.com/* https://a.com/:splat`: the rule matches"],
        ),
        (
            "https://a.com/x https://a.com/y\nhttps://a.com/y /x",
            vec!["line 2: `https://a.com/y /x`: the rule and line 1"],
        ),
        ("https://a.com/b /c 200\nhttps://a.com/x /a\n/a /b\n/b /a", vec!["line 4: `/b /a`: the rule and line 3"]),
        ("/* /x/:splat Country=cn\n/a /b\n/b /a", vec!["line 3: `/b /a`: the rule and line 2"]),
    ] {
        let found = problems(rules);
        assert_eq!(found.len(), expected.len(), "{rules}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
        assert_eq!(Redirects::parse(rules).0.len(), rules.lines().count() - 1);
    }
}

#[test]
fn rules_that_can_end_are_no_loop() {
    for rules in [
        "/* /index.html 200",
        "/* https://b.com/:splat",
        "/a /b Country=cn\n/b /a Country=us",
        "/a id=1 /b?id=2\n/b id=2 /a?id=3",
        "/a/* /b/:splat\n/b/x /a/y 200",
        "/a /b\n/b /a 200",
        "/a/:x/* /a/:splat",
        "/a/b/* /a/b/:splat 200\n/a/* /a/b/:splat",
        "https://a.com/* https://b.com/:splat\nhttps://b.com/x https://a.com/x",
        "/old/* /new/:splat 301\n/new/x /other",
    ] {
        assert_eq!(problems(rules), Vec::<String>::new(), "{rules}");
    }
    let chain: String = (0..3_000).map(|n| format!("/{n} /{}\n", n + 1)).collect();
    assert_eq!(problems(&chain), Vec::<String>::new());
}

#[test]
fn a_rule_that_no_request_reaches_is_reported() {
    for (rules, line) in [
        ("/a /b\n/a /c", Some(2)),
        ("/:x /b/c\n/:y /c/d", Some(2)),
        ("/a /b\nhttps://a.com/a /c", Some(2)),
        ("https://a.com/a /b\n/a /c", None),
        ("/a /b Country=cn\n/a /c", None),
        ("/a /b Country=cn\n/a /c Country=cn", Some(2)),
        ("/a x=1 /b\n/a x=1 y=2 /c", Some(2)),
        ("/a x=:x /b\n/a x=1 /c", Some(2)),
        ("/a x=1 /b\n/a x=:x /c", None),
        ("/a/* /b\n/a/b/* /c", Some(2)),
        ("/a/* /b\n/a/:x/y /c", Some(2)),
        ("/a/* /b\n/:x/y /c", None),
        ("/a/* /b\n/a /c", None),
        ("/* /b 200\n/x /c", Some(2)),
        ("http://a.com/* https://b.com/1\nhttps://a.com/* https://b.com/2", Some(2)),
    ] {
        let (redirects, problems) = Redirects::parse(rules);
        assert_eq!(problems.first().map(|problem| problem.line), line, "{rules}");
        assert_eq!(redirects.len(), 2, "the rule stays in the list");
    }
}

#[test]
fn the_used_facts_are_known() {
    let uses = |rules| Redirects::parse(rules).0.uses();
    assert_eq!(uses("/a /b"), Uses::default());
    assert_eq!(uses("/a /b Country=cn"), Uses { countries: true, ..Uses::default() });
    assert_eq!(uses("https://a.com/a /b Cookie=x"), Uses { cookies: true, hosts: true, ..Uses::default() });
    assert_eq!(uses("/a /b Role=x Language=zh"), Uses { roles: true, languages: true, ..Uses::default() });
}

/// Rules of unusual parts.
fn rules() -> impl Strategy<Value = String> {
    let path = "/([ab日:*/x.-]|:p|:q|%20|//){0,6}";
    let target =
        prop_oneof![4 => "/([ab/]|:p|:q|:splat|\\\\|%5c|%2e|\\?|#){0,6}", 1 => "https://b\\.com/(:p|:q|:splat|/){0,3}"];
    let tail =
        prop_oneof![Just(""), Just(" 301!"), Just(" 200"), Just(" 404"), Just(" Country=cn"), Just(" Country=us")];
    let from = (prop_oneof![5 => Just(""), 1 => Just("https://www.example.com"), 1 => Just("https://:q.com")], path);
    let query = prop_oneof![5 => Just(""), 1 => Just("k=:q "), 1 => Just("k=1 ")];
    let rule = (from, query, target, tail)
        .prop_map(|((host, path), query, to, tail)| format!("{host}{path} {query}{to}{tail}"));
    prop::collection::vec(rule, 0..12).prop_map(|rules| rules.join("\n"))
}

proptest! {
    #[test]
    fn any_text_is_read_and_every_line_counts(text in "([/#: a-c*\n\t\r!=?]|301|(?s:.)){0,80}") {
        let (redirects, problems) = Redirects::parse(&text);
        for (index, line) in text.split('\n').enumerate() {
            let line = line.trim_matches(|character: char| character.is_whitespace() || character == '\u{feff}');
            let is_rule = !line.is_empty() && !line.starts_with('#');
            let is_known = redirects.rules().iter().any(|rule| rule.line == index + 1)
                || problems.iter().any(|problem| problem.line == index + 1);
            prop_assert_eq!(is_known, is_rule, "line {}: {:?}", index + 1, line);
        }
        for problem in problems {
            prop_assert!(!problem.to_string().contains('\n') && !problem.reason.is_empty() && !problem.fix.is_empty());
        }
    }

    #[test]
    fn the_index_finds_the_rule_of_a_scan(rules in rules(), path in "/[ab日:*/x. -]{0,8}", query in "(k=[1/.]{1,2})?") {
        let (redirects, _) = Redirects::parse(&rules);
        let lookup = Lookup { host: &|| "www.example.com".into(), path: &path, query: &query, viewer: &Guest };
        let by_scan = redirects.rules().iter().find_map(|rule| {
            match rule.effect(&lookup, &path, || "www.example.com")? {
                Found::Effect(effect) => Some(Match { rule, effect }),
                Found::Itself => None,
            }
        });
        prop_assert_eq!(redirects.find(&lookup), by_scan);
    }

    #[test]
    fn a_location_is_visible_and_has_the_targets_host(rules in rules(), path in "/((?s:.)|/|\\.){0,8}", query in "(?s:.){0,8}") {
        let (redirects, _) = Redirects::parse(&rules);
        let lookup = Lookup { host: &|| "www.example.com".into(), path: &path, query: &query, viewer: &Guest };
        match redirects.find(&lookup) {
            Some(Match { rule, effect: Effect::Redirect { location, .. } }) => {
                prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{}", location);
                let is_same_site = location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/\\");
                prop_assert_eq!(is_same_site, rule.to.starts_with('/'), "{}", location);
                prop_assert!(is_same_site || location.starts_with("https://b.com/"), "{}", location);
                let path = location.split(['?', '#']).next().unwrap_or_default();
                prop_assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{}", location);
            }
            Some(Match { effect: Effect::Rewrite { path } | Effect::Respond { path, .. }, .. }) => {
                prop_assert!(path.starts_with('/') && !path.starts_with("//"));
                prop_assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{}", path);
            }
            None => {}
        }
    }
}
