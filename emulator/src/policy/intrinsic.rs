//! CloudFormation's functions on texts and lists of which only AWS knows a part.
//!
//! An unknown part is a placeholder, such as `${Api}`. A function keeps it whole, and its result is unknown where the
//! argument does not determine it.

use serde_json::Value;

use crate::policy::json::{is_unknown, text};

/// `Fn::Split`: the parts of a text between separators. A separator within a placeholder does not count.
pub(super) fn split(text: &str, separator: &str) -> Value {
    let mut parts = vec![String::new()];
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let placeholder = rest.starts_with("${").then(|| rest.find('}')).flatten();
        let taken = match placeholder {
            Some(end) => end + 1,
            None if !separator.is_empty() && rest.starts_with(separator) => {
                parts.push(String::new());
                rest = &rest[separator.len()..];
                continue;
            }
            None => character.len_utf8(),
        };
        if let Some(last) = parts.last_mut() {
            last.push_str(&rest[..taken]);
        }
        rest = &rest[taken..];
    }
    parts.into()
}

/// `Fn::Select`: an item of a list.
///
/// The item is unknown if the list, the index or the number of items is. `None` if the list is known and has no such
/// item.
pub(super) fn select(index: &Value, list: &Value) -> Option<Value> {
    let index = text(index);
    let position = index.parse::<usize>().ok();
    if let Some(item) = position.and_then(|position| list.as_array()?.get(position)) {
        return Some(item.clone());
    }
    if is_unknown(&index) {
        return Some(index.into());
    }
    position?;
    let unknown = |value: &Value| value.as_str().filter(|text| is_unknown(text)).map(Value::from);
    unknown(list).or_else(|| list.as_array()?.iter().rev().find_map(unknown))
}

/// `Fn::Join`: the items with separators between them. An unknown list stays unknown.
pub(super) fn join(separator: &str, list: &Value) -> String {
    match list.as_array() {
        Some(items) => items.iter().map(text).collect::<Vec<_>>().join(separator),
        None => text(list),
    }
}
