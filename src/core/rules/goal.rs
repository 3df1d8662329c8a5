//! Stage: the beacons of goals.

use std::ops::ControlFlow;

use crate::experiment::assign::beacon;
use crate::request::Method;
use crate::rules::action::{Draft, Stage, respond};

/// Responds to a request below the path of goals, by GET, HEAD or POST: `navigator.sendBeacon` sends a POST
/// ([Beacon §3.2](https://www.w3.org/TR/beacon/#sec-processing-model)).
pub(super) fn answer_beacon(draft: &mut Draft<'_, '_>) -> Stage {
    let Some(experiments) = draft.active.experiments else { return ControlFlow::Continue(()) };
    let is_beacon = match draft.request.method {
        Method::Get | Method::Head => true,
        Method::Options => false,
        Method::Other => draft.request.other_method == "POST",
    };
    match draft.request.path.strip_prefix(&*experiments.settings.goal_path).filter(|_| is_beacon) {
        None => ControlFlow::Continue(()),
        Some(key) => {
            let (outcome, assignment) = beacon(draft.request, experiments, key);
            draft.assignment = assignment;
            respond(outcome)
        }
    }
}
