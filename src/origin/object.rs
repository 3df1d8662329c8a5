//! Stage: fetch the object.

use std::ops::Range;
use std::time::{Duration, Instant};

use nearedge_core::http::range::{ByteRange, IfRange};
use nearedge_core::object::{Body, Head, Object, base64_len};
use nearedge_core::request::Request;
use nearedge_core::request::door::{Door, Transfer};
use nearedge_core::response::payload::Payload;
use nearedge_core::response::{Context, Outcome, Personal, Response};
use nearedge_core::rules::{Candidate, Decision, Otherwise};
use nearedge_core::store::{FetchError, FetchRequest, FetchResponse, Fetched, Missing, Part, Store};
use tracing::warn;

use crate::origin::Origin;
use crate::origin::found::{Found, worst_source};
use crate::origin::stream::{overflow, stream};

impl<S: Store> Origin<S> {
    /// Fetches the first candidate that exists; continues with the missing stage if none does.
    pub(super) async fn fetch_object<'a>(
        &self,
        request: &Request<'_>,
        decision: &'a Decision<'_>,
        (first, others, part, otherwise): (&'a Candidate, &'a [Candidate], Part, &Otherwise),
        context: &Context<'_, 'a>,
        deadline: Instant,
    ) -> Found<'a> {
        let variant = decision.variant;
        let fits = |head: &Head, range: Option<&Range<u64>>| {
            certainly_fits(head, range, context.door) || {
                let object = Object { head: head.clone(), range: range.cloned(), body: Body::default() };
                fits(Outcome::Found(object), &Context { variant, ..*context })
            }
        };
        // A visitor's first answer is complete: the client's copy may be that of another variation.
        let request = match context.personal {
            Some(Personal { cookies: Some(_), .. }) => {
                FetchRequest { accepts: context.accepts, ..FetchRequest::unconditional(&first.key, part, &fits) }
            }
            _ => FetchRequest {
                accepts: context.accepts,
                fits: &fits,
                key: &first.key,
                part,
                conditions: request.conditions(),
                range: request.range.as_deref().and_then(ByteRange::parse),
                if_range: request.if_range.as_deref().map(IfRange::parse),
                cached: None,
                overflow: None,
            },
        };
        let overflow = overflow(context);
        let request = FetchRequest { overflow: overflow.as_ref(), ..request };
        let mut reason = Missing::NoSuchKey;
        let mut source = None;
        let mut waited = Duration::ZERO;
        for candidate in std::iter::once(first).chain(others) {
            let accepts = context.accepts.filter(|_| self.may_send_copies(decision, &candidate.key));
            if let Some(instead) = &candidate.instead {
                let context = &Context { accepts, ..*context };
                // Boxed, because almost no request needs it.
                let found = Box::pin(self.instead(&candidate.key, instead, part, context, deadline)).await;
                source = found.source.map_or(source, |of_candidate| worst_source(source, of_candidate));
                waited += found.waited;
                match found.missing {
                    Some(missing) => reason = missing,
                    None => return Found { requested: Some(first.key.clone()), source, waited, ..found },
                }
                continue;
            }
            let request = FetchRequest { key: &candidate.key, accepts, ..request };
            let response = self.fetch(&request, deadline).await;
            let mut opened = None;
            source = worst_source(source, response.source);
            waited += response.waited;
            let error = response.result.as_ref().err().or(response.hidden_error.as_ref());
            let error = error.filter(|error| error.cause().is_some()).cloned();
            let outcome = match response.result {
                Err(FetchError::Missing(missing)) => {
                    reason = missing;
                    continue;
                }
                Err(error) => Outcome::NotFetched(candidate.key.clone(), error),
                Ok(Fetched::Object(Object { head, .. }) | Fetched::NotModified(head) | Fetched::TooLarge(head))
                    if self.exceptions.object_redirects && redirect_of(&head).is_some() =>
                {
                    Outcome::Moved(301, redirect_of(&head).unwrap_or_default().to_owned())
                }
                Ok(Fetched::Object(object)) => Outcome::Found(object),
                Ok(Fetched::NotModified(head)) => Outcome::NotModified(head),
                Ok(Fetched::PreconditionFailed) => Outcome::PreconditionFailed,
                Ok(Fetched::Unsatisfiable(size)) => Outcome::RangeNotSatisfiable(size),
                Ok(Fetched::TooLarge(head)) => match stream(&request, &head) {
                    Some((object, body)) => {
                        opened = body;
                        Outcome::Found(object)
                    }
                    None => {
                        self.oversize(candidate, part, (head.size_bytes, head.copyable()), decision, deadline).await
                    }
                },
            };
            let exists = matches!(outcome, Outcome::Found(_) | Outcome::NotModified(_));
            return Found {
                requested: Some(first.key.clone()),
                served: Some(candidate),
                variant: variant.filter(|_| candidate.of_variant && exists),
                stream: opened,
                source,
                waited,
                error,
                ..outcome.into()
            };
        }
        let outcome = match otherwise {
            Otherwise::Missing => {
                let missing = self.missing(decision, &first.key, reason, part, context, deadline).await;
                let source = missing.source.map_or(source, |of_document| worst_source(source, of_document));
                return Found { source, waited: waited + missing.waited, ..missing };
            }
            Otherwise::Redirect(status, location) => Outcome::Moved(*status, location.clone()),
            Otherwise::Generated(status) => Outcome::Generated(*status, None),
        };
        Found { requested: Some(first.key.clone()), source, waited, ..outcome.into() }
    }

    /// Fetches from the store; logs the first denial, which may hide a missing permission.
    pub(super) async fn fetch(&self, request: &FetchRequest<'_>, deadline: Instant) -> FetchResponse {
        let response = self.store.fetch(request, deadline).await;
        if matches!(response.result, Err(FetchError::Missing(Missing::AccessDenied))) {
            self.access_denied.call_once(|| {
                warn!(
                    key = request.key.as_str(),
                    "S3 denied access to a key, which is answered as missing: S3 denies missing keys to a role without \
                     s3:ListBucket; grant s3:ListBucket on the bucket to tell missing from denied (logged once)"
                );
            });
        }
        response
    }
}

/// Whether a response can hold this outcome with its body, which is not read yet. The limit covers the whole JSON.
pub(super) fn fits(without_body: Outcome, context: &Context<'_, '_>) -> bool {
    let response = Response::of(without_body, context);
    let payload = Payload::encode(&response, context.door, Transfer::Buffered);
    payload.size_bytes().saturating_add(base64_len(response.body_bytes)) <= context.door.payload_bytes_max()
}

/// Where an object redirects, if that is an address which a header field can carry.
///
/// S3 accepts a path of the site, or an http or https URL.
fn redirect_of(head: &Head) -> Option<&str> {
    let location = head.redirect_location.as_deref()?;
    let is_address = ["http://", "https://"].iter().any(|scheme| location.starts_with(scheme))
        || location.starts_with('/') && !location[1..].starts_with(['/', '\\']);
    (is_address && location.bytes().all(|byte| byte.is_ascii_graphic())).then_some(location)
}

/// Upper bound of a payload without the body and the object's own header fields.
const FRAME_BYTES: u64 = 4096;

/// Whether a response can hold an object, or this range of it, whatever else the response contains.
pub(super) fn certainly_fits(head: &Head, range: Option<&Range<u64>>, door: Door) -> bool {
    let len = range.map_or(head.size_bytes, |range| range.end.saturating_sub(range.start));
    base64_len(len).saturating_add(head.json().len() as u64 + FRAME_BYTES) <= door.payload_bytes_max()
}
