//! Results of experiments, without I/O.
//!
//! - `counts`: the visitors and conversions of an experiment, per variation, and their JSON format
//! - `statistics`: tests, intervals and chances of samples; the size of an experiment
//! - `results`: counts compared, in the format of `nearedge experiment report`, and the verdict
//! - `lines`: log lines -> records
//! - `tally`: records -> the counts of experiments
//! - `plain`: texts without control characters
//! - `render`: results as text, JSON and HTML

pub mod counts;
pub mod lines;
mod plain;
pub mod render;
pub mod results;
pub mod statistics;
pub mod tally;
