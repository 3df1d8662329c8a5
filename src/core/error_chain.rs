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
    use std::fmt;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|source| source as _)
        }
    }

    #[test]
    fn every_source_follows_its_error() {
        let innermost = Layer("connection refused", None);
        let middle = Layer("cannot connect", Some(Box::new(innermost)));
        assert_eq!(error_chain(&middle), "cannot connect: connection refused");
        let outer = Layer("no response", Some(Box::new(middle)));
        assert_eq!(error_chain(&outer), "no response: cannot connect: connection refused");
    }
}
