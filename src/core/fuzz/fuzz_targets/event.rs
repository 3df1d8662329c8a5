//! Fuzz target: the event parser and the access rule.
#![no_main]
#![allow(dead_code, reason = "each target runs one of the checks")]

use libfuzzer_sys::fuzz_target;

#[path = "../checks.rs"]
mod checks;

fuzz_target!(|bytes: &[u8]| checks::event(bytes));
