//! Event in, payload out: parse, decide, fetch, respond, encode.

use std::sync::Once;
use std::time::Instant;

use tracing::warn;

use crate::auth::SecretMatch;
use crate::decision::{Action, Policy, decide};
use crate::event::{EventError, parse};
use crate::object::{FetchError, Missing, Object, ObjectKey};
use crate::payload::{PAYLOAD_BYTES_MAX, Payload};
use crate::request::Method;
use crate::response::{Content, Outcome, Presentation, Response};
use crate::store::{Part, Store};

/// The origin: the rules, and a store to fetch from.
#[derive(Debug)]
pub struct Origin<S> {
    store: S,
    policy: Policy,
    presentation: Presentation,
    access_denied: Once,
}

/// An answer, and what is worth knowing of how it came about.
#[derive(Debug)]
pub struct Answer {
    /// What goes to the Runtime API.
    pub payload: Payload,
    /// What goes to the log.
    pub record: Record,
}

/// What the log says of an invocation. It holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The HTTP status.
    pub status: u16,
    /// What became of the request: [`Outcome::name`].
    pub outcome: &'static str,
    /// The key that was asked for, once the door was open.
    pub key: Option<ObjectKey>,
    /// The version that was asked for, if it was well-formed.
    pub variant: Option<String>,
    /// Which secret was presented.
    pub secret: Option<SecretMatch>,
    /// The bytes of the body that the client gets.
    pub body_bytes: u64,
    /// How S3 said that there is no object.
    pub missing: Option<Missing>,
    /// What went wrong in S3.
    pub trouble: Option<String>,
}

impl<S: Store> Origin<S> {
    /// An origin that answers by these rules from this store.
    pub fn new(store: S, policy: Policy, presentation: Presentation) -> Self {
        Self { store, policy, presentation, access_denied: Once::new() }
    }

    /// Answers one event; no fetch outlives `deadline`.
    ///
    /// # Errors
    /// When the event is not one of an HTTP API with payload format 2.0.
    pub async fn answer(&self, event: &[u8], deadline: Instant) -> Result<Answer, EventError> {
        let request = parse(event)?;
        let decision = decide(&request, &self.policy);
        let (key, outcome) = self.carry_out(decision.action, deadline).await;
        let mut record = Record {
            status: 0,
            outcome: outcome.name(),
            key,
            variant: decision.variant.map(str::to_owned),
            secret: decision.secret,
            body_bytes: 0,
            missing: None,
            trouble: None,
        };
        if let Outcome::NotFetched(_, error) = &outcome {
            match error {
                FetchError::Missing(missing) => record.missing = Some(*missing),
                FetchError::TooLarge(_) => {}
                FetchError::Unavailable(trouble) | FetchError::TimedOut(trouble) | FetchError::Failed(trouble) => {
                    record.trouble = Some(trouble.clone());
                }
            }
        }
        let mut response = Response::of(outcome, &self.presentation);
        if request.method == Method::Head {
            response = response.without_body();
        }
        let mut payload = Payload::encode(&response);
        if let (true, Some(key)) = (payload.bytes() > PAYLOAD_BYTES_MAX, &record.key) {
            let bytes = content_bytes(&response.content);
            let outcome = Outcome::NotFetched(key.clone(), FetchError::TooLarge(bytes));
            record.outcome = outcome.name();
            response = Response::of(outcome, &self.presentation);
            payload = Payload::encode(&response);
        }
        record.status = response.status;
        record.body_bytes = content_bytes(&response.content);
        Ok(Answer { payload, record })
    }

    async fn carry_out(&self, action: Action, deadline: Instant) -> (Option<ObjectKey>, Outcome) {
        match action {
            Action::Forbid => (None, Outcome::Forbidden),
            Action::RefuseMethod => (None, Outcome::MethodRefused),
            Action::RefuseVersion => (None, Outcome::VersionRefused),
            Action::Redirect { key, location } => (Some(key), Outcome::Redirected(location)),
            Action::Missing { key } => {
                (Some(key.clone()), Outcome::NotFetched(key, FetchError::Missing(Missing::NoSuchKey)))
            }
            Action::Fetch { key, fallback, part } => {
                let mut fetched = self.fetch(&key, part, deadline).await;
                if let (Err(FetchError::Missing(_)), Some(fallback)) = (&fetched, fallback) {
                    fetched = self.fetch(&fallback, part, deadline).await;
                }
                let outcome = match fetched {
                    Ok(object) => Outcome::Found(object),
                    Err(error) => Outcome::NotFetched(key.clone(), error),
                };
                (Some(key), outcome)
            }
        }
    }

    async fn fetch(&self, key: &ObjectKey, part: Part, deadline: Instant) -> Result<Object, FetchError> {
        let fetched = self.store.fetch(key, part, deadline).await;
        if matches!(fetched, Err(FetchError::Missing(Missing::AccessDenied))) {
            self.access_denied.call_once(|| {
                warn!(
                    key = key.as_str(),
                    "S3 denied access to a key: answered as missing, since S3 says so of a missing key to a role \
                     without s3:ListBucket; grant s3:ListBucket on the bucket to tell the two apart (said once)"
                );
            });
        }
        fetched
    }
}

fn content_bytes(content: &Content) -> u64 {
    match content {
        Content::Empty => 0,
        Content::Text(text) => text.len() as u64,
        Content::Object(body) => body.bytes(),
    }
}
