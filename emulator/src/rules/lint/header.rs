//! Rules of headers that match no path, or whose caching does not apply.

use std::borrow::Cow;
use std::collections::BTreeSet;

use nearedge_core::rules::headers::{HeaderRule, Headers};
use nearedge_core::rules::html::HtmlHandling;

use crate::rules::finding::{Finding, Severity};
use crate::rules::lint::chain::HOST;
use crate::rules::site::Site;

/// Checks every rule.
pub(super) fn check(site: &Site, findings: &mut Vec<Finding>) {
    let Some((file, headers)) = site.headers() else { return };
    let addresses = addresses(site);
    let matched = Matched::new(headers, &addresses);
    for rule in headers.rules() {
        let place = (&*file.name, rule.line);
        let paths = matched.paths_of(rule, &addresses);
        if site.objects.is_complete() && paths.is_empty() {
            let reason = format!("{} matches no path of the site", rule.path);
            let fix = "correct the path, which is compared as a whole and case-sensitively; or remove the rule";
            findings.push(Finding::new(place, Severity::Warning, reason, fix));
            continue;
        }
        let Some(line) = headers.lines(rule).find(|line| is_shared_caching(line)) else { continue };
        let example = [rule.example().path];
        let paths = if paths.is_empty() { example.iter().map(String::as_str).collect() } else { paths };
        if paths.iter().all(|path| site.is_guarded(path)) {
            let guard = site.guards(paths[0].into());
            let reason = match guard.first().filter(|guard| guard.position.is_some()) {
                Some(guard) => {
                    let (access, line_of_guard) = site.place_of(guard);
                    format!(
                        "`{line}` has no effect: {access}:{line_of_guard} guards {}, so responses are private",
                        guard.path
                    )
                }
                None => format!("`{line}` has no effect: the file is never served"),
            };
            findings.push(Finding::new(place, Severity::Warning, reason, "remove the field, or write private"));
        }
    }
}

/// Whether a change lets shared caches keep a response.
fn is_shared_caching(line: &str) -> bool {
    let Some((name, value)) = line.split_once(':') else { return false };
    let directives = || value.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    name.eq_ignore_ascii_case("cache-control")
        && directives().any(|directive| directive == "public" || directive.starts_with("s-maxage"))
}

/// The positions of the addresses that rules match, by the line of the rule.
struct Matched(BTreeSet<(usize, usize)>);

impl Matched {
    fn new(headers: &Headers, addresses: &[String]) -> Self {
        let hosts: BTreeSet<String> =
            headers.rules().iter().filter_map(|rule| rule.example().host).chain([HOST.to_owned()]).collect();
        let mut found = BTreeSet::new();
        for host in &hosts {
            for (index, path) in addresses.iter().enumerate() {
                found.extend(headers.find(&|| Cow::Borrowed(host), path).iter().map(|rule| (rule.line, index)));
            }
        }
        Self(found)
    }

    fn paths_of<'a>(&self, rule: &HeaderRule, addresses: &'a [String]) -> Vec<&'a str> {
        let range = self.0.range((rule.line, 0)..(rule.line + 1, 0));
        range.filter_map(|(_, index)| addresses.get(*index)).map(String::as_str).collect()
    }
}

/// The decoded paths at which the site responds with something: its objects, the addresses of its pages, and redirects.
pub(super) fn addresses(site: &Site) -> Vec<String> {
    let policy = &site.trial.config.policy;
    let versions = site.possible_versions();
    let mut addresses = BTreeSet::new();
    for key in site.objects.keys() {
        let of_version = key.split_once('/').filter(|(first, _)| versions.iter().any(|version| version == first));
        for key in [Some(&*key), of_version.map(|(_, rest)| rest)].into_iter().flatten() {
            addresses.insert(format!("/{key}"));
            if let Some(folder) = key.strip_suffix(&*policy.index_document)
                && (folder.is_empty() || folder.ends_with('/'))
            {
                addresses.insert(format!("/{folder}"));
                if policy.html_handling != HtmlHandling::None {
                    addresses.insert(format!("/{}", folder.trim_end_matches('/')));
                }
            }
            if policy.html_handling != HtmlHandling::None
                && let Some(page) = key.strip_suffix(".html")
            {
                addresses.extend([format!("/{page}"), format!("/{page}/")]);
            }
        }
    }
    let redirects = site.redirects().map(|(_, redirects)| redirects.rules()).unwrap_or_default();
    addresses.extend(redirects.iter().map(|rule| rule.example().path));
    addresses.into_iter().collect()
}
