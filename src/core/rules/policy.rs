//! The settings of the rules.

use crate::access::secret::{SecretMatch, Secrets};
use crate::object::sources_of_copy;
use crate::request::Request;
use crate::request::door::Door;
use crate::rules::html::HtmlHandling;

/// The settings of the rules, prepared once at the start.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The accepted secrets.
    pub secrets: Secrets,
    /// Whether a caller of the function URL whom IAM has authenticated needs no secret.
    pub trusts_iam: bool,
    /// The start of a Location, such as `https://dxxxx.cloudfront.net`, without a trailing `/`.
    pub redirect_path: String,
    /// Whether a Location keeps the request's query string.
    pub redirect_query: bool,
    /// The existing variants; `None` lets every well-formed one through to S3.
    pub test_versions: Option<Vec<String>>,
    /// Whether an object that is missing from the variant is served from the unversioned key.
    pub variant_fallback: bool,
    /// The document of a path that ends in `/`, such as `index.html`.
    pub index_document: String,
    /// The shell of a single-page application: the document for navigations without an object.
    pub spa_fallback: Option<String>,
    /// Whether a path with an extension can be a navigation of a single-page application too.
    pub spa_fallback_dots: bool,
    /// How pages are addressed.
    pub html_handling: HtmlHandling,
    /// The keys of the files that configure the origin, which are never served.
    pub hidden: Vec<String>,
}

impl Policy {
    /// A policy with the defaults of all other settings.
    pub fn new(secrets: Secrets, redirect_path: impl Into<String>) -> Self {
        Self {
            secrets,
            trusts_iam: false,
            redirect_path: redirect_path.into(),
            redirect_query: false,
            test_versions: None,
            variant_fallback: false,
            index_document: "index.html".to_owned(),
            spa_fallback: None,
            spa_fallback_dots: false,
            html_handling: HtmlHandling::None,
            hidden: Vec::new(),
        }
    }

    /// How a request shows that it comes from the distribution; `None` if it does not.
    pub fn authenticate(&self, request: &Request<'_>) -> Option<SecretMatch> {
        if self.trusts_iam && request.door == (Door::FunctionUrl { by_iam: true }) {
            return Some(SecretMatch::Iam);
        }
        request.lambda_auth.as_deref().and_then(|presented| self.secrets.matches(presented))
    }

    /// The usual address of the site, such as `https://dxxxx.cloudfront.net`: `redirect_path` without its path.
    pub fn site(&self) -> &str {
        let host = self.redirect_path.find("://").map_or(0, |at| at + 3);
        let end = self.redirect_path[host..].find('/').map_or(self.redirect_path.len(), |at| host + at);
        &self.redirect_path[..end]
    }

    /// Whether an object is never served: a file that configures the origin, or a copy of one.
    pub fn is_hidden(&self, key: &str) -> bool {
        let is_listed = |key: &str| self.hidden.iter().any(|hidden| hidden == key);
        !self.hidden.is_empty() && (is_listed(key) || sources_of_copy(key).any(is_listed))
    }
}
