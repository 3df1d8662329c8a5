//! Assigns the visitor of a request: the version, the cookies, what is counted, and how the answer may be cached.

mod conversion;
mod participant;

use std::borrow::Cow;
use std::sync::Arc;

use crate::experiment::assignment::Assignments;
use crate::experiment::bot::is_bot;
use crate::experiment::cookie::{VisitorState, encode_id};
use crate::experiment::count::{Count, CountKind, Counts};
use crate::experiment::definition::Definition;
use crate::experiment::evaluation::{Evaluation, Visitor};
use crate::experiment::label::Label;
use crate::experiment::page::Page;
use crate::experiment::url::{is_same_url, merge_query_strings};
use crate::experiment::value::Value;
use crate::experiment::visitor::{Participation, RequestVisitor};
use crate::request::Request;
use crate::response::Personal;

pub use self::conversion::beacon;
use self::conversion::{Conversion, attributes, conversions};
pub use self::participant::{Assignment, Experiments};

/// Assigns the visitor of a request that does not state a version itself; `claims` are those of the visitor's token.
pub fn assign<'a>(request: &'a Request<'a>, experiments: Experiments<'a>, claims: Option<&Value>) -> Assignment<'a> {
    let Experiments { definition, settings, visit, new_id } = experiments;
    let Some(definition) = definition else {
        // Any answer may be another one as soon as there is a definition.
        let personal = Personal { private: true, vary_cookie: true, ..Personal::default() };
        return Assignment { personal, ..Assignment::default() };
    };
    let cookies = &settings.cookies;
    let navigates = visit.is_navigation(request);
    let sent = visit.cookies.pair(&cookies.visitor);
    let consents = experiments.has_consent();
    let known = sent.visitor.filter(|_| consents).and_then(VisitorState::read);
    let is_bot = || visit.user_agent().is_some_and(|user_agent| is_bot(&user_agent, &settings.bots));
    let id = match &known {
        Some(state) => Some(Cow::Borrowed(state.id)),
        None if navigates && consents && !is_bot() => new_id().map(|random| Cow::Owned(encode_id(random))),
        None => None,
    };
    let earlier = match (known, sent.assignments) {
        (Some(_), Some(assignments)) => Assignments::read(assignments, &definition.labels),
        _ => Assignments::default(),
    };
    let visitor = RequestVisitor::new(request, visit, settings, id.as_deref(), claims, earlier);
    let mut evaluation = Evaluation::new(&definition.plan.features, &visitor);
    // For other requests too, because a cache does not tell their answers from those to navigations.
    let redirect = redirect(definition, &visitor, &mut evaluation).filter(|_| navigates);
    let version = match (&redirect, definition.plan.feature) {
        (None, feature @ Some(_)) => match evaluation.feature(feature).value {
            Value::Text(version) => Some(&**version),
            _ => None,
        },
        _ => None,
    };
    let (participations, used) = (visitor.participations.borrow(), visitor.used());
    let assignments = visitor.assignments.borrow();
    let mut personal = Personal {
        vary_cookie: used.hash || used.cookie,
        server_timing: server_timing(&participations),
        ..Personal::default()
    };
    let page = Page { path: &request.path, url: &|| visitor.url() };
    let counting = &definition.counting;
    let mut counts = None;
    if navigates && !consents && (sent.visitor.is_some() || sent.assignments.is_some()) {
        personal.cookies = Some(Box::new(cookies.expire()));
    } else if let Some(id) = id.as_deref() {
        let state = known.unwrap_or_else(|| VisitorState::new(id));
        let unseen = |seen: &&Participation<'a>| {
            navigates
                && !state.is_counted(seen.experiment.label.mark)
                && (seen.forced || counting.counts_exposure(&seen.experiment.key, &page))
        };
        let mut unseen = participations.iter().filter(unseen).peekable();
        let reached = (known.is_some() && visit.is_get(request)).then(|| counting.reached(&page, navigates));
        let converted = reached.into_iter().flatten();
        let converted = converted.flat_map(|goal| conversions(definition, goal, None, &state, &assignments));
        let converted: Vec<Conversion> = converted.collect();
        let is_news = unseen.peek().is_some() || !converted.is_empty();
        let is_changed = navigates && (known.is_none() || !assignments.is_unchanged());
        if (is_news || is_changed) && !(known.is_some() && is_bot()) {
            // A preview is marked as counted and excluded, so that it never counts. It ends with the session, as its
            // assignments do.
            let previewed = participations.iter().filter(|seen| seen.forced).map(|seen| &seen.experiment.label);
            let previews = previewed.clone().flat_map(|label| [label.preview, label.excluded]);
            let marks = unseen.clone().map(|seen| seen.experiment.label.mark).chain(previews);
            let marks = marks.chain(converted.iter().map(|conversion| conversion.mark));
            let goes_on = sent.assignments.is_some() && state.marks().any(|mark| counting.is_preview(mark));
            let is_preview = goes_on || previewed.count() > 0;
            personal.cookies = Some(Box::new([
                cookies.set_visitor(&state.write(marks, |mark| counting.keeps(mark, is_preview))),
                cookies.set_assignments(&assignments.text(), is_preview),
            ]));
            let exposed = unseen.filter(|seen| !seen.forced).filter_map(|seen| exposure(definition, seen, version));
            let counted: Vec<Count> = exposed.chain(converted.into_iter().map(|conversion| conversion.count)).collect();
            counts = (!counted.is_empty())
                .then(|| Box::new(Counts::new(id, settings.hash_ids, attributes(definition, &visitor), counted)));
        }
    }
    // A shared cache may keep the answer if its key, with the assignments in it, determines the answer. Without any
    // assignment the key is that of every new visitor, who would never be assigned then. Of two cookies with the same name,
    // the key may contain another one than this evaluation used.
    let is_canonical = known.is_some()
        && !assignments.is_empty()
        && assignments.fit()
        && assignments.is_unchanged()
        && !sent.has_several
        && settings.has_consent_in_cache_key();
    personal.private = personal.cookies.is_some()
        || redirect.is_some()
        || used.uncacheable
        || used.hash && !is_canonical
        || counting.needs_every_view(&page);
    Assignment { version, redirect, personal, counts }
}

/// The count of a first view.
fn exposure(definition: &Definition, seen: &Participation<'_>, version: Option<&str>) -> Option<Count> {
    let label = &seen.experiment.label;
    let is_same = |other: &Arc<Label>| (&other.key, &other.version) == (&label.key, &label.version);
    let index = definition.labels.iter().position(is_same)?;
    Some(Count {
        experiment: label.names.key.clone(),
        variation: label.names.variations.get(seen.variation)?.clone(),
        phase: label.names.phase.clone(),
        in_metrics: definition.counting.is_in_metrics(index),
        kind: CountKind::Exposure { version: version.map(Into::into) },
    })
}

/// Runs the automatic experiments until the visitor takes part in one. Returns the address of its redirect.
fn redirect<'a>(
    definition: &'a Definition,
    visitor: &RequestVisitor<'a, '_>,
    evaluation: &mut Evaluation<'a, '_, RequestVisitor<'a, '_>>,
) -> Option<String> {
    let mut assigned = definition.plan.automatic.iter().map(|experiment| evaluation.experiment(experiment));
    let assigned = assigned.find(|assigned| assigned.in_experiment)?;
    let experiment = assigned.experiment;
    let address = experiment.redirect(assigned.variation).filter(|address| !address.is_empty())?;
    // Whether it happens depends on the whole URL, and on the kind of the request.
    visitor.uncacheable();
    let address = match experiment.persist_query_string {
        true => merge_query_strings(visitor.url(), address),
        false => address.to_owned(),
    };
    // An address that the experiment targets too would redirect again, as GrowthBook's SDK prevents.
    (!is_same_url(visitor.url(), &address) && !experiment.targets(&address)).then_some(address)
}

/// The value of Server-Timing ([specification](https://www.w3.org/TR/server-timing/#the-server-timing-header-field)).
fn server_timing<'a>(participations: &[Participation<'a>]) -> Option<Cow<'a, str>> {
    let timing = |seen: &Participation<'a>| seen.experiment.label.timings.get(seen.variation).map(|timing| &**timing);
    match participations {
        [] => None,
        [one] => timing(one).map(Cow::Borrowed),
        several => {
            let timings: Vec<&str> = several.iter().filter_map(timing).collect();
            Some(Cow::Owned(timings.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests;
