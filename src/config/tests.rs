//! Defaults, valid values and rejected values of the settings.

use std::collections::HashMap;

use super::*;

/// Every required variable.
const COMPLETE: [(&str, &str); 8] = [
    ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
    ("AWS_LAMBDA_FUNCTION_NAME", "lambdaapi"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
    ("AWS_REGION", "us-east-1"),
    ("bucket", "lambda-api-2022"),
    ("lambda_auth", "swordfish"),
    ("redirect_path", "https://d1.cloudfront.net"),
];

pub(super) fn read(changes: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let env: HashMap<&str, &str> = COMPLETE.iter().chain(changes).copied().collect();
    Config::from_env(|name| env.get(name).map(|value| (*value).to_owned()))
}

pub(super) fn rejected(changes: &[(&str, &str)]) -> Vec<&'static str> {
    read(changes).unwrap_err().0.iter().map(|setting| setting.name).collect()
}

#[test]
fn the_three_settings_of_the_reference_suffice() {
    let config = read(&[]).unwrap();
    assert_eq!(config.s3.bucket, "lambda-api-2022");
    assert_eq!(config.policy.redirect_path, "https://d1.cloudfront.net");
    assert_eq!((config.presentation.missing_status, config.concurrency), (404, 1));
    assert!(!config.s3.path_style && !config.policy.redirect_query && !config.policy.variant_fallback);
}

#[test]
fn every_invalid_setting_is_reported_at_once() {
    let error = Config::from_env(|_| None).unwrap_err();
    let names: Vec<_> = error.0.iter().map(|setting| setting.name).collect();
    for name in COMPLETE.map(|(name, _)| name) {
        assert!(names.contains(&name), "{name} is missing from {names:?}");
        assert!(error.to_string().contains(&format!("{name} is not set")), "{error}");
    }
    assert_eq!(
        rejected(&[("missing_status", "500"), ("variant_fallback", "yes")]),
        ["variant_fallback", "missing_status"]
    );
}

#[test]
fn an_empty_secret_bucket_or_redirect_path_is_rejected() {
    for name in ["lambda_auth", "bucket", "redirect_path"] {
        assert_eq!(rejected(&[(name, "")]), [name]);
    }
}

#[test]
fn no_error_and_no_debug_output_quotes_a_secret() {
    let error = read(&[("lambda_auth", "sword\nfish"), ("lambda_auth_next", " trout")]).unwrap_err();
    assert!(!error.to_string().contains("fish"), "{error}");
    let config = read(&[("lambda_auth_next", "trout")]).unwrap();
    let output = format!("{config:?}");
    assert!(!output.contains("swordfish") && !output.contains("trout"), "{output}");
}

#[test]
fn an_empty_next_secret_counts_as_unset() {
    let config = read(&[("lambda_auth_next", "")]).unwrap();
    assert_eq!(config.policy.secrets.matches(""), None);
    assert!(config.policy.secrets.matches("swordfish").is_some());
}

#[test]
fn an_unusable_redirect_path_is_rejected() {
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
        assert_eq!(rejected(&[("redirect_path", bad)]), ["redirect_path"], "{bad:?}");
    }
    assert_eq!(read(&[("redirect_path", "https://d1/")]).unwrap().policy.redirect_path, "https://d1");
}

#[test]
fn test_versions_is_a_list_of_valid_variants() {
    let versions = read(&[("test_versions", "v1, v2")]).unwrap().policy.test_versions;
    assert_eq!(versions.unwrap(), ["v1", "v2"]);
    assert_eq!(rejected(&[("test_versions", "v1,,v2")]), ["test_versions"]);
    assert_eq!(rejected(&[("test_versions", "v1,../x")]), ["test_versions"]);
}

#[test]
fn a_custom_endpoint_means_path_style_unless_overridden() {
    let endpoint = ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:3002");
    assert!(read(&[endpoint]).unwrap().s3.path_style);
    assert!(!read(&[endpoint, ("s3_path_style", "false")]).unwrap().s3.path_style);
}

#[test]
fn a_ca_bundle_is_read_and_checked_at_the_start() {
    assert_eq!(rejected(&[("AWS_CA_BUNDLE", "/nowhere.pem")]), ["AWS_CA_BUNDLE"]);
    let not_pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert_eq!(rejected(&[("SSL_CERT_FILE", not_pem)]), ["SSL_CERT_FILE"]);
}

#[test]
fn variables_of_the_sdk_are_checked() {
    for (name, bad) in [
        ("AWS_ENDPOINT_URL_S3", "localhost:9000"),
        ("AWS_ENDPOINT_URL", "http://"),
        ("AWS_RETRY_MODE", "foo"),
        ("AWS_MAX_ATTEMPTS", "0"),
    ] {
        assert_eq!(rejected(&[(name, bad)]), [name]);
    }
    assert!(read(&[("AWS_RETRY_MODE", "adaptive"), ("AWS_MAX_ATTEMPTS", "5")]).is_ok());
}

#[test]
fn documents_must_be_keys_and_oversize_a_known_word() {
    let config = read(&[("error_document", "404.html"), ("spa_fallback", "app.html"), ("oversize", "reject")]).unwrap();
    assert_eq!(config.exceptions.error_document.unwrap().as_str(), "404.html");
    assert_eq!(config.presentation.vary, Vary::new("test_version, redirect, accept"));
    assert_eq!(config.exceptions.oversize, Oversize::Reject);
    assert_eq!(rejected(&[("error_document", "/404.html")]), ["error_document"]);
    assert_eq!(rejected(&[("index_document", "docs/"), ("oversize", "shrink")]), ["index_document", "oversize"]);
    assert_eq!(rejected(&[("presign_ttl_secs", "0")]), ["presign_ttl_secs"]);
}

#[test]
fn cache_defaults_follow_memory_and_can_be_overridden() {
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
    let overrides = [
        ("cache_max_bytes", "1000000"),
        ("cache_ttl_secs", "0"),
        ("stale_while_revalidate_secs", "30"),
        ("prewarm", "false"),
        ("preload", "index.html, v1/test.html"),
    ];
    let config = read(&overrides).unwrap();
    assert_eq!((config.cache.max_bytes, config.cache.limits.ttl), (1_000_000, Duration::ZERO));
    assert_eq!(config.cache.limits.stale_while_revalidate, Duration::from_secs(30));
    let keys: Vec<_> = config.warm_up.preload.iter().map(ObjectKey::as_str).collect();
    assert_eq!((config.warm_up.prewarm, keys), (false, vec!["index.html", "v1/test.html"]));
}

#[test]
fn impossible_cache_settings_are_rejected() {
    // One byte more than the memory of the function, 128 MiB.
    assert_eq!(rejected(&[("cache_max_bytes", "134217729")]), ["cache_max_bytes"]);
    assert_eq!(rejected(&[("cache_ttl_secs", "ten")]), ["cache_ttl_secs"]);
    assert_eq!(rejected(&[("preload", "/index.html")]), ["preload"]);
    assert_eq!(rejected(&[("preload", "a,,b")]), ["preload"]);
    assert_eq!(rejected(&[("preload", "index.html"), ("cache_max_bytes", "0")]), ["preload"]);
}

#[test]
fn credentials_in_env_needs_both_variables() {
    assert!(!read(&[("AWS_ACCESS_KEY_ID", "a")]).unwrap().s3.credentials_in_env);
    assert!(read(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]).unwrap().s3.credentials_in_env);
}

#[test]
fn invalid_numbers_and_log_levels_are_rejected() {
    assert_eq!(rejected(&[("AWS_LAMBDA_MAX_CONCURRENCY", "0")]), ["AWS_LAMBDA_MAX_CONCURRENCY"]);
    assert_eq!(rejected(&[("deadline_margin_ms", "-1")]), ["deadline_margin_ms"]);
    assert_eq!(rejected(&[("AWS_LAMBDA_LOG_LEVEL", "LOUD")]), ["AWS_LAMBDA_LOG_LEVEL"]);
    assert_eq!(rejected(&[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "much")]), ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]);
    assert!(read(&[("AWS_LAMBDA_LOG_LEVEL", "FATAL")]).is_ok());
    assert!(read(&[("RUST_LOG", "warn,nearedge=debug")]).is_ok());
}

#[test]
fn a_value_that_is_no_bucket_is_rejected() {
    for bad in [
        "s3://my-site",
        "my-site/public",
        "My_Bucket",
        "ab",
        "-my-site",
        "my-site-",
        "my..site",
        "192.168.0.1",
        "my site",
        "arn:aws:s3:::my-site",
        "arn:aws:s3:eu-west-1:123456789012:bucket/x",
        "arn:aws:iam::123456789012:role/x",
        "arn:aws:s3::123456789012:accesspoint/site.mrap",
        "arn:aws:s3:eu-west-1::accesspoint/site",
    ] {
        assert_eq!(rejected(&[("bucket", bad)]), ["bucket"], "{bad:?}");
    }
    for good in [
        "my-site",
        "my.site.example",
        "123",
        "site-abc123-s3alias",
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/site",
        "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:site",
    ] {
        assert_eq!(read(&[("bucket", good)]).unwrap().s3.bucket, good);
    }
}

#[test]
fn what_the_sdk_cannot_use_is_rejected_at_the_start() {
    for (name, bad) in [
        ("AWS_REGION", "us-east-1\n"),
        ("AWS_REGION", "us east"),
        ("AWS_REGION", "-"),
        ("AWS_MAX_ATTEMPTS", "4294967295"),
        ("AWS_MAX_ATTEMPTS", "101"),
        ("AWS_ENDPOINT_URL_S3", "ftp://127.0.0.1:3002"),
        ("AWS_ENDPOINT_URL", "https://s3.example.com>"),
        ("AWS_ENDPOINT_URL", "https://user@s3.example.com"),
        ("AWS_ACCESS_KEY_ID", "AKIA\nEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret key"),
        ("AWS_SESSION_TOKEN", "token\r\n"),
        ("redirect_path", "https://d1<script>"),
        ("redirect_path", "https://user:password@d1"),
        ("redirect_path", "https://d1:"),
        ("redirect_path", "https://d1:99999"),
        ("redirect_path", "https://d1:port"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:99999"),
        ("AWS_ENDPOINT_URL", "http://h?x=1"),
        ("AWS_ENDPOINT_URL", "http://256.0.0.1"),
    ] {
        let error = read(&[(name, bad)]).unwrap_err();
        assert_eq!(error.0.iter().map(|setting| setting.name).collect::<Vec<_>>(), [name], "{bad:?}: {error}");
        let is_secret = name.contains("KEY") || name.contains("TOKEN");
        assert!(!is_secret || !error.to_string().contains(bad.trim()), "{error}");
    }
    assert_eq!(
        read(&[("redirect_path", "HTTPS://d1.cloudfront.net")]).unwrap().policy.redirect_path,
        "HTTPS://d1.cloudfront.net"
    );
    assert!(read(&[("AWS_MAX_ATTEMPTS", "100"), ("AWS_REGION", "cn-north-1")]).is_ok());
}
