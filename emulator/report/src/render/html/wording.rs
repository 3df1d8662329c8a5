//! Verdicts and numbers in words.

use crate::results::caution::Caution;
use crate::results::table::VariationResult;
use crate::results::verdict::Verdict;
use crate::statistics::interval::Interval;
use crate::statistics::sample::ENOUGH;

/// The unit of parts. No line ends before it.
const PERCENT: &str = "\u{a0}%";

/// A verdict in words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wording {
    /// `good`, `warn`, `bad` or `wait`.
    pub(super) tone: &'static str,
    /// The advice to the user.
    pub(super) headline: String,
    /// Why, and what to do next.
    pub(super) next: String,
}

/// The verdict on a goal in words; `name` is a variation's name.
pub(super) fn wording(
    verdict: &Verdict,
    rows: &[VariationResult],
    cautions: &[Caution],
    name: impl Fn(&str) -> String,
) -> Wording {
    let new = |tone, headline: String, next: String| Wording { tone, headline, next };
    match verdict {
        Verdict::Mismatch => new(
            "bad",
            "No verdict".to_owned(),
            "The visitors are not split as planned. The numbers below are for finding the cause only.".to_owned(),
        ),
        Verdict::TooFew => new(
            "wait",
            "Too early".to_owned(),
            format!("Wait until each variation has {ENOUGH} conversions. Earlier numbers change a lot by chance."),
        ),
        Verdict::Ship { variation } => {
            let serious = cautions.iter().find(|caution| caution.is_serious());
            match serious {
                Some(caution) => new("warn", format!("{} wins, but do not ship it yet", name(variation)), caution.to_string()),
                None => new(
                    "good",
                    format!("Ship {}", name(variation)),
                    "It is better than the control. This holds however often you have looked. Next: end the experiment and \
                     give it to all visitors."
                        .to_owned(),
                ),
            }
        }
        Verdict::Keep { variation } => new(
            "bad",
            format!("Keep {}", name(variation)),
            "Every other variation is worse. Next: end the experiment, and write down what you have learnt.".to_owned(),
        ),
        Verdict::Wait => new(
            "wait",
            "Keep the experiment running".to_owned(),
            match rows.iter().skip(1).filter_map(|row| row.sequential_interval).reduce(around) {
                Some(interval) => format!(
                    "No difference is certain yet. The true difference is probably between {} and {}. Next: wait, or stop \
                     and keep the control if a difference of this size does not matter to you.",
                    signed(interval.lower),
                    signed(interval.upper)
                ),
                None => "No difference can be computed yet. Next: wait for more visitors.".to_owned(),
            },
        ),
    }
}

fn around(one: Interval, other: Interval) -> Interval {
    Interval { lower: one.lower.min(other.lower), upper: one.upper.max(other.upper) }
}

/// A part in percent, with its sign.
pub(super) fn signed(part: f64) -> String {
    let percent = part * 100.0;
    // More digits than are certain distract.
    let text = if percent.abs() < 10.0 { format!("{percent:+.1}{PERCENT}") } else { format!("{percent:+.0}{PERCENT}") };
    text.replace('-', "−")
}

/// A rate in percent, or a mean.
pub(super) fn rate(rate: f64, has_values: bool) -> String {
    if has_values { format!("{rate:.3}") } else { format!("{:.2}{PERCENT}", rate * 100.0) }
}

/// A p-value.
pub(super) fn probability(p_value: f64) -> String {
    if p_value < 0.0001 { "< 0.0001".to_owned() } else { format!("{p_value:.4}") }
}

/// A number with separators.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0512, -0.0512, 0.1234, -1.5].map(signed),
            ["+5.1\u{a0}%", "−5.1\u{a0}%", "+12\u{a0}%", "−150\u{a0}%"]
        );
        assert_eq!((&*rate(0.0312, false), &*rate(12.5, true)), ("3.12\u{a0}%", "12.500"));
    }
}
