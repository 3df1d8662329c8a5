//! Cache behaviours: what is forwarded, what is in the cache key, and what is cached.
//!
//! [Cache behavior settings](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/DownloadDistValuesCacheBehavior.html).

use std::collections::{BTreeMap, BTreeSet};

use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use nearedge_core::experiment::attribute::Field;

use crate::cloudfront::cache::answer::CONDITIONS;
use crate::cloudfront::cache::freshness::{Rules, TTL_SECS_MAX};
use crate::cloudfront::forward;
use crate::cloudfront::limits;
use crate::policy::caching::{CachePolicy, Caching, Codings, Names, RequestPolicy, Ttl};
use crate::policy::copies::Copies;
use crate::policy::distribution::{self, Distribution};
use crate::policy::experiment::Experiments;
use crate::policy::path_pattern::matches;

/// The default TTL of all behaviours of deploy/aws.yaml, in seconds.
const DEFAULT_TTL_SECS: u64 = 60;

/// MaxTTL of deploy/aws.yaml.
const MAX_TTL_SECS: u64 = 31_536_000;

/// The origin of a behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The API: any custom origin of the configuration.
    Api,
    /// The bucket: any S3 origin of the configuration.
    Bucket,
}

/// A cache behaviour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behavior {
    /// The path pattern; none for the default behaviour.
    pub pattern: Option<String>,
    /// The origin.
    pub target: Target,
    /// The allowed methods.
    pub methods: BTreeSet<String>,
    /// Whether responses to OPTIONS are cached, besides those to GET and HEAD.
    pub caches_options: bool,
    /// The cache key and the TTLs.
    pub cache: CachePolicy,
    /// What is forwarded in addition to the cache key.
    pub request: RequestPolicy,
    /// Whether it has legacy settings. They forward unlisted headers too, except some.
    pub legacy: bool,
}

/// The behaviours of a distribution, and its error caching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviors {
    /// In the order in which CloudFront matches them; the default behaviour is the last.
    pub list: Vec<Behavior>,
    /// ErrorCachingMinTTL by status, in seconds.
    pub error_ttl_secs: BTreeMap<u16, u64>,
}

/// What the function's settings add to the distribution of deploy/aws.yaml.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extras {
    /// Whether `spa_fallback` is set.
    pub spa_fallback: bool,
    /// The settings of experiments; none if `experiments` is not set.
    pub experiments: Option<Experiments>,
    /// Whether `redirects` is set: conditions test the country and the language.
    pub redirects: bool,
    /// Whether `headers` is set: requests from other origins are answered.
    pub headers: bool,
    /// Which copies of objects the function sends.
    pub copies: Copies,
    /// Whether `access` is set: nothing leads past the function, and tokens reach it.
    pub access: bool,
}

impl Extras {
    /// Reads the function's settings; `setting` returns a setting by its name.
    pub fn of_settings(setting: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &str| setting(name).is_some_and(|value| !value.trim().is_empty());
        let (spa_fallback, has_experiments) = (is_set("spa_fallback"), is_set("experiments"));
        let (redirects, headers, access) = (is_set("redirects"), is_set("headers"), is_set("access"));
        let copies = Copies::from_settings(&setting);
        let experiments = has_experiments.then(|| Experiments::from_settings(setting));
        Self { spa_fallback, experiments, redirects, headers, copies, access }
    }

    /// The codings of the template's cache policy.
    pub fn codings(&self) -> Codings {
        let codings = self.copies.codings;
        Codings { gzip: codings, brotli: codings }
    }

    /// The headers that the origin request policy lists because of rules. An origin request policy cannot list Authorization.
    fn listed_headers(&self) -> impl Iterator<Item = &'static str> {
        let of_cors = CORS_HEADERS.into_iter().filter(|_| self.headers);
        let has_experiments = self.experiments.is_some();
        let of_media =
            ACCEPT_HEADERS.into_iter().filter(move |_| (self.access || self.copies.formats) && !has_experiments);
        let of_conditions = CONDITION_HEADERS.into_iter().filter(move |_| self.redirects && !has_experiments);
        of_cors.chain(of_media).chain(of_conditions)
    }

    /// The headers that reach the function because of rules, without caching.
    pub fn forwarded_headers(&self) -> impl Iterator<Item = HeaderName> {
        let all = self.listed_headers().chain(self.access.then_some("authorization"));
        all.map(HeaderName::from_static)
    }

    /// The headers that the cache key contains because of `experiments_cache_key` and of rules.
    fn key_headers(&self) -> Vec<String> {
        let fields: Vec<Field> = self.key_fields().collect();
        let of_rules = CONDITION_HEADERS.into_iter().filter(|_| self.redirects);
        let of_rules = of_rules.chain(self.headers.then_some("origin")).chain(self.access.then_some("authorization"));
        fields.iter().flat_map(Field::headers).chain(of_rules).map(str::to_owned).collect()
    }

    /// The cookies in the cache key: the assignments and the consent.
    fn key_cookies(&self) -> Names {
        match &self.experiments {
            None => Names::None,
            Some(experiments) => Names::Listed(
                [experiments.assignments_cookie()].into_iter().chain(experiments.consent.clone()).collect(),
            ),
        }
    }

    /// The query strings in the cache key: all for previews, for `experiments_cache_key` and for redirects.
    fn key_queries(&self) -> Names {
        let previews = self.experiments.as_ref().is_some_and(|experiments| experiments.preview);
        if previews || self.redirects || self.key_fields().next().is_some() { Names::All } else { Names::None }
    }

    /// The attributes of `experiments_cache_key`, except for cookies.
    fn key_fields(&self) -> impl Iterator<Item = Field> {
        let names = self.experiments.iter().flat_map(|experiments| &experiments.cache_key);
        names.filter_map(|name| Field::of_name(name)).filter(|field| !matches!(field, Field::Cookie(_)))
    }
}

/// The headers of requests from other origins.
const CORS_HEADERS: [&str; 3] = ["origin", "access-control-request-method", "access-control-request-headers"];

/// The headers by which a navigation is recognized, which a login needs, and an image format is selected.
const ACCEPT_HEADERS: [&str; 1] = ["accept"];

/// The headers that conditions of redirects test.
const CONDITION_HEADERS: [&str; 2] = ["cloudfront-viewer-country", "accept-language"];

/// The headers that experiments read, in addition to those of the walk-through.
///
/// They are more than the ten that CloudFront allows in a policy by default: a deployed distribution forwards only those
/// that its definition needs.
pub const EXPERIMENT_HEADERS: [&str; 14] = [
    "accept",
    "accept-language",
    "cloudfront-is-desktop-viewer",
    "cloudfront-is-mobile-viewer",
    "cloudfront-is-smarttv-viewer",
    "cloudfront-is-tablet-viewer",
    "cloudfront-viewer-city",
    "cloudfront-viewer-country",
    "cloudfront-viewer-country-region",
    "purpose",
    "referer",
    "sec-fetch-dest",
    "sec-purpose",
    "user-agent",
];

/// The headers that legacy settings forward only if they list them. Others are forwarded
/// ([HTTP request headers and CloudFront behavior](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html#request-custom-headers-behavior)).
pub const REMOVED: [&str; 19] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "connection",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "te",
    "trailer",
    "upgrade",
    "user-agent",
    "x-http-method-override",
    "x-real-ip",
];

/// The methods of a behaviour for beacons: CloudFront allows no narrower set with POST
/// ([AllowedMethods](https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_AllowedMethods.html)).
const ALL_METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// Fields of one connection or of one hop, which no policy forwards.
const NEVER: [&str; 14] = [
    "accept-encoding",
    "connection",
    "content-length",
    "cookie",
    "keep-alive",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-amz-cf-id",
    "x-forwarded-for",
    "x-forwarded-proto",
];

impl Behaviors {
    /// The distribution of deploy/aws.yaml with `Caching=on`. `forwarded` is in addition to the template's headers.
    pub fn caching_on(
        version_header: &HeaderName,
        variants: &[String],
        forwarded: &[HeaderName],
        extras: &Extras,
    ) -> Self {
        let ttl = Ttl { minimum: 0, default: DEFAULT_TTL_SECS, maximum: MAX_TTL_SECS };
        // With Caching=on the template's policies have both, whatever the function sends: CloudFront then compresses.
        let codings = Codings { gzip: true, brotli: true };
        let selecting = || {
            [version_header.as_str(), "redirect"]
                .into_iter()
                .chain((extras.spa_fallback || extras.copies.formats).then_some("accept"))
        };
        let in_key = extras.key_headers();
        let forwarded = forwarded.iter().map(HeaderName::as_str);
        let of_experiments = EXPERIMENT_HEADERS.into_iter().filter(|_| extras.experiments.is_some());
        let of_settings: Vec<&str> = of_experiments.chain(extras.listed_headers()).collect();
        let forwarded = selecting().chain(forwarded).chain(of_settings.iter().copied());
        let get_and_head = ["GET", "HEAD"].map(str::to_owned);
        let request = RequestPolicy {
            headers: Names::listed(forwarded),
            query_strings: Names::All,
            cookies: Names::All,
            added: BTreeSet::new(),
        };
        let beacons = extras.experiments.as_ref().map(|experiments| Behavior {
            pattern: Some(format!("{}/*", experiments.path)),
            target: Target::Api,
            methods: ALL_METHODS.map(str::to_owned).into(),
            caches_options: false,
            cache: disabled(),
            request: request.clone(),
            legacy: false,
        });
        let of_variant = |variant: &String| Behavior {
            pattern: Some(format!("/{variant}/*")),
            target: Target::Bucket,
            methods: get_and_head.clone().into(),
            caches_options: false,
            cache: CachePolicy { headers: Names::None, query_strings: Names::None, cookies: Names::None, codings, ttl },
            request: nothing(),
            legacy: false,
        };
        let default = Behavior {
            pattern: None,
            target: Target::Api,
            methods: get_and_head.iter().cloned().chain(["OPTIONS".to_owned()]).collect(),
            caches_options: false,
            cache: CachePolicy {
                headers: Names::listed(selecting().chain(in_key.iter().map(String::as_str))),
                query_strings: extras.key_queries(),
                cookies: extras.key_cookies(),
                codings,
                ttl,
            },
            request,
            legacy: false,
        };
        let codes = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504];
        Self {
            list: beacons
                .into_iter()
                .chain(variants.iter().filter(|_| !extras.access).map(of_variant))
                .chain([default])
                .collect(),
            error_ttl_secs: codes.into_iter().map(|code| (code, 0)).collect(),
        }
    }

    /// The behaviours of a distribution's configuration.
    ///
    /// # Errors
    /// If CloudFront would not accept it, or a policy is unknown: the behaviour, the reason and what to do, in one line.
    pub fn parse(distribution: &Distribution) -> Result<Self, String> {
        limits::check(distribution)?;
        let parse = |behavior: &distribution::Behavior| {
            Behavior::parse(behavior, distribution).map_err(|reason| format!("{}: {reason}", behavior.name()))
        };
        let codes =
            distribution.errors.iter().filter_map(|error| Some((u16::try_from(error.code).ok()?, error.ttl_secs)));
        Ok(Self {
            list: distribution.behaviors.iter().map(parse).collect::<Result<_, _>>()?,
            error_ttl_secs: codes.collect(),
        })
    }

    /// Whether any behaviour caches objects.
    pub fn cache(&self) -> bool {
        self.list.iter().any(|behavior| self.rules(behavior, &Method::GET).caches_objects)
    }

    /// The behaviour that applies to a path.
    pub fn of(&self, path: &str) -> Option<&Behavior> {
        self.list.iter().find(|behavior| behavior.pattern.as_ref().is_none_or(|pattern| matches(pattern, path)))
    }

    /// The rules of the cache for a request.
    pub fn rules(&self, behavior: &Behavior, method: &Method) -> Rules {
        let cached =
            matches!(*method, Method::GET | Method::HEAD) || *method == Method::OPTIONS && behavior.caches_options;
        let caches = !behavior.cache.ttl.is_zero();
        // "If you configure CloudFront to forward all headers to your origin, CloudFront doesn't cache"
        // (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/header-caching.html).
        let cacheable = cached && behavior.cache.headers != Names::All;
        Rules {
            caches_objects: cacheable && caches,
            // "If you're using the CachingDisabled managed cache policy, CloudFront won't cache these status codes"
            // (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/HTTPStatusCodes.html).
            caches_errors: cacheable && (caches || behavior.legacy),
            // "Currently, CloudFront doesn't support request collapsing if you enable cookie forwarding in the cache policy,
            // the origin request policy, or the legacy cache settings"
            // (https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html#request-custom-traffic-spikes).
            collapses: cacheable && caches && !behavior.forwards_cookies(),
            ttl: behavior.cache.ttl.limited_to(TTL_SECS_MAX),
            error_ttl_secs: self.error_ttl_secs.iter().map(|(code, secs)| (*code, (*secs).min(TTL_SECS_MAX))).collect(),
        }
    }
}

/// The managed policy CachingDisabled.
fn disabled() -> CachePolicy {
    CachePolicy {
        headers: Names::listed([]),
        query_strings: Names::None,
        cookies: Names::None,
        codings: Codings::default(),
        ttl: Ttl { minimum: 0, default: 0, maximum: 0 },
    }
}

/// A policy that forwards nothing.
fn nothing() -> RequestPolicy {
    RequestPolicy { headers: Names::None, query_strings: Names::None, cookies: Names::None, added: BTreeSet::new() }
}

impl Behavior {
    fn parse(behavior: &distribution::Behavior, distribution: &Distribution) -> Result<Self, String> {
        let unknown = |id: &String| {
            format!(
                "expected a known policy, found {id:?}: add --policy with the output of aws cloudfront get-cache-policy or get-origin-request-policy"
            )
        };
        let (cache, request, legacy) = match &behavior.caching {
            Caching::Legacy(cache) => (cache.clone(), nothing(), true),
            Caching::Policies { cache, request } => {
                let request = request.as_ref().map_or_else(|| Ok(nothing()), |request| request.clone());
                (cache.as_ref().map_err(unknown)?.clone(), request.map_err(|id| unknown(&id))?, false)
            }
        };
        let id = behavior.first_origin();
        let origin = distribution.origins.iter().find(|origin| origin.id == id);
        let origin = origin.ok_or_else(|| format!("expected an origin with the id {id:?}, found none"))?;
        let methods = if behavior.allowed_methods.is_empty() {
            ["GET", "HEAD"].map(str::to_owned).into()
        } else {
            behavior.allowed_methods.clone()
        };
        Ok(Self {
            pattern: behavior.pattern.clone(),
            target: if origin.custom.is_some() { Target::Api } else { Target::Bucket },
            methods,
            caches_options: behavior.cached_methods.contains("OPTIONS"),
            cache,
            request,
            legacy,
        })
    }

    /// Whether a policy lists a header, whose name is in lower case.
    pub fn lists_header(&self, name: &str) -> bool {
        let lists = |names: &Names| matches!(names, Names::Listed(listed) if listed.contains(name));
        lists(&self.cache.headers) || lists(&self.request.headers) || self.request.added.contains(name)
    }

    /// Whether any cookie is forwarded.
    pub fn forwards_cookies(&self) -> bool {
        !self.cache.cookies.is_empty() || !self.request.cookies.is_empty()
    }

    /// The query string that the origin receives.
    pub fn forwarded_query(&self, query: Option<&str>) -> Option<String> {
        let policies = [&self.cache.query_strings, &self.request.query_strings];
        forward::query(query, |name| policies.iter().any(|names| forward::contains(names, name)))
    }

    /// The headers of the viewer's request that the origin receives.
    pub fn forwarded_headers(&self, method: &Method, viewer: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in viewer.keys().filter(|name| self.forwards_header(method, name)) {
            for value in viewer.get_all(name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let policies = [&self.cache.cookies, &self.request.cookies];
        let cookies = forward::cookies(viewer, |name| policies.iter().any(|names| forward::contains(names, name)));
        if !cookies.is_empty()
            && let Ok(value) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
        {
            headers.insert(COOKIE, value);
        }
        for name in CONDITIONS {
            if let Some(value) = viewer.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        headers
    }

    fn forwards_header(&self, method: &Method, name: &HeaderName) -> bool {
        let text = name.as_str();
        if NEVER.contains(&text) || text.starts_with("x-edge-") {
            return false;
        }
        // CloudFront adds its own headers only if a list names them.
        if self.lists_header(text) || text == "content-type" {
            return true;
        }
        if text.starts_with("cloudfront-") {
            return false;
        }
        let names = [&self.cache.headers, &self.request.headers];
        let reads = matches!(*method, Method::GET | Method::HEAD);
        names.iter().any(|names| names.contains(text) == Some(true))
            || self.legacy && !REMOVED.contains(&text) && !(name == AUTHORIZATION && reads) && name != HOST
    }
}

#[cfg(test)]
mod tests;
