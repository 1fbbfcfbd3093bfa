//! What is supposed of a test's future, and how that becomes counts that it can take.

use super::{Ahead, Luck};
use crate::core::stats::{
    Counts,
    bernoulli::{BernoulliPromote, BernoulliRollback},
    latency::{LatencyPromote, LatencyRollback},
    paired::{PairCounts, PairedPromote, PairedRollback},
    rate::{RatePromote, RateRollback},
    reference::{Distribution, Reference},
};

/// A test of events among exposures. Counts may be fractions.
pub trait Counting: Clone {
    /// Takes a block.
    fn take(&mut self, block: &Counts);
    /// Natural log of the evidence.
    fn evidence(&self) -> f64;
}

macro_rules! counting {
    ($($test:ty: $take:expr;)*) => {
        $(impl Counting for $test {
            fn take(&mut self, block: &Counts) {
                let take: fn(&mut Self, &Counts) = $take;
                take(self, block);
            }

            fn evidence(&self) -> f64 {
                self.log_e()
            }
        })*
    };
}

counting! {
    RateRollback: Self::update;
    RatePromote: Self::update;
    BernoulliRollback: Self::update;
    BernoulliPromote: |test, block| test.update(block, None);
    PairedRollback: |test, block| test.update(&pairs(block));
    PairedPromote: |test, block| test.update(&pairs(block));
}

/// Pairs as exposures of the canary: "only the canary worse" are its events, "only stable worse" stable's.
fn pairs(block: &Counts) -> PairCounts {
    PairCounts { canary_worse: block.canary_events, stable_worse: block.stable_events, n: block.canary }
}

/// What is supposed to be true.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Supposed {
    /// Chance of an event of a canary exposure.
    pub canary: f64,
    /// ... of a stable one.
    pub stable: f64,
    /// Stable exposures per canary exposure; of pairs 1.
    pub stable_per_canary: f64,
}

impl Supposed {
    fn block(&self, canary: f64, luck: Luck) -> Counts {
        let stable = canary * self.stable_per_canary;
        let events = |n: f64, p: f64, deviation: f64| (n * p + deviation).clamp(0.0, n);
        let spread = |p: f64, per: f64| (p * (1.0 - p) * per).max(0.0).sqrt();
        Counts {
            canary_events: events(canary, self.canary, luck.canary * spread(self.canary, 1.0)),
            stable_events: events(stable, self.stable, luck.stable * spread(self.stable, self.stable_per_canary)),
            canary,
            stable,
        }
    }
}

/// A test of events and the rates that are supposed.
#[derive(Clone, PartialEq, Debug)]
pub struct Supposing<T> {
    /// The test as it stands.
    pub test: T,
    /// The truth from now on.
    pub supposed: Supposed,
}

impl<T: Counting> Ahead for Supposing<T> {
    fn push(&mut self, canary: f64, luck: Luck) {
        self.test.take(&self.supposed.block(canary, luck));
    }

    fn grown(&self) -> f64 {
        self.test.evidence()
    }
}

/// Latency of a canary that is `by` buckets slower than stable has been, everywhere.
#[derive(Clone, PartialEq, Debug)]
pub struct Slower<'a, T> {
    test: T,
    reference: &'a Reference,
    distribution: &'a Distribution,
    by: i32,
    stable_per_canary: f64,
}

impl<'a, T> Slower<'a, T> {
    /// `test` as it stands, against what stable's latency has been.
    pub fn new(
        test: T,
        (reference, distribution): (&'a Reference, &'a Distribution),
        by: i32,
        stable_per_canary: f64,
    ) -> Self {
        Self { test, reference, distribution, by, stable_per_canary }
    }

    /// `n` latencies, `by` buckets slower than the reference; with luck those of high rank are more, those of low rank fewer:
    /// the ranks' spread is that of a uniform number in -1..1.
    fn latencies(&self, n: f64, by: i32, luck: f64) -> Vec<(i32, f64)> {
        let tilt = if n > 0.0 { luck * 3.0_f64.sqrt() / n } else { 0.0 };
        let of = |(bucket, share): (i32, f64)| {
            let more = 1.0 + (tilt * self.distribution.mid_rank(bucket)).clamp(-0.9, 0.9);
            (bucket + by, n * share * more)
        };
        self.distribution.shares().map(of).collect()
    }
}

impl Ahead for Slower<'_, LatencyRollback> {
    fn push(&mut self, canary: f64, luck: Luck) {
        let per = self.stable_per_canary;
        let slow = self.latencies(canary, self.by, luck.canary);
        let stable = self.latencies(canary * per, 0, luck.stable * per.sqrt());
        self.test.update_shares(&slow, &stable, self.distribution);
    }

    fn grown(&self) -> f64 {
        self.test.log_e()
    }
}

impl Ahead for Slower<'_, LatencyPromote> {
    fn push(&mut self, canary: f64, luck: Luck) {
        let bucket = self.distribution.quantile(self.test.quantile());
        let beyond = |bucket: i32| self.reference.share_above(bucket);
        let supposed = Supposed {
            canary: beyond(bucket + self.test.shift() - self.by),
            stable: beyond(bucket),
            stable_per_canary: self.stable_per_canary,
        };
        self.test.update_counts(&supposed.block(canary, luck), self.reference, bucket);
    }

    fn grown(&self) -> f64 {
        self.test.log_e()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stats::histogram::Histogram;

    /// A hundred in bucket 10, two hundred in 20, a hundred in 24: mid-ranks -0.75, 0 and 0.75.
    fn reference() -> Reference {
        let mut histogram = Histogram::default();
        [(10, 100), (20, 200), (24, 100)].into_iter().for_each(|(bucket, n)| histogram.add(bucket, n));
        let mut reference = Reference::default();
        reference.learn(&histogram);
        reference
    }

    fn near(is: &[(i32, f64)], expected: &[(i32, f64)]) {
        assert_eq!(is.len(), expected.len());
        for ((bucket, n), (at, m)) in is.iter().zip(expected) {
            assert!(bucket == at && (n - m).abs() < 1e-9, "{is:?}, not {expected:?}");
        }
    }

    #[test]
    fn a_slower_canary_shows_stables_latencies_further_up_and_with_bad_luck_more_of_the_slow_ones() {
        let reference = reference();
        let distribution = reference.distribution();
        let slower = Slower::new(LatencyRollback::new(1, 10), (&reference, &distribution), 3, 4.0);
        near(&slower.latencies(8.0, 3, 0.0), &[(13, 2.0), (23, 4.0), (27, 2.0)]);
        // 2 x sqrt 3 / 8 x 0.75 = 0.3248 more of the last, as much less of the first.
        let more = 2.0 * 3.0_f64.sqrt() / 8.0 * 0.75;
        near(&slower.latencies(8.0, 3, 2.0), &[(13, 2.0 - 2.0 * more), (23, 4.0), (27, 2.0 + 2.0 * more)]);
        // Never fewer than a tenth, however bad the luck.
        near(&slower.latencies(8.0, 0, 100.0), &[(10, 0.2), (20, 4.0), (24, 3.8)]);
        near(&slower.latencies(0.0, 0, 0.0), &[(10, 0.0), (20, 0.0), (24, 0.0)]);
    }

    #[test]
    fn the_rank_test_is_given_the_canarys_latencies_and_stables_with_their_own_luck() {
        let reference = reference();
        let distribution = reference.distribution();
        let mut slower = Slower::new(LatencyRollback::new(1, 10), (&reference, &distribution), 3, 4.0);
        let mut by_hand = LatencyRollback::new(1, 10);
        let more = 2.0 * 3.0_f64.sqrt() / 8.0 * 0.75;
        // Of 4 x 8 stable ones the spread is twice as large.
        let stable_more = 2.0 * 3.0_f64.sqrt() / 32.0 * 0.75;
        by_hand.update_shares(
            &[(13, 2.0 - 2.0 * more), (23, 4.0), (27, 2.0 + 2.0 * more)],
            &[(10, 8.0 - 8.0 * stable_more), (20, 16.0), (24, 8.0 + 8.0 * stable_more)],
            &distribution,
        );
        slower.push(8.0, Luck { canary: 2.0, stable: 1.0 });
        assert!(slower.grown() > 0.1 && (slower.grown() - by_hand.log_e()).abs() < 1e-12, "{}", slower.grown());
    }

    #[test]
    fn promotion_counts_what_is_beyond_stables_quantile_after_what_is_allowed() {
        let reference = reference();
        let distribution = reference.distribution();
        // The median is in bucket 20; four buckets are allowed and one is used up: above 23 lies a quarter, above 20 too.
        let mut slower = Slower::new(LatencyPromote::new(0.5, 4), (&reference, &distribution), 1, 9.0);
        let quarter = 100.5 / 401.0;
        let mut by_hand = LatencyPromote::new(0.5, 4);
        let counts =
            Counts { canary_events: 80.0 * quarter, stable_events: 720.0 * quarter, canary: 80.0, stable: 720.0 };
        by_hand.update_counts(&counts, &reference, 20);
        slower.push(80.0, Luck::default());
        assert!(slower.grown().abs() > 0.1 && (slower.grown() - by_hand.log_e()).abs() < 1e-12, "{}", slower.grown());
    }

    #[test]
    fn what_is_supposed_becomes_counts_with_luck_in_deviations_of_one_exposure() {
        let supposed = Supposed { canary: 0.2, stable: 0.05, stable_per_canary: 4.0 };
        let block = |canary, stable| {
            let Counts { canary_events, stable_events, canary, stable } = supposed.block(10.0, Luck { canary, stable });
            assert!((canary - 10.0).abs() < 1e-12 && (stable - 40.0).abs() < 1e-12);
            (canary_events, stable_events)
        };
        let near = |is: (f64, f64), expected: (f64, f64)| {
            assert!((is.0 - expected.0).abs() < 1e-9 && (is.1 - expected.1).abs() < 1e-9, "{is:?}, not {expected:?}");
        };
        near(block(0.0, 0.0), (2.0, 2.0));
        // One deviation is sqrt(0.2 x 0.8) = 0.4, and of four stable ones sqrt(4 x 0.05 x 0.95) = 0.43589.
        near(block(1.0, 1.0), (2.4, 2.435_889_894));
        near(block(-1.0, -1.0), (1.6, 1.564_110_106));
        near(block(-9.0, 90.0), (0.0, 40.0));
    }
}
