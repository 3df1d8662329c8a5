//! The templates in `deploy/` contain every resource and setting of the published walk-through, step by step, and what
//! production needs in addition.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod copies;
mod door;
mod experiments;
mod operation;
mod rendered;
mod rules;
mod walk_through;
