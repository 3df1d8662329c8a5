//! The seven commands of the walk-through.

use http::{Method, StatusCode};

use crate::support::{SECRET, options, site, start};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(site().join(name)).unwrap()
}

#[tokio::test]
async fn the_seven_commands_work_as_in_the_walk_through() {
    let cloud = start(options()).await;
    let redirect_path = format!("http://{}", cloud.cloud.edge);

    let forbidden = cloud.api("/", &[]).await;
    assert_eq!((forbidden.status, forbidden.text()), (StatusCode::FORBIDDEN, "request is forbidden"));

    let index = cloud.api("/", &[SECRET]).await;
    assert_eq!((index.status, &index.body[..]), (StatusCode::OK, &file("index.html")[..]));
    assert_eq!(index.header("content-type"), "text/html");

    let page = cloud.api("/test.html", &[SECRET, ("test_version", "v2")]).await;
    assert_eq!((page.status, &page.body[..]), (StatusCode::OK, &file("v2/test.html")[..]));

    let picture = cloud.api("/test.png", &[SECRET, ("test_version", "v2")]).await;
    assert_eq!((picture.status, &picture.body[..]), (StatusCode::OK, &file("v2/test.png")[..]));
    assert_eq!(picture.header("content-type"), "image/png");

    let redirect = cloud.api("/test.html", &[SECRET, ("test_version", "v1"), ("redirect", "true")]).await;
    assert_eq!(redirect.status, StatusCode::FOUND);
    assert_eq!(redirect.header("location"), format!("{redirect_path}/v1/test.html"));
    assert_eq!(redirect.header("cache-control"), "no-store");

    let page = cloud.cdn("/test.html", &[("test_version", "v1")]).await;
    assert_eq!((page.status, &page.body[..]), (StatusCode::OK, &file("v1/test.html")[..]));

    let url = format!("{redirect_path}/test.html");
    let head = cloud.send(Method::HEAD, &url, &[("test_version", "v1"), ("redirect", "true")]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::FOUND, 0));
    assert_eq!(head.header("location"), format!("{redirect_path}/v1/test.html"));

    let followed = cloud.cdn("/v1/test.html", &[]).await;
    assert_eq!((followed.status, &followed.body[..]), (StatusCode::OK, &file("v1/test.html")[..]));
    cloud.shut_down().await;
}
