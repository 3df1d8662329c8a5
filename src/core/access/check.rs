//! Decides whether a request may have its object.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::access::credentials::Credentials;
use crate::access::jwt::error::TokenError;
use crate::access::jwt::{Claims, TokenRule};
use crate::access::known::KnownTokens;
use crate::access::query;
use crate::access::rules::{AccessRules, Guards, Rule, RuleKind, Target, Versions, consumed_parameters};
use crate::access::signed_url::{LinkError, LinkRule};

/// The most tokens of a request that are verified.
const TOKENS_MAX: usize = 4;

/// The most cookies of one name that are verified as sessions of links.
const SESSIONS_MAX: usize = 4;

/// The result for one request.
#[derive(Debug)]
pub enum Verdict<'r> {
    /// No rule guards the request.
    Open,
    /// The request satisfies its rules.
    Granted(Grant<'r>),
    /// The request does not satisfy a rule.
    Denied(Denial),
}

/// The permissions of a request that satisfies its rules.
pub struct Grant<'r> {
    /// The claims of the token of the first rule with one.
    pub claims: Option<Arc<Claims>>,
    /// When the first of the tokens and links expires, in Unix seconds; at least one second from now.
    pub expires: u64,
    /// Whether the response is `no-store` instead of `private`.
    pub no_store: bool,
    /// The Set-Cookie fields of sessions that links open.
    pub set_cookies: Vec<String>,
    /// The parameters to remove from the query before further processing.
    pub consumed_parameters: SmallVec<[&'r str; 2]>,
}

/// Shows no session.
impl fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant")
            .field("claims", &self.claims)
            .field("expires", &self.expires)
            .field("no_store", &self.no_store)
            .field("set_cookies", &self.set_cookies.len())
            .field("consumed_parameters", &self.consumed_parameters)
            .finish()
    }
}

/// Why a request is denied. Only `response` maps this to status codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It has no token: 401, or 302 to the login page.
    MissingToken {
        /// The URL of the login page, for a navigation.
        login: Option<String>,
    },
    /// Its token is refused: 401, or 302 to the login page.
    InvalidToken {
        /// The reason.
        error: TokenError,
        /// The URL of the login page, for a navigation.
        login: Option<String>,
    },
    /// Its token lacks a required claim: 403.
    InsufficientScope,
    /// It has neither a link nor a session: 403.
    MissingSignature,
    /// Its link or session is invalid: 403.
    InvalidSignature,
    /// Its link or session has expired: 410.
    Expired,
    /// The object holds keys and is never served: 404.
    Hidden,
    /// The keys of the rule are not loaded: 503.
    Unavailable,
}

impl Denial {
    /// The field WWW-Authenticate (RFC 6750 §3); `None` where no token is expected.
    ///
    /// A request without a token gets no error code (RFC 6750 §3.1).
    pub fn challenge(&self) -> Option<String> {
        let error = match self {
            Self::MissingToken { .. } => return Some("Bearer realm=\"nearedge\"".to_owned()),
            Self::InvalidToken { error, .. } => *error,
            Self::InsufficientScope => TokenError::Requirement,
            _ => return None,
        };
        let (code, description) = (error.code(), error.description());
        Some(format!("Bearer realm=\"nearedge\", error=\"{code}\", error_description=\"{description}\""))
    }
}

impl AccessRules {
    /// Decides whether a request may have one of its objects, at a time in Unix seconds.
    ///
    /// The first target is the path of the request, which links sign. The others are what experiments, redirect rules and
    /// HTML handling make of it: every object that the response may contain.
    pub fn check<'r>(
        &'r self,
        targets: &[Target<'_>],
        versions: Versions<'_>,
        credentials: &dyn Credentials,
        known: &KnownTokens,
        now: u64,
    ) -> Verdict<'r> {
        let mut guards = Guards::new();
        targets.iter().for_each(|target| self.add_guards(*target, versions, &mut guards));
        if guards.is_empty() {
            return Verdict::Open;
        }
        let path = targets.first().map_or("/", |target| target.path);
        match self.satisfy(&guards, path, credentials, known, now) {
            Ok(grant) => Verdict::Granted(grant),
            Err(denial) => Verdict::Denied(denial),
        }
    }

    /// Checks the rules that guard a request, at a time in Unix seconds; links sign `path`.
    ///
    /// # Errors
    /// With the reason of the first rule that the request does not satisfy.
    pub fn satisfy<'r>(
        &'r self,
        guards: &[&'r Rule],
        path: &str,
        credentials: &dyn Credentials,
        known: &KnownTokens,
        now: u64,
    ) -> Result<Grant<'r>, Denial> {
        Request { rules: self, path, credentials, known, now }.satisfy(guards)
    }
}

/// A request, and what is known beside it.
struct Request<'r, 'c> {
    rules: &'r AccessRules,
    path: &'c str,
    credentials: &'c dyn Credentials,
    known: &'c KnownTokens,
    now: u64,
}

impl<'r> Request<'r, '_> {
    /// Checks every rule. The first one that is not satisfied decides.
    fn satisfy(&self, guards: &[&'r Rule]) -> Result<Grant<'r>, Denial> {
        let mut grant = Grant {
            claims: None,
            expires: u64::MAX,
            no_store: guards.iter().any(|rule| rule.no_store),
            set_cookies: Vec::new(),
            consumed_parameters: consumed_parameters(guards),
        };
        for rule in guards {
            let expires = match &rule.kind {
                RuleKind::Token(token) => {
                    let claims = self.find_token(rule, token, &grant.consumed_parameters)?;
                    let expires = claims.expires();
                    grant.claims.get_or_insert(claims);
                    expires
                }
                RuleKind::Link(link) => self.find_link(link, &mut grant.set_cookies)?,
                RuleKind::Hidden => return Err(Denial::Hidden),
                RuleKind::Open => continue,
            };
            grant.expires = grant.expires.min(expires);
        }
        // The leeway accepts a token for some seconds after its expiry.
        grant.expires = grant.expires.max(self.now.saturating_add(1));
        Ok(grant)
    }

    /// The claims of the first token that the rule accepts, in the order of `from`.
    ///
    /// Every place is tried, so that a stale cookie does not hide a valid header. If no token is accepted, the first error
    /// decides; but a token that only lacks a claim is an answer, and others are none.
    fn find_token(&self, rule: &'r Rule, token: &TokenRule, consumed: &[&str]) -> Result<Arc<Claims>, Denial> {
        if !token.is_complete() {
            return Err(Denial::Unavailable);
        }
        let mut first_error = None;
        let mut left = TOKENS_MAX;
        for source in token.sources() {
            let tokens = match source.tokens(self.credentials) {
                Ok(tokens) => tokens,
                Err(error) => {
                    first_error.get_or_insert(error);
                    continue;
                }
            };
            for text in tokens.iter().take(left) {
                left -= 1;
                match self.verify(rule, token, text) {
                    Ok(claims) => return Ok(claims),
                    Err(TokenError::Requirement) => first_error = Some(TokenError::Requirement),
                    Err(error) => {
                        first_error.get_or_insert(error);
                    }
                }
            }
        }
        let login = || {
            let url = self.credentials.page_url()?;
            rule.login.as_ref().map(|login| login.location(&url, consumed))
        };
        Err(match first_error {
            None => Denial::MissingToken { login: login() },
            Some(TokenError::Requirement) => Denial::InsufficientScope,
            Some(error) => Denial::InvalidToken { error, login: login() },
        })
    }

    fn verify(&self, rule: &Rule, token: &TokenRule, text: &str) -> Result<Arc<Claims>, TokenError> {
        let generation = self.rules.generation();
        if let Some(claims) = self.known.get(generation, rule.id, text) {
            token.check_times(&claims, self.now)?;
            return Ok(claims);
        }
        let claims = Arc::new(token.verify(text, self.now)?);
        self.known.insert(generation, rule.id, text, &claims);
        Ok(claims)
    }

    /// Finds a valid link or the valid session of one. Returns when it expires.
    fn find_link(&self, link: &LinkRule, set_cookies: &mut Vec<String>) -> Result<u64, Denial> {
        let mut values = query::values(self.credentials.query(), link.parameter());
        let by_link = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => Some(link.check_link(&value, self.path, self.now)),
            (Some(_), Some(_)) => Some(Err(LinkError::Invalid)),
        };
        let sessions = link.cookie().map(|name| self.credentials.cookies(name)).unwrap_or_default();
        let sessions = sessions.iter().take(SESSIONS_MAX).map(|value| link.check_cookie(value, self.now));
        // The session that lasts longest; otherwise the expired one tells more than the invalid one.
        let by_session = sessions.max_by_key(|session| match session {
            Ok(seconds) => (2, *seconds),
            Err(LinkError::Expired) => (1, 0),
            Err(LinkError::Invalid) => (0, 0),
        });
        match (by_link, by_session) {
            (Some(Ok(seconds)), session) => {
                if !session.is_some_and(|session| session.is_ok_and(|opened| opened >= seconds)) {
                    set_cookies.extend(link.set_cookie(seconds));
                }
                Ok(link.expires(seconds))
            }
            (_, Some(Ok(seconds))) => Ok(link.expires(seconds)),
            (Some(Err(LinkError::Expired)), _) | (None, Some(Err(LinkError::Expired))) => Err(Denial::Expired),
            (None, None) => Err(Denial::MissingSignature),
            (Some(Err(LinkError::Invalid)), _) | (None, Some(Err(LinkError::Invalid))) => Err(Denial::InvalidSignature),
        }
    }
}
