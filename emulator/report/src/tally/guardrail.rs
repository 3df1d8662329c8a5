//! Failures, latency and bytes per variation, from the lines of requests.
//!
//! These lines have no visitor. A variation gets all requests that were answered with its version: those of bots and of
//! visitors who do not count, too, and those of other experiments that give the same version. Answers from the CDN's cache
//! have no line.

use serde::Serialize;

use crate::tally::access::{Durations, Requests};

/// The requests of a variation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guardrail {
    /// The key of the variation.
    pub variation: String,
    /// The versions of its exposures.
    pub versions: Vec<String>,
    /// Why its requests cannot be told apart from those of another variation, in words.
    pub obstacle: Option<&'static str>,
    /// The number of requests.
    pub requests: u64,
    /// The number of requests with a status from 500 on.
    pub failures: u64,
    /// The 90th percentile of the duration, in milliseconds.
    pub p90_millis: Option<f64>,
    /// Its 95 % interval.
    pub p90_interval: Option<[f64; 2]>,
    /// The average size of a body.
    pub body_bytes: Option<f64>,
}

impl Guardrail {
    pub(super) fn new(
        variation: &str,
        versions: Vec<String>,
        obstacle: Option<&'static str>,
        requests: Requests,
        durations: &Durations,
    ) -> Self {
        let count = durations.count();
        Self {
            variation: variation.to_owned(),
            versions,
            obstacle,
            requests: requests.requests,
            failures: requests.failures,
            p90_millis: durations.at_rank((count as f64 * 0.9).ceil() as u64).filter(|_| count > 0),
            p90_interval: quantile_ranks(count, 0.9)
                .and_then(|(low, high)| Some([durations.at_rank(low)?, durations.at_rank(high)?])),
            body_bytes: (requests.requests > 0).then(|| requests.body_bytes as f64 / requests.requests as f64),
        }
    }
}

/// The ranks between which a quantile lies with a probability of 95 %: the number of values below it is binomial.
fn quantile_ranks(count: u64, quantile: f64) -> Option<(u64, u64)> {
    let (mean, deviation) = (count as f64 * quantile, (count as f64 * quantile * (1.0 - quantile)).sqrt());
    let (low, high) = ((mean - 1.96 * deviation).floor(), (mean + 1.96 * deviation).ceil() + 1.0);
    // With fewer values, the interval has no upper end.
    (low >= 1.0 && high <= count as f64).then_some((low as u64, high as u64))
}
