//! The records of log lines.

use std::borrow::Cow;

/// A line that counts, or that describes a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Record<'a> {
    /// A visitor's first view of a variation.
    Exposure(Count<'a>),
    /// A visitor's first completion of a goal.
    Conversion(Count<'a>),
    /// A request.
    Access(Access<'a>),
}

/// An exposure or a conversion.
#[derive(Debug, Clone, PartialEq)]
pub struct Count<'a> {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The key of the experiment.
    pub experiment: Cow<'a, str>,
    /// The key of the variation.
    pub variation: Cow<'a, str>,
    /// The visitor's id, or its hash.
    pub visitor: Cow<'a, str>,
    /// The run of the experiment.
    pub phase: Cow<'a, str>,
    /// The version of an exposure, or the goal of a conversion.
    pub subject: Cow<'a, str>,
    /// The value of a conversion.
    pub value: Option<f64>,
    /// The attribute by which results are split.
    pub attribute: Option<Cow<'a, str>>,
}

/// A request that got an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Access<'a> {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The version of the response.
    pub variant: Cow<'a, str>,
    /// The status code.
    pub status: u16,
    /// Until Lambda had the response, in milliseconds.
    pub duration_millis: f64,
    /// The size of the body.
    pub body_bytes: u64,
    /// Whether the request stated its version itself.
    pub is_forced: bool,
}

/// Receives records.
pub trait Sink {
    /// Takes a record.
    ///
    /// # Errors
    /// If the record cannot be used, with the reason; the line then is broken.
    fn take(&mut self, record: &Record<'_>) -> Result<(), &'static str>;
}
