//! The visitors and conversions of an experiment, per variation, and their JSON format.
//!
//! A document that deserializes is valid: it has two variations or more, and numbers that are possible.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The largest number of visitors: above it, not every integer is a float.
const MOST: u64 = 1 << 53;

/// The counts of an experiment. The first variation is the control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawCounts")]
pub struct Counts {
    /// The key of the experiment.
    pub experiment: String,
    /// The variations, in the definition's order.
    pub variations: Vec<VariationCounts>,
}

/// The counts of a variation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawVariation")]
pub struct VariationCounts {
    /// The key of the variation.
    pub key: String,
    /// The weight of the variation; weights need not sum to 1.
    pub weight: f64,
    /// The visitors who were exposed to the variation.
    pub visitors: u64,
    /// The goals, by key.
    #[serde(default)]
    pub goals: BTreeMap<String, GoalCounts>,
}

/// The counts of a variation for a goal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawGoal")]
pub struct GoalCounts {
    /// The visitors who reached the goal.
    pub conversions: u64,
    /// The sum of the visitors' values, if the goal has values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum: Option<f64>,
    /// The sum of the squares of the visitors' values, if the goal has values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_squares: Option<f64>,
}

/// The documents of a text: one, or several one after another, as in JSON Lines.
///
/// # Errors
///
/// The first document that is not valid: the expectation, the finding, line and column.
pub fn parse(text: &str) -> Result<Vec<Counts>, String> {
    let mut documents = serde_json::Deserializer::from_str(text).into_iter();
    let mut parsed = Vec::new();
    let mut start = 0;
    while let Some(document) = documents.next() {
        // serde_json adds no place to an error of a whole document.
        let place = |error: serde_json::Error| match error.line() {
            0 => format!("{error} in the document that starts at line {}", line_of_next(text, start)),
            _ => error.to_string(),
        };
        parsed.push(document.map_err(place)?);
        start = documents.byte_offset();
    }
    Ok(parsed)
}

/// The line of the first character after `start` that is not white space.
fn line_of_next(text: &str, start: usize) -> usize {
    let (before, after) = text.split_at_checked(start).unwrap_or((text, ""));
    let blank = after.len() - after.trim_start().len();
    let skipped = after.get(..blank).unwrap_or_default();
    1 + before.matches('\n').count() + skipped.matches('\n').count()
}

// serde_json adds line and column to an error of these conversions: those of the end of the object.

#[derive(Deserialize)]
#[serde(expecting = "an object with experiment and variations")]
struct RawCounts {
    experiment: String,
    variations: Vec<VariationCounts>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with key, weight, visitors and goals")]
struct RawVariation {
    key: String,
    weight: f64,
    #[serde(deserialize_with = "count")]
    visitors: u64,
    #[serde(default, deserialize_with = "goals")]
    goals: BTreeMap<String, GoalCounts>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with conversions, and with sum and sum_squares if the goal has values")]
struct RawGoal {
    #[serde(deserialize_with = "count")]
    conversions: u64,
    sum: Option<f64>,
    sum_squares: Option<f64>,
}

impl TryFrom<RawCounts> for Counts {
    type Error = String;

    fn try_from(RawCounts { experiment, variations }: RawCounts) -> Result<Self, String> {
        if variations.len() < 2 {
            return Err(format!("expected two variations or more, found {}", variations.len()));
        }
        let mut keys = BTreeSet::new();
        if let Some(twice) = variations.iter().find(|variation| !keys.insert(&variation.key)) {
            return Err(format!("two variations have the key {:?}; give each its own", twice.key));
        }
        if variations.iter().all(|variation| variation.weight == 0.0) {
            return Err("all weights are 0; give the variations that get visitors a weight above 0".to_owned());
        }
        let goals: BTreeSet<&String> = variations.iter().flat_map(|variation| variation.goals.keys()).collect();
        for goal in goals {
            let counted: Vec<&GoalCounts> =
                variations.iter().filter_map(|variation| variation.goals.get(goal)).collect();
            let has_values = counted.iter().any(|counts| counts.sum.is_some());
            if has_values && counted.iter().any(|counts| counts.sum.is_none() && counts.conversions > 0) {
                return Err(format!("goal {goal:?} has sum and sum_squares in some variations only; add them to all"));
            }
        }
        Ok(Self { experiment, variations })
    }
}

impl TryFrom<RawVariation> for VariationCounts {
    type Error = String;

    fn try_from(RawVariation { key, weight, visitors, goals }: RawVariation) -> Result<Self, String> {
        if weight < 0.0 {
            return Err(format!("variation {key:?}: expected a weight of 0 or more, found {weight}"));
        }
        if let Some((goal, counts)) = goals.iter().find(|(_, counts)| counts.conversions > visitors) {
            let conversions = counts.conversions;
            return Err(format!(
                "variation {key:?}, goal {goal:?}: {conversions} conversions of {visitors} visitors; a visitor converts once"
            ));
        }
        Ok(Self { key, weight, visitors, goals })
    }
}

impl TryFrom<RawGoal> for GoalCounts {
    type Error = String;

    fn try_from(RawGoal { conversions, sum, sum_squares }: RawGoal) -> Result<Self, String> {
        if sum.is_some() != sum_squares.is_some() {
            return Err("expected both sum and sum_squares, or neither, found one".to_owned());
        }
        if let Some(negative) = sum_squares.filter(|squares| *squares < 0.0) {
            return Err(format!("expected a sum_squares of 0 or more, found {negative}"));
        }
        Ok(Self { conversions, sum, sum_squares })
    }
}

/// A number of visitors; a float such as 300.0 too, because many programs write integers like this.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Count;

    impl Visitor<'_> for Count {
        type Value = u64;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "an integer from 0 to 2^53")
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
            if value > MOST { Err(E::invalid_value(serde::de::Unexpected::Unsigned(value), &self)) } else { Ok(value) }
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
            if value.fract() == 0.0 && (0.0..=MOST as f64).contains(&value) {
                Ok(value as u64)
            } else {
                Err(E::invalid_value(serde::de::Unexpected::Float(value), &self))
            }
        }
    }

    deserializer.deserialize_any(Count)
}

/// The goals of a variation. serde's map would keep the last of two goals with one key.
fn goals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, GoalCounts>, D::Error> {
    struct Goals;

    impl<'de> Visitor<'de> for Goals {
        type Value = BTreeMap<String, GoalCounts>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "an object with goals")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut goals = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                let value = map.next_value()?;
                if goals.contains_key(&key) {
                    return Err(A::Error::custom(format!("goal {key:?} appears twice in a variation")));
                }
                goals.insert(key, value);
            }
            Ok(goals)
        }
    }

    deserializer.deserialize_map(Goals)
}
