//! Log lines: exposures, conversions and requests in the output of the tools that read CloudWatch Logs.
//!
//! - `timestamp`: times in lines and on the command line
//! - `record`: what is read of a line
//! - `parse`: JSON text -> record
//! - `wrapper`: a line of any supported tool -> its records
//! - `walk`: the objects of JSON documents on one line
//! - `input`: plain or compressed bytes -> blocks of whole lines
//! - `scan`: inputs -> records, on several threads

pub mod input;
mod parse;
pub mod record;
pub mod scan;
pub mod timestamp;
mod walk;
pub mod wrapper;
