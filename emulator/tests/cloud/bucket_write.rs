//! Uploads, copies and deletions in the local bucket, as an S3 client sees them.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, MetadataDirective, ObjectIdentifier, StorageClass,
};

use crate::support::{options, start};

/// The status and the error code of a result; 200 without a code for a success.
fn outcome<T, E: ProvideErrorMetadata>(result: &Result<T, SdkError<E>>) -> (u16, Option<&str>) {
    match result {
        Ok(_) => (200, None),
        Err(error) => {
            (error.raw_response().unwrap().status().as_u16(), error.as_service_error().and_then(|error| error.code()))
        }
    }
}

async fn text(s3: &Client, bucket: &str, key: &str) -> String {
    let object = s3.get_object().bucket(bucket).key(key).send().await.unwrap();
    String::from_utf8(object.body.collect().await.unwrap().to_vec()).unwrap()
}

async fn head(s3: &Client, bucket: &str, key: &str) -> HeadObjectOutput {
    s3.head_object().bucket(bucket).key(key).send().await.unwrap()
}

#[tokio::test]
async fn aws_chunked_is_not_stored_as_content_encoding() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    for (sent, stored) in [
        ("aws-chunked,gzip", Some("gzip")),
        ("gzip, aws-chunked", Some("gzip")),
        ("deflate, gzip", Some("deflate, gzip")),
        ("aws-chunked", None),
        ("", None),
    ] {
        let put = s3.put_object().bucket(&bucket).key("c").content_encoding(sent).body(ByteStream::from_static(b"x"));
        put.send().await.unwrap();
        assert_eq!(head(&s3, &bucket, "c").await.content_encoding(), stored, "{sent:?}");
    }
    // An SDK that sends a body in chunks repeats the field.
    let put = s3.put_object().bucket(&bucket).key("c").content_encoding("br").body(ByteStream::from_static(b"x"));
    let repeated = put.customize().mutate_request(|request| {
        request.headers_mut().append("content-encoding", "aws-chunked");
    });
    repeated.send().await.unwrap();
    assert_eq!(head(&s3, &bucket, "c").await.content_encoding(), Some("br"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_empty_metadata_field_is_absent() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let put = s3.put_object().bucket(&bucket).key("e").cache_control("").content_language("").content_disposition("");
    put.content_type("").metadata("note", "").body(ByteStream::from_static(b"x")).send().await.unwrap();
    let got = s3.get_object().bucket(&bucket).key("e").send().await.unwrap();
    assert_eq!((got.cache_control(), got.content_language(), got.content_disposition()), (None, None, None));
    assert_eq!(got.content_type(), Some("binary/octet-stream"));
    assert_eq!(got.metadata().unwrap()["note"], "", "user-defined metadata can be empty");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_put_with_if_none_match_creates_and_never_overwrites() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let create = |key: &str| {
        s3.put_object().bucket(&bucket).key(key).if_none_match("*").body(ByteStream::from_static(b"new")).send()
    };
    assert_eq!(outcome(&create("new").await), (200, None));
    for existing in ["new", "index.html"] {
        let before = text(&s3, &bucket, existing).await;
        assert_eq!(outcome(&create(existing).await), (412, Some("PreconditionFailed")), "{existing}");
        assert_eq!(text(&s3, &bucket, existing).await, before);
    }
    let by_etag = s3.put_object().bucket(&bucket).key("new").if_none_match("\"etag\"").send().await;
    assert_eq!(outcome(&by_etag), (501, Some("NotImplemented")));
    s3.delete_object().bucket(&bucket).key("new").send().await.unwrap();
    assert_eq!(outcome(&create("new").await), (200, None), "a deleted object does not exist");
    let results = futures_util::future::join_all((0..8).map(|_| create("raced"))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "one of concurrent uploads wins");
    cloud.shut_down().await;
}

#[tokio::test]
async fn if_match_writes_and_deletes_only_the_same_object() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let put = |key: &str, etag: &str| s3.put_object().bucket(&bucket).key(key).if_match(etag).send();
    let etag = head(&s3, &bucket, "index.html").await.e_tag().unwrap().to_owned();
    assert_eq!(outcome(&put("none", &etag).await), (404, Some("NoSuchKey")));
    assert_eq!(outcome(&put("index.html", "\"another\"").await), (412, Some("PreconditionFailed")));
    let delete = |etag: &str| s3.delete_object().bucket(&bucket).key("index.html").if_match(etag).send();
    assert_eq!(outcome(&delete("\"another\"").await), (412, Some("PreconditionFailed")));
    let object = ObjectIdentifier::builder().key("index.html").e_tag("\"another\"").build().unwrap();
    let several = Delete::builder().objects(object).build().unwrap();
    let deleted = s3.delete_objects().bucket(&bucket).delete(several).send().await.unwrap();
    assert_eq!(deleted.errors()[0].code(), Some("PreconditionFailed"));
    assert_eq!(head(&s3, &bucket, "index.html").await.e_tag(), Some(etag.as_str()), "it is unchanged");
    assert_eq!(outcome(&put("index.html", &etag).await), (200, None));
    assert_eq!(outcome(&delete(&etag).await), (412, Some("PreconditionFailed")), "the object has changed");
    assert_eq!(outcome(&delete("*").await), (200, None));
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_header_section_over_8_kib_is_rejected() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let get = |bytes: usize| {
        let etag = format!("\"{}\"", "e".repeat(bytes));
        s3.get_object().bucket(&bucket).key("index.html").range("bytes=0-3").if_none_match(etag).send()
    };
    assert_eq!(outcome(&get(6_000).await), (200, None));
    let rejected = get(7_500).await;
    assert_eq!(outcome(&rejected), (400, Some("RequestHeaderSectionTooLarge")));
    let body = rejected.unwrap_err().raw_response().unwrap().body().bytes().unwrap().to_vec();
    assert!(String::from_utf8(body).unwrap().contains("<MaxSizeAllowed>8192</MaxSizeAllowed>"));
    let head = s3.head_object().bucket(&bucket).key("none").if_match("e".repeat(7_500)).send().await;
    assert_eq!(outcome(&head).0, 400);
    let put = s3.put_object().bucket(&bucket).key("m").metadata("note", "n".repeat(2_045)).send().await;
    assert_eq!(outcome(&put), (400, Some("MetadataTooLarge")), "name and value have at most 2,048 bytes");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_copy_keeps_or_replaces_the_metadata() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let put = s3.put_object().bucket(&bucket).key("a b/ü+%").content_type("text/plain").cache_control("max-age=60");
    put.metadata("owner", "me").body(ByteStream::from_static(b"copied")).send().await.unwrap();
    let source = format!("{bucket}/a%20b/%C3%BC%2B%25");

    let copied = s3.copy_object().bucket(&bucket).key("copy").copy_source(&source).send().await.unwrap();
    let got = head(&s3, &bucket, "copy").await;
    assert_eq!(copied.copy_object_result().unwrap().e_tag(), got.e_tag());
    assert_eq!((got.content_type(), got.cache_control()), (Some("text/plain"), Some("max-age=60")));
    assert_eq!(got.metadata().unwrap()["owner"], "me");
    assert_eq!(text(&s3, &bucket, "copy").await, "copied");

    let replace = s3.copy_object().bucket(&bucket).key("replaced").copy_source(&source).content_language("de");
    replace.metadata_directive(MetadataDirective::Replace).content_encoding("aws-chunked").send().await.unwrap();
    let got = head(&s3, &bucket, "replaced").await;
    assert_eq!((got.content_type(), got.content_language()), (Some("binary/octet-stream"), Some("de")));
    assert_eq!((got.cache_control(), got.content_encoding()), (None, None));
    assert!(got.metadata().unwrap().is_empty());

    // A file of the folder: the copy does not follow its later changes, and the folder is not written to.
    let file = format!("{bucket}/v1/test.html");
    s3.copy_object().bucket(&bucket).key("v1/new.html").copy_source(&file).send().await.unwrap();
    assert_eq!(head(&s3, &bucket, "v1/new.html").await.content_type(), Some("text/html"));
    assert_eq!(text(&s3, &bucket, "v1/new.html").await, text(&s3, &bucket, "v1/test.html").await);
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_copy_that_s3_rejects_changes_nothing() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let index = format!("{bucket}/index.html");
    let copy = |key: &str, source: &str| s3.copy_object().bucket(&bucket).key(key).copy_source(source);
    assert_eq!(outcome(&copy("x", &format!("{bucket}/none")).send().await), (404, Some("NoSuchKey")));
    assert_eq!(outcome(&copy("x", "elsewhere/none").send().await), (404, Some("NoSuchBucket")));
    let version = copy("x", &format!("{index}?versionId=abc")).send().await;
    assert_eq!(outcome(&version), (404, Some("NoSuchVersion")));
    assert_eq!(outcome(&copy("index.html", &index).send().await), (400, Some("InvalidRequest")), "onto itself");
    let changed = copy("x", &index).copy_source_if_match("\"another\"").send().await;
    assert_eq!(outcome(&changed), (412, Some("PreconditionFailed")));
    let unchanged = copy("x", &index).copy_source_if_unmodified_since(DateTime::from_secs(1)).send().await;
    assert_eq!(outcome(&unchanged), (412, Some("PreconditionFailed")));
    let same = copy("x", &index).copy_source_if_none_match(head(&s3, &bucket, "index.html").await.e_tag().unwrap());
    assert_eq!(outcome(&same.send().await), (412, Some("PreconditionFailed")), "not a 304");
    let unknown = copy("x", &index).metadata_directive("MERGE".into()).send().await;
    assert_eq!(outcome(&unknown), (400, Some("InvalidArgument")));
    let existing = copy("v1/test.html", &index).customize().mutate_request(|request| {
        request.headers_mut().insert("if-none-match", "*");
    });
    assert_eq!(outcome(&existing.send().await), (412, Some("PreconditionFailed")));
    assert_eq!(outcome(&s3.head_object().bucket(&bucket).key("x").send().await).0, 404);

    let itself = copy("index.html", &index).metadata_directive(MetadataDirective::Replace).cache_control("no-cache");
    itself.send().await.unwrap();
    assert_eq!(head(&s3, &bucket, "index.html").await.cache_control(), Some("no-cache"));
    let class = copy("index.html", &index).storage_class(StorageClass::StandardIa).send().await;
    assert_eq!(outcome(&class), (200, None), "another storage class is a change");
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_object_can_be_uploaded_and_copied_in_parts() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let first = vec![b'a'; 5 << 20];
    cloud.put("source", "0123456789", "text/plain").await;
    let begin = s3.create_multipart_upload().bucket(&bucket).key("big").content_type("video/mp4");
    let id = begin.content_encoding("aws-chunked,gzip").send().await.unwrap().upload_id().unwrap().to_owned();
    let part = |number, body: Vec<u8>| {
        s3.upload_part().bucket(&bucket).key("big").upload_id(&id).part_number(number).body(body.into()).send()
    };
    let one = part(1, first.clone()).await.unwrap();
    let two = s3.upload_part_copy().bucket(&bucket).key("big").upload_id(&id).part_number(2);
    let two = two.copy_source(format!("{bucket}/source")).copy_source_range("bytes=2-4").send().await.unwrap();
    let part_of = |number, etag: &str| CompletedPart::builder().part_number(number).e_tag(etag).build();
    let two_etag = two.copy_part_result().unwrap().e_tag().unwrap().to_owned();
    let complete = |parts: Vec<CompletedPart>| {
        let upload = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        s3.complete_multipart_upload().bucket(&bucket).key("big").upload_id(&id).multipart_upload(upload)
    };
    let parts = || vec![part_of(1, one.e_tag().unwrap()), part_of(2, &two_etag)];
    let reversed = complete(parts().into_iter().rev().collect()).send().await;
    assert_eq!(outcome(&reversed), (400, Some("InvalidPartOrder")));
    let wrong = complete(vec![part_of(1, "\"another\"")]).send().await;
    assert_eq!(outcome(&wrong), (400, Some("InvalidPart")));
    assert_eq!(outcome(&s3.head_object().bucket(&bucket).key("big").send().await).0, 404, "not yet complete");

    let done = complete(parts()).if_none_match("*").send().await.unwrap();
    let got = head(&s3, &bucket, "big").await;
    assert_eq!(got.e_tag(), done.e_tag());
    assert!(got.e_tag().unwrap().ends_with("-2\""), "{:?}", got.e_tag());
    assert_eq!((got.content_type(), got.content_encoding()), (Some("video/mp4"), Some("gzip")));
    let body = s3.get_object().bucket(&bucket).key("big").send().await.unwrap().body.collect().await.unwrap();
    assert!(body.to_vec() == [first, b"234".to_vec()].concat(), "the parts in order");
    assert_eq!(outcome(&part(3, Vec::new()).await), (404, Some("NoSuchUpload")), "the upload has ended");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_listed_bucket_has_a_creation_date() {
    let cloud = start(options()).await;
    let listed = cloud.s3().list_buckets().send().await.unwrap();
    let [bucket] = listed.buckets() else { panic!("expected one bucket: {listed:?}") };
    assert_eq!(bucket.name(), Some(cloud.cloud.bucket.as_str()));
    assert!(bucket.creation_date().unwrap().secs() > 1_700_000_000);
    cloud.shut_down().await;
}
