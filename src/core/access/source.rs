//! Where a request carries a token: the member `from`.

use std::borrow::Cow;
use std::fmt;

use smallvec::SmallVec;

use crate::access::credentials::Credentials;
use crate::access::jwt::error::TokenError;
use crate::access::query;
use crate::problem::Problems;

/// A place of a request that may hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A header, by its name in lower case. `authorization` holds `Bearer TOKEN`, others the token alone.
    Header(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// A parameter of the query.
    Query(Box<str>),
}

/// The tokens of a place.
pub(super) type Tokens<'a> = SmallVec<[Cow<'a, str>; 1]>;

impl Source {
    /// Parses `header:NAME`, `cookie:NAME` or `query:NAME`; records problems.
    pub(super) fn read(text: &str, problems: &mut Problems) -> Option<Self> {
        let source = match text.split_once(':') {
            Some(("header", name)) if is_token(name) => Some(Self::Header(name.to_ascii_lowercase().into())),
            Some(("cookie", name)) if is_token(name) => Some(Self::Cookie(name.into())),
            Some(("query", name)) if is_parameter(name) => Some(Self::Query(name.into())),
            _ => None,
        };
        if source.is_none() {
            problems.reject(
                "expected header:NAME, cookie:NAME or query:NAME",
                "write such as header:authorization, cookie:token or query:token",
            );
        }
        source
    }

    /// The tokens at this place, in the request's order.
    ///
    /// A header and a parameter hold one token: several are a request that two parsers read in two ways (RFC 6750 §3.1). A
    /// browser sends several cookies of one name if their paths or domains differ (RFC 6265 §5.4), so these are all tried.
    pub(super) fn tokens<'a>(&self, credentials: &'a dyn Credentials) -> Result<Tokens<'a>, TokenError> {
        match self {
            Self::Header(name) => {
                let Some(value) = credentials.header(name) else { return Ok(Tokens::new()) };
                // API Gateway joins repeated fields with a comma, which no token contains.
                if value.contains(',') {
                    return Err(TokenError::Repeated);
                }
                let is_bearer = &**name == "authorization";
                let token = match value {
                    Cow::Borrowed(value) => token(value, is_bearer).map(Cow::Borrowed),
                    Cow::Owned(value) => token(&value, is_bearer).map(|token| Cow::Owned(token.to_owned())),
                };
                Ok(token.filter(|token| !token.is_empty()).into_iter().collect())
            }
            Self::Cookie(name) => {
                let values = credentials.cookies(name);
                Ok(values.into_iter().filter(|value| !value.is_empty()).map(Cow::Borrowed).collect())
            }
            Self::Query(name) => {
                let tokens: Tokens<'_> = query::values(credentials.query(), name).collect();
                if tokens.len() > 1 { Err(TokenError::Repeated) } else { Ok(tokens) }
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Header(name) => ("header", name),
            Self::Cookie(name) => ("cookie", name),
            Self::Query(name) => ("query", name),
        };
        write!(f, "{kind}:{name}")
    }
}

/// The token in the value of a header.
fn token(value: &str, is_bearer: bool) -> Option<&str> {
    if is_bearer { bearer(value) } else { Some(value.trim_ascii()) }
}

/// The token of `Bearer TOKEN`; `None` for another scheme, whose credentials are not for this origin (RFC 6750 §2.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim_ascii().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_ascii_start())
}

/// Whether a text is a token of RFC 9110 §5.6.2, as names of headers and cookies are.
pub(super) fn is_token(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Whether a text is the plain name of a parameter: unreserved characters (RFC 3986 §2.3).
pub(super) fn is_parameter(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (1..=128).contains(&name.len()) && name.bytes().all(is_allowed)
}
