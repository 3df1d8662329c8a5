//! The names of all settings, and the variables that are probably misspelt settings.

use strsim::osa_distance;

/// The settings of nearedge.
const SETTINGS: [&str; 56] = [
    "access",
    "auth_header",
    "bucket",
    "cache_max_bytes",
    "cache_missing_ttl_secs",
    "cache_object_max_bytes",
    "cache_ttl_secs",
    "compress",
    "compress_guarded",
    "deadline_margin_ms",
    "error_document",
    "experiments",
    "experiments_bots",
    "experiments_cache_key",
    "experiments_consent",
    "experiments_cookie",
    "experiments_cookie_domain",
    "experiments_cookie_secs",
    "experiments_cookie_secure",
    "experiments_feature",
    "experiments_log_ids",
    "experiments_path",
    "experiments_preview",
    "formats",
    "function_url_iam",
    "headers",
    "html_handling",
    "index_document",
    "lambda_auth",
    "lambda_auth_next",
    "log_ratio",
    "metrics",
    "metrics_namespace",
    "metrics_variants",
    "missing_status",
    "object_redirects",
    "oversize",
    "precompressed",
    "preload",
    "presign_ttl_secs",
    "prewarm",
    "redirect_path",
    "redirect_query",
    "redirects",
    "s3_path_style",
    "slow_ms",
    "spa_fallback",
    "spa_fallback_dots",
    "stale_if_error_secs",
    "stale_while_revalidate_secs",
    "streaming",
    "test_versions",
    "trace_ratio",
    "variant_fallback",
    "variant_header",
    "version_header",
];

/// The largest number of edits between a misspelt name and the setting.
const DISTANCE_MAX: usize = 2;

/// The setting that `name` probably means; `None` if `name` is a setting, or not close to one.
///
/// Names of Lambda, the SDK and OpenTelemetry are skipped, which are most of them.
fn meant_by(name: &str) -> Option<&'static str> {
    if SETTINGS.contains(&name) {
        return None;
    }
    let is_of_another = ["AWS_", "LAMBDA_", "OTEL_", "_"].iter().any(|prefix| name.starts_with(prefix));
    if is_of_another {
        return None;
    }
    let name = &*name.to_ascii_lowercase();
    // A short name has many neighbours by chance.
    let allowed = DISTANCE_MAX.min(name.len() / 4);
    let bytes = bytes_of(name);
    let close = |setting: &&str| {
        setting.len().abs_diff(name.len()) <= allowed
            && (bytes_of(setting) ^ bytes).count_ones() as usize <= 2 * allowed
            && osa_distance(setting, name) <= allowed
    };
    SETTINGS.into_iter().find(close)
}

/// The bytes that occur in a name, one bit for each, modulo 64. An edit changes two bits at most: names that differ in more
/// need no comparison, which for two variables would take a third of the start's instructions.
fn bytes_of(name: &str) -> u64 {
    name.bytes().fold(0, |bits, byte| bits | 1 << (byte & 63))
}

/// Describes every variable that is probably a misspelt setting: it has no effect.
pub(crate) fn misspelt(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let describe = |name: String| {
        let meant = meant_by(&name)?;
        Some(format!("the variable {name:?} has no effect: did you mean {meant}?"))
    };
    names.into_iter().filter_map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn close_names_and_other_cases_are_misspelt_settings() {
        for (name, meant) in [
            ("cache_ttl_sec", "cache_ttl_secs"),
            ("BUCKET", "bucket"),
            ("Lambda_Auth", "lambda_auth"),
            ("test_version", "test_versions"),
            ("redirectpath", "redirect_path"),
            ("cache-ttl-secs", "cache_ttl_secs"),
            ("stale_if_eror_secs", "stale_if_error_secs"),
            ("CACHE_TTL_SEC", "cache_ttl_secs"),
            ("Redirect_Pth", "redirect_path"),
        ] {
            assert_eq!(meant_by(name), Some(meant), "{name}");
        }
        for name in
            ["bucket", "PATH", "AWS_REGION", "_HANDLER", "http_proxy", "my_own_setting", "LAMBDA_TASK_ROOT", "x"]
        {
            assert_eq!(meant_by(name), None, "{name}");
        }
    }

    #[test]
    fn the_comparison_of_bytes_excludes_no_close_name() {
        for setting in SETTINGS.iter().filter(|setting| setting.len() >= 8) {
            for (at, _) in setting.char_indices().skip(1).step_by(3) {
                let (left, right) = setting.split_at(at);
                for edited in [
                    format!("{left}zq{right}"),
                    format!("{}9{right}", &left[1..]),
                    format!(";{}<{}", &left[1..], &right[1..]),
                ] {
                    let meant = meant_by(&edited).map(|meant| osa_distance(meant, &edited));
                    assert!(meant.is_some_and(|distance| distance <= 2), "{edited}: {meant:?}");
                }
            }
        }
    }

    #[test]
    fn the_readmes_have_a_row_for_every_setting() {
        for page in [include_str!("../../README.md"), include_str!("../../README.zh-CN.md")] {
            let missing: Vec<&str> =
                SETTINGS.into_iter().filter(|name| !page.contains(&format!("\n| `{name}` |"))).collect();
            assert_eq!(missing, Vec::<&str>::new());
        }
    }

    #[test]
    fn the_list_names_every_setting_that_is_read() {
        let read = RefCell::new(Vec::new());
        let _ = crate::config::Config::from_env(|name| {
            read.borrow_mut().push(name.to_owned());
            // Values that make the reader read everything.
            match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:4318".to_owned()),
                "lambda_auth" => Some("secret".to_owned()),
                _ => None,
            }
        });
        let is_ours = |name: &&String| name.bytes().all(|byte| !byte.is_ascii_uppercase());
        let mut read: Vec<String> = read.borrow().iter().filter(is_ours).cloned().collect();
        read.sort();
        read.dedup();
        let mut listed: Vec<&str> = SETTINGS.to_vec();
        listed.sort_unstable();
        assert_eq!(read, listed);
    }
}
