//! The inputs of a decision beside the request and the settings: the active files of the site.

use std::borrow::Cow;
use std::fmt;

use crate::access::credentials::Credentials;
use crate::access::known::KnownTokens;
use crate::access::rules::AccessRules;
use crate::experiment::assign::Experiments;
use crate::rules::redirects::Redirects;

/// The active files of the site; the default has none.
#[derive(Clone, Copy, Default)]
pub struct Active<'a> {
    /// The experiments.
    pub experiments: Option<Experiments<'a>>,
    /// The list of redirects.
    pub redirects: Option<&'a Redirects>,
    /// The rules of access.
    pub access: Option<AccessControl<'a>>,
    /// The viewer; `None` if no file needs more of the request than its path and query.
    pub viewer: Option<&'a dyn Viewer>,
}

/// The rules of access, and what checking them needs.
#[derive(Debug, Clone, Copy)]
pub struct AccessControl<'a> {
    /// The rules; `None` if no version of the file can be used, so that every request is refused.
    pub rules: Option<&'a AccessRules>,
    /// The tokens that were verified before.
    pub known: &'a KnownTokens,
    /// The current time, in Unix seconds.
    pub now: u64,
}

/// The facts about a viewer that the files of a site use, each read when it is needed.
pub trait Viewer: Credentials + Sync {
    /// The host that the viewer requested.
    fn host(&self) -> Cow<'_, str>;
    /// The country as an ISO 3166-1 alpha-2 code, such as `CN`.
    fn country(&self) -> Option<Cow<'_, str>>;
    /// The value of Accept-Language.
    fn language(&self) -> Option<Cow<'_, str>>;
}

impl fmt::Debug for Active<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Active").finish_non_exhaustive()
    }
}
