//! What openraft uses of the crate that this one stands in for. The original fills tables of 26 MB
//! at the first use of any histogram; here a value is known by its number of bits, without tables.

use std::fmt;
use std::marker::PhantomData;

/// One for zero, one for each possible highest bit.
const BUCKETS: usize = 65;

/// Counts values by how many bits they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; BUCKETS],
    labels: PhantomData<T>,
}

/// Values that so many percent of the recorded ones do not exceed, rounded up to the next power of
/// two less one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many were recorded.
    pub samples: u64,
    pub p0_1: u64,
    pub p1: u64,
    pub p5: u64,
    pub p10: u64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
}

/// Several histograms, a line each.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    lines: Vec<(String, PercentileStats)>,
}

impl<T> Histogram<T> {
    pub fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            labels: PhantomData,
        }
    }

    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Records the same value so many times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        let bits = (u64::BITS - value.leading_zeros()) as usize;
        if let Some(count) = self.counts.get_mut(bits) {
            *count = count.saturating_add(times);
        }
    }

    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.counts.iter().sum(),
            p0_1: self.not_exceeded_by(1),
            p1: self.not_exceeded_by(10),
            p5: self.not_exceeded_by(50),
            p10: self.not_exceeded_by(100),
            p50: self.not_exceeded_by(500),
            p90: self.not_exceeded_by(900),
            p99: self.not_exceeded_by(990),
            p99_9: self.not_exceeded_by(999),
        }
    }

    /// The largest value of the bucket in which so many thousandths of all values are reached.
    fn not_exceeded_by(&self, thousandths: u128) -> u64 {
        let all: u128 = self.counts.iter().map(|count| u128::from(*count)).sum();
        let mut seen = 0;
        for (bits, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen * 1000 >= all * thousandths && seen > 0 {
                return largest_of(bits);
            }
        }
        0
    }
}

/// The largest value of so many bits.
fn largest_of(bits: usize) -> u64 {
    let unused = u32::try_from(BUCKETS - 1 - bits).unwrap_or(0);
    u64::MAX.checked_shr(unused).unwrap_or(0)
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl AsciiChart {
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn add<T>(mut self, name: &str, histogram: Histogram<T>) -> Self {
        let line = (name.to_owned(), histogram.percentile_stats());
        self.lines.push(line);
        self
    }
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples,
            p50,
            p90,
            p99,
            p99_9,
            ..
        } = self;
        write!(
            f,
            "{samples} of p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}"
        )
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines
            .iter()
            .try_for_each(|(name, stats)| writeln!(f, "{name}: {stats}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_bounds_of_what_was_recorded() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        histogram.record_n(5, 900);
        histogram.record_n(1000, 100);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p90), (1000, 7, 7));
        assert_eq!(stats.p99, 1023);
    }

    #[test]
    fn the_smallest_and_the_largest_value_have_their_places() {
        let mut histogram = Histogram::<()>::new();
        histogram.record(0);
        assert_eq!(histogram.percentile_stats().p99_9, 0);
        histogram.record(u64::MAX);
        assert_eq!(histogram.percentile_stats().p99_9, u64::MAX);
    }

    #[test]
    fn a_chart_has_a_line_for_each_histogram() {
        let chart = AsciiChart::new().add("a", Histogram::<()>::new());
        let chart = chart.add("b", Histogram::<()>::new());
        assert_eq!(chart.to_string().lines().count(), 2);
    }
}
