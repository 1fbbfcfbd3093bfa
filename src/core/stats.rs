//! The statistics, one test a file: claim, assumption, formula, source.
//!
//! Every test is a product of per-block factors whose mean under its null is at most one, whatever happened before; so its
//! logarithm may be looked at after every block, and by Ville's inequality it ever reaches `ln(1/alpha)` with probability
//! at most alpha. Blocks hold only counts, so the counts of several replicas may be added first.

pub mod bernoulli;
pub mod coverage;
pub mod disagreement;
pub mod endpoint;
pub mod histogram;
pub mod latency;
pub mod logs;
pub mod mixture;
pub mod paired;
pub mod rate;
pub mod reference;
pub mod sample_ratio;
pub mod siblings;
pub mod window;

/// Shows every number of a test's state to a visitor, in a fixed order: how evidence is saved and brought back, bit for bit.
pub trait Numbers {
    /// Calls `visit` with each number.
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64));
}

/// Exposures and events of one block: `events` among `n` of the canary, and of stable. Events may be fractions (scores).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Counts {
    /// Bad events of the canary.
    pub canary_events: f64,
    /// Bad events of stable.
    pub stable_events: f64,
    /// Exposures of the canary.
    pub canary: f64,
    /// Exposures of stable.
    pub stable: f64,
}

impl Counts {
    /// Whether both variants were exposed: a block without that tells nothing.
    #[must_use]
    pub fn tells(&self) -> bool {
        self.canary > 0.0 && self.stable > 0.0
    }

    /// The canary's share of the exposures.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.canary / (self.canary + self.stable)
    }

    /// Adds another block to the sums.
    pub fn add(&mut self, other: &Self) {
        self.canary_events += other.canary_events;
        self.stable_events += other.stable_events;
        self.canary += other.canary;
        self.stable += other.stable;
    }

    /// Stable's rate so far, half an event better than nothing: `(B + 1/2) / (n + 1)`.
    #[must_use]
    pub fn stable_rate(&self) -> f64 {
        (self.stable_events + 0.5) / (self.stable + 1.0)
    }
}

impl Numbers for Counts {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        for number in [&mut self.canary_events, &mut self.stable_events, &mut self.canary, &mut self.stable] {
            visit(number);
        }
    }
}
