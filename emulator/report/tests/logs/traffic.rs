//! Difficult traffic: what counts, and what is left out. docs/report.md has a table of these cases.

use nearedge_report::counts::GoalCounts;
use nearedge_report::tally::collect::Selection;
use nearedge_report::tally::count::SKEW_MILLIS;
use nearedge_report::tally::outline::{Outline, VariationOutline};
use nearedge_report::tally::result::{LeftOutConversions, Segment};
use proptest::prelude::*;
use serde_json::json;

use crate::line::{NOON, access, conversion, expected, exposure, numbers, tallies_of, tally, text, with};

/// Two visitors, of whom the second converts.
fn plain() -> Vec<serde_json::Value> {
    vec![
        exposure(1, "control", NOON),
        exposure(2, "treatment", NOON + 1000),
        conversion(2, "treatment", "signup", NOON + 60_000),
    ]
}

#[test]
fn exposures_and_conversions_are_counted_per_variation() {
    let tally = tally(&plain());
    assert_eq!(numbers(&tally.counts, "signup"), expected((1, 0), (1, 1)));
    assert_eq!((&*tally.counts.experiment, &*tally.phase), ("checkout", "1"));
    assert_eq!(tally.span, Some((NOON, NOON + 60_000)));
    assert_eq!((tally.is_defined, tally.left_out), (false, Default::default()));
}

#[test]
fn a_line_that_is_delivered_twice_counts_once() {
    let mut lines = plain();
    lines.extend(plain());
    let tally = tally(&lines);
    assert_eq!(numbers(&tally.counts, "signup"), expected((1, 0), (1, 1)));
    assert_eq!((tally.left_out.repeated_exposures, tally.left_out.repeated_conversions), (2, 1));
}

#[test]
fn the_earliest_of_two_beacons_counts_with_its_value() {
    let value = |at, value: f64| with(conversion(2, "treatment", "order", NOON + at), "value", json!(value));
    // Two beacons at once, and a later one.
    let lines = [exposure(2, "treatment", NOON), value(2000, 50.0), value(1500, 12.5), value(1500, 99.0)];
    let tally = tally(&lines);
    let expected = GoalCounts { conversions: 1, sum: Some(12.5), sum_squares: Some(156.25) };
    assert_eq!(tally.counts.variations[0].goals["order"], expected);
    assert_eq!(tally.left_out.repeated_conversions, 2);
}

#[test]
fn a_visitor_of_two_variations_is_left_out() {
    let mut lines = plain();
    lines.push(exposure(2, "control", NOON + 5000));
    // The exposure to the other variation is not in the lines.
    lines.extend([exposure(3, "control", NOON), conversion(3, "treatment", "signup", NOON + 1)]);
    let tally = tally(&lines);
    assert_eq!(numbers(&tally.counts, "signup"), expected((1, 0), (0, 0)));
    assert_eq!(tally.left_out.visitors_in_two_variations, 2);
    assert_eq!(tally.left_out.conversions["signup"].of_left_out_visitors, 2);
}

#[test]
fn a_goal_before_the_exposure_does_not_count() {
    let early = NOON - SKEW_MILLIS - 1;
    let lines = [
        exposure(1, "control", NOON),
        conversion(1, "control", "signup", early),
        // Reached again later, which counts.
        exposure(2, "treatment", NOON),
        conversion(2, "treatment", "signup", early),
        conversion(2, "treatment", "signup", NOON + 1),
    ];
    let tally = tally(&lines);
    assert_eq!(numbers(&tally.counts, "signup"), expected((1, 0), (1, 1)));
    let left_out = LeftOutConversions { before_exposure: 1, ..Default::default() };
    assert_eq!(tally.left_out.conversions["signup"], left_out);
}

#[test]
fn clocks_may_differ_by_the_tolerance() {
    let tally = tally(&[exposure(1, "control", NOON), conversion(1, "control", "signup", NOON - SKEW_MILLIS)]);
    assert_eq!(numbers(&tally.counts, "signup"), [("control".to_owned(), 1, 1)]);
    assert_eq!(tally.series.last().map(|(_, counts)| counts), Some(&tally.counts));
}

#[test]
fn a_goal_on_another_device_does_not_count() {
    let mut lines = plain();
    // The other device has another id.
    lines.extend([conversion(9, "control", "signup", NOON + 1), conversion(9, "control", "signup", NOON + 2)]);
    let tally = tally(&lines);
    assert_eq!(numbers(&tally.counts, "signup"), expected((1, 0), (1, 1)));
    let left_out = LeftOutConversions { without_exposure: 1, ..Default::default() };
    assert_eq!((tally.left_out.conversions["signup"], tally.left_out.repeated_conversions), (left_out, 1));
}

#[test]
fn reloads_and_double_clicks_count_once() {
    let mut lines = plain();
    for second in 1..10 {
        lines.push(exposure(2, "treatment", NOON + 1000 * second));
        lines.push(conversion(2, "treatment", "signup", NOON + 60_000 + second));
    }
    assert_eq!(numbers(&tally(&lines).counts, "signup"), expected((1, 0), (1, 1)));
}

#[test]
fn the_latest_phase_counts_unless_one_is_selected() {
    let in_phase = |line, phase: &str| with(line, "phase", json!(phase));
    let mut lines = plain();
    lines.push(in_phase(exposure(5, "control", NOON + 10_000), "2"));
    lines.push(in_phase(exposure(2, "control", NOON + 20_000), "2"));
    // Written by an environment with the old definition.
    lines.push(exposure(6, "control", NOON + 90_000));
    let latest = tally(&lines);
    assert_eq!((&*latest.phase, latest.other_phases), ("2", vec![("1".to_owned(), NOON)]));
    assert_eq!(latest.counts.variations[0].visitors, 2);
    let selection = Selection { phase: Some("1".to_owned()), ..Default::default() };
    let (tallies, _) = tallies_of(&[text(&lines).as_bytes()], &selection, &[], None);
    assert_eq!(numbers(&tallies[0].counts, "signup"), expected((2, 0), (1, 1)));
}

#[test]
fn times_select_visitors_by_their_first_exposure() {
    let mut lines = plain();
    // Visitor 1 returns with the cookie deleted in part; visitor 2 converts too late.
    lines.push(exposure(1, "control", NOON + 30_000));
    lines.push(exposure(3, "control", NOON + 60_000));
    let selection = Selection { from: Some(NOON + 1), to: Some(NOON + 60_000), ..Default::default() };
    let (tallies, _) = tallies_of(&[text(&lines).as_bytes()], &selection, &[], None);
    assert_eq!(numbers(&tallies[0].counts, "signup"), expected((0, 0), (1, 0)));
    assert_eq!(tallies[0].left_out.visitors_before_from, 1);
}

#[test]
fn an_attribute_splits_by_its_value_at_the_exposure() {
    let from = |line, country: &str| with(line, "country", json!(country));
    let lines = [
        from(exposure(1, "control", NOON), "CN"),
        from(exposure(2, "treatment", NOON), "CN"),
        // Moved since.
        from(conversion(2, "treatment", "signup", NOON + 1), "HK"),
        from(exposure(3, "treatment", NOON), "HK"),
        exposure(4, "control", NOON),
    ];
    let (tallies, _) = tallies_of(&[text(&lines).as_bytes()], &Selection::default(), &[], Some("country"));
    let split: Vec<_> =
        tallies[0].split.iter().map(|(segment, counts)| (segment.clone(), numbers(counts, "signup"))).collect();
    let value = |text: &str| Segment::Value(text.to_owned());
    assert_eq!(
        split,
        [
            (value("CN"), expected((1, 0), (1, 1))),
            (value("HK"), expected((0, 0), (1, 0))),
            (Segment::Missing, expected((1, 0), (0, 0))),
        ]
    );
}

#[test]
fn a_definition_gives_order_weights_and_names() {
    let variation =
        |key: &str, weight| VariationOutline { key: key.to_owned(), name: Some(key.to_uppercase()), weight };
    let outline = Outline {
        key: "checkout".to_owned(),
        phase: "1".to_owned(),
        variations: vec![variation("treatment", 0.2), variation("control", 0.8)],
    };
    let mut lines = plain();
    lines.push(exposure(7, "removed", NOON));
    let (tallies, _) = tallies_of(&[text(&lines).as_bytes()], &Selection::default(), &[outline], None);
    let tally = &tallies[0];
    assert!(tally.is_defined);
    assert_eq!(tally.names, [Some("TREATMENT".to_owned()), Some("CONTROL".to_owned())]);
    let first = &tally.counts.variations[0];
    assert_eq!((&*first.key, first.weight, first.visitors), ("treatment", 0.2, 1));
    assert_eq!(tally.left_out.visitors_of_unknown_variations["removed"], 1);
}

#[test]
fn weights_of_another_phase_are_not_those_of_this_one() {
    let variation = |key: &str, weight| VariationOutline { key: key.to_owned(), name: None, weight };
    let outline = |phase: &str, weights: [f64; 2]| Outline {
        key: "checkout".to_owned(),
        phase: phase.to_owned(),
        variations: vec![variation("treatment", weights[0]), variation("control", weights[1])],
    };
    for (outline, is_defined) in
        [(outline("1", [0.1, 0.9]), true), (outline("2", [0.1, 0.9]), false), (outline("1", [0.0, 0.0]), false)]
    {
        let (tallies, _) = tallies_of(&[text(&plain()).as_bytes()], &Selection::default(), &[outline], None);
        let [first, second] = &tallies[0].counts.variations[..] else { panic!("{tallies:?}") };
        assert_eq!((&*first.key, tallies[0].is_defined), ("treatment", is_defined));
        assert_eq!(first.weight == second.weight, !is_defined);
    }
}

#[test]
fn names_in_lines_have_no_control_characters() {
    let lines = [exposure(1, "con\u{1b}[2Jtrol\n", NOON), exposure(2, "con\u{1b}[2Jtrol\n", NOON)];
    let tally = tally(&lines);
    let [variation] = &tally.counts.variations[..] else { panic!("{tally:?}") };
    assert_eq!((&*variation.key, variation.visitors), ("con\u{fffd}[2Jtrol\u{fffd}", 2));
}

#[test]
fn requests_belong_to_the_variation_with_their_version() {
    let mut lines = plain();
    lines.extend((0..100).map(|number| access("v2", if number < 3 { 503 } else { 200 }, 10.0, NOON)));
    lines.extend([access("v1", 200, 20.0, NOON), access("other", 200, 1.0, NOON)]);
    // Hours before the experiment, and a request that states its version.
    lines.push(access("v1", 500, 1.0, NOON - 7_200_000));
    lines.push(with(access("v1", 500, 1.0, NOON), "assigned", json!("forced")));
    let tally = tally(&lines);
    let [control, treatment] = &tally.guardrails[..] else { panic!("{:?}", tally.guardrails) };
    assert_eq!((control.requests, control.failures, control.body_bytes), (1, 0, Some(5120.0)));
    assert_eq!((treatment.requests, treatment.failures), (100, 3));
    let p90 = treatment.p90_millis.unwrap();
    assert!((p90 - 10.0).abs() < 0.16, "{p90}");
    assert_eq!((treatment.p90_interval.is_some(), control.p90_interval), (true, None));
    assert_eq!(tally.forced_requests, 1);
}

#[test]
fn variations_with_one_version_share_their_requests() {
    let lines = [exposure(1, "blue", NOON), exposure(2, "green", NOON), access("v2", 200, 1.0, NOON)];
    let tally = tally(&lines);
    assert!(tally.guardrails.iter().all(|guardrail| guardrail.obstacle.is_some() && guardrail.requests == 0));
}

proptest! {
    // Repetitions, two variations, equal times: whatever the order, the result is the same.
    #[test]
    fn the_order_of_lines_does_not_matter(
        events in prop::collection::vec((0_u32..6, 0_usize..2, 0_i64..4, 0_u8..4, 0_u8..3), 1..60),
        seed in any::<u64>(),
    ) {
        let line = |(visitor, variation, at, kind, value): &(u32, usize, i64, u8, u8)| {
            let (variation, at) = (["control", "treatment"][*variation], NOON + 6000 * at);
            match kind {
                0 | 1 => with(exposure(*visitor, variation, at), "country", json!(value.to_string())),
                2 => conversion(*visitor, variation, "signup", at),
                _ => with(conversion(*visitor, variation, "order", at), "value", json!(f64::from(*value) + 0.1)),
            }
        };
        let lines: Vec<_> = events.iter().map(line).collect();
        let mut shuffled = lines.clone();
        // Fisher and Yates, with a small generator.
        let mut state = seed | 1;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(index, (state >> 33) as usize % (index + 1));
        }
        let half = shuffled.len() / 2;
        let of = |inputs: &[&[u8]]| tallies_of(inputs, &Selection::default(), &[], Some("country")).0;
        let parts = (text(&shuffled[..half]), text(&shuffled[half..]));
        prop_assert_eq!(of(&[text(&lines).as_bytes()]), of(&[parts.0.as_bytes(), parts.1.as_bytes()]));
    }
}
