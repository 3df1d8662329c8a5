//! Results as text.
//!
//! - `text`: a table for the terminal
//! - `terminal`: a report of log lines for the terminal
//! - `html`: reports of log lines as one HTML file
//! - `json`: a report of log lines as a document

pub mod html;
pub mod json;
pub mod terminal;
pub mod text;
