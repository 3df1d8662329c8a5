//! What a distribution has to be for this origin, a function a concern. Each finding says what will go wrong, and the cure.

use std::collections::BTreeSet;

use crate::policy::caching::{Caching, Names};
use crate::policy::distribution::{Behavior, Distribution, Origin, matches};
use crate::policy::finding::{Finding, Severity};
use crate::policy::subject::Subject;

/// The headers that choose the answer.
const CHOOSING: [&str; 2] = ["test_version", "redirect"];
const SECRET: &str = "lambda_auth";

/// Paths that are no variant's: a literal behaviour for them takes nothing from the test.
const OF_NO_VARIANT: [&str; 5] = ["robots.txt", "favicon.ico", "sitemap.xml", "ads.txt", ".well-known/security.txt"];

/// A secret has at least as many characters, and different ones: 16 random letters and digits have 95 bits.
const SECRET_CHARACTERS_MIN: usize = 16;
const SECRET_DIFFERENT_MIN: usize = 8;

/// Longer than this without asking, and a corrected object is late for everybody who gets no Cache-Control.
const DEFAULT_TTL_MAX_SECS: u64 = 3_600;

/// The errors that CloudFront keeps although they say `no-store`: it heeds that on 404, 410, 414 and 501 alone, keeps no 416, and
/// other 4xx only where they have a `max-age`
/// ([how long errors are kept](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html),
/// [HTTP status codes](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html)).
const KEPT_ERRORS: [u64; 4] = [500, 502, 503, 504];

/// Checks a distribution; returns the findings, the worst first.
pub fn check(subject: &Subject) -> Vec<Finding> {
    let mut findings = all(subject);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Runs every rule, in the order that a request meets them: viewer, key, origin, response.
fn all(subject: &Subject) -> Vec<Finding> {
    let ours = origins_of_ours(&subject.distribution);
    let look = Look { subject, distribution: &subject.distribution, ours, findings: Vec::new() };
    look.viewers().paths().headers().cache().errors().origins().secret().redirects().buckets().china().findings
}

/// The origins that are this origin's API: those with the secret that are no bucket, those that are an API by their name, or
/// else the default behaviour's.
fn origins_of_ours(distribution: &Distribution) -> BTreeSet<String> {
    let is_api = |origin: &&Origin| {
        let domain = origin.domain.to_ascii_lowercase();
        origin.custom.is_some() && (origin.header(SECRET).is_some() || domain.contains(".execute-api."))
    };
    let found: BTreeSet<String> = distribution.origins.iter().filter(is_api).map(|origin| origin.id.clone()).collect();
    if !found.is_empty() {
        return found;
    }
    distribution.behaviors.last().map(|default| default.origin.clone()).into_iter().collect()
}

struct Look<'a> {
    subject: &'a Subject,
    distribution: &'a Distribution,
    ours: BTreeSet<String>,
    findings: Vec<Finding>,
}

impl<'a> Look<'a> {
    fn find(&mut self, severity: Severity, id: &'static str, place: String, why: String, cure: &str) {
        self.findings.push(Finding { severity, id, place, why, cure: cure.to_owned() });
    }

    fn behaviors_to_us(&self) -> Vec<&'a Behavior> {
        self.distribution.behaviors.iter().filter(|behavior| self.ours.contains(&behavior.origin)).collect()
    }

    fn our_origins(&self) -> Vec<&'a Origin> {
        self.distribution.origins.iter().filter(|origin| self.ours.contains(&origin.id)).collect()
    }

    fn viewers(mut self) -> Self {
        for behavior in &self.distribution.behaviors {
            if behavior.viewer_protocol == "allow-all" {
                self.find(
                    Severity::Warning,
                    "viewer-in-clear",
                    behavior.name(),
                    "viewers may use http://, where anybody on the way can read and change what they get".to_owned(),
                    "set ViewerProtocolPolicy to https-only or redirect-to-https",
                );
            }
        }
        self
    }

    /// Behaviours that never come to their turn, and those that take what is ours.
    fn paths(mut self) -> Self {
        let behaviors = &self.distribution.behaviors;
        for (index, behavior) in behaviors.iter().enumerate() {
            let Some(pattern) = &behavior.pattern else { continue };
            // A path that only a pattern at least as wide can take.
            let example = pattern.replace('*', "\u{1}").replace('?', "\u{2}");
            if let Some(earlier) = behaviors[..index].iter().find(|earlier| {
                earlier.pattern.as_ref().is_some_and(|earlier| matches(earlier, &example) && !matches(pattern, "\u{1}"))
            }) {
                self.find(
                    Severity::Error,
                    "behaviour-shadowed",
                    behavior.name(),
                    format!("{} comes before it and takes every path of its", earlier.name()),
                    "put the narrower pattern first: CloudFront takes the first that matches",
                );
            }
            let first_segment = pattern.strip_prefix('/').unwrap_or(pattern).split('/').next().unwrap_or_default();
            if !self.ours.contains(&behavior.origin) && first_segment.contains(['*', '?']) {
                self.find(
                    Severity::Error,
                    "behaviour-takes-versions",
                    behavior.name(),
                    format!(
                        "it takes paths such as {} from the origin that chooses the variant: test_version does nothing there",
                        pattern.replace('*', "test").replace('?', "x")
                    ),
                    "name a folder first, such as /v1/* for a variant's objects or /static/* for what all variants share",
                );
            } else if !self.ours.contains(&behavior.origin)
                && !pattern.contains(['*', '?'])
                && !OF_NO_VARIANT.contains(&pattern.trim_start_matches('/'))
            {
                self.find(
                    Severity::Warning,
                    "behaviour-takes-versions",
                    behavior.name(),
                    "this one path never reaches the origin that chooses the variant: test_version does nothing there"
                        .to_owned(),
                    "take the behaviour away, unless every variant has the same object there",
                );
            }
        }
        self
    }

    fn headers(mut self) -> Self {
        for behavior in self.behaviors_to_us() {
            self.unknown_policies(behavior);
            let caching = &behavior.caching;
            for name in CHOOSING {
                if caching.forwards_header(name) == Some(false) {
                    self.find(
                        Severity::Error,
                        "header-not-forwarded",
                        behavior.name(),
                        format!("{name} does not reach the origin: {}", without(name)),
                        "name it in the origin request policy, and with caching on in the cache policy instead (legacy settings: in \
                         ForwardedValues.Headers)",
                    );
                }
            }
            if caching.forwards_header("host") == Some(true) {
                self.find(
                    Severity::Error,
                    "host-forwarded",
                    behavior.name(),
                    "the viewer's Host reaches the API, which knows its own name alone and answers 403 Forbidden"
                        .to_owned(),
                    "take Host out of the policy: AllViewerExceptHostHeader instead of AllViewer, or a list without it",
                );
            }
            if self.subject.redirect_query && caching.forwards_query() == Some(false) {
                self.find(
                    Severity::Error,
                    "query-not-forwarded",
                    behavior.name(),
                    "redirect_query is set, and the query string does not reach the origin".to_owned(),
                    "forward all query strings in the origin request policy",
                );
            }
            if self.subject.spa_fallback && caching.forwards_header("accept") == Some(false) {
                self.find(
                    Severity::Error,
                    "accept-not-forwarded",
                    behavior.name(),
                    "spa_fallback is set and Accept does not reach the origin: no request looks like a navigation, so each gets a 404"
                        .to_owned(),
                    "name Accept in the origin request policy, and with caching on in the cache policy too",
                );
            }
        }
        self
    }

    /// A header that the origin sets replaces the viewer's
    /// ([add-origin-custom-headers](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/add-origin-custom-headers.html)).
    fn overwritten(&mut self, origin: &Origin) {
        for name in CHOOSING {
            if origin.header(name).is_some() {
                self.find(
                    Severity::Error,
                    "header-overwritten",
                    format!("the origin {}", origin.id),
                    format!("its custom header {name} replaces every viewer's: all of them get the same"),
                    "take the custom header away; lambda_auth is the only one that the origin needs",
                );
            }
        }
    }

    fn unknown_policies(&mut self, behavior: &Behavior) {
        let Caching::Policies { cache, request } = &behavior.caching else { return };
        let unknown = [
            (cache.as_ref().err(), "get-cache-policy"),
            (request.as_ref().and_then(|request| request.as_ref().err()), "get-origin-request-policy"),
        ];
        for (id, command) in unknown {
            let Some(id) = id else { continue };
            let why = if id.is_empty() {
                "it names no cache policy".to_owned()
            } else {
                format!("its policy {id} is not known here, so nothing can be said of it")
            };
            self.find(
                Severity::Warning,
                "policy-unknown",
                behavior.name(),
                why,
                &format!("give it too: aws cloudfront {command} --id {id} > policy.json, and --policy policy.json"),
            );
        }
    }

    fn cache(mut self) -> Self {
        for behavior in self.behaviors_to_us() {
            let Some(key) = behavior.caching.key().filter(|key| key.ttl.maximum > 0) else { continue };
            let mut choosing = CHOOSING.to_vec();
            choosing.extend(self.subject.spa_fallback.then_some("accept"));
            for name in choosing {
                if !key.headers.contain(name) && behavior.caching.forwards_header(name) != Some(false) {
                    self.find(
                        Severity::Error,
                        "header-not-in-key",
                        behavior.name(),
                        format!("{name} reaches the origin but is not in the cache's key: what one viewer asked for is kept and given to all"),
                        "name it in the cache policy's headers, or turn caching off (the managed policy CachingDisabled)",
                    );
                }
            }
            if key.headers == Names::All {
                self.find(
                    Severity::Warning,
                    "key-of-everything",
                    behavior.name(),
                    "every header of the viewer is in the key: no two viewers share an entry, and Host is forwarded too".to_owned(),
                    "list test_version and redirect instead",
                );
            }
            let ttl = key.ttl;
            if ttl.minimum > 0 {
                self.find(
                    Severity::Error,
                    "ttl-minimum",
                    behavior.name(),
                    format!(
                        "the minimum TTL of {} s outweighs no-store: redirects and refusals are kept for it",
                        ttl.minimum
                    ),
                    "set MinTTL to 0; the objects' own Cache-Control says how long",
                );
            }
            if ttl.default > DEFAULT_TTL_MAX_SECS {
                self.find(
                    Severity::Warning,
                    "ttl-default",
                    behavior.name(),
                    format!("an object without Cache-Control is kept for {} s: a variant that has been corrected is seen that late", ttl.default),
                    "set DefaultTTL to a minute or so, or put Cache-Control on every object",
                );
            }
            if ttl.default < ttl.minimum || ttl.maximum < ttl.default {
                self.find(
                    Severity::Error,
                    "ttl-order",
                    behavior.name(),
                    format!(
                        "its TTLs are out of order: {} to {} s, and {} s by default",
                        ttl.minimum, ttl.maximum, ttl.default
                    ),
                    "minimum, default and maximum have to grow in this order",
                );
            }
        }
        self
    }

    fn errors(mut self) -> Self {
        let (mut mixed, mut late) = (Vec::new(), Vec::new());
        let keyed = self
            .behaviors_to_us()
            .iter()
            .all(|behavior| behavior.caching.key().is_some_and(|key| key.headers.contain("test_version")));
        for code in KEPT_ERRORS {
            if self.distribution.error_ttl_secs(code) > 0 {
                if keyed { late.push(code.to_string()) } else { mixed.push(code.to_string()) }
            }
        }
        let cure = "in CustomErrorResponses set ErrorCachingMinTTL to 0 for each of them";
        if !mixed.is_empty() {
            self.find(
                Severity::Error,
                "error-caching",
                "CustomErrorResponses".to_owned(),
                format!(
                    "{} are kept, for 10 s unless told otherwise, even where caching is off, and test_version is not in the key: one \
                     request's failure is every variant's",
                    mixed.join(", ")
                ),
                cure,
            );
        }
        if !late.is_empty() {
            self.find(
                Severity::Warning,
                "error-caching",
                "CustomErrorResponses".to_owned(),
                format!(
                    "{} are kept, for 10 s unless told otherwise: one failed request is every viewer's for as long",
                    late.join(", ")
                ),
                cure,
            );
        }
        for error in &self.distribution.errors {
            let Some(page) = &error.page else { continue };
            let ok = error.response_code.as_deref().is_some_and(|code| code.starts_with('2'));
            let from_us =
                self.distribution.behavior_of(page).is_some_and(|behavior| self.ours.contains(&behavior.origin));
            let way = if from_us { ", asked of the origin without test_version" } else { "" };
            self.find(
                if ok { Severity::Error } else { Severity::Warning },
                "error-replaced",
                "CustomErrorResponses".to_owned(),
                format!(
                    "a {} is replaced by {page}{way}{}",
                    error.code,
                    if ok {
                        " and becomes a success: caches, crawlers and alarms take an error for a page"
                    } else {
                        ": every variant gets the same page"
                    }
                ),
                "leave the page out: error_document and spa_fallback of the origin answer by variant",
            );
        }
        self
    }

    fn origins(mut self) -> Self {
        for origin in self.our_origins() {
            let place = format!("the origin {}", origin.id);
            self.overwritten(origin);
            if !origin.path.is_empty() {
                self.find(
                    Severity::Warning,
                    "origin-path",
                    place.clone(),
                    format!("its OriginPath {} goes before every key, unless that is the API's stage", origin.path),
                    "leave OriginPath empty, and give the API the stage $default",
                );
            }
            let Some(custom) = &origin.custom else { continue };
            if custom.protocol_policy != "https-only" {
                self.find(
                    Severity::Error,
                    "secret-in-clear",
                    place.clone(),
                    format!("OriginProtocolPolicy is {}: the secret may cross the network in the clear, and an HTTP API does not listen there", custom.protocol_policy),
                    "set OriginProtocolPolicy to https-only",
                );
            }
            let old: Vec<&str> = custom
                .tls
                .iter()
                .map(String::as_str)
                .filter(|version| !["TLSv1.2", "TLSv1.3"].contains(version))
                .collect();
            if !old.is_empty() {
                self.find(
                    Severity::Warning,
                    "old-tls",
                    place.clone(),
                    format!("CloudFront may use {} towards the API", old.join(", ")),
                    "leave TLSv1.2 alone in OriginSslProtocols",
                );
            }
            if custom.read_timeout_secs < self.subject.timeout_secs {
                self.find(
                    Severity::Warning,
                    "origin-timeout",
                    place,
                    format!(
                        "CloudFront waits {} s and the function may take {} s: its own 504 comes too late",
                        custom.read_timeout_secs, self.subject.timeout_secs
                    ),
                    "set OriginReadTimeout above the function's timeout",
                );
            }
        }
        self
    }

    fn secret(mut self) -> Self {
        for origin in self.our_origins() {
            let place = format!("the origin {}", origin.id);
            match origin.header(SECRET) {
                None | Some("") => self.find(
                    Severity::Error,
                    "secret-missing",
                    place,
                    "it sends no lambda_auth: every answer is 403, unless each viewer has the secret".to_owned(),
                    "add the custom header lambda_auth with the secret to the origin",
                ),
                // A parameter or a dynamic reference: not written down here.
                Some(value) if value.contains("${") || value.contains("{{resolve:") => {}
                Some(value) => {
                    if self.subject.is_template {
                        self.find(
                            Severity::Error,
                            "secret-in-template",
                            place.clone(),
                            "the secret stands in the template: whoever reads it can pass the distribution by"
                                .to_owned(),
                            "make it a parameter with NoEcho and no default, or a dynamic reference to Secrets Manager",
                        );
                    }
                    if let Some(weakness) = weakness(value) {
                        self.find(
                            Severity::Error,
                            "secret-weak",
                            place,
                            format!("the secret {weakness}: it can be guessed, and the API is open to the internet"),
                            "rotate to a random one (deploy/rotate.sh makes 64 hexadecimal digits)",
                        );
                    }
                }
            }
        }
        for origin in &self.distribution.origins {
            if !self.ours.contains(&origin.id) && origin.header(SECRET).is_some() {
                self.find(
                    Severity::Error,
                    "secret-leaks",
                    format!("the origin {}", origin.id),
                    "it is sent the secret too, and has no use for it".to_owned(),
                    "remove the custom header lambda_auth there, then rotate",
                );
            }
        }
        self
    }

    /// The redirected address has to be served by the bucket: here it would be redirected again, to /v1/v1/….
    fn redirects(mut self) -> Self {
        for variant in &self.subject.variants {
            for object in ["index.html", "test.png", "a/b.js"] {
                let path = format!("/{variant}/{object}");
                let Some(behavior) = self.distribution.behavior_of(&path) else { continue };
                if self.ours.contains(&behavior.origin) {
                    self.find(
                        Severity::Error,
                        "redirect-loops",
                        behavior.name(),
                        format!("a redirect leads to {path}, which comes back to this origin: a client that sends its headers again is led in a circle"),
                        "add a behaviour for each variant's folder, such as /v1/*, whose origin is the bucket, before any wider one",
                    );
                    break;
                }
                let origin = self.distribution.origins.iter().find(|origin| origin.id == behavior.origin);
                if let Some(origin) = origin.filter(|origin| !origin.path.is_empty()) {
                    self.find(
                        Severity::Error,
                        "origin-path",
                        format!("the origin {}", origin.id),
                        format!("its OriginPath makes {path} the key {}{path}", origin.path.trim_start_matches('/')),
                        "leave OriginPath empty: the redirected path is the key",
                    );
                    break;
                }
            }
        }
        if let Some(redirect_path) = &self.subject.redirect_path {
            let host =
                redirect_path.split("://").nth(1).unwrap_or(redirect_path).split(['/', ':']).next().unwrap_or_default();
            if host.contains(".execute-api.") || self.our_origins().iter().any(|origin| origin.domain == host) {
                self.find(
                    Severity::Error,
                    "redirect-path",
                    "the function's redirect_path".to_owned(),
                    "it is the API's own address, where a viewer has no secret: every redirect ends in 403".to_owned(),
                    "set it to the distribution's address",
                );
            } else if !self.distribution.aliases.is_empty()
                && !host.contains("${")
                && !self.distribution.aliases.iter().any(|alias| covers(alias, host))
            {
                self.find(
                    Severity::Warning,
                    "redirect-path",
                    "the function's redirect_path".to_owned(),
                    format!("{host} is no alternate domain name of this distribution"),
                    "set it to the address that viewers use",
                );
            }
        }
        self
    }

    fn buckets(mut self) -> Self {
        for origin in &self.distribution.origins {
            if self.ours.contains(&origin.id) {
                continue;
            }
            let place = format!("the origin {}", origin.id);
            if origin.domain.contains(".s3-website") {
                self.find(
                    Severity::Error,
                    "bucket-website",
                    place,
                    "it is a bucket's website endpoint: http only, and the bucket has to be public".to_owned(),
                    "use the bucket's regional domain name with origin access control",
                );
            } else if origin.custom.is_none() && !origin.signed {
                self.find(
                    Severity::Error,
                    "bucket-open",
                    place,
                    "requests to the bucket are not signed: it has to be public, or each is refused with 403"
                        .to_owned(),
                    "give the origin an origin access control (in AWS China an origin access identity)",
                );
            }
            let to_it = |behavior: &&Behavior| behavior.origin == origin.id;
            for behavior in self.distribution.behaviors.iter().filter(to_it) {
                if origin.custom.is_none() && behavior.caching.forwards_header("host") == Some(true) {
                    self.find(
                        Severity::Error,
                        "host-forwarded",
                        behavior.name(),
                        "the viewer's Host reaches S3, which takes it for the bucket's name: every redirect ends in an error"
                            .to_owned(),
                        "take Host out of the policy, or leave the origin request policy out",
                    );
                }
            }
        }
        self
    }

    /// [Differences](https://docs.amazonaws.cn/en_us/aws/latest/userguide/cloudfront.html).
    fn china(mut self) -> Self {
        if !self.subject.china {
            return self;
        }
        let mut missing = Vec::new();
        if self.distribution.behaviors.iter().any(|behavior| !behavior.legacy) {
            missing.push((
                "cache and origin request policies",
                "use the legacy settings: ForwardedValues and the three TTLs",
            ));
        }
        if self.distribution.origins.iter().any(|origin| origin.access_control) {
            missing.push(("origin access control", "use an origin access identity"));
        }
        if self.distribution.certificate_of_acm {
            missing.push(("certificates of ACM", "upload the certificate to IAM and name it by IAMCertificateId"));
        }
        for (what, cure) in missing {
            self.find(
                Severity::Error,
                "not-in-china",
                "the distribution".to_owned(),
                format!("CloudFront in AWS China has no {what}"),
                cure,
            );
        }
        if self.distribution.aliases.is_empty() {
            self.find(
                Severity::Error,
                "not-in-china",
                "the distribution".to_owned(),
                "its own domain, *.cloudfront.cn, may not serve content".to_owned(),
                "add an alias whose ICP recordal is done",
            );
        }
        self
    }
}

fn without(name: &str) -> &'static str {
    if name == "redirect" { "nothing is ever redirected" } else { "every viewer gets the key without a version" }
}

/// What is wrong with a secret; the secret itself is in no text.
fn weakness(secret: &str) -> Option<String> {
    let different = secret.chars().collect::<BTreeSet<_>>().len();
    if secret == "lambdaapi_test" {
        Some("is the one of the published walk-through".to_owned())
    } else if secret.chars().count() < SECRET_CHARACTERS_MIN {
        Some(format!("has {} characters", secret.chars().count()))
    } else if different < SECRET_DIFFERENT_MIN {
        Some(format!("has {different} different characters"))
    } else {
        None
    }
}

/// An alias may begin with `*.`.
fn covers(alias: &str, host: &str) -> bool {
    match alias.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, of)| of.eq_ignore_ascii_case(parent)),
        None => alias.contains("${") || alias.eq_ignore_ascii_case(host),
    }
}
