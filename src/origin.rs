//! Request in, payload out: decide, fetch, respond, encode.

use std::ops::Range;
use std::sync::Once;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::auth::SecretMatch;
use crate::decision::{Action, Candidate, Decision, Policy, decide, location};
use crate::object::{Body, FetchError, Fetched, Head, Missing, Object, ObjectKey, base64_bytes};
use crate::payload::{PAYLOAD_BYTES_MAX, Payload};
use crate::range::{ByteRange, IfRange};
use crate::request::{Method, Request};
use crate::response::{Content, Outcome, Presentation, Response};
use crate::store::{Ask, Part, Reply, Source, Store, Tally};
use crate::trace::child_span;

/// The origin: the rules, and a store to fetch from.
#[derive(Debug)]
pub struct Origin<S> {
    store: S,
    policy: Policy,
    presentation: Presentation,
    exceptions: Exceptions,
    access_denied: Once,
}

/// What is done with an object that no answer can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oversize {
    /// 307 to a presigned address in S3.
    Presign,
    /// 307 to `redirect_path` for a variant's object, which the distribution serves straight from S3.
    Redirect,
    /// 413.
    Reject,
}

/// The settings for what cannot be answered with the object asked for.
#[derive(Debug, Clone)]
pub struct Exceptions {
    /// The object that is the body of a 404.
    pub error_document: Option<ObjectKey>,
    /// What is done with an object that no answer can hold.
    pub oversize: Oversize,
    /// How long a presigned address lives.
    pub presign_ttl: Duration,
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
    /// What went wrong in S3, though there may be an answer from memory.
    pub trouble: Option<String>,
    /// Where the object came from, or that there is none.
    pub source: Option<Source>,
    /// How long S3 was waited for.
    pub waited: Duration,
    /// Whether there is an object, and no answer can hold it.
    pub oversize: bool,
}

impl<S: Store> Origin<S> {
    /// An origin that answers by these rules from this store.
    pub fn new(store: S, policy: Policy, presentation: Presentation, exceptions: Exceptions) -> Self {
        Self { store, policy, presentation, exceptions, access_denied: Once::new() }
    }

    /// Does what answers left to be done after them, before `deadline`, or drops it.
    pub async fn settle(&self, deadline: Instant) {
        self.store.settle(deadline).await;
    }

    /// What is held in memory, and what has been done since the start.
    pub fn tally(&self) -> Tally {
        self.store.tally()
    }

    /// Whether a request has the secret.
    pub fn trusts(&self, request: &Request<'_>) -> bool {
        request.lambda_auth.as_deref().is_some_and(|presented| self.policy.secrets.matches(presented).is_some())
    }

    /// Whether a rotation of the secret is under way.
    pub fn is_rotating(&self) -> bool {
        self.policy.secrets.has_next()
    }

    /// Answers one request; no fetch outlives `deadline`.
    pub async fn answer(&self, request: &Request<'_>, deadline: Instant) -> Answer {
        let span = child_span!("decision");
        let decision = decide(request, &self.policy);
        drop(span);
        let found = self.carry_out(request, &decision, deadline).await;
        let mut record = Record {
            status: 0,
            outcome: found.outcome.name(),
            key: found.asked.clone(),
            variant: decision.variant.map(str::to_owned),
            secret: decision.secret,
            body_bytes: 0,
            missing: found.missing,
            trouble: found.trouble,
            source: found.source,
            waited: found.waited,
            oversize: matches!(found.outcome, Outcome::Oversized(_) | Outcome::TooLarge(..)),
        };
        let (mut response, mut payload) = self.write(found.outcome, found.variant, request.method);
        // Only a store that did not know how much was coming gets here with too much.
        if let (true, Some(candidate)) = (payload.bytes() > PAYLOAD_BYTES_MAX, &found.served) {
            let outcome = self.oversized(candidate, Part::Whole, response.body_bytes, deadline).await;
            record.outcome = outcome.name();
            record.oversize = true;
            (response, payload) = self.write(outcome, None, request.method);
        }
        record.status = response.status;
        record.body_bytes = content_bytes(&response.content);
        Answer { payload, record }
    }

    fn write<'a>(&self, outcome: Outcome, variant: Option<&'a str>, method: Method) -> (Response<'a>, Payload) {
        let _span = child_span!("encoding");
        let mut response = Response::of(outcome, variant, &self.presentation);
        if method == Method::Head {
            response = response.without_body();
        }
        let payload = Payload::encode(&response);
        (response, payload)
    }

    async fn carry_out<'a>(&self, request: &Request<'_>, decision: &Decision<'a>, deadline: Instant) -> Found<'a> {
        match &decision.action {
            Action::Forbid => Outcome::Forbidden.into(),
            Action::RefuseMethod => Outcome::MethodRefused.into(),
            Action::ListMethods => Outcome::MethodsListed.into(),
            Action::RefusePath => Outcome::PathRefused.into(),
            Action::RefuseVersion => Outcome::VersionRefused.into(),
            Action::Redirect { key, location } => {
                Found { asked: Some(key.clone()), ..Outcome::Redirected(location.clone()).into() }
            }
            Action::Missing { key } => {
                let part = if request.method == Method::Head { Part::Head } else { Part::Whole };
                // S3 was not asked, so it has said nothing.
                Found { missing: None, ..self.missing(key, Missing::NoSuchKey, part, deadline).await }
            }
            Action::Fetch { first, others, part } => {
                let fits = |head: &Head, part: Option<&Range<u64>>| {
                    fits_for_sure(head, part) || {
                        let object = Object { head: head.clone(), range: part.cloned(), body: Body::default() };
                        self.fits(Outcome::Found(object), decision.variant)
                    }
                };
                let ask = Ask {
                    fits: &fits,
                    key: &first.key,
                    part: *part,
                    conditions: request.conditions(),
                    range: request.range.as_deref().and_then(ByteRange::parse),
                    if_range: request.if_range.as_deref().map(IfRange::parse),
                    held: None,
                };
                self.fetch_first(&ask, first, others, decision.variant, deadline).await
            }
        }
    }

    /// Fetches the first candidate that exists.
    async fn fetch_first<'a>(
        &self,
        ask: &Ask<'_>,
        first: &Candidate,
        others: &[Candidate],
        variant: Option<&'a str>,
        deadline: Instant,
    ) -> Found<'a> {
        let mut why = Missing::NoSuchKey;
        let mut source = None;
        let mut waited = Duration::ZERO;
        for candidate in std::iter::once(first).chain(others) {
            let reply = self.fetch(&Ask { key: &candidate.key, ..*ask }, deadline).await;
            source = further(source, reply.source);
            waited += reply.waited;
            let trouble = reply.fetched.as_ref().err().or(reply.trouble.as_ref()).and_then(FetchError::trouble);
            let trouble = trouble.map(str::to_owned);
            let outcome = match reply.fetched {
                Err(FetchError::Missing(missing)) => {
                    why = missing;
                    continue;
                }
                Err(error) => Outcome::NotFetched(candidate.key.clone(), error),
                Ok(Fetched::Object(object)) => Outcome::Found(object),
                Ok(Fetched::NotModified(head)) => Outcome::NotModified(head),
                Ok(Fetched::PreconditionFailed) => Outcome::PreconditionFailed,
                Ok(Fetched::Unsatisfiable(bytes)) => Outcome::RangeNotSatisfiable(bytes),
                Ok(Fetched::TooLarge(head)) => self.oversized(candidate, ask.part, head.bytes, deadline).await,
            };
            let exists = matches!(outcome, Outcome::Found(_) | Outcome::NotModified(_));
            return Found {
                asked: Some(first.key.clone()),
                served: Some(candidate.clone()),
                variant: variant.filter(|_| candidate.of_variant && exists),
                source,
                waited,
                trouble,
                ..outcome.into()
            };
        }
        let missing = self.missing(&first.key, why, ask.part, deadline).await;
        let source = missing.source.map_or(source, |of_document| further(source, of_document));
        Found { source, waited: waited + missing.waited, ..missing }
    }

    async fn missing<'a>(&self, key: &ObjectKey, why: Missing, part: Part, deadline: Instant) -> Found<'a> {
        let mut outcome = Outcome::NotFetched(key.clone(), FetchError::Missing(why));
        let (mut waited, mut source) = (Duration::ZERO, None);
        if let Some(document) = &self.exceptions.error_document {
            let fits = |head: &Head, _: Option<&Range<u64>>| {
                let object = Object { head: head.clone(), range: None, body: Body::default() };
                self.fits(Outcome::ErrorDocument(object), None)
            };
            // A document that is itself missing, too large or in trouble is no reason for another error.
            let reply = self.fetch(&Ask::plain(document, part, &fits), deadline).await;
            waited = reply.waited;
            source = Some(reply.source);
            if let Ok(Fetched::Object(object)) = reply.fetched {
                outcome = Outcome::ErrorDocument(object);
            }
        }
        Found { asked: Some(key.clone()), missing: Some(why), waited, source, ..outcome.into() }
    }

    /// Whether an answer can hold an outcome with its body, which is not there yet: Lambda counts the whole JSON.
    fn fits(&self, bodiless: Outcome, variant: Option<&str>) -> bool {
        let response = Response::of(bodiless, variant, &self.presentation);
        Payload::encode(&response).bytes().saturating_add(base64_bytes(response.body_bytes)) <= PAYLOAD_BYTES_MAX
    }

    /// What is done with an object that no answer can hold.
    async fn oversized(&self, candidate: &Candidate, part: Part, bytes: u64, deadline: Instant) -> Outcome {
        let Candidate { key, of_variant } = candidate;
        match self.exceptions.oversize {
            Oversize::Reject => Outcome::TooLarge(key.clone(), bytes),
            // No address leads to it.
            _ if key.has_dot_segment() => Outcome::TooLarge(key.clone(), bytes),
            // Only a variant's prefix is served straight from S3; any other address would come back here.
            Oversize::Redirect if *of_variant => Outcome::Oversized(location(&self.policy.redirect_path, key, None)),
            Oversize::Redirect | Oversize::Presign => {
                match self.store.presign(key, part, self.exceptions.presign_ttl, deadline).await {
                    Ok(address) => Outcome::Oversized(address),
                    Err(error) => Outcome::NotFetched(key.clone(), error),
                }
            }
        }
    }

    async fn fetch(&self, ask: &Ask<'_>, deadline: Instant) -> Reply {
        let reply = self.store.fetch(ask, deadline).await;
        if matches!(reply.fetched, Err(FetchError::Missing(Missing::AccessDenied))) {
            self.access_denied.call_once(|| {
                warn!(
                    key = ask.key.as_str(),
                    "S3 denied access to a key: answered as missing, since S3 says so of a missing key to a role \
                     without s3:ListBucket; grant s3:ListBucket on the bucket to tell the two apart (said once)"
                );
            });
        }
        reply
    }
}

/// More than the rest of an answer can come to: the names, the version, the numbers of a range.
const FRAME_BYTES: u64 = 1024;

/// Whether an answer can hold an object, or this part of it, without a look at what else would be in it.
fn fits_for_sure(head: &Head, part: Option<&Range<u64>>) -> bool {
    let bytes = part.map_or(head.bytes, |part| part.end.saturating_sub(part.start));
    base64_bytes(bytes).saturating_add(head.json().len() as u64 + FRAME_BYTES) <= PAYLOAD_BYTES_MAX
}

/// Of two answers that one answer took, the one that had to go further than memory.
fn further(before: Option<Source>, after: Source) -> Option<Source> {
    before.filter(|source| *source != Source::Hit).or(Some(after))
}

/// What came of carrying out a decision.
struct Found<'a> {
    outcome: Outcome,
    /// The key that was asked for.
    asked: Option<ObjectKey>,
    /// What was looked at last.
    served: Option<Candidate>,
    /// The version that the object was found under.
    variant: Option<&'a str>,
    missing: Option<Missing>,
    /// Where it came from.
    source: Option<Source>,
    /// How long S3 was waited for.
    waited: Duration,
    /// What went wrong in S3.
    trouble: Option<String>,
}

impl From<Outcome> for Found<'_> {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            asked: None,
            served: None,
            variant: None,
            missing: None,
            source: None,
            waited: Duration::ZERO,
            trouble: None,
        }
    }
}

fn content_bytes(content: &Content) -> u64 {
    match content {
        Content::Empty => 0,
        Content::Text(text) => text.len() as u64,
        Content::Object(body) => body.bytes(),
    }
}
