//! The environment → [`Config`], once at the start, with every fault reported together.
//!
//! Settings keep the reference's style: lower-case with underscores. What AWS and its SDKs name keeps
//! its own name.

mod telemetry;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::http_client::read_anchors;
use crate::origin::{Exceptions, Oversize};
use crate::storage::cache::CacheConfig;
use crate::telemetry::log::LogFilter;
use nearedge_core::access::secret::Secrets;
use nearedge_core::http::freshness::Limits;
use nearedge_core::object::{KEY_BYTES_MAX, ObjectKey};
use nearedge_core::response::Presentation;
use nearedge_core::rules::policy::Policy;
use nearedge_core::rules::variant::is_version;

use crate::storage::s3::S3Config;
use crate::telemetry::TelemetryConfig;
use crate::warm_up::WarmUp;

/// Everything that the environment says, typed and checked.
///
/// `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// What the rules depend on.
    pub policy: Policy,
    /// What the responses depend on.
    pub presentation: Presentation,
    /// What is done when the object asked for cannot be the answer.
    pub exceptions: Exceptions,
    /// Where the objects are.
    pub s3: S3Config,
    /// What is kept of them, and for how long.
    pub cache: CacheConfig,
    /// What is done before the first event is asked for.
    pub warm_up: WarmUp,
    /// What is left of an invocation's time when S3's budget ends: the time to answer in.
    pub deadline_margin: Duration,
    /// How many invocations run at once: 1, or more on Lambda Managed Instances.
    pub concurrency: u32,
    /// Which log lines are written.
    pub log: LogFilter,
    /// What is told of each invocation besides.
    pub telemetry: TelemetryConfig,
}

/// One setting that is wrong: its name and what to do about it. It never quotes a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The environment variable.
    pub name: &'static str,
    /// What is wrong with it, as a sentence that its name begins.
    pub problem: String,
}

/// Every setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Fault>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration: ")?;
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{} {}", fault.name, fault.problem)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// What Lambda sets in every execution environment and its runtime cannot do without
/// ([defined runtime environment variables](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)).
const LAMBDA_VARIABLES: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];

/// The SDK's own, the first before the second.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// Without either there are none.
const CREDENTIALS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

impl Config {
    /// Reads every setting through `env`, which gives the value of a variable.
    ///
    /// # Errors
    /// With all the settings that are wrong, not only the first.
    pub fn from_env(env: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader { env: &env, faults: Vec::new() };
        reader.check_lambda();
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
        // A shell is chosen by what the request accepts.
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
            (Some(secrets), Some(bucket), Some(redirect_path), Some(log)) if reader.faults.is_empty() => Ok(Self {
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
            _ => Err(ConfigError(reader.faults)),
        }
    }
}

/// The longest time that a setting can be.
const YEAR_SECS: u64 = 31_536_000;

/// Whether a setting can be the key of an object that a path leads to.
fn is_key(key: &str) -> bool {
    !(key.is_empty() || key.starts_with('/') || key.ends_with('/') || key.contains('\0') || key.len() > KEY_BYTES_MAX)
}

/// Reads settings and collects what is wrong with them.
struct Reader<'a, E> {
    env: &'a E,
    faults: Vec<Fault>,
}

impl<E: Fn(&str) -> Option<String>> Reader<'_, E> {
    /// The value of a variable; templates set what they leave out to the empty text, which is no value.
    fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn fault(&mut self, name: &'static str, problem: impl Into<String>) {
        self.faults.push(Fault { name, problem: problem.into() });
    }

    fn check_lambda(&mut self) {
        for name in LAMBDA_VARIABLES {
            if self.text(name).is_none() {
                self.fault(name, "is not set: this program runs inside AWS Lambda; `cargo run` starts it locally");
            }
        }
        if self.text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").is_some_and(|memory| memory.parse::<i32>().is_err()) {
            self.fault("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "is not a whole number of megabytes");
        }
        for name in ENDPOINTS {
            let usable =
                |url: String| url.parse::<http::Uri>().is_ok_and(|url| url.scheme().is_some() && url.host().is_some());
            if self.text(name).is_some_and(|url| !usable(url)) {
                self.fault(name, "is no address: it starts with http:// or https://, such as http://127.0.0.1:3002");
            }
        }
        // The SDK panics on what it does not know.
        if self
            .text("AWS_RETRY_MODE")
            .is_some_and(|mode| !["standard", "adaptive"].contains(&mode.to_lowercase().as_str()))
        {
            self.fault("AWS_RETRY_MODE", "is no retry mode: use standard or adaptive");
        }
        if self
            .text("AWS_MAX_ATTEMPTS")
            .is_some_and(|attempts| !attempts.parse::<u32>().is_ok_and(|attempts| attempts > 0))
        {
            self.fault("AWS_MAX_ATTEMPTS", "is no number of attempts: use a whole number from 1");
        }
        if self.text("AWS_REGION").or_else(|| self.text("AWS_DEFAULT_REGION")).is_none() {
            self.fault("AWS_REGION", "is not set: set it to the bucket's region");
        }
    }

    fn secrets(&mut self) -> Option<Secrets> {
        let Some(current) = (self.env)("lambda_auth") else {
            self.fault(
                "lambda_auth",
                "is not set: set it to the secret that CloudFront sends in the lambda_auth header",
            );
            return None;
        };
        let secrets = match Secrets::new(&current) {
            Ok(secrets) => secrets,
            Err(fault) => {
                self.fault("lambda_auth", fault.to_string());
                return None;
            }
        };
        match self.text("lambda_auth_next").map(|next| secrets.clone().with_next(&next)) {
            None => Some(secrets),
            Some(Ok(both)) => Some(both),
            Some(Err(fault)) => {
                self.fault("lambda_auth_next", fault.to_string());
                None
            }
        }
    }

    fn bucket(&mut self) -> Option<String> {
        let bucket = self.text("bucket");
        match &bucket {
            None => self.fault("bucket", "is not set: set it to the name of the bucket that holds the site"),
            Some(name) if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:/".contains(&byte)) => {
                self.fault("bucket", "is not a bucket's name: use its name, without s3:// and without spaces");
            }
            Some(_) => {}
        }
        bucket
    }

    fn redirect_path(&mut self) -> Option<String> {
        let Some(path) = self.text("redirect_path") else {
            self.fault(
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
            self.fault(
                "redirect_path",
                "is not an address to redirect to: it starts with https:// and holds no space, ? or #, such as https://dxxxx.cloudfront.net",
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
                "holds {bad:?}, which is no version: list versions such as v1,v2, each of 1 to 64 letters, digits, dots, underscores or hyphens"
            );
            self.fault("test_versions", problem);
        }
        Some(versions)
    }

    /// The key of a document, as it would stand in a path.
    fn key(&mut self, name: &'static str) -> Option<String> {
        let key = self.text(name)?;
        if !is_key(&key) {
            self.fault(
                name,
                format!("is {key:?}: use the key of an object, such as index.html, without a / at either end"),
            );
            return None;
        }
        Some(key)
    }

    fn oversize(&mut self) -> Oversize {
        match self.text("oversize").as_deref() {
            None | Some("presign") => Oversize::Presign,
            Some("redirect") => Oversize::Redirect,
            Some("reject") => Oversize::Reject,
            Some(other) => {
                let problem = format!("is {other:?}: use presign, redirect or reject");
                self.fault("oversize", problem);
                Oversize::Presign
            }
        }
    }

    fn missing_status(&mut self) -> u16 {
        match self.text("missing_status").as_deref() {
            None | Some("404") => 404,
            Some("200") => 200,
            Some(other) => {
                let problem = format!("is {other:?}: use 404, or 200 to answer as the reference does");
                self.fault("missing_status", problem);
                404
            }
        }
    }

    /// Virtual-hosted buckets are AWS's way; another endpoint seldom has a host name for each bucket.
    fn path_style(&mut self) -> bool {
        let other_endpoint = ENDPOINTS.iter().any(|name| self.text(name).is_some());
        self.flag("s3_path_style", other_endpoint)
    }

    fn ca_bundle(&mut self) -> Option<Vec<u8>> {
        let name = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().find(|name| self.text(name).is_some())?;
        let path = self.text(name)?;
        match std::fs::read(&path) {
            Ok(pem) => match read_anchors(&pem) {
                Ok(_) => return Some(pem),
                Err(problem) => self.fault(name, format!("names {path}, which {problem}")),
            },
            Err(error) => self.fault(name, format!("names {path}, which cannot be read: {error}")),
        }
        None
    }

    fn flag(&mut self, name: &'static str, default: bool) -> bool {
        match self.text(name).as_deref() {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                let problem = format!("is {other:?}: use true or false");
                self.fault(name, problem);
                default
            }
        }
    }

    /// The settings of the cache; how large it is by default depends on the function's memory.
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
            self.fault("preload", "has nowhere to put objects: cache_max_bytes is 0");
        }
        let keys: Vec<&str> = list.split(',').map(str::trim).collect();
        if let Some(bad) = keys.iter().find(|key| !is_key(key)) {
            let problem = format!(
                "holds {bad:?}: list the keys of objects, such as index.html,v1/test.html, without a / at either end"
            );
            self.fault("preload", problem);
            return Vec::new();
        }
        keys.into_iter().map(|key| ObjectKey::new(key.to_owned())).collect()
    }

    fn number<N>(&mut self, name: &'static str, default: N, range: std::ops::RangeInclusive<N>) -> N
    where
        N: PartialOrd + FromStr + fmt::Display,
    {
        let Some(text) = self.text(name) else { return default };
        match text.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let problem = format!("is {text:?}: use a whole number from {} to {}", range.start(), range.end());
                self.fault(name, problem);
                default
            }
        }
    }

    fn log(&mut self) -> Option<LogFilter> {
        let name = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"].into_iter().find(|name| self.text(name).is_some());
        let Some(name) = name else { return Some(LogFilter::default()) };
        let filter = self.text(name).as_deref().and_then(LogFilter::parse);
        if filter.is_none() {
            self.fault(name, "is no log level: use TRACE, DEBUG, INFO, WARN or ERROR");
        }
        filter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// All that has to be set.
    pub(super) const COMPLETE: [(&str, &str); 8] = [
        ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
        ("AWS_LAMBDA_FUNCTION_NAME", "lambdaapi"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_REGION", "us-east-1"),
        ("bucket", "lambda-api-2022"),
        ("lambda_auth", "swordfish"),
        ("redirect_path", "https://d1.cloudfront.net"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env: HashMap<&str, &str> = COMPLETE.iter().chain(changes).copied().collect();
        Config::from_env(|name| env.get(name).map(|value| (*value).to_owned()))
    }

    fn faults(changes: &[(&str, &str)]) -> Vec<&'static str> {
        read(changes).unwrap_err().0.iter().map(|fault| fault.name).collect()
    }

    #[test]
    fn the_references_three_settings_are_enough() {
        let config = read(&[]).unwrap();
        assert_eq!(config.s3.bucket, "lambda-api-2022");
        assert_eq!(config.policy.redirect_path, "https://d1.cloudfront.net");
        assert_eq!((config.presentation.missing_status, config.concurrency), (404, 1));
        assert!(!config.s3.path_style && !config.policy.redirect_query && !config.policy.variant_fallback);
    }

    #[test]
    fn every_fault_is_reported_at_once_and_by_name() {
        let error = Config::from_env(|_| None).unwrap_err();
        let names: Vec<_> = error.0.iter().map(|fault| fault.name).collect();
        for name in COMPLETE.map(|(name, _)| name) {
            assert!(names.contains(&name), "{name} in {names:?}");
            assert!(error.to_string().contains(&format!("{name} is not set")), "{error}");
        }
        assert_eq!(
            faults(&[("missing_status", "500"), ("variant_fallback", "yes")]),
            ["variant_fallback", "missing_status"]
        );
    }

    #[test]
    fn an_empty_secret_bucket_or_redirect_path_is_no_open_door() {
        for name in ["lambda_auth", "bucket", "redirect_path"] {
            assert_eq!(faults(&[(name, "")]), [name]);
        }
    }

    #[test]
    fn no_error_and_no_debug_output_quotes_a_secret() {
        let error = read(&[("lambda_auth", "sword\nfish"), ("lambda_auth_next", " trout")]).unwrap_err();
        assert!(!error.to_string().contains("fish"), "{error}");
        let config = read(&[("lambda_auth_next", "trout")]).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("swordfish") && !shown.contains("trout"), "{shown}");
    }

    #[test]
    fn an_empty_next_secret_is_none() {
        let config = read(&[("lambda_auth_next", "")]).unwrap();
        assert_eq!(config.policy.secrets.matches(""), None);
        assert!(config.policy.secrets.matches("swordfish").is_some());
    }

    #[test]
    fn an_address_that_nobody_can_be_redirected_to_is_refused() {
        for bad in [
            "/",
            "//",
            "https://",
            "https:///x",
            "d1.cloudfront.net",
            "ftp://x",
            "https://a b",
            "https://x\r\nset-cookie: a",
            "https://x?y",
        ] {
            assert_eq!(faults(&[("redirect_path", bad)]), ["redirect_path"], "{bad:?}");
        }
        assert_eq!(read(&[("redirect_path", "https://d1/")]).unwrap().policy.redirect_path, "https://d1");
    }

    #[test]
    fn versions_are_a_list_of_versions() {
        let versions = read(&[("test_versions", "v1, v2")]).unwrap().policy.test_versions;
        assert_eq!(versions.unwrap(), ["v1", "v2"]);
        assert_eq!(faults(&[("test_versions", "v1,,v2")]), ["test_versions"]);
        assert_eq!(faults(&[("test_versions", "v1,../x")]), ["test_versions"]);
    }

    #[test]
    fn another_endpoint_means_path_style_unless_it_is_said_otherwise() {
        let endpoint = ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:3002");
        assert!(read(&[endpoint]).unwrap().s3.path_style);
        assert!(!read(&[endpoint, ("s3_path_style", "false")]).unwrap().s3.path_style);
    }

    #[test]
    fn a_ca_bundle_is_read_and_checked_at_the_start() {
        assert_eq!(faults(&[("AWS_CA_BUNDLE", "/nowhere.pem")]), ["AWS_CA_BUNDLE"]);
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(faults(&[("SSL_CERT_FILE", here)]), ["SSL_CERT_FILE"]);
    }

    #[test]
    fn the_sdks_variables_are_checked_too() {
        for (name, bad) in [
            ("AWS_ENDPOINT_URL_S3", "localhost:9000"),
            ("AWS_ENDPOINT_URL", "http://"),
            ("AWS_RETRY_MODE", "foo"),
            ("AWS_MAX_ATTEMPTS", "0"),
        ] {
            assert_eq!(faults(&[(name, bad)]), [name]);
        }
        assert!(read(&[("AWS_RETRY_MODE", "adaptive"), ("AWS_MAX_ATTEMPTS", "5")]).is_ok());
    }

    #[test]
    fn documents_are_keys_and_oversize_is_one_of_three() {
        let config =
            read(&[("error_document", "404.html"), ("spa_fallback", "app.html"), ("oversize", "reject")]).unwrap();
        assert_eq!(config.exceptions.error_document.unwrap().as_str(), "404.html");
        assert_eq!(config.presentation.vary, "test_version, redirect, accept");
        assert_eq!(config.exceptions.oversize, Oversize::Reject);
        assert_eq!(faults(&[("error_document", "/404.html")]), ["error_document"]);
        assert_eq!(faults(&[("index_document", "docs/"), ("oversize", "shrink")]), ["index_document", "oversize"]);
        assert_eq!(faults(&[("presign_ttl_secs", "0")]), ["presign_ttl_secs"]);
    }

    #[test]
    fn the_cache_is_a_share_of_the_functions_memory_and_can_be_told_otherwise() {
        let config = read(&[]).unwrap();
        assert_eq!((config.cache.max_bytes, config.cache.object_max_bytes), (48 << 20, 1 << 20));
        assert_eq!(config.cache.limits.ttl, Duration::from_secs(10));
        assert_eq!(config.cache.limits.stale_while_revalidate, Duration::ZERO);
        assert_eq!(config.cache.limits.stale_if_error, Duration::from_secs(300));
        assert_eq!(config.cache.missing_ttl, Duration::from_secs(2));
        assert_eq!(
            config.warm_up,
            WarmUp { prewarm: true, preload: vec![], index_document: ObjectKey::new("index.html".into()) }
        );
        assert_eq!(read(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1024")]).unwrap().cache.max_bytes, 384 << 20);
        let told = [
            ("cache_max_bytes", "1000000"),
            ("cache_ttl_secs", "0"),
            ("stale_while_revalidate_secs", "30"),
            ("prewarm", "false"),
            ("preload", "index.html, v1/test.html"),
        ];
        let config = read(&told).unwrap();
        assert_eq!((config.cache.max_bytes, config.cache.limits.ttl), (1_000_000, Duration::ZERO));
        assert_eq!(config.cache.limits.stale_while_revalidate, Duration::from_secs(30));
        let keys: Vec<_> = config.warm_up.preload.iter().map(ObjectKey::as_str).collect();
        assert_eq!((config.warm_up.prewarm, keys), (false, vec!["index.html", "v1/test.html"]));
    }

    #[test]
    fn a_cache_that_cannot_be_is_refused() {
        // More than the function's 128 MB.
        assert_eq!(faults(&[("cache_max_bytes", "134217729")]), ["cache_max_bytes"]);
        assert_eq!(faults(&[("cache_ttl_secs", "ten")]), ["cache_ttl_secs"]);
        assert_eq!(faults(&[("preload", "/index.html")]), ["preload"]);
        assert_eq!(faults(&[("preload", "a,,b")]), ["preload"]);
        assert_eq!(faults(&[("preload", "index.html"), ("cache_max_bytes", "0")]), ["preload"]);
    }

    #[test]
    fn credentials_are_looked_for_elsewhere_only_when_the_environment_has_none() {
        assert!(!read(&[("AWS_ACCESS_KEY_ID", "a")]).unwrap().s3.credentials_in_env);
        assert!(read(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]).unwrap().s3.credentials_in_env);
    }

    #[test]
    fn numbers_and_levels_out_of_range_are_refused() {
        assert_eq!(faults(&[("AWS_LAMBDA_MAX_CONCURRENCY", "0")]), ["AWS_LAMBDA_MAX_CONCURRENCY"]);
        assert_eq!(faults(&[("deadline_margin_ms", "-1")]), ["deadline_margin_ms"]);
        assert_eq!(faults(&[("AWS_LAMBDA_LOG_LEVEL", "LOUD")]), ["AWS_LAMBDA_LOG_LEVEL"]);
        assert_eq!(faults(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "much")]), ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]);
        assert!(read(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")]).is_ok());
        assert!(read(&[("RUST_LOG", "warn,nearedge=debug")]).is_ok());
    }
}
