//! The periods that an alarm needs.

use serde_json::Value;

/// Three of five periods: one bad period raises no alarm, and late log lines do not hide a failure.
pub(super) fn window(mut properties: Value, threshold: f64) -> Value {
    properties["EvaluationPeriods"] = 5.into();
    properties["DatapointsToAlarm"] = 3.into();
    properties["ComparisonOperator"] = "GreaterThanThreshold".into();
    properties["Threshold"] = threshold.into();
    properties
}
