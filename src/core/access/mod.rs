//! Access control: which requests are accepted.

pub mod secret;
