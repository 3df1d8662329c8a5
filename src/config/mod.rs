//! The environment → [`Config`], parsed once at the start, with every invalid setting reported together.
//!
//! nearedge's own settings follow the reference's style: lower case with underscores. Variables of AWS and its SDKs
//! keep their names.
//!
//! - `reader`: single settings by type; `telemetry`: the settings of traces and metrics

mod reader;
mod telemetry;

use std::time::Duration;

use nearedge_core::access::secret::Secrets;
use nearedge_core::http::freshness::Limits;
use nearedge_core::object::ObjectKey;
use nearedge_core::response::Presentation;
use nearedge_core::rules::Policy;
use nearedge_core::rules::is_version;

use crate::config::reader::{Reader, is_key};
use crate::origin::{Exceptions, Oversize};
use crate::storage::cache::CacheConfig;
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
        let secrets = reader.secrets();
        let bucket = reader.bucket();
        let redirect_path = reader.redirect_path();
        let redirect_query = reader.flag("redirect_query", false);
        let test_versions = reader.test_versions();
        let variant_fallback = reader.flag("variant_fallback", false);
        let index_document = reader.key("index_document").unwrap_or_else(|| "index.html".to_owned());
        let spa_fallback = reader.key("spa_fallback");
        let missing_status = reader.missing_status();
        let variant_header = reader.flag("variant_header", true);
        let exceptions = Exceptions {
            error_document: reader.key("error_document").map(ObjectKey::new),
            oversize: reader.oversize(),
            presign_ttl: Duration::from_secs(reader.number("presign_ttl_secs", 300, 1..=604_800)),
        };
        // Whether a request receives the shell depends on its Accept field.
        let vary = if spa_fallback.is_some() { "test_version, redirect, accept" } else { "test_version, redirect" };
        let path_style = reader.path_style();
        let ca_bundle = reader.ca_bundle();
        let credentials_in_env = CREDENTIALS.iter().all(|name| reader.text(name).is_some());
        let cache = reader.cache();
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
                    redirect_path,
                    redirect_query,
                    test_versions,
                    variant_fallback,
                    index_document,
                    spa_fallback,
                },
                presentation: Presentation { missing_status, variant_header, vary },
                exceptions,
                s3: S3Config { bucket, path_style, ca_bundle, credentials_in_env },
                cache,
                warm_up,
                deadline_margin: Duration::from_millis(deadline_margin_ms),
                concurrency,
                log,
                telemetry,
            }),
            _ => Err(ConfigError(reader.into_invalid())),
        }
    }
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
            let usable =
                |url: String| url.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some() && url.host().is_some());
            if self.text(name).is_some_and(|url| !usable(url)) {
                self.reject(name, "is not a URL with a host: use one such as http://127.0.0.1:3002");
            }
        }
        // The SDK panics on other values.
        let mode = self.text("AWS_RETRY_MODE");
        if let Some(mode) = mode.filter(|mode| !["standard", "adaptive"].contains(&mode.to_lowercase().as_str())) {
            self.reject("AWS_RETRY_MODE", format!("is {mode:?}: use standard or adaptive"));
        }
        let attempts = self.text("AWS_MAX_ATTEMPTS");
        if let Some(attempts) = attempts.filter(|text| !text.parse::<u32>().is_ok_and(|attempts| attempts > 0)) {
            self.reject("AWS_MAX_ATTEMPTS", format!("is {attempts:?}: use a whole number from 1"));
        }
        if self.text("AWS_REGION").or_else(|| self.text("AWS_DEFAULT_REGION")).is_none() {
            self.reject("AWS_REGION", "is not set: set it to the bucket's region");
        }
    }

    fn secrets(&mut self) -> Option<Secrets> {
        // An empty secret has an error of its own.
        let Some(current) = self.raw_text("lambda_auth") else {
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
            Some(name) if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:/".contains(&byte)) => {
                // Unquoted, like redirect_path: it may be a secret in the wrong variable.
                self.reject("bucket", "is not a bucket's name: use the name, without s3:// and without spaces");
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
        let host = ["https://", "http://"].iter().find_map(|scheme| path.strip_prefix(scheme));
        if host.is_none_or(|host| host.is_empty() || host.starts_with('/'))
            || !path.bytes().all(|byte| byte.is_ascii_graphic())
            || path.contains(['?', '#'])
        {
            self.reject(
                "redirect_path",
                "is not the start of a URL: use one without spaces, ? and #, such as https://dxxxx.cloudfront.net",
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

    /// The settings of the cache. Its default size depends on the function's memory.
    fn cache(&mut self) -> CacheConfig {
        let memory = self.text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|memory| memory.parse::<u32>().ok());
        let memory_bytes = u64::from(memory.unwrap_or(128)) << 20;
        let seconds = |secs| Duration::from_secs(secs);
        CacheConfig {
            max_bytes: self.number("cache_max_bytes", memory_bytes / 8 * 3, 0..=memory_bytes),
            object_max_bytes: self.number("cache_object_max_bytes", 1 << 20, 0..=memory_bytes),
            limits: Limits {
                ttl: seconds(self.number("cache_ttl_secs", 10, 0..=YEAR_SECS)),
                stale_while_revalidate: seconds(self.number("stale_while_revalidate_secs", 0, 0..=YEAR_SECS)),
                stale_if_error: seconds(self.number("stale_if_error_secs", 300, 0..=YEAR_SECS)),
            },
            missing_ttl: seconds(self.number("cache_missing_ttl_secs", 2, 0..=YEAR_SECS)),
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
