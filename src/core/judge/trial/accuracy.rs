//! Accuracy: labels about one answer times labels about both answers to a request. A label is in exactly one of the two.

use super::pairs::{MICRO, Paired};
use crate::core::{
    judge::{AccuracyPolicy, LabelBlock, Pairs, Part, PartEvidence, Test},
    stats::{
        Counts, Numbers,
        bernoulli::{BernoulliPromote, BernoulliRollback},
        mixture::HORIZON_BLOCKS,
        rate::Edge,
    },
};

/// The tests of the accuracy signal.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Accuracy {
    rollback: BernoulliRollback,
    promote: BernoulliPromote,
    /// Labels about one answer; events are the wrong ones, scores count what they lack.
    pub(super) labels: Counts,
    pub(super) pairs: Paired,
}

impl Accuracy {
    pub(super) fn new(policy: AccuracyPolicy) -> Self {
        let edge = |margin| Edge { ratio: 1.0, margin };
        Self {
            rollback: BernoulliRollback::new(edge(policy.tolerate), HORIZON_BLOCKS),
            promote: BernoulliPromote::new(edge(policy.may_drop)),
            labels: Counts::default(),
            pairs: Paired::new(policy.tolerate, policy.may_drop),
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn take(&mut self, block: &LabelBlock) {
        let counts = Counts {
            canary_events: block.canary_wrong_micro as f64 / MICRO,
            stable_events: block.stable_wrong_micro as f64 / MICRO,
            canary: block.canary as f64,
            stable: block.stable as f64,
        };
        self.rollback.update(&counts);
        self.promote.update(&counts, None);
        self.labels.add(&counts);
    }

    pub(super) fn take_pairs(&mut self, pairs: &Pairs) {
        self.pairs.take(pairs);
    }

    /// Labels that say something of the canary.
    pub(super) fn canary_labels(&self) -> f64 {
        self.labels.canary + self.pairs.seen().n
    }

    /// Natural log of the e-value against the canary of labels about one answer.
    pub(super) fn log_e_own(&self) -> f64 {
        self.rollback.log_e()
    }

    pub(super) fn log_e_against(&self) -> f64 {
        self.log_e_own() + self.pairs.log_e_against()
    }

    pub(super) fn log_e_for(&self) -> f64 {
        self.promote.log_e() + self.pairs.log_e_for()
    }

    /// Accuracies of the two. While only pairs are labelled: the shares in which each was not the worse one.
    pub(super) fn values(&self) -> (f64, f64) {
        let l = &self.labels;
        let right = |wrong: f64, n: f64| if n > 0.0 { 1.0 - wrong / n } else { 0.0 };
        match self.pairs.shares() {
            Some((canary, stable)) if l.canary <= 0.0 => (1.0 - canary, 1.0 - stable),
            _ => (right(l.canary_events, l.canary), right(l.stable_events, l.stable)),
        }
    }

    pub(super) fn parts(&self) -> Vec<PartEvidence> {
        let l = &self.labels;
        let rate = |events: f64, n: f64| if n > 0.0 { events / n } else { 0.0 };
        let own = PartEvidence {
            part: Part::Rate,
            test: Test::Requests,
            canary: rate(l.canary_events, l.canary),
            stable: rate(l.stable_events, l.stable),
            canary_n: l.canary,
            stable_n: l.stable,
            canary_events: l.canary_events,
            stable_events: l.stable_events,
            weight: Some(1.0),
            log_e_rollback: Some(self.log_e_own()),
            log_e_promote: Some(self.promote.log_e()),
            took: None,
        };
        std::iter::once(own).chain(self.pairs.part()).collect()
    }
}

impl Numbers for Accuracy {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.rollback.numbers(visit);
        self.promote.numbers(visit);
        self.labels.numbers(visit);
        self.pairs.numbers(visit);
    }
}
