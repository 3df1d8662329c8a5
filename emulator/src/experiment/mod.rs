//! `nearedge experiment`: checks, evaluates and simulates definitions of experiments, and reports results; starts no cloud.
//!
//! - `command`: the subcommands; `evaluate` with `context`; `check` with `against` and `site`; `simulate`; `report`

mod against;
mod check;
pub mod command;
mod context;
mod evaluate;
mod logs;
mod report;
mod simulate;
mod site;
