//! The representation of each response, against a model of what RFC 9110 permits.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nearedge_core::access::secret::Secrets;
use nearedge_core::http::freshness::Limits;
use nearedge_core::object::{Body, BodyEncoder, CopyKind, Metadata, Object, ObjectKey};
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Fetched, Source};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::storage::cache::{Cache, CacheConfig};
use crate::storage::copies::CopiesConfig;

const SECRET: &str = "lambdaapi_test";
const TTL: Duration = Duration::from_secs(10);

/// A text that shrinks, another for each key.
fn text(key: &str) -> String {
    (0..400).map(|n| format!("<p>{key} line {n}</p>\n")).collect()
}

fn body(bytes: &[u8]) -> Body {
    let mut encoder = BodyEncoder::with_capacity(bytes.len());
    encoder.push(bytes);
    encoder.finish()
}

/// A bucket with some texts, which can fail.
#[derive(Clone, Default)]
struct Bucket(Arc<Mutex<bool>>);

/// The keys of the bucket. `v1/only.html` has no unversioned object, and `base.html` none of a variant.
const KEYS: [&str; 4] = ["v1/only.html", "base.html", "v1/both.html", "404.html"];

fn etag(key: &str) -> String {
    format!("\"{:08x}\"", key.len() * 1_000_003 + usize::from(key.as_bytes()[0]))
}

impl Store for Bucket {
    async fn fetch(&self, request: &FetchRequest<'_>, _: Instant) -> FetchResponse {
        let fails = *self.0.lock().unwrap();
        let key = request.key.as_str();
        let result = match KEYS.contains(&key) {
            _ if fails => Err(FetchError::Unavailable(std::io::Error::other("down").into())),
            false => Err(FetchError::Missing(Missing::NoSuchKey)),
            true => {
                let text = text(key);
                let head = Head::new(Metadata {
                    content_type: Some("text/html".into()),
                    etag: Some(etag(key)),
                    last_modified: Some("Tue, 10 Mar 2026 05:16:23 GMT".into()),
                    size_bytes: text.len() as u64,
                    ..Metadata::default()
                });
                match request.cached {
                    Some(cached) if cached.etag == head.etag => Ok(Fetched::NotModified(head)),
                    _ => Ok(bucket_answer(request, head, &text)),
                }
            }
        };
        FetchResponse::new(result, Source::Bypass)
    }

    async fn presign(&self, _: &ObjectKey, _: Part, _: Duration, _: Instant) -> Result<String, FetchError> {
        Err(FetchError::Failed(std::io::Error::other("no URL").into()))
    }
}

/// S3's answer: it evaluates conditions and ranges itself.
fn bucket_answer(request: &FetchRequest<'_>, head: Head, text: &str) -> Fetched {
    let Ok(range) = request.select_range(&head) else { return Fetched::Unsatisfiable(head.size_bytes) };
    if let Some(answer) = request.answer_without_body(&head, range.as_ref()) {
        return answer;
    }
    let whole = body(text.as_bytes());
    let part = range.clone().map_or_else(|| whole.clone(), |range| whole.slice(range));
    let body = if request.part == Part::Whole { part } else { Body::default() };
    Fetched::Object(Object { head, range, body })
}

fn origin(bucket: Bucket, made: Vec<CopyKind>) -> Origin<Cache<Bucket>> {
    let copies = CopiesConfig { made, cpu_millis: 1000, ..CopiesConfig::default() };
    let presentation =
        Presentation { negotiation: copies.negotiation(), ..Presentation::new("test_version, redirect") };
    let limits = Limits { ttl: TTL, stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::from_secs(3600) };
    let config = CacheConfig {
        max_bytes: 16 << 20,
        object_max_bytes: 1 << 20,
        limits,
        // That a key is missing stays known during an outage.
        missing_ttl: Duration::from_secs(3600),
        copies,
    };
    let exceptions = Exceptions {
        error_document: Some(ObjectKey::new("404.html".into())),
        oversize: Oversize::Reject,
        object_redirects: false,
        compress_guarded: false,
        presign_ttl: Duration::from_secs(300),
    };
    let mut policy = Policy::new(Secrets::new(SECRET).unwrap(), "https://example.com");
    policy.variant_fallback = true;
    Origin::new(Cache::new(bucket, config), policy, presentation, exceptions)
}

/// A response as the client receives it.
struct Received {
    status: u16,
    headers: Value,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers[name].as_str()
    }

    /// The body as the client reads it after decoding.
    fn decoded(&self) -> Vec<u8> {
        let mut text = Vec::new();
        match self.header("content-encoding") {
            None => return self.body.clone(),
            Some("br") => brotli_decompressor::Decompressor::new(&*self.body, 4096).read_to_end(&mut text).unwrap(),
            Some("gzip") => flate2::read::GzDecoder::new(&*self.body).read_to_end(&mut text).unwrap(),
            Some(other) => panic!("unexpected coding {other}"),
        };
        text
    }
}

async fn respond(origin: &Origin<Cache<Bucket>>, request: &Request<'_>) -> Received {
    let deadline = Instant::now() + Duration::from_secs(20);
    let response = origin.respond(request, None, deadline).await;
    origin.refresh(deadline).await;
    let json: Value = serde_json::from_slice(&response.payload.parts().concat()).unwrap();
    let text = json["body"].as_str().unwrap();
    let body = match json["isBase64Encoded"].as_bool() {
        Some(true) => base64_simd::STANDARD.decode_to_vec(text).unwrap(),
        _ => text.as_bytes().to_vec(),
    };
    let status = json["statusCode"].as_u64().unwrap() as u16;
    Received { status, headers: json["headers"].clone(), body }
}

fn request<'a>(path: &'a str, encoding: Option<&'a str>) -> Request<'a> {
    Request {
        path: path.into(),
        lambda_auth: Some(SECRET.into()),
        test_version: Some("v1".into()),
        accept_encoding: encoding.map(Into::into),
        ..Request::default()
    }
}

/// The codings that a client accepts, and the field with which it says so.
const CLIENTS: [(Option<&str>, &[&str]); 9] = [
    (None, &[]),
    (Some(""), &[]),
    (Some("identity"), &[]),
    (Some("gzip"), &["gzip"]),
    (Some("gzip, deflate, br, zstd"), &["gzip", "br"]),
    (Some("br;q=0, gzip;q=0.5"), &["gzip"]),
    (Some("identity;q=0, *"), &["gzip", "br"]),
    (Some("identity;q=0"), &[]),
    (Some("br, *;q=0"), &["br"]),
];

/// A validator of the client: what it holds of the object.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Held {
    Nothing,
    /// The object as it is stored.
    Stored,
    /// The copy that another client got.
    Copy(&'static str),
    /// Another version.
    Other,
}

#[derive(Debug, Clone)]
struct Case {
    client: usize,
    path: usize,
    held: Held,
    if_match: bool,
    range: bool,
    if_range: Held,
    head: bool,
    stale: bool,
}

fn held() -> impl Strategy<Value = Held> {
    prop_oneof![
        Just(Held::Nothing),
        Just(Held::Stored),
        Just(Held::Copy("br")),
        Just(Held::Copy("gzip")),
        Just(Held::Other)
    ]
}

fn case() -> impl Strategy<Value = Case> {
    (0..CLIENTS.len(), 0..4_usize, held(), any::<bool>(), any::<bool>(), held(), any::<bool>(), any::<bool>()).prop_map(
        |(client, path, held, if_match, range, if_range, head, stale)| Case {
            client,
            path,
            held,
            if_match,
            range,
            if_range,
            head,
            stale,
        },
    )
}

/// Paths, and the key whose object answers each.
const PATHS: [(&str, &str); 4] = [
    ("/only.html", "v1/only.html"),
    ("/base.html", "base.html"),
    ("/both.html", "v1/both.html"),
    ("/none.html", "404.html"),
];

/// An origin whose copies are made, and the tags of the object and its copies.
async fn prepared(key: &str, path: &str) -> (Origin<Cache<Bucket>>, Bucket, [(&'static str, String); 2]) {
    let bucket = Bucket::default();
    let origin = origin(bucket.clone(), vec![CopyKind::Br, CopyKind::Gzip]);
    let mut tags = [("br", String::new()), ("gzip", String::new())];
    for (coding, tag) in &mut tags {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let received = respond(&origin, &request(path, Some(coding))).await;
            if received.header("content-encoding") == Some(coding) {
                *tag = received.header("etag").unwrap_or_default().to_owned();
                break;
            }
            assert!(Instant::now() < end, "no copy of {key} in {coding}");
        }
    }
    (origin, bucket, tags)
}

fn tag_of(held: Held, key: &str, tags: &[(&'static str, String)]) -> Option<String> {
    match held {
        Held::Nothing => None,
        Held::Stored => Some(etag(key)),
        Held::Copy(coding) => tags.iter().find(|(known, _)| *known == coding).map(|(_, tag)| tag.clone()),
        Held::Other => Some("\"other\"".to_owned()),
    }
}

/// Checks the response to a case. The model: an error document ignores conditions and ranges. Otherwise conditions come first, and a
/// validator counts if it is one of this version that the client may hold, except that of the stored object if the client prefers a copy;
/// then a range, of the object as it is stored, unless
/// If-Range names anything else; otherwise the smallest acceptable copy, or the object.
fn check(case: &Case, received: &Received, key: &str, tags: &[(&'static str, String)]) -> Result<(), TestCaseError> {
    let (field, accepted) = CLIENTS[case.client];
    let text = text(key).into_bytes();
    let is_document = key == "404.html";
    let may_hold = |held: Held| match held {
        Held::Stored => true,
        Held::Copy(coding) => field.is_none() || accepted.contains(&coding),
        Held::Nothing | Held::Other => false,
    };
    let conditional = case.held != Held::Nothing && !is_document;
    if conditional && case.if_match && !may_hold(case.held) {
        prop_assert_eq!(received.status, 412);
        return Ok(());
    }
    let vary = "test_version, redirect, accept-encoding";
    prop_assert_eq!(received.header("vary"), Some(vary));
    let coding = ["br", "gzip"].into_iter().find(|coding| accepted.contains(coding));
    // The client prefers the copy to the stored object that it holds; a range is one of that object.
    let ranged = case.range
        && !case.head
        && !is_document
        && matches!(case.if_range, Held::Nothing | Held::Stored)
        && !(case.if_match && matches!(case.held, Held::Copy(_)));
    let prefers_copy = case.held == Held::Stored && coding.is_some() && !ranged;
    if conditional && !case.if_match && may_hold(case.held) && !prefers_copy {
        prop_assert_eq!(received.status, 304);
        let confirmed = tag_of(case.held, key, tags);
        prop_assert_eq!(received.header("etag"), confirmed.as_deref());
        prop_assert!(received.body.is_empty());
        return Ok(());
    }
    if ranged {
        prop_assert_eq!((received.status, received.header("content-encoding")), (206, None));
        prop_assert_eq!(received.header("etag"), Some(&*etag(key)));
        prop_assert_eq!(&received.body, &text[10..=29]);
        return Ok(());
    }
    prop_assert_eq!(received.status, if is_document { 404 } else { 200 });
    prop_assert_eq!(received.header("content-encoding"), coding);
    if !is_document {
        let tag = coding.map_or(Held::Stored, Held::Copy);
        let expected = tag_of(tag, key, tags);
        prop_assert_eq!(received.header("etag"), expected.as_deref());
        prop_assert_eq!(received.header("accept-ranges"), coding.map_or(Some("bytes"), |_| None));
    }
    if case.head {
        prop_assert!(received.body.is_empty());
    } else {
        prop_assert_eq!(received.decoded(), text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn every_response_has_the_representation_of_the_model(cases in prop::collection::vec(case(), 60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        for (path, (address, key)) in PATHS.iter().enumerate() {
            let (origin, bucket, tags) = runtime.block_on(prepared(key, address));
            for case in cases.iter().filter(|case| case.path == path) {
                let validator = tag_of(case.held, key, &tags);
                let mut request = request(address, CLIENTS[case.client].0);
                let field = if case.if_match { &mut request.if_match } else { &mut request.if_none_match };
                *field = validator.map(Into::into);
                request.range = case.range.then(|| "bytes=10-29".into());
                request.if_range = tag_of(case.if_range, key, &tags).filter(|_| case.range).map(Into::into);
                request.method = if case.head { Method::Head } else { Method::Get };
                let received = runtime.block_on(async {
                    if case.stale {
                        *bucket.0.lock().unwrap() = true;
                        tokio::time::advance(TTL * 2).await;
                    }
                    let received = respond(&origin, &request).await;
                    *bucket.0.lock().unwrap() = false;
                    received
                });
                if let Err(error) = check(case, &received, key, &tags) {
                    return Err(TestCaseError::fail(format!("{case:?}: {error}; {} {}", received.status, received.headers)));
                }
            }
        }
    }
}
