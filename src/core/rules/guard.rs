//! Stage: the rules of access.json.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::access::check::{Denial, Grant};
use crate::access::rules::{AccessRules, Guards, Rule, Target, Versions};
use crate::object::{ObjectKey, sources_of_copy};
use crate::response::Outcome;
use crate::rules::action::{Action, Draft, Stage, respond};
use crate::rules::active::AccessControl;
use crate::rules::key::key_of_path;
use crate::rules::policy::Policy;

/// Refuses a request whose path is guarded, unless it satisfies the rules.
pub(super) fn require_access(draft: &mut Draft<'_, '_>) -> Stage {
    if draft.active.access.is_none() {
        return ControlFlow::Continue(());
    }
    let request = draft.request;
    check(draft, &[Target::from(&*request.path)])
}

/// Refuses a request whose path leads to a guarded object: by a rewrite, an index document, or another address of a page.
pub(super) fn require_access_to_objects(draft: &mut Draft<'_, '_>, action: &Action) -> Stage {
    // The header `redirect` leads to where the distribution serves objects straight from S3.
    let (Some(_), Action::Fetch { first, others, .. }) = (draft.active.access, action) else {
        return ControlFlow::Continue(());
    };
    let (request, policy) = (draft.request, draft.policy);
    let keys: SmallVec<[Target<'_>; 4]> = std::iter::once(first)
        .chain(others)
        .map(|candidate| {
            let key = candidate.key.as_str();
            let version = draft.variant.filter(|_| candidate.of_variant);
            let path = version.map_or(key, |version| key.get(version.len() + 1..).unwrap_or_default());
            Target { version, path }
        })
        // A copy is guarded as its source.
        .flat_map(|target| {
            let sources = sources_of_copy(target.path).map(move |path| Target { path, ..target });
            std::iter::once(target).chain(sources)
        })
        .collect();
    // The same page has other addresses, and a rule may name one of those.
    let addresses: SmallVec<[_; 4]> = keys
        .iter()
        .flat_map(|target| {
            let addresses = policy.html_handling.addresses(target.path, &policy.index_document);
            addresses.into_iter().flatten().map(|address| (target.version, format!("/{address}")))
        })
        .collect();
    // The path comes first, because links are signed for it.
    let mut targets: SmallVec<[Target<'_>; 8]> = SmallVec::new();
    targets.push(Target::from(&*request.path));
    let own = |target: &Target<'_>| {
        target.version.is_none() && target.path.trim_start_matches('/') == request.path.trim_start_matches('/')
    };
    let addresses = addresses.iter().map(|(version, path)| Target { version: *version, path });
    // The path itself is allowed already.
    targets.extend(keys.iter().copied().chain(addresses).filter(|target| !own(target)));
    if targets.len() == 1 {
        return ControlFlow::Continue(());
    }
    check(draft, &targets)
}

fn check(draft: &mut Draft<'_, '_>, targets: &[Target<'_>]) -> Stage {
    let Some(access) = draft.active.access else { return ControlFlow::Continue(()) };
    let (Some(rules), Some(viewer)) = (access.rules, draft.active.viewer) else {
        return respond(Outcome::AccessUnavailable);
    };
    let of_experiments = draft.active.experiments.and_then(|experiments| experiments.definition);
    let is_version = |segment: &str| {
        let in_settings = draft.policy.test_versions.iter().flatten().any(|listed| listed == segment);
        in_settings
            || of_experiments.is_some_and(|definition| definition.versions.iter().any(|given| **given == *segment))
    };
    // Without `test_versions`, a request may name any version itself.
    let versions = match draft.policy.test_versions {
        Some(_) => Versions::Listed(&is_version),
        None => Versions::Any,
    };
    let mut guards = Guards::new();
    for target in targets {
        rules.add_guards(*target, versions, &mut guards);
    }
    // Most objects have the rules of their path, which the request satisfies already.
    let is_satisfied = |rule: &&Rule| draft.guards.iter().any(|known| std::ptr::eq(*known, *rule));
    if guards.iter().all(is_satisfied) {
        return ControlFlow::Continue(());
    }
    let path = targets.first().map_or("/", |target| target.path);
    let verdict = rules.satisfy(&guards, path, viewer, access.known, access.now);
    draft.guards = guards;
    match verdict {
        Ok(grant) => {
            draft.grant = Some(match draft.grant.take() {
                None => Box::new(grant),
                Some(before) => Box::new(both(*before, grant)),
            });
            ControlFlow::Continue(())
        }
        // As for an object that does not exist.
        Err(Denial::Hidden) => {
            draft.grant = None;
            let key = key_of_path(&draft.request.path, &draft.policy.index_document).into_owned();
            ControlFlow::Break(Action::Missing { key: ObjectKey::new(key) })
        }
        Err(denial) => respond(Outcome::Denied(denial)),
    }
}

/// Whether a response may contain an object that the request does not name: it is not hidden, and its rules are satisfied.
pub(super) fn is_open(
    key: &ObjectKey,
    policy: &Policy,
    access: Option<AccessControl<'_>>,
    satisfied: &[&Rule],
) -> bool {
    let is_satisfied = |guard: &&Rule| satisfied.iter().any(|satisfied| std::ptr::eq(*satisfied, *guard));
    let is_open_at = |rules: &AccessRules, key: &str| rules.guards(key.into(), Versions::Any).iter().all(is_satisfied);
    let is_open = |rules: &AccessRules| {
        is_open_at(rules, key.as_str()) && sources_of_copy(key.as_str()).all(|source| is_open_at(rules, source))
    };
    !policy.is_hidden(key.as_str()) && access.is_none_or(|access| access.rules.is_some_and(is_open))
}

/// The grant of a request that satisfies the rules of its path and those of its object.
fn both<'r>(mut path: Grant<'r>, object: Grant<'r>) -> Grant<'r> {
    path.claims = path.claims.or(object.claims);
    path.expires = path.expires.min(object.expires);
    path.no_store |= object.no_store;
    for cookie in object.set_cookies {
        if !path.set_cookies.contains(&cookie) {
            path.set_cookies.push(cookie);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::access::credentials::{CookieValues, Credentials};
    use crate::access::known::KnownTokens;
    use crate::access::secret::Secrets;
    use crate::request::Request;
    use crate::rules::html::HtmlHandling;
    use crate::rules::redirects::Redirects;
    use crate::rules::{Active, Candidate, Instead, Viewer, decide};

    /// A viewer who sends nothing.
    struct Anonymous;

    impl Credentials for Anonymous {
        fn header(&self, _: &str) -> Option<Cow<'_, str>> {
            None
        }

        fn cookies(&self, _: &str) -> CookieValues<'_> {
            CookieValues::new()
        }

        fn query(&self) -> &str {
            ""
        }

        fn page_url(&self) -> Option<Cow<'_, str>> {
            None
        }
    }

    impl Viewer for Anonymous {
        fn host(&self) -> Cow<'_, str> {
            "www.example.com".into()
        }

        fn country(&self) -> Option<Cow<'_, str>> {
            None
        }

        fn language(&self) -> Option<Cow<'_, str>> {
            None
        }
    }

    const REDIRECTS: &str = "/rw/* /:splat 200!\n/gen/* /:splat 404!\n/late/* /:splat 200\n";

    fn rules(paths: &[&str]) -> AccessRules {
        let link = r#"{"keys": ["0123456789abcdef"], "parameter": "verify", "ttl_secs": 60}"#;
        let rules: Vec<String> =
            paths.iter().map(|path| format!(r#"{{"path": "{path}", "signed_url": {link}}}"#)).collect();
        AccessRules::parse(&format!(r#"{{"rules": [{}]}}"#, rules.join(",")), Some("access.json")).unwrap().0
    }

    /// The keys that an anonymous viewer may receive.
    fn open_keys(path: &str, rules: &AccessRules, policy: &Policy) -> Vec<String> {
        let redirects = Redirects::parse(REDIRECTS).0;
        let known = KnownTokens::new();
        let access = Some(AccessControl { rules: Some(rules), known: &known, now: 0 });
        let active = Active { redirects: Some(&redirects), access, viewer: Some(&Anonymous), ..Active::default() };
        let request = Request { path: path.into(), lambda_auth: Some("open".into()), ..Request::default() };
        match decide(&request, policy, active).action {
            Action::Fetch { first, others, .. } => {
                let is_body = |candidate: &Candidate| !matches!(candidate.instead, Some(Instead::Redirect(_)));
                let bodies = std::iter::once(first).chain(others).filter(is_body);
                bodies.map(|candidate| candidate.key.as_str().to_owned()).collect()
            }
            _ => Vec::new(),
        }
    }

    fn policy(html_handling: HtmlHandling, versions: Option<&[&str]>) -> Policy {
        let test_versions = versions.map(|versions| versions.iter().map(|version| (*version).to_owned()).collect());
        let policy = Policy::new(Secrets::new("open").unwrap(), "https://www.example.com");
        Policy { html_handling, test_versions, hidden: vec!["access.json".to_owned(), "_headers".to_owned()], ..policy }
    }

    #[test]
    fn a_rule_for_a_page_guards_its_file_behind_rewrites_and_generated_responses() {
        let rules = rules(&["/members/*", "/solo", "/docs"]);
        for mode in HtmlHandling::ALL.into_iter().filter(|mode| *mode != HtmlHandling::None) {
            for target in [
                "solo",
                "solo/",
                "solo.html",
                "members.html",
                "v1/solo/",
                "v1/members.html",
                "docs/",
                "docs/index.html",
            ] {
                for rule in ["", "rw/", "gen/", "late/"] {
                    let open = open_keys(&format!("/{rule}{target}"), &rules, &policy(mode, Some(&["v1", "v2"])));
                    let pages = ["solo.html", "members.html", "v1/solo.html", "v1/members.html", "docs/index.html"];
                    assert!(!open.iter().any(|key| pages.contains(&&**key)), "{mode:?} /{rule}{target}: {open:?}");
                }
            }
            assert!(!open_keys("/rw/free/", &rules, &policy(mode, None)).is_empty(), "{mode:?}");
        }
    }

    #[test]
    fn a_copy_of_an_object_is_guarded_as_the_object() {
        let rules = rules(&["/solo.html", "/docs", "/members/*"]);
        for mode in HtmlHandling::ALL {
            for key in ["solo.html.br", "solo.html.gz", "solo.html.br.gz", "members/a.js.zst", "v1/solo.html.avif"] {
                for rule in ["", "rw/", "gen/", "late/"] {
                    let open = open_keys(&format!("/{rule}{key}"), &rules, &policy(mode, Some(&["v1", "v2"])));
                    assert!(!open.iter().any(|open| open == key), "{mode:?} /{rule}{key}: {open:?}");
                }
            }
            let pages = [("docs.html.br", HtmlHandling::None), ("access.json.gz", mode), ("_headers.br", mode)];
            for (key, except) in
                pages.into_iter().filter(|(_, except)| *except != mode || *except != HtmlHandling::None)
            {
                let open = open_keys(&format!("/{key}"), &rules, &policy(mode, None));
                assert!(!open.iter().any(|open| open == key), "{mode:?} {except:?} /{key}: {open:?}");
            }
            assert_eq!(open_keys("/free.js.br", &rules, &policy(HtmlHandling::None, None)), ["free.js.br"]);
        }
    }

    #[test]
    fn the_files_of_rules_are_no_bodies_of_generated_responses() {
        let rules = rules(&["/members/*"]);
        for key in ["access.json", "_headers"] {
            for rule in ["", "rw/", "gen/", "late/"] {
                let open = open_keys(&format!("/{rule}{key}"), &rules, &policy(HtmlHandling::None, None));
                assert!(!open.iter().any(|open| open == key), "/{rule}{key}: {open:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn an_open_object_has_no_guarded_address(
            path in "/(rw/|gen/|late/)?((a|b|v1|index)/){0,2}(a|b|index|)(\\.html|/)?",
            guarded in select(vec!["/a", "/a/*", "/b/a", "/a/b/*", "/a/b", "/index", "/a/index", "/a.html", "/a/b.html"]),
            mode in select(HtmlHandling::ALL.to_vec()),
        ) {
            let rules = rules(&[guarded]);
            let policy = policy(mode, Some(&["v1"]));
            for key in open_keys(&path, &rules, &policy) {
                let base = key.strip_suffix(".html").unwrap_or(&key);
                let folder = key.strip_suffix("/index.html").unwrap_or(base);
                for address in [key.clone(), base.to_owned(), format!("{base}/"), folder.to_owned(), format!("{folder}/")] {
                    let address = format!("/{address}");
                    let pages = mode.alternatives(&address, "index.html");
                    let is_served = pages.iter().find(|page| page.key == key).is_some_and(|page| page.redirect.is_none());
                    let guards = rules.guards((&*address).into(), Versions::Listed(&|segment: &str| segment == "v1"));
                    prop_assert!(!is_served || guards.is_empty(), "{} is served at {}", key, address);
                }
            }
        }
    }
}
