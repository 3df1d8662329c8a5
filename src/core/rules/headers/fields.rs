//! The changes that all matching rules make together, one for each field.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::rules::headers::cors::{ALLOW_ORIGIN, allowed_origin};
use crate::rules::headers::name::{NameId, Names};
use crate::rules::headers::rule::HeaderRule;

/// The change of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldChange<'r> {
    /// Replaces the values that the response has.
    Set(Cow<'r, str>),
    /// Adds to the values that the response has. Only Vary is added.
    Append(Cow<'r, str>),
    /// Removes the field.
    Remove,
}

/// A field of the response and its change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'r> {
    /// The name in lower case.
    pub name: &'r str,
    /// The change.
    pub change: FieldChange<'r>,
}

/// The fields to change, each once, in the order of the file.
pub type Fields<'r> = SmallVec<[Field<'r>; 8]>;

/// The changes of rules in their order, while they are merged.
///
/// The first value of a name replaces the response's own one, later ones are joined, as on Cloudflare. A rule
/// removes fields before it sets others.
pub(super) struct Merged<'r> {
    names: &'r Names,
    /// The name of each field.
    ids: SmallVec<[NameId; 8]>,
    fields: Fields<'r>,
}

impl<'r> Merged<'r> {
    pub(super) fn new(names: &'r Names) -> Self {
        Self { names, ids: SmallVec::new(), fields: Fields::new() }
    }

    /// Adds the changes of a rule.
    pub(super) fn add(&mut self, rule: &'r HeaderRule, captures: &[&str]) {
        for id in &rule.removed {
            match self.field(*id) {
                Some(field) => field.change = FieldChange::Remove,
                None => self.push(*id, FieldChange::Remove),
            }
        }
        let names = self.names;
        for (id, value) in &rule.set {
            let value = value.with(captures);
            match self.field(*id) {
                Some(Field { change: FieldChange::Set(known) | FieldChange::Append(known), .. }) => {
                    let known = known.to_mut();
                    known.push_str(", ");
                    known.push_str(&value);
                }
                Some(field) => field.change = FieldChange::Set(value),
                None if names.text(*id) == "vary" => self.push(*id, FieldChange::Append(value)),
                None => self.push(*id, FieldChange::Set(value)),
            }
        }
    }

    fn field(&mut self, id: NameId) -> Option<&mut Field<'r>> {
        let at = self.ids.iter().position(|known| *known == id)?;
        self.fields.get_mut(at)
    }

    fn push(&mut self, id: NameId, change: FieldChange<'r>) {
        self.ids.push(id);
        self.fields.push(Field { name: self.names.text(id), change });
    }

    pub(super) fn into_fields(self) -> Fields<'r> {
        self.fields
    }
}

/// Replaces a list of allowed origins by the request's own, if listed.
///
/// The response then depends on the origin, so it gets `Vary: Origin` for every request
/// ([Fetch](https://fetch.spec.whatwg.org/#cors-protocol-and-http-caches)).
pub(super) fn select_origin(fields: &mut Fields<'_>, origin: Option<&str>) {
    let Some(field) = fields.iter_mut().find(|field| field.name == ALLOW_ORIGIN) else { return };
    let FieldChange::Set(origins) = &field.change else { return };
    let (allowed, varies) = allowed_origin(origins, origin);
    if varies {
        field.change = allowed.map_or(FieldChange::Remove, |origin| FieldChange::Set(origin.to_owned().into()));
        add_vary_origin(fields);
    } else if allowed.is_some_and(|allowed| allowed.len() < origins.len()) {
        field.change = FieldChange::Set("*".into());
    }
}

/// Adds `Vary: Origin`.
pub(super) fn add_vary_origin(fields: &mut Fields<'_>) {
    let vary = fields.iter_mut().find_map(|field| match &mut field.change {
        FieldChange::Append(value) if field.name == "vary" => Some(value),
        _ => None,
    });
    match vary {
        Some(value) => value.to_mut().push_str(", Origin"),
        None => fields.push(Field { name: "vary", change: FieldChange::Append("Origin".into()) }),
    }
}
