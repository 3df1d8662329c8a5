//! The facts about the viewer that conditions of rules have tested.

/// The facts about the viewer that conditions of rules have tested, so that the response depends on them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tested {
    /// The country.
    pub country: bool,
    /// The language.
    pub language: bool,
    /// A cookie.
    pub cookie: bool,
    /// A role of the viewer's token.
    pub role: bool,
}

impl Tested {
    /// Whether no fact was tested.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}
