//! A report of log lines as one HTML file, without scripts and external resources.
//!
//! - `page`: the file
//! - `experiment`: the sections of an experiment
//! - `wording`: verdicts and numbers in words
//! - `plot`: plots as inline SVG
//! - `axis`: a range of numbers on a plot

mod axis;
mod experiment;
pub mod page;
mod plot;
mod wording;
