//! Statistics as pure functions; docs/statistics.md lists the formulas and their sources.
//!
//! - `distribution`: Student's t, normal and chi-squared distributions, accurate in the tails
//! - `interval`: an interval; those of a rate, a mean and a quantile
//! - `sample`: what a variation has measured for a goal
//! - `sequential`: p-values and intervals that hold at every look
//! - `comparison`: a treatment compared with the control
//! - `chance`: the chance to be best
//! - `ratio`: the test of the sample ratio

pub mod chance;
pub mod comparison;
pub mod distribution;
pub mod interval;
pub mod ratio;
pub mod sample;
pub mod sequential;
