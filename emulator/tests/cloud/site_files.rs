//! Files of rules that are missing, broken, slow, or replaced under load: no guarded byte without a link.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use emulator::cloud::Options;
use emulator::fault::{Fault, Faults, S3Fault};
use http::StatusCode;
use nearedge_core::access::signed_url::sign;

use crate::site_rules::{ACCESS, HEADERS, KEY, REDIRECTS, get, now, options, site};
use crate::support::{TestCloud, start, start_with};
use crate::visitor::eventually;

/// The files, and what their log lines call them.
const FILES: [(&str, &str, &str, &str); 3] = [
    ("_redirects", REDIRECTS, "redirects", "list"),
    ("_headers", HEADERS, "headers", "list"),
    ("access.json", ACCESS, "access", "file"),
];

fn files() -> tempfile::TempDir {
    site(&FILES.map(|(name, text, ..)| (name, text)))
}

fn link() -> String {
    format!("/files/a.txt?verify={}", sign(KEY, "/files/a.txt", now()))
}

/// The rules of all three files apply.
async fn expect_rules(cloud: &TestCloud, what: &str) {
    assert_eq!(get(cloud, "/old", &[]).await.status, StatusCode::MOVED_PERMANENTLY, "{what}");
    assert_eq!(get(cloud, "/", &[]).await.header("x-frame-options"), "DENY", "{what}");
    assert_eq!(get(cloud, "/files/a.txt", &[]).await.status, StatusCode::FORBIDDEN, "{what}");
    assert_eq!(get(cloud, &link(), &[]).await.text(), "files/a.txt", "{what}");
}

/// Sends requests until a line of the log, after the first `from` ones, contains all of `parts`.
async fn expect_log(cloud: &TestCloud, from: usize, parts: &[&str]) {
    eventually(&parts.join(" … "), async || {
        get(cloud, "/", &[]).await;
        cloud.journal.lines().iter().skip(from).any(|line| parts.iter().all(|part| line.contains(part)))
    })
    .await;
}

#[tokio::test]
async fn a_file_that_becomes_unusable_leaves_its_last_good_version_active() {
    let site = files();
    let cloud = start(options(site.path(), &[])).await;
    expect_rules(&cloud, "at the start").await;
    for (name, text, setting, noun) in FILES {
        let path = site.path().join(name);
        let cannot = format!("{setting}: the {noun} cannot be used, and the last good {noun} stays active: ");
        for (what, broken, reason) in [
            ("missing", None, "the object does not exist, or the role may not read it: upload it, "),
            ("no text", Some(&b"\xff"[..]), "it is not UTF-8: save it as UTF-8"),
        ] {
            let before = cloud.journal.lines().len();
            match broken {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            expect_log(&cloud, before, &[&format!("{cannot}{reason}"), "\"level\":\"ERROR\""]).await;
            expect_log(&cloud, before, &["\"DefinitionErrors\":"]).await;
            expect_rules(&cloud, &format!("{name}: {what}")).await;
            std::fs::write(&path, text).unwrap();
            expect_log(&cloud, before, &[&format!("{setting}: the {noun} can be used again")]).await;
            expect_rules(&cloud, &format!("{name}: repaired")).await;
        }
    }
    cloud.shut_down().await;
}

#[tokio::test]
async fn a_slow_s3_leaves_all_rules_active() {
    let site = files();
    let cloud = start(options(site.path(), &[])).await;
    expect_rules(&cloud, "at the start").await;
    let before = cloud.journal.lines().len();
    cloud.cloud.faults.set(vec!["s3-latency=800".parse::<Fault>().unwrap()]);
    expect_log(&cloud, before, &["access: the file cannot be used", "no response from S3 within"]).await;
    assert_eq!(get(&cloud, "/old", &[]).await.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(get(&cloud, "/files/a.txt", &[]).await.status, StatusCode::FORBIDDEN);
    cloud.cloud.faults.set(Vec::new());
    expect_rules(&cloud, "afterwards").await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn an_environment_that_starts_without_s3_opens_nothing_and_recovers() {
    let site = files();
    let faults = Faults::default();
    faults.set_s3(Some(S3Fault::Hang));
    let cloud = start_with(options(site.path(), &[]), faults).await;
    for path in ["/files/a.txt", "/old", "/files/free.txt"] {
        assert_eq!(get(&cloud, path, &[]).await.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
    }
    cloud.cloud.faults.set_s3(None);
    eventually("the rules apply", async || get(&cloud, "/files/free.txt", &[]).await.status == StatusCode::OK).await;
    eventually("all rules apply", async || get(&cloud, "/old", &[]).await.status == StatusCode::MOVED_PERMANENTLY)
        .await;
    expect_rules(&cloud, "afterwards").await;
    cloud.shut_down().await;
}

#[tokio::test]
async fn files_replaced_under_load_open_no_guarded_path() {
    let site = files();
    let cloud = start(Options { environments: 4, freeze: false, ..options(site.path(), &[]) }).await;
    let (stop, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = (0..8).map(|_| async {
        while !stop.load(Ordering::SeqCst) {
            for (path, allowed) in [
                ("/files/a.txt", &[403, 503][..]),
                ("/v1/files/a.txt", &[403, 503]),
                ("/files//a.txt", &[403, 503]),
                (&*link(), &[200, 503]),
                ("/app/cart", &[200, 404, 503]),
            ] {
                let response = get(&cloud, path, &[]).await;
                let status = response.status.as_u16();
                assert!(allowed.contains(&status), "{path}: {status} {}", response.text());
                assert!(status == 200 || !response.text().contains("files/a.txt\n"), "{path}: {}", response.text());
                requests.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let wider = ACCESS.replace("\"/files/free.txt\"", "\"/files/other.txt\"");
    let changes = async {
        for round in 0..30 {
            for (name, text, ..) in FILES {
                let path = site.path().join(name);
                match round % 5 {
                    0 => std::fs::write(&path, b"\xff").unwrap(),
                    1 if path.exists() => std::fs::remove_file(&path).unwrap(),
                    2 if name == "access.json" => std::fs::write(&path, &wider).unwrap(),
                    _ => std::fs::write(&path, text).unwrap(),
                }
            }
            let before = requests.load(Ordering::SeqCst);
            eventually("more requests", async || {
                tokio::task::yield_now().await;
                requests.load(Ordering::SeqCst) > before + 20
            })
            .await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    tokio::join!(futures_util::future::join_all(clients), changes);
    cloud.shut_down().await;
}
