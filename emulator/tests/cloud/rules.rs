//! The rules of the origin, through the HTTP API with the real handler.

use bytes::Bytes;
use emulator::cloud::{Options, Storage};
use emulator::gateway::door::Door;
use emulator::s3::MissingKey;
use http::{Method, Request, StatusCode};

use crate::support::{FREE_PORT, SECRET, door, http_api, options, site, start, with_env};

#[tokio::test]
async fn a_wrong_absent_or_repeated_secret_is_forbidden() {
    let cloud = start(options()).await;
    let long = "x".repeat(5_000);
    for headers in [
        &[][..],
        &[("lambda_auth", "")],
        &[("lambda_auth", "lambdaapi_tesT")],
        &[("lambda_auth", "lambdaapi_test2")],
        &[("lambda_auth", "lambdaapi_tes")],
        &[("lambda_auth", &long)],
        &[("lambda_auth", "lambdaapi_test"), ("lambda_auth", "lambdaapi_test")],
        &[("lambda-auth", "lambdaapi_test")],
        &[("cookie", "lambda_auth=lambdaapi_test")],
    ] {
        let response = cloud.api("/test.html", headers).await;
        assert_eq!((response.status, response.text()), (StatusCode::FORBIDDEN, "request is forbidden"), "{headers:?}");
    }
    let padded = cloud.api("/", &[("lambda_auth", " lambdaapi_test ")]).await;
    assert_eq!(padded.status, StatusCode::OK, "HTTP ignores spaces around a field value");
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_cdn_overwrites_a_viewers_secret() {
    let cloud = start(options()).await;
    assert_eq!(cloud.cdn("/", &[("lambda_auth", "wrong")]).await.status, StatusCode::OK);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_rotation_accepts_both_secrets_and_logs_which_matched() {
    let cloud = start(with_env(&[("lambda_auth_next", "the-next")])).await;
    assert_eq!(cloud.api("/", &[("lambda_auth", "the-next")]).await.status, StatusCode::OK);
    assert_eq!(cloud.api("/", &[SECRET]).await.status, StatusCode::OK);
    assert_eq!(cloud.api("/", &[("lambda_auth", "another")]).await.status, StatusCode::FORBIDDEN);
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    for secret in ["\"secret\":\"next\"", "\"secret\":\"current\""] {
        assert_eq!(
            lines.iter().filter(|line| line.contains(secret)).count(),
            1,
            "expected one line with {secret} in {lines:#?}"
        );
    }
}

#[tokio::test]
async fn a_malformed_version_is_a_400() {
    let cloud = start(options()).await;
    let long = "v".repeat(65);
    for version in ["", "..", ".", "v1/..", "v 1", "v1,v2", "%2e%2e", &long] {
        let response = cloud.api("/test.html", &[SECRET, ("test_version", version)]).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{version:?}");
    }
    let twice = cloud.api("/test.html", &[SECRET, ("test_version", "v1"), ("test_version", "v2")]).await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_missing_object_is_a_404_with_the_references_body() {
    let cloud = start(options()).await;
    for (path, version, key) in [("/none.html", None, "none.html"), ("/none.html", Some("v1"), "v1/none.html")] {
        let headers: Vec<_> = [SECRET].into_iter().chain(version.map(|version| ("test_version", version))).collect();
        let response = cloud.api(path, &headers).await;
        assert_eq!((response.status, response.text()), (StatusCode::NOT_FOUND, format!("no file: {key}").as_str()));
        assert_eq!(response.header("cache-control"), "no-store");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn missing_status_200_restores_the_references_status() {
    let cloud = start(with_env(&[("missing_status", "200")])).await;
    let response = cloud.api("/none.html", &[SECRET]).await;
    assert_eq!((response.status, response.text()), (StatusCode::OK, "no file: none.html"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_403_for_a_missing_key_is_a_404_and_logged_once() {
    let storage = Storage::Folder { site: site(), address: FREE_PORT, missing_key: MissingKey::AccessDenied };
    let cloud = start(Options { storage, environments: 1, ..options() }).await;
    for path in ["/none.html", "/nothing.html"] {
        let response = cloud.api(path, &[SECRET]).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND);
        assert_eq!(response.text(), format!("no file: {}", &path[1..]));
    }
    let head = cloud.send(Method::HEAD, &format!("http://{}/none.html", cloud.cloud.gateway), &[SECRET]).await;
    assert_eq!(head.status, StatusCode::NOT_FOUND, "S3 sends no error code with the response to HEAD");
    let journal = cloud.journal.clone();
    cloud.shut_down().await;
    let lines = journal.lines();
    assert_eq!(lines.iter().filter(|line| line.contains("s3:ListBucket")).count(), 1, "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.contains("\"missing\":\"access_denied\"")).count(), 3, "{lines:#?}");
}

#[tokio::test]
async fn test_versions_hides_unlisted_versions() {
    let cloud = start(with_env(&[("test_versions", "v1")])).await;
    assert_eq!(cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await.status, StatusCode::OK);
    let unlisted = cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
    assert_eq!((unlisted.status, unlisted.text()), (StatusCode::NOT_FOUND, "no file: v2/test.html"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn variant_fallback_serves_the_unversioned_object() {
    let cloud = start(with_env(&[("variant_fallback", "true")])).await;
    cloud.put("shared.css", "body {}", "text/css").await;
    let shared = cloud.api("/shared.css", &[SECRET, ("test_version", "v1")]).await;
    assert_eq!((shared.status, shared.text()), (StatusCode::OK, "body {}"));
    let own = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
    assert!(own.text().contains("This is variant v1"));
    let missing = cloud.api("/none.css", &[SECRET, ("test_version", "v1")]).await;
    assert_eq!((missing.status, missing.text()), (StatusCode::NOT_FOUND, "no file: v1/none.css"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_redirect_needs_no_object_and_keeps_the_query_if_set() {
    let cloud = start(with_env(&[("redirect_path", "https://d1.cloudfront.net")])).await;
    let headers = [SECRET, ("test_version", "v9"), ("redirect", "true")];
    let response = cloud.api("/none.html?a=1", &headers).await;
    assert_eq!(response.header("location"), "https://d1.cloudfront.net/v9/none.html");
    cloud.shut_down().await;

    let env = [("redirect_path", "https://d1.cloudfront.net/"), ("redirect_query", "true")];
    let cloud = start(with_env(&env)).await;
    let response = cloud.api("/x?a=1&b=%20%0d%0aSet-Cookie:x", &headers).await;
    // A REST API decodes the query.
    let query = match door() {
        Door::Rest { .. } => "a=1&b=%20%0D%0ASet-Cookie%3Ax",
        _ => "a=1&b=%20%0d%0aSet-Cookie:x",
    };
    assert_eq!(response.header("location"), format!("https://d1.cloudfront.net/v9/x?{query}"));
    assert!(!response.headers.contains_key("set-cookie"));
    assert_eq!(cloud.api("/test.html", &[SECRET, ("redirect", "TRUE")]).await.status, StatusCode::NOT_FOUND);
    cloud.shut_down().await;
}

#[tokio::test]
async fn only_get_head_and_options_are_allowed() {
    let cloud = start(options()).await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("http://{}/", cloud.cloud.gateway))
            .header(SECRET.0, SECRET.1)
            .body(Bytes::from_static(b"\xff\x00body"))
            .unwrap();
        let response = cloud.request(request).await;
        assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.header("allow"), "GET, HEAD, OPTIONS");
    }
    let options = cloud.send(Method::OPTIONS, &format!("http://{}/", cloud.cloud.gateway), &[SECRET]).await;
    assert_eq!((options.status, options.header("allow")), (StatusCode::NO_CONTENT, "GET, HEAD, OPTIONS"));
    let url = format!("http://{}/test.html", cloud.cloud.gateway);
    let head = cloud.send(Method::HEAD, &url, &[SECRET, ("test_version", "v1")]).await;
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (StatusCode::OK, "text/html", 0));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_named_stage_is_not_part_of_the_key() {
    let cloud = start(Options { stage: "prod".to_owned(), ..http_api() }).await;
    assert_eq!(cloud.api("/prod/test.html", &[SECRET, ("test_version", "v2")]).await.status, StatusCode::OK);
    assert_eq!(cloud.api("/prod", &[SECRET]).await.header("content-type"), "text/html");
    assert_eq!(cloud.api("/prod/prod/x", &[SECRET]).await.text(), "no file: prod/x");
    assert_eq!(cloud.api("/test.html", &[SECRET]).await.text(), r#"{"message":"Not Found"}"#);
    let cdn = cloud.cdn("/test.html", &[("test_version", "v2")]).await;
    assert_eq!(cdn.status, StatusCode::OK, "the origin path of the distribution is the stage");
    cloud.shut_down().await;
}

#[tokio::test]
async fn the_two_headers_can_have_other_names() {
    let env = [("auth_header", "X-Lambda-Auth"), ("version_header", "x-test-version")];
    let cloud = start(with_env(&env)).await;
    let found = cloud.api("/test.html", &[("x-lambda-auth", SECRET.1), ("x-test-version", "v1")]).await;
    assert_eq!((found.status, found.header("x-variant")), (StatusCode::OK, "v1"));
    assert_eq!(found.header("vary"), "x-test-version, redirect");
    let old_names = cloud.api("/test.html", &[SECRET, ("test_version", "v1")]).await;
    assert_eq!(old_names.status, StatusCode::FORBIDDEN);
    let through_cdn = cloud.cdn("/test.html", &[("x-test-version", "v2")]).await;
    assert_eq!((through_cdn.status, through_cdn.header("x-variant")), (StatusCode::OK, "v2"));
    cloud.shut_down().await;
}
