//! Metrics over OTLP, as values of the metrics that lines in Embedded Metric Format would have.
//!
//! CloudWatch itself keeps both apart: metrics over OTLP have labels, and PromQL reads them. Here the console shows both.

use nearedge_core::metric::{CODING, OUTCOME, SERVICE, VARIANT};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, NumberDataPoint};
use prost::Message;

use super::{CloudWatch, MetricName};

/// The values of a data point, its attributes, and its time in nanoseconds since 1970.
type Point = (Vec<f64>, Vec<(String, String)>, u64);

impl CloudWatch {
    /// Records the metrics of an `ExportMetricsServiceRequest` in protobuf; `false` if the request is invalid.
    ///
    /// The scope is the namespace, and `service.name` the dimension `service`. As in lines, values with a variant or a coding
    /// are also values of the service.
    pub fn put_otlp(&self, request: &[u8]) -> bool {
        let Ok(request) = ExportMetricsServiceRequest::decode(request) else { return false };
        for resource_metrics in request.resource_metrics {
            let resource = texts(&resource_metrics.resource.map(|of| of.attributes).unwrap_or_default());
            let service = resource.into_iter().find(|(name, _)| name == "service.name").unwrap_or_default().1;
            for scope_metrics in resource_metrics.scope_metrics {
                let namespace = scope_metrics.scope.map(|scope| scope.name).unwrap_or_default();
                for metric in scope_metrics.metrics {
                    for (values, attributes, nanos) in metric.data.map(points).unwrap_or_default() {
                        let mut sets = vec![vec![(SERVICE, service.as_str())]];
                        let all = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                        sets[0].extend(all);
                        let is_partial = |(name, _): &(String, String)| [VARIANT, OUTCOME, CODING].contains(&&**name);
                        if attributes.iter().any(is_partial) {
                            sets.push(vec![(SERVICE, service.as_str())]);
                        }
                        for set in sets {
                            for value in &values {
                                self.put_at(
                                    nanos / 1_000_000_000,
                                    MetricName::new(&namespace, &metric.name, &set),
                                    *value,
                                );
                            }
                        }
                    }
                }
            }
        }
        true
    }
}

fn points(data: Data) -> Vec<Point> {
    let number = |point: NumberDataPoint| {
        let value = match point.value {
            Some(Number::AsInt(value)) => value as f64,
            Some(Number::AsDouble(value)) => value,
            None => 0.0,
        };
        (vec![value], texts(&point.attributes), point.time_unix_nano)
    };
    match data {
        Data::Sum(sum) => sum.data_points.into_iter().map(number).collect(),
        Data::Gauge(gauge) => gauge.data_points.into_iter().map(number).collect(),
        Data::ExponentialHistogram(histogram) => {
            let point =
                |of: ExponentialHistogramDataPoint| (histogram_values(&of), texts(&of.attributes), of.time_unix_nano);
            histogram.data_points.into_iter().map(point).collect()
        }
        Data::Histogram(_) | Data::Summary(_) => Vec::new(),
    }
}

/// The values of a histogram, each as the middle of its bucket.
fn histogram_values(point: &ExponentialHistogramDataPoint) -> Vec<f64> {
    let (min, max) = (point.min.unwrap_or(0.0), point.max.unwrap_or(f64::MAX));
    let mut values: Vec<f64> = (0..point.zero_count).map(|_| 0.0).collect();
    let width = (-f64::from(point.scale)).exp2();
    for (position, count) in point.positive.iter().flat_map(|buckets| buckets.bucket_counts.iter().enumerate()) {
        let offset = point.positive.as_ref().map_or(0, |buckets| buckets.offset);
        let middle = ((f64::from(offset) + position as f64 + 0.5) * width).exp2();
        values.extend((0..*count).map(|_| middle.clamp(min, max)));
    }
    values
}

/// The attributes that are texts.
fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |attribute: &KeyValue| match &attribute.value.as_ref()?.value {
        Some(OtlpValue::StringValue(text)) => Some((attribute.key.clone(), text.clone())),
        _ => None,
    };
    attributes.iter().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_protobuf_is_rejected() {
        let cloudwatch = CloudWatch::default();
        assert!(!cloudwatch.put_otlp(b"\xff\xff\xff"));
        assert!(cloudwatch.put_otlp(b""));
        assert_eq!(cloudwatch.names(), []);
    }
}
