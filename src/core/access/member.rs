//! Reads members of access.json, and records problems.

use crate::experiment::value::Value;
use crate::problem::Problems;

/// Rejects members that are not known: a misspelt restriction would restrict nothing.
pub(super) fn reject_unknown(json: &Value, known: &[&str], problems: &mut Problems) {
    for (name, _) in json.as_object().unwrap_or_default() {
        if !known.contains(&&**name) {
            problems.enter(name);
            problems.reject(format!("the member is unknown; expected {}", known.join(", ")), "correct or remove it");
            problems.leave();
        }
    }
}

/// Runs `read` at the member `name`, if it exists.
pub(super) fn at<'a, T>(
    json: &'a Value,
    name: &str,
    problems: &mut Problems,
    read: impl FnOnce(&'a Value, &mut Problems) -> T,
) -> Option<T> {
    let value = json.get(name)?;
    problems.enter(name);
    let result = read(value, problems);
    problems.leave();
    Some(result)
}

/// Runs `read` at each element of a list, which must not be empty; rejects other values.
pub(super) fn each<'a, T>(
    list: &'a Value,
    problems: &mut Problems,
    mut read: impl FnMut(&'a Value, &mut Problems) -> Option<T>,
) -> Vec<T> {
    let elements = list.as_list().unwrap_or_default();
    if elements.is_empty() {
        problems.reject(format!("expected a list with at least one element, found {}", found(list)), "write [\"…\"]");
    }
    let mut read_at = |(index, element)| {
        problems.enter_element(index);
        let result = read(element, problems);
        problems.leave();
        result
    };
    elements.iter().enumerate().filter_map(&mut read_at).collect()
}

/// A string that is not empty; rejects other values.
pub(super) fn text<'a>(json: &'a Value, problems: &mut Problems) -> Option<&'a str> {
    let text = json.as_str().filter(|text| !text.is_empty());
    if text.is_none() {
        problems.reject(format!("expected a text, found {}", found(json)), "write it in quotation marks");
    }
    text
}

/// A whole number within a range; rejects other values.
pub(super) fn whole(json: &Value, range: std::ops::RangeInclusive<u32>, problems: &mut Problems) -> Option<u32> {
    let is_allowed = |number: &f64| number.fract() == 0.0 && range.contains(&(*number as u32)) && *number >= 0.0;
    let number = json.as_number().filter(|number| is_allowed(number) && *number <= f64::from(u32::MAX));
    if number.is_none() {
        let reason = format!("expected a whole number from {} to {}", range.start(), range.end());
        problems.reject(reason, "correct the number");
    }
    number.map(|number| number as u32)
}

/// Requires a member.
pub(super) fn require(json: &Value, name: &str, fix: &str, problems: &mut Problems) {
    if json.get(name).is_none() {
        problems.reject(format!("the member {name} is missing"), fix);
    }
}

/// Requires an object.
pub(super) fn require_object(json: &Value, problems: &mut Problems) -> bool {
    let is_object = json.as_object().is_some();
    if !is_object {
        problems.reject(format!("expected an object, found {}", json.kind()), "write {…}");
    }
    is_object
}

/// The kind of a value, for messages; never the value itself, which may be a key.
fn found(value: &Value) -> &'static str {
    match value {
        Value::Text(text) if text.is_empty() => "an empty text",
        Value::List(list) if list.is_empty() => "an empty list",
        _ => value.kind(),
    }
}
