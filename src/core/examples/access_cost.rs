//! The cost of access control, printed by:
//! `cargo run --release -p nearedge-core --example access_cost`
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, missing_docs, reason = "a measurement")]
#![allow(clippy::disallowed_methods, reason = "the measurement reads the clock; the core does not")]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use base64_simd::URL_SAFE_NO_PAD;
use nearedge_core::access::check::Verdict;
use nearedge_core::access::credentials::{CookieValues, Credentials};
use nearedge_core::access::known::KnownTokens;
use nearedge_core::access::rules::{AccessRules, Target, Versions};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

struct Sent {
    authorization: String,
    query: String,
}

impl Credentials for Sent {
    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        (name == "authorization").then_some(Cow::Borrowed(&*self.authorization))
    }

    fn cookies(&self, _: &str) -> CookieValues<'_> {
        CookieValues::new()
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn page_url(&self) -> Option<Cow<'_, str>> {
        None
    }
}

fn key() -> EcdsaKeyPair {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
}

fn rules(key: &EcdsaKeyPair) -> AccessRules {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
    let mut rules = vec![json!({"path": "/members/*", "jwt": {
        "keys": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "x": encode(x), "y": encode(y)}]},
        "algorithms": ["ES256"], "issuer": "https://id.example", "audience": "site", "from": ["header:authorization"]}})];
    let link = json!({"keys": ["0123456789abcdef"], "parameter": "verify", "ttl_secs": 60});
    let initials = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "n"];
    rules.extend((0..99).map(|index| {
        let initial = initials[index % initials.len()];
        json!({"path": format!("/{initial}/folder-{index}/*"), "signed_url": link})
    }));
    AccessRules::parse(&json!({"rules": rules}).to_string(), Some("access.json")).unwrap().0
}

fn token(key: &EcdsaKeyPair) -> String {
    let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode_to_string(json.to_string());
    let claims = json!({"iss": "https://id.example", "aud": "site", "sub": "0123456789abcdef0123456789abcdef",
        "exp": 2_000_000_000, "iat": 1_700_000_000, "email": "visitor@example.com", "plan": "pro",
        "groups": ["one", "two", "three", "four", "five", "six", "seven"], "name": "A name of a visitor of this site"});
    let input = format!("{}.{}", encode(json!({"alg": "ES256", "typ": "JWT", "kid": "a"})), encode(claims));
    let signature = key.sign(&SystemRandom::new(), input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode_to_string(signature.as_ref()))
}

/// Runs `work` many times, in batches; returns the median of the batches in nanoseconds for one run.
fn nanoseconds(runs: u32, mut work: impl FnMut()) -> f64 {
    let mut batches: Vec<f64> = (0..25)
        .map(|_| {
            let start = Instant::now();
            (0..runs).for_each(|_| work());
            start.elapsed().as_secs_f64() * 1e9 / f64::from(runs)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    batches[batches.len() / 2]
}

fn main() {
    let key = key();
    let rules = rules(&key);
    let token = token(&key);
    let sent = Sent { authorization: format!("Bearer {token}"), query: String::new() };
    let now = 1_800_000_000;
    let known = KnownTokens::new();
    let versions = Versions::Listed(&|version| matches!(version, "v1" | "v2"));
    let check = |path: &str, known: &KnownTokens| rules.check(&[path.into()], versions, &sent, known, now);
    let is_granted = |verdict| matches!(verdict, Verdict::Granted(_));
    assert!(is_granted(check("/members/a", &known)) && known.len() == 1);
    let open = ["/assets/images/picture-of-a-product.webp", "/a/folder/page.html", "/v1/news/2026/11/index.html"];
    for path in open {
        assert!(matches!(check(path, &known), Verdict::Open));
        println!("{:8.0} ns  open {path}", nanoseconds(100_000, || drop(black_box(check(black_box(path), &known)))));
    }
    println!(
        "{:8.0} ns  guards of /a/folder-10/x",
        nanoseconds(100_000, || {
            drop(black_box(rules.guards(black_box("/a/folder-10/x").into(), versions)));
        })
    );
    let spelled = "/x/..//%2561/folder-10/x";
    println!(
        "{:8.0} ns  guards of {spelled}",
        nanoseconds(10_000, || drop(black_box(rules.guards(spelled.into(), versions))))
    );
    for (name, path) in [
        ("decodings", format!("/{}", "%252e%255c..//%2525".repeat(210))),
        ("dot segments", format!("/{}", "a/../%2e%2e//".repeat(310))),
        ("backslashes", format!("/{}//..%25", "\\".repeat(4_000))),
    ] {
        let duration = nanoseconds(20, || drop(black_box(rules.guards(Target::from(&*path), versions))));
        println!("{duration:8.0} ns  guards of {} bytes of {name}", path.len());
    }
    println!(
        "{:8.0} ns  known token of {} bytes",
        nanoseconds(20_000, || drop(black_box(check("/members/a", &known)))),
        token.len()
    );
    println!(
        "{:8.0} ns  new ES256 token",
        nanoseconds(200, || {
            assert!(is_granted(black_box(check("/members/a", &KnownTokens::new()))));
        })
    );
    let links = [("/a/folder-10/x", "verify=1800000000-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")];
    for (path, query) in links {
        let sent = Sent { authorization: String::new(), query: query.to_owned() };
        println!(
            "{:8.0} ns  refused link",
            nanoseconds(10_000, || {
                drop(black_box(rules.check(&[path.into()], versions, &sent, &known, now)));
            })
        );
    }
}
