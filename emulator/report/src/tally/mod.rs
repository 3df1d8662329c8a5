//! Records -> the counts of experiments, whatever the order of the records.
//!
//! - `interner`: names as small numbers
//! - `visitor`: a visitor's id in 16 bytes
//! - `event`: exposures and conversions in few bytes, without repetitions
//! - `access`: requests per version and hour
//! - `collect`: collects records
//! - `outline`: what a definition says about an experiment
//! - `result`: what was counted and what was not
//! - `count`: collected records -> result
//! - `series`: the counts over time
//! - `guardrail`: failures, latency and bytes per variation

pub mod access;
pub mod collect;
pub mod count;
mod event;
pub mod guardrail;
mod interner;
pub mod outline;
pub mod result;
pub mod series;
mod visitor;
