//! Results of an experiment.
//!
//! - `table`: counts compared, in the format of `nearedge experiment report --format json`
//! - `verdict`: what the results of a goal suggest to do
//! - `caution`: what to look at before a decision
//! - `report`: the results of log lines

pub mod caution;
pub mod report;
pub mod table;
pub mod verdict;
