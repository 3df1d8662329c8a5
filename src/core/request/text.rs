//! Strings of an event.

use std::borrow::Cow;

use serde::Deserialize;

/// A string that borrows from the event unless it contains an escape. Serde's own `Option<Cow>` always copies.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    /// The text.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
