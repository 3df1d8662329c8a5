//! Names as small numbers.

use hashbrown::HashMap;

use crate::plain::plain;

/// The most names: a definition has far fewer, and a number takes 2 bytes.
pub(super) const NAMES_MAX: usize = u16::MAX as usize;

/// Numbers names in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Interner {
    numbers: HashMap<Box<str>, u16>,
    names: Vec<Box<str>>,
}

impl Interner {
    /// The number of a name. Its control characters are replaced: names are printed on terminals.
    ///
    /// # Errors
    /// If there are too many names.
    pub(super) fn intern(&mut self, name: &str) -> Result<u16, &'static str> {
        if let Some(number) = self.numbers.get(name) {
            return Ok(*number);
        }
        if name.contains(char::is_control) {
            return self.intern(&plain(name));
        }
        if self.names.len() >= NAMES_MAX {
            return Err("the lines before have 65,535 different names of experiments, variations and attributes");
        }
        let number = self.names.len() as u16;
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        Ok(number)
    }

    /// The name with a number that this interner gave.
    pub(super) fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or("", |name| name)
    }

    /// The numbers here of the other's names, by their numbers there.
    ///
    /// # Errors
    /// If there are too many names.
    pub(super) fn merge(&mut self, other: &Self) -> Result<Vec<u16>, &'static str> {
        other.names.iter().map(|name| self.intern(name)).collect()
    }
}
