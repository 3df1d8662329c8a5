//! Counts from JSON, and the results in the format of `nearedge experiment report`.

// clippy.toml allows this in tests, but not in their functions.
#![allow(clippy::unwrap_used)]

use nearedge_report::counts::{self, Counts};
use nearedge_report::render::text;
use nearedge_report::results::table::Results;
use nearedge_report::results::verdict::Verdict;
use serde_json::{Value, json};

fn parse(document: &Value) -> Counts {
    counts::parse(&document.to_string()).unwrap().remove(0)
}

/// Variations with the same weight, visitors and conversions as given.
fn experiment(variations: &[(u64, u64)]) -> Counts {
    let variations: Vec<Value> = variations
        .iter()
        .enumerate()
        .map(|(index, (visitors, conversions))| {
            json!({"key": format!("v{index}"), "weight": 1, "visitors": visitors,
                   "goals": {"signup": {"conversions": conversions}}})
        })
        .collect();
    parse(&json!({"experiment": "x", "variations": variations}))
}

fn verdict(variations: &[(u64, u64)]) -> Verdict {
    let results = Results::of(&experiment(variations));
    Verdict::of(&results.srm, &results.goals["signup"])
}

#[test]
fn the_output_has_the_members_of_the_format() {
    let results = serde_json::to_value(Results::of(&experiment(&[(10_000, 300), (10_021, 342)]))).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&results), ["goals", "srm"]);
    assert_eq!(keys(&results["srm"]), ["chi_squared", "p_value"]);
    let [control, treatment] = results["goals"]["signup"].as_array().unwrap().as_slice() else { panic!("two rows") };
    let names = "chance_to_be_best conversions difference difference_interval interval p_value rate \
                 sequential_interval sequential_p_value uplift variation visitors";
    assert_eq!(keys(treatment).join(" "), names);
    assert_eq!(keys(control).join(" "), names);
    for compared in ["difference", "difference_interval", "interval", "p_value", "sequential_interval", "uplift"] {
        assert!(control[compared].is_null(), "the control's {compared}");
        assert!(!treatment[compared].is_null(), "the treatment's {compared}");
    }
    assert_eq!(treatment["interval"].as_array().unwrap().len(), 2);
}

#[test]
fn the_rate_of_a_goal_with_values_is_the_mean() {
    let goal = json!({"buy": {"conversions": 50, "sum": 600, "sum_squares": 9000}});
    let variation = |key| json!({"key": key, "weight": 1, "visitors": 400, "goals": goal});
    let counts = parse(&json!({"experiment": "x", "variations": [variation("a"), variation("b")]}));
    assert_eq!(Results::of(&counts).goals["buy"][1].rate, Some(1.5));
}

#[test]
fn values_that_cannot_be_computed_are_null() {
    let results = serde_json::to_value(Results::of(&experiment(&[(0, 0), (0, 0)]))).unwrap();
    assert_eq!(results["srm"], json!({"chi_squared": null, "p_value": null}));
    let row = &results["goals"]["signup"][1];
    for name in ["rate", "uplift", "interval", "p_value", "sequential_p_value", "difference", "chance_to_be_best"] {
        assert!(row[name].is_null(), "{name}: {row}");
    }
    assert_eq!(row["visitors"], 0);
}

#[test]
fn a_variation_without_the_goal_has_no_conversions() {
    let mut counts = experiment(&[(1000, 60), (1000, 70)]);
    counts.variations[1].goals.clear();
    let rows = &Results::of(&counts).goals["signup"];
    assert_eq!((rows[1].conversions, rows[1].rate), (0, Some(0.0)));
}

#[test]
fn a_mismatch_suppresses_the_verdict() {
    assert_eq!(verdict(&[(10_000, 300), (10_900, 900)]), Verdict::Mismatch);
    let counts = experiment(&[(10_000, 300), (10_900, 900)]);
    let table = text::table(&counts, &Results::of(&counts));
    assert!(table.contains("SAMPLE-RATIO MISMATCH") && !table.contains("ship"), "{table}");
}

#[test]
fn a_treatment_that_is_shown_better_ships() {
    assert_eq!(verdict(&[(10_000, 300), (10_000, 600)]), Verdict::Ship { variation: "v1".to_owned() });
    // Of two, the better one.
    let expected = Verdict::Ship { variation: "v2".to_owned() };
    assert_eq!(verdict(&[(10_000, 300), (10_000, 600), (10_000, 650)]), expected);
}

#[test]
fn the_best_of_negative_means_is_the_highest() {
    let variation = |key: &str, sum: f64| {
        let goal = json!({"conversions": 50_000, "sum": sum, "sum_squares": 4e7 + sum * sum / 100_000.0});
        json!({"key": key, "weight": 1, "visitors": 100_000, "goals": {"refund": goal}})
    };
    let variations = [variation("control", -1e6), variation("slightly", -9e5), variation("much", -1e5)];
    let results = Results::of(&parse(&json!({"experiment": "x", "variations": variations})));
    let verdict = Verdict::of(&results.srm, &results.goals["refund"]);
    assert_eq!(verdict, Verdict::Ship { variation: "much".to_owned() });
}

#[test]
fn names_do_not_control_the_terminal() {
    let name = "a\u{1b}[2J\n\u{9b}b";
    let variations = [
        json!({"key": name, "weight": 1, "visitors": 9, "goals": {name: {"conversions": 1}}}),
        json!({"key": "b", "weight": 1, "visitors": 9}),
    ];
    let counts = parse(&json!({"experiment": name, "variations": variations}));
    let text = text::table(&counts, &Results::of(&counts));
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with('\u{fffd}') || line.starts_with('b')), "{text}");
}

#[test]
fn the_control_stays_if_every_treatment_is_worse() {
    assert_eq!(verdict(&[(10_000, 600), (10_000, 300)]), Verdict::Keep { variation: "v0".to_owned() });
    assert_eq!(verdict(&[(10_000, 600), (10_000, 300), (10_000, 600)]), Verdict::Wait);
}

#[test]
fn a_verdict_needs_fifty_conversions_in_each_variation() {
    assert_eq!(verdict(&[(10_000, 49), (10_000, 600)]), Verdict::TooFew);
    assert_eq!(verdict(&[(10_000, 600), (10_000, 49)]), Verdict::TooFew);
    assert_eq!(verdict(&[(10_000, 60), (10_000, 61)]), Verdict::Wait);
}

#[test]
fn a_difference_at_one_look_only_is_no_verdict() {
    let rows = &Results::of(&experiment(&[(10_000, 300), (10_000, 370)])).goals["signup"];
    assert!(rows[1].p_value.unwrap() < 0.05 && rows[1].sequential_p_value.unwrap() > 0.05);
    assert_eq!(verdict(&[(10_000, 300), (10_000, 370)]), Verdict::Wait);
}

/// The error of a document whose second variation is `variation`.
fn error(variation: &str) -> String {
    let first = r#"{"key": "a", "weight": 1, "visitors": 9}"#;
    let document = format!("{{\"experiment\": \"x\", \"variations\": [{first},\n{variation}]}}");
    counts::parse(&document).unwrap_err()
}

#[test]
fn impossible_numbers_are_errors_with_a_place() {
    for (variation, expected) in [
        (r#"{"key": "b", "weight": 1, "visitors": -1}"#, "integer `-1`, expected an integer from 0 to 2^53 at line 2"),
        (r#"{"key": "b", "weight": 1, "visitors": 1.5}"#, "1.5`, expected an integer from 0 to 2^53 at line 2"),
        (r#"{"key": "b", "weight": 1, "visitors": 1e17}"#, "expected an integer from 0 to 2^53 at line 2"),
        (r#"{"key": "b", "weight": 1, "visitors": 9007199254740993}"#, "expected an integer from 0 to 2^53 at line 2"),
        (r#"{"key": "b", "weight": -1, "visitors": 1}"#, "expected a weight of 0 or more, found -1 at line 2"),
        (r#"{"key": "b", "weight": 1e999, "visitors": 1}"#, "number out of range at line 2"),
        (r#"{"key": "b", "weight": NaN, "visitors": 1}"#, "expected value at line 2"),
        (r#"{"key": "b", "weight": 1, "weight": 1, "visitors": 1}"#, "duplicate field `weight` at line 2"),
        (r#"{"key": "b", "weight": 1}"#, "missing field `visitors` at line 2"),
        (
            r#"{"key": "b", "weight": 1, "visitors": 1, "goals": {"s": {"conversions": 2}}}"#,
            r#"variation "b", goal "s": 2 conversions of 1 visitors; a visitor converts once at line 2"#,
        ),
        (
            r#"{"key": "b", "weight": 1, "visitors": 9, "goals": {"s": {"conversions": 2}, "s": {"conversions": 1}}}"#,
            r#"goal "s" appears twice in a variation at line 2"#,
        ),
        (
            r#"{"key": "b", "weight": 1, "visitors": 9, "goals": {"s": {"conversions": 2, "sum": 1}}}"#,
            "expected both sum and sum_squares, or neither, found one at line 2",
        ),
        (r#"{"key": "a", "weight": 1, "visitors": 9}"#, r#"two variations have the key "a""#),
    ] {
        let error = error(variation);
        assert!(error.contains(expected), "{variation}: found {error}");
        assert!(error.contains("at line ") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn an_experiment_has_two_variations_and_a_weight() {
    let one = counts::parse("\n{\"experiment\": \"x\", \"variations\": []}").unwrap_err();
    assert_eq!(one, "expected two variations or more, found 0 in the document that starts at line 2");
    let variation = |key| json!({"key": key, "weight": 0, "visitors": 9});
    let document = json!({"experiment": "x", "variations": [variation("a"), variation("b")]});
    assert!(counts::parse(&document.to_string()).unwrap_err().starts_with("all weights are 0"));
}

#[test]
fn floats_that_are_integers_count() {
    let document = json!({"experiment": "x", "variations": [{"key": "a", "weight": 1, "visitors": 300.0},
                                                             {"key": "b", "weight": 1, "visitors": 9e15}]});
    assert_eq!(parse(&document).variations[1].visitors, 9_000_000_000_000_000);
}

#[test]
fn several_documents_follow_one_another() {
    let counts = experiment(&[(10, 1), (10, 2)]);
    let line = serde_json::to_string(&counts).unwrap();
    assert_eq!(counts::parse(&format!("{line}\n{line}\n")), Ok(vec![counts.clone(), counts]));
    assert_eq!(counts::parse(" \n"), Ok(vec![]));
}

#[test]
fn no_number_makes_the_report_panic() {
    let numbers = [0.0, 1.0, 2.0, 1e15, 9_007_199_254_740_992.0];
    let sums = [-1e308, -1.0, 0.0, 5e-324, 1e-160, 1.0, 1e160, 1e308];
    for visitors in numbers {
        for sum in sums {
            for sum_squares in sums.into_iter().filter(|squares| *squares >= 0.0) {
                let goal = json!({"conversions": visitors, "sum": sum, "sum_squares": sum_squares});
                let variation =
                    |key, weight| json!({"key": key, "weight": weight, "visitors": visitors, "goals": {"g": goal}});
                let list = [variation("a", 5e-324), variation("b", 1e308), variation("c", 1e308)];
                let counts = parse(&json!({"experiment": "x", "variations": list}));
                let results = Results::of(&counts);
                assert!(!text::table(&counts, &results).contains("NaN"), "{counts:?}");
                assert!(!results.goals["g"][0].rate.is_some_and(f64::is_nan));
            }
        }
    }
}
