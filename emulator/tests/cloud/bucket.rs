//! The local bucket, as an S3 client sees it.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::DateTime;

use crate::support::{options, start};

#[tokio::test]
async fn objects_are_put_listed_read_by_range_and_deleted() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    for key in ["docs/a", "docs/b/c", "docs/d", "e"] {
        cloud.put(key, "0123456789", "text/plain").await;
    }
    let page = s3.list_objects_v2().bucket(&bucket).prefix("docs/").delimiter("/").send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    let folders: Vec<_> = page.common_prefixes().iter().filter_map(|folder| folder.prefix()).collect();
    assert_eq!((keys, folders), (vec!["docs/a", "docs/d"], vec!["docs/b/"]));

    let mut paged = Vec::new();
    let mut pages = s3.list_objects_v2().bucket(&bucket).max_keys(2).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 2);
        paged.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
    }
    let all = [
        "docs/a",
        "docs/b/c",
        "docs/d",
        "e",
        "experiments.json",
        "index.html",
        "v1/index.html",
        "v1/page.js",
        "v1/style.css",
        "v1/test.html",
        "v1/test.png",
        "v2/index.html",
        "v2/page.js",
        "v2/style.css",
        "v2/test.html",
        "v2/test.png",
    ];
    assert_eq!(paged, all);

    let part = s3.get_object().bucket(&bucket).key("e").range("bytes=2-4").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 2-4/10"));
    assert_eq!(&part.body.collect().await.unwrap().to_vec(), b"234");
    let file = s3.get_object().bucket(&bucket).key("v1/test.png").range("bytes=-5").send().await.unwrap();
    assert_eq!(file.body.collect().await.unwrap().to_vec().len(), 5);
    let beyond = s3.get_object().bucket(&bucket).key("e").range("bytes=10-").send().await.unwrap_err();
    assert_eq!(beyond.raw_response().unwrap().status().as_u16(), 416);

    s3.delete_object().bucket(&bucket).key("e").send().await.unwrap();
    let gone = s3.get_object().bucket(&bucket).key("e").send().await.unwrap_err();
    assert_eq!(gone.code(), Some("NoSuchKey"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn metadata_is_returned_unchanged() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let put = s3.put_object().bucket(&bucket).key("m").content_type("text/html; charset=iso-8859-1");
    let put = put.cache_control("max-age=60").content_encoding("gzip").content_language("zh-CN");
    let put = put.content_disposition("attachment").metadata("owner", "me").expires(DateTime::from_secs(1_800_000_000));
    put.body(b"x".to_vec().into()).send().await.unwrap();
    let got = s3.head_object().bucket(&bucket).key("m").send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/html; charset=iso-8859-1"));
    assert_eq!((got.cache_control(), got.content_encoding()), (Some("max-age=60"), Some("gzip")));
    assert_eq!((got.content_language(), got.content_disposition()), (Some("zh-CN"), Some("attachment")));
    assert_eq!(got.metadata().unwrap()["owner"], "me");
    assert_eq!(got.expires_string(), Some("Fri, 15 Jan 2027 08:00:00 GMT"));
    assert_eq!(got.e_tag(), Some("\"9dd4e461268c8034f5c8564e155c67a6\""));
    cloud.shut_down().await;
}

#[tokio::test]
async fn conditional_requests_get_304_or_412() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    cloud.put("c", "x", "text/plain").await;
    let head = s3.head_object().bucket(&bucket).key("c").send().await.unwrap();
    let (etag, modified) = (head.e_tag().unwrap(), *head.last_modified().unwrap());
    let get = || s3.get_object().bucket(&bucket).key("c");
    let earlier = DateTime::from_secs(modified.secs() - 1);
    for (request, status) in [
        (get().if_none_match(etag), 304),
        (get().if_none_match("*"), 304),
        (get().if_modified_since(modified), 304),
        (get().if_match("\"another\""), 412),
        (get().if_unmodified_since(earlier), 412),
        (get().if_match(etag).if_unmodified_since(earlier), 200),
        (get().if_none_match("\"another\"").if_modified_since(modified), 200),
        (get().if_match(etag).if_none_match(etag), 304),
    ] {
        let result = request.send().await;
        let got = result.as_ref().map_or_else(|error| error.raw_response().unwrap().status().as_u16(), |_| 200);
        assert_eq!(got, status);
        if let Err(error) = result
            && status == 304
        {
            let raw = error.raw_response().unwrap();
            assert_eq!(raw.headers().get("etag"), Some(etag), "RFC 9110 §15.4.5");
        }
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_wrong_key_or_bucket_gets_the_error_code_of_s3() {
    let cloud = start(options()).await;
    let bucket = &cloud.cloud.bucket;
    let forged = cloud.s3_as("not-the-key").get_object().bucket(bucket).key("index.html").send().await.unwrap_err();
    assert_eq!(forged.code(), Some("SignatureDoesNotMatch"));
    let elsewhere = cloud.s3().get_object().bucket("elsewhere").key("index.html").send().await.unwrap_err();
    assert_eq!(elsewhere.code(), Some("NoSuchBucket"));
    let unsigned =
        cloud.send(http::Method::GET, &format!("{}/{bucket}/index.html", cloud.cloud.s3_endpoint), &[]).await;
    assert_eq!(unsigned.status, 403);
    cloud.shut_down().await;
}
