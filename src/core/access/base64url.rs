//! Base64url without padding (RFC 4648 §5, RFC 7515 §2), in the one canonical spelling of each text.

use base64_simd::URL_SAFE_NO_PAD;

/// Decodes a text; `None` if another text is the canonical spelling of the same bytes.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    // The decoder ignores neither padding, nor white space, nor trailing bits that are not zero: see the tests.
    URL_SAFE_NO_PAD.decode_to_vec(text).ok()
}

/// Encodes bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_texts_are_decoded() {
        assert_eq!(decode("_-8"), Some(vec![0xff, 0xef]));
        for text in ["_-9", "_-8=", "/+8", " _-8", "_-8\n", "_", "A", "AB", "AAF", "_-8_-", "é", "AA==", "A A A"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_decoded_text_is_the_encoding_of_its_bytes(text in "[A-Za-z0-9_=+/ -]{0,12}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
