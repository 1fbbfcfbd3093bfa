//! Disagreement: how many of a shadow's copies say something else, against a fixed limit.

use crate::core::{
    judge::{DisagreementPolicy, Part, PartEvidence, Test},
    stats::{
        Numbers,
        disagreement::{DisagreementPromote, DisagreementRollback},
    },
};

/// The tests of the disagreement signal.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Disagreement {
    limit: f64,
    rollback: DisagreementRollback,
    promote: DisagreementPromote,
    compared: f64,
    pub(super) disagreed: f64,
}

impl Disagreement {
    pub(super) fn new(policy: DisagreementPolicy) -> Self {
        Self {
            limit: policy.max,
            rollback: DisagreementRollback::new(policy.max),
            promote: DisagreementPromote::new(policy.max),
            compared: 0.0,
            disagreed: 0.0,
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn take(&mut self, compared: u64, disagreed: u64) {
        if compared == 0 {
            return;
        }
        let (k, n) = (disagreed as f64, compared as f64);
        self.rollback.update(k, n);
        self.promote.update(k, n);
        self.compared += n;
        self.disagreed += k;
    }

    pub(super) fn log_e_against(&self) -> f64 {
        self.rollback.log_e()
    }

    pub(super) fn log_e_for(&self) -> f64 {
        self.promote.log_e()
    }

    /// Copies whose answer could be compared.
    pub(super) fn compared(&self) -> f64 {
        self.compared
    }

    /// The share that says something else, and the limit.
    pub(super) fn values(&self) -> (f64, f64) {
        (if self.compared > 0.0 { self.disagreed / self.compared } else { 0.0 }, self.limit)
    }

    pub(super) fn parts(&self) -> Vec<PartEvidence> {
        let (canary, stable) = self.values();
        vec![PartEvidence {
            part: Part::Rate,
            test: Test::Pairs,
            canary,
            stable,
            canary_n: self.compared,
            stable_n: 0.0,
            canary_events: self.disagreed,
            stable_events: 0.0,
            weight: Some(1.0),
            log_e_rollback: Some(self.log_e_against()),
            log_e_promote: Some(self.log_e_for()),
            took: None,
        }]
    }
}

impl Numbers for Disagreement {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.rollback.numbers(visit);
        self.promote.numbers(visit);
        visit(&mut self.compared);
        visit(&mut self.disagreed);
    }
}
