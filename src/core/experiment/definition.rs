//! The definition: a team's file with features and experiments, checked and prepared once per version.

use std::sync::Arc;

use crate::experiment::attribute::Field;
use crate::experiment::condition::{Builder, NODES_MAX};
use crate::experiment::counting::Counting;
use crate::experiment::feature::{Effect, Features};
use crate::experiment::label::Label;
use crate::experiment::parse::parse;
use crate::experiment::plan::Plan;
use crate::experiment::problem::{Problem, Problems, Severity};
use crate::experiment::spec::{Experiment, Parent};
use crate::experiment::url::is_redirect_address;
use crate::experiment::value::Value;
use crate::object::is_version;
use crate::request::visit::Detail;

/// The largest definition, in bytes.
pub const BYTES_MAX: u64 = 1 << 20;

/// The most rules and automatic experiments that a definition may use.
pub const RULES_MAX: usize = 1_000;

/// The most rules that one evaluation may visit, with prerequisites counted at each use.
const VISITS_MAX: u64 = 20_000;

/// The most versions that metrics tell apart, because each costs its own metrics every month.
const VERSIONS_MAX: usize = 20;

/// The feature whose value is the version, unless the setting `experiments_feature` names another.
pub const FEATURE: &str = "test_version";

/// A definition, ready to evaluate.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Definition {
    /// The feature of the version and the automatic experiments, which all redirect.
    pub plan: Plan,
    /// The versions that the feature can give, sorted.
    pub versions: Vec<Box<str>>,
    /// The attributes of a request that conditions test and experiments hash; URL patterns need none.
    pub fields: Vec<Field>,
    detail: Detail,
    /// The names of the experiments, sorted and without repetitions.
    pub(super) labels: Vec<Arc<Label>>,
    /// What is counted, and where.
    pub counting: Counting,
}

/// What a definition must agree with.
#[derive(Debug, Clone, Copy)]
pub struct Constraints<'a> {
    /// The feature whose value is the version.
    pub feature: &'a str,
    /// The existing versions, if the setting `test_versions` lists them.
    pub test_versions: Option<&'a [String]>,
    /// The attributes that the CDN has in its cache key, besides `path` and `host`.
    pub cache_key: &'a [String],
}

impl Definition {
    /// Parses a definition. Returns it with its warnings.
    ///
    /// # Errors
    /// With all problems, errors first, if the definition cannot be used.
    pub fn parse(text: &str, constraints: Constraints<'_>) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        if text.len() as u64 > BYTES_MAX {
            return Err(vec![Problem::at(
                0,
                0,
                format!("the definition has {} bytes, more than {BYTES_MAX}", text.len()),
                "remove features that are not used, or values of saved groups",
            )]);
        }
        let json = parse(text).map_err(|error| vec![Problem::of_syntax(&error)])?;
        let mut builder = Builder::new(json.get("savedGroups")).with_cache_key(constraints.cache_key);
        let definition = build(&json, constraints, &mut builder);
        let Builder { problems, .. } = builder;
        let problems = problems.into_located(text);
        match problems.first() {
            Some(Problem { severity: Severity::Error, .. }) => Err(problems),
            _ => Ok((definition, problems)),
        }
    }

    /// Every experiment of the definition.
    pub fn experiments(&self) -> impl Iterator<Item = &Experiment> {
        self.plan.features.experiments().chain(&self.plan.automatic)
    }

    /// Whether a version is one of the first that metrics tell apart.
    pub fn gives(&self, version: &str) -> bool {
        self.versions.iter().take(VERSIONS_MAX).any(|given| **given == *version)
    }

    /// Which fields of a request the definition needs.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// Whether the definition uses an attribute.
    pub fn uses(&self, field: &Field) -> bool {
        self.fields.contains(field)
    }
}

fn build<'a>(json: &'a Value, constraints: Constraints<'a>, builder: &mut Builder<'a>) -> Definition {
    let automatic = json.get("experiments").and_then(Value::as_list).unwrap_or_default();
    check_shape(json, constraints.feature, automatic, &mut builder.problems);
    let rules = count_rules(json, automatic);
    if rules > RULES_MAX {
        builder.problems.reject(
            format!("the definition has {rules} rules and experiments, more than {RULES_MAX}"),
            "export only the features that this site uses",
        );
        return Definition::default();
    }
    let mut plan = Plan::prepare(json, Some(constraints.feature), automatic, builder);
    if builder.nodes() > NODES_MAX {
        builder.problems.reject(
            format!("the conditions have more than {NODES_MAX} parts, with saved groups counted at each use"),
            "simplify the conditions, or write lists as $in",
        );
    }
    if visits(&plan) > VISITS_MAX {
        builder.problems.reject(
            format!("an evaluation would visit more than {VISITS_MAX} rules through prerequisites"),
            "remove prerequisites that refer to features with prerequisites of their own",
        );
    }
    keep_redirects(&mut plan, &mut builder.problems);
    let versions = check_versions(&plan, constraints, &mut builder.problems);
    let mut labels: Vec<Arc<Label>> =
        plan.features.experiments().chain(&plan.automatic).map(|experiment| experiment.label.clone()).collect();
    labels.sort_by(|left, right| (&left.key, &left.version).cmp(&(&right.key, &right.version)));
    labels.dedup_by(|left, right| (&left.key, &left.version) == (&right.key, &right.version));
    warn_of_long_cookies(&labels, &mut builder.problems);
    let fields = std::mem::take(&mut builder.fields);
    let needs_attributes = fields.iter().any(|field| field.detail() == Detail::Attributes);
    let detail = if needs_attributes { Detail::Attributes } else { Detail::Visit };
    let counting = Counting::prepare(json, &labels, &fields, &mut builder.problems);
    Definition { plan, versions, fields, detail, labels, counting }
}

/// Rejects what is no definition at all.
fn check_shape(json: &Value, feature: &str, automatic: &[Value], problems: &mut Problems) {
    if json.as_object().is_none() {
        problems.reject("the definition is not a JSON object", "write {\"features\": {…}}");
        return;
    }
    match json.get("features") {
        Some(Value::Object(_)) => {}
        None if json.get("encryptedFeatures").is_some() => problems.reject(
            "the features are encrypted",
            "export them unencrypted: in GrowthBook, turn off \"Encrypt SDK payload\" of the SDK connection",
        ),
        Some(_) => {
            problems.enter("features");
            problems.reject("features is not an object", "write {\"NAME\": {\"defaultValue\": …, \"rules\": […]}}");
            problems.leave();
        }
        None => problems.reject("the definition has no features", "add \"features\": {…}"),
    }
    let features = json.get("features");
    if features.is_some_and(|features| features.get(feature).is_none()) && automatic.is_empty() {
        problems.enter("features");
        problems.reject(
            format!("there is no feature {feature}, whose value would be the version"),
            format!("add the feature {feature}, or set experiments_feature to the name of another"),
        );
        problems.leave();
    }
}

fn count_rules(json: &Value, automatic: &[Value]) -> usize {
    let features = json.get("features").and_then(Value::as_object).unwrap_or_default();
    let rules = |feature: &Value| feature.get("rules").and_then(Value::as_list).map_or(0, <[Value]>::len);
    features.iter().map(|(_, feature)| rules(feature)).sum::<usize>() + automatic.len()
}

/// How many rules an evaluation visits at most.
fn visits(plan: &Plan) -> u64 {
    let mut known = Vec::new();
    let automatic = plan.automatic.iter().map(|experiment| &experiment.parents);
    let feature = plan.feature.map_or(0, |feature| visits_of(&plan.features, feature, &mut known, 0));
    automatic.fold(feature, |sum, parents| {
        sum.saturating_add(1).saturating_add(visits_of_parents(&plan.features, parents, &mut known, 0))
    })
}

fn visits_of(features: &Features, index: usize, known: &mut Vec<Option<u64>>, depth: usize) -> u64 {
    if known.len() <= index {
        known.resize(index + 1, None);
    }
    if let Some(visits) = known[index] {
        return visits;
    }
    // A cycle, which the evaluation ends, and a chain longer than it follows.
    known[index] = Some(0);
    if depth > 2 * RULES_MAX {
        return 0;
    }
    let rules = features.get(index).map_or(&[][..], |feature| &feature.rules);
    let visits = rules.iter().fold(0_u64, |sum, rule| {
        sum.saturating_add(1).saturating_add(visits_of_parents(features, &rule.parents, known, depth + 1))
    });
    known[index] = Some(visits);
    visits
}

fn visits_of_parents(features: &Features, parents: &[Parent], known: &mut Vec<Option<u64>>, depth: usize) -> u64 {
    let indices = parents.iter().filter_map(|parent| parent.feature);
    indices.fold(0, |sum, index| sum.saturating_add(visits_of(features, index, known, depth)))
}

/// Drops the automatic experiments that the origin cannot carry out, with a warning for each.
fn keep_redirects(plan: &mut Plan, problems: &mut Problems) {
    let mut index = 0;
    problems.enter("experiments");
    plan.automatic.retain(|experiment| {
        problems.enter_element(index);
        index += 1;
        let is_kept = if experiment.key.is_empty() {
            problems.warn("the experiment has no key, and is skipped", "add \"key\"");
            false
        } else if experiment.manual {
            problems.warn("the experiment starts only by a script, and is skipped", "remove \"manual\"");
            false
        } else if !experiment.is_redirect() {
            problems.warn(
                "the origin carries out only redirects, and skips this experiment",
                "use a feature for variants of a page, or GrowthBook's script for changes in the browser",
            );
            false
        } else if let Some(bad) = bad_address(experiment) {
            problems.warn(
                format!("the address {bad:?} of a redirect is unusable, and the experiment is skipped"),
                "write an http or https URL in ASCII",
            );
            false
        } else {
            true
        };
        problems.leave();
        is_kept
    });
    problems.leave();
}

fn bad_address(experiment: &Experiment) -> Option<&str> {
    let mut addresses = (0..experiment.variations.len()).filter_map(|variation| experiment.redirect(variation));
    addresses.find(|address| !address.is_empty() && !is_redirect_address(address))
}

/// The versions that the feature can give. Rejects values that are no versions.
fn check_versions<'a>(plan: &'a Plan, constraints: Constraints<'_>, problems: &mut Problems) -> Vec<Box<str>> {
    let mut versions: Vec<&str> = Vec::new();
    let Some(feature) = plan.feature.and_then(|index| plan.features.get(index)) else { return Vec::new() };
    let mut check = |value: &'a Value, problems: &mut Problems| match value {
        Value::Null => {}
        Value::Text(version) if !is_version(version) => problems.reject(
            format!("{version:?} is not a version"),
            "use 1 to 64 letters, digits, dots, underscores or hyphens, but not . or .., or null for none",
        ),
        Value::Text(version)
            if constraints.test_versions.is_some_and(|listed| !listed.iter().any(|listed| **listed == **version)) =>
        {
            problems
                .reject(format!("the setting test_versions does not list {version:?}"), "add it there, or use another");
        }
        Value::Text(version) => versions.push(version),
        other => problems.reject(
            format!("a version is a string or null, not {}", other.kind()),
            "write the name of the variant's folder, such as \"v1\"",
        ),
    };
    problems.enter("features");
    problems.enter(constraints.feature);
    problems.enter("defaultValue");
    check(&feature.default, problems);
    problems.leave();
    problems.enter("rules");
    for (index, rule) in feature.rules.iter().enumerate() {
        problems.enter_element(index);
        match &rule.effect {
            Effect::Force(value, _) => {
                problems.enter("force");
                check(value, problems);
                problems.leave();
            }
            Effect::Experiment(experiment) => {
                problems.enter("variations");
                for (index, value) in experiment.variations.iter().enumerate() {
                    problems.enter_element(index);
                    check(value, problems);
                    problems.leave();
                }
                problems.leave();
            }
            Effect::Skip => {}
        }
        problems.leave();
    }
    problems.leave();
    problems.leave();
    problems.leave();
    versions.sort_unstable();
    versions.dedup();
    versions.into_iter().map(Into::into).collect()
}

/// Warns if the assignments of all experiments together may not fit into the visitor's cookies.
fn warn_of_long_cookies(labels: &[Arc<Label>], problems: &mut Problems) {
    let pair = |label: &Arc<Label>| {
        label.key.len() + label.version.len() + 4 + label.variations.iter().map(|key| key.len()).max().unwrap_or(0)
    };
    let bytes: usize = labels.iter().map(pair).sum();
    if bytes > super::assignment::ASSIGNMENT_BYTES_MAX {
        problems.warn(
            format!("the assignments of all experiments have up to {bytes} bytes, more than a visitor's cookie holds"),
            "remove experiments that have ended, or shorten their keys",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Definition, Vec<Problem>), Vec<Problem>> {
        Definition::parse(text, Constraints { feature: FEATURE, test_versions: None, cache_key: &[] })
    }

    fn rule(members: &str) -> String {
        format!("{{\"features\": {{\"test_version\": {{\"rules\": [\n{{{members}}}]}}}}}}")
    }

    #[test]
    fn a_definition_lists_its_versions_and_attributes() {
        let text = r#"{"features": {"test_version": {"defaultValue": "v1", "rules": [
            {"key": "a", "variations": ["v2", null], "condition": {"country": {"$in": ["CN"]}}},
            {"force": "v3", "condition": {"cookie.plan": "pro"}}]},
            "other": {"defaultValue": 5, "rules": [{"force": {}}]}}, "status": 200, "dateUpdated": "x"}"#;
        let (definition, warnings) = parse(text).unwrap();
        assert_eq!(warnings, []);
        assert_eq!(definition.versions, ["v1", "v2", "v3"].map(Into::into));
        let fields = [Field::Id, Field::Country, Field::Cookie("plan".into())];
        assert!(fields.iter().all(|field| definition.uses(field)), "{:?}", definition.fields);
        assert_eq!(definition.fields.len(), 3);
    }

    #[test]
    fn an_error_states_line_column_path_and_fix() {
        for (text, expected) in [
            ("{\n \"features\": }", "line 2, column 14: invalid JSON: expected value: correct the syntax"),
            ("[]", "line 1, column 1: the definition is not a JSON object: write {\"features\": {…}}"),
            (r#"{"features": {"a": {}}}"#, "line 1, column 14: features: there is no feature test_version"),
            (r#"{"encryptedFeatures": "x"}"#, "the features are encrypted: export them unencrypted"),
            (
                &rule(r#""force": "../x""#),
                "line 2, column 11: features.test_version.rules[0].force: \"../x\" is not a version",
            ),
            (
                &rule(r#""key": "a", "variations": ["v1", 2]"#),
                "rules[0].variations[1]: a version is a string or null, not a number",
            ),
        ] {
            let problems = parse(text).unwrap_err();
            assert!(problems[0].to_string().contains(expected), "{} instead of {expected}", problems[0]);
        }
    }

    #[test]
    fn a_version_outside_test_versions_is_an_error() {
        let listed = ["v1".to_owned()];
        let constraints = Constraints { feature: FEATURE, test_versions: Some(&listed), cache_key: &[] };
        assert!(Definition::parse(&rule(r#""force": "v1""#), constraints).is_ok());
        assert!(Definition::parse(&rule(r#""force": "v2""#), constraints).is_err());
    }

    #[test]
    fn parts_without_effect_are_warnings() {
        for (members, expected) in [
            (
                r#""force": "v1", "condition": {"url": {"$regex": "a(?=b)"}}"#,
                "condition.url.$regex: the regular expression",
            ),
            (r#""force": "v1", "condition": {"plan": "pro"}"#, "the attribute plan is absent from every request"),
            (r#""force": "v1", "condition": {"url": {"$near": 1}}"#, "the operator $near is unknown"),
            (
                r#""key": "a", "variations": ["v1", "v2"], "weights": [0.9]"#,
                "rules[0].weights: the weights are ignored",
            ),
            (r#""key": "a", "variations": ["v1", "v2"], "hashVersion": 3"#, "hashVersion 3 is unknown"),
            (
                r#""key": "a", "variations": ["v1", "v2"], "meta": [{"key": "x"}, {"key": "x"}]"#,
                "two variations have the key \"x\"",
            ),
            (r#""key": "a", "contextualVariations": ["v1", "v2"]"#, "contextual bandits are not supported"),
        ] {
            let (_, warnings) = parse(&rule(members)).unwrap();
            assert!(warnings.iter().any(|warning| warning.to_string().contains(expected)), "{warnings:?}");
        }
    }

    #[test]
    fn only_redirecting_automatic_experiments_are_kept() {
        let text = r#"{"features": {}, "experiments": [
            {"key": "visual", "variations": [{}, {"css": "x"}], "urlPatterns": []},
            {"key": "script", "manual": true, "urlPatterns": [], "variations": [{}, {"urlRedirect": "https://a/"}]},
            {"key": "bad", "urlPatterns": [], "variations": [{}, {"urlRedirect": "javascript:alert(1)"}]},
            {"key": "good", "urlPatterns": [], "variations": [{}, {"urlRedirect": "https://a/"}]}]}"#;
        let (definition, warnings) = parse(text).unwrap();
        assert_eq!(definition.plan.automatic.len(), 1);
        assert_eq!(&*definition.plan.automatic[0].key, "good");
        let paths: Vec<&str> = warnings.iter().map(|warning| &*warning.path).collect();
        assert_eq!(paths, ["experiments[0]", "experiments[1]", "experiments[2]"]);
    }

    #[test]
    fn hostile_definitions_are_errors() {
        let many = vec![r#"{"force": "v1"}"#; RULES_MAX + 1].join(",");
        let many = format!("{{\"features\": {{\"test_version\": {{\"rules\": [{many}]}}}}}}");
        // Each feature refers to the next one twice: 2^30 evaluations.
        let chain: Vec<String> = (0..30)
            .map(|index| {
                let parent = format!(r#"{{"id": "f{}", "condition": {{"value": 1}}}}"#, index + 1);
                format!(r#""f{index}": {{"rules": [{{"force": "v1", "parentConditions": [{parent}, {parent}]}}]}}"#)
            })
            .collect();
        let chain = format!("{{\"features\": {{{}}}}}", chain.join(",").replacen("f0", "test_version", 1));
        let groups: Vec<String> = (0..15)
            .map(|index| {
                let next = format!(r#"{{"$savedGroup": {{"id": "g{}"}}}}"#, index + 1);
                format!(r#""g{index}": {{"type": "condition", "condition": {{"$or": [{next}, {next}, {next}]}}}}"#)
            })
            .collect();
        let groups = format!(
            r#"{{"features": {{"test_version": {{"rules": [{{"force": "v1", "condition": {{"$savedGroup": {{"id": "g0"}}}}}}]}}}}, "savedGroups": {{{}}}}}"#,
            groups.join(",")
        );
        for (text, expected) in [
            (many, "more than 1000"),
            (chain, "an evaluation would visit more than"),
            (groups, "the conditions have more than"),
            (" ".repeat(1 + (1 << 20)), "more than 1048576"),
            ("[".repeat(10_000), "recursion limit"),
        ] {
            let problems = parse(&text).unwrap_err();
            assert!(problems[0].to_string().contains(expected), "{}", problems[0]);
        }
    }
}
