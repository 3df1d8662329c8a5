//! Log lines of any tool -> the counts of experiments.

// Helpers of tests may panic, which clippy.toml allows in tests only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod line;
mod traffic;
mod wrapped;
