//! What a definition counts, and on which pages: its `goals` and `exposures`.

use std::sync::Arc;

use crate::experiment::attribute::Field;
use crate::experiment::cookie::MARKS_MAX;
use crate::experiment::label::Label;
use crate::experiment::mark::Mark;
use crate::experiment::page::{Page, PagePattern};
use crate::experiment::problem::Problems;
use crate::experiment::value::Value;

/// The most goals of a definition.
const GOALS_MAX: usize = 20;

/// The longest key of a goal, in characters.
const GOAL_LEN_MAX: usize = 64;

/// The most metrics of a definition: CloudWatch charges for each one per month.
const METRICS_MAX: usize = 200;

/// The most attributes that a line contains.
const ATTRIBUTES_MAX: usize = 20;

/// What a definition counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counting {
    /// The goals, in the order of the definition.
    pub goals: Vec<Goal>,
    /// Where exposures count, for the experiments that restrict it.
    restrictions: Vec<Restriction>,
    /// The attributes in lines, and their names.
    pub(super) attributes: Vec<(Box<str>, Field)>,
    /// The marks that stay in cookies, sorted.
    kept: Vec<Mark>,
    /// The marks of previews, sorted.
    previews: Vec<Mark>,
    /// How many of the first labels have metrics.
    in_metrics: usize,
}

/// A goal.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The key.
    pub key: Arc<str>,
    /// The pages that reach it; `None` for a goal that only beacons reach.
    page: Option<PagePattern>,
    /// Whether any GET reaches it, not only a navigation.
    any_get: bool,
    /// The mark of its conversions, for each label of the definition.
    marks: Box<[Mark]>,
}

/// The pages on which the exposures of an experiment count.
#[derive(Debug, Clone, PartialEq)]
struct Restriction {
    experiment: Box<str>,
    page: PagePattern,
}

impl Goal {
    /// The mark of a conversion of the experiment with the label at this index.
    pub(super) fn mark(&self, label: usize) -> Mark {
        self.marks.get(label).copied().unwrap_or_default()
    }
}

impl Counting {
    /// Prepares the goals and exposures of a definition with these experiments and attributes.
    pub(super) fn prepare(json: &Value, labels: &[Arc<Label>], fields: &[Field], problems: &mut Problems) -> Self {
        let goals = read_goals(json, labels, problems);
        let restrictions = read_restrictions(json, labels, problems);
        warn_of_many_marks(labels.len(), goals.len(), problems);
        let in_metrics = count_labels_in_metrics(labels, goals.len(), problems);
        let exposures = labels.iter().flat_map(|label| [label.mark, label.excluded]);
        let mut kept: Vec<Mark> = exposures.chain(goals.iter().flat_map(|goal| goal.marks.iter().copied())).collect();
        kept.sort_unstable();
        let mut previews: Vec<Mark> = labels.iter().map(|label| label.preview).collect();
        previews.sort_unstable();
        // Bots are never counted, and lines have the id anyway.
        let logged = fields
            .iter()
            .filter(|field| !matches!(field, Field::Id | Field::Bot | Field::Claim(_)))
            .take(ATTRIBUTES_MAX);
        let attributes = logged.map(|field| (field.to_string().into(), field.clone())).collect();
        Self { goals, restrictions, attributes, kept, previews, in_metrics }
    }

    /// The goal with a key.
    pub(super) fn goal(&self, key: &str) -> Option<&Goal> {
        self.goals.iter().find(|goal| *goal.key == *key)
    }

    /// The goals that a GET of a page reaches.
    pub(super) fn reached<'s>(&'s self, page: &Page<'_>, navigates: bool) -> impl Iterator<Item = &'s Goal> {
        let is_reached = move |goal: &&Goal| {
            (navigates || goal.any_get) && goal.page.as_ref().is_some_and(|pattern| pattern.matches(page))
        };
        self.goals.iter().filter(is_reached)
    }

    /// Whether the exposure to an experiment counts on a page.
    pub(super) fn counts_exposure(&self, experiment: &str, page: &Page<'_>) -> bool {
        let mut restrictions =
            self.restrictions.iter().filter(|restriction| *restriction.experiment == *experiment).peekable();
        restrictions.peek().is_none() || restrictions.any(|restriction| restriction.page.matches(page))
    }

    /// Whether every view of a page must reach the origin, because some count something only there.
    pub(super) fn needs_every_view(&self, page: &Page<'_>) -> bool {
        let restrictions = self.restrictions.iter().map(|restriction| &restriction.page);
        let mut pages = self.goals.iter().filter_map(|goal| goal.page.as_ref()).chain(restrictions);
        pages.any(|pattern| pattern.matches(page))
    }

    /// Whether a mark stays in the cookie: that of a preview only while the preview lasts.
    pub(super) fn keeps(&self, mark: Mark, is_preview: bool) -> bool {
        self.kept.binary_search(&mark).is_ok() || is_preview && self.is_preview(mark)
    }

    /// Whether a mark is that of a preview.
    pub(super) fn is_preview(&self, mark: Mark) -> bool {
        self.previews.binary_search(&mark).is_ok()
    }

    /// Whether metrics count the experiment with the label at this index.
    pub(super) fn is_in_metrics(&self, label: usize) -> bool {
        label < self.in_metrics
    }
}

fn read_goals(json: &Value, labels: &[Arc<Label>], problems: &mut Problems) -> Vec<Goal> {
    let mut goals: Vec<Goal> = Vec::new();
    each_of(json, "goals", problems, |goal, problems| {
        let key = goal.get("key").and_then(Value::as_str).unwrap_or_default();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if key.is_empty() || key.len() > GOAL_LEN_MAX || !key.bytes().all(is_plain) || key == "." || key == ".." {
            let reason =
                format!("a goal needs a key of 1 to {GOAL_LEN_MAX} letters, digits, dots, underscores or hyphens");
            return problems.reject(reason, "write {\"key\": \"signup\", \"path\": \"/thanks.html\"}");
        }
        if goals.iter().any(|known| *known.key == *key) {
            return problems.reject(format!("there are two goals {key:?}"), "give each goal a key of its own");
        }
        let page = match goal.present("path") {
            None => None,
            Some(path) => match path.as_str().and_then(PagePattern::read) {
                Some(page) => Some(page),
                None => return reject_path(problems),
            },
        };
        let marks = labels.iter().map(|label| Mark::conversion(&label.names.key, &label.names.phase, key)).collect();
        let any_get = goal.get("anyGet").is_some_and(Value::is_truthy);
        goals.push(Goal { key: key.into(), page, any_get, marks });
    });
    if goals.len() > GOALS_MAX {
        let reason = format!("the definition has {} goals, more than {GOALS_MAX}", goals.len());
        problems.reject(reason, "remove goals that nobody looks at");
    }
    goals
}

fn read_restrictions(json: &Value, labels: &[Arc<Label>], problems: &mut Problems) -> Vec<Restriction> {
    let mut restrictions = Vec::new();
    each_of(json, "exposures", problems, |exposure, problems| {
        let experiment = exposure.get("experiment").and_then(Value::as_str).unwrap_or_default();
        if !labels.iter().any(|label| *label.names.key == *experiment) {
            return problems.warn(
                format!("there is no experiment {experiment:?}, and the entry has no effect"),
                "write the key of an experiment of this definition",
            );
        }
        match exposure.get("path").and_then(Value::as_str).and_then(PagePattern::read) {
            Some(page) => restrictions.push(Restriction { experiment: experiment.into(), page }),
            None => reject_path(problems),
        }
    });
    restrictions
}

/// Calls `read` with each element of a list.
fn each_of(json: &Value, name: &str, problems: &mut Problems, mut read: impl FnMut(&Value, &mut Problems)) {
    let Some(value) = json.present(name) else { return };
    problems.enter(name);
    match value.as_list() {
        Some(list) => {
            for (index, element) in list.iter().enumerate() {
                problems.enter_element(index);
                read(element, problems);
                problems.leave();
            }
        }
        None => problems.reject(format!("{name} is not a list"), format!("write \"{name}\": [{{…}}]")),
    }
    problems.leave();
}

fn reject_path(problems: &mut Problems) {
    problems.enter("path");
    problems.reject(
        "a page needs a path that starts with /, or a URL pattern",
        "write one such as \"/thanks.html\", \"/checkout/*\" or \"example.com/docs/*\"",
    );
    problems.leave();
}

/// Warns if a visitor's cookie may not hold the marks of all experiments and goals.
fn warn_of_many_marks(labels: usize, goals: usize, problems: &mut Problems) {
    let marks = labels * (1 + goals);
    if marks > MARKS_MAX && goals > 0 {
        problems.warn(
            format!(
                "{labels} experiments with {goals} goals need up to {marks} entries in a visitor's cookie, which holds \
                 {MARKS_MAX}: later ones replace earlier ones, which may be counted again"
            ),
            "remove experiments that have ended, or goals that nobody looks at",
        );
    }
}

/// How many of the first labels have metrics. Warns if the others have none.
fn count_labels_in_metrics(labels: &[Arc<Label>], goals: usize, problems: &mut Problems) -> usize {
    let mut metrics = 0;
    let fitting = labels.iter().take_while(|label| {
        metrics += label.variations.len() * (1 + goals);
        metrics <= METRICS_MAX
    });
    let fitting = fitting.count();
    if let Some(label) = labels.get(fitting) {
        problems.warn(
            format!(
                "variations and goals need more than {METRICS_MAX} metrics: {} experiments from {:?} on are counted in log \
                 lines only",
                labels.len() - fitting,
                label.names.key,
            ),
            "remove experiments that have ended, or goals that nobody looks at",
        );
    }
    fitting
}

#[cfg(test)]
mod tests {
    use crate::experiment::definition::{Constraints, Definition, FEATURE};
    use crate::experiment::problem::Problem;

    fn parse(members: &str) -> Result<(Definition, Vec<Problem>), Vec<Problem>> {
        let text = format!(
            r#"{{"features": {{"test_version": {{"rules": [{{"key": "a", "variations": ["v1", "v2"]}}]}}}}, {members}}}"#
        );
        Definition::parse(&text, Constraints { feature: FEATURE, test_versions: None, cache_key: &[] })
    }

    #[test]
    fn goals_have_keys_and_pages() {
        let (definition, warnings) = parse(
            r#""goals": [{"key": "signup", "path": "/thanks.html"}, {"key": "video"}],
               "exposures": [{"experiment": "a", "path": "/checkout/*"}]"#,
        )
        .unwrap();
        assert_eq!(warnings, []);
        let keys: Vec<&str> = definition.counting.goals.iter().map(|goal| &*goal.key).collect();
        assert_eq!(keys, ["signup", "video"]);
    }

    #[test]
    fn malformed_goals_are_errors_with_their_place() {
        for (members, expected) in [
            (r#""goals": {}"#, "goals: goals is not a list"),
            (r#""goals": [{"path": "/a"}]"#, "goals[0]: a goal needs a key"),
            (r#""goals": [{"key": "a/b"}]"#, "goals[0]: a goal needs a key"),
            (r#""goals": [{"key": "a"}, {"key": "a"}]"#, "goals[1]: there are two goals \"a\""),
            (r#""goals": [{"key": "a", "path": "thanks.html"}]"#, "goals[0].path: a page needs a path"),
            (r#""exposures": [{"experiment": "a"}]"#, "exposures[0].path: a page needs a path"),
        ] {
            let problems = parse(members).unwrap_err();
            assert!(problems[0].to_string().contains(expected), "{} instead of {expected}", problems[0]);
        }
        let many: Vec<String> = (0..21).map(|index| format!(r#"{{"key": "g{index}"}}"#)).collect();
        let problems = parse(&format!(r#""goals": [{}]"#, many.join(","))).unwrap_err();
        assert!(problems[0].to_string().contains("21 goals, more than 20"), "{}", problems[0]);
    }

    #[test]
    fn an_exposure_of_an_unknown_experiment_is_a_warning() {
        let (_, warnings) = parse(r#""exposures": [{"experiment": "b", "path": "/a"}]"#).unwrap();
        assert!(warnings[0].to_string().contains("there is no experiment \"b\""), "{}", warnings[0]);
    }

    #[test]
    fn more_counts_than_cookies_and_metrics_hold_are_warnings() {
        let rules: Vec<String> =
            (0..60).map(|index| format!(r#"{{"key": "k{index:02}", "variations": ["v1", "v2"]}}"#)).collect();
        let text = format!(
            r#"{{"features": {{"test_version": {{"rules": [{}]}}}}, "goals": [{{"key": "g"}}]}}"#,
            rules.join(",")
        );
        let constraints = Constraints { feature: FEATURE, test_versions: None, cache_key: &[] };
        let (definition, warnings) = Definition::parse(&text, constraints).unwrap();
        let warnings: Vec<String> = warnings.iter().map(Problem::to_string).collect();
        assert!(warnings.iter().any(|warning| warning.contains("120 entries in a visitor's cookie")), "{warnings:?}");
        assert!(warnings.iter().any(|warning| warning.contains("10 experiments from \"k50\" on")), "{warnings:?}");
        assert!(definition.counting.is_in_metrics(49) && !definition.counting.is_in_metrics(50));
    }
}
