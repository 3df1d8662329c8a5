//! The part of a definition that a tally needs.

/// An experiment of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// The key.
    pub key: String,
    /// The current run.
    pub phase: String,
    /// The variations in their order; the first one is the control.
    pub variations: Vec<VariationOutline>,
}

/// A variation of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct VariationOutline {
    /// The key.
    pub key: String,
    /// The name for people, if there is one.
    pub name: Option<String>,
    /// The weight; weights need not sum to 1.
    pub weight: f64,
}
