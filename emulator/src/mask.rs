//! Hides tokens and signatures of links in text for people, whatever the names of their parameters are.

use std::borrow::Cow;

/// The replacement of a secret value.
const MASK: &str = "…";

/// The text without the values of queries (`name=value`) that are JWTs or signatures of links.
pub(crate) fn mask(text: &str) -> Cow<'_, str> {
    // A value ends where a query or a word does. No other `=` follows a secret value in the same pair.
    let ends_value = |character: char| "&#;,\"'<>=".contains(character) || character.is_whitespace();
    let is_secret = |part: &str| {
        let value = part.split(ends_value).next().unwrap_or_default();
        (is_token(value) || is_signature(value)).then_some(value.len())
    };
    if text.split('=').skip(1).all(|part| is_secret(part).is_none()) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split('=');
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push('=');
        match is_secret(part) {
            Some(len) => masked.extend([MASK, &part[len..]]),
            None => masked.push_str(part),
        }
    }
    Cow::Owned(masked)
}

fn is_base64url(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A JWS in compact serialization: its header starts with `{"`.
fn is_token(value: &str) -> bool {
    value.starts_with("eyJ") && value.split('.').count() == 3 && value.split('.').all(is_base64url)
}

/// `SECONDS-SIGNATURE`, with the 43 characters of an HMAC-SHA-256.
fn is_signature(value: &str) -> bool {
    let is_time = |time: &str| !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
    value.split_once('-').is_some_and(|(time, mac)| is_time(time) && mac.len() == 43 && is_base64url(mac))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_signatures_are_masked_and_nothing_else() {
        let (token, mac) = ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln", "a".repeat(43));
        assert_eq!(mask(&format!("/a?t={token}")), "/a?t=…");
        assert_eq!(mask(&format!("/a?x=1&verify=1800000000-{mac}&y=2 301")), "/a?x=1&verify=…&y=2 301");
        assert_eq!(mask(&format!("GET \"/a?t={token}\" → /b?t={token}#c")), "GET \"/a?t=…\" → /b?t=…#c");
        for text in ["/a", "/a?b=c", "/a?t=eyJ", "/a?t=eyJ.a", "/a?verify=1800000000-short", "a==b=", ""] {
            assert_eq!(mask(text), text);
        }
    }
}
