//! Results of experiments, without I/O.
//!
//! - `render`: results as text
//! - `results`: counts compared, in the format of `nearedge experiment report`, and the verdict
//! - `statistics`: tests, intervals and chances of samples; the size of an experiment
//! - `tally`: records -> the counts of experiments
//! - `lines`: log lines -> records
//! - `counts`: the visitors and conversions of an experiment, per variation, and their JSON format

pub mod counts;
pub mod lines;
pub mod render;
pub mod results;
pub mod statistics;
pub mod tally;
