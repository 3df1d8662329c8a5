//! The input and the result of an assignment.

use crate::experiment::cookie::ID_BYTES;
use crate::experiment::count::{Count, Counts};
use crate::experiment::definition::Definition;
use crate::experiment::settings::ExperimentSettings;
use crate::request::visit::Visit;
use crate::response::Personal;

/// The input of an assignment besides the request.
#[derive(Clone, Copy)]
pub struct Experiments<'a> {
    /// The active definition; `None` if none could be loaded.
    pub definition: Option<&'a Definition>,
    /// The settings.
    pub settings: &'a ExperimentSettings,
    /// The fields of the request that experiments use.
    pub visit: &'a Visit<'a>,
    /// Returns random bytes for a new visitor's id, if there are any.
    pub new_id: &'a (dyn Fn() -> Option<[u8; ID_BYTES]> + Sync),
}

impl Experiments<'_> {
    /// Whether the visitor has consented, or need not.
    pub(super) fn has_consent(&self) -> bool {
        self.settings.consent.as_ref().is_none_or(|consent| {
            let value = self.visit.cookies.get(&consent.name);
            value.is_some_and(|value| consent.value.as_deref().is_none_or(|expected| expected == value))
        })
    }
}

impl std::fmt::Debug for Experiments<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Experiments").finish_non_exhaustive()
    }
}

/// The result of assigning a visitor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assignment<'a> {
    /// The version; `None` for the objects without a version.
    pub version: Option<&'a str>,
    /// The address to which an experiment redirects.
    pub redirect: Option<String>,
    /// The parts of the response that depend on the visitor.
    pub personal: Personal<'a>,
    /// The exposures and conversions of the request.
    pub counts: Option<Box<Counts>>,
}

impl Assignment<'_> {
    /// The exposures and conversions that the request counts.
    pub fn counted(&self) -> &[Count] {
        self.counts.as_ref().map_or(&[], |counts| &counts.counted)
    }
}
