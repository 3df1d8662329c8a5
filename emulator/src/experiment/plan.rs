//! `experiment plan`: the visitors and days that an experiment needs.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use nearedge_report::statistics::plan::{Goal, Looks};
use serde_json::{Value, json};

/// The arguments of `experiment plan`.
#[derive(Debug, Args)]
pub struct Plan {
    /// The rate of the control: 0.03 if 3 of 100 visitors convert
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    rate: f64,
    /// The relative difference to detect: 0.10 is a rate of 3.3 % instead of 3 %; negative for a lower rate
    #[arg(long, value_name = "UPLIFT", allow_negative_numbers = true)]
    uplift: f64,
    /// The probability to detect it
    #[arg(long, value_name = "POWER", default_value_t = 0.8, allow_negative_numbers = true)]
    power: f64,
    /// The probability to see a difference where there is none
    #[arg(long, value_name = "ALPHA", default_value_t = 0.05, allow_negative_numbers = true)]
    alpha: f64,
    /// The number of variations, with the control; all have the same weight
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(2..=100))]
    variations: u64,
    /// The visitors of the experiment per day, in all variations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    visitors_per_day: Option<u64>,
    /// How to print the plan
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Text,
    /// A JSON object
    Json,
}

/// The size of an experiment.
struct Size {
    per_variation: u64,
    visitors: u64,
    days: Option<u64>,
}

/// Runs the command.
pub(super) fn run(arguments: &Plan) -> ExitCode {
    let (fixed, sequential) = match arguments.sizes() {
        Ok(sizes) => sizes,
        Err(reason) => {
            drop(writeln!(io::stderr(), "experiment plan: {reason}"));
            return ExitCode::from(2);
        }
    };
    let mut out = io::stdout().lock();
    let written = match arguments.format {
        Format::Text => arguments.write(&fixed, &sequential, &mut out),
        Format::Json => writeln!(out, "{}", json!({"fixed": fixed.json(), "sequential": sequential.json()})),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

impl Size {
    fn json(&self) -> Value {
        json!({"visitors": self.visitors, "per_variation": self.per_variation, "days": self.days})
    }
}

impl Plan {
    fn sizes(&self) -> Result<(Size, Size), String> {
        let Self { rate, uplift, power, alpha, .. } = *self;
        if !(rate > 0.0 && rate < 1.0) {
            return Err(format!("expected --rate between 0 and 1, such as 0.03 for 3 %, found {rate}"));
        }
        if uplift == 0.0 || !uplift.is_finite() {
            return Err(format!("expected --uplift above or below 0, such as 0.10 for 10 % more, found {uplift}"));
        }
        let treatment = rate * (1.0 + uplift);
        if !(treatment > 0.0 && treatment < 1.0) {
            let reason = "the rate of the treatment must be between 0 and 1";
            return Err(format!(
                "{reason}; --rate {rate} and --uplift {uplift} give {treatment}; use a smaller uplift"
            ));
        }
        if !(power > 0.0 && power < 1.0) {
            return Err(format!("expected --power between 0 and 1, such as 0.8, found {power}"));
        }
        if !(alpha > 0.0 && alpha < 1.0) {
            return Err(format!("expected --alpha between 0 and 1, such as 0.05, found {alpha}"));
        }
        let goal = Goal { rate, uplift, alpha };
        let size = |looks| {
            let visitors = goal.visitors(looks, power);
            let per_variation =
                visitors.ok_or("more than 10^15 visitors are needed; use a larger --uplift or --rate")?;
            let visitors = per_variation.saturating_mul(self.variations);
            let days = self.visitors_per_day.map(|per_day| visitors.div_ceil(per_day));
            Ok::<Size, String>(Size { per_variation, visitors, days })
        };
        Ok((size(Looks::One)?, size(Looks::Every)?))
    }

    fn write(&self, fixed: &Size, sequential: &Size, out: &mut impl Write) -> io::Result<()> {
        let percent = |part: f64| format!("{} %", (part * 1e6).round() / 1e4);
        let (rate, treatment) = (percent(self.rate), percent(self.rate * (1.0 + self.uplift)));
        writeln!(out, "A rate of {treatment} instead of {rate}, power {}, alpha {}", percent(self.power), self.alpha)?;
        let variations = self.variations;
        writeln!(out, "\n  {:<11} {:>15} {:>15} {:>8}", "looks", "visitors", "per variation", "days")?;
        for (name, size) in [("one", fixed), ("at any time", sequential)] {
            let days = size.days.map_or("-".to_owned(), grouped);
            let (visitors, per_variation) = (grouped(size.visitors), grouped(size.per_variation));
            writeln!(out, "  {name:<11} {visitors:>15} {per_variation:>15} {days:>8}")?;
        }
        writeln!(out, "\nWith one look at the end, use the p-value. With looks at any time, use the sequential one;")?;
        writeln!(out, "then the experiment often ends earlier. All {variations} variations have the same weight.")?;
        if variations > 2 {
            writeln!(out, "Each treatment is compared with the control, without a correction for several treatments.")?;
        }
        Ok(())
    }
}

/// An integer with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated_by_commas() {
        assert_eq!(["0", "999", "1,000", "1,234,567"], [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(|s| &**s));
    }
}
