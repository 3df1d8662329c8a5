//! A range of numbers on a plot.

/// Places numbers between two coordinates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Places `low` at `start` and `high` at `end`.
    pub(super) fn new((low, high): (f64, f64), (start, end): (f64, f64)) -> Self {
        // A range without a length has all its numbers in the middle.
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, high + 0.5) };
        Self { low, high, start, end }
    }

    /// The coordinate of a number, rounded for a shorter file. Numbers outside the range are at its ends.
    pub(super) fn at(self, number: f64) -> f64 {
        let part = (number.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        ((self.start + part * (self.end - self.start)) * 10.0).round() / 10.0
    }

    /// At most about `count` round numbers in the range.
    pub(super) fn ticks(self, count: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / count.max(1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|part| part * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..).map(|index| index as f64 * step).take_while(|tick| *tick <= self.high).take(2 * count + 2).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_range() {
        assert_eq!(Axis::new((-0.013, 0.034), (0.0, 1.0)).ticks(5), [-0.01, 0.0, 0.01, 0.02, 0.03]);
        assert_eq!(Axis::new((0.0, 100.0), (0.0, 1.0)).ticks(5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
    }

    #[test]
    fn numbers_outside_are_at_the_ends() {
        let axis = Axis::new((0.0, 10.0), (100.0, 200.0));
        assert_eq!([-5.0, 0.0, 5.0, 99.0].map(|number| axis.at(number)), [100.0, 100.0, 150.0, 200.0]);
        assert_eq!(Axis::new((3.0, 3.0), (0.0, 10.0)).at(3.0), 5.0);
    }
}
