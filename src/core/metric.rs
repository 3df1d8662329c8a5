//! The table of all metrics with their units, dimensions and meanings.
//!
//! Tests compare `docs/metrics.md` and the dashboards with it.

use crate::access::secret::SecretMatch;
use crate::record::{Record, WARM_UP};
use crate::store::{FetchError, Missing, Source, StoreStats};

/// The default namespace of the metrics.
pub const NAMESPACE: &str = "nearedge";

/// The dimension of every metric: the name of the function.
pub const SERVICE: &str = "service";

/// The dimension for the variant, on [`Dimensions::ServiceAndVariant`] metrics.
pub const VARIANT: &str = "variant";

/// The dimension for the outcome, on [`Dimensions::ServiceAndVariant`] metrics.
pub const OUTCOME: &str = "outcome";

/// The dimension for the kind of a copy, on [`Dimensions::Coding`] metrics: a content coding or an image format.
pub const CODING: &str = "coding";

/// The dimension for the experiment's key, on [`Dimensions::Variation`] and [`Dimensions::VariationAndGoal`] metrics. The
/// names of these three dimensions are those of GrowthBook's warehouse.
pub const EXPERIMENT: &str = "experiment_id";

/// The dimension for the variation's key.
pub const VARIATION: &str = "variation_id";

/// The dimension for the goal's key.
pub const GOAL: &str = "goal";

/// The value of [`VARIANT`] for a request without a variant.
pub const NO_VARIANT: &str = "none";

/// The value of [`VARIANT`] for an unlisted variant, so that a request cannot create a dimension value.
pub const OTHER_VARIANT: &str = "other";

/// The unit of a metric
/// ([MetricDatum](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// A number without a unit.
    Count,
}

impl Unit {
    /// The unit's name in CloudWatch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::Count => "Count",
        }
    }
}

/// The combinations of dimensions under which a metric is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimensions {
    /// [`SERVICE`] alone.
    Service,
    /// [`SERVICE`] alone; and [`SERVICE`], [`VARIANT`] and [`OUTCOME`].
    ServiceAndVariant,
    /// [`SERVICE`] alone; and [`SERVICE`] and [`CODING`].
    Coding,
    /// [`SERVICE`], [`EXPERIMENT`] and [`VARIATION`].
    Variation,
    /// [`SERVICE`], [`EXPERIMENT`], [`VARIATION`] and [`GOAL`].
    VariationAndGoal,
}

macro_rules! table {
    ($($name:ident, $unit:ident, $dimensions:ident, $meaning:literal;)*) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric { $(#[doc = $meaning] $name),* }

        impl Metric {
            /// Every metric.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in CloudWatch.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// The unit of its values.
            pub fn unit(self) -> Unit {
                match self { $(Self::$name => Unit::$unit),* }
            }

            /// Its combinations of dimensions.
            pub fn dimensions(self) -> Dimensions {
                match self { $(Self::$name => Dimensions::$dimensions),* }
            }

            /// Its meaning, in one or two sentences.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),* }
            }
        }
    };
}

table! {
    Duration, Milliseconds, ServiceAndVariant, "Time from the event's arrival until Lambda has the response. SampleCount is the number of requests.";
    BodyBytes, Bytes, ServiceAndVariant, "Size of the body that the client receives.";
    SourceBytes, Bytes, Coding, "Size of the object of which the client receives a copy, in a content coding or an image format. Only for responses with a copy.";
    CopyBytes, Bytes, Coding, "Size of the copy that the client receives. SampleCount is the number of responses with a copy.";
    S3Duration, Milliseconds, Service, "Time that a response waited for S3, including retries. Only for responses that waited.";
    S3Requests, Count, Service, "Requests to S3, including retries and those before the first event.";
    S3Retries, Count, Service, "Retries among S3Requests, after a failed request.";
    CacheHit, Count, Service, "Responses from the cache, without a request to S3.";
    CacheMiss, Count, Service, "Responses from S3, after a cache miss.";
    CacheRevalidated, Count, Service, "Responses from the cache, after S3 confirmed that the object is unchanged.";
    CacheCoalesced, Count, Service, "Responses that share the S3 request of a concurrent invocation.";
    CacheStale, Count, Service, "Responses from an expired cache entry: S3 failed, or the entry is revalidated after the response.";
    CacheBypass, Count, Service, "Responses without the cache: it is disabled, or the object is too large for it.";
    CacheBytes, Bytes, Service, "Size of the cache, after responses that are not cache hits and after evictions.";
    CacheEvictions, Count, Service, "Objects evicted from the cache.";
    WarmUp, Count, Service, "Warm-up events, which are not requests: they have no Duration, no status and no outcome.";
    ColdStart, Count, Service, "First invocations of execution environments.";
    InitDuration, Milliseconds, Service, "Time from the process start until its first request for an event. Only for the first invocation.";
    Status2xx, Count, Service, "Responses with a status from 200 to 299.";
    Status3xx, Count, Service, "Responses with a status from 300 to 399: redirects and 304.";
    Status4xx, Count, Service, "Responses with a status from 400 to 499.";
    Status5xx, Count, Service, "Responses with a status from 500 to 599.";
    AuthFailure, Count, Service, "Requests without the secret or with a wrong one.";
    SecretCurrent, Count, Service, "Requests with lambda_auth, counted while lambda_auth_next is set.";
    SecretNext, Count, Service, "Requests with lambda_auth_next.";
    ObjectMissing, Count, Service, "Requests for a key that S3 reports as missing.";
    AccessDenied, Count, Service, "Requests for a key to which S3 denies access, as for a missing key if the role lacks s3:ListBucket.";
    ObjectRefused, Count, Service, "Requests for an object that S3 refuses: archived, encrypted with SSE-C, or its KMS key is disabled.";
    Oversize, Count, Service, "Requests for an object that is too large for a Lambda response.";
    DefinitionErrors, Count, Service, "Loads of a file that configures the origin (experiments, redirects, headers or access) that failed: it is missing, invalid or too large, or S3 fails. The last good one stays active.";
    Exposures, Count, Variation, "Visitors who see a variation for the first time in a phase of the experiment.";
    Conversions, Count, VariationAndGoal, "Visitors who reach a goal for the first time after the exposure.";
    SpansDropped, Count, Service, "Spans dropped because the queue was full or the collector did not accept them.";
}

impl Metric {
    fn of_source(source: Source) -> Self {
        match source {
            Source::Bypass => Self::CacheBypass,
            Source::Hit => Self::CacheHit,
            Source::Miss => Self::CacheMiss,
            Source::Revalidated => Self::CacheRevalidated,
            Source::Coalesced => Self::CacheCoalesced,
            Source::Stale => Self::CacheStale,
        }
    }

    fn of_status(status: u16) -> Option<Self> {
        match status / 100 {
            2 => Some(Self::Status2xx),
            3 => Some(Self::Status3xx),
            4 => Some(Self::Status4xx),
            5 => Some(Self::Status5xx),
            _ => None,
        }
    }
}

/// The measurements of one invocation. Exposures and conversions have lines of their own.
#[derive(Debug, Clone, Copy)]
pub struct Measurement<'a> {
    /// The record of the invocation.
    pub record: &'a Record,
    /// From the arrival of the event until Lambda had the response.
    pub duration: std::time::Duration,
    /// The counters of the store since the last invocation.
    pub stats: StoreStats,
    /// The number of spans dropped since the last invocation.
    pub spans_dropped: u64,
    /// The number of failed loads of the definition since the last invocation.
    pub definition_errors: u64,
    /// The duration of the start; only for the first invocation.
    pub init: Option<std::time::Duration>,
    /// Whether a rotation of the secret is in progress.
    pub rotating: bool,
}

impl Measurement<'_> {
    /// Calls `emit` with each metric that applies, and its value in its unit.
    pub fn for_each(&self, mut emit: impl FnMut(Metric, f64)) {
        let Self { record, stats, .. } = self;
        if record.outcome == WARM_UP {
            emit(Metric::WarmUp, 1.0);
            self.emit_init(&mut emit);
            self.emit_counters(&mut emit);
            return;
        }
        emit(Metric::Duration, milliseconds(self.duration));
        emit(Metric::BodyBytes, record.body_bytes as f64);
        if let Some((_, source_bytes)) = record.copy {
            emit(Metric::SourceBytes, source_bytes as f64);
            emit(Metric::CopyBytes, record.body_bytes as f64);
        }
        let mut count = |metric| emit(metric, 1.0);
        Metric::of_status(record.status).map(&mut count);
        record.source.map(Metric::of_source).map(&mut count);
        match record.secret {
            None => count(Metric::AuthFailure),
            Some(SecretMatch::Current) if self.rotating => count(Metric::SecretCurrent),
            Some(SecretMatch::Current | SecretMatch::Iam) => {}
            Some(SecretMatch::Next) => count(Metric::SecretNext),
        }
        match record.missing {
            Some(Missing::NoSuchKey) => count(Metric::ObjectMissing),
            Some(Missing::AccessDenied) => count(Metric::AccessDenied),
            None => {}
        }
        if matches!(record.error, Some(FetchError::Refused(_))) {
            count(Metric::ObjectRefused);
        }
        if record.oversize {
            count(Metric::Oversize);
        }
        self.emit_init(&mut emit);
        if !record.waited.is_zero() {
            emit(Metric::S3Duration, milliseconds(record.waited));
        }
        if record.source != Some(Source::Hit) || stats.evictions > 0 {
            emit(Metric::CacheBytes, stats.cached_bytes as f64);
        }
        self.emit_counters(&mut emit);
    }

    /// The counters since the last line.
    fn emit_counters(&self, emit: &mut impl FnMut(Metric, f64)) {
        for (metric, count) in [
            (Metric::S3Requests, self.stats.requests),
            (Metric::S3Retries, self.stats.retries),
            (Metric::CacheEvictions, self.stats.evictions),
            (Metric::DefinitionErrors, self.definition_errors),
            (Metric::SpansDropped, self.spans_dropped),
        ] {
            if count > 0 {
                emit(metric, count as f64);
            }
        }
    }

    /// The metrics of a cold start.
    fn emit_init(&self, emit: &mut impl FnMut(Metric, f64)) {
        if let Some(init) = self.init {
            emit(Metric::ColdStart, 1.0);
            emit(Metric::InitDuration, milliseconds(init));
        }
    }
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // Rounded to microseconds: more digits are noise and lengthen every line.
    (duration.as_nanos() as f64 / 1e3).round() / 1e3
}

/// The variants that are values of [`VARIANT`].
///
/// The list is fixed, so that a request cannot create a value: CloudWatch charges for each one per month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants(pub Vec<String>);

impl Variants {
    /// The value of [`VARIANT`] for a request for `variant`.
    pub fn dimension<'a>(&'a self, variant: Option<&str>) -> &'a str {
        let Some(variant) = variant else { return NO_VARIANT };
        self.0.iter().find(|listed| *listed == variant).map_or(OTHER_VARIANT, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::RequestedVariant;
    use std::collections::{BTreeMap, HashSet};
    use std::time::Duration;

    fn record() -> Record {
        Record {
            status: 200,
            outcome: "found",
            key: None,
            variant: RequestedVariant::new(Some("v1"), None),
            secret: Some(SecretMatch::Current),
            body_bytes: 10,
            source: Some(Source::Hit),
            ..Record::warm_up()
        }
    }

    /// The metrics of an invocation and their values, by name.
    fn emitted(record: &Record, change: impl FnOnce(&mut Measurement<'_>)) -> BTreeMap<&'static str, f64> {
        let duration = Duration::from_nanos(93_400);
        let mut measured = Measurement {
            record,
            duration,
            stats: StoreStats::default(),
            spans_dropped: 0,
            definition_errors: 0,
            init: None,
            rotating: false,
        };
        change(&mut measured);
        let mut all = BTreeMap::new();
        measured.for_each(|metric, value| {
            assert_eq!(all.insert(metric.name(), value), None, "duplicate {}", metric.name())
        });
        all
    }

    #[test]
    fn a_cache_hit_has_four_metrics() {
        let expected = [("BodyBytes", 10.0), ("CacheHit", 1.0), ("Duration", 0.093), ("Status2xx", 1.0)];
        assert_eq!(emitted(&record(), |_| {}), BTreeMap::from(expected));
    }

    #[test]
    fn every_metric_that_applies_is_emitted_once() {
        let miss = Record {
            source: Some(Source::Miss),
            waited: Duration::from_millis(12),
            missing: Some(Missing::AccessDenied),
            secret: Some(SecretMatch::Next),
            status: 404,
            oversize: true,
            ..record()
        };
        let all = emitted(&miss, |measured| {
            measured.stats = StoreStats { cached_bytes: 7, evictions: 2, requests: 3, retries: 1 };
            measured.spans_dropped = 5;
            measured.init = Some(Duration::from_millis(4));
        });
        for (name, value) in [
            ("CacheMiss", 1.0),
            ("S3Duration", 12.0),
            ("S3Requests", 3.0),
            ("S3Retries", 1.0),
            ("AccessDenied", 1.0),
            ("SecretNext", 1.0),
            ("Status4xx", 1.0),
            ("Oversize", 1.0),
            ("CacheBytes", 7.0),
            ("CacheEvictions", 2.0),
            ("SpansDropped", 5.0),
            ("ColdStart", 1.0),
            ("InitDuration", 4.0),
        ] {
            assert_eq!(all.get(name), Some(&value), "{name}");
        }
    }

    #[test]
    fn the_current_secret_is_counted_only_during_a_rotation() {
        let key = "SecretCurrent";
        assert!(!emitted(&record(), |_| {}).contains_key(key));
        assert!(emitted(&record(), |measured| measured.rotating = true).contains_key(key));
        let refused = Record { secret: None, ..record() };
        assert!(emitted(&refused, |_| {}).contains_key("AuthFailure"));
    }

    #[test]
    fn every_source_and_status_class_has_its_own_metric() {
        let sources: HashSet<_> = Source::ALL.map(Metric::of_source).into();
        assert_eq!(sources.len(), Source::ALL.len());
        for (status, metric) in [(204, Some(Metric::Status2xx)), (304, Some(Metric::Status3xx)), (99, None)] {
            assert_eq!(Metric::of_status(status), metric);
        }
    }

    #[test]
    fn a_request_cannot_create_a_dimension_value() {
        let variants = Variants(vec!["v1".to_owned()]);
        assert_eq!(
            [None, Some("v1"), Some("v2"), Some("none"), Some("V1")].map(|requested| variants.dimension(requested)),
            ["none", "v1", "other", "other", "other"]
        );
    }
}
