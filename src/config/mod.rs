//! The environment → [`Config`], parsed once at the start, with every invalid setting reported together.
//!
//! nearedge's own settings follow the reference's style: lower case with underscores. Variables of AWS and its SDKs
//! keep their names.
//!
//! - `reader`: single settings by type; `copies`, `experiments`, `telemetry`: the settings of these features

mod copies;
mod experiments;
pub(crate) mod names;
mod reader;
mod telemetry;

use std::time::Duration;

use nearedge_core::access::secret::Secrets;
use nearedge_core::http::freshness::Limits;
use nearedge_core::object::is_version;
use nearedge_core::object::{Encoding, ObjectKey};
use nearedge_core::request::header_names::{AUTH_HEADER, HeaderNames, VERSION_HEADER, parse_header_name};
use nearedge_core::response::{Presentation, Vary};
use nearedge_core::rules::Policy;
use nearedge_core::rules::html::HtmlHandling;

use crate::config::reader::{Reader, is_key};
use crate::origin::{DefinitionsConfig, Exceptions, Oversize, SiteConfig};
use crate::storage::cache::CacheConfig;
use crate::storage::copies::CopiesConfig;
use crate::storage::s3::S3Config;
use crate::telemetry::TelemetryConfig;
use crate::telemetry::log::LogFilter;
use crate::warm_up::WarmUp;

pub use crate::config::reader::{ConfigError, InvalidSetting};

/// All settings, typed and validated.
///
/// `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// The settings of the rules.
    pub policy: Policy,
    /// The settings of responses.
    pub presentation: Presentation,
    /// The handling of missing and oversized objects.
    pub exceptions: Exceptions,
    /// The definition of experiments; `None` if they are disabled.
    pub site: SiteConfig,
    /// The bucket.
    pub s3: S3Config,
    /// The size of the cache and the lifetimes of its entries.
    pub cache: CacheConfig,
    /// Connections and cache entries before the first event.
    pub warm_up: WarmUp,
    /// The part of an invocation's time that S3 may not use: the time to respond.
    pub deadline_margin: Duration,
    /// How many invocations run at once: 1, or more on Lambda Managed Instances.
    pub concurrency: u32,
    /// Other names of the headers `lambda_auth` and `test_version`.
    pub header_names: Option<HeaderNames>,
    /// The function's memory.
    pub memory_bytes: u64,
    /// Which log lines are written.
    pub log: LogFilter,
    /// Metrics and traces.
    pub telemetry: TelemetryConfig,
}

/// Variables that Lambda sets in every execution environment and that its runtime requires
/// ([defined runtime environment variables](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)).
const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

/// The SDK's endpoint variables, in the SDK's order of precedence.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// The SDK takes credentials from the environment only if both are set.
const CREDENTIALS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/// The region, in the SDK's order of precedence.
const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// How many attempts the SDK may make of one request. With more, it computes delays for minutes without any request.
const ATTEMPTS: std::ops::RangeInclusive<u32> = 1..=100;

/// The longest duration that a setting accepts.
const YEAR_SECS: u64 = 31_536_000;

impl Config {
    /// Reads every setting through `env`, which returns the value of a variable.
    ///
    /// # Errors
    /// With all invalid and missing settings, not only the first.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(&env);
        reader.check_environment();
        let trusts_iam = reader.flag("function_url_iam", false);
        let secrets = reader.secrets(trusts_iam);
        let bucket = reader.bucket();
        let redirect_path = reader.redirect_path();
        let redirect_query = reader.flag("redirect_query", false);
        let test_versions = reader.test_versions();
        let variant_fallback = reader.flag("variant_fallback", false);
        let index_document = reader.key("index_document").unwrap_or_else(|| "index.html".to_owned());
        let spa_fallback = reader.key("spa_fallback");
        let spa_fallback_dots = reader.flag("spa_fallback_dots", false);
        if spa_fallback_dots && spa_fallback.is_none() {
            reader.reject("spa_fallback_dots", "has no effect without spa_fallback: set that to the key of the shell");
        }
        let html_handling = reader.html_handling();
        let missing_status = reader.missing_status();
        let variant_header = reader.flag("variant_header", true);
        let exceptions = Exceptions {
            error_document: reader.key("error_document").map(ObjectKey::new),
            oversize: reader.oversize(),
            object_redirects: reader.flag("object_redirects", false),
            compress_guarded: reader.flag("compress_guarded", false),
            presign_ttl: Duration::from_secs(reader.number("presign_ttl_secs", 300, 1..=604_800)),
        };
        let (auth, version) =
            (reader.header_name("auth_header", AUTH_HEADER), reader.header_name("version_header", VERSION_HEADER));
        if auth == version {
            reader.reject("version_header", "is the same as auth_header: the secret and the variant need two headers");
        }
        // Whether a request receives the shell depends on its Accept field.
        let accept = if spa_fallback.is_some() { ", accept" } else { "" };
        let vary = Vary::new(&format!("{version}, redirect{accept}"));
        let header_names = HeaderNames::new(auth, version);
        let path_style = reader.path_style();
        let ca_bundle = reader.ca_bundle();
        let credentials_in_env = CREDENTIALS.iter().all(|name| reader.text(name).is_some());
        let cache = reader.cache();
        let negotiation = cache.copies.negotiation();
        let experiments = reader.experiments(redirect_path.as_deref(), test_versions.as_deref(), cache.limits.ttl);
        let streaming = reader.flag("streaming", false);
        let encoding = if streaming { Encoding::Raw } else { Encoding::Base64 };
        let site = reader.site(experiments, cache.limits.ttl);
        let hidden = [&site.redirects, &site.headers].into_iter().flatten();
        let hidden = hidden.map(|key| key.as_str().to_owned()).collect();
        let warm_up = WarmUp {
            prewarm: reader.flag("prewarm", true),
            preload: reader.preload(cache.max_bytes),
            index_document: ObjectKey::new(index_document.clone()),
        };
        let deadline_margin_ms = reader.number("deadline_margin_ms", 500, 0..=20_000);
        let concurrency = reader.number("AWS_LAMBDA_MAX_CONCURRENCY", 1, 1..=10_000);
        let log = reader.log();
        let telemetry = reader.telemetry(test_versions.as_deref());
        match (secrets, bucket, redirect_path, log) {
            (Some(secrets), Some(bucket), Some(redirect_path), Some(log)) if reader.is_valid() => Ok(Self {
                policy: Policy {
                    secrets,
                    trusts_iam,
                    redirect_path,
                    redirect_query,
                    test_versions,
                    variant_fallback,
                    index_document,
                    spa_fallback,
                    spa_fallback_dots,
                    html_handling,
                    hidden,
                },
                presentation: Presentation { missing_status, variant_header, vary, negotiation, streaming },
                site,
                exceptions,
                s3: S3Config { bucket, path_style, ca_bundle, credentials_in_env, encoding },
                cache,
                warm_up,
                deadline_margin: Duration::from_millis(deadline_margin_ms),
                concurrency,
                header_names,
                memory_bytes: reader.memory_bytes(),
                log,
                telemetry,
            }),
            _ => Err(ConfigError(reader.into_invalid())),
        }
    }
}

/// Whether `name` is a bucket's name
/// ([rules](https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)), or an access point's alias.
fn is_bucket_name(name: &str) -> bool {
    let is_label = |label: &str| !(label.is_empty() || label.starts_with('-') || label.ends_with('-'));
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte))
        && name.split('.').all(is_label)
        && name.parse::<std::net::Ipv4Addr>().is_err()
}

/// Whether `arn` names an access point
/// ([access points](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html)).
fn is_access_point(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [_, partition, service, region, account, resource] = parts[..] else { return false };
    let name = resource.strip_prefix("accesspoint").and_then(|rest| rest.strip_prefix(['/', ':'])).unwrap_or_default();
    arn.starts_with("arn:")
        && partition.starts_with("aws")
        && ["s3", "s3-object-lambda"].contains(&service)
        // Multi-region access points have no region: they need SigV4A, which is not built in.
        && !region.is_empty()
        && is_region(region)
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

/// Whether `region` can be part of a host name.
fn is_region(region: &str) -> bool {
    region.len() <= 63
        && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !region.starts_with('-')
        && !region.ends_with('-')
}

/// Whether `url` is an http or https URL (RFC 3986) with a host and without a user.
fn is_http_url(url: &str) -> bool {
    // http::Uri accepts some characters that RFC 3986 does not.
    let is_uri = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    let Some(url) = url.parse::<http::Uri>().ok().filter(|_| is_uri) else { return false };
    let is_http =
        url.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()));
    let is_host = |host: &str| {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte))
    };
    let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
    // http::Uri checks neither the number of a port nor that of a byte of an IPv4 address.
    let port = url.authority().and_then(|authority| {
        authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, rest)| rest).split_once(':')
    });
    let has_valid_port = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok());
    let is_number = |host: &str| host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let has_valid_ip = url.host().is_none_or(|host| !is_number(host) || host.parse::<std::net::Ipv4Addr>().is_ok());
    is_http && url.host().is_some_and(is_host) && !has_user && has_valid_port && has_valid_ip
}

impl<E: Fn(&str) -> Option<String>> Reader<'_, E> {
    /// Checks the variables that Lambda and the SDK read themselves.
    fn check_environment(&mut self) {
        for name in LAMBDA_VARIABLES {
            if self.text(name).is_none() {
                self.reject(name, "is not set: this program runs inside AWS Lambda; `cargo run` starts it locally");
            }
        }
        let memory = self.text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        if let Some(memory) = memory.filter(|memory| memory.parse::<i32>().is_err()) {
            self.reject(
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                format!("is {memory:?}: use a whole number of megabytes, as Lambda does"),
            );
        }
        for name in ENDPOINTS {
            if self.text(name).is_some_and(|url| !is_http_url(&url) || url.contains(['?', '#'])) {
                self.reject(name, "is not an http or https URL with a host: use one such as http://127.0.0.1:3002");
            }
        }
        // The SDK panics on other values.
        let mode = self.text("AWS_RETRY_MODE");
        if let Some(mode) = mode.filter(|mode| !["standard", "adaptive"].contains(&mode.to_lowercase().as_str())) {
            self.reject("AWS_RETRY_MODE", format!("is {mode:?}: use standard or adaptive"));
        }
        let attempts = self.text("AWS_MAX_ATTEMPTS");
        if let Some(attempts) = attempts.filter(|text| !text.parse().is_ok_and(|attempts| ATTEMPTS.contains(&attempts)))
        {
            let (least, most) = (ATTEMPTS.start(), ATTEMPTS.end());
            self.reject("AWS_MAX_ATTEMPTS", format!("is {attempts:?}: use a whole number from {least} to {most}"));
        }
        match REGIONS.iter().find_map(|name| Some((*name, self.text(name)?))) {
            None => self.reject("AWS_REGION", "is not set: set it to the bucket's region"),
            Some((name, region)) if !is_region(&region) => {
                self.reject(name, format!("is {region:?}: use a region such as eu-west-1"));
            }
            Some(_) => {}
        }
        // The SDK panics on every request if a header field cannot carry them.
        for name in CREDENTIALS.into_iter().chain(["AWS_SESSION_TOKEN"]) {
            if self.text(name).is_some_and(|value| !value.bytes().all(|byte| byte.is_ascii_graphic())) {
                self.reject(name, "has characters that a request cannot carry: remove line feeds, spaces and the like");
            }
        }
    }

    /// A header name in lower case.
    fn header_name(&mut self, name: &'static str, default: &str) -> String {
        let header = self.text(name).unwrap_or_else(|| default.to_owned());
        parse_header_name(&header).unwrap_or_else(|error| {
            self.reject(name, error.to_string());
            default.to_owned()
        })
    }

    /// The secrets; none are needed if IAM guards the function URL.
    fn secrets(&mut self, trusts_iam: bool) -> Option<Secrets> {
        // An empty secret has an error of its own.
        let Some(current) = self.raw_text("lambda_auth") else {
            if trusts_iam {
                return Some(Secrets::none());
            }
            self.reject(
                "lambda_auth",
                "is not set: set it to the secret that CloudFront sends in the lambda_auth header",
            );
            return None;
        };
        let secrets = match Secrets::new(&current) {
            Ok(secrets) => secrets,
            Err(error) => {
                self.reject("lambda_auth", error.to_string());
                return None;
            }
        };
        match self.text("lambda_auth_next").map(|next| secrets.clone().with_next(&next)) {
            None => Some(secrets),
            Some(Ok(both)) => Some(both),
            Some(Err(error)) => {
                self.reject("lambda_auth_next", error.to_string());
                None
            }
        }
    }

    fn bucket(&mut self) -> Option<String> {
        let bucket = self.text("bucket");
        match &bucket {
            None => self.reject("bucket", "is not set: set it to the name of the bucket that contains the site"),
            // Unquoted, like redirect_path: it may be a secret in the wrong variable.
            Some(name) if name.contains("://") => {
                self.reject("bucket", "is a URL: use the bucket's name alone, such as my-site");
            }
            Some(name) if !name.starts_with("arn:") && name.contains('/') => {
                self.reject("bucket", "contains a /: use the bucket's name alone; nearedge serves the whole bucket");
            }
            Some(name) if !(is_bucket_name(name) || is_access_point(name)) => {
                self.reject(
                    "bucket",
                    "is neither a bucket's name (3 to 63 lower-case letters, digits, hyphens and dots) nor the ARN of an \
                     access point",
                );
            }
            Some(_) => {}
        }
        bucket
    }

    fn redirect_path(&mut self) -> Option<String> {
        let Some(path) = self.text("redirect_path") else {
            self.reject(
                "redirect_path",
                "is not set: set it to the distribution's address, such as https://dxxxx.cloudfront.net",
            );
            return None;
        };
        if !is_http_url(&path) || path.contains(['?', '#']) {
            self.reject(
                "redirect_path",
                "is not the start of an http or https URL: use one without ? and #, such as https://dxxxx.cloudfront.net",
            );
            return None;
        }
        Some(path.trim_end_matches('/').to_owned())
    }

    fn test_versions(&mut self) -> Option<Vec<String>> {
        let versions: Vec<String> =
            self.text("test_versions")?.split(',').map(|version| version.trim().to_owned()).collect();
        if let Some(bad) = versions.iter().find(|version| !is_version(version)) {
            let problem = format!(
                "contains {bad:?}: list variants such as v1,v2, each of 1 to 64 letters, digits, dots, underscores or \
                 hyphens, and neither . nor .."
            );
            self.reject("test_versions", problem);
        }
        Some(versions)
    }

    /// The files of the site that configure the origin.
    fn site(&mut self, experiments: Option<DefinitionsConfig>, ttl: Duration) -> SiteConfig {
        let mut key = |name| self.key(name).map(ObjectKey::new);
        let (redirects, headers, access) = (key("redirects"), key("headers"), key("access"));
        SiteConfig { experiments, redirects, headers, access, ttl }
    }

    fn html_handling(&mut self) -> HtmlHandling {
        let Some(text) = self.text("html_handling") else { return HtmlHandling::None };
        HtmlHandling::ALL.into_iter().find(|mode| mode.name() == text).unwrap_or_else(|| {
            let names = HtmlHandling::ALL.map(HtmlHandling::name).join(", ");
            self.reject("html_handling", format!("is {text:?}: use one of {names}"));
            HtmlHandling::None
        })
    }

    fn oversize(&mut self) -> Oversize {
        match self.text("oversize").as_deref() {
            None | Some("presign") => Oversize::Presign,
            Some("redirect") => Oversize::Redirect,
            Some("reject") => Oversize::Reject,
            Some(other) => {
                self.reject("oversize", format!("is {other:?}: use presign, redirect or reject"));
                Oversize::Presign
            }
        }
    }

    fn missing_status(&mut self) -> u16 {
        match self.text("missing_status").as_deref() {
            None | Some("404") => 404,
            Some("200") => 200,
            Some(other) => {
                self.reject(
                    "missing_status",
                    format!("is {other:?}: use 404, or 200 to respond as the reference does"),
                );
                404
            }
        }
    }

    /// AWS expects the bucket in the host name. A custom endpoint seldom has a host name for each bucket.
    fn path_style(&mut self) -> bool {
        let custom_endpoint = ENDPOINTS.iter().any(|name| self.text(name).is_some());
        self.flag("s3_path_style", custom_endpoint)
    }

    fn ca_bundle(&mut self) -> Option<Vec<u8>> {
        let name = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().find(|name| self.text(name).is_some())?;
        self.certificates(name)
    }

    /// The function's memory; Lambda's default of 128 MB if it is unknown.
    fn memory_bytes(&self) -> u64 {
        let memory = self.text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|memory| memory.parse::<u32>().ok());
        u64::from(memory.unwrap_or(128)) << 20
    }

    /// The settings of the cache. Its default size depends on the function's memory.
    fn cache(&mut self) -> CacheConfig {
        let memory_bytes = self.memory_bytes();
        let seconds = |secs| Duration::from_secs(secs);
        let max_bytes = self.number("cache_max_bytes", memory_bytes / 8 * 3, 0..=memory_bytes);
        let copies = self.copies(memory_bytes);
        CacheConfig {
            max_bytes,
            object_max_bytes: self.number("cache_object_max_bytes", 1 << 20, 0..=memory_bytes),
            limits: Limits {
                ttl: seconds(self.number("cache_ttl_secs", 10, 0..=YEAR_SECS)),
                stale_while_revalidate: seconds(self.number("stale_while_revalidate_secs", 0, 0..=YEAR_SECS)),
                stale_if_error: seconds(self.number("stale_if_error_secs", 300, 0..=YEAR_SECS)),
            },
            missing_ttl: seconds(self.number("cache_missing_ttl_secs", 2, 0..=YEAR_SECS)),
            // Copies are cache entries.
            copies: if max_bytes > 0 { copies } else { CopiesConfig::default() },
        }
    }

    fn preload(&mut self, cache_max_bytes: u64) -> Vec<ObjectKey> {
        let Some(list) = self.text("preload") else { return Vec::new() };
        if cache_max_bytes == 0 {
            self.reject("preload", "needs a cache, but cache_max_bytes is 0: enable the cache or remove preload");
        }
        let keys: Vec<&str> = list.split(',').map(str::trim).collect();
        if let Some(bad) = keys.iter().find(|key| !is_key(key)) {
            let problem = format!(
                "contains {bad:?}: list keys of objects, such as index.html,v1/test.html, without a / at either end"
            );
            self.reject("preload", problem);
            return Vec::new();
        }
        keys.into_iter().map(|key| ObjectKey::new(key.to_owned())).collect()
    }

    fn log(&mut self) -> Option<LogFilter> {
        let name = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"].into_iter().find(|name| self.text(name).is_some());
        let Some(name) = name else { return Some(LogFilter::default()) };
        let level = self.text(name).unwrap_or_default();
        let filter = LogFilter::parse(&level);
        if filter.is_none() {
            self.reject(name, format!("is {level:?}: use TRACE, DEBUG, INFO, WARN or ERROR"));
        }
        filter
    }
}

#[cfg(test)]
mod tests;
