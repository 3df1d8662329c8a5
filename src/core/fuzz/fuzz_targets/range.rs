//! Fuzz target: Range and If-Range.
#![no_main]
#![allow(dead_code, reason = "each target runs one of the checks")]

use libfuzzer_sys::fuzz_target;

#[path = "../checks.rs"]
mod checks;

fuzz_target!(|input: (&str, u64)| checks::range(input.0, input.1));
