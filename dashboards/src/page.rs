//! The four dashboards.

use nearedge_core::metric::Metric;
use serde_json::{Value, json};

use crate::Partition;
use crate::widget::{Widget, aws, expression, own, own_of, search};

/// The percentiles that latency is shown at.
const PERCENTILES: [&str; 3] = ["p50", "p90", "p99"];

/// The two variants that the experiment compares; the walk-through's.
const VARIANTS: [(&str, &str, &str); 2] = [("a", "${VariantA}", "#1f77b4"), ("b", "${VariantB}", "#ff7f0e")];

/// Every dashboard, by its name.
pub fn all(partition: Partition) -> Vec<(&'static str, Vec<Widget>)> {
    vec![
        ("latency", latency(partition)),
        ("experiment", experiment()),
        ("cache", cache()),
        ("cold-starts", cold_starts()),
    ]
}

fn api(name: &str, options: Value) -> Value {
    aws("AWS/ApiGateway", name, &[("ApiId", "${ApiId}")], options)
}

fn function(name: &str, options: Value) -> Value {
    aws("AWS/Lambda", name, &[("FunctionName", "${FunctionName}")], options)
}

fn distribution(partition: Partition, name: &str, mut options: Value) -> Value {
    options["region"] = partition.cloudfront_region().into();
    aws("AWS/CloudFront", name, &[("DistributionId", "${DistributionId}"), ("Region", "Global")], options)
}

fn latency(partition: Partition) -> Vec<Widget> {
    let mut widgets = vec![Widget::text(
        2,
        "# Latency: which hop costs\nEach hop's time holds that of those below it: the space between two lines is what a hop adds. \
         `IntegrationLatency` − `Duration` is Lambda's own overhead and, where it spikes, cold starts and waiting.",
    )];
    for percentile in PERCENTILES {
        let mut hops = Vec::new();
        if partition == Partition::Aws {
            hops.push(distribution(
                partition,
                "OriginLatency",
                json!({"label": "CloudFront", "stat": percentile, "color": "#9467bd"}),
            ));
        }
        hops.extend([
            api("Latency", json!({"label": "HTTP API", "stat": percentile, "color": "#1f77b4"})),
            api("IntegrationLatency", json!({"label": "integration", "stat": percentile, "color": "#17becf"})),
            function("Duration", json!({"label": "Lambda", "stat": percentile, "color": "#ff7f0e"})),
            own(Metric::Duration, json!({"label": "nearedge", "stat": percentile, "color": "#2ca02c"})),
            own(Metric::S3Duration, json!({"label": "S3, where asked", "stat": percentile, "color": "#7f7f7f"})),
        ]);
        widgets.push(Widget::graph(8, &format!("Every hop, {percentile}"), "ms", hops).taller());
    }
    widgets.push(Widget::graph(
        12,
        "nearedge Duration",
        "ms",
        PERCENTILES.iter().map(|stat| own(Metric::Duration, json!({"label": stat, "stat": stat}))).collect(),
    ));
    widgets.push(Widget::graph(
        12,
        "What the HTTP API and Lambda add, p50",
        "ms",
        vec![
            api("Latency", json!({"id": "latency", "stat": "p50", "visible": false})),
            api("IntegrationLatency", json!({"id": "integration", "stat": "p50", "visible": false})),
            own(Metric::Duration, json!({"id": "own", "stat": "p50", "visible": false})),
            expression("latency - integration", json!({"id": "gateway", "label": "HTTP API"})),
            expression("integration - own", json!({"id": "lambda", "label": "Lambda"})),
        ],
    ));
    let mut requests = vec![
        api("Count", json!({"label": "HTTP API", "stat": "Sum"})),
        function("Invocations", json!({"label": "Lambda", "stat": "Sum"})),
        own(Metric::Duration, json!({"label": "nearedge", "stat": "SampleCount"})),
    ];
    requests.insert(0, distribution(partition, "Requests", json!({"label": "CloudFront", "stat": "Sum"})));
    widgets.push(Widget::graph(12, "Requests: how many reach each hop", "a minute", requests));
    widgets.push(Widget::graph(
        12,
        "Errors, by whoever made them",
        "a minute",
        vec![
            api("5xx", json!({"label": "HTTP API 5xx", "stat": "Sum"})),
            function("Errors", json!({"label": "Lambda Errors", "stat": "Sum"})),
            function("Throttles", json!({"label": "Lambda Throttles", "stat": "Sum"})),
            own(Metric::Status5xx, json!({"label": "nearedge 5xx", "stat": "Sum"})),
            own(Metric::AuthFailure, json!({"label": "without the secret", "stat": "Sum"})),
        ],
    ));
    widgets
}

/// The requests of a variant, whatever came of them.
fn requests_in(period: u64, variant: &str) -> String {
    format!("FILL(SUM({}), 0)", search(Metric::Duration, &[("variant", variant)], "SampleCount", period))
}

/// What is the origin's fault.
const FAILED: [&str; 3] = ["unavailable", "timed_out", "failed"];

fn experiment() -> Vec<Widget> {
    let hidden = |id: &str| json!({"id": id, "visible": false});
    let requests = || -> Vec<Value> {
        VARIANTS
            .iter()
            .map(|(id, variant, _)| expression(&requests_in(60, variant), hidden(&format!("n{id}"))))
            .collect()
    };
    // Metrics by name, not by SEARCH, which has nothing to fill where an outcome never was: the good case.
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
        "# Experiment: ${VariantA} against ${VariantB}\nWhat the origin can say: who is asked for how often, how fast, and \
         with what outcome. Whether people like a variant is for your analytics. A difference is worth a look when its \
         band of 95 % does not hold zero; the band is of all requests since the left edge of the graph, so choose a start \
         at which the test was on.",
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
    widgets.push(Widget::numbers(12, "Share of the two in five minutes, %", {
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
        Widget::graph(24, "Requests by variant", "a minute", {
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
            rows.push(expression(&none, json!({"id": "none", "label": "no version", "color": "#c7c7c7"})));
            rows
        })
        .stacked(),
    );
    widgets.push(Widget::graph(
        24,
        "Outcomes",
        "a minute",
        vec![expression(&search(Metric::Duration, &[], "SampleCount", 60), json!({"id": "all", "label": ""}))],
    ));
    for (_, variant, _) in VARIANTS {
        widgets.push(Widget::graph(
            12,
            &format!("Latency of {variant}: found, and not modified"),
            "ms",
            PERCENTILES
                .iter()
                .map(|stat| own_of(Metric::Duration, variant, "found", json!({"label": stat, "stat": stat})))
                .chain([own_of(Metric::Duration, variant, "not_modified", json!({"label": "304, p50", "stat": "p50"}))])
                .collect(),
        ));
    }
    widgets.push(
        Widget::graph(8, "Failed, %", "%", rate(&FAILED, "f").into_iter().chain(shares("f")).collect())
            .line_at(1.0, "1 %"),
    );
    widgets.push(Widget::graph(
        8,
        "Missing, %",
        "%",
        rate(&["missing", "error_document"], "m").into_iter().chain(shares("m")).collect(),
    ));
    widgets.push(Widget::graph(
        8,
        "304, %: the client had it already",
        "%",
        rate(&["not_modified"], "u").into_iter().chain(shares("u")).collect(),
    ));
    widgets.push(difference("Failed: difference with its 95 % band", rate(&FAILED, "k"), "k"));
    widgets.push(difference("304: difference with its 95 % band", rate(&["not_modified"], "k"), "k"));
    widgets.push(Widget::graph(
        24,
        "Bytes by variant",
        "bytes a minute",
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

/// The difference of two rates, B − A, in percentage points, over all requests since the left edge, with the normal
/// approximation's interval: ± 1.96 √(p₁(1−p₁)/n₁ + p₂(1−p₂)/n₂) (Wald). CloudWatch documents no square root: `^ 0.5`.
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
    rows.push(expression("diff + half", json!({"id": "upper", "label": "upper end", "color": "#98df8a"})));
    rows.push(expression("diff - half", json!({"id": "lower", "label": "lower end", "color": "#98df8a"})));
    Widget::graph(12, title, "percentage points", rows).signed().line_at(0.0, "no difference")
}

/// Where answers came from.
const SOURCES: [(Metric, &str, &str); 6] = [
    (Metric::CacheHit, "hit", "#2ca02c"),
    (Metric::CacheRevalidated, "revalidated", "#98df8a"),
    (Metric::CacheCoalesced, "coalesced", "#17becf"),
    (Metric::CacheStale, "stale", "#ff7f0e"),
    (Metric::CacheMiss, "miss", "#1f77b4"),
    (Metric::CacheBypass, "bypass", "#7f7f7f"),
];

fn cache() -> Vec<Widget> {
    let sum = |metric, label: &str| own(metric, json!({"label": label, "stat": "Sum"}));
    let mut sources: Vec<Value> = SOURCES
        .iter()
        .map(|(metric, label, _)| own(*metric, json!({"id": label, "label": label, "stat": "Sum", "visible": false})))
        .collect();
    sources.push(expression(
        "100 * FILL(hit, 0) / (FILL(hit, 0) + FILL(revalidated, 0) + FILL(coalesced, 0) + FILL(stale, 0) + FILL(miss, 0) \
         + FILL(bypass, 0))",
        json!({"id": "share", "label": "from memory, without a word to S3", "color": "#2ca02c"}),
    ));
    sources.push(expression(
        "100 * (FILL(hit, 0) + FILL(revalidated, 0) + FILL(coalesced, 0) + FILL(stale, 0)) / (FILL(hit, 0) \
         + FILL(revalidated, 0) + FILL(coalesced, 0) + FILL(stale, 0) + FILL(miss, 0) + FILL(bypass, 0))",
        json!({"id": "saved", "label": "without moving the body again", "color": "#98df8a"}),
    ));
    vec![
        Widget::text(
            2,
            "# Cache and S3\nEach environment has a cache of its own: many environments with few requests each hit less. \
             `stale` means that S3 failed or that `stale_while_revalidate_secs` is set.",
        ),
        Widget::graph(
            12,
            "Where answers came from",
            "a minute",
            SOURCES
                .iter()
                .map(|(metric, label, color)| own(*metric, json!({"label": label, "stat": "Sum", "color": color})))
                .collect(),
        )
        .stacked(),
        Widget::graph(12, "Share from memory, %", "%", sources),
        Widget::graph(
            12,
            "Requests to S3",
            "a minute",
            vec![sum(Metric::S3Requests, "all"), sum(Metric::S3Retries, "of them retries")],
        ),
        Widget::graph(
            12,
            "Waiting for S3",
            "ms",
            PERCENTILES.iter().map(|stat| own(Metric::S3Duration, json!({"label": stat, "stat": stat}))).collect(),
        ),
        Widget::graph(
            8,
            "What the fullest cache holds",
            "bytes",
            vec![own(Metric::CacheBytes, json!({"label": "at most", "stat": "Maximum"}))],
        ),
        Widget::graph(8, "Evictions", "a minute", vec![sum(Metric::CacheEvictions, "objects that had to make room")]),
        Widget::graph(
            8,
            "Missing, denied, too large",
            "a minute",
            vec![
                sum(Metric::ObjectMissing, "missing"),
                sum(Metric::AccessDenied, "access denied"),
                sum(Metric::Oversize, "too large for an answer"),
            ],
        ),
        Widget::graph(
            12,
            "Status classes",
            "a minute",
            vec![
                own(Metric::Status2xx, json!({"label": "2xx", "stat": "Sum", "color": "#2ca02c"})),
                own(Metric::Status3xx, json!({"label": "3xx", "stat": "Sum", "color": "#1f77b4"})),
                own(Metric::Status4xx, json!({"label": "4xx", "stat": "Sum", "color": "#ff7f0e"})),
                own(Metric::Status5xx, json!({"label": "5xx", "stat": "Sum", "color": "#d62728"})),
            ],
        )
        .stacked(),
        Widget::graph(
            12,
            "Which secret, during a rotation; and spans lost",
            "a minute",
            vec![
                sum(Metric::SecretCurrent, "lambda_auth"),
                sum(Metric::SecretNext, "lambda_auth_next"),
                sum(Metric::AuthFailure, "neither"),
                sum(Metric::SpansDropped, "spans dropped"),
            ],
        ),
    ]
}

/// Lambda's report of an invocation, in either log format.
const REPORTS: &str = "filter type = \"platform.report\" or ispresent(@maxMemoryUsed)";

fn cold_starts() -> Vec<Widget> {
    let stats = |columns: &str| format!("{REPORTS} | stats {columns} by bin(5m)");
    vec![
        Widget::text(
            2,
            "# Cold starts and memory\nFrom the lines that Lambda writes of each invocation (`platform.report`; with the text \
             log format `REPORT`, whose memory is in bytes). A cold start costs its first viewer the init; the memory \
             setting buys CPU too, so a function that is far from its limit may still gain from more.",
        ),
        Widget::graph(
            12,
            "Cold starts",
            "a minute",
            vec![own(Metric::ColdStart, json!({"label": "first invocations", "stat": "Sum"}))],
        ),
        Widget::graph(
            12,
            "Start of the process to its first request for an event",
            "ms",
            PERCENTILES.iter().map(|stat| own(Metric::InitDuration, json!({"label": stat, "stat": stat}))).collect(),
        ),
        Widget::query(
            12,
            "Init as Lambda counts it",
            "timeSeries",
            &stats(
                "pct(coalesce(record.metrics.initDurationMs, @initDuration), 50) as p50, \
                 pct(coalesce(record.metrics.initDurationMs, @initDuration), 99) as p99",
            ),
        ),
        Widget::query(
            12,
            "Memory used at most, MB",
            "timeSeries",
            &stats("max(record.metrics.maxMemoryUsedMB) as used, max(record.metrics.memorySizeMB) as allowed"),
        ),
        Widget::query(
            12,
            "Billed",
            "timeSeries",
            &stats("avg(coalesce(record.metrics.billedDurationMs, @billedDuration)) as billed_ms"),
        ),
        Widget::graph(
            12,
            "Environments at work at once",
            "environments",
            vec![function("ConcurrentExecutions", json!({"label": "at most", "stat": "Maximum"}))],
        ),
        Widget::query(
            24,
            "All of it",
            "table",
            &format!(
                "{REPORTS} | stats count(*) as invocations, \
                 count(coalesce(record.metrics.initDurationMs, @initDuration)) as cold_starts, \
                 max(coalesce(record.metrics.initDurationMs, @initDuration)) as init_ms_max, \
                 pct(coalesce(record.metrics.durationMs, @duration), 50) as p50_ms, \
                 pct(coalesce(record.metrics.durationMs, @duration), 99) as p99_ms, \
                 max(record.metrics.maxMemoryUsedMB) as memory_mb_max"
            ),
        ),
    ]
}
