//! Exponential histograms: buckets whose width grows with the value
//! ([data model](https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram)).
//!
//! CloudWatch stores every histogram as an exponential one
//! ([histograms](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/metrics-otel-histograms.html)), so that
//! explicit buckets would only be less accurate.

use opentelemetry_proto::tonic::metrics::v1::ExponentialHistogramDataPoint;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;

/// How many buckets a histogram has at most: the default of OpenTelemetry's SDKs.
const BUCKETS_MAX: i32 = 160;

/// The largest scale, and the least: that at which two buckets hold every value.
const SCALES: (i32, i32) = (20, -11);

/// The histogram of values that are not negative, each with its number of occurrences.
///
/// The scale is the largest one at which the values fit in [`BUCKETS_MAX`] buckets: a bucket ends 2^(2^-scale) times as high
/// as it starts.
pub(super) fn histogram(values: &[(f64, u64)]) -> ExponentialHistogramDataPoint {
    let (mut count, mut sum, mut zero_count) = (0, 0.0, 0);
    let (mut min, mut max, mut min_positive) = (f64::INFINITY, f64::NEG_INFINITY, f64::INFINITY);
    for &(value, times) in values {
        count += times;
        sum += value * times as f64;
        (min, max) = (min.min(value), max.max(value));
        if value > 0.0 {
            min_positive = min_positive.min(value);
        } else {
            zero_count += times;
        }
    }
    let mut point = ExponentialHistogramDataPoint {
        count,
        sum: Some(sum),
        zero_count,
        min: (count > 0).then_some(min),
        max: (count > 0).then_some(max),
        ..ExponentialHistogramDataPoint::default()
    };
    if min_positive.is_finite() {
        let fits = |scale: &i32| index(max, *scale).saturating_sub(index(min_positive, *scale)) < BUCKETS_MAX;
        let (largest, least) = SCALES;
        let scale = (least..=largest).rev().find(fits).unwrap_or(least);
        let offset = index(min_positive, scale);
        let mut bucket_counts = vec![0; (index(max, scale) - offset + 1) as usize];
        for &(value, times) in values.iter().filter(|(value, _)| *value > 0.0) {
            bucket_counts[(index(value, scale) - offset) as usize] += times;
        }
        point.scale = scale;
        point.positive = Some(Buckets { offset, bucket_counts });
    }
    point
}

/// The index of the bucket of a positive value: that from 2^(index·2^-scale), exclusive, to 2^((index+1)·2^-scale), inclusive.
pub(super) fn index(value: f64, scale: i32) -> i32 {
    // Exact for powers of two: log2 is, and the factor is one. Other values may be in the neighbouring bucket if they are
    // within the rounding of a boundary, as the specification allows.
    let position = value.log2() * f64::from(scale).exp2();
    position.ceil() as i32 - 1
}
