//! Attributes of a visitor: what conditions test and what experiments hash.

use std::borrow::Cow;
use std::fmt;

use crate::experiment::value::{Found, Value, number_text};
use crate::request::visit::Detail;

/// The name of an attribute, prepared for lookups.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// The whole name, such as `query.utm_source`.
    pub name: Box<str>,
    /// The segments of the name between its dots.
    path: Box<[Box<str>]>,
    /// The attribute of a request that has this name.
    pub field: Option<Field>,
    /// What a condition uses that tests the attribute.
    pub(super) if_tested: Used,
    /// What an experiment uses that hashes the attribute.
    pub(super) if_hashed: Used,
}

/// What an evaluation uses, from which the caching of the answer follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// What experiments hash: the visitor's id, or another attribute.
    pub(super) hash: bool,
    /// Something that neither the assignments nor the CDN's cache key contain.
    pub(super) uncacheable: bool,
    /// A cookie of the site.
    pub(super) cookie: bool,
}

impl Used {
    /// What both use together.
    pub(super) fn with(self, more: Self) -> Self {
        Self {
            hash: self.hash | more.hash,
            uncacheable: self.uncacheable | more.uncacheable,
            cookie: self.cookie | more.cookie,
        }
    }
}

impl Attribute {
    /// Prepares a name.
    pub fn new(name: &str) -> Self {
        Self::with_cache_key(name, &[])
    }

    /// Prepares a name, for a CDN whose cache key contains these attributes besides `path` and `host`.
    pub(super) fn with_cache_key(name: &str, cache_key: &[String]) -> Self {
        let field = Field::of_name(name);
        // An attribute that no request has is the same for every visitor.
        let in_key =
            matches!(field, None | Some(Field::Path | Field::Host)) || cache_key.iter().any(|listed| listed == name);
        let (is_id, cookie) = (field == Some(Field::Id), matches!(field, Some(Field::Cookie(_))));
        Self {
            name: name.into(),
            path: name.split('.').map(Into::into).collect(),
            // The assignments say nothing about a condition on the id.
            if_tested: Used { hash: is_id, uncacheable: !in_key, cookie },
            // A visitor with the id's cookie has an id, but the assignments do not tell whether another attribute is present.
            if_hashed: Used { hash: true, uncacheable: !is_id && !in_key, cookie },
            field,
        }
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand<'a> {
    /// null or absent.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(Cow<'a, str>),
    /// An array or an object.
    Json(&'a Value),
}

impl<'a> From<&'a Value> for Operand<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(*number),
            Value::Text(text) => Self::Text(Cow::Borrowed(text)),
            Value::List(_) | Value::Object(_) => Self::Json(value),
        }
    }
}

impl<'a> Operand<'a> {
    /// The text that is hashed: of a non-empty string, or of a finite number other than 0. Other values count as absent.
    pub fn into_hash_text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            Self::Number(number) if number != 0.0 && number.is_finite() => Some(Cow::Owned(number_text(number))),
            _ => None,
        }
    }

    /// The value as JSON.
    pub fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(number) => Value::Number(number),
            Self::Text(text) => Value::Text(text.into()),
            Self::Json(value) => value.clone(),
        }
    }
}

/// The attributes that a condition is evaluated against.
pub trait Attributes {
    /// The value that a condition tests; a dotted name is a path.
    fn tested(&self, attribute: &Attribute) -> Operand<'_>;

    /// The value that an experiment hashes; a dotted name is one name.
    fn hashed(&self, attribute: &Attribute) -> Operand<'_>;
}

/// A JSON value's members are attributes.
impl Attributes for Value {
    fn tested(&self, attribute: &Attribute) -> Operand<'_> {
        match self.at_path(&attribute.path) {
            Found::Value(value) => value.into(),
            Found::Length(length) => Operand::Number(length as f64),
        }
    }

    fn hashed(&self, attribute: &Attribute) -> Operand<'_> {
        self.get(&attribute.name).map_or(Operand::Null, Into::into)
    }
}

/// The value of a prerequisite feature, as the attribute `value`.
pub(super) struct Prerequisite<'a>(pub(super) &'a Value);

impl Attributes for Prerequisite<'_> {
    fn tested(&self, attribute: &Attribute) -> Operand<'_> {
        match attribute.path.split_first() {
            Some((first, rest)) if &**first == "value" => match self.0.at_path(rest) {
                Found::Value(value) => value.into(),
                Found::Length(length) => Operand::Number(length as f64),
            },
            _ => Operand::Null,
        }
    }

    fn hashed(&self, _: &Attribute) -> Operand<'_> {
        Operand::Null
    }
}

/// An attribute that the origin reads from a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// The visitor's id.
    Id,
    /// The viewer's URL.
    Url,
    /// The host of that URL.
    Host,
    /// The decoded path.
    Path,
    /// A parameter of the query string.
    Query(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// A header field, by its name in lower case.
    Header(Box<str>),
    /// The viewer's country, by CloudFront.
    Country,
    /// The viewer's region, by CloudFront.
    Region,
    /// The viewer's city, by CloudFront.
    City,
    /// `desktop`, `mobile`, `tablet` or `tv`, by CloudFront.
    DeviceType,
    /// The first language of Accept-Language.
    Language,
    /// The family of the browser.
    Browser,
    /// The operating system.
    Os,
    /// Whether the client is a known bot.
    Bot,
    /// The header Referer.
    Referrer,
    /// A utm parameter of the query string, by the parameter's name.
    Utm(&'static str),
    /// A claim of the visitor's token, by its path.
    Claim(Box<[Box<str>]>),
}

/// Whether a request has an attribute with this name.
pub fn is_attribute(name: &str) -> bool {
    Field::of_name(name).is_some()
}

impl Field {
    /// The fields of a request that the attribute needs besides those of every visit.
    pub(super) fn detail(&self) -> Detail {
        match self {
            Self::Id
            | Self::Path
            | Self::Query(_)
            | Self::Cookie(_)
            | Self::Header(_)
            | Self::Utm(_)
            | Self::Claim(_) => Detail::Visit,
            _ => Detail::Attributes,
        }
    }

    /// The header fields of a request that carry the attribute, in lower case.
    ///
    /// None for the parts of the URL and for cookies. A distribution must forward these headers
    /// ([CloudFront headers](https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/adding-cloudfront-headers.html)).
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let (named, fixed): (Option<&str>, &[&str]) = match self {
            Self::Header(name) => (Some(name), &[]),
            Self::Country => (None, &["cloudfront-viewer-country"]),
            Self::Region => (None, &["cloudfront-viewer-country-region"]),
            Self::City => (None, &["cloudfront-viewer-city"]),
            Self::DeviceType => (
                None,
                &[
                    "cloudfront-is-desktop-viewer",
                    "cloudfront-is-mobile-viewer",
                    "cloudfront-is-smarttv-viewer",
                    "cloudfront-is-tablet-viewer",
                ],
            ),
            Self::Language => (None, &["accept-language"]),
            Self::Browser | Self::Os | Self::Bot => (None, &["user-agent"]),
            Self::Referrer => (None, &["referer"]),
            Self::Id
            | Self::Url
            | Self::Host
            | Self::Path
            | Self::Query(_)
            | Self::Cookie(_)
            | Self::Utm(_)
            | Self::Claim(_) => (None, &[]),
        };
        named.into_iter().chain(fixed.iter().copied())
    }

    /// The field that an attribute's name means.
    pub fn of_name(name: &str) -> Option<Self> {
        if let Some((group, rest)) = name.split_once('.').filter(|(_, rest)| !rest.is_empty()) {
            return match group {
                "query" => Some(Self::Query(rest.into())),
                "cookie" => Some(Self::Cookie(rest.into())),
                "header" => Some(Self::Header(rest.to_ascii_lowercase().into())),
                "claims" => Some(Self::Claim(rest.split('.').map(Into::into).collect())),
                _ => None,
            };
        }
        Some(match name {
            "id" => Self::Id,
            "url" => Self::Url,
            "host" => Self::Host,
            "path" => Self::Path,
            "country" => Self::Country,
            "region" => Self::Region,
            "city" => Self::City,
            "deviceType" => Self::DeviceType,
            "language" => Self::Language,
            "browser" => Self::Browser,
            "os" => Self::Os,
            "bot" => Self::Bot,
            "referrer" => Self::Referrer,
            "utmSource" => Self::Utm("utm_source"),
            "utmMedium" => Self::Utm("utm_medium"),
            "utmCampaign" => Self::Utm("utm_campaign"),
            "utmTerm" => Self::Utm("utm_term"),
            "utmContent" => Self::Utm("utm_content"),
            _ => return None,
        })
    }
}

/// Writes the name of the attribute.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query(name) => return write!(f, "query.{name}"),
            Self::Cookie(name) => return write!(f, "cookie.{name}"),
            Self::Header(name) => return write!(f, "header.{name}"),
            Self::Claim(path) => return write!(f, "claims.{}", path.join(".")),
            Self::Id => "id",
            Self::Url => "url",
            Self::Host => "host",
            Self::Path => "path",
            Self::Country => "country",
            Self::Region => "region",
            Self::City => "city",
            Self::DeviceType => "deviceType",
            Self::Language => "language",
            Self::Browser => "browser",
            Self::Os => "os",
            Self::Bot => "bot",
            Self::Referrer => "referrer",
            Self::Utm("utm_source") => "utmSource",
            Self::Utm("utm_medium") => "utmMedium",
            Self::Utm("utm_campaign") => "utmCampaign",
            Self::Utm("utm_term") => "utmTerm",
            Self::Utm(_) => "utmContent",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The attributes of the contract, and how many header fields each needs.
    const NAMES: [(&str, usize); 21] = [
        ("id", 0),
        ("url", 0),
        ("host", 0),
        ("path", 0),
        ("query.Q", 0),
        ("cookie.C", 0),
        ("header.x-h", 1),
        ("claims.a.b", 0),
        ("country", 1),
        ("region", 1),
        ("city", 1),
        ("deviceType", 4),
        ("language", 1),
        ("browser", 1),
        ("os", 1),
        ("bot", 1),
        ("referrer", 1),
        ("utmSource", 0),
        ("utmMedium", 0),
        ("utmTerm", 0),
        ("utmContent", 0),
    ];

    #[test]
    fn every_attribute_has_its_name_and_headers() {
        for (name, headers) in NAMES.into_iter().chain([("utmCampaign", 0)]) {
            let field = Field::of_name(name).unwrap();
            assert_eq!((field.to_string().as_str(), field.headers().count()), (name, headers));
            assert!(field.headers().all(|header| header == header.to_ascii_lowercase()), "{name}");
        }
    }
}
