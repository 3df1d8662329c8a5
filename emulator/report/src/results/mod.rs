//! Results of an experiment.
//!
//! - `table`: counts compared, in the format of `nearedge experiment report --format json`
//! - `verdict`: what the results of a goal suggest to do

pub mod table;
pub mod verdict;
