//! `experiment simulate`: the split of simulated visitors against the weights.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use fastrand::Rng;
use nearedge_core::experiment::attribute::{Attribute, Attributes, Operand};
use nearedge_core::experiment::definition::{Constraints, Definition, FEATURE};
use nearedge_core::experiment::evaluation::{Assigned, Evaluation, Hashed, Sticky, Visitor};
use nearedge_core::experiment::spec::Experiment;
use nearedge_core::experiment::value::Value;
use serde_json::json;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::experiment::check::{Parsed, Unreadable, read};

/// A p-value below this is no chance: GrowthBook's threshold of a sample ratio mismatch.
const MISMATCH: f64 = 0.001;

/// The arguments of `experiment simulate`.
#[derive(Debug, Args)]
pub struct Simulate {
    /// The definition
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The number of visitors
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    visitors: u32,
    /// The start of the random ids; the same seed gives the same visitors
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// An attribute of every visitor, such as country=CN or path=/checkout; repeatable
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = crate::policy::command::name_and_value)]
    attributes: Vec<(String, String)>,
    /// The function's experiments_feature
    #[arg(long, value_name = "NAME", default_value = FEATURE)]
    feature: String,
    /// Print one JSON object per experiment, one per line
    #[arg(long)]
    json: bool,
}

/// A visitor with an id and the attributes of the command line.
struct Simulated<'a> {
    id: String,
    attributes: &'a [(String, String)],
    url: &'a str,
}

impl Simulated<'_> {
    fn value(&self, attribute: &Attribute) -> Operand<'_> {
        if &*attribute.name == "id" {
            return Operand::Text((&*self.id).into());
        }
        let set = self.attributes.iter().find(|(name, _)| **name == *attribute.name);
        match set.map(|(_, value)| &**value) {
            None => {
                if &*attribute.name == "bot" {
                    Operand::Bool(false)
                } else {
                    Operand::Null
                }
            }
            Some("true") => Operand::Bool(true),
            Some("false") => Operand::Bool(false),
            Some(text) => Operand::Text(text.into()),
        }
    }
}

impl Attributes for Simulated<'_> {
    fn tested(&self, attribute: &Attribute) -> Operand<'_> {
        self.value(attribute)
    }

    fn hashed(&self, attribute: &Attribute) -> Operand<'_> {
        self.value(attribute)
    }
}

impl<'d> Visitor<'d> for Simulated<'_> {
    fn url(&self) -> &str {
        self.url
    }

    fn forced(&self, _: &'d Experiment) -> Option<i64> {
        None
    }

    fn sticky(&self, _: &'d Experiment, _: &Hashed<'_>) -> Sticky {
        Sticky::None
    }

    fn assigned(&self, _: &Assigned<'d>, _: &Hashed<'_>) {}
}

/// The visitors of an experiment.
struct Split<'d> {
    experiment: &'d Experiment,
    /// The visitors of each variation.
    counts: Vec<u32>,
}

impl Split<'_> {
    /// The part of the participants that each variation should get.
    fn weights(&self) -> Vec<f64> {
        let shares = self.experiment.shares();
        let sum: f64 = shares.iter().sum();
        shares.into_iter().map(|share| if sum > 0.0 { share / sum } else { 0.0 }).collect()
    }

    /// The chi-squared statistic of the counts against the weights, and its p-value; `None` without participants.
    fn test(&self) -> Option<(f64, f64)> {
        let participants: u32 = self.counts.iter().sum();
        let expected: Vec<f64> = self.weights().iter().map(|weight| weight * f64::from(participants)).collect();
        let possible = expected.iter().filter(|expected| **expected > 0.0).count();
        if participants == 0 || possible < 2 {
            return None;
        }
        let terms = self.counts.iter().zip(&expected).filter(|(_, expected)| **expected > 0.0);
        let statistic = terms.map(|(count, expected)| (f64::from(*count) - expected).powi(2) / expected).sum();
        let distribution = ChiSquared::new((possible - 1) as f64).ok()?;
        Some((statistic, distribution.sf(statistic)))
    }
}

/// Runs the command.
pub(super) fn run(arguments: &Simulate) -> ExitCode {
    let constraints = Constraints { feature: &arguments.feature, test_versions: None, cache_key: &[] };
    let definition = match read(&arguments.file, constraints) {
        Ok(Parsed { definition: Some(definition), .. }) => definition,
        Ok(Parsed { problems, .. }) => return fail(&problems.first().map(ToString::to_string).unwrap_or_default(), 1),
        Err(Unreadable(reason)) => return fail(&reason, 2),
    };
    match arguments.simulate(&definition, io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(reason: &str, code: u8) -> ExitCode {
    drop(writeln!(io::stderr(), "experiment simulate: {reason}"));
    ExitCode::from(code)
}

impl Simulate {
    fn simulate(&self, definition: &Definition, mut out: impl Write) -> io::Result<()> {
        let mut random = Rng::with_seed(self.seed);
        let mut versions: BTreeMap<String, u32> = BTreeMap::new();
        let experiments = definition.plan.features.experiments();
        let mut splits: Vec<Split<'_>> =
            experiments.map(|experiment| Split { experiment, counts: vec![0; experiment.variations.len()] }).collect();
        let url = self.attributes.iter().find(|(name, _)| name == "url").map_or("", |(_, url)| url);
        for _ in 0..self.visitors {
            let id = base64_simd::URL_SAFE_NO_PAD.encode_to_string(random.u128(..).to_be_bytes());
            let visitor = Simulated { id, attributes: &self.attributes, url };
            let result = Evaluation::new(&definition.plan.features, &visitor).feature(definition.plan.feature);
            let version = match result.value {
                Value::Text(version) => version.to_string(),
                _ => "none".to_owned(),
            };
            *versions.entry(version).or_default() += 1;
            if let Some(assigned) = result.assigned {
                let split = splits.iter_mut().find(|split| std::ptr::eq(split.experiment, assigned.experiment));
                if let Some(count) = split.and_then(|split| split.counts.get_mut(assigned.variation)) {
                    *count += 1;
                }
            }
        }
        if !self.json {
            let listed = versions.iter().map(|(version, visitors)| format!("{version} {visitors}"));
            writeln!(out, "{} visitors: {}\n", self.visitors, listed.collect::<Vec<_>>().join(", "))?;
        }
        splits.iter().try_for_each(|split| self.write(split, &mut out))
    }

    fn write(&self, split: &Split<'_>, out: &mut impl Write) -> io::Result<()> {
        let Split { experiment, counts } = split;
        let participants: u32 = counts.iter().sum();
        let test = split.test();
        let keys = (0..counts.len()).map(|variation| experiment.variation_key(variation));
        let rows = keys.zip(split.weights()).zip(counts);
        if self.json {
            let variations: Vec<_> = rows
                .map(|((key, weight), visitors)| json!({"key": key, "weight": weight, "visitors": visitors}))
                .collect();
            let line = json!({
                "experiment": experiment.key.as_str(), "visitors": self.visitors, "participants": participants,
                "variations": variations, "chi_squared": test.map(|(statistic, _)| statistic),
                "p_value": test.map(|(_, p_value)| p_value),
            });
            return writeln!(out, "{line}");
        }
        writeln!(out, "{}: {participants} participants", experiment.key)?;
        writeln!(out, "  {:<24} {:>8} {:>10} {:>8}", "variation", "weight", "visitors", "share")?;
        for ((key, weight), visitors) in rows {
            let share = f64::from(*visitors) * 100.0 / f64::from(participants.max(1));
            writeln!(out, "  {key:<24} {:>6.2} % {visitors:>10} {share:>6.2} %", weight * 100.0)?;
        }
        match test {
            None => writeln!(out, "  no test: no visitor takes part, or there is only one variation\n"),
            Some((statistic, p_value)) => {
                let verdict = if p_value < MISMATCH { "the split does not fit the weights" } else { "the split fits" };
                writeln!(out, "  chi-squared {statistic:.3}, p-value {p_value:.4}: {verdict}\n")
            }
        }
    }
}
