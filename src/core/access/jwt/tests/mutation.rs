//! 100,000 mutated tokens, none of which is accepted.

use super::signer::Signer;
use super::{NOW, claims, rule_of};
use crate::access::base64url::{decode, encode};
use crate::access::jwt::TokenRule;

/// Characters of tokens, and others.
const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ,%\n";

/// xorshift64*: the same mutations in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    fn character(&mut self) -> u8 {
        CHARACTERS[self.below(CHARACTERS.len())]
    }

    /// Changes bytes somewhere.
    fn change(&mut self, bytes: &mut Vec<u8>, new: impl Fn(&mut Self, u8) -> u8) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            match self.below(6) {
                0 if at < bytes.len() => drop(bytes.remove(at)),
                1 => bytes.insert(at, new(self, 0)),
                2 if at > 0 => bytes.swap(at - 1, at),
                3 if at > 0 => bytes.truncate(at),
                4 => bytes.extend_from_within(at..),
                _ if at < bytes.len() => bytes[at] = new(self, bytes[at]),
                _ => bytes.push(new(self, 0)),
            }
        }
    }

    /// A token that differs from each of `tokens`.
    fn mutate(&mut self, tokens: &[String]) -> String {
        let token = tokens[self.below(tokens.len())].clone();
        let mut parts: Vec<Vec<u8>> = token.split('.').map(|part| part.as_bytes().to_vec()).collect();
        match self.below(4) {
            // The text.
            0 => {
                let mut bytes = token.into_bytes();
                self.change(&mut bytes, |random, _| random.character());
                return String::from_utf8(bytes).unwrap();
            }
            // The bytes of a part, encoded again.
            1 | 2 => {
                let part = self.below(3);
                let mut bytes = decode(str::from_utf8(&parts[part]).unwrap()).unwrap();
                self.change(&mut bytes, |random, byte| byte ^ (1 << random.below(8)));
                parts[part] = encode(&bytes).into_bytes();
            }
            // A part of another token.
            _ => {
                let part = self.below(3);
                let other = &tokens[self.below(tokens.len())];
                parts[part] = other.split('.').nth(self.below(3)).unwrap().as_bytes().to_vec();
            }
        }
        String::from_utf8(parts.join(&b'.')).unwrap()
    }
}

fn refuse(name: &'static str, count: usize, seed: u64) {
    let (signer, other) = (Signer::new(name), Signer::new(name));
    let rule: TokenRule = rule_of(&[signer.jwk()], &[name]);
    let mut tokens: Vec<String> = (0..8_u64)
        .map(|index| {
            let mut claims = claims();
            claims["exp"] = (NOW + index).into();
            signer.token(&claims)
        })
        .collect();
    assert!(tokens.iter().all(|token| rule.verify(token, NOW).is_ok()));
    tokens.push(other.token(&claims()));
    let mut random = Random(seed);
    let mut refused = 0;
    while refused < count {
        let token = random.mutate(&tokens);
        if tokens.contains(&token) {
            continue;
        }
        assert!(rule.verify(&token, NOW).is_err(), "{name}: {token}");
        refused += 1;
    }
}

#[test]
fn none_of_100_000_mutated_tokens_is_accepted() {
    refuse("HS256", 90_000, 1);
    refuse("ES256", 9_000, 2);
    refuse("EdDSA", 1_000, 3);
}
