//! The record of one invocation, for logs, metrics and spans.

use std::time::Duration;

use crate::access::secret::SecretMatch;
use crate::experiment::count::Counts;
use crate::object::{CopyKind, ObjectKey};
use crate::store::{FetchError, Missing, Source};

/// The outcome of a warm-up event, which is not a request.
pub const WARM_UP: &str = "warm_up";

/// The outcome of a streamed response whose body ended early. Its status has been sent before.
pub const INTERRUPTED: &str = "interrupted";

/// The record of one invocation. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The HTTP status.
    pub status: u16,
    /// The outcome of the request: [`Outcome::name`](crate::response::Outcome::name).
    pub outcome: &'static str,
    /// The requested key; `None` if the request was refused before the key was known.
    pub key: Option<ObjectKey>,
    /// The requested variant, if it is well-formed.
    pub variant: RequestedVariant,
    /// Whether the active definition of experiments names the variant.
    pub is_defined: bool,
    /// Whether the request states its version itself, although experiments assign versions.
    pub forced: bool,
    /// The rules that decided, such as `redirects:12` or `access:/members/*`; `None` for almost all.
    pub rule: Option<Box<str>>,
    /// What the request counts for its visitor; `None` for almost all.
    pub counts: Option<Box<Counts>>,
    /// Which secret the request presented.
    pub secret: Option<SecretMatch>,
    /// The length of the response body as the client receives it.
    pub body_bytes: u64,
    /// The copy that the client received: its kind, and the size of its source in bytes.
    pub copy: Option<(CopyKind, u64)>,
    /// Why S3 returned no object, if it was requested from S3.
    pub missing: Option<Missing>,
    /// The S3 error, even if the client received a cached copy.
    pub error: Option<FetchError>,
    /// Where the object came from; `None` if none was fetched.
    pub source: Option<Source>,
    /// How long the request waited for S3.
    pub waited: Duration,
    /// Whether the object is too large for a Lambda response.
    pub oversize: bool,
}

/// The requested variant. It costs no copy if the key starts with it, which is so for almost every request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestedVariant(Requested);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Requested {
    #[default]
    None,
    /// The first bytes of the key.
    OfKey(usize),
    Other(Box<str>),
}

impl RequestedVariant {
    /// The variant of a request for `key`.
    pub fn new(variant: Option<&str>, key: Option<&ObjectKey>) -> Self {
        Self(match variant {
            None => Requested::None,
            Some(variant) if key.is_some_and(|key| key.as_str().starts_with(variant)) => {
                Requested::OfKey(variant.len())
            }
            Some(variant) => Requested::Other(variant.into()),
        })
    }
}

impl Record {
    /// The requested variant, if it is well-formed.
    pub fn variant(&self) -> Option<&str> {
        match &self.variant.0 {
            Requested::None => None,
            Requested::OfKey(len) => self.key.as_ref()?.as_str().get(..*len),
            Requested::Other(variant) => Some(variant),
        }
    }

    /// Notes that the body of a streamed response ended after `sent` bytes; without an error if the client has gone.
    pub fn interrupt(&mut self, error: Option<FetchError>, sent: u64) {
        self.outcome = INTERRUPTED;
        self.error = error;
        self.body_bytes = sent;
    }

    /// The record of a warm-up event.
    pub fn warm_up() -> Self {
        Self {
            status: 200,
            outcome: WARM_UP,
            key: None,
            variant: RequestedVariant::default(),
            is_defined: false,
            forced: false,
            rule: None,
            counts: None,
            secret: None,
            body_bytes: 0,
            copy: None,
            missing: None,
            error: None,
            source: None,
            waited: Duration::ZERO,
            oversize: false,
        }
    }
}
