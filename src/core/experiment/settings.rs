//! The settings of experiments, prepared once at the start.

use std::fmt::Write as _;

/// The settings of experiments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExperimentSettings {
    /// The feature whose value is the version.
    pub feature: String,
    /// The names and attributes of the two cookies.
    pub cookies: CookieSettings,
    /// The cookie without which no visitor gets an id.
    pub consent: Option<Consent>,
    /// Texts in user agents of further bots, in lower case.
    pub bots: Vec<String>,
    /// Whether `?KEY=INDEX` shows a variation.
    pub preview: bool,
    /// The attributes that the CDN has in its cache key, besides `path` and `host`.
    pub cache_key: Vec<String>,
    /// Whether lines contain the SHA-256 of an id in place of it.
    pub hash_ids: bool,
    /// What the paths of beacons start with, such as `/.nearedge/goal/`.
    pub goal_path: String,
    /// The scheme and the host of the site, such as `https://dxxxx.cloudfront.net`.
    pub site: String,
}

impl ExperimentSettings {
    /// Whether the CDN has an attribute in its cache key.
    pub(super) fn has_cache_key(&self, attribute: &str) -> bool {
        self.cache_key.iter().any(|name| name == attribute)
    }

    /// Whether the CDN's cache key tells visitors with consent from others.
    pub(super) fn has_consent_in_cache_key(&self) -> bool {
        self.consent.as_ref().is_none_or(|consent| {
            self.cache_key.iter().any(|name| name.strip_prefix("cookie.") == Some(&*consent.name))
        })
    }
}

/// A cookie that a visitor has after consenting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The name.
    pub name: String,
    /// The value; any value if `None`.
    pub value: Option<String>,
}

/// The names and attributes of the two cookies (RFC 6265 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieSettings {
    /// The name of the cookie with the id and the counted exposures.
    pub visitor: String,
    /// The name of the cookie with the assignments.
    pub assignments: String,
    /// The attributes of both, without Max-Age.
    attributes: String,
    /// All attributes of the visitor's cookie.
    visitor_attributes: String,
    /// All attributes of the cookie with the assignments, unless it ends with the session.
    assignments_attributes: String,
}

impl CookieSettings {
    /// Cookies named `name` and `name_v`.
    pub fn new(name: &str, max_age_secs: u64, domain: Option<&str>, secure: bool) -> Self {
        let mut attributes = "; Path=/; SameSite=Lax".to_owned();
        if secure {
            attributes.push_str("; Secure");
        }
        if let Some(domain) = domain {
            // Writing to a String cannot fail.
            let _ = write!(attributes, "; Domain={domain}");
        }
        Self {
            visitor: name.to_owned(),
            assignments: format!("{name}_v"),
            visitor_attributes: format!("{attributes}; Max-Age={max_age_secs}; HttpOnly"),
            assignments_attributes: format!("{attributes}; Max-Age={max_age_secs}"),
            attributes,
        }
    }

    /// The Set-Cookie of the id and the counted exposures. Scripts cannot read it.
    pub(super) fn set_visitor(&self, value: &str) -> String {
        set_cookie(&self.visitor, value, &self.visitor_attributes)
    }

    /// The Set-Cookie of the assignments; of a preview, until the browser closes.
    pub(super) fn set_assignments(&self, value: &str, is_preview: bool) -> String {
        let attributes = if is_preview { &*self.attributes } else { &*self.assignments_attributes };
        set_cookie(&self.assignments, value, attributes)
    }

    /// The two Set-Cookie that delete both cookies.
    pub(super) fn expire(&self) -> [String; 2] {
        let Self { visitor, assignments, attributes, .. } = self;
        [format!("{visitor}={attributes}; Max-Age=0; HttpOnly"), format!("{assignments}={attributes}; Max-Age=0")]
    }
}

fn set_cookie(name: &str, value: &str, attributes: &str) -> String {
    let mut cookie = String::with_capacity(name.len() + 1 + value.len() + attributes.len());
    for part in [name, "=", value, attributes] {
        cookie.push_str(part);
    }
    cookie
}
