//! Both answers to one request: the tests that errors and accuracy share.

use crate::core::{
    judge::{Pairs, Part, PartEvidence, Test},
    stats::{
        Numbers,
        mixture::HORIZON_BLOCKS,
        paired::{PairCounts, PairedPromote, PairedRollback},
    },
};

pub(super) const MICRO: f64 = 1e6;

/// Evidence of pairs. It multiplies the evidence of single answers: no answer is in both.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Paired {
    rollback: PairedRollback,
    promote: PairedPromote,
}

impl Paired {
    /// Margins of the mean difference, canary minus stable, in shares of bad answers.
    pub(super) fn new(rollback: f64, promote: f64) -> Self {
        Self { rollback: PairedRollback::new(rollback, HORIZON_BLOCKS), promote: PairedPromote::new(promote) }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn take(&mut self, pairs: &Pairs) {
        let counts = PairCounts {
            canary_worse: pairs.canary_worse_micro as f64 / MICRO,
            stable_worse: pairs.stable_worse_micro as f64 / MICRO,
            n: pairs.n as f64,
        };
        self.rollback.update(&counts);
        self.promote.update(&counts);
    }

    /// All pairs so far.
    pub(super) fn seen(&self) -> PairCounts {
        self.rollback.past()
    }

    pub(super) fn log_e_against(&self) -> f64 {
        if self.seen().n > 0.0 { self.rollback.log_e() } else { 0.0 }
    }

    pub(super) fn log_e_for(&self) -> f64 {
        if self.seen().n > 0.0 { self.promote.log_e() } else { 0.0 }
    }

    /// Shares of pairs in which the canary, and stable, was the worse one; `None` without a pair.
    pub(super) fn shares(&self) -> Option<(f64, f64)> {
        let seen = self.seen();
        (seen.n > 0.0).then(|| (seen.canary_worse / seen.n, seen.stable_worse / seen.n))
    }

    /// What is told of them; `None` without a pair.
    pub(super) fn part(&self) -> Option<PartEvidence> {
        let (canary, stable) = self.shares()?;
        let seen = self.seen();
        Some(PartEvidence {
            part: Part::Rate,
            test: Test::Pairs,
            canary,
            stable,
            canary_n: seen.n,
            stable_n: seen.n,
            canary_events: seen.canary_worse,
            stable_events: seen.stable_worse,
            weight: None,
            log_e_rollback: Some(self.log_e_against()),
            log_e_promote: Some(self.log_e_for()),
            took: None,
        })
    }
}

impl Numbers for Paired {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.rollback.numbers(visit);
        self.promote.numbers(visit);
    }
}
