//! A visitor's id in 16 bytes.

use std::hash::{DefaultHasher, Hasher};

/// A visitor: the id itself, as nearedge creates it, or 128 bits of a hash of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Visitor([u64; 2]);

impl Visitor {
    /// Reads an id of 22 base64url digits or a SHA-256, and hashes any other text.
    pub(super) fn new(id: &str) -> Self {
        let bytes = id.as_bytes();
        let digits = match bytes.len() {
            22 => base64(bytes),
            // The first half of a SHA-256 is as good a hash as any.
            64 => hexadecimal(&bytes[..32]).filter(|_| hexadecimal(&bytes[32..]).is_some()),
            _ => None,
        };
        let number = digits.unwrap_or_else(|| u128::from(hash(bytes, 0)) << 64 | u128::from(hash(bytes, 1)));
        Self([(number >> 64) as u64, number as u64])
    }
}

/// Decodes 128 bits (RFC 4648 §5). Four bits of the last digit must be zero.
fn base64(digits: &[u8]) -> Option<u128> {
    let (last, first) = digits.split_last()?;
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    };
    let number = first.iter().try_fold(0_u128, |number, digit| Some(number << 6 | u128::from(value(*digit)?)))?;
    let last = value(*last).filter(|last| last & 15 == 0)?;
    Some(number << 2 | u128::from(last >> 4))
}

fn hexadecimal(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0_u128, |number, digit| Some(number << 4 | u128::from(char::from(*digit).to_digit(16)?)))
}

fn hash(bytes: &[u8], half: u8) -> u64 {
    // SipHash with fixed keys. The seeds make two independent halves.
    let mut hasher = DefaultHasher::new();
    hasher.write_u8(half);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_of_nearedge_is_decoded() {
        assert_eq!(Visitor::new("AAECAwQFBgcICQoLDA0ODw"), Visitor([0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f]));
        let hashed = Visitor::new("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(hashed, Visitor([0xba78_16bf_8f01_cfea, 0x4141_40de_5dae_2223]));
    }

    proptest! {
        #[test]
        fn different_ids_are_different_visitors(one in "[A-Za-z0-9_-]{20,23}", other in "[A-Za-z0-9_-]{20,23}") {
            prop_assert_eq!(one == other, Visitor::new(&one) == Visitor::new(&other));
        }
    }
}
