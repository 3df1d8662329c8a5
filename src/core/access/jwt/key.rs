//! Keys of tokens: JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use std::fmt;

use ring::hmac;
use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RsaPublicKeyComponents};
use ring::signature::{UnparsedPublicKey, VerificationAlgorithm};

use crate::access::base64url;
use crate::access::jwt::algorithm::Algorithm;
use crate::experiment::value::Value;
use crate::problem::Problems;

/// The most keys of a set.
const KEYS_MAX: usize = 100;

/// The shortest and the longest modulus of RSA, in bits, as ring accepts them.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The largest secret, in bytes.
const SECRET_BYTES_MAX: usize = 1024;

/// The keys of a rule.
#[derive(Debug, PartialEq, Default)]
pub(super) struct KeySet(Vec<Key>);

/// A key that verifies signatures.
#[derive(PartialEq)]
pub(super) struct Key {
    pub(super) kid: Option<Box<str>>,
    /// The only algorithm for which the key may be used, if it states one.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// The key itself.
#[derive(PartialEq)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point (SEC 1 §2.3.3).
    P256(Vec<u8>),
    /// An uncompressed point.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

/// Shows the kind of the key only.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.material {
            Material::Rsa { .. } => "RSA",
            Material::P256(_) => "P-256",
            Material::P384(_) => "P-384",
            Material::Ed25519(_) => "Ed25519",
            Material::Secret(_) => "oct",
        };
        f.debug_struct("Key").field("kind", &kind).finish_non_exhaustive()
    }
}

impl Key {
    /// Whether the key may verify an algorithm: its type decides, so a public key is never the secret of an HMAC.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        let is_of_type = match &self.material {
            Material::Rsa { .. } => algorithm.rsa().is_some(),
            Material::P256(_) => algorithm == Algorithm::Es256,
            Material::P384(_) => algorithm == Algorithm::Es384,
            Material::Ed25519(_) => algorithm == Algorithm::EdDsa,
            Material::Secret(secret) => algorithm.hmac().is_some_and(|(_, shortest)| secret.len() >= shortest),
        };
        is_of_type && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether a signature is valid. The key must fit the algorithm.
    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let public = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok()
        };
        match &self.material {
            Material::Rsa { modulus: n, exponent: e } => algorithm.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }),
            Material::P256(point) => public(&ECDSA_P256_SHA256_FIXED, point),
            Material::P384(point) => public(&ECDSA_P384_SHA384_FIXED, point),
            Material::Ed25519(key) => public(&ED25519, key),
            Material::Secret(secret) => algorithm
                .hmac()
                .is_some_and(|(mac, _)| hmac::verify(&hmac::Key::new(mac, secret), message, signature).is_ok()),
        }
    }
}

impl KeySet {
    /// The keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Reads a JWK Set; records problems. Members and types of keys that are unknown are ignored (RFC 7517 §5), but a key of
    /// a known type with an error is an error: a key that is silently dropped refuses every token of it.
    pub(super) fn read(json: &Value, algorithms: &[Algorithm], problems: &mut Problems) -> Self {
        let Some(list) = json.get("keys").and_then(Value::as_list) else {
            problems.reject(
                format!("expected a JWK Set, an object with a list `keys`, but found {}", json.kind()),
                "write {\"keys\": [{\"kty\": …}]}",
            );
            return Self::default();
        };
        problems.enter("keys");
        if list.len() > KEYS_MAX {
            problems.reject(format!("the set has {} keys, more than {KEYS_MAX}", list.len()), "remove retired keys");
        }
        let mut keys = Vec::new();
        for (index, json) in list.iter().take(KEYS_MAX).enumerate() {
            problems.enter_element(index);
            match read_key(json) {
                Ok(key) if algorithms.iter().any(|algorithm| key.fits(*algorithm)) => keys.push(key),
                Ok(_) => problems
                    .warn("the key fits no listed algorithm, and is ignored", "list its algorithm, or remove it"),
                Err(Refusal::Ignored(reason)) => {
                    problems.warn(format!("the key is ignored: {reason}"), "remove it, if tokens use other keys");
                }
                Err(Refusal::Invalid { member, reason, fix }) => {
                    problems.enter(member);
                    problems.reject(reason, fix);
                    problems.leave();
                }
            }
            problems.leave();
        }
        if keys.is_empty() {
            problems.reject("no key fits a listed algorithm", "add a key that the issuer signs with");
        }
        problems.leave();
        Self(keys)
    }
}

/// Why a JWK is no key for tokens.
enum Refusal {
    /// It is for another purpose.
    Ignored(&'static str),
    /// It is wrong.
    Invalid { member: &'static str, reason: String, fix: &'static str },
}

fn invalid(member: &'static str, reason: impl Into<String>, fix: &'static str) -> Refusal {
    Refusal::Invalid { member, reason: reason.into(), fix }
}

fn read_key(json: &Value) -> Result<Key, Refusal> {
    let kty = text(json, "kty")?.ok_or_else(|| invalid("kty", "expected the type of the key", "add \"kty\""))?;
    if text(json, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Err(Refusal::Ignored("its `use` is not sig"));
    }
    if let Some(operations) = json.get("key_ops") {
        let operations = operations.as_list().unwrap_or_default();
        if !operations.iter().any(|operation| operation.as_str() == Some("verify")) {
            return Err(Refusal::Ignored("its `key_ops` do not contain verify"));
        }
    }
    let kid = text(json, "kid")?.map(Into::into);
    let algorithm = match text(json, "alg")? {
        None => None,
        Some(name) => Some(Algorithm::parse(name).ok_or(Refusal::Ignored("its `alg` is not supported"))?),
    };
    // The parameter of private keys of each type (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2).
    if kty != "oct" && json.get("d").is_some() {
        return Err(invalid("d", "the key is a private key", "publish only its public members, and replace the key"));
    }
    let material = match kty {
        "RSA" => read_rsa(json)?,
        "EC" => match text(json, "crv")? {
            Some("P-256") => Material::P256(read_point(json, 32)?),
            Some("P-384") => Material::P384(read_point(json, 48)?),
            _ => return Err(Refusal::Ignored("its curve is neither P-256 nor P-384")),
        },
        "OKP" => match text(json, "crv")? {
            Some("Ed25519") => Material::Ed25519(coordinate(json, "x", 32)?),
            _ => return Err(Refusal::Ignored("its curve is not Ed25519")),
        },
        "oct" => Material::Secret(read_secret(json, algorithm)?),
        _ => return Err(Refusal::Ignored("its type is unknown")),
    };
    let key = Key { kid, algorithm, material };
    if algorithm.is_some_and(|algorithm| !key.fits(algorithm)) {
        return Err(invalid("alg", "the algorithm does not fit the type of the key", "correct \"alg\" or \"kty\""));
    }
    Ok(key)
}

fn read_rsa(json: &Value) -> Result<Material, Refusal> {
    let (modulus, exponent) = (bytes(json, "n")?, bytes(json, "e")?);
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if modulus.first() == Some(&0) || !RSA_BITS.contains(&bits) {
        let reason = format!("expected a modulus of 2048 to 8192 bits without leading zeros, found {bits} bits");
        return Err(invalid("n", reason, "use an RSA key of 2048 bits or more"));
    }
    // ring accepts odd exponents from 3 to 2^33 - 1.
    let is_odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
    let is_in_range = exponent.len() <= 4 && exponent != [1];
    if !is_odd || !is_in_range || exponent.first() == Some(&0) {
        return Err(invalid(
            "e",
            "expected an odd exponent from 3 to 4294967295",
            "use an RSA key with the exponent 65537",
        ));
    }
    Ok(Material::Rsa { modulus, exponent })
}

fn read_point(json: &Value, len: usize) -> Result<Vec<u8>, Refusal> {
    let mut point = vec![4];
    point.extend(coordinate(json, "x", len)?);
    point.extend(coordinate(json, "y", len)?);
    Ok(point)
}

/// A member of exactly `len` bytes (RFC 7518 §6.2.1.2: leading zeros are not omitted).
fn coordinate(json: &Value, member: &'static str, len: usize) -> Result<Vec<u8>, Refusal> {
    let bytes = bytes(json, member)?;
    if bytes.len() == len {
        return Ok(bytes);
    }
    Err(invalid(
        member,
        format!("expected {len} bytes, found {}", bytes.len()),
        "copy the whole key, with leading zeros",
    ))
}

fn read_secret(json: &Value, algorithm: Option<Algorithm>) -> Result<Vec<u8>, Refusal> {
    let secret = bytes(json, "k")?;
    let shortest = algorithm.and_then(Algorithm::hmac).map_or(32, |(_, shortest)| shortest);
    if (shortest..=SECRET_BYTES_MAX).contains(&secret.len()) {
        return Ok(secret);
    }
    let reason = format!("expected {shortest} to {SECRET_BYTES_MAX} bytes (RFC 7518 §3.2), found {}", secret.len());
    Err(invalid("k", reason, "generate a random key, such as with openssl rand 64"))
}

fn bytes(json: &Value, member: &'static str) -> Result<Vec<u8>, Refusal> {
    let text = text(json, member)?.unwrap_or_default();
    let decoded = base64url::decode(text).filter(|bytes| !bytes.is_empty());
    decoded.ok_or_else(|| {
        invalid(member, "expected base64url without padding", "copy the member from the issuer's JWK Set")
    })
}

fn text<'a>(json: &'a Value, member: &'static str) -> Result<Option<&'a str>, Refusal> {
    match json.get(member) {
        None => Ok(None),
        Some(value) => {
            let found =
                || invalid(member, format!("expected a string, found {}", value.kind()), "write it in quotation marks");
            value.as_str().map(Some).ok_or_else(found)
        }
    }
}
