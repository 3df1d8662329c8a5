//! The dashboard `cache`: the cache and S3.

use nearedge_core::metric::Metric;
use nearedge_core::object::CopyKind;
use serde_json::{Value, json};

use crate::row::{PERCENTILES, expression, own, own_of_coding};
use crate::widget::Widget;

/// The metric, label and colour of each source of a response.
const SOURCES: [(Metric, &str, &str); 6] = [
    (Metric::CacheHit, "hit", "#1f77b4"),
    (Metric::CacheRevalidated, "revalidated", "#2ca02c"),
    (Metric::CacheCoalesced, "coalesced", "#9467bd"),
    (Metric::CacheStale, "stale", "#17becf"),
    (Metric::CacheMiss, "miss", "#ff7f0e"),
    (Metric::CacheBypass, "bypass", "#7f7f7f"),
];

pub(super) fn widgets() -> Vec<Widget> {
    let sum = |metric, label: &str| own(metric, json!({"label": label, "stat": "Sum"}));
    let mut sources: Vec<Value> = SOURCES
        .iter()
        .map(|(metric, label, _)| own(*metric, json!({"id": label, "label": label, "stat": "Sum", "visible": false})))
        .collect();
    sources.push(expression(
        "100 * FILL(hit, 0) / (FILL(hit, 0) + FILL(revalidated, 0) + FILL(coalesced, 0) + FILL(stale, 0) + \
         FILL(miss, 0) + FILL(bypass, 0))",
        json!({"id": "share", "label": "no request to S3", "color": "#1f77b4"}),
    ));
    sources.push(expression(
        "100 * (FILL(hit, 0) + FILL(revalidated, 0) + FILL(coalesced, 0) + FILL(stale, 0)) / (FILL(hit, 0) + \
         FILL(revalidated, 0) + FILL(coalesced, 0) + FILL(stale, 0) + FILL(miss, 0) + FILL(bypass, 0))",
        json!({"id": "saved", "label": "no further body from S3", "color": "#2ca02c"}),
    ));
    let (mut bytes, mut shares) = (Vec::new(), Vec::new());
    for kind in CopyKind::ALL.map(CopyKind::name) {
        let (source, copy) = (format!("source_{kind}"), format!("copy_{kind}"));
        bytes.push(own_of_coding(Metric::CopyBytes, kind, json!({"label": kind, "stat": "Sum"})));
        for (metric, id) in [(Metric::SourceBytes, &source), (Metric::CopyBytes, &copy)] {
            shares.push(own_of_coding(metric, kind, json!({"id": id, "stat": "Sum", "visible": false})));
        }
        shares.push(expression(
            &format!("100 * {copy} / {source}"),
            json!({"id": format!("share_{kind}"), "label": kind}),
        ));
    }
    bytes.push(own(Metric::SourceBytes, json!({"label": "their sources", "stat": "Sum", "color": "#7f7f7f"})));
    vec![
        Widget::text(
            2,
            "# Cache and S3\nEach environment has its own cache: many environments with few requests each have a \
             lower hit ratio. `stale` means that S3 failed, or that `stale_while_revalidate_secs` is set.",
        ),
        Widget::graph(
            12,
            "Responses by source",
            "per minute",
            SOURCES
                .iter()
                .map(|(metric, label, color)| own(*metric, json!({"label": label, "stat": "Sum", "color": color})))
                .collect(),
        )
        .stacked(),
        Widget::graph(12, "Responses from the cache", "%", sources),
        Widget::graph(
            12,
            "Requests to S3",
            "per minute",
            vec![sum(Metric::S3Requests, "all"), sum(Metric::S3Retries, "retries")],
        ),
        Widget::graph(
            12,
            "Time spent waiting for S3",
            "ms",
            PERCENTILES.iter().map(|stat| own(Metric::S3Duration, json!({"label": stat, "stat": stat}))).collect(),
        ),
        Widget::graph(
            8,
            "Size of the largest cache",
            "bytes",
            vec![own(Metric::CacheBytes, json!({"label": "maximum", "stat": "Maximum"}))],
        ),
        Widget::graph(8, "Evictions", "per minute", vec![sum(Metric::CacheEvictions, "evicted objects")]),
        Widget::graph(
            8,
            "Missing, denied, refused and too large objects",
            "per minute",
            vec![
                sum(Metric::ObjectMissing, "missing"),
                sum(Metric::AccessDenied, "access denied"),
                sum(Metric::ObjectRefused, "refused by S3"),
                sum(Metric::Oversize, "too large for a response"),
                sum(Metric::DefinitionErrors, "failed loads of the definition"),
            ],
        ),
        Widget::graph(12, "Bytes sent as copies, by coding or format", "bytes per minute", bytes),
        Widget::graph(12, "Size of copies, in % of their sources", "%", shares),
        Widget::graph(
            12,
            "Responses by status class",
            "per minute",
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
            "Secrets during a rotation, and dropped spans",
            "per minute",
            vec![
                sum(Metric::SecretCurrent, "lambda_auth"),
                sum(Metric::SecretNext, "lambda_auth_next"),
                sum(Metric::AuthFailure, "neither secret"),
                sum(Metric::SpansDropped, "spans dropped"),
            ],
        ),
    ]
}
