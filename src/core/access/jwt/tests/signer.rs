//! Keys that sign tokens, for tests only.

use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use serde_json::{Value as Json, json};

use crate::access::base64url::encode;
use crate::access::jwt::Algorithm;

/// The RSA key of the tests, which ring cannot generate. It protects nothing.
const RSA_PEM: &str = include_str!("../../../tests/keys/TEST-ONLY-rsa-2048.pem");

/// A key that signs with one algorithm.
pub(in crate::access) struct Signer {
    pub(in crate::access) name: &'static str,
    pub(in crate::access) kid: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Mac(Vec<u8>),
}

/// The bytes of a PEM block.
fn pem_bytes(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64_simd::STANDARD.decode_to_vec(body).unwrap()
}

impl Signer {
    /// A new key, or the one RSA key, for the algorithm of this name.
    pub(in crate::access) fn new(name: &'static str) -> Self {
        let random = SystemRandom::new();
        let ec = |algorithm| {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
        };
        let secret = |len| Pair::Mac(ring::rand::generate::<[u8; 64]>(&random).unwrap().expose()[..len].to_vec());
        let pair = match name {
            "ES256" => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            "EdDSA" => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
            }
            "HS256" => secret(32),
            "HS384" => secret(48),
            "HS512" => secret(64),
            _ => Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(&pem_bytes(RSA_PEM)).unwrap())),
        };
        let id = ring::rand::generate::<[u8; 8]>(&random).unwrap().expose();
        Self { name, kid: encode(&id), pair }
    }

    /// A key for each algorithm.
    pub(in crate::access) fn all() -> Vec<Self> {
        Algorithm::ALL.iter().map(|(name, _)| Self::new(name)).collect()
    }

    /// The public key, or the secret, as a JWK without `alg`.
    pub(in crate::access) fn jwk(&self) -> Json {
        match &self.pair {
            Pair::Rsa(pair) => {
                let signature::RsaPublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "kid": self.kid, "n": encode(&n), "e": encode(&e)})
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
                let crv = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({"kty": "EC", "crv": crv, "kid": self.kid, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": encode(pair.public_key().as_ref())})
            }
            Pair::Mac(secret) => json!({"kty": "oct", "kid": self.kid, "k": encode(secret)}),
        }
    }

    /// The bytes of the public key or the secret in the encodings that a confused verifier may take for a secret.
    pub(in crate::access) fn public_bytes(&self) -> Vec<Vec<u8>> {
        let jwk = self.jwk();
        let mut all = vec![jwk.to_string().into_bytes()];
        for member in ["n", "x", "y"] {
            if let Some(text) = jwk[member].as_str() {
                all.extend([text.as_bytes().to_vec(), crate::access::base64url::decode(text).unwrap()]);
            }
        }
        match &self.pair {
            Pair::Rsa(pair) => all.push(pair.public().as_ref().to_vec()),
            Pair::Ec(pair) => all.push(pair.public_key().as_ref().to_vec()),
            Pair::Ed(_) | Pair::Mac(_) => {}
        }
        all
    }

    /// The signature of a message.
    pub(in crate::access) fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn signature::RsaEncoding = match self.name {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    other => unreachable!("{other}"),
                };
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message, &mut signed).unwrap();
                signed
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Mac(secret) => mac(self.name, secret, message),
        }
    }

    /// A token with this header and these claims.
    pub(in crate::access) fn token_of(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        format!("{input}.{}", encode(&self.signature(input.as_bytes())))
    }

    /// A token with these claims.
    pub(in crate::access) fn token(&self, claims: &Json) -> String {
        self.token_of(&json!({"alg": self.name, "kid": self.kid, "typ": "JWT"}).to_string(), &claims.to_string())
    }
}

/// The MAC of an algorithm with any secret.
pub(in crate::access) fn mac(name: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let (algorithm, _) = Algorithm::parse(name).unwrap().hmac().unwrap();
    ring::hmac::sign(&ring::hmac::Key::new(algorithm, secret), message).as_ref().to_vec()
}
