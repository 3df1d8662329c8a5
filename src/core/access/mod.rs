//! Which requests may enter.

pub mod secret;
