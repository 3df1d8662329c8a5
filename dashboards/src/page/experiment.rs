//! The dashboard `experiment`: compares each variant with the first one, which is the control.

use nearedge_core::metric::{Metric, NO_VARIANT, OTHER_VARIANT};
use serde_json::{Value, json};

use crate::row::{PERCENTILES, expression, own_of, search};
use crate::widget::{COLUMNS, Widget};

/// The colours of the variants in the order of the list; a seventh variant has the first colour again.
pub(super) const COLORS: [&str; 6] = ["#1f77b4", "#ff7f0e", "#2ca02c", "#e377c2", "#17becf", "#9467bd"];

/// The colour of the variants that [`Metric`]s do not distinguish.
const OTHER_COLOR: &str = "#8c564b";

/// The colour of requests without a variant, and of the bounds of a confidence band.
pub(super) const GREY: &str = "#7f7f7f";

/// The label of requests without a variant. No variant can have this name, because it contains a space.
const NO_VARIANT_LABEL: &str = "no variant";

/// The outcomes that are failures of the origin.
pub const FAILED: [&str; 3] = ["unavailable", "timed_out", "failed"];

/// Quantiles of the normal distribution at 1 − 0.025 / n, times 100, for n comparisons from 1 to 19.
///
/// With them, n bands hold together with 95 % confidence (Bonferroni). `metrics_variants` has at most 20 variants, of which
/// one is the control.
const QUANTILES: [f64; 19] = [
    196.0, 224.14, 239.4, 249.77, 257.58, 263.83, 269.01, 273.44, 277.29, 280.7, 283.76, 286.53, 289.05, 291.37,
    293.52, 295.52, 297.38, 299.13, 300.78,
];

/// A variant of the experiment.
struct Variant<'a> {
    /// The name, or its placeholder.
    name: &'a str,
    /// The part of the ids of its rows: `a` for the first variant.
    id: char,
    color: &'static str,
}

/// The widgets for at least one and at most 20 variants, of which the first is the control.
pub(super) fn widgets(names: &[&str]) -> Vec<Widget> {
    let variants: Vec<Variant<'_>> = names
        .iter()
        .copied()
        .zip('a'..='t')
        .zip(COLORS.into_iter().cycle())
        .map(|((name, id), color)| Variant { name, id, color })
        .collect();
    let variants = variants.as_slice();
    let mut widgets = vec![introduction(names)];
    widgets.extend([requests_in_five_minutes(variants), share_in_five_minutes(variants)]);
    widgets.extend([requests_by_variant(variants), requests_by_outcome(variants)]);
    widgets.extend(variants.iter().enumerate().map(|(index, variant)| latency(variant, index == 0, variants.len())));
    let missing = ["missing", "error_document"];
    widgets.extend([
        shares("Failed requests", variants, &FAILED).line_at(1.0, "1 %"),
        shares("Missing objects", variants, &missing),
        shares("304: the client has the current version", variants, &["not_modified"]),
    ]);
    if let [control, treatments @ ..] = variants {
        let compared: [(&str, &[&str]); 2] = [("Failed requests", &FAILED), ("304", &["not_modified"])];
        for (title, outcomes) in compared {
            let pair = |treatment| difference(title, control, treatment, treatments.len(), outcomes);
            widgets.extend(treatments.iter().map(pair));
        }
    }
    widgets.push(body_bytes(variants));
    widgets
}

fn introduction(names: &[&str]) -> Widget {
    let (control, title) = match names {
        [] | [_] => (names.first().copied().unwrap_or_default(), String::new()),
        [control, treatment] => (*control, format!("{treatment} against the control ")),
        [control, others @ .., last] => (*control, format!("{} and {last} against the control ", others.join(", "))),
    };
    let bands = match names.len() {
        0 | 1 => "Add a second variant to `metrics_variants` to compare it with this one.".to_owned(),
        count => format!(
            "The first variant, {control}, is the control. A difference deserves attention if its 95 % confidence \
             band excludes zero{}. The band covers all requests since the left edge of the graph: choose a start time at \
             which the test is already running.",
            if count == 2 { "" } else { "; all bands of one kind together hold with 95 % confidence (Bonferroni)" }
        ),
    };
    Widget::text(
        3,
        &format!(
            "# Experiment: {title}{control}\nThe origin measures the requests, latency and outcomes of each variant; \
             your analytics measure which variant users prefer. {bands}"
        ),
    )
}

/// The width of each of `count` widgets that are next to each other, in as few rows as are readable.
fn width(count: usize) -> u64 {
    match count {
        1 => COLUMNS,
        2 | 4 => COLUMNS / 2,
        _ => COLUMNS / 3,
    }
}

fn hidden(id: &str) -> Value {
    json!({"id": id, "visible": false})
}

/// An expression for the requests of a variant, with any outcome.
fn requests_in(period: u64, variant: &str) -> String {
    format!("FILL(SUM({}), 0)", search(Metric::Duration, &[("variant", variant)], "SampleCount", period))
}

fn requests_in_five_minutes(variants: &[Variant<'_>]) -> Widget {
    let rows = variants.iter().map(|Variant { name, id, color }| {
        expression(&requests_in(300, name), json!({"id": format!("n{id}"), "label": name, "color": color}))
    });
    Widget::numbers(12, "Requests in five minutes", rows.collect())
}

fn share_in_five_minutes(variants: &[Variant<'_>]) -> Widget {
    let all: Vec<String> = variants.iter().map(|Variant { id, .. }| format!("n{id}")).collect();
    let mut rows: Vec<Value> = variants
        .iter()
        .map(|Variant { name, id, .. }| expression(&requests_in(300, name), hidden(&format!("n{id}"))))
        .collect();
    rows.extend(variants.iter().map(|Variant { name, id, color }| {
        expression(
            &format!("100 * n{id} / ({})", all.join(" + ")),
            json!({"id": format!("p{id}"), "label": name, "color": color}),
        )
    }));
    Widget::numbers(12, "Share of each variant in five minutes, %", rows)
}

fn requests_by_variant(variants: &[Variant<'_>]) -> Widget {
    let mut rows: Vec<Value> = variants
        .iter()
        .map(|Variant { name, id, color }| {
            expression(&requests_in(60, name), json!({"id": format!("n{id}"), "label": name, "color": color}))
        })
        .collect();
    for (variant, id, label, color) in
        [(OTHER_VARIANT, "other", OTHER_VARIANT, OTHER_COLOR), (NO_VARIANT, "none", NO_VARIANT_LABEL, GREY)]
    {
        let sum = format!("SUM({})", search(Metric::Duration, &[("variant", variant)], "SampleCount", 60));
        rows.push(expression(&sum, json!({"id": id, "label": label, "color": color})));
    }
    Widget::graph(24, "Requests by variant", "per minute", rows).stacked()
}

/// The label of a search precedes the outcome, such as `v1 found`
/// ([label](https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_cloudwatch.SearchExpressionProps.html)).
fn requests_by_outcome(variants: &[Variant<'_>]) -> Widget {
    let listed = variants.iter().map(|Variant { name, id, .. }| (*name, format!("o{id}"), *name));
    let unlisted =
        [(OTHER_VARIANT, "other".to_owned(), OTHER_VARIANT), (NO_VARIANT, "none".to_owned(), NO_VARIANT_LABEL)];
    let rows = listed.chain(unlisted).map(|(variant, id, label)| {
        let found = search(Metric::Duration, &[("variant", variant)], "SampleCount", 60);
        expression(&found, json!({"id": id, "label": label}))
    });
    Widget::graph(24, "Requests by variant and outcome", "per minute", rows.collect())
}

fn latency(variant: &Variant<'_>, is_control: bool, count: usize) -> Widget {
    let name = variant.name;
    let role = if is_control && count > 1 { " (control)" } else { "" };
    Widget::graph(
        width(count),
        &format!("Latency of {name}{role}: found and not modified"),
        "ms",
        PERCENTILES
            .iter()
            .map(|stat| own_of(Metric::Duration, name, "found", json!({"label": stat, "stat": stat})))
            .chain([own_of(Metric::Duration, name, "not_modified", json!({"label": "304, p50", "stat": "p50"}))])
            .collect(),
    )
}

/// Hidden rows for each variant: its requests, `n` and the id; those of them with one of the outcomes, `k` and the id.
///
/// No SEARCH for the outcomes: it would find nothing that FILL could fill if an outcome has never occurred, which is the
/// good case.
fn counts(variants: &[&Variant<'_>], outcomes: &[&str]) -> Vec<Value> {
    let mut rows: Vec<Value> = variants
        .iter()
        .map(|Variant { name, id, .. }| expression(&requests_in(60, name), hidden(&format!("n{id}"))))
        .collect();
    for Variant { name, id, .. } in variants {
        let ids: Vec<String> = (1..=outcomes.len()).map(|number| format!("k{id}{number}")).collect();
        for (one, outcome) in ids.iter().zip(outcomes) {
            let options = json!({"id": one, "stat": "SampleCount", "visible": false});
            rows.push(own_of(Metric::Duration, name, outcome, options));
        }
        let sum: Vec<String> = ids.iter().map(|one| format!("FILL({one}, 0)")).collect();
        rows.push(expression(&format!("0 * n{id} + {}", sum.join(" + ")), hidden(&format!("k{id}"))));
    }
    rows
}

/// The share of the requests of each variant that have one of the outcomes.
fn shares(title: &str, variants: &[Variant<'_>], outcomes: &[&str]) -> Widget {
    let mut rows = counts(&variants.iter().collect::<Vec<_>>(), outcomes);
    rows.extend(variants.iter().map(|Variant { name, id, color }| {
        let options = json!({"id": format!("s{id}"), "label": name, "color": color});
        expression(&format!("100 * k{id} / n{id}"), options)
    }));
    Widget::graph(8, title, "%", rows)
}

/// The difference of the rates of a variant and the control, in percentage points, with its confidence band.
///
/// It covers all requests since the left edge of the graph. The band is the normal approximation (Wald):
/// ± z √(p₁(1−p₁)/n₁ + p₂(1−p₂)/n₂). `^ 0.5` replaces the square root, which CloudWatch does not document.
fn difference(
    title: &str,
    control: &Variant<'_>,
    treatment: &Variant<'_>,
    comparisons: usize,
    outcomes: &[&str],
) -> Widget {
    let mut rows = counts(&[control, treatment], outcomes);
    for Variant { id, .. } in [control, treatment] {
        rows.push(expression(&format!("RUNNING_SUM(n{id})"), hidden(&format!("tn{id}"))));
        rows.push(expression(&format!("RUNNING_SUM(k{id})"), hidden(&format!("tk{id}"))));
        rows.push(expression(&format!("tk{id} / tn{id}"), hidden(&format!("r{id}"))));
    }
    let (a, b) = (control.id, treatment.id);
    let [.., widest] = QUANTILES;
    let quantile = comparisons.checked_sub(1).and_then(|index| QUANTILES.get(index)).unwrap_or(&widest);
    rows.push(expression(
        &format!("{quantile} * (r{a} * (1 - r{a}) / tn{a} + r{b} * (1 - r{b}) / tn{b}) ^ 0.5"),
        hidden("half"),
    ));
    let label = format!("{} − {}", treatment.name, control.name);
    rows.push(expression(
        &format!("100 * (r{b} - r{a})"),
        json!({"id": "diff", "label": label, "color": treatment.color}),
    ));
    rows.push(expression("diff + half", json!({"id": "upper", "label": "upper bound", "color": GREY})));
    rows.push(expression("diff - half", json!({"id": "lower", "label": "lower bound", "color": GREY})));
    let title = format!("{title}: {} − control {}, 95 % band", treatment.name, control.name);
    let width = if comparisons == 1 { 12 } else { width(comparisons) };
    Widget::graph(width, &title, "percentage points", rows).signed().line_at(0.0, "no difference")
}

fn body_bytes(variants: &[Variant<'_>]) -> Widget {
    let rows = variants.iter().map(|Variant { name, id, color }| {
        let bytes = format!("SUM({})", search(Metric::BodyBytes, &[("variant", name)], "Sum", 60));
        expression(&bytes, json!({"id": format!("b{id}"), "label": name, "color": color}))
    });
    Widget::graph(24, "Body bytes by variant", "bytes per minute", rows.collect())
}
