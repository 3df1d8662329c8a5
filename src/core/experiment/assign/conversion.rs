//! Conversions: the goals that a visitor reaches after an exposure.

use crate::experiment::assign::participant::{Assignment, Experiments};
use crate::experiment::assignment::Assignments;
use crate::experiment::bot::is_bot;
use crate::experiment::cookie::VisitorState;
use crate::experiment::count::{Count, CountKind, Counts, read_value};
use crate::experiment::counting::Goal;
use crate::experiment::definition::Definition;
use crate::experiment::evaluation::Sticky;
use crate::experiment::mark::Mark;
use crate::experiment::url::parameter;
use crate::experiment::visitor::RequestVisitor;
use crate::request::{Method, Request};
use crate::response::{Outcome, Personal};
use serde_json::Number;

/// The longest value of an attribute in a line, in bytes.
const ATTRIBUTE_BYTES_MAX: usize = 128;

/// A conversion that counts, with its mark.
pub(super) struct Conversion {
    pub(super) mark: Mark,
    pub(super) count: Count,
}

/// The conversions of a visitor who reaches a goal: one for each experiment that has counted an exposure, but no
/// conversion yet.
pub(super) fn conversions<'s>(
    definition: &'s Definition,
    goal: &'s Goal,
    value: Option<&'s Number>,
    state: &'s VisitorState<'_>,
    assignments: &'s Assignments<'_>,
) -> impl Iterator<Item = Conversion> {
    let labels = definition.labels.iter().enumerate().filter(|(index, label)| {
        state.is_counted(label.mark) && !state.is_counted(label.excluded) && !state.is_counted(goal.mark(*index))
    });
    labels.filter_map(move |(index, label)| {
        let Sticky::Variation(variation) = assignments.sticky(label) else { return None };
        let count = Count {
            experiment: label.names.key.clone(),
            variation: label.names.variations.get(variation)?.clone(),
            phase: label.names.phase.clone(),
            in_metrics: definition.counting.is_in_metrics(index),
            kind: CountKind::Conversion { goal: goal.key.clone(), value: value.cloned() },
        };
        Some(Conversion { mark: goal.mark(index), count })
    })
}

/// Responds to a beacon for the goal `key`. Counts unless the request is of a bot, a prefetch, of a visitor without
/// consent, or states its version itself.
pub fn beacon<'a>(
    request: &'a Request<'a>,
    experiments: Experiments<'a>,
    key: &str,
) -> (Outcome, Option<Assignment<'a>>) {
    let Experiments { definition, settings, visit, .. } = experiments;
    let goal = definition.and_then(|definition| Some((definition, definition.counting.goal(key)?)));
    let Some((definition, goal)) = goal else { return (Outcome::GoalUnknown, None) };
    let value = match parameter(&request.query, "value").filter(|value| !value.is_empty()) {
        None => None,
        Some(text) => match read_value(&text) {
            Ok(value) => Some(value),
            Err(reason) => return (Outcome::ValueRefused(reason), None),
        },
    };
    let is_counting = request.method != Method::Head
        && request.test_version.is_none()
        && !visit.is_prefetch()
        && experiments.has_consent();
    let sent = visit.cookies.pair(&settings.cookies.visitor);
    let known = sent.visitor.filter(|_| is_counting).and_then(VisitorState::read);
    let Some((state, assignments)) = known.zip(sent.assignments) else { return (Outcome::GoalReached, None) };
    let assignments = Assignments::read(assignments, &definition.labels);
    let found: Vec<Conversion> = conversions(definition, goal, value.as_ref(), &state, &assignments).collect();
    let is_bot = || visit.user_agent().is_some_and(|user_agent| is_bot(&user_agent, &settings.bots));
    if found.is_empty() || is_bot() {
        return (Outcome::GoalReached, None);
    }
    let is_preview = state.marks().any(|mark| definition.counting.is_preview(mark));
    let marks = found.iter().map(|conversion| conversion.mark);
    let cookie = state.write(marks, |mark| definition.counting.keeps(mark, is_preview));
    let cookies =
        [settings.cookies.set_visitor(&cookie), settings.cookies.set_assignments(&assignments.text(), is_preview)];
    let counted = found.into_iter().map(|conversion| conversion.count).collect();
    let visitor = RequestVisitor::new(request, visit, settings, Some(state.id), None, Assignments::default());
    let counts = Counts::new(state.id, settings.hash_ids, attributes(definition, &visitor), counted);
    let personal = Personal { private: true, cookies: Some(Box::new(cookies)), ..Personal::default() };
    (Outcome::GoalReached, Some(Assignment { personal, counts: Some(Box::new(counts)), ..Assignment::default() }))
}

/// The attributes that the rules use, as lines contain them. A value that contains the secret is left out.
pub(super) fn attributes(definition: &Definition, visitor: &RequestVisitor<'_, '_>) -> Vec<(Box<str>, Box<str>)> {
    let value = |field| {
        let value = visitor.text(field)?;
        Some(value[..value.floor_char_boundary(ATTRIBUTE_BYTES_MAX)].into())
    };
    definition.counting.attributes.iter().filter_map(|(name, field)| Some((name.clone(), value(field)?))).collect()
}
