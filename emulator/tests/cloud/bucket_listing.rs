//! Listings of the local bucket: odd file names, links, and pages.

use std::os::unix::fs::symlink;
use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::EncodingType;
use emulator::cloud::{Options, Storage};
use emulator::s3::MissingKey;
use http::StatusCode;

use crate::support::{FREE_PORT, SECRET, TestCloud, options, start};

/// A cloud whose bucket is this folder.
async fn start_with(site: &Path) -> TestCloud {
    let storage = Storage::Folder { site: site.to_owned(), address: FREE_PORT, missing_key: MissingKey::NoSuchKey };
    start(Options { storage, ..options() }).await
}

/// All keys, in pages of `size`, by ListObjectsV2.
async fn keys(s3: &Client, bucket: &str, size: i32) -> Vec<String> {
    let mut pages = s3.list_objects_v2().bucket(bucket).max_keys(size).into_paginator().send();
    let mut keys = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= usize::try_from(size).unwrap());
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
    }
    keys
}

#[tokio::test]
async fn circular_links_and_links_out_of_the_folder_are_left_out() {
    let (site, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("secret.txt"), "secret").unwrap();
    std::fs::create_dir_all(site.path().join("a/deep")).unwrap();
    for file in ["index.html", "a/page.html", "a/deep/page.html"] {
        std::fs::write(site.path().join(file), file).unwrap();
    }
    symlink("..", site.path().join("a/up")).unwrap();
    symlink("../..", site.path().join("a/deep/top")).unwrap();
    symlink("a", site.path().join("v1")).unwrap();
    symlink(outside.path(), site.path().join("out")).unwrap();
    symlink(outside.path().join("secret.txt"), site.path().join("secret.txt")).unwrap();
    symlink("nothing", site.path().join("broken")).unwrap();
    let cloud = start_with(site.path()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let expected = ["a/deep/page.html", "a/page.html", "index.html", "v1/deep/page.html", "v1/page.html"];
    for size in [1, 2, 1_000] {
        assert_eq!(keys(&s3, &bucket, size).await, expected);
    }
    let v1 = s3.list_objects().bucket(&bucket).send().await.unwrap();
    assert_eq!(v1.contents().iter().map(|object| object.key().unwrap()).collect::<Vec<_>>(), expected);
    for path in ["/out/secret.txt", "/secret.txt", "/a/up/index.html", "/broken"] {
        assert_eq!(cloud.api(path, &[SECRET]).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(s3.get_object().bucket(&bucket).key(&path[1..]).send().await.unwrap_err().code(), Some("NoSuchKey"));
    }
    assert_eq!(cloud.api("/v1/page.html", &[SECRET]).await.text(), "a/page.html");
    let lines = cloud.journal.lines();
    for left_out in ["\"a/up\" is left out: the link is circular", "\"out\" is left out: the link leads out of"] {
        assert_eq!(lines.iter().filter(|line| line.contains(left_out)).count(), 1, "{left_out}: {lines:#?}");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_key_that_xml_cannot_represent_fails_no_listing() {
    let site = tempfile::tempdir().unwrap();
    std::fs::write(site.path().join("file\u{1f}"), "x").unwrap();
    std::fs::write(site.path().join("index.html"), "x").unwrap();
    let cloud = start_with(site.path()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    for key in ["a\u{1}b", "dir\u{2}/x", "line\nfeed", "return\r", "\u{ffff}", "a&<b> +%"] {
        cloud.put(key, "x", "text/plain").await;
        assert_eq!(s3.get_object().bucket(&bucket).key(key).send().await.unwrap().content_length(), Some(1), "{key:?}");
    }
    // The file name and three of the uploads are left out.
    assert_eq!(keys(&s3, &bucket, 2).await, ["a&<b> +%", "index.html", "line\nfeed", "return\r"]);
    for left_out in [r#""a\u{1}b" is left out"#, r#""dir\u{2}/x" is left out"#, r#""file\u{1f}" is left out"#] {
        let warnings = cloud.journal.lines().iter().filter(|line| line.contains(left_out)).count();
        assert_eq!(warnings, 1, "{left_out} in {:#?}", cloud.journal.lines());
    }

    let encoded = s3.list_objects_v2().bucket(&bucket).encoding_type(EncodingType::Url);
    let page = encoded.clone().prefix("").delimiter("/").max_keys(1_000).send().await.unwrap();
    let listed: Vec<&str> = page.contents().iter().map(|object| object.key().unwrap()).collect();
    let expected = ["a%01b", "a%26%3Cb%3E%20%2B%25", "file%1F", "index.html", "line%0Afeed", "return%0D", "%EF%BF%BF"];
    assert_eq!(listed, expected);
    assert_eq!(page.common_prefixes()[0].prefix(), Some("dir%02/"));
    // The token of a page that ends with such a key.
    let first = encoded.clone().max_keys(1).send().await.unwrap();
    let second = encoded.continuation_token(first.next_continuation_token().unwrap()).max_keys(1).send().await.unwrap();
    assert_eq!(second.contents()[0].key(), Some("a%26%3Cb%3E%20%2B%25"));
    // A prefix that XML cannot represent is repeated in the response.
    let plain = s3.list_objects_v2().bucket(&bucket).prefix("a\u{1}").send().await.unwrap();
    assert!(plain.contents().is_empty());
    cloud.shut_down().await;
}

#[tokio::test]
async fn pages_with_a_delimiter_have_each_prefix_once() {
    let site = tempfile::tempdir().unwrap();
    for folder in 0..7 {
        std::fs::create_dir(site.path().join(format!("d{folder}"))).unwrap();
        for file in 0..20 {
            std::fs::write(site.path().join(format!("d{folder}/f{file}")), "x").unwrap();
        }
    }
    std::fs::write(site.path().join("d3.txt"), "x").unwrap();
    let cloud = start_with(site.path()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    cloud.put("d3/upload", "x", "text/plain").await;
    cloud.put("e/f", "x", "text/plain").await;
    for size in [1, 3, 100] {
        let mut pages = s3.list_objects_v2().bucket(&bucket).delimiter("/").max_keys(size).into_paginator().send();
        let (mut names, mut files) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            names.extend(page.common_prefixes().iter().map(|folder| folder.prefix().unwrap().to_owned()));
            files.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        }
        assert_eq!(names, ["d0/", "d1/", "d2/", "d3/", "d4/", "d5/", "d6/", "e/"], "pages of {size}");
        assert_eq!(files, ["d3.txt"]);
    }
    assert_eq!(keys(&s3, &bucket, 9).await.len(), 7 * 20 + 3);

    let nothing = s3.list_objects_v2().bucket(&bucket).max_keys(0).send().await.unwrap();
    assert_eq!((nothing.is_truncated(), nothing.key_count()), (Some(false), Some(0)));
    let negative = s3.list_objects_v2().bucket(&bucket).max_keys(-1).send().await.unwrap_err();
    assert_eq!(negative.code(), Some("InvalidArgument"));
    let unknown = s3.list_objects_v2().bucket(&bucket).encoding_type("base64".into()).send().await.unwrap_err();
    assert_eq!(unknown.code(), Some("InvalidArgument"));
    let classes = s3.list_objects_v2().bucket(&bucket).prefix("d3.txt").send().await.unwrap();
    assert_eq!(classes.contents()[0].storage_class().unwrap().as_str(), "STANDARD");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_folder_that_disappears_fails_the_listing_but_not_the_cloud() {
    let site = tempfile::tempdir().unwrap();
    let cloud = start_with(site.path()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    assert!(keys(&s3, &bucket, 10).await.is_empty(), "an empty folder has no keys");
    drop(site);
    let error = s3.list_objects_v2().bucket(&bucket).customize().config_override(no_retries()).send().await;
    assert_eq!(error.unwrap_err().code(), Some("InternalError"));
    cloud.put("new", "x", "text/plain").await;
    assert_eq!(cloud.api("/new", &[SECRET]).await.text(), "x");
    cloud.shut_down().await;
}

fn no_retries() -> aws_sdk_s3::config::Builder {
    aws_sdk_s3::Config::builder().retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
}
