//! Reads values from the JSON of CloudFront's API and of CloudFormation.
//!
//! A list is `{"Quantity": …, "Items": […]}` in the API and an array in CloudFormation.

use serde_json::Value;

/// Whether a text contains a value that only AWS knows: a placeholder of [`crate::policy::template`] or a
/// [dynamic reference](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html).
pub(super) fn is_unknown(text: &str) -> bool {
    text.contains("${") || text.contains("{{resolve:")
}

/// The items of a list; none if it is absent.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().or_else(|| list["Items"].as_array()).map_or(&[], Vec::as_slice)
}

/// The items of a list as text. A text instead of a list, such as an unknown one, is its only item.
pub(super) fn texts(list: &Value) -> Vec<String> {
    match list.as_str() {
        Some(text) if !text.is_empty() => vec![text.to_owned()],
        _ => items(list).iter().map(text).collect(),
    }
}

/// A value as text; empty if it is absent.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A number. CloudFormation also accepts `"10"` for `10`.
pub(super) fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A number: `default` if it is absent, `unknown` if only AWS knows it.
pub(super) fn number_or(value: &Value, default: u64, unknown: u64) -> u64 {
    let fallback = if value.as_str().is_some_and(is_unknown) { unknown } else { default };
    number(value).unwrap_or(fallback)
}

/// A Boolean. CloudFormation also accepts `"true"` for `true`.
pub(super) fn boolean(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value == "true")
}
