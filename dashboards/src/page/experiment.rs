//! The dashboard `experiment`: compares two variants.

use nearedge_core::metric::Metric;
use serde_json::{Value, json};

use crate::row::{PERCENTILES, expression, own_of, search};
use crate::widget::Widget;

/// The variants that the dashboard compares: id, name and colour.
const VARIANTS: [(&str, &str, &str); 2] = [("a", "${VariantA}", "#1f77b4"), ("b", "${VariantB}", "#ff7f0e")];

/// An expression for the requests of a variant, with any outcome.
fn requests_in(period: u64, variant: &str) -> String {
    format!("FILL(SUM({}), 0)", search(Metric::Duration, &[("variant", variant)], "SampleCount", period))
}

/// The outcomes that are failures of the origin.
const FAILED: [&str; 3] = ["unavailable", "timed_out", "failed"];

pub(super) fn widgets() -> Vec<Widget> {
    let hidden = |id: &str| json!({"id": id, "visible": false});
    let requests = || -> Vec<Value> {
        VARIANTS
            .iter()
            .map(|(id, variant, _)| expression(&requests_in(60, variant), hidden(&format!("n{id}"))))
            .collect()
    };
    // No SEARCH: it would find nothing that FILL could fill if an outcome has never occurred, which is the good case.
    let rate = |outcomes: &[&str], prefix: &str| -> Vec<Value> {
        let mut rows = requests();
        for (id, variant, _) in VARIANTS {
            let ids: Vec<String> = (1..=outcomes.len()).map(|number| format!("{prefix}{id}{number}")).collect();
            for (one, outcome) in ids.iter().zip(outcomes) {
                let options = json!({"id": one, "stat": "SampleCount", "visible": false});
                rows.push(own_of(Metric::Duration, variant, outcome, options));
            }
            let sum: Vec<String> = ids.iter().map(|one| format!("FILL({one}, 0)")).collect();
            rows.push(expression(&format!("0 * n{id} + {}", sum.join(" + ")), hidden(&format!("{prefix}{id}"))));
        }
        rows
    };
    let shares = |prefix: &str| -> Vec<Value> {
        let share = |(id, variant, color): &(&str, &str, &str)| {
            let options = json!({"id": format!("s{id}"), "label": variant, "color": color});
            expression(&format!("100 * {prefix}{id} / n{id}"), options)
        };
        VARIANTS.iter().map(share).collect()
    };
    let mut widgets = vec![Widget::text(
        2,
        "# Experiment: ${VariantA} against ${VariantB}\nThe origin measures the requests, latency and outcomes of \
         each variant; your analytics measure which variant users prefer. A difference deserves attention if its \
         95 % confidence band excludes zero. The band covers all requests since the left edge of the graph: choose \
         a start time at which the test is already running.",
    )];
    widgets.push(Widget::numbers(
        12,
        "Requests in five minutes",
        VARIANTS
            .iter()
            .map(|(id, variant, color)| {
                expression(
                    &requests_in(300, variant),
                    json!({"id": format!("n{id}"), "label": variant, "color": color}),
                )
            })
            .collect(),
    ));
    widgets.push(Widget::numbers(12, "Share of each variant in five minutes, %", {
        let counted =
            |(id, variant, _): &(&str, &str, &str)| expression(&requests_in(300, variant), hidden(&format!("n{id}")));
        let mut rows: Vec<Value> = VARIANTS.iter().map(counted).collect();
        rows.extend(VARIANTS.iter().map(|(id, variant, color)| {
            expression(
                &format!("100 * n{id} / (na + nb)"),
                json!({"id": format!("p{id}"), "label": variant, "color": color}),
            )
        }));
        rows
    }));
    widgets.push(
        Widget::graph(24, "Requests by variant", "per minute", {
            let all = format!("SUM({})", search(Metric::Duration, &[("variant", "other")], "SampleCount", 60));
            let none = format!("SUM({})", search(Metric::Duration, &[("variant", "none")], "SampleCount", 60));
            let mut rows: Vec<Value> = VARIANTS
                .iter()
                .map(|(id, variant, color)| {
                    expression(
                        &requests_in(60, variant),
                        json!({"id": format!("n{id}"), "label": variant, "color": color}),
                    )
                })
                .collect();
            rows.push(expression(&all, json!({"id": "other", "label": "other", "color": "#7f7f7f"})));
            rows.push(expression(&none, json!({"id": "none", "label": "no variant", "color": "#c7c7c7"})));
            rows
        })
        .stacked(),
    );
    widgets.push(Widget::graph(
        24,
        "Requests by variant and outcome",
        "per minute",
        vec![expression(&search(Metric::Duration, &[], "SampleCount", 60), json!({"id": "all", "label": ""}))],
    ));
    for (_, variant, _) in VARIANTS {
        widgets.push(Widget::graph(
            12,
            &format!("Latency of {variant}: found and not modified"),
            "ms",
            PERCENTILES
                .iter()
                .map(|stat| own_of(Metric::Duration, variant, "found", json!({"label": stat, "stat": stat})))
                .chain([own_of(Metric::Duration, variant, "not_modified", json!({"label": "304, p50", "stat": "p50"}))])
                .collect(),
        ));
    }
    widgets.push(
        Widget::graph(8, "Failed requests", "%", rate(&FAILED, "f").into_iter().chain(shares("f")).collect())
            .line_at(1.0, "1 %"),
    );
    widgets.push(Widget::graph(
        8,
        "Missing objects",
        "%",
        rate(&["missing", "error_document"], "m").into_iter().chain(shares("m")).collect(),
    ));
    widgets.push(Widget::graph(
        8,
        "304: the client has the current version",
        "%",
        rate(&["not_modified"], "u").into_iter().chain(shares("u")).collect(),
    ));
    widgets.push(difference("Failed requests: difference with 95 % confidence band", rate(&FAILED, "k"), "k"));
    widgets.push(difference("304: difference with 95 % confidence band", rate(&["not_modified"], "k"), "k"));
    widgets.push(Widget::graph(
        24,
        "Body bytes by variant",
        "bytes per minute",
        VARIANTS
            .iter()
            .map(|(id, variant, color)| {
                let bytes = format!("SUM({})", search(Metric::BodyBytes, &[("variant", variant)], "Sum", 60));
                expression(&bytes, json!({"id": format!("b{id}"), "label": variant, "color": color}))
            })
            .collect(),
    ));
    widgets
}

/// The difference of two rates, B − A, in percentage points, with its confidence band.
///
/// It covers all requests since the left edge of the graph. The band is the normal approximation (Wald):
/// ± 1.96 √(p₁(1−p₁)/n₁ + p₂(1−p₂)/n₂). `^ 0.5` replaces the square root, which CloudWatch does not document.
fn difference(title: &str, mut rows: Vec<Value>, counted: &str) -> Widget {
    for (id, ..) in VARIANTS {
        rows.push(expression(&format!("RUNNING_SUM(n{id})"), json!({"id": format!("tn{id}"), "visible": false})));
        rows.push(expression(
            &format!("RUNNING_SUM({counted}{id})"),
            json!({"id": format!("tk{id}"), "visible": false}),
        ));
        rows.push(expression(&format!("tk{id} / tn{id}"), json!({"id": format!("r{id}"), "visible": false})));
    }
    rows.push(expression(
        "196 * (ra * (1 - ra) / tna + rb * (1 - rb) / tnb) ^ 0.5",
        json!({"id": "half", "visible": false}),
    ));
    rows.push(expression(
        "100 * (rb - ra)",
        json!({"id": "diff", "label": "${VariantB} − ${VariantA}", "color": "#2ca02c"}),
    ));
    rows.push(expression("diff + half", json!({"id": "upper", "label": "upper bound", "color": "#98df8a"})));
    rows.push(expression("diff - half", json!({"id": "lower", "label": "lower bound", "color": "#98df8a"})));
    Widget::graph(12, title, "percentage points", rows).signed().line_at(0.0, "no difference")
}
