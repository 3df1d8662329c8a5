//! What a request counts for its visitor: exposures and conversions.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Number;
use sha2::{Digest, Sha256};

/// Everything that one request counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// The visitor's id.
    pub visitor: Box<str>,
    /// The names and values of the attributes that the rules use.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// The exposures and conversions; at least one.
    pub counted: Vec<Count>,
}

/// An exposure or a conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// The key of the experiment.
    pub experiment: Arc<str>,
    /// The key of the variation.
    pub variation: Arc<str>,
    /// The run of the experiment.
    pub phase: Arc<str>,
    /// Whether metrics count it too: a definition may have more experiments than metrics distinguish.
    pub in_metrics: bool,
    /// An exposure or a conversion.
    pub kind: CountKind,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountKind {
    /// The visitor's first view of the variation.
    Exposure {
        /// The version that the visitor gets.
        version: Option<Box<str>>,
    },
    /// The visitor's first completion of a goal after the exposure.
    Conversion {
        /// The key of the goal.
        goal: Arc<str>,
        /// The value, such as that of an order.
        value: Option<Number>,
    },
}

impl Counts {
    /// Everything that a request of the visitor with this id counts; lines contain the SHA-256 of the id if `hash_ids`.
    pub(super) fn new(id: &str, hash_ids: bool, attributes: Vec<(Box<str>, Box<str>)>, counted: Vec<Count>) -> Self {
        let visitor = if hash_ids { hash(id) } else { id.into() };
        Self { visitor, attributes, counted }
    }
}

/// The SHA-256 of an id, in hexadecimal digits.
fn hash(id: &str) -> Box<str> {
    let mut digits = String::with_capacity(64);
    for byte in Sha256::digest(id) {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits.into()
}

/// The longest value of a conversion, in characters.
const VALUE_LEN_MAX: usize = 32;

/// The largest value of a conversion: below it, `f64` holds hundredths exactly enough.
const VALUE_MAX: f64 = 1e12;

/// Reads the value of a conversion: a JSON number of at most 10^12.
///
/// # Errors
/// With the reason, for the client.
pub(super) fn read_value(text: &str) -> Result<Number, &'static str> {
    let number = (text.len() <= VALUE_LEN_MAX).then(|| serde_json::from_str::<Number>(text).ok()).flatten();
    let number = number.filter(|number| number.as_f64().is_some_and(|value| value.abs() <= VALUE_MAX));
    number.ok_or("value is not a number between -1e12 and 1e12: write one such as 12.50")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_id_is_its_sha256() {
        let counts = |hash_ids| Counts::new("abc", hash_ids, Vec::new(), Vec::new()).visitor;
        assert_eq!(&*counts(false), "abc");
        // FIPS 180-4's example.
        assert_eq!(&*counts(true), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_value_is_a_json_number_of_limited_size() {
        for (text, expected) in [("12.50", 12.5), ("0", 0.0), ("-3", -3.0), ("1e3", 1000.0), ("1000000000000", 1e12)] {
            assert_eq!(read_value(text).ok().and_then(|number| number.as_f64()), Some(expected), "{text}");
        }
        for text in ["", "abc", "12,5", "1e400", "NaN", "1e13", "+5", "{}", "\"5\"", &"1".repeat(33)] {
            assert!(read_value(text).is_err(), "{text}");
        }
    }
}
