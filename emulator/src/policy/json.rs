//! Reads values from the JSON of CloudFront's API and of CloudFormation.
//!
//! A list is `{"Quantity": …, "Items": […]}` in the API and an array in CloudFormation.

use serde_json::Value;

/// The items of a list; none if it is absent.
pub(super) fn items(list: &Value) -> &[Value] {
    list.as_array().or_else(|| list["Items"].as_array()).map_or(&[], Vec::as_slice)
}

/// The items of a list as text.
pub(super) fn texts(list: &Value) -> Vec<String> {
    items(list).iter().map(text).collect()
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

/// A Boolean. CloudFormation also accepts `"true"` for `true`.
pub(super) fn boolean(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value == "true")
}
