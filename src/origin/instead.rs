//! Stage: candidates whose object is not the response.

use std::ops::Range;
use std::time::{Duration, Instant};

use nearedge_core::object::{Body, Head, Object, ObjectKey};
use nearedge_core::request::door::Door;
use nearedge_core::response::{Context, Outcome};
use nearedge_core::rules::Instead;
use nearedge_core::store::{FetchError, FetchRequest, Fetched, Part, Source, Store};

use crate::origin::Origin;
use crate::origin::found::{Found, worst_source};
use crate::origin::object::{certainly_fits, fits};
use crate::origin::stream::{overflow, stream};

impl<S: Store> Origin<S> {
    /// Responds if the object `key` exists. If it does not, the result is missing.
    pub(super) async fn instead<'a>(
        &self,
        key: &ObjectKey,
        instead: &Instead,
        part: Part,
        context: &Context<'_, '_>,
        deadline: Instant,
    ) -> Found<'a> {
        match instead {
            Instead::Body(status) => self.generated(key, *status, part, context, deadline).await,
            Instead::Redirect(redirect) => {
                let mut probe = Probe::default();
                let Some(found) = probe.missing(self, key, deadline).await else {
                    for key in &redirect.unless {
                        match probe.missing(self, key, deadline).await {
                            Some(Found { missing: Some(_), .. }) => {}
                            Some(failed) => return probe.of(failed),
                            None => return probe.of(missing(key)),
                        }
                    }
                    return probe.of(Outcome::Moved(307, redirect.location.clone()).into());
                };
                probe.of(found)
            }
        }
    }

    /// The generated response with this object as its body.
    async fn generated<'a>(
        &self,
        key: &ObjectKey,
        status: u16,
        part: Part,
        context: &Context<'_, '_>,
        deadline: Instant,
    ) -> Found<'a> {
        let has_room = |head: &Head, _: Option<&Range<u64>>| {
            let object = Object { head: head.clone(), range: None, body: Body::default() };
            fits(Outcome::Generated(status, Some(object)), context)
        };
        let request = FetchRequest::unconditional(key, part, &has_room);
        let overflow = overflow(context);
        let request = FetchRequest { accepts: context.accepts, overflow: overflow.as_ref(), ..request };
        let response = self.fetch(&request, deadline).await;
        let found = match response.result {
            Ok(Fetched::Object(object)) => Outcome::Generated(status, Some(object)).into(),
            Ok(Fetched::TooLarge(head)) => match stream(&request, &head) {
                Some((object, stream)) => Found { stream, ..Outcome::Generated(status, Some(object)).into() },
                None => Outcome::TooLarge(key.clone(), head.size_bytes, head.copyable()).into(),
            },
            Ok(_) => Outcome::Generated(status, None).into(),
            Err(error) => failed(key, error),
        };
        Found { source: Some(response.source), waited: response.waited, ..found }
    }
}

/// Requests that only ask whether objects exist.
///
/// Whole objects are requested: a missing one then costs one request, because S3's response to HEAD does not tell why it fails;
/// and the page is in the cache when the client follows the redirect.
#[derive(Default)]
struct Probe {
    source: Option<Source>,
    waited: Duration,
}

impl Probe {
    /// Returns `None` if the object exists; otherwise that it is missing, or the failure.
    async fn missing<'a, S: Store>(
        &mut self,
        origin: &Origin<S>,
        key: &ObjectKey,
        deadline: Instant,
    ) -> Option<Found<'a>> {
        let fits = |head: &Head, range: Option<&Range<u64>>| certainly_fits(head, range, Door::HttpApi);
        let response = origin.fetch(&FetchRequest::unconditional(key, Part::Whole, &fits), deadline).await;
        self.source = worst_source(self.source, response.source);
        self.waited += response.waited;
        response.result.err().map(|error| failed(key, error))
    }

    fn of<'a>(self, found: Found<'a>) -> Found<'a> {
        Found { source: self.source, waited: self.waited, ..found }
    }
}

fn missing<'a>(key: &ObjectKey) -> Found<'a> {
    failed(key, FetchError::Missing(nearedge_core::store::Missing::NoSuchKey))
}

fn failed<'a>(key: &ObjectKey, error: FetchError) -> Found<'a> {
    let missing = match &error {
        FetchError::Missing(reason) => Some(*reason),
        _ => None,
    };
    let cause = Some(error.clone()).filter(|error| error.cause().is_some());
    Found { missing, error: cause, ..Outcome::NotFetched(key.clone(), error).into() }
}
