//! A visitor described by a JSON object with GrowthBook's names, as `experiment evaluate` reads it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use nearedge_core::experiment::attribute::{Attribute, Attributes, Operand};
use nearedge_core::experiment::evaluation::{Assigned, Hashed, Sticky, Visitor};
use nearedge_core::experiment::spec::Experiment;
use nearedge_core::experiment::url::{query_of, query_string_override};
use nearedge_core::experiment::value::Value;
use serde_json::{Map, json};

/// The attributes of a context without any.
static NONE: Value = Value::Null;

/// A visitor described by a JSON object.
pub(super) struct Context<'a> {
    json: &'a Value,
    attributes: &'a Value,
    /// The earlier assignments by `attribute||value`, with those of this evaluation.
    documents: RefCell<BTreeMap<String, Document>>,
}

/// The assignments of one attribute's value.
struct Document {
    attribute: String,
    value: String,
    /// Variation keys by `KEY__BUCKETVERSION`.
    assignments: BTreeMap<String, Value>,
}

impl<'a> Context<'a> {
    pub(super) fn new(json: &'a Value) -> Self {
        let documents = match json.get("stickyBucketAssignmentDocs") {
            Some(Value::List(list)) => list.iter().filter_map(Document::new).collect(),
            // The output's form is accepted too.
            Some(Value::Object(members)) => {
                members.iter().filter_map(|(_, document)| Document::new(document)).collect()
            }
            _ => Vec::new(),
        };
        let attributes = json.get("attributes").unwrap_or(&NONE);
        // Documents of other visitors have no effect.
        let is_own = |document: &Document| {
            attributes.hashed(&Attribute::new(&document.attribute)).into_hash_text().as_deref() == Some(&document.value)
        };
        let keyed = documents.into_iter().filter(is_own).map(|document| (document.key(), document));
        Self { json, attributes, documents: RefCell::new(keyed.collect()) }
    }

    /// The flag `name`, if it is a boolean.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        match self.json.get(name) {
            Some(Value::Bool(flag)) => *flag,
            _ => default,
        }
    }

    /// All assignments, by `attribute||value`; `None` if there are none.
    pub(super) fn documents(&self) -> Option<serde_json::Value> {
        let documents = self.documents.borrow();
        let entry = |(key, document): (&String, &Document)| {
            let Document { attribute, value, assignments } = document;
            let document = json!({"attributeName": attribute, "attributeValue": value, "assignments": assignments});
            (key.clone(), document)
        };
        let object: Map<String, serde_json::Value> = documents.iter().map(entry).collect();
        (!object.is_empty()).then_some(object.into())
    }
}

impl Document {
    fn new(json: &Value) -> Option<Self> {
        let text = |name| Some(json.get(name)?.as_str()?.to_owned());
        let assignments = json.get("assignments").and_then(Value::as_object).unwrap_or_default();
        Some(Self {
            attribute: text("attributeName")?,
            value: text("attributeValue")?,
            assignments: assignments.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(),
        })
    }

    fn key(&self) -> String {
        format!("{}||{}", self.attribute, self.value)
    }
}

/// The key of an assignment.
fn assignment_key(experiment: &str, version: u64) -> String {
    format!("{experiment}__{version}")
}

impl Attributes for Context<'_> {
    fn tested(&self, attribute: &Attribute) -> Operand<'_> {
        self.attributes.tested(attribute)
    }

    fn hashed(&self, attribute: &Attribute) -> Operand<'_> {
        self.attributes.hashed(attribute)
    }
}

impl<'d> Visitor<'d> for Context<'_> {
    const NEEDS_BUCKETS: bool = true;

    fn url(&self) -> &str {
        self.json.get("url").and_then(Value::as_str).unwrap_or_default()
    }

    fn forced(&self, experiment: &'d Experiment) -> Option<i64> {
        let by_query = query_string_override(&experiment.key, query_of(self.url()), experiment.variations.len());
        let by_context = || self.json.get("forcedVariations")?.get(&experiment.key)?.as_number();
        by_query.and_then(|variation| variation.try_into().ok()).or_else(|| by_context().map(|number| number as i64))
    }

    fn sticky(&self, experiment: &'d Experiment, hashed: &Hashed<'_>) -> Sticky {
        let documents = self.documents.borrow();
        let of = |attribute: &Attribute| {
            let value = self.hashed(attribute).into_hash_text()?;
            documents.get(&format!("{}||{value}", attribute.name))
        };
        // The attribute's own document takes precedence over that of the fallback.
        let used = [of(hashed.attribute), hashed.fallback.and_then(of)];
        let mut used = used.into_iter().flatten().peekable();
        if used.peek().is_none() {
            return Sticky::None;
        }
        let used: Vec<&Document> = used.collect();
        let is_blocked = |key: &String| {
            let version = key.strip_prefix(&*experiment.key).and_then(|rest| rest.strip_prefix("__"));
            version.and_then(|version| version.parse::<u64>().ok()).is_some_and(|version| {
                version < experiment.min_bucket_version && *key == assignment_key(&experiment.key, version)
            })
        };
        if used.iter().any(|document| document.assignments.keys().any(is_blocked)) {
            return Sticky::Blocked;
        }
        let key = assignment_key(&experiment.key, experiment.bucket_version);
        let variation = used.iter().find_map(|document| document.assignments.get(&key)?.as_str());
        let is_named = |name: &str| experiment.meta.iter().position(|meta| meta.key.as_deref() == Some(name));
        variation.filter(|name| !name.is_empty()).and_then(is_named).map_or(Sticky::None, Sticky::Variation)
    }

    fn assigned(&self, assigned: &Assigned<'d>, hashed: &Hashed<'_>) {
        let experiment = assigned.experiment;
        if !experiment.sticky {
            return;
        }
        let (attribute, value) = hashed.used;
        let document =
            Document { attribute: attribute.name.to_string(), value: value.to_owned(), assignments: BTreeMap::new() };
        let mut documents = self.documents.borrow_mut();
        let document = documents.entry(document.key()).or_insert(document);
        let variation = Value::Text(experiment.variation_key(assigned.variation).into());
        document.assignments.insert(assignment_key(&experiment.key, experiment.bucket_version), variation);
    }
}
