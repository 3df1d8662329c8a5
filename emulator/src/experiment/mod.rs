//! `nearedge experiment`: checks, evaluates and simulates definitions of experiments; starts no cloud.
//!
//! - `command`: the subcommands; `evaluate` with `context`; `check` with `against` and `site`; `simulate`

mod against;
mod check;
pub mod command;
mod context;
mod evaluate;
mod simulate;
mod site;
