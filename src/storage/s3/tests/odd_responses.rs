//! Odd, malformed and changing responses of S3.

use nearedge_core::http::conditional::Conditions;

use super::*;

/// An S3 that sends one response to each request, and closes the connection.
async fn responding(responses: &[&[u8]]) -> (S3, Requests) {
    let closing = |response: &&[u8]| {
        let text = [b"HTTP/1.1 ", *response].concat();
        let end = text.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let (head, body) = text.split_at(end);
        vec![(0, [head, b"\r\nconnection: close", body].concat())]
    };
    scripted_bytes(responses.iter().map(closing).collect()).await
}

async fn fetch_part(s3: &S3, part: Part) -> Result<Fetched, FetchError> {
    let (key, fits) = (ObjectKey::new("v1/test.html".into()), |_: &Head, _: Option<&Range<u64>>| true);
    s3.fetch(&FetchRequest::unconditional(&key, part, &fits), Instant::now() + Duration::from_secs(10)).await.result
}

fn object(result: Result<Fetched, FetchError>) -> nearedge_core::object::Object {
    match result {
        Ok(Fetched::Object(object)) => object,
        other => panic!("expected an object, found {other:?}"),
    }
}

#[tokio::test]
async fn an_odd_header_field_does_not_make_an_object_unavailable() {
    for field in [
        &b"content-disposition: attachment; filename=\"\xe9.pdf\""[..],
        b"x-amz-meta-note: \xe9",
        b"expires: \xe9",
        b"last-modified: yesterday",
        b"x-amz-mp-parts-count: many",
        b"x-amz-object-lock-retain-until-date: never",
        b"x-amz-delete-marker: perhaps",
        b"x-amz-missing-meta: \xff",
        b"content-language:",
        b"content-type: text/html\r\ncontent-type: text/plain",
        b"x-amz-expiration: a\r\nx-amz-expiration: b",
        b"x-amz-meta-a b: c",
        b"x-amz-meta-control: \x01",
        b"last-modified: Sunday, 06-Nov-94 08:49:37 GMT",
    ] {
        let response = [b"200 OK\r\ncontent-length: 2\r\netag: \"a\"\r\n", field, b"\r\n\r\nok"].concat();
        let (s3, _) = responding(&[&response]).await;
        let found = object(fetch_part(&s3, Part::Whole).await);
        assert_eq!((found.body.len(), found.head.etag.as_deref()), (2, Some("\"a\"")), "{}", field.escape_ascii());
        let head = [b"200 OK\r\ncontent-length: 2\r\netag: \"a\"\r\n", field, b"\r\n\r\n"].concat();
        let (s3, _) = responding(&[&head]).await;
        assert_eq!(object(fetch_part(&s3, Part::Head).await).head.size_bytes, 2, "{}", field.escape_ascii());
    }
}

#[tokio::test]
async fn usable_fields_are_forwarded_unchanged() {
    let response = b"200 OK\r\ncontent-length: 0\r\ncontent-encoding: aws-chunked,gzip\r\nexpires: 0\r\n\
        content-disposition: attachment; filename=\"\xc3\xa9.pdf\"\r\n\r\n";
    let (s3, _) = responding(&[response]).await;
    let head = object(fetch_part(&s3, Part::Whole).await).head;
    assert_eq!(head.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(head.expires.as_deref(), Some("0"));
    assert_eq!(head.content_disposition.as_deref(), Some("attachment; filename=\"\u{e9}.pdf\""));
}

const ARCHIVED: &[u8] = b"403 Forbidden\r\n\r\n<Error><Code>InvalidObjectState</Code></Error>";
const SSE_C: &[u8] =
    b"400 Bad Request\r\n\r\n<Error><Code>InvalidRequest</Code><Message>The object was stored using a form of \
    Server Side Encryption. The correct parameters must be provided to retrieve the object.</Message></Error>";
const KMS_DISABLED: &[u8] = b"400 Bad Request\r\n\r\n<Error><Code>KMS.DisabledException</Code></Error>";

#[tokio::test]
async fn a_refused_object_is_refused_to_get_and_head_alike() {
    for response in [ARCHIVED, SSE_C, KMS_DISABLED] {
        let (s3, _) = responding(&[response]).await;
        assert!(matches!(fetch_part(&s3, Part::Whole).await, Err(FetchError::Refused(_))));
        let (s3, _) = responding(&[b"400 Bad Request\r\n\r\n", response]).await;
        assert!(matches!(fetch_part(&s3, Part::Head).await, Err(FetchError::Refused(_))));
    }
}

#[tokio::test]
async fn head_agrees_with_get_where_s3_may_not_read_the_object() {
    let part = b"206 Partial Content\r\ncontent-length: 1\r\ncontent-range: bytes 0-0/5\r\netag: \"a\"\r\n\r\n0";
    for (fields, asks_again) in [
        ("x-amz-storage-class: GLACIER", true),
        ("x-amz-storage-class: DEEP_ARCHIVE\r\nx-amz-restore: ongoing-request=\"true\"", true),
        ("x-amz-storage-class: INTELLIGENT_TIERING\r\nx-amz-archive-status: ARCHIVE_ACCESS", true),
        ("x-amz-server-side-encryption: aws:kms", true),
        ("x-amz-server-side-encryption: aws:kms:dsse", true),
        ("x-amz-server-side-encryption: AES256", false),
        ("x-amz-storage-class: GLACIER\r\nx-amz-restore: ongoing-request=\"false\", expiry-date=\"x\"", false),
        ("x-amz-storage-class: GLACIER_IR", false),
        ("x-amz-storage-class: STANDARD_IA\r\nx-amz-archive-status:", false),
    ] {
        let head = format!("200 OK\r\ncontent-length: 5\r\n{fields}\r\n\r\n");
        let (s3, requests) = responding(&[head.as_bytes(), ARCHIVED]).await;
        let result = fetch_part(&s3, Part::Head).await;
        assert_eq!(matches!(result, Err(FetchError::Refused(_))), asks_again, "{fields}: {result:?}");
        assert_eq!(requests.count(), 1 + usize::from(asks_again), "{fields}");
        // Where S3 can read it, or the storage class is only a label.
        let (s3, _) = responding(&[head.as_bytes(), part]).await;
        assert_eq!(object(fetch_part(&s3, Part::Head).await).head.size_bytes, 5, "{fields}");
    }
}

#[tokio::test]
async fn a_denial_is_missing_only_if_it_can_hide_a_missing_key() {
    let user = "User: arn:aws:sts::1:assumed-role/r/f is not authorized to perform:";
    for (message, wanted) in [
        ("Access Denied".to_owned(), None),
        (format!("{user} s3:ListBucket on resource: arn:aws:s3:::site"), None),
        (format!("{user} kms:Decrypt on resource: arn:aws:kms:eu-west-1:1:key/2"), Some("lacks kms:Decrypt")),
        (format!("{user} s3:GetObject with an explicit deny in a resource-based policy"), Some("denies s3:GetObject")),
    ] {
        let response =
            format!("403 Forbidden\r\n\r\n<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>");
        let (s3, _) = responding(&[response.as_bytes()]).await;
        match (fetch_part(&s3, Part::Whole).await.unwrap_err(), wanted) {
            (FetchError::Missing(Missing::AccessDenied), None) => {}
            (FetchError::Failed(cause), Some(advice)) => {
                let text = cause.to_string();
                assert!(text.contains(advice) && !text.contains("assumed-role"), "{text}");
            }
            (error, _) => panic!("{message}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_head_during_an_upload_finds_the_object() {
    let part = b"206 Partial Content\r\ncontent-length: 1\r\ncontent-range: bytes 0-0/5\r\netag: \"a\"\r\n\r\n0";
    let (s3, _) = responding(&[b"404 Not Found\r\n\r\n", part]).await;
    assert_eq!(object(fetch_part(&s3, Part::Head).await).head.size_bytes, 5);
    let empty = [
        &b"404 Not Found\r\n\r\n"[..],
        b"416 Range Not Satisfiable\r\n\r\n<Error><Code>InvalidRange</Code></Error>",
        b"200 OK\r\ncontent-length: 0\r\netag: \"e\"\r\n\r\n",
    ];
    let (s3, _) = responding(&empty).await;
    let head = object(fetch_part(&s3, Part::Head).await).head;
    assert_eq!((head.size_bytes, head.etag.as_deref()), (0, Some("\"e\"")));
}

#[tokio::test]
async fn an_object_that_changes_meanwhile_is_read_again() {
    let responses = [
        &b"304 Not Modified\r\netag: \"old\"\r\nlast-modified: Tue, 10 Mar 2026 05:16:23 GMT\r\n\r\n"[..],
        b"200 OK\r\ncontent-length: 3\r\netag: \"new\"\r\n\r\n",
        b"200 OK\r\ncontent-length: 3\r\netag: \"new\"\r\n\r\nnew",
    ];
    let (s3, requests) = responding(&responses).await;
    let cached = Head::new(nearedge_core::object::Metadata {
        etag: Some("\"old\"".into()),
        last_modified: Some("Tue, 10 Mar 2026 05:16:22 GMT".into()),
        ..Default::default()
    });
    let (key, fits) = (ObjectKey::new("a".into()), |_: &Head, _: Option<&Range<u64>>| true);
    let request = FetchRequest { cached: Some(&cached), ..FetchRequest::unconditional(&key, Part::Whole, &fits) };
    let found = object(s3.fetch(&request, Instant::now() + Duration::from_secs(10)).await.result);
    assert_eq!(found.head.etag.as_deref(), Some("\"new\""));
    assert!(!requests.0.lock().unwrap()[2].contains("if-none-match"));
}

#[tokio::test]
async fn a_malformed_response_is_no_object() {
    for (range, response) in [
        (None, &b"206 Partial Content\r\ncontent-length: 2\r\n\r\nok"[..]),
        (Some("bytes=0-1"), b"206 Partial Content\r\ncontent-length: 2\r\n\r\nok"),
        (Some("bytes=0-1"), b"206 Partial Content\r\ncontent-length: 3\r\ncontent-range: bytes 0-1/9\r\n\r\noks"),
        (None, b"304 Not Modified\r\netag: \"a\"\r\n\r\n"),
        (None, b"412 Precondition Failed\r\n\r\n"),
        (None, b"416 Range Not Satisfiable\r\n\r\n"),
    ] {
        let (s3, _) = responding(&[response]).await;
        let result = fetch(&s3, range).await;
        assert!(matches!(result, Err(FetchError::Failed(_))), "{}: {result:?}", response.escape_ascii());
    }
}

#[tokio::test]
async fn long_entity_tags_are_not_sent_to_s3() {
    let long = format!("\"{}\"", "x".repeat(7_500));
    let (key, fits) = (ObjectKey::new("a".into()), |_: &Head, _: Option<&Range<u64>>| true);
    for conditions in [
        Conditions { if_none_match: Some(&long), ..Conditions::default() },
        Conditions { if_match: Some(&long), ..Conditions::default() },
    ] {
        let (s3, requests) = responding(&[b"200 OK\r\ncontent-length: 2\r\netag: \"a\"\r\n\r\nok"]).await;
        let range = ByteRange::parse("bytes=0-1");
        let request = FetchRequest { conditions, range, ..FetchRequest::unconditional(&key, Part::Whole, &fits) };
        let result = s3.fetch(&request, Instant::now() + Duration::from_secs(10)).await.result;
        let wanted = if conditions.if_match.is_some() { "PreconditionFailed" } else { "Object" };
        assert!(format!("{result:?}").contains(wanted), "{result:?}");
        assert!(requests.0.lock().unwrap().iter().all(|request| request.len() < 2_000));
    }
}

#[tokio::test]
async fn a_body_that_finds_no_memory_is_too_large() {
    let (mut s3, _) = responding(&[b"200 OK\r\ncontent-length: 900000\r\n\r\n"]).await;
    s3.bodies = BodyBudget::new(1_000 << 10);
    let held = s3.bodies.reserve(Some(600_000)).await.unwrap();
    assert!(matches!(fetch_part(&s3, Part::Whole).await, Ok(Fetched::TooLarge(_))));
    drop(held);
}

#[tokio::test]
async fn a_request_waits_for_a_connection() {
    let (mut s3, requests) = responding(&[b"200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    s3.connections = Arc::new(Semaphore::new(1));
    let held = s3.connections.clone().acquire_owned().await.unwrap();
    let result = fetch_within(&s3, None, Duration::from_millis(50)).await;
    assert!(error(result).contains("all connections are in use"));
    assert_eq!(requests.count(), 0);
    drop(held);
    assert!(fetch(&s3, None).await.is_ok());
}

#[tokio::test]
async fn hundreds_of_metadata_fields_are_read() {
    let fields: String = (0..300).map(|number| format!("x-amz-meta-{number}: x\r\n")).collect();
    let response = format!("200 OK\r\ncontent-length: 2\r\n{fields}\r\nok");
    let (s3, _) = responding(&[response.as_bytes()]).await;
    assert_eq!(object(fetch_part(&s3, Part::Whole).await).body.len(), 2);
}

#[tokio::test]
async fn only_a_wrong_length_is_no_outage() {
    let short = b"206 Partial Content\r\ntransfer-encoding: chunked\r\ncontent-range: bytes 0-9/100\r\n\r\n5\r\n01234\r\n0\r\n\r\n";
    let (s3, _) = responding(&[short]).await;
    assert!(matches!(fetch(&s3, Some("bytes=0-9")).await, Err(FetchError::Failed(_))));
    let throttled = b"400 Bad Request\r\n\r\n<Error><Code>KMS.ThrottlingException</Code></Error>";
    let (s3, _) = responding(&[throttled]).await;
    assert!(matches!(fetch(&s3, None).await, Err(FetchError::Unavailable(_))));
}
