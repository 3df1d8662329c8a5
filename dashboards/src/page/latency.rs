//! The dashboard `latency`: the latency, requests and errors of each hop.

use nearedge_core::metric::Metric;
use serde_json::json;

use crate::partition::Partition;
use crate::row::{PERCENTILES, api, distribution, expression, function, own, url};
use crate::widget::Widget;

/// The colour of each hop, the same in every widget.
const CLOUDFRONT: &str = "#9467bd";
const API: &str = "#1f77b4";
const URL: &str = "#e377c2";
const LAMBDA: &str = "#ff7f0e";
const NEAREDGE: &str = "#2ca02c";

pub(super) fn widgets(partition: Partition) -> Vec<Widget> {
    let has_url = partition == Partition::Aws;
    let text = "# Latency by hop\nThe time of a hop includes the hops below it: the gap between two lines is the time that \
                a hop adds. `IntegrationLatency` − `Duration` is Lambda's overhead; spikes in it are cold starts and \
                waiting time.";
    let doors = if has_url { " Only the front doors in use, HTTP API and function URL, have lines." } else { "" };
    let mut widgets = vec![Widget::text(2, &format!("{text}{doors}"))];
    for percentile in PERCENTILES {
        let mut hops = Vec::new();
        if partition == Partition::Aws {
            hops.push(distribution(
                partition,
                "OriginLatency",
                json!({"label": "CloudFront", "stat": percentile, "color": CLOUDFRONT}),
            ));
        }
        hops.extend([
            api("Latency", json!({"label": "HTTP API", "stat": percentile, "color": API})),
            api("IntegrationLatency", json!({"label": "integration", "stat": percentile, "color": "#17becf"})),
        ]);
        if has_url {
            hops.push(url("UrlRequestLatency", json!({"label": "function URL", "stat": percentile, "color": URL})));
        }
        hops.extend([
            function("Duration", json!({"label": "Lambda", "stat": percentile, "color": LAMBDA})),
            own(Metric::Duration, json!({"label": "nearedge", "stat": percentile, "color": NEAREDGE})),
            own(Metric::S3Duration, json!({"label": "S3, if requested", "stat": percentile, "color": "#7f7f7f"})),
        ]);
        widgets.push(Widget::graph(8, &format!("Latency by hop, {percentile}"), "ms", hops).taller());
    }
    widgets.push(Widget::graph(
        12,
        "nearedge Duration",
        "ms",
        PERCENTILES.iter().map(|stat| own(Metric::Duration, json!({"label": stat, "stat": stat}))).collect(),
    ));
    let mut added = vec![
        api("Latency", json!({"id": "latency", "stat": "p50", "visible": false})),
        api("IntegrationLatency", json!({"id": "integration", "stat": "p50", "visible": false})),
        own(Metric::Duration, json!({"id": "own", "stat": "p50", "visible": false})),
        expression(
            &not_below_zero("latency - integration"),
            json!({"id": "gateway", "label": "HTTP API", "color": API}),
        ),
        expression(&not_below_zero("integration - own"), json!({"id": "lambda", "label": "Lambda", "color": LAMBDA})),
    ];
    if has_url {
        added.push(url("UrlRequestLatency", json!({"id": "url", "stat": "p50", "visible": false})));
        let options = json!({"id": "door", "label": "function URL and Lambda", "color": URL});
        added.push(expression(&not_below_zero("url - own"), options));
    }
    widgets.push(Widget::graph(12, "Time added by the HTTP API and Lambda, p50", "ms", added));
    let mut requests = vec![
        api("Count", json!({"label": "HTTP API", "stat": "Sum", "color": API})),
        function("Invocations", json!({"label": "Lambda", "stat": "Sum", "color": LAMBDA})),
        own(Metric::Duration, json!({"label": "nearedge", "stat": "SampleCount", "color": NEAREDGE})),
    ];
    if has_url {
        requests.insert(1, url("UrlRequestCount", json!({"label": "function URL", "stat": "Sum", "color": URL})));
    }
    requests.insert(
        0,
        distribution(partition, "Requests", json!({"label": "CloudFront", "stat": "Sum", "color": CLOUDFRONT})),
    );
    widgets.push(Widget::graph(12, "Requests by hop", "per minute", requests));
    let mut errors = vec![
        api("5xx", json!({"label": "HTTP API 5xx", "stat": "Sum", "color": API})),
        function("Errors", json!({"label": "Lambda Errors", "stat": "Sum", "color": LAMBDA})),
        function("Throttles", json!({"label": "Lambda Throttles", "stat": "Sum", "color": "#8c564b"})),
        own(Metric::Status5xx, json!({"label": "nearedge 5xx", "stat": "Sum", "color": NEAREDGE})),
        own(Metric::AuthFailure, json!({"label": "wrong or no secret", "stat": "Sum", "color": "#7f7f7f"})),
    ];
    if has_url {
        errors.insert(1, url("Url5xxCount", json!({"label": "function URL 5xx", "stat": "Sum", "color": URL})));
    }
    widgets.push(Widget::graph(12, "Errors by source", "per minute", errors));
    widgets
}

/// A difference of two percentiles can be below zero, because they need not belong to the same request; no hop takes less
/// than no time.
fn not_below_zero(difference: &str) -> String {
    format!("IF({difference} > 0, {difference}, 0)")
}
