//! Copies of objects: made by the function, or uploaded.

use std::io::Read;

use nearedge_core::http::accept::Accepts;
use nearedge_core::object::{CopyKind, Object};

use super::*;

const OLD: &str = "Tue, 10 Mar 2026 05:16:23 GMT";
const NEW: &str = "Tue, 10 Mar 2026 05:16:24 GMT";

/// A cache whose function has a whole core, with these kinds of copies.
fn cache(made: &[CopyKind], uploaded: &[CopyKind], formats: &[CopyKind]) -> Cache<Bucket> {
    let (made, uploaded, formats) = (made.to_vec(), uploaded.to_vec(), formats.to_vec());
    let copies = CopiesConfig { made, uploaded, formats, cpu_millis: 1000 };
    cache_with(CacheConfig { copies, ..config() })
}

fn making() -> Cache<Bucket> {
    cache(&[CopyKind::Br, CopyKind::Gzip], &[], &[])
}

fn uploading() -> Cache<Bucket> {
    cache(&[], &[CopyKind::Br, CopyKind::Zstd, CopyKind::Gzip], &[])
}

impl Bucket {
    fn put_typed(&self, key: &str, etag: &str, bytes: u64, media_type: &str, last_modified: &str) {
        let metadata = Metadata {
            etag: Some(format!("\"{etag}\"")),
            content_type: Some(media_type.to_owned()),
            last_modified: Some(last_modified.to_owned()),
            size_bytes: bytes,
            ..Metadata::default()
        };
        self.objects.lock().unwrap().insert(key.to_owned(), Head::new(metadata));
    }

    fn put_text(&self, key: &str, etag: &str, bytes: u64) {
        self.put_typed(key, etag, bytes, "text/html", OLD);
    }
}

impl Cache<Bucket> {
    async fn get_accepting(&self, name: &str, encoding: &str) -> FetchResponse {
        let accepts = Some(&Accepts { encoding: Some(encoding), media: Some("image/avif,image/webp,*/*") });
        self.fetch(&FetchRequest { accepts, ..whole(&key(name)) }, deadline()).await
    }

    /// Requests the object until the function has made its copy, and returns that.
    async fn made(&self, name: &str, encoding: &str) -> Object {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let response = self.get_accepting(name, encoding).await;
            let Ok(Fetched::Object(object)) = response.result else { panic!("expected an object, found {response:?}") };
            if object.head.copy().is_some() {
                return object;
            }
            assert!(Instant::now() < end, "no copy");
            self.revalidate_stale(deadline()).await;
        }
    }
}

fn decoded(object: &Object) -> Vec<u8> {
    let coded = object.body.raw().unwrap();
    assert_eq!(coded.len() as u64, object.head.size_bytes);
    let mut text = Vec::new();
    match object.head.content_encoding.as_deref() {
        Some("br") => brotli_decompressor::Decompressor::new(&*coded, 4096).read_to_end(&mut text).unwrap(),
        Some("gzip") => flate2::read::GzDecoder::new(&*coded).read_to_end(&mut text).unwrap(),
        other => panic!("expected a coding, found {other:?}"),
    };
    text
}

/// The kind of the copy in a response.
fn kind(response: &FetchResponse) -> Option<CopyKind> {
    match &response.result {
        Ok(Fetched::Object(object)) => object.head.copy().map(|(kind, _)| kind),
        other => panic!("expected an object, found {other:?}"),
    }
}

#[tokio::test]
async fn the_first_answer_is_stored_and_later_ones_are_coded() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    assert_eq!(object(&cache.get_accepting("a", "gzip, br").await), ("\"1\"", Source::Miss));
    let copy = cache.made("a", "gzip, br").await;
    assert_eq!(copy.head.content_encoding.as_deref(), Some("br"));
    assert_eq!(copy.head.copy(), Some((CopyKind::Br, 30_000)));
    assert_eq!(decoded(&copy), content(&cache.store().objects.lock().unwrap()["a"]));
    assert_eq!(cache.requests(), ["GET a"]);
}

#[tokio::test]
async fn each_client_gets_what_it_accepts() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    assert_eq!(cache.made("a", "gzip").await.head.content_encoding.as_deref(), Some("gzip"));
    // A client that accepts both gets the copy that exists until the better one is made.
    assert_eq!(kind(&cache.get_accepting("a", "br, gzip").await), Some(CopyKind::Gzip));
    assert_eq!(cache.made("a", "br").await.head.content_encoding.as_deref(), Some("br"));
    assert_eq!(kind(&cache.get_accepting("a", "br, gzip").await), Some(CopyKind::Br));
    for stored in ["", "identity", "zstd", "br;q=0, gzip;q=0", "identity, br;q=0.5"] {
        assert_eq!(object(&cache.get_accepting("a", stored).await), ("\"1\"", Source::Hit), "{stored}");
    }
    assert_eq!(object(&cache.get("a").await), ("\"1\"", Source::Hit), "a request that selects no copy");
    assert_eq!(cache.requests(), ["GET a"]);
}

#[tokio::test]
async fn a_head_request_has_the_fields_of_the_copy() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    let copy = cache.made("a", "br").await;
    let accepts = Some(&Accepts { encoding: Some("br"), media: None });
    let request_key = key("a");
    let head = FetchRequest { accepts, part: Part::Head, ..whole(&request_key) };
    let response = cache.fetch(&head, deadline()).await;
    let Ok(Fetched::Object(object)) = response.result else { panic!("expected a head") };
    assert_eq!(object.head, copy.head);
    assert!(object.body.is_empty());
}

#[tokio::test]
async fn a_range_is_one_of_the_stored_object() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    let copy = cache.made("a", "br").await;
    let accepts = Some(&Accepts { encoding: Some("br"), media: None });
    let request_key = key("a");
    let range = FetchRequest { accepts, range: Some(ByteRange::Between(5, 9)), ..whole(&request_key) };
    assert_eq!(object(&cache.fetch(&range, deadline()).await), ("\"1\"", Source::Hit));
    // A range of a copy would not fit the client's part of it.
    let tag = copy.head.etag.clone().unwrap();
    let if_range = Some(nearedge_core::http::range::IfRange::parse(&tag));
    let response = cache.fetch(&FetchRequest { if_range, ..range }, deadline()).await;
    assert_eq!(kind(&response), Some(CopyKind::Br), "the whole copy");
}

#[tokio::test]
async fn a_copys_tag_is_confirmed_by_any_environment() {
    let (first, second) = (making(), making());
    first.store().put_text("a", "1", 30_000);
    second.store().put_text("a", "1", 30_000);
    let tag = first.made("a", "br").await.head.etag.clone().unwrap();
    for (name, cache) in [("with the copy", &first), ("without it", &second)] {
        for (accepted, sent, expected) in [
            ("br", tag.clone(), Some(&tag)),
            ("br, gzip", format!("\"x\", {tag}"), Some(&tag)),
            ("gzip", tag.clone(), None),
            ("br", tag.replace("\"1-", "\"2-"), None),
        ] {
            let conditions = Conditions { if_none_match: Some(&sent), ..Conditions::default() };
            let accepts = Some(&Accepts { encoding: Some(accepted), media: None });
            let request_key = key("a");
            let request = FetchRequest { conditions, accepts, ..whole(&request_key) };
            let found = match cache.fetch(&request, deadline()).await.result {
                Ok(Fetched::NotModified(head)) => head.etag.clone(),
                Ok(Fetched::Object(_)) => None,
                other => panic!("{other:?}"),
            };
            assert_eq!(found.as_ref(), expected, "{name}: {accepted} {sent}");
        }
        let conditions = Conditions { if_match: Some(&tag), ..Conditions::default() };
        let accepts = Some(&Accepts { encoding: Some("br"), media: None });
        let request_key = key("a");
        let request = FetchRequest { conditions, accepts, ..whole(&request_key) };
        assert!(matches!(cache.fetch(&request, deadline()).await.result, Ok(Fetched::Object(_))), "{name}: If-Match");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_version_has_no_old_copy() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    cache.made("a", "br").await;
    cache.store().put_text("a", "2", 30_000);
    tokio::time::advance(TTL).await;
    assert_eq!(object(&cache.get_accepting("a", "br").await), ("\"2\"", Source::Miss));
    let copy = cache.made("a", "br").await;
    assert_eq!(decoded(&copy), content(&cache.store().objects.lock().unwrap()["a"]));
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_version_keeps_its_copies() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    let copy = cache.made("a", "br").await;
    tokio::time::advance(TTL).await;
    let response = cache.get_accepting("a", "br").await;
    assert_eq!((kind(&response), response.source), (Some(CopyKind::Br), Source::Revalidated));
    let Ok(Fetched::Object(object)) = response.result else { panic!("expected an object") };
    assert_eq!(object, copy);
}

#[tokio::test(start_paused = true)]
async fn new_metadata_reach_the_copies() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    cache.made("a", "br").await;
    cache.store().put_typed("a", "1", 30_000, "text/plain", NEW);
    tokio::time::advance(TTL).await;
    cache.get_accepting("a", "br").await;
    assert_eq!(cache.made("a", "br").await.head.content_type.as_deref(), Some("text/plain"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_does_not_stop_copies() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    cache.made("a", "br").await;
    cache.store().set_failure(Some(Failure::Unavailable));
    tokio::time::advance(TTL).await;
    let response = cache.get_accepting("a", "br").await;
    assert_eq!((kind(&response), response.source), (Some(CopyKind::Br), Source::Stale));
}

#[tokio::test]
async fn only_texts_of_a_useful_size_are_coded() {
    let cache = making();
    cache.store().put_typed("image", "1", 30_000, "image/png", OLD);
    cache.store().put_text("small", "1", 999);
    for name in ["image", "small"] {
        cache.get_accepting(name, "br").await;
        cache.revalidate_stale(deadline()).await;
        assert!(cache.0.index.entry(&key(name)).unwrap().copies.is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_text_beyond_the_caches_limit_gets_a_copy_too() {
    let cache = making();
    cache.store().put_text("a", "1", 1_200_000);
    let copy = cache.made("a", "gzip").await;
    assert_eq!(decoded(&copy), content(&cache.store().objects.lock().unwrap()["a"]));
    cache.requests();
    assert_eq!(kind(&cache.get_accepting("a", "gzip").await), Some(CopyKind::Gzip));
    assert_eq!(cache.requests(), [""; 0], "the copy is in the cache");
}

#[tokio::test]
async fn an_evicted_copy_is_made_again() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    cache.made("a", "br").await;
    let entry = cache.0.index.entry(&key("a")).unwrap();
    for n in 0..40 {
        let name = format!("large{n}");
        cache.store().put(&name, "1", 900_000, "");
        cache.get(&name).await;
    }
    assert!(cache.0.index.copy(&entry.version, CopyKind::Br).is_none(), "evicted");
    assert_eq!(decoded(&cache.made("a", "br").await).len(), 30_000);
    assert!(cache.stats().cached_bytes <= 8 << 20);
}

#[tokio::test]
async fn s3_is_asked_once_for_each_uploaded_copy() {
    let cache = uploading();
    cache.store().put_text("a", "1", 30_000);
    cache.store().put_typed("a.gz", "gz", 9_000, "application/gzip", NEW);
    for _ in 0..2 {
        assert_eq!(kind(&cache.get_accepting("a", "gzip, br, zstd").await), Some(CopyKind::Gzip));
    }
    assert_eq!(object(&cache.get_accepting("a", "br").await).0, "\"1\"", "there is none in Brotli");
    assert_eq!(cache.requests(), ["GET a", "GET a.br", "GET a.zst", "GET a.gz"]);
    let response = cache.get_accepting("a", "gzip").await;
    let Ok(Fetched::Object(copy)) = &response.result else { panic!("expected an object") };
    assert_eq!(copy.head.content_type.as_deref(), Some("text/html"), "the type of the source");
    assert_eq!(copy.body, body(&cache.store().objects.lock().unwrap()["a.gz"]));
}

#[tokio::test]
async fn the_function_makes_copies_that_are_not_uploaded() {
    let cache = cache(&[CopyKind::Br], &[CopyKind::Br], &[]);
    cache.store().put_typed("old", "2", 30_000, "text/html", NEW);
    cache.store().put_typed("old.br", "br", 9_000, "text/html", OLD);
    cache.store().put_text("none", "1", 30_000);
    for name in ["old", "none"] {
        let copy = cache.made(name, "br").await;
        assert_eq!(decoded(&copy), content(&cache.store().objects.lock().unwrap()[name]));
    }
    assert_eq!(cache.requests(), ["GET old", "GET old.br", "GET none", "GET none.br"]);
}

#[tokio::test]
async fn a_small_text_does_not_wait_for_a_large_one() {
    let cache = making();
    cache.store().put_text("large", "1", 1_000_000);
    cache.store().put_text("small", "1", 2_000);
    cache.get_accepting("large", "br").await;
    while cache.0.copy_work.is_idle() {
        cache.revalidate_stale(deadline()).await;
    }
    cache.made("small", "br").await;
    assert_eq!(kind(&cache.get_accepting("large", "br").await), None, "still in work");
    assert_eq!(decoded(&cache.made("large", "br").await).len(), 1_000_000);
}

#[tokio::test]
async fn a_client_that_accepts_nothing_causes_no_question() {
    let cache = uploading();
    cache.store().put_text("a", "1", 30_000);
    cache.store().put_typed("image", "1", 30_000, "image/jpeg", OLD);
    cache.get_accepting("a", "identity").await;
    cache.get_accepting("image", "br").await;
    assert_eq!(cache.requests(), ["GET a", "GET image"]);
    assert_eq!(kind(&cache.get_accepting("a", "br").await), None);
    assert_eq!(cache.requests(), [""; 0], "a hit waits for no question");
    cache.revalidate_stale(deadline()).await;
    assert_eq!(cache.requests(), ["GET a.br"], "asked for the first client that accepts it");
}

#[tokio::test(start_paused = true)]
async fn a_copy_older_than_its_source_is_not_sent() {
    let cache = uploading();
    cache.store().put_typed("same", "2", 30_000, "text/html", NEW);
    cache.store().put_typed("same.br", "br", 9_000, "text/html", NEW);
    assert_eq!(
        kind(&cache.get_accepting("same", "br").await),
        None,
        "in the same second, it may be of an older source"
    );
    cache.store().put_typed("a", "2", 30_000, "text/html", NEW);
    cache.store().put_typed("a.br", "br", 9_000, "text/html", OLD);
    assert_eq!(kind(&cache.get_accepting("a", "br").await), None);
    // The next version of the source has its own copy.
    cache.store().put_typed("a", "3", 30_000, "text/html", OLD);
    cache.store().put_typed("a.br", "br3", 9_000, "text/html", NEW);
    tokio::time::advance(TTL).await;
    assert_eq!(kind(&cache.get_accepting("a", "br").await), Some(CopyKind::Br));
}

#[tokio::test(start_paused = true)]
async fn a_copy_without_a_source_is_not_sent() {
    let cache = uploading();
    cache.store().put_text("a", "1", 30_000);
    cache.store().put_typed("a.br", "br", 9_000, "text/html", NEW);
    assert_eq!(kind(&cache.get_accepting("a", "br").await), Some(CopyKind::Br));
    cache.store().delete("a");
    tokio::time::advance(TTL).await;
    assert!(matches!(error(&cache.get_accepting("a", "br").await), FetchError::Missing(_)));
}

#[tokio::test]
async fn an_unusable_copy_is_not_sent() {
    let cache = uploading();
    cache.store().put_text("a", "1", 30_000);
    cache.store().put_typed("a.br", "br", 30_000, "text/html", NEW);
    assert_eq!(kind(&cache.get_accepting("a", "br").await), None, "not smaller");
    cache.store().put_text("b", "1", 30_000);
    let coded_twice = Metadata {
        etag: Some("\"br\"".into()),
        content_encoding: Some("gzip".into()),
        last_modified: Some(NEW.into()),
        size_bytes: 10,
        ..Metadata::default()
    };
    cache.store().objects.lock().unwrap().insert("b.br".into(), Head::new(coded_twice));
    assert_eq!(kind(&cache.get_accepting("b", "br").await), None, "another coding");
}

#[tokio::test]
async fn an_outage_is_no_answer_about_a_copy() {
    let cache = uploading();
    cache.store().put_text("a", "1", 30_000);
    cache.store().put_typed("a.br", "br", 9_000, "text/html", NEW);
    cache.get("a").await;
    cache.get_accepting("a", "br").await;
    cache.store().set_failure(Some(Failure::Unavailable));
    cache.revalidate_stale(deadline()).await;
    assert_eq!(object(&cache.get_accepting("a", "br").await).0, "\"1\"", "the object itself is cached");
    cache.store().set_failure(None);
    // Ends the backoff.
    cache.get("b").await;
    cache.get_accepting("a", "br").await;
    cache.revalidate_stale(deadline()).await;
    assert_eq!(kind(&cache.get_accepting("a", "br").await), Some(CopyKind::Br));
}

#[tokio::test(start_paused = true)]
async fn a_response_waits_a_moment_for_a_copy_and_a_hit_not_at_all() {
    let cache = Arc::new(uploading());
    cache.store().put_text("a", "1", 30_000);
    cache.store().put_typed("a.br", "br", 9_000, "text/html", NEW);
    let gate = cache.store().close_gate();
    gate.add_permits(1);
    let started = Instant::now();
    assert_eq!(kind(&cache.get_accepting("a", "br").await), None, "S3 does not answer the question");
    assert!(started.elapsed() < Duration::from_secs(5));
    let before = tokio::time::Instant::now();
    assert_eq!(kind(&cache.get_accepting("a", "br").await), None);
    assert_eq!(before.elapsed(), Duration::ZERO, "a hit does not wait");
    gate.add_permits(9);
    cache.revalidate_stale(deadline()).await;
    assert_eq!(kind(&cache.get_accepting("a", "br").await), Some(CopyKind::Br));
}

#[tokio::test]
async fn concurrent_clients_share_the_question_for_a_copy() {
    let cache = uploading();
    cache.store().put_text("a", "1", 30_000);
    cache.store().put_typed("a.br", "br", 9_000, "text/html", NEW);
    let answers = futures_util::future::join_all((0..20).map(|_| cache.get_accepting("a", "br"))).await;
    assert!(answers.iter().all(|answer| kind(answer) == Some(CopyKind::Br)));
    assert_eq!(cache.requests(), ["GET a", "GET a.br"]);
}

#[tokio::test]
async fn a_copy_that_exceeds_the_cache_is_not_fetched_again() {
    let copies = CopiesConfig { uploaded: vec![CopyKind::Br], cpu_millis: 1000, ..CopiesConfig::default() };
    let cache = cache_with(CacheConfig { max_bytes: 200_000, copies, ..config() });
    cache.store().put_text("a", "1", 20 << 20);
    cache.store().put_typed("a.br", "br", 1 << 20, "text/html", NEW);
    for _ in 0..3 {
        assert!(matches!(cache.get_accepting("a", "br").await.result, Ok(Fetched::TooLarge(_))));
    }
    assert_eq!(cache.requests(), ["GET a", "GET a.br"]);
}

#[tokio::test]
async fn the_coding_with_the_highest_weight_is_made_although_another_exists() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    cache.made("a", "gzip").await;
    let end = Instant::now() + Duration::from_secs(30);
    while kind(&cache.get_accepting("a", "br, gzip;q=0.1").await) != Some(CopyKind::Br) {
        assert!(Instant::now() < end, "no copy in Brotli");
        cache.revalidate_stale(deadline()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_holds_the_stored_object_receives_the_copy() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    let copy = cache.made("a", "br").await;
    for age in [Duration::ZERO, TTL] {
        tokio::time::advance(age).await;
        let conditions = Conditions { if_none_match: Some("\"1\""), ..Conditions::default() };
        let accepts = Some(&Accepts { encoding: Some("br"), media: None });
        let request_key = key("a");
        let request = FetchRequest { conditions, accepts, ..whole(&request_key) };
        let Ok(Fetched::Object(object)) = cache.fetch(&request, deadline()).await.result else {
            panic!("expected the copy after {age:?}")
        };
        assert_eq!(object, copy);
    }
}

#[tokio::test]
async fn a_resumed_download_of_a_copy_starts_again() {
    let cache = making();
    cache.store().put_text("a", "1", 30_000);
    let tag = cache.made("a", "br").await.head.etag.clone().unwrap();
    let conditions = Conditions { if_match: Some(&tag), ..Conditions::default() };
    let accepts = Some(&Accepts { encoding: Some("br"), media: None });
    let request_key = key("a");
    let range = Some(ByteRange::From(5));
    let request = FetchRequest { conditions, accepts, range, ..whole(&request_key) };
    assert_eq!(kind(&cache.fetch(&request, deadline()).await), Some(CopyKind::Br), "the whole copy");
}

#[tokio::test]
async fn a_large_text_is_sent_as_its_copy() {
    let cache = uploading();
    cache.store().put_text("a", "1", 20 << 20);
    cache.store().put_typed("a.br", "br", 2 << 20, "text/html", NEW);
    assert!(matches!(cache.get_accepting("a", "identity").await.result, Ok(Fetched::TooLarge(_))));
    for _ in 0..2 {
        assert_eq!(kind(&cache.get_accepting("a", "br").await), Some(CopyKind::Br));
    }
    assert_eq!(cache.requests(), ["GET a", "GET a.br"]);
}

#[tokio::test]
async fn an_image_is_sent_in_the_best_format() {
    let cache = cache(&[CopyKind::Br], &[CopyKind::Br], &[CopyKind::Avif, CopyKind::Webp]);
    cache.store().put_typed("hero.jpg", "1", 30_000, "image/jpeg", OLD);
    cache.store().put_typed("hero.jpg.webp", "w", 12_000, "image/webp", NEW);
    cache.store().put_typed("hero.jpg.avif", "a", 9_000, "binary/octet-stream", NEW);
    let response = cache.get_accepting("hero.jpg", "br").await;
    assert_eq!(kind(&response), Some(CopyKind::Avif));
    let Ok(Fetched::Object(image)) = response.result else { panic!("expected an object") };
    assert_eq!(image.head.content_type.as_deref(), Some("image/avif"));
    assert_eq!(image.head.content_encoding, None);
    assert_eq!(cache.requests(), ["GET hero.jpg", "GET hero.jpg.avif", "GET hero.jpg.webp"]);
}
