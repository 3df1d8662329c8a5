//! The statistics against values of gbstats 0.8.0 and scipy 1.17; `.ci/compare_statistics.py` compares random documents.

use nearedge_report::statistics::comparison::{Effect, Scale};
use nearedge_report::statistics::interval::{self, Interval};
use nearedge_report::statistics::sample::Sample;
use nearedge_report::statistics::{chance, distribution, plan, ratio};

fn assert_close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= expected.abs() * 1e-7, "found {found:e}, expected {expected:e}");
}

fn assert_ends(found: Interval, expected: [f64; 2]) {
    assert_close(found.lower, expected[0]);
    assert_close(found.upper, expected[1]);
}

#[test]
fn proportions_compare_as_in_gbstats() {
    let (control, treatment) = (Sample::proportion(10_000, 300), Sample::proportion(10_021, 342));
    let relative = Effect::of(&control, &treatment, Scale::Relative).unwrap();
    assert_close(relative.estimate, 0.1376110168645845);
    let (fixed, p_value) = relative.fixed(0.05);
    assert_ends(fixed, [-0.03593539715679489, 0.31115743088596387]);
    assert_close(p_value, 0.12014823067992797);
    let (sequential, p_value) = relative.sequential(0.05);
    assert_ends(sequential, [-0.13927516372021465, 0.4144971974493836]);
    assert_close(p_value, 1.0);
    let absolute = Effect::of(&control, &treatment, Scale::Absolute).unwrap();
    assert_ends(absolute.fixed(0.05).0, [-0.0007520204856555409, 0.00900868149753061]);
    assert_ends(absolute.sequential(0.05).0, [-0.003658069193505263, 0.011914730205380333]);
}

#[test]
fn means_compare_as_in_gbstats() {
    let (control, treatment) = (Sample::values(1000, 90, 1200.5, 15_000.0), Sample::values(990, 95, 1500.25, 21_000.0));
    let effect = Effect::of(&control, &treatment, Scale::Relative).unwrap();
    let (fixed, p_value) = effect.fixed(0.05);
    assert_ends(fixed, [-0.06747851523573078, 0.5920999902945236]);
    assert_close(p_value, 0.11894458985200207);
}

#[test]
fn nothing_is_compared_where_gbstats_refuses() {
    let control = Sample::proportion(100, 10);
    for refused in [Sample::proportion(0, 0), Sample::proportion(100, 0), Sample::proportion(100, 100)] {
        for scale in [Scale::Relative, Scale::Absolute] {
            assert_eq!(Effect::of(&control, &refused, scale), None);
            assert_eq!(Effect::of(&refused, &control, scale), None);
        }
    }
    let constant = Sample::values(4, 4, 8.0, 16.0);
    assert_eq!(Effect::of(&control, &constant, Scale::Relative), None);
}

#[test]
fn tails_are_accurate_far_out() {
    for (t, freedom, expected) in [
        (30.0, 100.0, 8.380332558688329e-52),
        (6.0, 1000.0, 2.7553691733774752e-9),
        (12.0, 2.5, 0.0028362150300783244),
        (5.0, 1e7, 5.733128075008536e-7),
    ] {
        assert_close(distribution::student_two_sided(t, freedom), expected);
    }
    assert_close(distribution::chi_squared_tail(300.0, 1.0), 3.2943623833139784e-67);
    assert_close(distribution::chi_squared_tail(700.0, 4.0), 3.4852862290889247e-150);
}

#[test]
fn a_split_is_tested_as_by_scipy() {
    let test = ratio::test([(5000, 1.0), (5200, 1.0), (4800, 1.0)].into_iter()).unwrap();
    assert_close(test.chi_squared, 16.0);
    assert_close(test.p_value, 0.0003354626279025119);
    // Without a weight, a variation is not part of the test.
    assert_eq!(ratio::test([(5000, 1.0), (9, 0.0), (5200, 1.0), (4800, 1.0)].into_iter()), Some(test));
    assert_eq!(ratio::test([(5000, 1.0), (5200, 0.0)].into_iter()), None);
    assert_eq!(ratio::test([(0, 1.0), (0, 1.0)].into_iter()), None);
}

#[test]
fn the_critical_statistic_depends_on_the_variations() {
    let expected = [10.827566170662733, 13.815510557964274, 16.26623619623813, 18.466826952903173];
    for (variations, expected) in (2..).zip(expected) {
        assert_close(ratio::critical_value(variations), expected);
    }
}

#[test]
fn the_interval_of_a_rate_is_wilsons() {
    for (conversions, visitors, expected) in [
        (30, 1000, [0.021093738828834696, 0.042503414147587126]),
        (0, 20, [0.0, 0.16112515805281935]),
        (20, 20, [0.8388748419471808, 1.0]),
        (1, 100_000, [1.765247730378316e-6, 5.664709659040965e-5]),
    ] {
        assert_ends(interval::rate(conversions, visitors, 0.05).unwrap(), expected);
    }
    assert_eq!(interval::rate(0, 0, 0.05), None);
}

#[test]
fn the_interval_of_a_mean_is_students() {
    // Mean 2 and variance 3.
    let sample = Sample::values(10, 10, 20.0, 67.0);
    assert_ends(interval::mean(&sample, 0.05).unwrap(), [0.7609654933135368, 3.239034506686463]);
    assert_eq!(interval::mean(&Sample::values(1, 1, 20.0, 400.0), 0.05), None);
}

#[test]
fn the_interval_of_a_quantile_is_between_order_statistics() {
    let ends = |count: u64, level| {
        let sorted: Vec<(f64, u64)> = (1..=count).map(|rank| (rank as f64, 1)).collect();
        interval::quantile(&sorted, level, 0.05).unwrap().interval.map(<[f64; 2]>::from)
    };
    // scipy.stats.quantile_test
    assert_eq!(ends(100, 0.9), Some([84.0, 96.0]));
    assert_eq!(ends(1000, 0.9), Some([881.0, 919.0]));
    assert_eq!(ends(50, 0.5), Some([18.0, 33.0]));
    assert_eq!(ends(35, 0.9), None, "scipy has no upper end here");
    // The exact ranks are 4458 and 4542, and 89,814 and 90,187.
    assert_eq!(ends(5000, 0.9), Some([4458.0, 4543.0]));
    assert_eq!(ends(100_000, 0.9), Some([89_814.0, 90_187.0]));
}

#[test]
fn the_quantile_of_a_histogram_is_the_value_of_its_rank() {
    let quantile = interval::quantile(&[(10.0, 850), (20.0, 100), (40.0, 50)], 0.9, 0.05).unwrap();
    assert_eq!(quantile.estimate, 20.0);
    assert_eq!(quantile.interval, Some(Interval { lower: 20.0, upper: 20.0 }));
    assert_eq!(interval::quantile(&[], 0.9, 0.05), None);
    assert_eq!(interval::quantile(&[(1.0, 0)], 0.9, 0.05), None);
}

#[test]
fn with_two_variations_the_chance_is_that_of_gbstats() {
    let chances = chance::to_be_best(&[Sample::proportion(10_000, 300), Sample::proportion(10_021, 342)]);
    assert_close(chances[1].unwrap(), 0.9399338171876395);
    assert_close(chances[0].unwrap() + chances[1].unwrap(), 1.0);
}

#[test]
fn the_chances_of_all_variations_add_up_to_one() {
    for conversions in [[300, 342, 341, 10], [300, 300, 300, 300], [3, 4000, 340, 3999]] {
        let samples = conversions.map(|conversions| Sample::proportion(10_000, conversions));
        let chances: Vec<f64> = chance::to_be_best(&samples).into_iter().flatten().collect();
        assert_eq!(chances.len(), 4);
        let sum: f64 = chances.iter().sum();
        assert!((sum - 1.0).abs() < 1e-9, "{conversions:?}: {chances:?} add up to {sum}");
    }
}

#[test]
fn a_variation_without_a_variance_has_no_chance() {
    let [control, none, treatment] = [300, 0, 342].map(|conversions| Sample::proportion(10_000, conversions));
    let chances = chance::to_be_best(&[control, none, treatment]);
    let alone = chance::to_be_best(&[control, treatment]);
    assert_eq!(chances, [alone[0], None, alone[1]]);
    assert_eq!(chance::to_be_best(&[none, control, treatment]), [None; 3]);
    assert_eq!(chance::to_be_best(&[control, none]), [None; 2]);
}

#[test]
fn a_sample_is_large_with_fifty_on_both_sides() {
    assert!(Sample::proportion(100, 50).is_large());
    assert!(!Sample::proportion(1000, 49).is_large());
    assert!(!Sample::proportion(1000, 951).is_large());
    assert!(Sample::values(1000, 951, 951.0, 2000.0).is_large());
}

#[test]
fn a_plan_needs_more_visitors_for_more_looks() {
    let goal = plan::Goal { rate: 0.03, uplift: 0.1, alpha: 0.05 };
    assert_eq!(goal.visitors(plan::Looks::One, 0.8), Some(55_770));
    assert_eq!(goal.visitors(plan::Looks::Every, 0.8), Some(134_457));
    // One visitor fewer does not suffice.
    assert!(goal.power(plan::Looks::One, 55_770.0) >= 0.8);
    assert!(goal.power(plan::Looks::One, 55_769.0) < 0.8);
}

#[test]
fn a_plan_reaches_the_conversions_of_a_verdict() {
    let goal = plan::Goal { rate: 0.001, uplift: 5.0, alpha: 0.05 };
    assert_eq!(goal.visitors(plan::Looks::One, 0.8), Some(50_000));
}

#[test]
fn a_difference_that_is_too_small_has_no_plan() {
    assert_eq!(plan::Goal { rate: 0.03, uplift: 1e-9, alpha: 0.05 }.visitors(plan::Looks::One, 0.8), None);
    assert_eq!(plan::Goal { rate: 0.03, uplift: 0.0, alpha: 0.05 }.visitors(plan::Looks::One, 0.8), None);
}
