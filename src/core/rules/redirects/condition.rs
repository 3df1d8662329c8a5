//! Conditions on the viewer: country, language, cookies and roles.

use std::borrow::Cow;

use crate::rules::line_problem::{Checked, Fault, part};

/// The facts about a viewer that conditions test. Each is read only if a rule needs it.
pub trait Viewer {
    /// The country as an ISO 3166-1 alpha-2 code, such as `CN`.
    fn country(&self) -> Option<Cow<'_, str>>;
    /// The value of Accept-Language.
    fn language(&self) -> Option<Cow<'_, str>>;
    /// Whether the request has a cookie with this name.
    fn has_cookie(&self, name: &str) -> bool;
    /// Whether the viewer has this role.
    fn has_role(&self, role: &str) -> bool;
}

/// The conditions of a rule.
///
/// All lists that are not empty must hold, each by one of its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Conditions {
    pub(super) countries: Box<[Box<str>]>,
    pub(super) languages: Box<[Box<str>]>,
    pub(super) cookies: Box<[Box<str>]>,
    pub(super) roles: Box<[Box<str>]>,
}

impl Conditions {
    /// Reads tokens such as `Country=cn,hk`.
    pub(super) fn parse(tokens: &[&str]) -> Checked<Self> {
        let mut conditions = Self::default();
        for token in tokens {
            conditions.add(token)?;
        }
        Ok(conditions)
    }

    fn add(&mut self, token: &str) -> Checked<()> {
        let Some((name, values)) = token.split_once('=') else {
            return Err(Fault::new(
                format!("expected a condition, found {}", part(token)),
                "write Country=, Language=, Cookie= or Role= with a value; start a comment with #",
            ));
        };
        type IsValid = fn(&str) -> bool;
        let is_country: IsValid = |value| value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_language: IsValid = |value| value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_cookie: IsValid = |value| !value.contains([';', '"', '=', '\\']) && value.is_ascii();
        let (list, expected, is_valid) = match name {
            "Country" | "country" => (&mut self.countries, "two-letter countries such as cn,hk", is_country),
            "Language" | "language" => (&mut self.languages, "languages such as zh,en-gb", is_language),
            "Cookie" | "cookie" => (&mut self.cookies, "names of cookies", is_cookie),
            "Role" | "role" => (&mut self.roles, "names of roles", (|_| true) as IsValid),
            "Sign" | "signed" => {
                return Err(Fault::new("signed proxying does not exist here", "remove the line"));
            }
            _ => {
                return Err(Fault::new(
                    format!("the condition {} is unknown", part(name)),
                    "use Country, Language, Cookie or Role; write query parameters before the target",
                ));
            }
        };
        if !list.is_empty() {
            let reason = format!("the condition {name} occurs twice");
            return Err(Fault::new(reason, "separate its values by commas, without blanks"));
        }
        let values: Vec<&str> = values.split(',').collect();
        if values.iter().any(|value| value.is_empty() || !is_valid(value)) {
            return Err(Fault::new(
                format!("expected {expected}, found {}", part(token)),
                "separate the values by commas, without blanks",
            ));
        }
        *list = values.into_iter().map(Into::into).collect();
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self { countries, languages, cookies, roles } = self;
        [countries, languages, cookies, roles].into_iter().all(|list| list.is_empty())
    }

    /// Whether all conditions hold.
    pub(super) fn hold(&self, viewer: &dyn Viewer) -> bool {
        let is_one_of =
            |list: &[Box<str>], is: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|value| is(value));
        is_one_of(&self.cookies, &|name| viewer.has_cookie(name))
            && (self.countries.is_empty()
                || viewer
                    .country()
                    .is_some_and(|country| is_one_of(&self.countries, &|code| code.eq_ignore_ascii_case(&country))))
            && (self.languages.is_empty()
                || viewer.language().is_some_and(|accepted| {
                    let preferred = preferred(&accepted);
                    is_one_of(&self.languages, &|language| matches_language(language, preferred))
                }))
            && is_one_of(&self.roles, &|role| viewer.has_role(role))
    }
}

/// The language with the highest weight in Accept-Language (RFC 9110 §12.5.4).
///
/// Of several it is the first one./// A viewer that also understands another language is not sent to that.
fn preferred(accept_language: &str) -> &str {
    let mut best = ("", 0);
    for range in accept_language.split(',') {
        let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
        let weight = weight.trim().strip_prefix("q=").or_else(|| weight.trim().strip_prefix("Q="));
        let weight = weight.map_or(1_000, milli);
        if weight > best.1 {
            best = (tag.trim(), weight);
        }
    }
    best.0
}

/// A weight in thousandths. An invalid one counts as 0.
fn milli(weight: &str) -> u32 {
    let weight: f32 = weight.trim().parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1_000.0) as u32
}

/// Whether a tag is `language` or a region of it (RFC 4647 §3.3.1).
fn matches_language(language: &str, tag: &str) -> bool {
    tag.get(..language.len()).is_some_and(|start| start.eq_ignore_ascii_case(language))
        && matches!(tag.as_bytes().get(language.len()), None | Some(b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Guest(Option<&'static str>, Option<&'static str>, &'static str, &'static str);

    impl Viewer for Guest {
        fn country(&self) -> Option<Cow<'_, str>> {
            self.0.map(Into::into)
        }
        fn language(&self) -> Option<Cow<'_, str>> {
            self.1.map(Into::into)
        }
        fn has_cookie(&self, name: &str) -> bool {
            self.2 == name
        }
        fn has_role(&self, role: &str) -> bool {
            self.3 == role
        }
    }

    #[test]
    fn every_condition_needs_one_of_its_values() {
        let guest = Guest(Some("CN"), Some("zh-TW,zh;q=0.9,en;q=0.8"), "beta", "admin");
        for (tokens, expected) in [
            (&[][..], true),
            (&["Country=cn"], true),
            (&["Country=us,CN"], true),
            (&["Country=us"], false),
            (&["Language=zh"], true),
            (&["language=zh-tw"], true),
            (&["Language=zh-cn"], false),
            (&["Language=en"], false),
            (&["Language=z"], false),
            (&["Cookie=alpha,beta"], true),
            (&["Cookie=alpha"], false),
            (&["Role=admin"], true),
            (&["Role=member"], false),
            (&["Country=cn", "Language=en"], false),
            (&["Country=cn", "Language=zh", "Cookie=beta", "role=admin"], true),
        ] {
            let conditions = Conditions::parse(tokens).expect("expected valid conditions");
            assert_eq!(conditions.hold(&guest), expected, "{tokens:?}");
            assert_eq!(conditions.hold(&Guest(None, None, "", "")), tokens.is_empty(), "{tokens:?}");
        }
    }

    #[test]
    fn the_language_with_the_highest_weight_is_preferred() {
        for (accepted, expected) in [
            ("de", "de"),
            ("en;q=0.5, de", "de"),
            ("en;q=0.5, de;q=0.5", "en"),
            ("en;q=0, de;q=0.1", "de"),
            ("en;q=x, de ; q=0.1", "de"),
            ("", ""),
        ] {
            assert_eq!(preferred(accepted), expected, "{accepted}");
        }
    }

    #[test]
    fn invalid_conditions_have_a_reason() {
        for (tokens, reason) in [
            (&["gb"][..], "expected a condition, found gb"),
            (&["Planet=earth"], "the condition Planet is unknown"),
            (&["Sign=KEY"], "signed proxying does not exist here"),
            (&["Country=us,"], "expected two-letter countries such as cn,hk, found Country=us,"),
            (&["Country=usa"], "expected two-letter countries such as cn,hk, found Country=usa"),
            (&["Language=en_gb"], "expected languages such as zh,en-gb, found Language=en_gb"),
            (&["Role=a", "role=b"], "the condition role occurs twice"),
        ] {
            assert_eq!(Conditions::parse(tokens).map_err(|fault| fault.reason), Err(reason.to_owned()));
        }
    }
}
