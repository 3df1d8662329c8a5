//! Invalid signatures of every class, built on valid claims, for every algorithm.

use serde_json::{Value as Json, json};

use super::signer::{Signer, mac};
use super::{NOW, claims, error, read_rule, rule_of};
use crate::access::base64url::{decode, encode};
use crate::access::jwt::Algorithm;
use crate::access::jwt::error::TokenError;

/// The orders of P-256, P-384 and Ed25519 (little-endian), in hexadecimal.
const ORDERS: [(&str, &str); 3] = [
    ("ES256", "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
    ("ES384", "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"),
    ("EdDSA", "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"),
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The sum of two little-endian numbers of the same length; `None` if it is longer.
fn add(left: &[u8], right: &[u8]) -> Option<Vec<u8>> {
    let mut carry = 0;
    let mut sum = Vec::new();
    for (left, right) in left.iter().zip(right) {
        let digit = u16::from(*left) + u16::from(*right) + carry;
        sum.push((digit & 255) as u8);
        carry = digit >> 8;
    }
    (carry == 0).then_some(sum)
}

fn reversed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().rev().copied().collect()
}

/// A DER sequence of the two numbers of a signature (RFC 3279 §2.2.3).
fn der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let integer = |number: &[u8]| {
        let mut number: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
        if number.first().is_none_or(|first| first & 128 != 0) {
            number.insert(0, 0);
        }
        [vec![2, number.len() as u8], number].concat()
    };
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

/// Signatures that are not valid for the message of `valid`, with the name of their class.
fn invalid_signatures(signer: &Signer, valid: &[u8], input: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add_class = |class: &str, signature: Vec<u8>| all.push((class.to_owned(), signature));
    let len = valid.len();
    for at in [0, 1, len / 4, len / 2 - 1, len / 2, len - 2, len - 1] {
        for bit in [0, 3, 7] {
            let mut changed = valid.to_vec();
            changed[at] ^= 1 << bit;
            add_class("modified", changed);
        }
    }
    for kept in [1, len / 2, len - 2, len - 1] {
        add_class("truncated at the end", valid[..kept].to_vec());
        add_class("truncated at the start", valid[len - kept..].to_vec());
    }
    for extra in [0, 1, 255] {
        add_class("extended at the end", [valid, &[extra]].concat());
        add_class("extended at the start", [&[extra], valid].concat());
    }
    add_class("doubled", [valid, valid].concat());
    for byte in [0, 1, 0x80, 0xff] {
        add_class("of one byte", vec![byte; len]);
    }
    add_class("one", [vec![0; len - 1], vec![1]].concat());
    add_class("little-endian", reversed(valid));
    add_class("halves swapped", [&valid[len / 2..], &valid[..len / 2]].concat());
    add_class("hexadecimal", valid.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    add_class("encoded twice", encode(valid).into_bytes());
    add_class("of the payload only", signer.signature(input.split(|byte| *byte == b'.').next_back().unwrap()));
    add_class("of the padded input", signer.signature(&[input, b"="].concat()));
    add_class("of another message", signer.signature(b"another message"));
    let jwk = signer.jwk();
    if let Some(modulus) = jwk["n"].as_str() {
        let modulus = decode(modulus).unwrap();
        add_class("out of range: n", modulus.clone());
        let minus_one =
            reversed(&modulus).iter().enumerate().map(|(at, byte)| byte - u8::from(at == 0)).collect::<Vec<_>>();
        add_class("out of range: n - 1", reversed(&minus_one));
        if let Some(sum) = add(&reversed(valid), &reversed(&modulus)) {
            add_class("out of range: s + n", reversed(&sum));
        }
        let mut sum = add(&[reversed(valid), vec![0]].concat(), &[reversed(&modulus), vec![0]].concat()).unwrap();
        sum.reverse();
        add_class("out of range: s + n with a further byte", sum);
    }
    for (name, order) in ORDERS {
        if name != signer.name {
            continue;
        }
        let order = hex(order);
        let (r, s) = valid.split_at(len / 2);
        let zero = vec![0; len / 2];
        if name == "EdDSA" {
            add_class("out of range: S + L", [r.to_vec(), add(s, &order).unwrap()].concat());
            add_class("out of range: S = L", [r.to_vec(), order.clone()].concat());
            add_class("out of range: R is no point", [vec![0xff; 32], s.to_vec()].concat());
            add_class("zero: S", [r.to_vec(), zero.clone()].concat());
            add_class("zero: R", [zero, s.to_vec()].concat());
            continue;
        }
        for (r, s, class) in [
            (&zero[..], s, "zero: r"),
            (r, &zero[..], "zero: s"),
            (&order[..], s, "out of range: r = n"),
            (r, &order[..], "out of range: s = n"),
            (&order[..], &order[..], "out of range: both n"),
            (&zero[..], &order[..], "out of range: 0, n"),
            (&order[..], &zero[..], "out of range: n, 0"),
        ] {
            add_class(class, [r, s].concat());
        }
        for (half, other, is_r) in [(r, s, true), (s, r, false)] {
            if let Some(sum) = add(&reversed(half), &reversed(&order)) {
                let sum = reversed(&sum);
                let pair = if is_r { [&sum[..], other].concat() } else { [other, &sum[..]].concat() };
                add_class("out of range: plus n", pair);
            }
        }
        add_class("wrong encoding: DER", der(valid));
        add_class("wrong encoding: halves with a leading zero", [&[0], r, &[0], s].concat());
    }
    all
}

#[test]
fn no_invalid_signature_is_accepted() {
    let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
    for signer in Signer::all() {
        let rule = rule_of(&[signer.jwk()], &[signer.name]);
        let token = signer.token(&claims());
        assert_eq!(error(&rule, &token), None, "{}", signer.name);
        let (input, signature) = token.rsplit_once('.').unwrap();
        for (class, invalid) in invalid_signatures(&signer, &decode(signature).unwrap(), input.as_bytes()) {
            let token = format!("{input}.{}", encode(&invalid));
            assert_eq!(error(&rule, &token), Some(TokenError::Signature), "{} {class}", signer.name);
            *counts.entry(signer.name).or_default() += 1;
        }
    }
    // The record of the report: at least 45 of each algorithm.
    assert!(counts.len() == 12 && counts.values().all(|count| *count >= 45), "{counts:?}");
}

#[test]
fn a_signature_is_only_valid_in_its_one_encoding() {
    for signer in Signer::all() {
        let rule = rule_of(&[signer.jwk()], &[signer.name]);
        let token = signer.token(&claims());
        let (input, signature) = token.rsplit_once('.').unwrap();
        let bytes = decode(signature).unwrap();
        let mut texts = vec![
            format!("{signature}="),
            format!("{signature}=="),
            format!(" {signature}"),
            format!("{signature}\n"),
            format!("{signature}."),
            format!("{signature}%3D"),
            format!("{}\n{}", &signature[..9], &signature[9..]),
            base64_simd::STANDARD.encode_to_string(&bytes),
            String::new(),
        ];
        // Trailing bits that are not zero.
        if !bytes.len().is_multiple_of(3) {
            let last = signature.chars().last().unwrap();
            let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let next = alphabet.chars().nth(alphabet.find(last).unwrap() + 1).unwrap();
            texts.push(format!("{}{next}", &signature[..signature.len() - 1]));
        }
        for text in texts {
            let found = error(&rule, &format!("{input}.{text}"));
            // Standard base64 of these bytes can be the same text but for the padding.
            assert!(found.is_some() || text == signature, "{} {text:?}", signer.name);
        }
    }
}

#[test]
fn a_token_of_another_algorithm_is_refused() {
    let signers = Signer::all();
    let mut refused = 0;
    for signer in &signers {
        let token = signer.token(&claims());
        let without_kid = signer.token_of(&json!({"alg": signer.name}).to_string(), &claims().to_string());
        for other in signers.iter().filter(|other| other.name != signer.name) {
            // The same key, but only the other algorithm is listed, as far as the key fits it.
            let same_key = read_rule(&json!({"keys": {"keys": [signer.jwk()]}, "algorithms": [other.name]}));
            for rule in [same_key.ok(), Some(rule_of(&[other.jwk()], &[other.name]))].into_iter().flatten() {
                assert_eq!(error(&rule, &token), Some(TokenError::Algorithm), "{} {}", signer.name, other.name);
                refused += 1;
            }
            // Both are listed, with both keys: the signature is of a key of another type than the header claims.
            let rule = rule_of(&[signer.jwk(), other.jwk()], &[signer.name, other.name]);
            let (_, rest) = token.split_once('.').unwrap();
            let header = json!({"alg": other.name}).to_string();
            let switched = format!("{}.{rest}", encode(header.as_bytes()));
            assert_eq!(error(&rule, &switched), Some(TokenError::Signature), "{} {}", signer.name, other.name);
            // The header is part of what is signed, with the wrong algorithm.
            let resigned = signer.token_of(&header, &claims().to_string());
            assert_eq!(error(&rule, &resigned), Some(TokenError::Signature), "{} as {}", signer.name, other.name);
            assert_eq!(error(&rule, &without_kid), None, "{}", signer.name);
            refused += 2;
        }
    }
    assert!(refused >= 12 * 11 * 3, "{refused}");
}

#[test]
fn a_public_key_is_never_the_secret_of_a_mac() {
    let secret = Signer::new("HS256");
    let mut refused = 0;
    for signer in Signer::all().iter().filter(|signer| !signer.name.starts_with("HS")) {
        let rules = [
            rule_of(&[signer.jwk()], &[signer.name]),
            rule_of(&[signer.jwk(), secret.jwk()], &[signer.name, "HS256", "HS384", "HS512"]),
        ];
        for bytes in signer.public_bytes() {
            for name in ["HS256", "HS384", "HS512"] {
                for header in [json!({"alg": name}), json!({"alg": name, "kid": signer.kid})] {
                    let input = format!(
                        "{}.{}",
                        encode(header.to_string().as_bytes()),
                        encode(claims().to_string().as_bytes())
                    );
                    let token = format!("{input}.{}", encode(&mac(name, &bytes, input.as_bytes())));
                    assert!(rules.iter().all(|rule| error(rule, &token).is_some()), "{} {name}", signer.name);
                    refused += 2;
                }
            }
        }
    }
    assert!(refused > 400, "{refused}");
}

#[test]
fn the_kid_selects_the_key() {
    let (first, second) = (Signer::new("ES256"), Signer::new("ES256"));
    let rule = rule_of(&[first.jwk(), second.jwk()], &["ES256"]);
    let of = |signer: &Signer, header: Json| error(&rule, &signer.token_of(&header.to_string(), &claims().to_string()));
    assert_eq!(of(&first, json!({"alg": "ES256", "kid": first.kid})), None);
    assert_eq!(of(&second, json!({"alg": "ES256"})), None);
    assert_eq!(of(&first, json!({"alg": "ES256", "kid": second.kid})), Some(TokenError::Signature));
    assert_eq!(of(&first, json!({"alg": "ES256", "kid": "other"})), Some(TokenError::UnknownKey));
    assert_eq!(of(&first, json!({"alg": "ES256", "kid": ""})), Some(TokenError::UnknownKey));
    for kid in [json!(1), json!(null), json!([first.kid]), json!({})] {
        assert_eq!(of(&first, json!({"alg": "ES256", "kid": kid})), Some(TokenError::Header));
    }
    // A key without kid is only for tokens without one.
    let mut anonymous = first.jwk();
    anonymous.as_object_mut().unwrap().remove("kid");
    let rule = rule_of(&[anonymous], &["ES256"]);
    assert_eq!(error(&rule, &first.token(&claims())), Some(TokenError::UnknownKey));
    assert_eq!(error(&rule, &first.token_of("{\"alg\":\"ES256\"}", &claims().to_string())), None);
}

#[test]
fn at_most_four_keys_are_tried() {
    let signers: Vec<Signer> = (0..5).map(|_| Signer::new("ES256")).collect();
    let jwks: Vec<Json> = signers.iter().map(Signer::jwk).collect();
    let rule = rule_of(&jwks, &["ES256"]);
    let found: Vec<_> = signers
        .iter()
        .map(|signer| error(&rule, &signer.token_of("{\"alg\":\"ES256\"}", &claims().to_string())))
        .collect();
    assert_eq!(found, [None, None, None, None, Some(TokenError::Signature)]);
    assert_eq!(error(&rule, &signers[4].token(&claims())), None);
}

#[test]
fn a_key_verifies_only_what_it_states() {
    let signer = Signer::new("RS256");
    let with = |members: Json| {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        read_rule(&json!({"keys": {"keys": [jwk]}, "algorithms": ["RS256", "PS256"]})).ok()
    };
    let token = signer.token(&claims());
    for members in
        [json!({}), json!({"alg": "RS256"}), json!({"use": "sig"}), json!({"key_ops": ["verify"]}), json!({"x5t": 1})]
    {
        assert_eq!(error(&with(members).unwrap(), &token), None);
    }
    assert_eq!(error(&with(json!({"alg": "PS256"})).unwrap(), &token), Some(TokenError::UnknownKey));
    for members in
        [json!({"use": "enc"}), json!({"key_ops": ["sign"]}), json!({"key_ops": "verify"}), json!({"alg": "RS384"})]
    {
        assert!(with(members.clone()).is_none(), "{members}");
    }
}

#[test]
fn keys_that_are_wrong_or_weak_are_errors() {
    let rsa = Signer::new("RS256").jwk();
    let ec = Signer::new("ES256").jwk();
    let with = |jwk: &Json, members: Json| {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        jwk
    };
    let zeros = |len| encode(&vec![0x80; len]);
    for (jwk, place) in [
        (with(&rsa, json!({"n": zeros(255)})), ".n"),
        (with(&rsa, json!({"n": zeros(128)})), ".n"),
        (with(&rsa, json!({"n": zeros(1025)})), ".n"),
        (with(&rsa, json!({"n": format!("AA{}", zeros(255))})), ".n"),
        (with(&rsa, json!({"n": ""})), ".n"),
        (with(&rsa, json!({"n": "a b="})), ".n"),
        (with(&rsa, json!({"n": 5})), ".n"),
        (with(&rsa, json!({"e": "AQ"})), ".e"),
        (with(&rsa, json!({"e": "AAEAAQ"})), ".e"),
        (with(&rsa, json!({"e": "Ag"})), ".e"),
        (with(&rsa, json!({"d": "AQAB"})), ".d"),
        (with(&ec, json!({"x": zeros(31)})), ".x"),
        (with(&ec, json!({"y": zeros(33)})), ".y"),
        (with(&ec, json!({"crv": "P-384"})), ".x"),
        (with(&ec, json!({"d": "AQAB"})), ".d"),
        (with(&ec, json!({"alg": "RS256"})), ".alg"),
        (with(&ec, json!({"kid": 1})), ".kid"),
        (json!({"kty": "oct", "k": zeros(31)}), ".k"),
        (json!({"kty": "oct", "alg": "HS384", "k": zeros(47)}), ".k"),
        (json!({"kty": "oct", "alg": "HS512", "k": zeros(63)}), ".k"),
        (json!({"kty": "oct", "k": zeros(1025)}), ".k"),
        (json!({"kty": "OKP", "crv": "Ed25519", "x": zeros(31)}), ".x"),
        (json!({"kid": "a"}), ".kty"),
        (json!({"kty": "oct", "crv": "secp256k1"}), ".k"),
    ] {
        let all: Vec<&str> = Algorithm::ALL.iter().map(|(name, _)| *name).collect();
        let keys = json!({"keys": [rsa.clone(), jwk]});
        let problems = read_rule(&json!({"keys": keys, "algorithms": all})).unwrap_err();
        assert_eq!(problems[0].path, format!("keys.keys[1]{place}"), "{jwk}");
        assert!(!format!("{problems:?}").contains(&zeros(31)), "{problems:?}");
    }
    // A secret for one algorithm is too short for another one.
    let short = json!({"keys": [{"kty": "oct", "k": zeros(32)}]});
    assert!(read_rule(&json!({"keys": short, "algorithms": ["HS256"]})).is_ok());
    assert!(read_rule(&json!({"keys": short, "algorithms": ["HS384"]})).is_err());
}

#[test]
fn a_key_that_is_no_point_of_its_curve_accepts_nothing() {
    let signer = Signer::new("ES256");
    let mut jwk = signer.jwk();
    jwk["y"] = jwk["x"].clone();
    assert_eq!(rule_of(&[jwk], &["ES256"]).verify(&signer.token(&claims()), NOW).unwrap_err(), TokenError::Signature);
}
