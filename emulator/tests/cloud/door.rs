//! The front door, with the real function behind it.

use emulator::cloud::Options;
use emulator::gateway::door::{Door, Streaming};
use http::{Method, StatusCode};

use crate::support::{options, start};

fn function_url(origin_access_control: bool, streaming: Option<Streaming>) -> Options {
    Options { door: Door::FunctionUrl { streaming, origin_access_control }, ..options() }
}

#[tokio::test]
async fn the_cdn_signs_its_requests_to_a_function_url() {
    let cloud = start(function_url(true, None)).await;
    let authorization = ("authorization", "Bearer of-the-viewer");
    let response = cloud.cdn("/test.html?a=%20&b", &[("test_version", "v2"), authorization]).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    let direct = cloud.with(Method::GET, "/test.html", &[("test_version", "v2")]).await;
    assert_eq!((direct.status, direct.text()), (StatusCode::FORBIDDEN, r#"{"Message":"Forbidden"}"#));
}

#[tokio::test]
async fn a_function_url_serves_encoded_paths_buffered_or_streamed() {
    for streaming in [None, Some(Streaming::default())] {
        let cloud = start(function_url(false, streaming)).await;
        cloud.put("v2/a b+ж.html", "encoded", "text/html").await;
        let response = cloud.cdn("/a%20b+%D0%B6.html", &[("test_version", "v2")]).await;
        assert_eq!((response.status, response.text()), (StatusCode::OK, "encoded"), "{streaming:?}");
    }
}
