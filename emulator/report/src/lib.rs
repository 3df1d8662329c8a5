//! Results of experiments, without I/O.
//!
//! - `tally`: records -> the counts of experiments
//! - `lines`: log lines -> records
//! - `counts`: the visitors and conversions of an experiment, per variation

pub mod counts;
pub mod lines;
pub mod tally;
