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
