//! `nearedge experiment`: checks, evaluates and simulates definitions of experiments, plans them and reports results; starts no cloud.
//!
//! - `command`: the subcommands
//! - `evaluate` with `context`; `check` with `against`, `names` and `site`; `simulate`; `plan`; `report` with `logs` and `stack`

mod against;
mod check;
pub mod command;
mod context;
mod evaluate;
mod logs;
mod names;
mod plan;
mod report;
mod simulate;
mod site;
mod stack;
