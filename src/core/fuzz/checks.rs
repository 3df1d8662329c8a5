//! Properties that hold for every input, shared by the fuzz targets (`fuzz/fuzz_targets`) and `tests/fuzz.rs`.

use std::borrow::Cow;
use std::sync::LazyLock;

use nearedge_core::access::check;
use nearedge_core::access::credentials::{CookieValues, Credentials};
use nearedge_core::access::known::KnownTokens;
use nearedge_core::access::query::remove;
use nearedge_core::access::rules::{AccessRules, Target, Versions};
use nearedge_core::access::secret::Secrets;
use nearedge_core::experiment::assign::{Assignment, Experiments, assign};
use nearedge_core::experiment::definition::{Constraints, Definition};
use nearedge_core::experiment::settings::{CookieSettings, ExperimentSettings};
use nearedge_core::http::conditional::{Conditions, Verdict};
use nearedge_core::http::date::http_date;
use nearedge_core::http::range::{ByteRange, IfRange};
use nearedge_core::object::Metadata;
use nearedge_core::request::Request;
use nearedge_core::request::event::parse;
use nearedge_core::request::visit::Visit;
use nearedge_core::response::Outcome;
use nearedge_core::rules::headers::{FieldChange, Headers};
use nearedge_core::rules::html::HtmlHandling;
use nearedge_core::rules::redirects::{Effect, Lookup, Redirects, Viewer};
use nearedge_core::rules::{Action, Active, Instead, LineProblem, Policy, decide};

const SECRET: &str = "swordfish";

fn policy() -> Policy {
    let secrets = Secrets::new(SECRET).expect("expected a valid secret");
    Policy {
        redirect_query: true,
        variant_fallback: true,
        spa_fallback: Some("app.html".to_owned()),
        ..Policy::new(secrets, "https://d1.cloudfront.net")
    }
}

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn object() -> Metadata {
    Metadata { etag: Some("\"tag\"".to_owned()), last_modified: Some(MODIFIED.to_owned()), ..Metadata::default() }
}

/// Any bytes are an event, or an error that does not quote them. Only an event with the secret is accepted.
pub(crate) fn event(bytes: &[u8]) {
    match parse(bytes) {
        Ok(request) => {
            let is_accepted =
                decide(&request, &policy(), Active::default()).action != Action::Respond(Outcome::Forbidden);
            assert_eq!(is_accepted, request.lambda_auth.as_deref() == Some(SECRET));
        }
        Err(error) => assert!(!error.to_string().contains(SECRET)),
    }
}

/// Any Range selects bytes of the object, or none. If-Range matches only the object's own tag or date.
pub(crate) fn range(field: &str, size_bytes: u64) {
    if let Some(selected) = ByteRange::parse(field).and_then(|range| range.select(size_bytes)) {
        assert!(selected.start < selected.end && selected.end <= size_bytes);
    }
    let same_date = http_date(field).is_some() && http_date(field) == http_date(MODIFIED);
    assert_eq!(IfRange::parse(field).matches(&object()), field.trim_ascii() == "\"tag\"" || same_date);
}

/// Any conditional fields have a verdict. If-None-Match with the object's own tag is always "not modified".
pub(crate) fn conditional(field: &str) {
    let object = object();
    let all = Some(field);
    let _ = Conditions { if_match: all, if_none_match: all, if_modified_since: all, if_unmodified_since: all }
        .evaluate(&object, None);
    let own = format!("\"tag\", {field}");
    let own = Conditions { if_none_match: Some(&own), ..Conditions::default() };
    assert_eq!(own.evaluate(&object, None), Verdict::NotModified);
}

/// Any path, variant and query give keys below the variant and a Location that is a safe header value.
pub(crate) fn path(path: &str, variant: &str, query: &str) {
    let request = Request {
        path: path.into(),
        query: query.into(),
        lambda_auth: Some(SECRET.into()),
        test_version: Some(variant.into()),
        ..Request::default()
    };
    let policies = HtmlHandling::ALL.map(|html_handling| Policy { html_handling, ..policy() });
    for policy in policies {
        let Action::Fetch { first, others, .. } = decide(&request, &policy, Active::default()).action else { continue };
        for candidate in std::iter::once(first).chain(others) {
            let is_below = candidate.key.as_str().strip_prefix(variant).is_some_and(|rest| rest.starts_with('/'));
            assert!(is_below || !candidate.of_variant);
            assert!(!candidate.key.as_str().is_empty() && !candidate.key.as_str().ends_with('/'));
            assert!(candidate.key.can_exist());
            if let Some(Instead::Redirect(redirect)) = candidate.instead {
                let location = redirect.location;
                assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
                assert!(location.starts_with('/') && !location[1..].starts_with(['/', '\\']), "{location}");
            }
        }
    }
    let redirected = Request { redirect: Some("true".into()), ..request };
    if let Action::Redirect { location, .. } = decide(&redirected, &policy(), Active::default()).action {
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
        let path = location
            .strip_prefix("https://d1.cloudfront.net/")
            .expect("expected the prefix redirect_path")
            .split('?')
            .next();
        let is_dot_segment = |segment: &str| matches!(segment, "." | "..");
        assert!(!path.unwrap_or_default().split('/').any(is_dot_segment), "expected no dot segment in {location}");
    }
}

/// The definition for [`cookies`].
const DEFINITION: &str = r#"{"features": {"test_version": {"defaultValue": "v1", "rules": [
    {"key": "a b", "variations": ["v1", "v2"], "meta": [{"passthrough": true}, {}], "minBucketVersion": 1, "bucketVersion": 2},
    {"key": "c", "variations": ["v1", "v2"], "hashVersion": 2, "coverage": 0.5}]}}}"#;

/// A navigation, or the request for an asset, with these cookies.
fn visit(definition: &Definition, cookies: &[&str], navigates: bool, check: impl FnOnce(&Assignment<'_>)) {
    let settings = ExperimentSettings {
        feature: "test_version".to_owned(),
        cookies: CookieSettings::new("nearedge", 60, None, true),
        consent: None,
        bots: Vec::new(),
        preview: true,
        hash_ids: false,
        goal_path: "/.nearedge/goal/".to_owned(),
        cache_key: Vec::new(),
        site: "https://example.com".to_owned(),
    };
    let destination = if navigates { "document" } else { "image" };
    let mut visit = Visit { sec_fetch_dest: Some(destination.into()), ..Visit::default() };
    cookies.iter().for_each(|cookie| visit.cookies.push((*cookie).into()));
    let request = Request { path: "/a".into(), query: "c=1&utm_source=x".into(), ..Request::default() };
    let experiments =
        Experiments { definition: Some(definition), settings: &settings, visit: &visit, new_id: &|| Some([7; 16]) };
    check(&assign(&request, experiments, None));
}

/// Any text is a definition that can be evaluated and gives its versions only, or an error with a reason and a fix.
pub(crate) fn definition(text: &str) {
    let constraints = Constraints { feature: "test_version", test_versions: None, cache_key: &[] };
    match Definition::parse(text, constraints) {
        Ok((definition, _)) => visit(&definition, &[], true, |assignment| {
            assert!(
                assignment.version.is_none_or(|version| definition.versions.iter().any(|given| **given == *version))
            );
            assert!(
                assignment.redirect.as_ref().is_none_or(|address| address.bytes().all(|byte| byte.is_ascii_graphic()))
            );
        }),
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.reason.is_empty()));
            assert!(problems.iter().all(|problem| !problem.to_string().contains('\n') && !problem.fix.is_empty()));
        }
    }
}

/// Any cookies give a version of the definition. What is set is short and safe, and the next request sets nothing.
pub(crate) fn cookies(visitor: &str, assignments: &str) {
    let constraints = Constraints { feature: "test_version", test_versions: None, cache_key: &[] };
    let (definition, _) = Definition::parse(DEFINITION, constraints).expect("expected a valid definition");
    let (visitor, assignments) = (format!("nearedge={visitor}"), format!("nearedge_v={assignments}"));
    visit(&definition, &[&visitor, &assignments], false, |assignment| assert!(assignment.personal.cookies.is_none()));
    visit(&definition, &[&visitor, &assignments], true, |assignment| {
        let Some(set) = &assignment.personal.cookies else { return };
        assert!(set.iter().map(String::len).sum::<usize>() < 1_200 && assignment.personal.private);
        assert!(set.iter().all(|cookie| cookie.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control())));
        let kept: Vec<&str> = set.iter().filter_map(|cookie| cookie.split(';').next()).collect();
        visit(&definition, &kept, true, |next| assert!(next.personal.cookies.is_none() && next.counts.is_none()));
    });
}

/// Rules for a guarded folder and object, with open parts.
const ACCESS: &str = r#"{"rules": [
    {"path": "/members/*", "signed_url": {"keys": ["0123456789abcdef"], "parameter": "verify", "ttl_secs": 60, "cookie": "c"}},
    {"path": "/members/free.html", "open": true},
    {"path": "/members/free/*", "open": true},
    {"path": "/secret.html", "jwt": {
        "keys": {"keys": [{"kty": "oct", "k": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE"}]},
        "algorithms": ["HS256"], "from": ["header:authorization", "cookie:c", "query:verify"]}}
]}"#;

static RULES: LazyLock<AccessRules> =
    LazyLock::new(|| AccessRules::parse(ACCESS, Some("access.json")).expect("expected valid rules").0);

/// A request that sends one text wherever rules read credentials.
struct Everywhere<'a> {
    text: &'a str,
    header: String,
}

impl Credentials for Everywhere<'_> {
    fn header(&self, _: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.header))
    }

    fn cookies(&self, _: &str) -> CookieValues<'_> {
        CookieValues::from_elem(self.text, 2)
    }

    fn query(&self) -> &str {
        self.text
    }

    fn page_url(&self) -> Option<Cow<'_, str>> {
        None
    }
}

/// The path that a lenient server makes of a spelling: decoded, with plain slashes, without dot segments.
fn canonical(path: &str) -> String {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..3 {
        let mut decoded = Vec::new();
        let mut rest = &bytes[..];
        while let [first, others @ ..] = rest {
            let code = others.get(..2).filter(|_| *first == b'%').and_then(|code| std::str::from_utf8(code).ok());
            let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
            match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
                Some(byte) => {
                    decoded.push(byte);
                    rest = &others[2..];
                }
                None => {
                    decoded.push(*first);
                    rest = others;
                }
            }
        }
        bytes = decoded;
    }
    let text = String::from_utf8_lossy(&bytes).replace('\\', "/");
    let mut kept: Vec<&str> = Vec::new();
    for segment in text.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    kept.join("/")
}

/// No spelling of a guarded path, with or without the folder of a version, is open to a request without credentials.
pub(crate) fn access(path: &str, version: &str) {
    let rules = &*RULES;
    let nobody = Everywhere { text: "", header: String::new() };
    let listed = Versions::Listed(&|segment| matches!(segment, "v1" | "v2"));
    let is_open = |target: Target<'_>, versions| {
        !matches!(rules.check(&[target], versions, &nobody, &KnownTokens::new(), 0), check::Verdict::Denied(_))
    };
    let key = format!("/{version}/{path}");
    for (target, whole) in [
        (Target::from(path), path),
        (Target { version: Some(version), path }, path),
        (Target { version: Some(version), path }, &*key),
        (Target::from(&*key), &*key),
    ] {
        let canonical = canonical(whole);
        let mut unversioned = &*canonical;
        while let Some((_, rest)) = unversioned.split_once('/').filter(|(first, _)| matches!(*first, "v1" | "v2")) {
            unversioned = rest;
        }
        assert!(!(is_guarded(unversioned) && is_open(target, listed)), "{target:?} leads to {canonical:?}");
        let rest = canonical.split_once('/').map_or("", |(_, rest)| rest);
        let is_guarded = is_guarded(&canonical) || is_guarded(rest);
        assert!(!(is_guarded && is_open(target, Versions::Any)), "{target:?} leads to {canonical:?} in any version");
    }
}

/// Whether [`ACCESS`] guards an object.
fn is_guarded(key: &str) -> bool {
    let is_in = |folder: &str| key.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_free = key == "members/free.html" || is_in("members/free");
    (is_in("members") && !is_free) || matches!(key, "secret.html" | "access.json")
}

/// No text is accepted as a token, a link or a session; a file of rules parses or has reasons.
pub(crate) fn token(text: &str) {
    let rules = &*RULES;
    for (query, header) in [(text, format!("Bearer {text}")), (&*format!("verify={text}"), text.to_owned())] {
        let sent = Everywhere { text: query, header };
        for path in ["/secret.html", "/members/a.html", "/v1/secret.html"] {
            let verdict = rules.check(&[path.into()], Versions::Any, &sent, &KnownTokens::new(), 1_800_000_000);
            let check::Verdict::Denied(denial) = verdict else { panic!("{path} is not denied") };
            let challenge = denial.challenge().unwrap_or_default();
            assert!(challenge.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        }
        assert!(remove(query, &["verify"]).split('&').all(|pair| !pair.starts_with("verify=")));
    }
    match AccessRules::parse(text, Some("access.json")) {
        Ok((rules, _)) => assert!(rules.rules().iter().all(|rule| rule.path.starts_with('/'))),
        Err(problems) => {
            assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.fix.is_empty()));
            assert!(problems.iter().all(|problem| !problem.to_string().contains('\n')));
        }
    }
}

/// A viewer with some facts.
struct Guest;

impl Viewer for Guest {
    fn country(&self) -> Option<Cow<'_, str>> {
        Some("CN".into())
    }
    fn language(&self) -> Option<Cow<'_, str>> {
        Some("zh-CN,en;q=0.5".into())
    }
    fn has_cookie(&self, name: &str) -> bool {
        name == "beta"
    }
    fn has_role(&self, role: &str) -> bool {
        role == "admin"
    }
}

/// Each line without a comment is a rule, a field or a problem.
fn every_line_counts(text: &str, problems: &[LineProblem], is_used: impl Fn(usize, &str) -> bool) {
    assert!(problems.iter().all(|problem| !problem.to_string().contains('\n') && !problem.fix.is_empty()));
    for (index, line) in text.split('\n').enumerate() {
        let line = line.trim_matches(|character: char| character.is_whitespace() || character == '\u{feff}');
        let is_reported = problems.iter().any(|problem| problem.line == index + 1);
        assert!(line.is_empty() || line.starts_with('#') || is_reported || is_used(index + 1, line), "{line:?}");
    }
}

/// Any file of redirects is read. A Location is a safe header value with the host of its rule.
pub(crate) fn redirects(text: &str, path: &str, query: &str) {
    if let Ok((imported, _)) = Redirects::of_s3_routing_rules(text) {
        assert!(imported.rules().iter().all(|rule| rule.is_redirect() && !rule.is_conditional()));
    }
    let (redirects, problems) = Redirects::parse(text);
    every_line_counts(text, &problems, |line, _| redirects.rules().iter().any(|rule| rule.line == line));
    let path = format!("/{path}");
    let found = redirects.find(&Lookup { host: &|| "www.example.com".into(), path: &path, query, viewer: &Guest });
    let Some(found) = found else { return };
    let path = match &found.effect {
        Effect::Redirect { location, .. } => {
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()));
            let host = |url: &str| {
                let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
                rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase())
            };
            assert_eq!(host(location), host(&found.rule.to));
            assert!(host(location).is_some() || !matches!(location.as_bytes(), [b'/', b'/' | b'\\', ..]), "{location}");
            location.split(['?', '#']).next().unwrap_or_default()
        }
        Effect::Rewrite { path } | Effect::Respond { path, .. } => {
            assert!(path.starts_with('/') && !path.starts_with("//"));
            path
        }
    };
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "expected no dot segment in {path}");
}

/// Any file of headers is read. Values are safe, and each name occurs once.
pub(crate) fn headers(text: &str, path: &str, origin: &str) {
    let (headers, problems) = Headers::parse(text);
    // A field counts with its path: as a part of a rule, or because the path has a problem.
    every_line_counts(text, &problems, |line, text| {
        let is_path = ["/", "https://", "http://"].iter().any(|start| text.starts_with(start));
        !is_path || headers.rules().iter().any(|rule| rule.line == line)
    });
    let path = format!("/{path}");
    let fields = headers.fields(&|| "www.example.com".into(), &path, Some(origin));
    for (position, field) in fields.iter().enumerate() {
        assert!(fields.iter().take(position).all(|other| other.name != field.name));
        assert!(!matches!(field.name, "set-cookie" | "content-length" | "connection" | "location"));
        if let FieldChange::Set(value) | FieldChange::Append(value) = &field.change {
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')), "{value:?}");
        }
    }
    if let Some(policy) = headers.cors(&|| "www.example.com".into(), &path) {
        let simple = policy.simple(Some(origin));
        assert!(simple.iter().all(|(_, value)| value.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))));
    }
}
