//! Browsers with cookie jars, and a site with a test for them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use emulator::cloud::{Options, Storage};
use emulator::s3::MissingKey;
use emulator::serve::{self, HttpClient};
use http::{Method, Request};
use http_body_util::BodyExt;

use crate::support::{FREE_PORT, TestCloud, TestResponse, start, with_env};

/// The user agent of a browser on a desktop.
pub(crate) const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";

/// The cookie with the id.
pub(crate) const ID: &str = "nearedge";

/// The cookie with the assignments.
pub(crate) const ASSIGNMENTS: &str = "nearedge_v";

/// What a browser fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fetch {
    /// A page, by navigation.
    Page,
    /// A page in an iframe.
    Frame,
    /// A page in advance.
    Prefetch,
    /// A style sheet, a picture or a script.
    Asset,
    /// A request of a script.
    Script,
}

impl Fetch {
    fn headers(self) -> &'static [(&'static str, &'static str)] {
        const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        match self {
            Self::Page => &[("sec-fetch-dest", "document"), HTML],
            Self::Frame => &[("sec-fetch-dest", "iframe"), HTML],
            Self::Prefetch => &[("sec-fetch-dest", "document"), ("sec-purpose", "prefetch;prerender"), HTML],
            Self::Asset => &[("sec-fetch-dest", "image"), ("accept", "image/avif,*/*;q=0.8")],
            Self::Script => &[("sec-fetch-dest", "empty"), ("accept", "*/*")],
        }
    }
}

/// A browser.
#[derive(Debug, Clone, Default)]
pub(crate) struct Browser {
    /// The cookies, by name.
    pub(crate) jar: BTreeMap<String, String>,
    /// Header fields of every request, such as the viewer's country.
    pub(crate) headers: Vec<(String, String)>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self::with_user_agent(CHROME)
    }

    pub(crate) fn with_user_agent(user_agent: &str) -> Self {
        Self { jar: BTreeMap::new(), headers: vec![("user-agent".to_owned(), user_agent.to_owned())] }
    }

    /// The same browser with a header field.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The value of a cookie; empty if there is none.
    pub(crate) fn cookie(&self, name: &str) -> &str {
        self.jar.get(name).map_or("", String::as_str)
    }

    /// The variation of an experiment of version 0; empty without an assignment.
    pub(crate) fn variation(&self, experiment: &str) -> &str {
        let prefix = format!("{experiment}__0.");
        self.cookie(ASSIGNMENTS).split('~').find_map(|pair| pair.strip_prefix(&*prefix)).unwrap_or("")
    }

    /// The headers of a request.
    fn request_headers(&self, fetch: Fetch) -> Vec<(String, String)> {
        let own = fetch.headers().iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let cookies: Vec<String> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = (!cookies.is_empty()).then(|| ("cookie".to_owned(), cookies.join("; ")));
        self.headers.iter().cloned().chain(own).chain(cookies).collect()
    }

    /// Requests a path from the CDN, with these headers in addition, and keeps the cookies of the response.
    pub(crate) async fn send(
        &mut self,
        cloud: &TestCloud,
        (method, path, fetch): (Method, &str, Fetch),
        more: &[(&str, &str)],
    ) -> TestResponse {
        let headers = self.request_headers(fetch);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let url = format!("http://{}{path}", cloud.cloud.edge);
        let response = cloud.send(method, &url, &[&headers, more].concat()).await;
        self.keep(&response);
        response
    }

    /// Gets a path from the CDN.
    pub(crate) async fn get(&mut self, cloud: &TestCloud, path: &str, fetch: Fetch) -> TestResponse {
        self.send(cloud, (Method::GET, path, fetch), &[]).await
    }

    /// Navigates to a path of the CDN.
    pub(crate) async fn navigate(&mut self, cloud: &TestCloud, path: &str) -> TestResponse {
        self.get(cloud, path, Fetch::Page).await
    }

    /// Navigates to a URL.
    pub(crate) async fn open(&mut self, client: &HttpClient, url: &str, fetch: Fetch) -> TestResponse {
        let mut request = Request::get(url);
        for (name, value) in self.request_headers(fetch) {
            request = request.header(name, value);
        }
        let response = client.request(request.body(serve::full(Bytes::new())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let response = TestResponse { status: parts.status, headers: parts.headers, body };
        self.keep(&response);
        response
    }

    /// Keeps the cookies of a response, or drops those with Max-Age=0.
    fn keep(&mut self, response: &TestResponse) {
        for cookie in set_cookies(response) {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// The values of Set-Cookie.
pub(crate) fn set_cookies(response: &TestResponse) -> Vec<&str> {
    response.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect()
}

/// A site with the variants v1 and v2, in which the content of each object is its key, and a definition.
pub(crate) struct Laboratory {
    pub(crate) site: tempfile::TempDir,
    definition: tempfile::TempDir,
}

impl Laboratory {
    /// A laboratory with this definition; without one if it is empty.
    pub(crate) fn new(definition: &str) -> Self {
        let site = tempfile::tempdir().unwrap();
        for folder in ["", "v1/", "v2/", "v3/"] {
            std::fs::create_dir_all(site.path().join(folder)).unwrap();
            for file in ["index.html", "page.html", "style.css", "logo.png"] {
                let key = format!("{folder}{file}");
                std::fs::write(site.path().join(&key), &key).unwrap();
            }
        }
        let laboratory = Self { site, definition: tempfile::tempdir().unwrap() };
        if !definition.is_empty() {
            laboratory.define(definition);
        }
        laboratory
    }

    /// Replaces the definition.
    pub(crate) fn define(&self, definition: impl AsRef<[u8]>) {
        let written = self.definition.path().join("written");
        std::fs::write(&written, definition).unwrap();
        std::fs::rename(written, self.file()).unwrap();
    }

    /// Removes the definition.
    pub(crate) fn undefine(&self) {
        std::fs::remove_file(self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.definition.path().join("experiments.json")
    }

    /// Options of a cloud with this site and these settings, of which two differ from the function's defaults: cookies are
    /// sent over http, and objects are always revalidated.
    pub(crate) fn options(&self, env: &[(&str, &str)]) -> Options {
        let storage = Storage::Folder {
            site: self.site.path().to_owned(),
            address: FREE_PORT,
            missing_key: MissingKey::NoSuchKey,
        };
        let env: Vec<_> = [("experiments_preview", "false")].into_iter().chain(env.iter().copied()).collect();
        Options { storage, experiments: Some(self.file()), ..with_env(&env) }
    }

    /// Starts a cloud with this site and these settings.
    pub(crate) async fn start(&self, env: &[(&str, &str)]) -> TestCloud {
        start(self.options(env)).await
    }
}

/// Repeats an action until it returns true; fails after ten seconds.
pub(crate) async fn eventually(what: &str, mut action: impl AsyncFnMut() -> bool) {
    let repeated = async { while !action().await {} };
    assert!(tokio::time::timeout(Duration::from_secs(10), repeated).await.is_ok(), "after 10 s: not yet: {what}");
}
