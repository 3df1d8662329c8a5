//! The changes that all matching rules make together, one for each field.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::rules::headers::cors::{ALLOW_ORIGIN, allowed_origin};
use crate::rules::headers::name::{NameId, Names};
use crate::rules::headers::rule::HeaderMatch;

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

/// The changes of rules in their order.
///
/// The first value of a name replaces the response's own one, later ones are joined, as on Cloudflare. A rule
/// removes fields before it sets others.
pub(super) fn merge<'r>(matches: &[HeaderMatch<'r, '_>], names: &'r Names) -> Fields<'r> {
    let mut fields = Fields::new();
    let mut ids: SmallVec<[NameId; 8]> = SmallVec::new();
    let mut change = |id: NameId, value: Option<Cow<'r, str>>| {
        let known = ids.iter().position(|known| *known == id).and_then(|at| fields.get_mut(at));
        match (known, value) {
            (Some(field), None) => field.change = FieldChange::Remove,
            (Some(Field { change: FieldChange::Set(known) | FieldChange::Append(known), .. }), Some(value)) => {
                let known = known.to_mut();
                known.push_str(", ");
                known.push_str(&value);
            }
            (Some(field), Some(value)) => field.change = FieldChange::Set(value),
            (None, value) => {
                ids.push(id);
                let name = names.text(id);
                let change = match value {
                    None => FieldChange::Remove,
                    Some(value) if name == "vary" => FieldChange::Append(value),
                    Some(value) => FieldChange::Set(value),
                };
                fields.push(Field { name, change });
            }
        }
    };
    for HeaderMatch { rule, captures, .. } in matches {
        for id in &rule.removed {
            change(*id, None);
        }
        for (id, value) in &rule.set {
            change(*id, Some(value.with(captures)));
        }
    }
    fields
}

/// Replaces a list of allowed origins by the request's origin, if that is in the list.
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
