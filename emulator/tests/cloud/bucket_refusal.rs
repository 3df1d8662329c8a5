//! Objects that the local bucket refuses to read, and odd header fields of its responses.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::StorageClass;
use emulator::cloud::{Options, Storage};
use emulator::s3::MissingKey;

use crate::support::{FREE_PORT, TestCloud, options, site, start};

/// The status, code and message of a GET, and the status of a HEAD.
async fn read(cloud: &TestCloud, key: &str) -> (u16, String, String, u16) {
    let (s3, bucket) = (cloud.s3(), &cloud.cloud.bucket);
    let get = s3.get_object().bucket(bucket).key(key).send().await;
    let head = s3.head_object().bucket(bucket).key(key).send().await;
    let head = head.map_or_else(|error| error.raw_response().unwrap().status().as_u16(), |_| 200);
    match get {
        Ok(_) => (200, String::new(), String::new(), head),
        Err(error) => {
            let status = error.raw_response().unwrap().status().as_u16();
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            (status, text(error.code()), text(error.message()), head)
        }
    }
}

fn set_faults(cloud: &TestCloud, faults: &[&str]) {
    cloud.cloud.faults.set(faults.iter().map(|fault| fault.parse().unwrap()).collect());
}

#[tokio::test]
async fn a_refusal_has_the_status_and_code_of_s3() {
    let cloud = start(options()).await;
    for (reason, status, code, message, head) in [
        ("archived", 403, "InvalidObjectState", "storage class", 200),
        ("sse-c", 400, "InvalidRequest", "Server Side Encryption", 400),
        ("kms-disabled", 400, "KMS.DisabledException", "is disabled", 400),
        ("kms-pending-deletion", 400, "KMS.KMSInvalidStateException", "pending deletion", 400),
        ("kms-not-found", 400, "KMS.NotFoundException", "does not exist", 400),
        ("kms-denied", 403, "AccessDenied", "not authorized to perform: kms:Decrypt on resource", 403),
        ("explicit-deny", 403, "AccessDenied", "perform: s3:GetObject on resource: \"arn:aws:s3:::", 403),
        ("denied", 403, "AccessDenied", "Access Denied", 403),
    ] {
        set_faults(&cloud, &[&format!("s3-refuse={reason}:v1/test.html")]);
        let got = read(&cloud, "v1/test.html").await;
        assert_eq!((got.0, got.1.as_str(), got.3), (status, code, head), "{reason}: {}", got.2);
        assert!(got.2.contains(message), "{reason}: {}", got.2);
        assert_eq!(read(&cloud, "index.html").await.0, 200, "{reason} concerns one key");
        set_faults(&cloud, &[&format!("s3-refuse={reason}")]);
        assert_eq!(read(&cloud, "index.html").await.0, status, "{reason} concerns every key");
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_refusal_of_the_object_does_not_concern_a_missing_key() {
    let cloud = start(options()).await;
    for reason in ["archived", "sse-c", "kms-disabled", "kms-denied"] {
        set_faults(&cloud, &[&format!("s3-refuse={reason}")]);
        assert_eq!(read(&cloud, "none").await.1, "NoSuchKey", "{reason}");
    }
    set_faults(&cloud, &["s3-refuse=list-denied"]);
    assert_eq!(read(&cloud, "index.html").await.0, 200, "s3:GetObject is allowed");
    let (status, code, message, head) = read(&cloud, "none").await;
    assert_eq!((status, code.as_str(), head), (403, "AccessDenied", 403));
    assert!(message.contains("not authorized to perform: s3:ListBucket on resource"), "{message}");
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_role_without_list_permission_gets_access_denied() {
    let storage = Storage::Folder { site: site(), address: FREE_PORT, missing_key: MissingKey::AccessDenied };
    let cloud = start(Options { storage, ..options() }).await;
    let (status, code, message, head) = read(&cloud, "none").await;
    assert_eq!((status, code.as_str(), head), (403, "AccessDenied", 403));
    assert!(message.contains("s3:ListBucket"), "{message}");
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_archived_upload_cannot_be_read() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    for (class, status) in [
        (StorageClass::Glacier, 403),
        (StorageClass::DeepArchive, 403),
        (StorageClass::GlacierIr, 200),
        (StorageClass::StandardIa, 200),
        (StorageClass::Standard, 200),
    ] {
        let put = s3.put_object().bucket(&bucket).key("a").storage_class(class.clone());
        put.body(ByteStream::from_static(b"x")).send().await.unwrap();
        assert_eq!(read(&cloud, "a").await.0, status, "{class}");
        let head = s3.head_object().bucket(&bucket).key("a").send().await.unwrap();
        let expected = (class != StorageClass::Standard).then_some(&class);
        assert_eq!(head.storage_class(), expected, "S3 does not send the class STANDARD");
    }
    let unknown = s3.put_object().bucket(&bucket).key("a").storage_class("CELLAR".into()).send().await.unwrap_err();
    assert_eq!(unknown.code(), Some("InvalidStorageClass"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_upload_under_sse_c_is_read_with_its_key_only() {
    let cloud = start(options()).await;
    let (s3, bucket) = (cloud.s3(), cloud.cloud.bucket.clone());
    let (key, md5) = ("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", "KYvwGXoFFJ42a2u2GDWhwQ==");
    let put = s3.put_object().bucket(&bucket).key("s").body(ByteStream::from_static(b"secret"));
    put.sse_customer_algorithm("AES256").sse_customer_key(key).sse_customer_key_md5(md5).send().await.unwrap();
    let (status, code, _, head) = read(&cloud, "s").await;
    assert_eq!((status, code.as_str(), head), (400, "InvalidRequest", 400));
    let get = |object: &str, md5: &str| {
        let get = s3.get_object().bucket(&bucket).key(object).sse_customer_algorithm("AES256");
        get.sse_customer_key(key).sse_customer_key_md5(md5).send()
    };
    let got = get("s", md5).await.unwrap();
    assert_eq!(got.sse_customer_key_md5(), Some(md5));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"secret");
    assert_eq!(get("s", "another").await.unwrap_err().code(), Some("AccessDenied"));
    assert_eq!(get("index.html", md5).await.unwrap_err().code(), Some("InvalidRequest"));
    cloud.shut_down().await;
}

#[tokio::test]
async fn s3_can_send_odd_header_fields() {
    let cloud = start(options()).await;
    set_faults(
        &cloud,
        &[
            "s3-header=Content-Disposition:attachment;%20filename=\"%E9.pdf\"",
            "s3-header=x-amz-meta-note:%E9",
            "s3-header=Content-Encoding:aws-chunked,gzip",
            "s3-header=Content-Language:",
            "s3-latency=1",
        ],
    );
    // The CDN passes on what the bucket sends.
    let response = cloud.cdn("/v1/test.html", &[]).await;
    assert_eq!(response.status, 200);
    let field = |name: &str| response.headers[name].as_bytes();
    assert_eq!(field("content-disposition"), b"attachment; filename=\"\xe9.pdf\"");
    assert_eq!(field("x-amz-meta-note"), b"\xe9");
    assert_eq!((field("content-encoding"), field("content-language")), (&b"aws-chunked,gzip"[..], &b""[..]));
    let missing = cloud.cdn("/v1/none", &[]).await;
    assert!(!missing.headers.contains_key("x-amz-meta-note"), "errors have no fields of an object");
    cloud.shut_down().await;
}
