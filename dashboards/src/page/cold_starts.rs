//! The dashboard `cold-starts`: cold starts and memory.

use nearedge_core::metric::Metric;
use serde_json::json;

use crate::row::{PERCENTILES, function, own};
use crate::widget::Widget;

/// Selects Lambda's report lines, in both log formats.
const REPORTS: &str = "filter type = \"platform.report\" or ispresent(@maxMemoryUsed)";

pub(super) fn widgets() -> Vec<Widget> {
    let stats = |columns: &str| format!("{REPORTS} | stats {columns} by bin(5m)");
    vec![
        Widget::text(
            2,
            "# Cold starts and memory\nFrom the line that Lambda writes for each invocation (`platform.report`; \
             `REPORT` in the text log format, where memory is in bytes). The first request of a cold start waits for \
             the init. More memory includes more CPU, so it can help a function that is far below its memory limit.",
        ),
        Widget::graph(
            12,
            "Cold starts and warm-up events",
            "per minute",
            vec![
                own(Metric::ColdStart, json!({"label": "cold starts", "stat": "Sum"})),
                own(Metric::WarmUp, json!({"label": "warm-up events", "stat": "Sum"})),
            ],
        ),
        Widget::graph(
            12,
            "Process start to its first request for an event",
            "ms",
            PERCENTILES.iter().map(|stat| own(Metric::InitDuration, json!({"label": stat, "stat": stat}))).collect(),
        ),
        Widget::query(
            12,
            "Init duration reported by Lambda, ms",
            "timeSeries",
            &stats(
                "pct(coalesce(record.metrics.initDurationMs, @initDuration), 50) as p50, \
                 pct(coalesce(record.metrics.initDurationMs, @initDuration), 99) as p99",
            ),
        ),
        Widget::query(
            12,
            "Maximum memory used, MB",
            "timeSeries",
            &stats("max(record.metrics.maxMemoryUsedMB) as used, max(record.metrics.memorySizeMB) as configured"),
        ),
        Widget::query(
            12,
            "Billed duration, ms",
            "timeSeries",
            &stats("avg(coalesce(record.metrics.billedDurationMs, @billedDuration)) as billed"),
        ),
        Widget::graph(
            12,
            "Concurrent environments",
            "environments",
            vec![function("ConcurrentExecutions", json!({"label": "maximum", "stat": "Maximum"}))],
        ),
        Widget::query(
            24,
            "Summary",
            "table",
            &format!(
                "{REPORTS} | stats count(*) as invocations, count(coalesce(record.metrics.initDurationMs, \
                 @initDuration)) as cold_starts, max(coalesce(record.metrics.initDurationMs, @initDuration)) as \
                 init_ms_max, pct(coalesce(record.metrics.durationMs, @duration), 50) as p50_ms, \
                 pct(coalesce(record.metrics.durationMs, @duration), 99) as p99_ms, \
                 max(record.metrics.maxMemoryUsedMB) as memory_mb_max"
            ),
        ),
    ]
}
