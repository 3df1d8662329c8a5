//! Assigns the visitor of a request: the version, the cookies, and how the answer may be cached.

use std::borrow::Cow;

use crate::experiment::assignment::Assignments;
use crate::experiment::bot::is_bot;
use crate::experiment::cookie::{ID_BYTES, VisitorState, encode_id};
use crate::experiment::definition::Definition;
use crate::experiment::evaluation::{Evaluation, Visitor};
use crate::experiment::settings::ExperimentSettings;
use crate::experiment::spec::Experiment;
use crate::experiment::url::{is_same_url, merge_query_strings};
use crate::experiment::value::Value;
use crate::experiment::visitor::{Participation, RequestVisitor};
use crate::request::Request;
use crate::request::visit::Visit;
use crate::response::Personal;

/// What an assignment needs besides the request.
#[derive(Clone, Copy)]
pub struct Experiments<'a> {
    /// The active definition; `None` if none could be loaded.
    pub definition: Option<&'a Definition>,
    /// The settings.
    pub settings: &'a ExperimentSettings,
    /// The fields of the request that experiments use.
    pub visit: &'a Visit<'a>,
    /// Returns random bytes for a new visitor's id, if there are any.
    pub new_id: &'a (dyn Fn() -> Option<[u8; ID_BYTES]> + Sync),
}

impl std::fmt::Debug for Experiments<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Experiments").finish_non_exhaustive()
    }
}

/// The result of assigning a visitor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assignment<'a> {
    /// The version; `None` for the objects without a version.
    pub version: Option<&'a str>,
    /// The address to which an experiment redirects.
    pub redirect: Option<String>,
    /// What the response must say because it is for this visitor.
    pub personal: Personal<'a>,
    /// The experiments that the visitor sees for the first time.
    pub exposures: Vec<Exposure<'a>>,
}

/// A visitor's first view of a variation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exposure<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// The index of the variation.
    pub variation: usize,
}

/// Assigns the visitor of a request that does not state a version itself.
pub fn assign<'a>(request: &'a Request<'a>, experiments: Experiments<'a>) -> Assignment<'a> {
    let Experiments { definition, settings, visit, new_id } = experiments;
    let Some(definition) = definition else {
        // Any answer may be another one as soon as there is a definition.
        let personal = Personal { private: true, vary_cookie: true, ..Personal::default() };
        return Assignment { personal, ..Assignment::default() };
    };
    let cookies = &settings.cookies;
    let navigates = visit.is_navigation(request);
    let sent = visit.cookies.pair(&cookies.visitor);
    let consents = has_consent(settings, visit);
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
    let visitor = RequestVisitor::new(request, visit, settings, id.as_deref(), earlier);
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
    let mut exposures = Vec::new();
    if navigates && !consents && (sent.visitor.is_some() || sent.assignments.is_some()) {
        personal.cookies = Some(Box::new(cookies.expire()));
    } else if let Some(id) = id.as_deref().filter(|_| navigates) {
        let state = known.unwrap_or_else(|| VisitorState::new(id));
        let unseen = |seen: &&Participation<'a>| !state.is_counted(seen.experiment.label.mark);
        let mut unseen = participations.iter().filter(unseen).peekable();
        if known.is_none() || unseen.peek().is_some() || !assignments.is_unchanged() {
            // A preview is marked as counted, so that it never counts. It ends with the session, as its assignments do.
            let previewed = participations.iter().filter(|seen| seen.forced).map(|seen| seen.experiment.label.preview);
            let marks = unseen.clone().map(|seen| seen.experiment.label.mark).chain(previewed.clone());
            let goes_on = sent.assignments.is_some() && state.has_preview(&definition.labels);
            let is_preview = goes_on || previewed.count() > 0;
            personal.cookies = Some(Box::new([
                cookies.set_visitor(&state.write(marks, is_preview, &definition.labels)),
                cookies.set_assignments(&assignments.text(), is_preview),
            ]));
        }
        let counted = unseen.filter(|seen| !seen.forced);
        exposures.extend(counted.map(|seen| Exposure { experiment: seen.experiment, variation: seen.variation }));
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
    personal.private =
        personal.cookies.is_some() || redirect.is_some() || used.uncacheable || used.hash && !is_canonical;
    Assignment { version, redirect, personal, exposures }
}

/// Whether the visitor has consented, or need not.
fn has_consent(settings: &ExperimentSettings, visit: &Visit<'_>) -> bool {
    settings.consent.as_ref().is_none_or(|consent| {
        let value = visit.cookies.get(&consent.name);
        value.is_some_and(|value| consent.value.as_deref().is_none_or(|expected| expected == value))
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
