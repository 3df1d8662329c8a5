//! Converts events of REST APIs (payload format 1.0), load balancers and VPC Lattice to payload format 2.0.
//!
//! Everything behind [`super::event`] then reads one format, and the requests of HTTP APIs and function URLs pay nothing for the
//! others. `docs/doors.md` lists what each door does to path, query, headers and cookies.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::request::door::Door;
use crate::request::text::Text;

/// The characters of a query that a REST API has decoded and that need encoding: all but RFC 3986's unreserved ones.
const QUERY_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Converts an event to payload format 2.0, with a decoded path. `None` if it is of none of these doors.
pub(super) fn convert(event: &[u8]) -> Option<(Vec<u8>, Door)> {
    let event: ProxyEvent<'_> = serde_json::from_slice(event).ok()?;
    let context = event.request_context?;
    let is_format_1 = event.version.as_ref().map(Text::as_str) == Some("1.0");
    let door = match (&event.http_method, &event.method, context.elb.is_some(), context.service_arn.is_some()) {
        (Some(_), _, true, _) => Door::LoadBalancer { multi_value: event.multi_value_headers.is_some() },
        (Some(_), _, false, _) if is_format_1 => Door::HttpApiFormat1,
        (Some(_), _, false, _) => Door::RestApi,
        (None, Some(_), false, true) => Door::Lattice,
        _ => return None,
    };
    let Text(path) = event.path?;
    let path = match door {
        // The path of an HTTP API is decoded in both formats, and has the prefix of a named stage.
        Door::HttpApiFormat1 => without_prefix(&path, context.stage.as_ref().map(Text::as_str)).to_owned(),
        Door::RestApi => {
            let decoded = percent_decode_str(&path).decode_utf8_lossy();
            let proxy = event.path_parameters.and_then(|parameters| parameters.proxy);
            let base = base_path_len(&decoded, event.resource.as_ref(), proxy.as_ref());
            decoded[base..].to_owned()
        }
        // VPC Lattice appends the query to the path.
        _ => percent_decode_str(path.split('?').next().unwrap_or_default()).decode_utf8_lossy().into_owned(),
    };
    let query = match (event.multi_value_query_string_parameters, event.query_string_parameters) {
        (Some(parameters), _) | (None, Some(parameters)) => {
            query_of(&parameters, matches!(door, Door::RestApi | Door::HttpApiFormat1))
        }
        (None, None) => String::new(),
    };
    let (headers, cookies) = join_headers(event.multi_value_headers.or(event.headers).unwrap_or_default());
    let method = event.http_method.or(event.method);
    let mut request_context = json!({
        "http": {"method": method.as_ref().map(Text::as_str)},
        "stage": "$default",
    });
    if let Some(domain_name) = &context.domain_name {
        request_context["domainName"] = json!(domain_name.as_str());
    }
    let converted = json!({
        "version": "2.0",
        "rawPath": if path.is_empty() { "/" } else { &path },
        "rawQueryString": query,
        "cookies": cookies,
        "headers": headers,
        "requestContext": request_context,
    });
    Some((converted.to_string().into_bytes(), door))
}

/// The path without the prefix of a named stage.
fn without_prefix<'a>(path: &'a str, stage: Option<&str>) -> &'a str {
    let stage = stage.filter(|stage| !stage.is_empty() && *stage != "$default");
    let rest = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

/// The length of the base path that a custom domain puts before the paths of its API: what precedes the resource in `path`
/// ([API mappings](https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mappings.html)).
fn base_path_len(path: &str, resource: Option<&Text<'_>>, proxy: Option<&Text<'_>>) -> usize {
    let Some(resource) = resource.map(Text::as_str) else { return 0 };
    let suffix = match (resource, proxy) {
        // Only a base path leads to the root under another path.
        ("/", None) => return if path == "/" { 0 } else { path.trim_end_matches('/').len() },
        (resource, Some(proxy)) => resource.replace("{proxy+}", proxy.as_str()),
        (resource, None) => resource.to_owned(),
    };
    let whole = path.trim_end_matches('/');
    let decoded = percent_decode_str(&suffix).decode_utf8_lossy();
    let ends = [suffix.as_str(), &decoded].map(|suffix| suffix.trim_end_matches('/'));
    // Slashes alone are no base path: the viewer's path begins with several.
    let base = ends.into_iter().find_map(|suffix| whole.strip_suffix(suffix)).unwrap_or_default();
    base.trim_end_matches('/').len()
}

/// The query of these parameters, encoded. APIs decode names and values, the other doors do not.
fn query_of(parameters: &Pairs<'_>, is_decoded: bool) -> String {
    let mut query = String::new();
    for (name, Values(values)) in &parameters.0 {
        for Text(value) in values {
            if !query.is_empty() {
                query.push('&');
            }
            match is_decoded {
                true => query.extend(utf8_percent_encode(name, QUERY_ENCODED)),
                false => query.push_str(name),
            }
            query.push('=');
            match is_decoded {
                true => query.extend(utf8_percent_encode(value, QUERY_ENCODED)),
                false => query.push_str(value),
            }
        }
    }
    query
}

/// The header fields with names in lower case and repeated ones joined by commas, and the cookies, as in payload format 2.0.
fn join_headers(headers: Pairs<'_>) -> (Map<String, Value>, Vec<String>) {
    let mut joined = Map::new();
    let mut cookies = Vec::new();
    for (name, Values(values)) in headers.0 {
        let name = name.to_ascii_lowercase();
        for Text(value) in values {
            if name == "cookie" {
                let parts = value.split(';').map(str::trim).filter(|cookie| !cookie.is_empty());
                cookies.extend(parts.map(str::to_owned));
                continue;
            }
            match joined.get_mut(&name) {
                Some(Value::String(first)) => {
                    first.push(',');
                    first.push_str(&value);
                }
                _ => drop(joined.insert(name.clone(), Value::String(value.into_owned()))),
            }
        }
    }
    (joined, cookies)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProxyEvent<'a> {
    #[serde(borrow, default)]
    version: Option<Text<'a>>,
    #[serde(borrow, default)]
    resource: Option<Text<'a>>,
    #[serde(borrow, default)]
    path: Option<Text<'a>>,
    #[serde(borrow, default)]
    http_method: Option<Text<'a>>,
    /// The method in an event of VPC Lattice.
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow, default)]
    headers: Option<Pairs<'a>>,
    #[serde(borrow, default)]
    multi_value_headers: Option<Pairs<'a>>,
    #[serde(borrow, default)]
    query_string_parameters: Option<Pairs<'a>>,
    #[serde(borrow, default)]
    multi_value_query_string_parameters: Option<Pairs<'a>>,
    #[serde(borrow, default)]
    path_parameters: Option<PathParameters<'a>>,
    #[serde(borrow, default)]
    request_context: Option<RequestContext<'a>>,
}

#[derive(Deserialize)]
struct PathParameters<'a> {
    #[serde(borrow, default)]
    proxy: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    #[serde(borrow, default)]
    stage: Option<Text<'a>>,
    #[serde(borrow, default)]
    domain_name: Option<Text<'a>>,
    #[serde(default)]
    elb: Option<IgnoredAny>,
    #[serde(default)]
    service_arn: Option<IgnoredAny>,
}

/// An object with a value or a list of values for each name, in its order.
#[derive(Default)]
struct Pairs<'a>(Vec<(Cow<'a, str>, Values<'a>)>);

/// One value or several.
struct Values<'a>(Vec<Text<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for PairsVisitor<'a> {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((Text(name), values)) = map.next_entry()? {
                    pairs.push((name, values));
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValuesVisitor<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for ValuesVisitor<'a> {
            type Value = Values<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Values(vec![Text(Cow::Borrowed(text))]))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Values(vec![Text(Cow::Owned(text.to_owned()))]))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Values(Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Values(values))
            }
        }

        deserializer.deserialize_any(ValuesVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests;
