//! The metrics of an interval, and the message of several.

use std::sync::Arc;
use std::time::SystemTime;

use nearedge_core::experiment::count::{Count, CountKind};
use nearedge_core::metric::{CODING, Dimensions, EXPERIMENT, GOAL, Metric, OUTCOME, Unit, VARIANT, VARIATION};
use nearedge_core::object::CopyKind;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Metric as OtlpMetric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;

use crate::telemetry::metrics_exporter::histogram::histogram;
use crate::telemetry::metrics_group::{Group, Values};

/// The metrics of the invocations of an interval.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) invocations: usize,
    /// The data points, at most one of a metric and its attributes.
    points: Vec<(Metric, Point)>,
}

#[derive(Debug)]
enum Point {
    Number(NumberDataPoint),
    Histogram(ExponentialHistogramDataPoint),
}

/// The start and the end of an interval.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

/// Exposures and conversions, each kind with its number.
#[derive(Debug, Default)]
pub(super) struct Counted(Vec<(Counter, i64)>);

/// What is counted. The definition limits the number of different ones.
#[derive(Debug, PartialEq, Eq)]
struct Counter {
    experiment: Arc<str>,
    variation: Arc<str>,
    /// `None` for exposures.
    goal: Option<Arc<str>>,
}

/// What distinguishes the data points of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attributes<'a> {
    None,
    VariantAndOutcome(&'a str, &'static str),
    Coding(Option<CopyKind>),
}

impl Counted {
    /// Adds an exposure or a conversion, unless metrics do not distinguish its experiment.
    pub(super) fn add(&mut self, count: &Count) {
        if !count.in_metrics {
            return;
        }
        let goal = match &count.kind {
            CountKind::Exposure { .. } => None,
            CountKind::Conversion { goal, .. } => Some(goal),
        };
        let is_same = |(known, _): &&mut (Counter, i64)| {
            known.goal.as_ref() == goal && known.experiment == count.experiment && known.variation == count.variation
        };
        match self.0.iter_mut().find(is_same) {
            Some((_, number)) => *number += 1,
            None => {
                let (experiment, variation) = (count.experiment.clone(), count.variation.clone());
                self.0.push((Counter { experiment, variation, goal: goal.cloned() }, 1));
            }
        }
    }
}

impl Batch {
    /// The metrics of these groups. `cache_bytes` is the size of the cache after the last invocation.
    pub(super) fn new(groups: &[Group], counted: Counted, cache_bytes: u64, interval: Interval) -> Self {
        let mut series: Vec<(Metric, Attributes<'_>, Values)> = Vec::new();
        for group in groups {
            for (metric, values) in &group.metrics {
                let attributes = match metric.dimensions() {
                    Dimensions::ServiceAndVariant => Attributes::VariantAndOutcome(&group.variant, group.outcome),
                    Dimensions::Coding => Attributes::Coding(group.coding),
                    Dimensions::Service | Dimensions::Variation | Dimensions::VariationAndGoal => Attributes::None,
                };
                match series.iter_mut().find(|(known, of, _)| known == metric && *of == attributes) {
                    Some((_, _, all)) => all.extend_from_slice(values),
                    None => series.push((*metric, attributes, values.clone())),
                }
            }
        }
        let measured = series.into_iter().map(|(metric, attributes, values)| {
            let attributes = attributes.to_otlp();
            let point = match kind(metric) {
                Kind::Histogram => Point::Histogram(ExponentialHistogramDataPoint {
                    attributes,
                    start_time_unix_nano: nanos(interval.start),
                    time_unix_nano: nanos(interval.end),
                    ..histogram(&values)
                }),
                Kind::Sum => {
                    // Counts are whole numbers far below 2^53.
                    let sum: f64 = values.iter().map(|(value, times)| value * *times as f64).sum();
                    number(attributes, interval, sum as i64)
                }
                Kind::Gauge => number(attributes, interval, i64::try_from(cache_bytes).unwrap_or(i64::MAX)),
            };
            (metric, point)
        });
        let counted = counted.0.into_iter().map(|(Counter { experiment, variation, goal }, count)| {
            let metric = if goal.is_some() { Metric::Conversions } else { Metric::Exposures };
            let mut attributes = vec![attribute(EXPERIMENT, &experiment), attribute(VARIATION, &variation)];
            attributes.extend(goal.map(|goal| attribute(GOAL, &goal)));
            (metric, number(attributes, interval, count))
        });
        let invocations = groups.iter().map(|group| group.invocations).sum();
        Self { invocations, points: measured.chain(counted).collect() }
    }

    /// The number of data points.
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }
}

impl Attributes<'_> {
    fn to_otlp(self) -> Vec<KeyValue> {
        match self {
            Self::None => Vec::new(),
            Self::VariantAndOutcome(variant, outcome) => vec![attribute(VARIANT, variant), attribute(OUTCOME, outcome)],
            Self::Coding(coding) => coding.map(|kind| attribute(CODING, kind.name())).into_iter().collect(),
        }
    }
}

impl Point {
    fn number(&self) -> Option<&NumberDataPoint> {
        if let Self::Number(point) = self { Some(point) } else { None }
    }

    fn histogram(&self) -> Option<&ExponentialHistogramDataPoint> {
        if let Self::Histogram(point) = self { Some(point) } else { None }
    }
}

/// The kind of a metric's data points.
enum Kind {
    Sum,
    Gauge,
    Histogram,
}

fn kind(metric: Metric) -> Kind {
    match metric.unit() {
        Unit::Count => Kind::Sum,
        Unit::Bytes if metric == Metric::CacheBytes => Kind::Gauge,
        Unit::Bytes | Unit::Milliseconds => Kind::Histogram,
    }
}

/// The name of a unit in UCUM
/// ([instrument units](https://opentelemetry.io/docs/specs/semconv/general/metrics/#instrument-units)).
fn ucum(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "ms",
        Unit::Bytes => "By",
        Unit::Count => "1",
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(OtlpValue::StringValue(value.to_owned())) };
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

fn number(attributes: Vec<KeyValue>, interval: Interval, value: i64) -> Point {
    Point::Number(NumberDataPoint {
        attributes,
        start_time_unix_nano: nanos(interval.start),
        time_unix_nano: nanos(interval.end),
        value: Some(Number::AsInt(value)),
        ..NumberDataPoint::default()
    })
}

/// Nanoseconds since 1970.
fn nanos(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64)
}

/// The message with these batches: each metric once, with the data points of all.
pub(super) fn message(
    batches: &[Batch],
    namespace: &str,
    resource: &ResourceAttributesWithSchema,
) -> ExportMetricsServiceRequest {
    let metrics = Metric::ALL.iter().filter_map(|metric| {
        let of_all = || batches.iter().flat_map(|batch| &batch.points);
        let points = || of_all().filter(|(of, _)| of == metric).map(|(_, point)| point);
        points().next()?;
        let numbers = || points().filter_map(Point::number).cloned().collect();
        // Each message has the values since the one before: nothing else survives the end of an environment.
        let aggregation_temporality = AggregationTemporality::Delta as i32;
        let data = match kind(*metric) {
            Kind::Sum => Data::Sum(Sum { data_points: numbers(), aggregation_temporality, is_monotonic: true }),
            Kind::Gauge => Data::Gauge(Gauge { data_points: numbers() }),
            Kind::Histogram => {
                let data_points = points().filter_map(Point::histogram).cloned().collect();
                Data::ExponentialHistogram(ExponentialHistogram { data_points, aggregation_temporality })
            }
        };
        Some(OtlpMetric {
            name: metric.name().to_owned(),
            unit: ucum(metric.unit()).to_owned(),
            data: Some(data),
            ..OtlpMetric::default()
        })
    });
    let scope = InstrumentationScope { name: namespace.to_owned(), ..InstrumentationScope::default() };
    let scope_metrics = ScopeMetrics { scope: Some(scope), metrics: metrics.collect(), schema_url: String::new() };
    let attributes = resource.attributes.0.clone();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![scope_metrics],
            schema_url: resource.schema_url.clone().unwrap_or_default(),
        }],
    }
}
