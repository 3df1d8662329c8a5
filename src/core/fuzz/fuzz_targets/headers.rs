//! Fuzz target: files of headers.
#![no_main]
#![allow(dead_code, reason = "each target runs one of the checks")]

use libfuzzer_sys::fuzz_target;

#[path = "../checks.rs"]
mod checks;

fuzz_target!(|input: (&str, &str, &str)| checks::headers(input.0, input.1, input.2));
