//! Fuzz target: tokens, links and files of rules.
#![no_main]
#![allow(dead_code, reason = "each target runs one of the checks")]

use libfuzzer_sys::fuzz_target;

#[path = "../checks.rs"]
mod checks;

fuzz_target!(|input: &str| checks::token(input));
