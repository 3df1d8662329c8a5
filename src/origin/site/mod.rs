//! The files of the site that configure the origin.
//!
//! - `file`: loads one file and holds its last good version
//! - `definition`, `redirects`, `headers`, `access`: what each file is

mod access;
mod definition;
mod file;
mod headers;
mod redirects;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearedge_core::access::check::Grant;
use nearedge_core::access::known::KnownTokens;
use nearedge_core::access::query::remove;
use nearedge_core::access::rules::AccessRules;
use nearedge_core::experiment::definition::Definition;
use nearedge_core::object::ObjectKey;
use nearedge_core::request::Request;
use nearedge_core::request::visit::Detail;
use nearedge_core::response::Guarded;
use nearedge_core::rules::Tested;
use nearedge_core::rules::headers::Headers;
use nearedge_core::rules::redirects::Redirects;
use nearedge_core::store::Store;

use self::access::Access;
pub(super) use self::definition::Definitions;
pub use self::definition::DefinitionsConfig;
use self::file::SiteFile;
use self::headers::HeadersFormat;
use self::redirects::RedirectsFormat;

/// Which files configure the origin; the default has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SiteConfig {
    /// The definition of experiments.
    pub experiments: Option<DefinitionsConfig>,
    /// The key of the list of redirects.
    pub redirects: Option<ObjectKey>,
    /// The key of the list of headers.
    pub headers: Option<ObjectKey>,
    /// The key of the rules of access.
    pub access: Option<ObjectKey>,
    /// How long a version of the lists and rules is used before it is requested again.
    pub ttl: Duration,
}

/// The files that configure the origin.
#[derive(Debug, Default)]
pub struct Site {
    pub(super) experiments: Option<Definitions>,
    redirects: Option<SiteFile<RedirectsFormat>>,
    headers: Option<SiteFile<HeadersFormat>>,
    access: Option<Access>,
}

/// The active versions of the files.
#[derive(Debug, Default)]
pub(super) struct ActiveFiles {
    pub(super) definition: Option<Arc<Definition>>,
    pub(super) redirects: Option<Arc<Redirects>>,
    pub(super) headers: Option<Arc<Headers>>,
    /// The rules of access, which may be missing, if there is a file for them.
    pub(super) access: Option<Option<Arc<AccessRules>>>,
}

impl Site {
    /// Loads nothing yet.
    pub fn new(config: SiteConfig) -> Self {
        let SiteConfig { experiments, redirects, headers, access, ttl } = config;
        Self {
            experiments: experiments.map(Definitions::new),
            redirects: redirects.map(|key| SiteFile::new(key, ttl, RedirectsFormat::default())),
            headers: headers.map(|key| SiteFile::new(key, ttl, HeadersFormat::default())),
            access: access.map(|key| Access::new(key, ttl)),
        }
    }

    /// Whether no file configures the origin.
    pub fn is_empty(&self) -> bool {
        let Self { experiments, redirects, headers, access } = self;
        experiments.is_none() && redirects.is_none() && headers.is_none() && access.is_none()
    }

    /// Loads all files at once.
    pub async fn load<S: Store>(&self, store: &S, deadline: Instant) {
        let experiments = async {
            if let Some(file) = &self.experiments {
                file.load(store, deadline).await;
            }
        };
        let redirects = async {
            if let Some(file) = &self.redirects {
                file.load(store, deadline).await;
            }
        };
        let headers = async {
            if let Some(file) = &self.headers {
                file.load(store, deadline).await;
            }
        };
        let access = async {
            if let Some(file) = &self.access {
                file.load(store, deadline).await;
            }
        };
        tokio::join!(experiments, redirects, headers, access);
    }

    /// Loads the files that are due. A load takes at most half a second, and ends before `deadline`.
    pub(super) async fn reload<S: Store>(&self, store: &S, deadline: Instant) {
        if let Some(file) = &self.experiments {
            file.reload(store, deadline).await;
        }
        if let Some(file) = &self.redirects {
            file.reload(store, deadline).await;
        }
        if let Some(file) = &self.headers {
            file.reload(store, deadline).await;
        }
        if let Some(file) = &self.access {
            file.reload(store, deadline).await;
        }
    }

    /// The active versions.
    pub(super) fn active(&self) -> ActiveFiles {
        ActiveFiles {
            definition: self.experiments.as_ref().and_then(Definitions::active),
            redirects: self.redirects.as_ref().and_then(SiteFile::active),
            headers: self.headers.as_ref().and_then(SiteFile::active),
            access: self.access.as_ref().map(Access::active),
        }
    }

    /// The tokens that were verified before.
    pub(super) fn known_tokens(&self) -> Option<&KnownTokens> {
        self.access.as_ref().map(|access| &access.known)
    }

    /// Which fields of a request the active files need beside those of every request.
    pub(super) fn detail(&self) -> Option<Detail> {
        let of_redirects = self.redirects.as_ref().is_some_and(|file| file.format.needs_visit());
        let of_headers = self.headers.as_ref().is_some_and(|file| file.format.needs_visit());
        let of_rules = (self.access.is_some() || of_redirects || of_headers).then_some(Detail::Viewer);
        self.experiments.as_ref().map(Definitions::detail).max(of_rules)
    }

    /// How many loads have failed since the start.
    pub(super) fn errors(&self) -> u64 {
        self.experiments.as_ref().map_or(0, Definitions::errors)
            + self.redirects.as_ref().map_or(0, SiteFile::errors)
            + self.headers.as_ref().map_or(0, SiteFile::errors)
            + self.access.as_ref().map_or(0, Access::errors)
    }
}

impl ActiveFiles {
    /// The request without the parameters that carry tokens and signatures of links; `None` if it has none.
    pub(super) fn without_tokens<'a>(&self, request: &Request<'a>) -> Option<Request<'a>> {
        let rules = self.access.as_ref()?.as_ref()?;
        if request.query.is_empty() {
            return None;
        }
        match remove(&request.query, &rules.parameters(&request.path)) {
            Cow::Borrowed(_) => None,
            Cow::Owned(query) => Some(Request { query: Cow::Owned(query), ..request.clone() }),
        }
    }

    /// The parts of a response that depend on the viewer: by rules of access, or by the facts that conditions of redirects tested.
    pub(super) fn guarded(&self, grant: Option<&mut Grant<'_>>, tested: Tested) -> Option<Guarded<'_>> {
        let rules = self.access.as_ref().and_then(Option::as_ref);
        let mut guarded = match grant.zip(rules) {
            None if tested.is_empty() => return None,
            None => Guarded::default(),
            Some((grant, rules)) => Guarded {
                private: true,
                no_store: grant.no_store,
                vary: rules.vary().into(),
                cookies: std::mem::take(&mut grant.set_cookies),
            },
        };
        let Tested { country, language, cookie, role } = tested;
        // A role is that of a token, so that the names are those of the rules of access.
        guarded.private |= cookie | role;
        let names = [("cloudfront-viewer-country", country), ("accept-language", language), ("cookie", cookie)];
        for (name, is_tested) in names {
            if is_tested && !guarded.vary.contains(name) {
                let vary = guarded.vary.to_mut();
                vary.push_str(if vary.is_empty() { "" } else { ", " });
                vary.push_str(name);
            }
        }
        Some(guarded)
    }
}
