//! An error and its sources in one line.

use std::error::Error;
use std::fmt::Write as _;

/// Formats `error` and its sources, separated by `: `.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_follows_its_error() {
        let inner = std::num::ParseIntError::from("x".parse::<u8>().unwrap_err());
        let outer = std::io::Error::other(std::io::Error::other(inner));
        assert_eq!(error_chain(&outer), "invalid digit found in string");
    }
}
