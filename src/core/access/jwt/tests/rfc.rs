//! The examples of RFC 7515, RFC 7520 and RFC 8037, treated as those RFCs say.

use serde_json::{Value as Json, json};

use super::read_rule;
use crate::access::jwt::algorithm::Algorithm;
use crate::access::jwt::error::TokenError;
use crate::access::jwt::jws::Jws;
use crate::access::jwt::key::KeySet;
use crate::problem::Problems;

/// The claims of RFC 7515 A.1.1, A.2.1 and A.3.1.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

/// `exp` of the claims.
const EXPIRES: u64 = 1_300_819_380;

/// The payload of RFC 7520 §4, figure 8: a quotation, which is no claims.
const QUOTATION: &str = concat!(
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IH",
    "lvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBk",
    "b24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcm",
    "UgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4",
);

struct Example {
    name: &'static str,
    algorithm: &'static str,
    jwk: Json,
    header: &'static str,
    payload: &'static str,
    signature: String,
}

fn secret_of_a1() -> Json {
    json!({"kty": "oct",
        "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"})
}

fn rsa_of_a2() -> Json {
    let n = concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs",
        "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV",
        "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
    );
    json!({"kty": "RSA", "n": n, "e": "AQAB"})
}

fn rsa_of_cookbook() -> Json {
    let n = concat!(
        "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqV",
        "wGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde",
        "3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5g",
        "HdrNP5zw",
    );
    json!({"kty": "RSA", "kid": "bilbo.baggins@hobbiton.example", "use": "sig", "n": n, "e": "AQAB"})
}

/// The examples whose algorithm is supported.
fn examples() -> Vec<Example> {
    // RFC 7515 A.2.1 lists the octets of this signature.
    let a2: [u8; 256] = [
        112, 46, 33, 137, 67, 232, 143, 209, 30, 181, 216, 45, 191, 120, 69, 243, 65, 6, 174, 27, 129, 255, 247, 115,
        17, 22, 173, 209, 113, 125, 131, 101, 109, 66, 10, 253, 60, 150, 238, 221, 115, 162, 102, 62, 81, 102, 104,
        123, 0, 11, 135, 34, 110, 1, 135, 237, 16, 115, 249, 69, 229, 130, 173, 252, 239, 22, 216, 90, 121, 142, 232,
        198, 109, 219, 61, 184, 151, 91, 23, 208, 148, 2, 190, 237, 213, 217, 217, 112, 7, 16, 141, 178, 129, 96, 213,
        248, 4, 12, 167, 68, 87, 98, 184, 31, 190, 127, 249, 217, 46, 10, 231, 111, 36, 242, 91, 51, 187, 230, 244, 74,
        230, 30, 177, 4, 10, 203, 32, 4, 77, 62, 249, 18, 142, 212, 1, 48, 121, 91, 212, 189, 59, 65, 238, 202, 208,
        102, 171, 101, 25, 129, 253, 228, 141, 247, 127, 55, 45, 195, 139, 159, 175, 221, 59, 239, 177, 139, 93, 163,
        204, 60, 46, 176, 47, 158, 58, 65, 214, 18, 202, 173, 21, 145, 18, 115, 160, 95, 35, 185, 232, 56, 250, 175,
        132, 157, 105, 132, 41, 239, 90, 30, 136, 121, 130, 54, 195, 212, 14, 96, 69, 34, 165, 68, 200, 242, 122, 122,
        45, 184, 6, 99, 209, 108, 247, 202, 234, 86, 222, 64, 92, 178, 33, 90, 69, 178, 194, 85, 102, 181, 90, 193,
        167, 72, 160, 112, 223, 200, 163, 42, 70, 149, 67, 208, 25, 238, 251, 71,
    ];
    let example = |name, algorithm, jwk, header, payload, signature: &[&str]| Example {
        name,
        algorithm,
        jwk,
        header,
        payload,
        signature: signature.concat(),
    };
    let rs256 = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
    let ps384 = "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9";
    let hs256 = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9";
    let ed = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let a3 = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let oct = json!({"kty": "oct", "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037", "use": "sig", "alg": "HS256",
        "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"});
    vec![
        example(
            "RFC 7515 A.1",
            "HS256",
            secret_of_a1(),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            CLAIMS,
            &["dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"],
        ),
        example(
            "RFC 7515 A.2",
            "RS256",
            rsa_of_a2(),
            "eyJhbGciOiJSUzI1NiJ9",
            CLAIMS,
            &[&crate::access::base64url::encode(&a2)],
        ),
        example(
            "RFC 7515 A.3",
            "ES256",
            a3,
            "eyJhbGciOiJFUzI1NiJ9",
            CLAIMS,
            &["DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"],
        ),
        example(
            "RFC 7520 4.1",
            "RS256",
            rsa_of_cookbook(),
            rs256,
            QUOTATION,
            &[
                "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDk",
                "oBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9Uzp",
                "ERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogo",
                "ree7vjbU5y18kDquDg",
            ],
        ),
        example(
            "RFC 7520 4.2",
            "PS384",
            rsa_of_cookbook(),
            ps384,
            QUOTATION,
            &[
                "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OL",
                "PpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shn",
                "r2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6",
                "oD4ifKo8DYM-X72Eaw",
            ],
        ),
        example("RFC 7520 4.4", "HS256", oct, hs256, QUOTATION, &["s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"]),
        example(
            "RFC 8037 A.4",
            "EdDSA",
            ed,
            "eyJhbGciOiJFZERTQSJ9",
            "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            &["hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"],
        ),
    ]
}

#[test]
fn signatures_of_the_rfcs_are_valid() {
    for Example { name, algorithm, jwk, header, payload, signature } in examples() {
        let algorithms = [Algorithm::parse(algorithm).unwrap()];
        let text = json!({"keys": [jwk]}).to_string();
        let keys = KeySet::read(&serde_json::from_str(&text).unwrap(), &algorithms, &mut Problems::default());
        let token = format!("{header}.{payload}.{signature}");
        let verified = Jws::parse(&token).unwrap().verify(&algorithms, &keys);
        assert_eq!(verified.ok(), crate::access::base64url::decode(payload), "{name}");
        let other = format!("{header}.{payload}A.{signature}");
        assert_eq!(Jws::parse(&other).unwrap().verify(&algorithms, &keys), Err(TokenError::Signature), "{name}");
    }
}

#[test]
fn tokens_of_the_rfcs_are_valid_until_they_expire_or_are_no_claims() {
    for Example { name, algorithm, jwk, header, payload, signature } in examples() {
        let members = json!({"keys": {"keys": [jwk]}, "algorithms": [algorithm], "issuer": "joe", "audience": null,
            "leeway_secs": 0});
        let rule = read_rule(&members).unwrap();
        let token = format!("{header}.{payload}.{signature}");
        if payload == CLAIMS {
            assert_eq!(rule.verify(&token, EXPIRES - 1).unwrap().expires(), EXPIRES, "{name}");
            assert_eq!(rule.verify(&token, EXPIRES).unwrap_err(), TokenError::Expired, "{name}");
        } else {
            assert_eq!(rule.verify(&token, EXPIRES - 1).unwrap_err(), TokenError::Claims, "{name}");
        }
    }
}

#[test]
fn examples_of_other_algorithms_and_forms_are_refused() {
    let jwk = secret_of_a1();
    let rule = read_rule(&json!({"keys": {"keys": [jwk]}, "algorithms": ["HS256"]})).unwrap();
    for (token, error) in [
        // RFC 7515 A.4: ES512.
        (
            concat!(
                "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB",
                "34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
            )
            .to_owned(),
            TokenError::Algorithm,
        ),
        // RFC 7515 A.5: an unsecured JWS.
        (format!("eyJhbGciOiJub25lIn0.{CLAIMS}."), TokenError::Malformed),
        // Appendix F: detached content.
        ("eyJhbGciOiJIUzI1NiJ9..dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned(), TokenError::Malformed),
        // RFC 7515 E: a header with a critical extension.
        (format!("eyJhbGciOiJub25lIiwNCiAiY3JpdCI6WyJodHRwOi8vZXhhbXBsZS5jb20vVU5ERUZJTkVEIl0sDQogImh0dHA6Ly9leGFtcGxlLmNvbS9VTkRFRklORUQiOnRydWUNCn0.{CLAIMS}.AAAA"), TokenError::Critical),
    ] {
        assert_eq!(rule.verify(&token, 0).unwrap_err(), error, "{token}");
    }
    for jwk in [
        // The keys of RFC 7515 A.4 and RFC 7520 figure 1.
        json!({"kty": "EC", "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}),
        json!({"kty": "EC", "crv": "P-521",
            "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
            "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1"}),
    ] {
        assert!(read_rule(&json!({"keys": {"keys": [jwk]}, "algorithms": ["ES256"]})).is_err());
    }
}
