//! Results as text.
//!
//! - `text`: a table for the terminal

pub mod text;
