//! The shared secret that CloudFront adds and nobody else knows, compared in constant time.

use std::fmt;

use constant_time_eq::constant_time_eq_n;

/// The longest secret accepted, in bytes: far past what guessing can reach, and short enough that
/// every comparison can afford to look at all of them.
pub const SECRET_BYTES_MAX: usize = 256;

/// A secret padded to [`SECRET_BYTES_MAX`], so that comparing it takes the same time whatever its length.
#[derive(Clone)]
struct Secret {
    padded: [u8; SECRET_BYTES_MAX],
    bytes: usize,
}

impl Secret {
    fn new(text: &str) -> Option<Self> {
        let mut padded = [0; SECRET_BYTES_MAX];
        padded.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self { padded, bytes: text.len() })
    }

    fn matches(&self, presented: &Self) -> bool {
        // `&`, not `&&`: both halves are always worked out.
        constant_time_eq_n(&self.padded, &presented.padded) & (self.bytes == presented.bytes)
    }
}

/// Which of the configured secrets a request presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretMatch {
    /// `lambda_auth`.
    Current,
    /// `lambda_auth_next`, accepted too while a rotation is under way.
    Next,
}

impl SecretMatch {
    /// The word that logs and metrics use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Next => "next",
        }
    }
}

/// Why a text cannot serve as a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretFault {
    /// Nothing would be compared: an open door.
    Empty,
    /// Longer than [`SECRET_BYTES_MAX`].
    TooLong,
    /// A header field cannot carry it unchanged (RFC 9110 §5.5: visible ASCII, inner spaces and tabs).
    NotAHeaderValue,
}

impl fmt::Display for SecretFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "is empty: set it to the secret that CloudFront sends in the lambda_auth header"),
            Self::TooLong => write!(f, "is longer than {SECRET_BYTES_MAX} bytes: use a shorter secret"),
            Self::NotAHeaderValue => {
                write!(f, "cannot be sent in a header: use visible ASCII with no space at either end")
            }
        }
    }
}

/// The secrets that open the door: the current one, and during a rotation the next one too.
///
/// `Debug` shows neither.
#[derive(Clone)]
pub struct Secrets {
    current: Secret,
    next: Option<Secret>,
}

impl Secrets {
    /// Prepares the current secret.
    ///
    /// # Errors
    /// When the text is empty, too long, or not something that a header can carry.
    pub fn new(current: &str) -> Result<Self, SecretFault> {
        Ok(Self { current: prepare(current)?, next: None })
    }

    /// Accepts `next` too.
    ///
    /// # Errors
    /// As for [`Secrets::new`].
    pub fn with_next(self, next: &str) -> Result<Self, SecretFault> {
        Ok(Self { next: Some(prepare(next)?), ..self })
    }

    /// Whether there is a next secret: a rotation is under way.
    pub fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Which secret `presented` is, in a time that depends on nothing but its own length.
    ///
    /// A repeated header reaches us joined by a comma, which equals neither secret.
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

fn prepare(text: &str) -> Result<Secret, SecretFault> {
    if text.is_empty() {
        return Err(SecretFault::Empty);
    }
    let visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    if !text.bytes().all(visible) || text.trim_ascii() != text {
        return Err(SecretFault::NotAHeaderValue);
    }
    Secret::new(text).ok_or(SecretFault::TooLong)
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
    fn a_repeated_header_is_refused() {
        assert_eq!(secrets("open", None).matches("open,open"), None);
        assert_eq!(secrets("open", None).matches("open, open"), None);
    }

    #[test]
    fn both_secrets_open_the_door_during_a_rotation_and_are_told_apart() {
        let both = secrets("old", Some("new"));
        assert_eq!(both.matches("old"), Some(SecretMatch::Current));
        assert_eq!(both.matches("new"), Some(SecretMatch::Next));
        assert_eq!(both.matches("older"), None);
    }

    #[test]
    fn an_empty_secret_is_never_an_open_door() {
        assert_eq!(Secrets::new("").unwrap_err(), SecretFault::Empty);
        assert_eq!(secrets("old", None).with_next("").unwrap_err(), SecretFault::Empty);
        assert_eq!(secrets("old", None).matches(""), None);
    }

    #[test]
    fn trailing_nul_bytes_are_not_mistaken_for_the_padding() {
        assert_eq!(secrets("open", None).matches("open\0"), None);
    }

    #[test]
    fn a_secret_that_no_header_can_carry_is_refused_at_the_start() {
        for text in [" open", "open ", "op\nen", "öffne", "\topen", "o\0"] {
            assert_eq!(Secrets::new(text).unwrap_err(), SecretFault::NotAHeaderValue, "{text:?}");
        }
        assert_eq!(Secrets::new(&"x".repeat(257)).unwrap_err(), SecretFault::TooLong);
        assert!(Secrets::new(&"x".repeat(256)).is_ok());
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let shown = format!("{:?}", secrets("swordfish", Some("trout")));
        assert!(!shown.contains("swordfish") && !shown.contains("trout"), "{shown}");
        assert!(!shown.contains("115"), "no byte of it either: {shown}");
    }

    proptest! {
        #[test]
        fn only_the_very_same_text_matches(secret in "[!-~]{1,256}", other in "\\PC{0,300}") {
            let secrets = secrets(&secret, None);
            prop_assert_eq!(secrets.matches(&secret), Some(SecretMatch::Current));
            prop_assert_eq!(secrets.matches(&other).is_some(), other == secret);
        }

        #[test]
        fn one_changed_byte_anywhere_is_refused(secret in "[!-~]{1,64}", at in any::<prop::sample::Index>()) {
            let mut near = secret.clone().into_bytes();
            let at = at.index(near.len());
            near[at] = if near[at] == b'x' { b'y' } else { b'x' };
            let near = String::from_utf8(near).unwrap();
            prop_assert_eq!(secrets(&secret, None).matches(&near), None);
        }
    }
}
