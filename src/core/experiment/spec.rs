//! Experiments as a definition specifies them, prepared for evaluation.

use std::borrow::Cow;
use std::sync::Arc;

use compact_str::CompactString;

use crate::experiment::attribute::Attribute;
use crate::experiment::condition::{Builder, Condition, Targeting};
use crate::experiment::hash::{HashVersion, Range, Seed, are_usable, ranges};
use crate::experiment::label::Label;
use crate::experiment::pattern::Pattern;
use crate::experiment::url::{Target, TargetPattern, is_targeted};
use crate::experiment::value::Value;

/// An experiment: of a rule, or an automatic one.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The key.
    pub key: CompactString,
    /// The values of the variations.
    pub variations: Vec<Value>,
    /// The key, name and kind of the variations.
    pub meta: Vec<VariationMeta>,
    /// The run of the experiment; a new one starts counting afresh.
    pub phase: CompactString,
    /// The version of the assignments: those of another version are ignored.
    pub bucket_version: u64,
    /// Visitors with an assignment of a version below this one leave the experiment.
    pub min_bucket_version: u64,
    /// Whether assignments are kept.
    pub sticky: bool,
    /// Whether a redirect keeps the query string.
    pub persist_query_string: bool,
    /// Whether only a script starts the experiment.
    pub(super) manual: bool,
    /// The names in cookies and header fields.
    pub(super) label: Arc<Label>,
    pub(super) hashing: Hashing,
    pub(super) ranges: Vec<Range>,
    pub(super) filters: Vec<Filter>,
    pub(super) namespace: Option<Namespace>,
    pub(super) condition: Option<Targeting>,
    pub(super) parents: Vec<Parent>,
    pub(super) targets: Option<Vec<Target>>,
    /// The deprecated field `url`: a regular expression.
    pub(super) url: Option<Option<Pattern>>,
    pub(super) status: Status,
    /// The deprecated field `force`.
    pub(super) force: Option<i64>,
}

/// What distinguishes a variation in reports.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VariationMeta {
    /// The key in assignments and reports.
    pub key: Option<CompactString>,
    /// The name in reports.
    pub name: Option<CompactString>,
    /// Whether the rules after this one decide, as for a holdout.
    pub passthrough: bool,
}

/// Whether an experiment runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It assigns variations.
    Running,
    /// It is a draft, or not active.
    Inactive,
    /// It is evaluated, but assigns nothing.
    Stopped,
}

/// What is hashed, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hashing {
    pub(super) attribute: Arc<Attribute>,
    /// The attribute that replaces an absent one.
    pub(super) fallback: Option<Arc<Attribute>>,
    pub(super) seed: Seed,
    /// `None` for an unknown version.
    pub(super) version: Option<HashVersion>,
}

/// A range of buckets of an attribute, which all experiments of a namespace share.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    pub(super) hashing: Hashing,
    pub(super) ranges: Vec<Range>,
}

/// The part of a namespace that an experiment uses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Namespace {
    pub(super) seed: Seed,
    pub(super) range: Range,
}

/// A prerequisite: a condition on the value of another feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parent {
    /// The index of the feature; `None` if it does not exist.
    pub(super) feature: Option<usize>,
    pub(super) condition: Option<Condition>,
    /// Whether a failure decides the feature instead of only skipping the rule.
    pub(super) gate: bool,
}

impl Experiment {
    /// Whether the query string can decide if the experiment targets a URL.
    pub fn targets_queries(&self) -> bool {
        self.url.is_some() || self.targets.iter().flatten().any(Target::tests_query)
    }

    /// The key of a variation: its `meta` key, or its index.
    pub fn variation_key(&self, variation: usize) -> Cow<'_, str> {
        variation_key(&self.meta, variation)
    }

    /// Whether a variation leaves the decision to the rules after its own.
    pub(super) fn is_passthrough(&self, variation: usize) -> bool {
        self.meta.get(variation).is_some_and(|meta| meta.passthrough)
    }

    /// The address to which a variation redirects.
    pub fn redirect(&self, variation: usize) -> Option<&str> {
        self.variations.get(variation)?.get("urlRedirect")?.as_str()
    }

    /// The version of the hash; `None` if it is unknown.
    pub fn hash_version(&self) -> Option<HashVersion> {
        self.hashing.version
    }

    /// Whether an automatic experiment redirects.
    pub fn is_redirect(&self) -> bool {
        self.targets.is_some() && self.variations.iter().any(|variation| variation.get("urlRedirect").is_some())
    }

    /// Whether an automatic experiment runs on the page with this URL.
    pub(super) fn targets(&self, url: &str) -> bool {
        self.targets.as_ref().is_some_and(|targets| is_targeted(url, targets))
    }

    /// The variation into which a visitor is hashed, whatever conditions say.
    pub fn hashed_variation(&self, id: &str) -> Option<usize> {
        let bucket = self.hashing.seed.bucket(id, self.hashing.version?);
        let is_outside = |namespace: &Namespace| !namespace.range.contains(namespace.seed.bucket(id, HashVersion::One));
        match self.namespace.as_ref().is_some_and(is_outside) {
            true => None,
            false => self.ranges.iter().position(|range| range.contains(bucket)),
        }
    }

    /// The part of all hash values that each variation receives, from 0 to 1.
    pub fn shares(&self) -> Vec<f64> {
        let buckets = f64::from(self.hashing.version.unwrap_or(HashVersion::One).buckets());
        self.ranges.iter().map(|range| f64::from(range.len()) / buckets).collect()
    }

    /// Prepares an automatic experiment; `feature` finds the index of a feature.
    pub(super) fn prepare<'a>(
        json: &'a Value,
        builder: &mut Builder<'a>,
        feature: &mut dyn FnMut(&'a str) -> Option<usize>,
    ) -> Self {
        let url = json.present("url").and_then(Value::as_str).filter(|url| !url.is_empty());
        Self {
            filters: prepare_filters(json, builder),
            condition: prepare_condition(json, builder),
            parents: Parent::prepare_all(json, builder, feature),
            targets: prepare_targets(json, builder),
            url: url.map(|url| Pattern::new(url, false).ok()),
            force: json.present("force").and_then(Value::as_number).map(|force| force as i64),
            status: Status::new(json),
            ..Self::prepare_of_rule(json, "", builder)
        }
    }

    /// Prepares the experiment of a rule, which tests condition, filters and prerequisites itself. Its key is `key` if it
    /// states none.
    pub(super) fn prepare_of_rule(json: &Value, key: &str, builder: &mut Builder<'_>) -> Self {
        let key = text(json, "key").unwrap_or(key);
        let variations = json.get("variations").and_then(Value::as_list).unwrap_or_default().to_vec();
        if variations.len() < 2 {
            builder.problems.warn("an experiment needs two variations, and is skipped", "add variations");
        }
        let hashing = Hashing::prepare(json, key, 1.0, builder);
        let version = hashing.version.unwrap_or(HashVersion::One);
        let meta = json.get("meta").and_then(Value::as_list).unwrap_or_default();
        let meta: Vec<VariationMeta> = meta.iter().map(VariationMeta::new).collect();
        warn_of_repeated_keys(&meta, builder);
        let phase = text(json, "phase").unwrap_or_default();
        let (bucket_version, min_bucket_version) = (whole(json, "bucketVersion"), whole(json, "minBucketVersion"));
        let keys = (0..variations.len()).map(|variation| variation_key(&meta, variation));
        let label = Arc::new(Label::new(key, bucket_version, phase, min_bucket_version, keys));
        Self {
            ranges: prepare_ranges(json, variations.len(), version, builder),
            // Filters replace the namespace.
            namespace: Namespace::new(json).filter(|_| !has_filters(json)),
            filters: Vec::new(),
            condition: None,
            parents: Vec::new(),
            targets: None,
            url: None,
            force: None,
            status: Status::Running,
            phase: phase.into(),
            manual: json.get("manual").is_some_and(Value::is_truthy),
            label,
            bucket_version,
            min_bucket_version,
            sticky: !json.get("disableStickyBucketing").is_some_and(Value::is_truthy),
            persist_query_string: json.get("persistQueryString").is_some_and(Value::is_truthy),
            key: key.into(),
            variations,
            meta,
            hashing,
        }
    }
}

/// Warns if the assignments of two variations are the same text.
fn warn_of_repeated_keys(meta: &[VariationMeta], builder: &mut Builder<'_>) {
    let repeated = meta.iter().enumerate().filter_map(|(index, variation)| {
        let key = variation.key.as_deref()?;
        meta[..index].iter().any(|other| other.key.as_deref() == Some(key)).then_some(key)
    });
    for key in repeated {
        builder.problems.enter("meta");
        builder.problems.warn(
            format!("two variations have the key {key:?}, and their visitors get the first one at the next visit"),
            "give each variation a key of its own",
        );
        builder.problems.leave();
    }
}

fn variation_key(meta: &[VariationMeta], variation: usize) -> Cow<'_, str> {
    match meta.get(variation).and_then(|meta| meta.key.as_deref()) {
        Some(key) => Cow::Borrowed(key),
        None => Cow::Owned(variation.to_string()),
    }
}

impl Status {
    fn new(json: &Value) -> Self {
        match text(json, "status") {
            Some("draft") => Self::Inactive,
            Some("stopped") => Self::Stopped,
            _ if json.present("active").is_some_and(|active| !active.is_truthy()) => Self::Inactive,
            _ => Self::Running,
        }
    }
}

fn has_filters(json: &Value) -> bool {
    json.get("filters").and_then(Value::as_list).is_some_and(|filters| !filters.is_empty())
}

impl VariationMeta {
    fn new(json: &Value) -> Self {
        let text = |name| json.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(Into::into);
        Self {
            key: text("key"),
            name: text("name"),
            passthrough: json.get("passthrough").is_some_and(Value::is_truthy),
        }
    }
}

impl Hashing {
    /// Prepares `hashAttribute`, `fallbackAttribute`, `seed` and `hashVersion`.
    pub(super) fn prepare(json: &Value, seed: &str, default_version: f64, builder: &mut Builder<'_>) -> Self {
        let sticky = !json.get("disableStickyBucketing").is_some_and(Value::is_truthy);
        let hash_attribute = builder.attribute(text(json, "hashAttribute").unwrap_or("id"));
        let fallback = text(json, "fallbackAttribute").filter(|_| sticky).map(|name| builder.attribute(name));
        let version = json.present("hashVersion").and_then(Value::as_number).filter(|version| *version != 0.0);
        let version = version.unwrap_or(default_version);
        if HashVersion::new(version).is_none() {
            builder.problems.warn(format!("hashVersion {version} is unknown, and the rule is skipped"), "use 2");
        }
        let seed = Seed::new(text(json, "seed").unwrap_or(seed));
        Self { attribute: hash_attribute, fallback, seed, version: HashVersion::new(version) }
    }
}

impl Namespace {
    /// Reads `namespace`: an id, the start and the end of the range.
    fn new(json: &Value) -> Option<Self> {
        let [id, start, end] = json.get("namespace")?.as_list()? else { return None };
        let range = Range::new(start.as_number()?, end.as_number()?, HashVersion::One);
        Some(Self { seed: Seed::new(&format!("__{}", id.as_str()?)), range })
    }
}

impl Parent {
    /// Prepares `parentConditions`; `feature` finds the index of a feature.
    pub(super) fn prepare_all<'a>(
        json: &'a Value,
        builder: &mut Builder<'a>,
        feature: &mut dyn FnMut(&'a str) -> Option<usize>,
    ) -> Vec<Self> {
        let parents = json.get("parentConditions").and_then(Value::as_list).unwrap_or_default();
        builder.problems.enter("parentConditions");
        let mut prepared = Vec::with_capacity(parents.len());
        for (index, parent) in parents.iter().enumerate() {
            let Some(id) = parent.get("id").and_then(Value::as_str) else { continue };
            builder.problems.enter_element(index);
            let feature = feature(id);
            if feature.is_none() {
                builder.problems.warn(format!("the feature {id} does not exist, and has no value"), "add the feature");
            }
            let condition = parent.present("condition");
            // The condition tests the feature's value, which is no attribute of a request.
            builder.problems.enter("condition");
            let condition =
                condition.map(|condition| builder.on_other_attributes(|builder| builder.condition(condition)));
            builder.problems.leave();
            let gate = parent.get("gate").is_some_and(Value::is_truthy);
            prepared.push(Self { feature, condition, gate });
            builder.problems.leave();
        }
        builder.problems.leave();
        prepared
    }
}

/// The member `name`, if it is a text that is not empty.
pub(super) fn text<'a>(json: &'a Value, name: &str) -> Option<&'a str> {
    json.get(name)?.as_str().filter(|text| !text.is_empty())
}

fn whole(json: &Value, name: &str) -> u64 {
    json.get(name).and_then(Value::as_number).map_or(0, |number| number as u64)
}

/// Prepares `condition`. An empty one always passes.
pub(super) fn prepare_condition<'a>(json: &'a Value, builder: &mut Builder<'a>) -> Option<Targeting> {
    let condition =
        json.present("condition").filter(|condition| condition.as_object().is_none_or(|all| !all.is_empty()))?;
    builder.problems.enter("condition");
    let targeting = builder.targeting(condition);
    builder.problems.leave();
    Some(targeting)
}

/// Reads a list of pairs, such as `ranges`.
pub(super) fn read_ranges(json: &Value, version: HashVersion) -> Vec<Range> {
    let list = json.as_list().unwrap_or_default();
    list.iter().filter_map(|range| read_range(range, version)).collect()
}

/// Reads a pair, such as `range`.
pub(super) fn read_range(json: &Value, version: HashVersion) -> Option<Range> {
    match json.as_list()? {
        [start, end] => Some(Range::new(start.as_number()?, end.as_number()?, version)),
        _ => None,
    }
}

/// The `ranges`, or those that `weights` and `coverage` give.
fn prepare_ranges(json: &Value, variations: usize, version: HashVersion, builder: &mut Builder<'_>) -> Vec<Range> {
    if let Some(list) = json.present("ranges").filter(|list| list.as_list().is_some_and(|list| !list.is_empty())) {
        return read_ranges(list, version);
    }
    let coverage = json.present("coverage").and_then(Value::as_number).unwrap_or(1.0);
    let weights = json.present("weights");
    let listed: Option<Vec<f64>> =
        weights.and_then(Value::as_list).and_then(|weights| weights.iter().map(Value::as_number).collect());
    if weights.is_some() && !listed.as_ref().is_some_and(|weights| are_usable(weights, variations)) {
        builder.problems.enter("weights");
        builder.problems.warn(
            format!("the weights are ignored, and all {variations} variations get equal ones"),
            "write one weight for each variation, with a sum of 1",
        );
        builder.problems.leave();
    }
    ranges(variations, coverage, listed.as_deref(), version)
}

/// Prepares `filters`.
pub(super) fn prepare_filters(json: &Value, builder: &mut Builder<'_>) -> Vec<Filter> {
    let filters = json.get("filters").and_then(Value::as_list).unwrap_or_default();
    let mut prepare = |filter: &Value| {
        let mut hashing = Hashing::prepare(filter, "", 2.0, builder);
        if let Some(name) = text(filter, "attribute") {
            hashing.attribute = builder.attribute(name);
        }
        let version = hashing.version.unwrap_or(HashVersion::Two);
        let ranges = filter.get("ranges").map(|ranges| read_ranges(ranges, version)).unwrap_or_default();
        Filter { hashing, ranges }
    };
    filters.iter().map(&mut prepare).collect()
}

/// Prepares `urlPatterns`; `None` if there is no such member.
fn prepare_targets(json: &Value, builder: &mut Builder<'_>) -> Option<Vec<Target>> {
    let patterns = json.present("urlPatterns")?.as_list()?;
    builder.problems.enter("urlPatterns");
    let mut targets = Vec::with_capacity(patterns.len());
    for (index, target) in patterns.iter().enumerate() {
        builder.problems.enter_element(index);
        let text = text(target, "pattern").unwrap_or_default();
        let pattern = match target.get("type").and_then(Value::as_str) {
            Some("simple") => TargetPattern::simple(text),
            Some("regex") => match Pattern::new(text, false) {
                Ok(pattern) => TargetPattern::Expression(pattern),
                Err(problem) => {
                    builder.problems.warn(
                        format!("the regular expression matches no URL: {problem}"),
                        "use the syntax of https://docs.rs/regex-lite, without look-around and back-references",
                    );
                    TargetPattern::Nothing
                }
            },
            _ => {
                builder
                    .problems
                    .warn("the type of the pattern is unknown, and it matches no URL", "use simple or regex");
                TargetPattern::Nothing
            }
        };
        let include = target.get("include").is_none_or(|include| *include != Value::Bool(false));
        targets.push(Target { include, pattern });
        builder.problems.leave();
    }
    builder.problems.leave();
    Some(targets)
}
