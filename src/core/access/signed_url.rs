//! Signed URLs: the member `signed_url` of a rule.
//!
//! A link carries `PARAMETER=SECONDS-MAC`: the time of signing in Unix seconds, and the unpadded base64url of
//! HMAC-SHA256(key, path + seconds), of the decoded path with its leading slash.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use ring::hmac;

use crate::access::source::{is_parameter, is_token};
use crate::access::{base64url, member};
use crate::experiment::value::Value;
use crate::problem::Problems;

/// The shortest key, in bytes.
pub const KEY_BYTES_MIN: usize = 16;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;

/// The longest validity: a year.
const TTL_SECS_MAX: u32 = 366 * 24 * 3600;

/// How far the clock of the signer may be ahead.
const AHEAD_SECS: u64 = 30;

/// Starts the message of a cookie's MAC. A message of a link starts with `/`, so neither is valid as the other.
const COOKIE_DOMAIN: &str = "cookie\0";

/// Characters that a cookie's `Path` cannot contain, and those that a URL's path has encoded (RFC 6265 §4.1.1, RFC 3986 §3.3).
const PATH_ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b',')
    .add(b';')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

const MEMBERS: [&str; 4] = ["keys", "parameter", "ttl_secs", "cookie"];

/// Which links a rule accepts.
#[derive(Clone)]
pub struct LinkRule {
    keys: Vec<hmac::Key>,
    parameter: Box<str>,
    ttl_secs: u32,
    cookie: Option<Box<str>>,
    /// The path of the rule without its `*`.
    scope: Box<str>,
}

/// Shows no key.
impl fmt::Debug for LinkRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRule")
            .field("parameter", &self.parameter)
            .field("ttl_secs", &self.ttl_secs)
            .field("cookie", &self.cookie)
            .finish_non_exhaustive()
    }
}

/// Why a link or a cookie is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkError {
    /// Malformed, of another key or path, or from the future.
    Invalid,
    /// Its time is over.
    Expired,
}

impl LinkRule {
    /// The parameter of the query.
    pub fn parameter(&self) -> &str {
        &self.parameter
    }

    /// The cookie that a valid link sets.
    pub fn cookie(&self) -> Option<&str> {
        self.cookie.as_deref()
    }

    /// Reads the member; records problems. `path` is the path of the rule.
    pub(super) fn read(json: &Value, path: &str, problems: &mut Problems) -> Option<Self> {
        member::require_object(json, problems).then_some(())?;
        member::reject_unknown(json, &MEMBERS, problems);
        for (name, fix) in [
            ("keys", "write one key, or two during a rotation"),
            ("parameter", "write the name of the parameter, such as \"verify\""),
            ("ttl_secs", "write for how many seconds a link is valid"),
        ] {
            member::require(json, name, fix, problems);
        }
        let keys = member::at(json, "keys", problems, |list, problems| {
            if list.as_list().is_some_and(|list| list.len() > 2) {
                problems.reject("expected one or two keys", "remove keys whose links have all expired");
            }
            member::each(list, problems, |key, problems| read_key(member::text(key, problems)?, problems))
        });
        let parameter = member::at(json, "parameter", problems, |json, problems| {
            let name = member::text(json, problems)?;
            if !is_parameter(name) {
                problems.reject("expected letters, digits and - . _ ~", "write a name such as \"verify\"");
            }
            Some(name)
        });
        let ttl_secs =
            member::at(json, "ttl_secs", problems, |json, problems| member::whole(json, 1..=TTL_SECS_MAX, problems));
        let cookie = member::at(json, "cookie", problems, |json, problems| {
            let name = member::text(json, problems)?;
            // A browser refuses `__Host-` with a path other than / (RFC 6265bis §4.1.3.2).
            if !is_token(name) || name.starts_with("__Host-") {
                problems.reject("expected the name of a cookie", "write a name such as \"preview\"");
            }
            Some(name.into())
        });
        Some(Self {
            keys: keys?,
            parameter: parameter.flatten()?.into(),
            ttl_secs: ttl_secs.flatten()?,
            cookie: cookie.flatten(),
            scope: path.strip_suffix('*').unwrap_or(path).into(),
        })
    }

    /// Checks the value of the parameter for a decoded path. Returns when the link was signed.
    pub(super) fn check_link(&self, value: &str, path: &str, now: u64) -> Result<u64, LinkError> {
        self.check(value, &[&rooted(path)], now)
    }

    /// Checks the value of the cookie. Returns when its link was signed.
    pub(super) fn check_cookie(&self, value: &str, now: u64) -> Result<u64, LinkError> {
        self.check(value, &[COOKIE_DOMAIN, &self.scope, "\0"], now)
    }

    /// When a link or cookie expires that was signed at `seconds`.
    pub(super) fn expires(&self, seconds: u64) -> u64 {
        seconds.saturating_add(u64::from(self.ttl_secs))
    }

    /// The Set-Cookie field of a session that a link of `seconds` opens.
    pub(super) fn set_cookie(&self, seconds: u64) -> Option<String> {
        let (name, key) = (self.cookie.as_deref()?, self.keys.first()?);
        let value = signed(key, &[COOKIE_DOMAIN, &self.scope, "\0"], seconds);
        let path = utf8_percent_encode(&self.scope, PATH_ENCODED);
        Some(format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax; Secure"))
    }

    fn check(&self, value: &str, message: &[&str], now: u64) -> Result<u64, LinkError> {
        let (text, mac) = value.split_once('-').ok_or(LinkError::Invalid)?;
        let seconds = parse_seconds(text).ok_or(LinkError::Invalid)?;
        let mac = base64url::decode(mac).ok_or(LinkError::Invalid)?;
        let message = [message.concat().as_str(), text].concat();
        // Both keys are tried, so the time does not tell which one is right; `verify` compares in constant time.
        let is_of = |key: &hmac::Key| hmac::verify(key, message.as_bytes(), &mac).is_ok();
        let is_valid = self.keys.iter().fold(false, |found, key| found | is_of(key));
        // The time is judged last: it means nothing without a valid MAC.
        if !is_valid || seconds > now.saturating_add(AHEAD_SECS) {
            return Err(LinkError::Invalid);
        }
        if now >= self.expires(seconds) { Err(LinkError::Expired) } else { Ok(seconds) }
    }
}

/// Signs a decoded path: the value of the parameter of a link that is valid from `now`, in Unix seconds.
pub fn sign(key: &str, path: &str, now: u64) -> String {
    signed(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), &[&rooted(path)], now)
}

fn signed(key: &hmac::Key, message: &[&str], seconds: u64) -> String {
    let message = format!("{}{seconds}", message.concat());
    format!("{seconds}-{}", base64url::encode(hmac::sign(key, message.as_bytes()).as_ref()))
}

/// The path with its leading slash, which keeps it apart from [`COOKIE_DOMAIN`].
fn rooted(path: &str) -> Cow<'_, str> {
    if path.starts_with('/') { Cow::Borrowed(path) } else { Cow::Owned(format!("/{path}")) }
}

/// Decimal digits without sign and leading zeros: each time has one spelling.
fn parse_seconds(text: &str) -> Option<u64> {
    let is_canonical = text == "0" || !text.starts_with('0');
    (is_canonical && text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

fn read_key(key: &str, problems: &mut Problems) -> Option<hmac::Key> {
    if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
        problems.reject(
            format!("expected a key of {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, found {}", key.len()),
            "generate a key with: openssl rand -base64 32",
        );
        return None;
    }
    Some(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))
}
