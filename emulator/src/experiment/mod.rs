//! `nearedge experiment`: checks, evaluates and simulates definitions of experiments; starts no cloud.

pub mod command;
mod context;
mod evaluate;
