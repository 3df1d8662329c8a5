//! How many visitors a new definition moves to another variation.

use std::io::{self, Write};

use nearedge_core::experiment::definition::Definition;
use nearedge_core::experiment::problem::Problem;
use nearedge_core::experiment::spec::Experiment;

/// The number of simulated visitors.
const VISITORS: u32 = 100_000;

/// The changes of one experiment, in visitors of [`VISITORS`].
pub(super) struct Moves {
    key: String,
    /// Visitors who take part in both and get another variation.
    moved: u32,
    /// Visitors who take part only in the new one.
    joined: u32,
    /// Visitors who took part only in the old one.
    left: u32,
    /// Whether assignments of the old one count in the new one, so that cookies keep visitors where they are.
    keeps_assignments: bool,
    same_phase: bool,
}

/// Compares the experiments of two definitions by key.
pub(super) fn moves(old: &Definition, new: &Definition) -> Vec<Moves> {
    let mut all: Vec<Moves> = Vec::new();
    for after in new.experiments() {
        if all.iter().any(|moves| *moves.key == *after.key) {
            continue;
        }
        let before = old.experiments().find(|before| before.key == after.key);
        all.push(Moves::of(before, Some(after), &after.key));
    }
    for before in old.experiments() {
        if !all.iter().any(|moves| *moves.key == *before.key) {
            all.push(Moves::of(Some(before), None, &before.key));
        }
    }
    all
}

impl Moves {
    fn of(before: Option<&Experiment>, after: Option<&Experiment>, key: &str) -> Self {
        let (mut moved, mut joined, mut left) = (0, 0, 0);
        for visitor in 0..VISITORS {
            let id = format!("visitor-{visitor}");
            // Variations are compared by key, because an insertion shifts indices.
            let variation = |experiment: Option<&Experiment>| {
                let variation = experiment?.hashed_variation(&id)?;
                Some(experiment?.variation_key(variation).into_owned())
            };
            match (variation(before), variation(after)) {
                (Some(before), Some(after)) if before != after => moved += 1,
                (None, Some(_)) => joined += 1,
                (Some(_), None) => left += 1,
                _ => {}
            }
        }
        let both = before.zip(after);
        Self {
            key: key.to_owned(),
            moved,
            joined,
            left,
            keeps_assignments: both.is_some_and(|(before, after)| {
                before.bucket_version == after.bucket_version && before.sticky && after.sticky
            }),
            same_phase: both.is_some_and(|(before, after)| before.phase == after.phase),
        }
    }

    /// A warning, if visitors move while the experiment goes on counting.
    pub(super) fn problem(&self) -> Option<Problem> {
        let Self { key, moved, keeps_assignments, same_phase, .. } = self;
        if *moved == 0 || !same_phase {
            return None;
        }
        let percent = percent(*moved);
        let reason = match keeps_assignments {
            true => format!(
                "{percent} of all visitors hash into another variation of {key}; the cookies of those who take part keep \
                 them in theirs, so that the observed split is a mixture"
            ),
            false => format!("{percent} of all visitors move to another variation of {key} and count in both"),
        };
        Some(Problem::beside(
            key.clone(),
            reason,
            "change \"phase\" and raise \"bucketVersion\", so that the experiment starts afresh; to ramp up, change only coverage",
        ))
    }
}

/// Prints the changes.
pub(super) fn report_moves(moves: &[Moves], mut out: impl Write) -> io::Result<()> {
    for Moves { key, moved, joined, left, keeps_assignments, .. } in moves {
        let kept = if *keeps_assignments && *moved > 0 { " (only those without a cookie)" } else { "" };
        let [moved, joined, left] = [moved, joined, left].map(|visitors| percent(*visitors));
        writeln!(out, "{key}: {moved} of all visitors move{kept}, {joined} join, {left} leave")?;
    }
    if moves.is_empty() {
        writeln!(out, "neither definition has an experiment")?;
    }
    writeln!(out)
}

fn percent(visitors: u32) -> String {
    format!("{:.1} %", f64::from(visitors) * 100.0 / f64::from(VISITORS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nearedge_core::experiment::definition::{Constraints, FEATURE};

    fn definition(members: &str) -> Definition {
        let text = format!(
            r#"{{"features": {{"test_version": {{"rules": [{{"key": "a", "variations": ["v1", "v2"], "hashVersion": 2, {members}}}]}}}}}}"#
        );
        Definition::parse(&text, Constraints { feature: FEATURE, test_versions: None, cache_key: &[] }).unwrap().0
    }

    fn compare(old: &str, new: &str) -> Moves {
        moves(&definition(old), &definition(new)).remove(0)
    }

    #[test]
    fn a_ramp_moves_nobody_and_lets_visitors_join() {
        let moves = compare(r#""coverage": 0.1"#, r#""coverage": 0.5"#);
        assert_eq!((moves.moved, moves.left), (0, 0));
        assert!((39_000..41_000).contains(&moves.joined), "{}", moves.joined);
        assert!(moves.problem().is_none());
    }

    #[test]
    fn other_weights_move_visitors_unless_a_new_phase_starts() {
        let (halves, others) = (r#""weights": [0.5, 0.5], "phase": "0""#, r#""weights": [0.7, 0.3], "phase": "0""#);
        let moves = compare(halves, others);
        assert!((19_000..21_000).contains(&moves.moved), "{}", moves.moved);
        assert!(
            moves.problem().is_some_and(|problem| problem.reason.contains("20.") || problem.reason.contains("19."))
        );
        assert!(compare(halves, r#""weights": [0.7, 0.3], "phase": "1", "bucketVersion": 1"#).problem().is_none());
    }
}
