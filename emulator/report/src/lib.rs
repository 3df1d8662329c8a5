//! Results of experiments, without I/O.
//!
//! - `counts`: the visitors and conversions of an experiment, per variation

pub mod counts;
