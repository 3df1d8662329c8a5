//! Members of a definition that resemble known ones, such as `weight`.
//!
//! The function ignores unknown members without a word, because GrowthBook's payloads have many.

use nearedge_core::experiment::problem::Problem;
use nearedge_core::problem::{Step, position};
use serde_json::{Map, Value};
use strsim::osa_distance;

/// The members of a definition ([SDK payload](https://docs.growthbook.io/lib/build-your-own)), and `goals`.
const DEFINITION: &[&str] = &["features", "experiments", "savedGroups", "goals", "dateUpdated"];
const FEATURE: &[&str] = &["defaultValue", "rules"];
/// The members of a rule and of an experiment.
const RULE: &[&str] = &[
    "active",
    "bucketVersion",
    "condition",
    "coverage",
    "disableStickyBucketing",
    "fallbackAttribute",
    "filters",
    "force",
    "hashAttribute",
    "hashVersion",
    "id",
    "key",
    "manual",
    "meta",
    "minBucketVersion",
    "name",
    "namespace",
    "parentConditions",
    "persistQueryString",
    "phase",
    "range",
    "ranges",
    "seed",
    "status",
    "tracks",
    "url",
    "urlPatterns",
    "variations",
    "weights",
];

/// The largest number of edits between a misspelt name and the known one.
const DISTANCE_MAX: usize = 2;

/// A warning for each member that is unknown and resembles a known one which its object lacks. A text that is no JSON has none.
pub(super) fn resembling(text: &str) -> Vec<Problem> {
    let Ok(Value::Object(definition)) = serde_json::from_str(text) else { return Vec::new() };
    let mut found = Found { text, steps: Vec::new(), problems: Vec::new() };
    found.look_at(&definition, DEFINITION);
    for (id, feature) in definition.get("features").and_then(Value::as_object).into_iter().flatten() {
        let Value::Object(feature) = feature else { continue };
        found.steps = vec![Step::Member("features".into()), Step::Member(id.clone())];
        found.look_at(feature, FEATURE);
        found.steps.push(Step::Member("rules".into()));
        found.look_at_each(feature.get("rules"));
    }
    found.steps = vec![Step::Member("experiments".into())];
    found.look_at_each(definition.get("experiments"));
    found.problems
}

struct Found<'a> {
    text: &'a str,
    /// Where the object or the list is that is looked at.
    steps: Vec<Step>,
    problems: Vec<Problem>,
}

impl Found<'_> {
    /// Looks at a list of rules or experiments.
    fn look_at_each(&mut self, list: Option<&Value>) {
        for (index, element) in list.and_then(Value::as_array).into_iter().flatten().enumerate() {
            let Value::Object(members) = element else { continue };
            self.steps.push(Step::Element(index));
            self.look_at(members, RULE);
            self.steps.pop();
        }
    }

    fn look_at(&mut self, members: &Map<String, Value>, known: &[&str]) {
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            let Some(meant) = known.iter().find(|known| !members.contains_key(**known) && is_close(name, known)) else {
                continue;
            };
            let mut steps = self.steps.clone();
            steps.push(Step::Member(name.clone()));
            let reason = "the member is unknown, and ignored";
            let mut problem = Problem::beside(path(&steps), reason, format!("write {meant}, if that is meant"));
            (problem.line, problem.column) = position(self.text, &steps);
            self.problems.push(problem);
        }
    }
}

fn is_close(name: &str, known: &str) -> bool {
    // A short name has many neighbours by chance.
    let allowed = DISTANCE_MAX.min(name.len() / 4);
    osa_distance(&name.to_ascii_lowercase(), &known.to_ascii_lowercase()) <= allowed
}

/// The path as problems write it, such as `features.test_version.rules[0].weight`.
fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Element(index) => path.push_str(&format!("[{index}]")),
            Step::Member(name) if path.is_empty() => path.push_str(name),
            Step::Member(name) => path.push_str(&format!(".{name}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_resembles_a_known_one_is_reported_with_its_place() {
        let text = r#"{"features": {"test_version": {"rules": [
  {"variations": ["v1", "v2"], "weight": [1, 0], "HashVersion": 2}]}}}"#;
        let found: Vec<_> = resembling(text).iter().map(Problem::to_string).collect();
        assert_eq!(
            found,
            [
                "line 2, column 65: features.test_version.rules[0].HashVersion: the member is unknown, and ignored: write hashVersion, if that is meant",
                "line 2, column 42: features.test_version.rules[0].weight: the member is unknown, and ignored: write weights, if that is meant",
            ]
        );
        let found = |text| resembling(text).iter().map(|problem| problem.path.clone()).collect::<Vec<_>>();
        assert_eq!(
            found(r#"{"feature": {}, "experiments": [{"urlPattern": []}]}"#),
            ["feature", "experiments[0].urlPattern"]
        );
        assert_eq!(
            found(r#"{"features": {"a": {"rulez": []}, "b": {"defaultvalue": 1}}}"#),
            ["features.a.rulez", "features.b.defaultvalue"]
        );
    }

    #[test]
    fn other_unknown_members_are_not_reported() {
        let text = r#"{"features": {"a": {"rules": [{"force": 1, "project": "x", "description": "", "valueType": 1, "fey": 1}],
            "description": "", "owner": ""}}, "status": 200, "attributes": {}, "contexts": 1}"#;
        assert_eq!(resembling(text), []);
        assert_eq!(resembling("{"), []);
    }
}
