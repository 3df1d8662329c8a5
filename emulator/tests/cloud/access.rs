//! Guarded pages: tokens, logins, JWK Sets, and files of access that fail or change, through the CDN with the real handler.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use base64_simd::URL_SAFE_NO_PAD;
use emulator::cloud::Options;
use emulator::fault::Faults;
use http::StatusCode;
use ring::hmac;
use serde_json::{Value, json};

use crate::site_rules::{get, options};
use crate::support::{TestCloud, start, start_with};

/// The secret of the tokens.
const SECRET_KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

const NAVIGATION: [(&str, &str); 2] = [("sec-fetch-dest", "document"), ("accept", "text/html")];

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A token by HS256 with these claims.
fn token(key: &[u8], claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode_to_string(json.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "HS256", "kid": "k"})), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode_to_string(signature.as_ref()))
}

fn pro() -> String {
    token(SECRET_KEY, &json!({"exp": now() + 600, "iss": "https://id.example", "aud": "site", "plan": "pro"}))
}

/// A JWK Set with this key.
fn jwks(key: &[u8]) -> Value {
    json!({"keys": [{"kty": "oct", "kid": "k", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode_to_string(key)}]})
}

/// Rules for members, whose keys are inline or in another object.
fn access(keys: (&str, Value)) -> String {
    let mut jwt = json!({
        "algorithms": ["HS256"], "issuer": "https://id.example", "audience": "site",
        "from": ["header:authorization", "cookie:token", "query:token"], "require": {"plan": "pro"},
    });
    jwt[keys.0] = keys.1;
    json!({"rules": [
        {"path": "/members/*", "jwt": jwt, "login": "https://id.example/login?return={url}"},
        {"path": "/members/free.html", "open": true},
    ]})
    .to_string()
}

fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let objects = ["index.html", "members/index.html", "members/a.html", "members/free.html", "v1/members/a.html"];
    for (name, text) in objects.map(|name| (name, name)).iter().chain(files) {
        write(folder.path(), name, text);
    }
    folder
}

fn write(site: &Path, name: &str, text: &str) {
    let path = site.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // At once, so that no reader sees half of it.
    std::fs::write(path.with_extension("new"), text).unwrap();
    std::fs::rename(path.with_extension("new"), path).unwrap();
}

#[tokio::test]
async fn a_members_page_needs_a_token_and_sends_browsers_to_the_login() {
    let site = site(&[("access.json", &access(("keys", jwks(SECRET_KEY))))]);
    let cloud = start(options(site.path(), &[])).await;
    let without = get(&cloud, "/members/a.html", &[]).await;
    assert_eq!(
        (without.status, without.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Bearer realm=\"nearedge\"")
    );
    let page = get(&cloud, "/members/a.html?x=1", &NAVIGATION).await;
    let expected = format!("https://id.example/login?return={}", "http%3A%2F%2F");
    assert!(
        page.status == StatusCode::FOUND && page.header("location").starts_with(&expected),
        "{}",
        page.header("location")
    );
    assert!(page.header("location").ends_with("%2Fmembers%2Fa.html%3Fx%3D1"), "{}", page.header("location"));
    let (pro, free) =
        (pro(), token(SECRET_KEY, &json!({"exp": now() + 600, "iss": "https://id.example", "aud": "site"})));
    let (bearer, cookie) = (format!("Bearer {pro}"), format!("a=b; token={pro}"));
    for (name, value) in [("authorization", &*bearer), ("cookie", &cookie)] {
        let granted = get(&cloud, "/members/a.html", &[(name, value)]).await;
        assert_eq!((granted.status, granted.text()), (StatusCode::OK, "members/a.html"), "{name}");
        assert_eq!(granted.header("cache-control"), "private");
        assert_eq!(granted.header("vary"), "test_version, redirect, authorization, cookie");
        let version = get(&cloud, "/members/a.html", &[(name, value), ("test_version", "v1")]).await;
        assert_eq!(version.text(), "v1/members/a.html");
    }
    assert_eq!(get(&cloud, &format!("/members/?token={pro}"), &[]).await.text(), "members/index.html");
    let without_plan = get(&cloud, "/members/a.html", &[("authorization", &format!("Bearer {free}"))]).await;
    assert_eq!(without_plan.status, StatusCode::FORBIDDEN);
    assert!(without_plan.header("www-authenticate").contains("insufficient_scope"));
    let expired =
        token(SECRET_KEY, &json!({"exp": now() - 600, "iss": "https://id.example", "aud": "site", "plan": "pro"}));
    for bad in [&*expired, &pro[..pro.len() - 4], "x", ""] {
        let refused = get(&cloud, "/members/a.html", &[("authorization", &format!("Bearer {bad}"))]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{bad}");
    }
    assert_eq!(get(&cloud, "/members/free.html", &[]).await.text(), "members/free.html");
    cloud.wait_for_log(|line| line.contains("\"rule\":\"access:/members/*\"")).await;
    // No line of the function contains a token or the claims of one. The local CDN logs query strings, as CloudFront does.
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let signature = pro.rsplit('.').next().unwrap();
    let is_secret = |line: &String| line.contains(signature) || line.contains("\"plan\"");
    let is_of_function = |line: &&String| line.contains("\"request_id\"") || line.contains("\"level\"");
    let lines = journal.lines();
    assert!(lines.iter().filter(is_of_function).count() > 10, "{lines:#?}");
    let leaked: Vec<_> = lines.iter().filter(is_of_function).filter(|line| is_secret(line)).collect();
    assert!(leaked.is_empty(), "{leaked:#?}");
}

#[tokio::test]
async fn claims_are_attributes_of_experiments_and_roles_of_redirects() {
    let definition = json!({"features": {"test_version": {"defaultValue": null, "rules": [
        {"force": "v1", "condition": {"claims.plan": "pro"}},
    ]}}});
    let redirects = "/members/admin /members/a.html 302! Role=admin\n";
    let files = [
        ("experiments.json", &*definition.to_string()),
        ("_redirects", redirects),
        ("access.json", &access(("keys", jwks(SECRET_KEY)))),
    ];
    let site = site(&files);
    let cloud = start(options(site.path(), &[("experiments", "experiments.json")])).await;
    let claims = |roles: Value| json!({"exp": now() + 600, "iss": "https://id.example", "aud": "site", "plan": "pro", "roles": roles});
    let bearer = |roles: Value| format!("Bearer {}", token(SECRET_KEY, &claims(roles)));
    let member = get(&cloud, "/members/a.html", &[("authorization", &bearer(json!(["reader"])))]).await;
    assert_eq!((member.text(), member.header("x-variant")), ("v1/members/a.html", "v1"));
    for (roles, status) in
        [(json!(["admin", "reader"]), 302), (json!("admin"), 302), (json!(["reader"]), 404), (json!(null), 404)]
    {
        let response = get(&cloud, "/members/admin", &[("authorization", &bearer(roles.clone()))]).await;
        assert_eq!(response.status.as_u16(), status, "{roles}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_jwk_set_that_fails_or_changes_never_opens_a_page() {
    let file = access(("jwks", json!("keys/jwks.json")));
    let site = site(&[("access.json", &file)]);
    let cloud = start(options(site.path(), &[])).await;
    let bearer = format!("Bearer {}", pro());
    let member = [("authorization", &*bearer)];
    assert_eq!(
        get(&cloud, "/members/a.html", &member).await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "the keys are missing"
    );
    assert_eq!(get(&cloud, "/", &[]).await.status, StatusCode::OK, "other pages do not depend on the keys");
    write(site.path(), "keys/jwks.json", &jwks(SECRET_KEY).to_string());
    until(&cloud, "/members/a.html", &member, StatusCode::OK).await;
    assert_eq!(get(&cloud, "/keys/jwks.json", &[]).await.status, StatusCode::NOT_FOUND, "keys are never served");
    // A set that cannot be used leaves the last good one active.
    write(site.path(), "keys/jwks.json", "{");
    let is_logged = || cloud.journal.lines().iter().any(|line| line.contains("the keys of the JWK Set cannot be used"));
    let asking = async {
        while !is_logged() {
            get(&cloud, "/", &[]).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.unwrap();
    assert_eq!(get(&cloud, "/members/a.html", &member).await.status, StatusCode::OK);
    // A rotation: the old token is refused as soon as the new keys are active.
    write(site.path(), "keys/jwks.json", &jwks(b"another secret of at least 32 byte").to_string());
    until(&cloud, "/members/a.html", &member, StatusCode::UNAUTHORIZED).await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_slow_file_of_access_refuses_everything_until_it_is_there() {
    let site = site(&[("access.json", &access(("keys", jwks(SECRET_KEY))))]);
    let faults = Faults::default();
    faults.set(vec!["s3-latency=2500".parse().unwrap()]);
    let cloud = start_with(options(site.path(), &[]), faults.clone()).await;
    assert_eq!(get(&cloud, "/", &[]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    faults.set(Vec::new());
    until(&cloud, "/", &[], StatusCode::OK).await;
    assert_eq!(get(&cloud, "/members/a.html", &[]).await.status, StatusCode::UNAUTHORIZED);
    cloud.shut_down().await;
}

#[tokio::test]
async fn no_guarded_byte_leaves_while_the_file_is_replaced_under_load() {
    let (good, other) =
        (access(("keys", jwks(SECRET_KEY))), access(("keys", jwks(b"another secret of at least 32 byte"))));
    let site = site(&[("access.json", &good)]);
    let cloud = start(Options { environments: 3, ..options(site.path(), &[]) }).await;
    until(&cloud, "/", &[], StatusCode::OK).await;
    let done = AtomicBool::new(false);
    let guests = async {
        let mut answers = 0;
        while !done.load(Ordering::Relaxed) {
            let response = get(&cloud, "/members/a.html", &[]).await;
            assert!(response.status == StatusCode::UNAUTHORIZED, "{}: {}", response.status, response.text());
            answers += 1;
        }
        answers
    };
    let writer = async {
        for file in [&*other, "{", "", &good, &other, "[]", &good].into_iter().cycle().take(28) {
            write(site.path(), "access.json", file);
            // A few requests see each version.
            for _ in 0..5 {
                assert_eq!(get(&cloud, "/", &[]).await.status, StatusCode::OK, "an open page");
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let (answers, ()) = tokio::join!(guests, writer);
    assert!(answers > 20, "{answers}");
    cloud.shut_down().await;
}

/// Asks until the response has this status.
async fn until(cloud: &TestCloud, path: &str, headers: &[(&str, &str)], status: StatusCode) {
    let asking = async { while get(cloud, path, headers).await.status != status {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.unwrap();
}
