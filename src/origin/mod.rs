//! Request in, payload out.
//!
//! [`Origin::respond`] is the list of stages. The pure ones are in [`nearedge_core::rules`]; the stages that
//! need the store are here, each in a file of its own name: `object`, `missing`, `stream`, `oversize`. `definitions` holds the active
//! definition of experiments.

mod exceptions;
mod found;
mod instead;
mod missing;
mod object;
mod oversize;
mod site;
mod stream;

use std::borrow::Cow;
use std::sync::Once;
use std::time::{Instant, SystemTime};

use nearedge_core::access::credentials::Credentials;

use nearedge_core::experiment::assign::{Assignment, Experiments};
use nearedge_core::experiment::cookie::ID_BYTES;
use nearedge_core::object::{CopyKind, Head, ObjectKey};
use nearedge_core::record::{Record, RequestedVariant};
use nearedge_core::request::door::Transfer;
use nearedge_core::request::visit::{Detail, Visit};
use nearedge_core::request::{Method, Request};
use nearedge_core::response::payload::Payload;
use nearedge_core::response::{Content, Context, Outcome, Presentation, Response};
use nearedge_core::rules::headers::{Fields, Headers};
use nearedge_core::rules::{AccessControl, Action, Active, Decision, Policy, RequestViewer, Viewer, decide};
use nearedge_core::store::{Missing, OpenBody, Part, Store, StoreStats};
use tracing::Span;

pub use self::exceptions::{Exceptions, Oversize};
use self::found::Found;
use self::site::ActiveFiles;
pub use self::site::{DefinitionsConfig, Site, SiteConfig};
use crate::telemetry::trace::child_span;

/// The origin: the rules, and the store that holds the objects.
#[derive(Debug)]
pub struct Origin<S> {
    store: S,
    policy: Policy,
    presentation: Presentation,
    exceptions: Exceptions,
    /// The usual address of the site, such as `https://www.example.com`.
    address: String,
    site: Site,
    access_denied: Once,
}

/// A response, and the record of the invocation.
#[derive(Debug)]
pub struct OriginResponse {
    /// The bytes for the Runtime API.
    pub payload: Payload,
    /// The body that follows them, if the object is read while it is sent.
    pub stream: Option<OpenBody>,
    /// The record of the invocation, for log, metrics and spans.
    pub record: Record,
}

impl<S: Store> Origin<S> {
    /// An origin with these settings, in front of `store`.
    pub fn new(store: S, policy: Policy, presentation: Presentation, exceptions: Exceptions) -> Self {
        let address = policy.site().to_owned();
        Self { store, policy, presentation, exceptions, address, site: Site::default(), access_denied: Once::new() }
    }

    /// The same origin with the files that configure it.
    #[must_use]
    pub fn with_site(self, site: Site) -> Self {
        Self { site, ..self }
    }

    /// Which fields of a request the site's files need beside those of every request; `None` if none.
    pub fn visit_detail(&self) -> Option<Detail> {
        self.site.detail()
    }

    /// How many loads of the site's files have failed since the start.
    pub fn definition_errors(&self) -> u64 {
        self.site.errors()
    }

    /// Does what is due between two events: revalidates the objects that were served stale, and reloads the files of the
    /// site. Drops what does not finish before `deadline`.
    pub async fn refresh(&self, deadline: Instant) {
        self.store.revalidate_stale(deadline).await;
        self.site.reload(&self.store, deadline).await;
    }

    /// The counters of the store.
    pub fn stats(&self) -> StoreStats {
        self.store.stats()
    }

    /// Whether a request comes from the distribution.
    pub fn trusts(&self, request: &Request<'_>) -> bool {
        self.policy.authenticate(request).is_some()
    }

    /// Whether a rotation of the secret is under way.
    pub fn is_rotating(&self) -> bool {
        self.policy.secrets.has_next()
    }

    /// Responds to one request; `visit` has the fields that the site's files use. No fetch outlives `deadline`.
    pub async fn respond(&self, request: &Request<'_>, visit: Option<&Visit<'_>>, deadline: Instant) -> OriginResponse {
        let span = child_span!("decision");
        let files = self.site.active();
        let viewer = visit.map(|visit| RequestViewer::new(request, visit, &self.address));
        // The rules of access read the whole query, and the other stages the rest.
        let visible = files.without_tokens(request);
        let request = visible.as_ref().unwrap_or(request);
        let active = self.active(&files, visit, viewer.as_ref());
        let mut decision = decide(request, &self.policy, active);
        // A sampled invocation: the server span is the current one again.
        if !span.is_disabled() {
            drop(span);
            record_experiments(decision.assignment.as_ref());
        }
        let counts = decision.assignment.as_mut().and_then(|assignment| assignment.counts.take());
        let guarded = files.guarded(decision.grant.as_deref_mut(), decision.tested);
        let changes = match (&files.headers, decision.secret) {
            (Some(headers), Some(_)) => header_changes(headers, request, viewer.as_ref()).into_vec(),
            _ => Vec::new(),
        };
        let accepts = request.accepts();
        let context = Context {
            door: request.door,
            variant: None,
            personal: decision.assignment.as_ref().map(|assignment| &assignment.personal),
            guarded: guarded.as_ref(),
            accepts: self.negotiates(&decision).then_some(&accepts),
            changes: &changes,
            presentation: &self.presentation,
        };
        let found = self.carry_out(request, &decision, &context, deadline).await;
        let mut record = Record {
            status: 0,
            outcome: found.outcome.name(),
            variant: RequestedVariant::new(decision.variant, found.requested.as_ref()),
            key: found.requested,
            is_defined: files
                .definition
                .as_ref()
                .zip(decision.variant)
                .is_some_and(|(definition, variant)| definition.gives(variant)),
            forced: self.site.experiments.is_some() && request.test_version.is_some(),
            rule: rule_of(&decision),
            counts: None,
            secret: decision.secret,
            body_bytes: 0,
            copy: found.outcome.head().and_then(Head::copy),
            missing: found.missing,
            error: found.error,
            source: found.source,
            waited: found.waited,
            oversize: matches!(found.outcome, Outcome::Oversized(..) | Outcome::TooLarge(..)),
        };
        let (mut response, mut payload) =
            encode(found.outcome, &Context { variant: found.variant, ..context }, request.method);
        // Only an object whose size S3 did not announce can be too large here.
        let is_too_large =
            context.transfer() == Transfer::Buffered && payload.size_bytes() > request.door.payload_bytes_max();
        if let (true, Some(candidate)) = (is_too_large, found.served) {
            let copyable = response.head.as_ref().map(Head::copyable).unwrap_or_default();
            let size = (response.body_bytes, copyable);
            let outcome = self.oversize(candidate, Part::Whole, size, &decision, deadline).await;
            record.outcome = outcome.name();
            record.oversize = true;
            (response, payload) = encode(outcome, &context, request.method);
        }
        record.status = response.status;
        // A failure sets no cookies, so that the next view is the first.
        record.counts = counts.filter(|_| response.status < 500);
        record.body_bytes = match found.stream {
            Some(_) => response.body_bytes,
            None => content_len(&response.content),
        };
        record.copy = record.copy.filter(|_| record.body_bytes > 0);
        OriginResponse { payload, stream: found.stream, record }
    }

    /// Whether a copy of the object may be sent.
    ///
    /// The length of a coded response reveals what secrets in it have in common with the request, if both are in it: BREACH
    /// (<https://www.breachattack.com>). Objects do not reflect requests, but those that a rule guards may hold secrets.
    fn negotiates(&self, decision: &Decision<'_>) -> bool {
        self.presentation.negotiation.is_enabled() && (decision.grant.is_none() || self.exceptions.compress_guarded)
    }

    /// Whether copies of this object may be sent: an uploaded one can have rules of its own.
    fn may_send_copies(&self, decision: &Decision<'_>, key: &ObjectKey) -> bool {
        let has_rules = decision.access.is_some() && (self.presentation.negotiation.has_uploaded());
        let is_open =
            |kind: CopyKind| decision.may_contain(&ObjectKey::new(format!("{key}{}", kind.suffix())), &self.policy);
        !has_rules || CopyKind::ALL.into_iter().all(is_open)
    }

    /// The active files, as a decision needs them.
    fn active<'a>(
        &'a self,
        files: &'a ActiveFiles,
        visit: Option<&'a Visit<'a>>,
        viewer: Option<&'a RequestViewer<'a>>,
    ) -> Active<'a> {
        let experiments = self.site.experiments.as_ref().zip(visit).map(|(experiments, visit)| Experiments {
            definition: files.definition.as_deref(),
            settings: experiments.settings(),
            visit,
            new_id: &new_id,
        });
        let access = files.access.as_ref().zip(self.site.known_tokens()).map(|(rules, known)| AccessControl {
            rules: rules.as_deref(),
            known,
            now: unix_secs(),
        });
        let viewer = viewer.map(|viewer| viewer as &dyn Viewer);
        Active { experiments, redirects: files.redirects.as_deref(), access, viewer }
    }

    /// Runs the stages after the decision.
    async fn carry_out<'a>(
        &self,
        request: &Request<'_>,
        decision: &'a Decision<'_>,
        context: &Context<'_, 'a>,
        deadline: Instant,
    ) -> Found<'a> {
        match &decision.action {
            Action::Respond(outcome) => outcome.clone().into(),
            Action::Redirect { key, location } => {
                Found { requested: Some(key.clone()), ..Outcome::Redirected(location.clone()).into() }
            }
            Action::Missing { key } => {
                let part = if request.method == Method::Head { Part::Head } else { Part::Whole };
                // The record must not name a reason of S3's, which was not asked.
                Found {
                    missing: None,
                    ..self.missing(decision, key, Missing::NoSuchKey, part, context, deadline).await
                }
            }
            Action::Fetch { first, others, part, otherwise } => {
                self.fetch_object(request, decision, (first, others, *part, otherwise), context, deadline).await
            }
        }
    }
}

fn encode<'a>(outcome: Outcome, context: &Context<'_, 'a>, method: Method) -> (Response<'a>, Payload) {
    let _span = child_span!("encoding");
    let mut response = Response::of(outcome, context);
    if method == Method::Head {
        response = response.without_body();
    }
    let payload = Payload::encode(&response, context.door, context.transfer());
    (response, payload)
}

/// The changes of the site's header rules for a request; those of a preflight request allow what it asks for.
fn header_changes<'r>(headers: &'r Headers, request: &Request<'_>, viewer: Option<&RequestViewer<'_>>) -> Fields<'r> {
    let host = || viewer.map_or(Cow::Borrowed(""), Viewer::host);
    let origin = viewer.and_then(|viewer| viewer.header("origin"));
    match request.method {
        Method::Options => headers.preflight(&host, &request.path, origin.as_deref()),
        _ => headers.fields(&host, &request.path, origin.as_deref()),
    }
}

/// The rules of the site's files that decided, as log lines name them.
fn rule_of(decision: &Decision<'_>) -> Option<Box<str>> {
    let line = decision.rule.map(|rule| rule.line);
    match (line, decision.guards.first().map(|guard| &guard.path)) {
        (None, None) => None,
        (Some(line), None) => Some(format!("redirects:{line}").into()),
        (None, Some(path)) => Some(format!("access:{path}").into()),
        (Some(line), Some(path)) => Some(format!("access:{path} redirects:{line}").into()),
    }
}

/// The current time in Unix seconds.
fn unix_secs() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Records the experiments and the variations of the visitor on the current span, as `new-checkout.treatment, KEY.VARIATION`.
fn record_experiments(assignment: Option<&Assignment<'_>>) {
    if let Some(timing) = assignment.and_then(|assignment| assignment.personal.server_timing.as_deref()) {
        let names: Vec<&str> = timing.split("\\\"").skip(1).step_by(2).collect();
        Span::current().record("nearedge.experiments", names.join(", "));
    }
}

/// Random bytes of the operating system for a visitor's id. Without them, the visitor gets no id.
fn new_id() -> Option<[u8; ID_BYTES]> {
    let mut random = [0; ID_BYTES];
    getrandom::fill(&mut random).ok().map(|()| random)
}

fn content_len(content: &Content) -> u64 {
    match content {
        Content::Empty => 0,
        Content::Text(text) => text.len() as u64,
        Content::Object(body) => body.len(),
    }
}

#[cfg(test)]
mod tests;
