//! The shared secret that CloudFront adds to each request, compared in constant time.

use std::fmt;

use constant_time_eq::constant_time_eq_n;

/// The longest accepted secret, in bytes: far too long to guess, short enough that each comparison can read all of it.
pub const SECRET_BYTES_MAX: usize = 256;

/// A secret, padded to [`SECRET_BYTES_MAX`] so that a comparison takes the same time for every length.
#[derive(Clone)]
struct Secret {
    padded: [u8; SECRET_BYTES_MAX],
    len: usize,
}

impl Secret {
    fn new(text: &str) -> Option<Self> {
        let mut padded = [0; SECRET_BYTES_MAX];
        padded.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { padded, len: text.len() })
    }

    fn matches(&self, presented: &Self) -> bool {
        // `&`, not `&&`: always evaluates both sides.
        constant_time_eq_n(&self.padded, &presented.padded) & (self.len == presented.len)
    }
}

/// How a request has shown that it comes from the distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretMatch {
    /// `lambda_auth`.
    Current,
    /// `lambda_auth_next`, also accepted during a rotation.
    Next,
    /// No secret: IAM has authenticated the caller of the function URL.
    Iam,
}

impl SecretMatch {
    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
            Self::Iam => "iam",
        }
    }
}

/// Why a text is not a valid secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretError {
    /// Empty: a request with an empty header would match it.
    Empty,
    /// Longer than [`SECRET_BYTES_MAX`].
    TooLong,
    /// Not a header value of visible ASCII with inner spaces and tabs (RFC 9110 §5.5), so a header would change it.
    InvalidHeaderValue,
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty: set it to the secret that CloudFront sends in the lambda_auth header"),
            Self::TooLong => write!(f, "is longer than {SECRET_BYTES_MAX} bytes: use a shorter secret"),
            Self::InvalidHeaderValue => {
                write!(f, "is not a valid header value: use visible ASCII without leading or trailing spaces")
            }
        }
    }
}

/// The accepted secrets: the current one and, during a rotation, the next one.
///
/// `Debug` prints neither.
#[derive(Clone)]
pub struct Secrets {
    current: Secret,
    next: Option<Secret>,
}

impl Secrets {
    /// Accepts `current`.
    ///
    /// # Errors
    /// If the text is empty, too long, or not a valid header value.
    pub fn new(current: &str) -> Result<Self, SecretError> {
        Ok(Self { current: prepare(current)?, next: None })
    }

    /// Accepts no secret: every request must come through a door that IAM guards.
    pub fn none() -> Self {
        // No presented secret has this length.
        Self { current: Secret { padded: [0; SECRET_BYTES_MAX], len: usize::MAX }, next: None }
    }

    /// Also accepts `next`.
    ///
    /// # Errors
    /// As for [`Secrets::new`].
    pub fn with_next(self, next: &str) -> Result<Self, SecretError> {
        Ok(Self { next: Some(prepare(next)?), ..self })
    }

    /// Whether a next secret is set, that is, whether a rotation is in progress.
    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// The secret that `presented` equals, if any. The time depends only on the length of `presented`.
    ///
    /// API Gateway joins repeated header fields with a comma, so a repeated secret equals neither.
    pub fn matches(&self, presented: &str) -> Option<SecretMatch> {
        let presented = Secret::new(presented)?;
        let current = self.current.matches(&presented);
        let next = self.next.as_ref().is_some_and(|next| next.matches(&presented));
        match (current, next) {
            (true, _) => Some(SecretMatch::Current),
            (false, true) => Some(SecretMatch::Next),
            (false, false) => None,
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("next", &self.next.is_some()).finish_non_exhaustive()
    }
}

fn prepare(text: &str) -> Result<Secret, SecretError> {
    if text.is_empty() {
        return Err(SecretError::Empty);
    }
    let visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    if !text.bytes().all(visible) || text.trim_ascii() != text {
        return Err(SecretError::InvalidHeaderValue);
    }
    Secret::new(text).ok_or(SecretError::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secrets(current: &str, next: Option<&str>) -> Secrets {
        let secrets = Secrets::new(current).unwrap();
        match next {
            Some(next) => secrets.with_next(next).unwrap(),
            None => secrets,
        }
    }

    #[test]
    fn a_repeated_secret_header_matches_no_secret() {
        assert_eq!(secrets("open", None).matches("open,open"), None);
        assert_eq!(secrets("open", None).matches("open, open"), None);
    }

    #[test]
    fn both_secrets_match_during_a_rotation() {
        let both = secrets("old", Some("new"));
        assert_eq!(both.matches("old"), Some(SecretMatch::Current));
        assert_eq!(both.matches("new"), Some(SecretMatch::Next));
        assert_eq!(both.matches("older"), None);
    }

    #[test]
    fn an_empty_secret_is_rejected_and_never_matches() {
        assert_eq!(Secrets::new("").unwrap_err(), SecretError::Empty);
        assert_eq!(secrets("old", None).with_next("").unwrap_err(), SecretError::Empty);
        assert_eq!(secrets("old", None).matches(""), None);
        assert_eq!(Secrets::none().matches(""), None);
    }

    #[test]
    fn trailing_nul_bytes_do_not_match_the_padding() {
        assert_eq!(secrets("open", None).matches("open\0"), None);
    }

    #[test]
    fn a_secret_that_is_no_valid_header_value_is_rejected() {
        for text in [" open", "open ", "op\nen", "öffne", "\topen", "o\0"] {
            assert_eq!(Secrets::new(text).unwrap_err(), SecretError::InvalidHeaderValue, "{text:?}");
        }
        assert_eq!(Secrets::new(&"x".repeat(257)).unwrap_err(), SecretError::TooLong);
        assert!(Secrets::new(&"x".repeat(256)).is_ok());
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let shown = format!("{:?}", secrets("swordfish", Some("trout")));
        assert!(!shown.contains("swordfish") && !shown.contains("trout"), "{shown}");
        assert!(!shown.contains("115"), "expected no byte of the secret: {shown}");
    }

    proptest! {
        #[test]
        fn only_the_same_text_matches(secret in "[!-~]{1,256}", other in "\\PC{0,300}") {
            let secrets = secrets(&secret, None);
            prop_assert_eq!(secrets.matches(&secret), Some(SecretMatch::Current));
            prop_assert_eq!(secrets.matches(&other).is_some(), other == secret);
        }

        #[test]
        fn one_changed_byte_does_not_match(secret in "[!-~]{1,64}", at in any::<prop::sample::Index>()) {
            let mut near = secret.clone().into_bytes();
            let at = at.index(near.len());
            near[at] = if near[at] == b'x' { b'y' } else { b'x' };
            let near = String::from_utf8(near).unwrap();
            prop_assert_eq!(secrets(&secret, None).matches(&near), None);
        }
    }
}
