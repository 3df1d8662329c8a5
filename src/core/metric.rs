//! What is measured: one table of every metric, its unit and its meaning.
//!
//! `docs/metrics.md` and the dashboards are tested against it.

use crate::access::secret::SecretMatch;
use crate::record::Record;
use crate::store::{Missing, Source, StoreStats};

/// The namespace of the metrics, unless another is set.
pub const NAMESPACE: &str = "nearedge";

/// The dimension of every metric: which function.
pub const SERVICE: &str = "service";

/// The dimension that tells variants apart, for the metrics that have it.
pub const VARIANT: &str = "variant";

/// The dimension that says what became of the request, for the metrics that have it.
pub const OUTCOME: &str = "outcome";

/// The value of [`VARIANT`] of a request that names none.
pub const NO_VARIANT: &str = "none";

/// The value of [`VARIANT`] of a request that names one that is not on the list: a request mints no dimension.
pub const OTHER_VARIANT: &str = "other";

/// What a value counts, as CloudWatch names it
/// ([MetricDatum](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Bytes.
    Bytes,
    /// How many.
    Count,
}

impl Unit {
    /// CloudWatch's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "Milliseconds",
            Self::Bytes => "Bytes",
            Self::Count => "Count",
        }
    }
}

/// What a metric is told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimensions {
    /// By [`SERVICE`].
    Service,
    /// By [`SERVICE`], and again by [`SERVICE`], [`VARIANT`] and [`OUTCOME`].
    VariantToo,
}

macro_rules! table {
    ($($name:ident, $unit:ident, $dimensions:ident, $meaning:literal;)*) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric { $(#[doc = $meaning] $name),* }

        impl Metric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name in CloudWatch.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// What its values count.
            pub fn unit(self) -> Unit {
                match self { $(Self::$name => Unit::$unit),* }
            }

            /// What it is told apart by.
            pub fn dimensions(self) -> Dimensions {
                match self { $(Self::$name => Dimensions::$dimensions),* }
            }

            /// What it says, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning),* }
            }
        }
    };
}

table! {
    Duration, Milliseconds, VariantToo, "From the event's arrival until Lambda has the answer; its SampleCount is the number of requests.";
    BodyBytes, Bytes, VariantToo, "The bytes of the body that the client gets.";
    S3Duration, Milliseconds, Service, "How long an answer waited for S3, retries included; only answers that did.";
    S3Requests, Count, Service, "The requests made to S3, retries and those before the first event included.";
    S3Retries, Count, Service, "Those of them that were made because another had failed.";
    CacheHit, Count, Service, "Answers from memory alone, without a word to S3.";
    CacheMiss, Count, Service, "Answers that S3 was asked for.";
    CacheRevalidated, Count, Service, "Answers from memory after S3 said that the object is unchanged.";
    CacheCoalesced, Count, Service, "Answers from what another invocation was asking S3 for at the same time.";
    CacheStale, Count, Service, "Answers from memory although their time was over: S3 failed, or is asked after the answer.";
    CacheBypass, Count, Service, "Answers that the cache had no part in: it is off, or the object is too large for it.";
    CacheBytes, Bytes, Service, "What the cache holds, after answers that were no hits.";
    CacheEvictions, Count, Service, "Objects that had to make room.";
    ColdStart, Count, Service, "First invocations of an execution environment.";
    InitDuration, Milliseconds, Service, "From the start of the process until it asked for its first event, with the first invocation.";
    Status2xx, Count, Service, "Answers with a status from 200 to 299.";
    Status3xx, Count, Service, "Answers with a status from 300 to 399: redirects and 304.";
    Status4xx, Count, Service, "Answers with a status from 400 to 499.";
    Status5xx, Count, Service, "Answers with a status from 500 to 599.";
    AuthFailure, Count, Service, "Requests without the secret, or with a wrong one.";
    SecretCurrent, Count, Service, "Requests with lambda_auth, while lambda_auth_next is set.";
    SecretNext, Count, Service, "Requests with lambda_auth_next.";
    ObjectMissing, Count, Service, "Requests for a key that S3 says is not there.";
    AccessDenied, Count, Service, "Requests for a key that S3 denies access to: missing, or the role lacks s3:ListBucket.";
    Oversize, Count, Service, "Requests for an object that no answer of Lambda's can hold.";
    SpansDropped, Count, Service, "Spans that no collector took.";
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

/// What is measured of an invocation.
#[derive(Debug, Clone, Copy)]
pub struct Measurement<'a> {
    /// How it was answered.
    pub record: &'a Record,
    /// From the event's arrival until Lambda had the answer.
    pub duration: std::time::Duration,
    /// What was done in the meantime; counts since the last invocation.
    pub stats: StoreStats,
    /// Spans that were dropped since the last invocation.
    pub spans_dropped: u64,
    /// How long the start took, with the first invocation.
    pub init: Option<std::time::Duration>,
    /// Whether a rotation of the secret is under way.
    pub rotating: bool,
}

impl Measurement<'_> {
    /// Each metric that there is something to say of, and its value in its unit.
    pub fn each(&self, mut say: impl FnMut(Metric, f64)) {
        let Self { record, stats, .. } = self;
        say(Metric::Duration, milliseconds(self.duration));
        say(Metric::BodyBytes, record.body_bytes as f64);
        let mut one = |metric| say(metric, 1.0);
        Metric::of_status(record.status).map(&mut one);
        record.source.map(Metric::of_source).map(&mut one);
        match record.secret {
            None => one(Metric::AuthFailure),
            Some(SecretMatch::Current) if self.rotating => one(Metric::SecretCurrent),
            Some(SecretMatch::Current) => {}
            Some(SecretMatch::Next) => one(Metric::SecretNext),
        }
        match record.missing {
            Some(Missing::NoSuchKey) => one(Metric::ObjectMissing),
            Some(Missing::AccessDenied) => one(Metric::AccessDenied),
            None => {}
        }
        if record.oversize {
            one(Metric::Oversize);
        }
        if let Some(init) = self.init {
            one(Metric::ColdStart);
            say(Metric::InitDuration, milliseconds(init));
        }
        if !record.waited.is_zero() {
            say(Metric::S3Duration, milliseconds(record.waited));
        }
        if record.source != Some(Source::Hit) || stats.evictions > 0 {
            say(Metric::CacheBytes, stats.cached_bytes as f64);
        }
        for (metric, count) in [
            (Metric::S3Requests, stats.requests),
            (Metric::S3Retries, stats.retries),
            (Metric::CacheEvictions, stats.evictions),
            (Metric::SpansDropped, self.spans_dropped),
        ] {
            if count > 0 {
                say(metric, count as f64);
            }
        }
    }
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    // To the microsecond: what is finer is noise, and takes room in every line.
    (duration.as_nanos() as f64 / 1e3).round() / 1e3
}

/// The variants that metrics may be told apart by: those of the test, so that no request can mint a dimension, which
/// is paid for by the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variants(pub Vec<String>);

impl Variants {
    /// The value of [`VARIANT`] for a request that asked for `variant`.
    pub fn dimension<'a>(&'a self, variant: Option<&str>) -> &'a str {
        let Some(variant) = variant else { return NO_VARIANT };
        self.0.iter().find(|known| *known == variant).map_or(OTHER_VARIANT, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, HashSet};
    use std::time::Duration;

    fn record() -> Record {
        Record {
            status: 200,
            outcome: "found",
            key: None,
            variant: Some("v1".to_owned()),
            secret: Some(SecretMatch::Current),
            body_bytes: 10,
            missing: None,
            error: None,
            source: Some(Source::Hit),
            waited: Duration::ZERO,
            oversize: false,
        }
    }

    fn said(record: &Record, change: impl FnOnce(&mut Measurement<'_>)) -> BTreeMap<&'static str, f64> {
        let duration = Duration::from_nanos(93_400);
        let mut measured = Measurement {
            record,
            duration,
            stats: StoreStats::default(),
            spans_dropped: 0,
            init: None,
            rotating: false,
        };
        change(&mut measured);
        let mut all = BTreeMap::new();
        measured.each(|metric, value| assert_eq!(all.insert(metric.name(), value), None, "{} twice", metric.name()));
        all
    }

    #[test]
    fn a_hit_says_four_things_and_nothing_of_what_did_not_happen() {
        let wanted = [("BodyBytes", 10.0), ("CacheHit", 1.0), ("Duration", 0.093), ("Status2xx", 1.0)];
        assert_eq!(said(&record(), |_| {}), BTreeMap::from(wanted));
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_counted_once_each() {
        let miss = Record {
            source: Some(Source::Miss),
            waited: Duration::from_millis(12),
            missing: Some(Missing::AccessDenied),
            secret: Some(SecretMatch::Next),
            status: 404,
            oversize: true,
            ..record()
        };
        let all = said(&miss, |measured| {
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
    fn the_secret_in_use_is_counted_only_while_there_is_another() {
        let key = "SecretCurrent";
        assert!(!said(&record(), |_| {}).contains_key(key));
        assert!(said(&record(), |measured| measured.rotating = true).contains_key(key));
        let refused = Record { secret: None, ..record() };
        assert!(said(&refused, |_| {}).contains_key("AuthFailure"));
    }

    #[test]
    fn every_source_and_every_status_class_has_a_metric_of_its_own() {
        let sources: HashSet<_> = Source::ALL.map(Metric::of_source).into();
        assert_eq!(sources.len(), Source::ALL.len());
        for (status, metric) in [(204, Some(Metric::Status2xx)), (304, Some(Metric::Status3xx)), (99, None)] {
            assert_eq!(Metric::of_status(status), metric);
        }
    }

    #[test]
    fn a_request_mints_no_dimension() {
        let variants = Variants(vec!["v1".to_owned()]);
        assert_eq!(
            [None, Some("v1"), Some("v2"), Some("none"), Some("V1")].map(|asked| variants.dimension(asked)),
            ["none", "v1", "other", "other", "other"]
        );
    }
}
