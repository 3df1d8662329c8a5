//! The settings of experiments.

use std::time::Duration;

use nearedge_core::experiment::attribute::is_attribute;
use nearedge_core::experiment::definition::FEATURE;
use nearedge_core::experiment::settings::{Consent, CookieSettings, ExperimentSettings};
use nearedge_core::object::ObjectKey;

use crate::config::reader::Reader;
use crate::origin::DefinitionsConfig;

/// The default name of the visitor's cookie.
const COOKIE: &str = "nearedge";

/// The default lifetime of the cookies: a year, in seconds.
const COOKIE_SECS: u64 = 31_536_000;

/// The longest lifetime that browsers accept: 400 days, in seconds
/// ([RFC 6265bis §5.5](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-5.5)).
const COOKIE_SECS_MAX: u64 = 34_560_000;

/// The default prefix of the paths of beacons.
const PATH: &str = "/.nearedge";

/// The settings that have no effect without a definition.
const DEPENDENT: [&str; 11] = [
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
];

impl<E: Fn(&str) -> Option<String>> Reader<'_, E> {
    /// The settings of experiments; `None` if they are disabled.
    pub(super) fn experiments(
        &mut self,
        redirect_path: Option<&str>,
        test_versions: Option<&[String]>,
        ttl: Duration,
    ) -> Option<DefinitionsConfig> {
        let key = self.key("experiments");
        let cookie = self.text("experiments_cookie").unwrap_or_else(|| COOKIE.to_owned());
        if !is_token(&cookie) {
            self.reject("experiments_cookie", format!("is {cookie:?}: use letters, digits, hyphens and underscores"));
        }
        let secs = self.number("experiments_cookie_secs", COOKIE_SECS, 60..=COOKIE_SECS_MAX);
        let domain = self.text("experiments_cookie_domain");
        if let Some(bad) = domain.as_ref().filter(|domain| !is_domain(domain)) {
            self.reject("experiments_cookie_domain", format!("is {bad:?}: use a domain name such as example.com"));
        }
        let secure = self.flag("experiments_cookie_secure", true);
        let consent = self.consent();
        let bots = self.list("experiments_bots").into_iter().map(|bot| bot.to_ascii_lowercase()).collect();
        let preview = self.flag("experiments_preview", false);
        let cache_key = self.list("experiments_cache_key");
        if let Some(bad) = cache_key.iter().find(|name| !is_attribute(name)) {
            let problem = format!("contains {bad:?}: list attributes of requests, such as country,deviceType");
            self.reject("experiments_cache_key", problem);
        }
        let path = self.text("experiments_path").unwrap_or_else(|| PATH.to_owned());
        if !is_prefix(&path) {
            let problem = format!("is {path:?}: start with a slash, end without one, and use letters, digits and -._~");
            self.reject("experiments_path", problem);
        }
        let hash_ids = match self.text("experiments_log_ids").as_deref() {
            None | Some("plain") => false,
            Some("hash") => true,
            Some(other) => {
                self.reject("experiments_log_ids", format!("is {other:?}: use plain or hash"));
                false
            }
        };
        let feature = self.text("experiments_feature").unwrap_or_else(|| FEATURE.to_owned());
        let set = |name: &&&str| self.raw_text(name).is_some_and(|value| !value.is_empty());
        if let Some(name) =
            DEPENDENT.iter().find(set).filter(|_| self.raw_text("experiments").unwrap_or_default().is_empty())
        {
            self.reject(name, "has no effect without experiments: set that to the key of the definition");
        }
        Some(DefinitionsConfig {
            key: ObjectKey::new(key?),
            settings: ExperimentSettings {
                feature,
                cookies: CookieSettings::new(&cookie, secs, domain.as_deref(), secure),
                consent,
                bots,
                preview,
                cache_key,
                hash_ids,
                goal_path: format!("{path}/goal/"),
                site: site(redirect_path.unwrap_or_default()),
            },
            test_versions: test_versions.map(<[String]>::to_vec),
            ttl,
        })
    }

    /// The cookie that shows the visitor's consent: `NAME` or `NAME=VALUE`.
    fn consent(&mut self) -> Option<Consent> {
        let text = self.text("experiments_consent")?;
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (&*text, None),
        };
        if !is_token(name) {
            self.reject("experiments_consent", format!("is {text:?}: use a cookie's NAME or NAME=VALUE"));
        }
        Some(Consent { name: name.to_owned(), value })
    }

    /// A list separated by commas.
    fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }
}

/// Whether a cookie can have this name (RFC 6265 §4.1.1).
fn is_token(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(is_allowed)
}

/// Whether a path is a prefix of other paths, without characters that a URL encodes.
fn is_prefix(path: &str) -> bool {
    let is_segment = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    path.len() <= 100 && path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}

fn is_domain(domain: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    domain.len() <= 253 && domain.bytes().all(is_allowed) && domain.contains('.') && !domain.ends_with('.')
}

/// The scheme and the host of a URL.
fn site(url: &str) -> String {
    let host = url.find("://").map_or(0, |at| at + "://".len());
    let end = url[host..].find('/').map_or(url.len(), |slash| host + slash);
    url[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> (Option<DefinitionsConfig>, Vec<&'static str>) {
        let env = |name: &str| settings.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
        let mut reader = Reader::new(&env);
        let config = reader.experiments(Some("https://d1.cloudfront.net/base"), None, Duration::from_secs(10));
        (config, reader.into_invalid().into_iter().map(|invalid| invalid.name).collect())
    }

    #[test]
    fn experiments_are_off_without_a_definition() {
        assert_eq!(read(&[]), (None, vec![]));
        assert_eq!(read(&[("experiments", "")]), (None, vec![]));
    }

    #[test]
    fn the_defaults_are_a_year_and_secure_cookies() {
        let (config, invalid) = read(&[("experiments", "experiments.json")]);
        let settings = config.unwrap().settings;
        assert_eq!(invalid, Vec::<&str>::new());
        assert_eq!(settings.cookies, CookieSettings::new("nearedge", 31_536_000, None, true));
        assert_eq!((settings.site.as_str(), settings.feature.as_str()), ("https://d1.cloudfront.net", "test_version"));
        assert_eq!(settings.goal_path, "/.nearedge/goal/");
    }

    #[test]
    fn consent_is_a_cookie_with_or_without_a_value() {
        let consent =
            |text| read(&[("experiments", "e.json"), ("experiments_consent", text)]).0.unwrap().settings.consent;
        assert_eq!(consent("ok"), Some(Consent { name: "ok".to_owned(), value: None }));
        assert_eq!(consent("ok=a=b"), Some(Consent { name: "ok".to_owned(), value: Some("a=b".to_owned()) }));
    }

    #[test]
    fn invalid_settings_are_rejected_by_name() {
        for (name, value) in [
            ("experiments_cookie", "a b"),
            ("experiments_cookie_secs", "34560001"),
            ("experiments_cookie_domain", "x;y"),
            ("experiments_consent", "=1"),
            ("experiments_cache_key", "country,planet"),
            ("experiments_preview", "yes"),
            ("experiments_log_ids", "sha256"),
            ("experiments_path", "/a/"),
            ("experiments_path", "a"),
            ("experiments_path", "/a/../b"),
        ] {
            assert_eq!(read(&[("experiments", "e.json"), (name, value)]).1, [name], "{value}");
        }
        assert_eq!(read(&[("experiments", "/e.json")]).1, ["experiments"]);
        assert_eq!(read(&[("experiments_preview", "true")]).1, ["experiments_preview"]);
    }
}
