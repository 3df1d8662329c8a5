//! The dashboard `results`: the visitors of one experiment, their conversions, and what can be concluded from them.
//!
//! All counts are cumulative since the left edge of the graphs (RUNNING_SUM).

use serde_json::{Value, json};

use crate::row::{conversions, exposures, expression, search_conversions};
use crate::statistic::{CRITICAL_CHI_SQUARED, sample_ratio, sequential_half_width};
use crate::widget::{COLUMNS, Widget};

use super::experiment::{COLORS, GREY};

/// An experiment with its variations and goals, or their placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Experiment<'a> {
    /// The key.
    pub key: &'a str,
    /// The keys and the relative weights of the variations, of which the first is the control.
    pub variations: &'a [(&'a str, &'a str)],
}

/// A variation.
struct Variation<'a> {
    name: &'a str,
    weight: &'a str,
    /// The part of the ids of its rows: `a` for the first variation.
    id: char,
    color: &'static str,
}

impl<'a> Experiment<'a> {
    fn variations(&self) -> Vec<Variation<'a>> {
        let all = self.variations.iter().zip('a'..='t').zip(COLORS.into_iter().cycle());
        all.map(|((&(name, weight), id), color)| Variation { name, weight, id, color }).collect()
    }

    /// The widgets without those of goals.
    pub(super) fn split(&self) -> Vec<Widget> {
        let variations = &self.variations();
        let critical = variations.len().checked_sub(2).and_then(|index| CRITICAL_CHI_SQUARED.get(index));
        let (critical, limit) = (critical.copied().unwrap_or(f64::NAN), "p = 0.001");
        vec![
            self.introduction(variations),
            Widget::totals(12, "Visitors", self.visitors(variations, true)),
            Widget::totals(12, "Share of the visitors, %", self.shares(variations)),
            Widget::graph(12, "Visitors since the left edge", "visitors", self.visitors(variations, true)),
            Widget::graph(12, "Sample ratio: chi-squared statistic", "chi-squared", self.sample_ratio(variations))
                .line_at(critical, limit),
            Widget::graph(12, "New visitors by variation", "per minute", self.visitors(variations, false)),
            Widget::graph(12, "Conversions of all goals", "per minute", self.all_goals(variations)),
        ]
    }

    /// The widgets of a goal.
    pub(super) fn goal(&self, goal: &str) -> Vec<Widget> {
        let variations = &self.variations();
        let mut widgets = vec![
            Widget::totals(12, &format!("Conversions of {goal}"), self.converted(variations, goal)),
            Widget::totals(12, &format!("Conversion rate of {goal}, %"), self.rates(variations, goal)),
            Widget::graph(COLUMNS, &format!("Conversion rate of {goal}"), "%", self.rates(variations, goal)),
        ];
        if let [control, treatments @ ..] = variations.as_slice() {
            let pair = |treatment| self.difference(goal, control, treatment, treatments.len());
            widgets.extend(treatments.iter().map(pair));
        }
        widgets
    }

    fn introduction(&self, variations: &[Variation<'_>]) -> Widget {
        let control = variations.first().map_or("", |control| control.name);
        Widget::text(
            4,
            &format!(
                "# Results of {}\nThe first variation, {control}, is the control. **Everything is counted since the left \
                 edge of the graphs: choose a start before the experiment's, and no later change of its weights or phase.** \
                 A difference is significant once its band excludes zero; the band is always valid, so looking daily is \
                 allowed (GrowthBook's sequential test, 95 %, N = 5,000). It is not reliable below about 100 conversions. If \
                 the statistic of the sample ratio is above its line, visitors are lost or counted twice in one variation: \
                 do not trust the rates. `nearedge experiment report` has exact figures: it excludes visitors who were seen \
                 in two variations.",
                self.key
            ),
        )
    }

    /// The rows of `count` for each variation: hidden, as `{prefix}{id}0`, and its running sum as `{prefix}{id}`.
    fn sums(variations: &[&Variation<'_>], prefix: char, count: impl Fn(&str, Value) -> Value) -> Vec<Value> {
        let rows = variations.iter().flat_map(|Variation { name, id, .. }| {
            let one = format!("{prefix}{id}0");
            let sum = expression(&format!("RUNNING_SUM(FILL({one}, 0))"), hidden(&format!("{prefix}{id}")));
            [count(name, json!({"id": one, "stat": "Sum", "visible": false})), sum]
        });
        rows.collect()
    }

    fn exposed(&self, variations: &[&Variation<'_>]) -> Vec<Value> {
        Self::sums(variations, 'n', |name, options| exposures(self.key, name, options))
    }

    fn visitors(&self, variations: &[Variation<'_>], cumulative: bool) -> Vec<Value> {
        let row = |Variation { name, id, color, .. }: &Variation<'_>| {
            let shown = json!({"id": format!("n{id}"), "label": name, "color": color});
            let count = exposures(self.key, name, json!({"id": format!("n{id}0"), "stat": "Sum", "visible": false}));
            let filled = format!("FILL(n{id}0, 0)");
            [count, expression(&if cumulative { format!("RUNNING_SUM({filled})") } else { filled }, shown)]
        };
        variations.iter().flat_map(row).collect()
    }

    fn shares(&self, variations: &[Variation<'_>]) -> Vec<Value> {
        let mut rows = self.exposed(&variations.iter().collect::<Vec<_>>());
        let all: Vec<String> = variations.iter().map(|Variation { id, .. }| format!("n{id}")).collect();
        rows.extend(variations.iter().map(|Variation { name, id, color, .. }| {
            let options = json!({"id": format!("s{id}"), "label": name, "color": color});
            expression(&format!("100 * n{id} / ({})", all.join(" + ")), options)
        }));
        rows
    }

    fn sample_ratio(&self, variations: &[Variation<'_>]) -> Vec<Value> {
        let mut rows = self.exposed(&variations.iter().collect::<Vec<_>>());
        let weights: Vec<(String, &str)> =
            variations.iter().map(|Variation { id, weight, .. }| (id.to_string(), *weight)).collect();
        let steps = sample_ratio(&weights);
        rows.extend(steps.iter().map(|(id, step)| match id.as_str() {
            "statistic" => expression(step, json!({"id": id, "label": "chi-squared", "color": COLORS[0]})),
            _ => expression(step, hidden(id)),
        }));
        rows
    }

    fn all_goals(&self, variations: &[Variation<'_>]) -> Vec<Value> {
        let row = |Variation { name, id, color, .. }: &Variation<'_>| {
            let found = search_conversions(self.key, name, 60);
            expression(&found, json!({"id": format!("g{id}"), "label": name, "color": color}))
        };
        variations.iter().map(row).collect()
    }

    /// Conversions as `k` and the id, since the left edge.
    fn counts(&self, variations: &[&Variation<'_>], goal: &str) -> Vec<Value> {
        Self::sums(variations, 'k', |name, options| conversions(self.key, name, goal, options))
    }

    fn converted(&self, variations: &[Variation<'_>], goal: &str) -> Vec<Value> {
        let mut rows = self.counts(&variations.iter().collect::<Vec<_>>(), goal);
        for (row, Variation { name, color, .. }) in rows.iter_mut().skip(1).step_by(2).zip(variations) {
            if let Some(options) = row.get_mut(0) {
                (options["label"], options["color"], options["visible"]) = (json!(name), json!(color), json!(true));
            }
        }
        rows
    }

    fn rates(&self, variations: &[Variation<'_>], goal: &str) -> Vec<Value> {
        let all: Vec<&Variation<'_>> = variations.iter().collect();
        let mut rows = [self.exposed(&all), self.counts(&all, goal)].concat();
        rows.extend(variations.iter().map(|Variation { name, id, color, .. }| {
            let options = json!({"id": format!("r{id}"), "label": name, "color": color});
            expression(&format!("100 * k{id} / n{id}"), options)
        }));
        rows
    }

    /// The difference of the rates of a variation and the control, in percentage points, with its always-valid band.
    fn difference(&self, goal: &str, control: &Variation<'_>, treatment: &Variation<'_>, treatments: usize) -> Widget {
        let pair = [control, treatment];
        let mut rows = [self.exposed(&pair), self.counts(&pair, goal)].concat();
        let (a, b) = (control.id, treatment.id);
        for id in [a, b] {
            rows.push(expression(&format!("k{id} / n{id}"), hidden(&format!("r{id}"))));
        }
        rows.push(expression(&format!("n{a} + n{b}"), hidden("n")));
        // As in gbstats, there is no band before both variations have conversions.
        let variance = format!("IF(k{a} > 0 AND k{b} > 0, r{a} * (1 - r{a}) / n{a} + r{b} * (1 - r{b}) / n{b})");
        rows.push(expression(&variance, hidden("variance")));
        rows.push(expression(&format!("100 * {}", sequential_half_width("variance", "n")), hidden("half")));
        let label = format!("{} − {}", treatment.name, control.name);
        rows.push(expression(
            &format!("100 * (r{b} - r{a})"),
            json!({"id": "diff", "label": label, "color": treatment.color}),
        ));
        rows.push(expression("diff + half", json!({"id": "upper", "label": "upper bound", "color": GREY})));
        rows.push(expression("diff - half", json!({"id": "lower", "label": "lower bound", "color": GREY})));
        let title = format!("{goal}: {} − {}, always valid", treatment.name, control.name);
        let width = match treatments {
            1 => COLUMNS,
            2 => COLUMNS / 2,
            _ => COLUMNS / 3,
        };
        Widget::graph(width, &title, "percentage points", rows).signed().line_at(0.0, "no difference").taller()
    }
}

fn hidden(id: &str) -> Value {
    json!({"id": id, "visible": false})
}
