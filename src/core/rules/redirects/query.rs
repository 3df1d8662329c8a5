//! Query parameters that a rule requires and captures, such as `id=:id`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::rules::line_problem::{Checked, Fault, part};
use crate::rules::path_pattern::{Token, tokens};

/// A required query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Parameter {
    /// The decoded name.
    name: Box<str>,
    /// The decoded value; `None` captures any value that is not empty.
    value: Option<Box<str>>,
}

/// The query parameters of a rule. Their order in the request does not matter, and others may be present.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct QueryPattern(Box<[Parameter]>);

impl QueryPattern {
    /// Reads tokens such as `page=news`, and adds captures to `names`.
    pub(super) fn parse(pairs: &[&str], names: &mut Vec<Box<str>>) -> Checked<Self> {
        let mut parameters: Vec<Parameter> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                return Err(Fault::new(
                    format!("expected a query parameter or a target, found {}", part(pair)),
                    "write name=value or name=:value; start the target with /, https:// or http://",
                ));
            };
            let name: Box<str> = decoded(name).into();
            if parameters.iter().any(|known| known.name == name) {
                let reason = format!("the query parameter {} occurs twice", part(&name));
                return Err(Fault::new(reason, "write it once"));
            }
            let value = match tokens(value).next() {
                Some(Token::Placeholder(capture)) if capture.len() + 1 == value.len() => {
                    if names.iter().any(|known| **known == *capture) {
                        let reason = format!("the placeholder :{capture} occurs twice");
                        return Err(Fault::new(reason, "give each placeholder a name of its own"));
                    }
                    names.push(capture.into());
                    None
                }
                Some(Token::Placeholder(_)) => {
                    return Err(Fault::new(
                        format!("expected a value or a placeholder alone, found {}", part(value)),
                        "write name=:value",
                    ));
                }
                _ => Some(decoded(value).into()),
            };
            parameters.push(Parameter { name, value });
        }
        Ok(Self(parameters.into()))
    }

    /// The decoded names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|parameter| &*parameter.name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the other pattern requires all that this one requires.
    pub(super) fn is_implied_by(&self, other: &Self) -> bool {
        let is_implied = |parameter: &Parameter| {
            other.0.iter().any(|other| {
                other.name == parameter.name
                    && (other.value == parameter.value
                        || parameter.value.is_none() && other.value.as_ref().is_some_and(|value| !value.is_empty()))
            })
        };
        self.0.iter().all(is_implied)
    }

    /// Whether an encoded query string has all parameters. Calls `capture` with the decoded values of captures, in order.
    ///
    /// Of several parameters with one name the first counts.
    pub(super) fn matches<'q>(&self, query: &'q str, mut capture: impl FnMut(Cow<'q, str>)) -> bool {
        self.0.iter().all(|parameter| {
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let Some((_, value)) = pairs.find(|(name, _)| decoded(name) == *parameter.name) else { return false };
            let value = decoded(value);
            match &parameter.value {
                Some(expected) => **expected == *value,
                None if value.is_empty() => false,
                None => {
                    capture(value);
                    true
                }
            }
        })
    }
}

/// Decodes a name or a value as forms encode it. Bytes that are not UTF-8 become U+FFFD.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let text = text.replace('+', " ");
    Cow::Owned(percent_decode_str(&text).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pairs: &[&str], query: &str) -> Option<Vec<String>> {
        let pattern = QueryPattern::parse(pairs, &mut Vec::new()).expect("expected valid parameters");
        let mut captures = Vec::new();
        pattern.matches(query, |value| captures.push(value.into_owned())).then_some(captures)
    }

    #[test]
    fn all_parameters_are_required_in_any_order() {
        for (pairs, query, expected) in [
            (&["page=news"][..], "page=news", Some(vec![])),
            (&["page=news"], "a=b&page=news", Some(vec![])),
            (&["page=news"], "page=new", None),
            (&["page=news"], "page=News", None),
            (&["page=a=b"], "page=a=b", Some(vec![])),
            (&["a%20b=c+d"], "a+b=c%20d", Some(vec![])),
            (&["page="], "page", Some(vec![])),
            (&["page="], "", None),
            (&["id=:id", "tag=:tag"], "tag=x%2fy&id=1", Some(vec!["1", "x/y"])),
            (&["id=:id", "tag=:tag"], "id=1", None),
            (&["id=:id"], "id=", None),
            (&["id=:id"], "id=1&id=2", Some(vec!["1"])),
            (&["t=12:30"], "t=12:30", Some(vec![])),
        ] {
            let expected = expected.map(|values| values.into_iter().map(str::to_owned).collect());
            assert_eq!(captured(pairs, query), expected, "{pairs:?} {query}");
        }
    }

    #[test]
    fn invalid_parameters_have_a_reason() {
        for (pairs, reason) in [
            (&["index.html"][..], "expected a query parameter or a target, found index.html"),
            (&["=x"], "expected a query parameter or a target, found =x"),
            (&["a=1", "a=2"], "the query parameter a occurs twice"),
            (&["a=:x", "b=:x"], "the placeholder :x occurs twice"),
            (&["a=:x.html"], "expected a value or a placeholder alone, found :x.html"),
        ] {
            let fault = QueryPattern::parse(pairs, &mut Vec::new()).expect_err("expected a fault");
            assert_eq!(fault.reason, reason);
        }
    }
}
