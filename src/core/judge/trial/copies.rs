//! Latency of both answers to one request: in how many pairs the canary took longer than it may, against those in which it did not.
//!
//! If the canary, made faster by the tolerance, is no slower than stable, a pair is at least as likely to fall on the one side as
//! on the other, whatever the request cost both. Source: judge.md section 5.7.

use crate::core::{
    judge::{LatencyPolicy, Part, PartEvidence, Test},
    stats::{
        Counts, Numbers,
        histogram::Histogram,
        mixture::HORIZON_BLOCKS,
        rate::{Edge, RatePromote, RateRollback, TAILS_GRID},
    },
};

const EQUAL: Edge = Edge { ratio: 1.0, margin: 0.0 };

/// The tests of copies.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Copies {
    tolerate: i32,
    pass: i32,
    rollback: RateRollback,
    promote: RatePromote,
    seen: Counts,
}

/// Pairs in which the canary took more than `2^(shift/16)` times as long as stable, and those in which it did not. As rates of
/// all pairs, with as many exposures of the one as of the other.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn slower(ratios: &Histogram, shift: i32) -> Counts {
    let n = ratios.total();
    let beyond: u64 = ratios.iter().filter(|(bucket, _)| *bucket > shift).map(|(_, n)| n).sum();
    Counts { canary_events: beyond as f64, stable_events: (n - beyond) as f64, canary: n as f64, stable: n as f64 }
}

impl Copies {
    pub(super) fn new(policy: LatencyPolicy) -> Self {
        Self {
            tolerate: policy.tolerate_buckets,
            pass: policy.pass_buckets,
            rollback: RateRollback::new(EQUAL, &TAILS_GRID, HORIZON_BLOCKS),
            promote: RatePromote::new(EQUAL),
            seen: Counts::default(),
        }
    }

    /// Takes pairs by the bucket of canary over stable.
    pub(super) fn take(&mut self, ratios: &Histogram) {
        let counts = slower(ratios, self.tolerate);
        self.rollback.update(&counts);
        self.promote.update(&slower(ratios, self.pass));
        self.seen.add(&counts);
    }

    pub(super) fn log_e_against(&self) -> f64 {
        self.rollback.log_e()
    }

    pub(super) fn log_e_for(&self) -> f64 {
        self.promote.log_e()
    }

    /// How many pairs.
    pub(super) fn n(&self) -> f64 {
        self.seen.canary
    }

    /// What is told of them; `None` without a pair.
    pub(super) fn part(&self) -> Option<PartEvidence> {
        let seen = &self.seen;
        (seen.canary > 0.0).then(|| PartEvidence {
            part: Part::Copy,
            test: Test::Pairs,
            canary: seen.canary_events / seen.canary,
            stable: seen.stable_events / seen.stable,
            canary_n: seen.canary,
            stable_n: seen.stable,
            canary_events: seen.canary_events,
            stable_events: seen.stable_events,
            weight: None,
            log_e_rollback: Some(self.log_e_against()),
            log_e_promote: Some(self.log_e_for()),
            took: None,
        })
    }
}

impl Numbers for Copies {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.rollback.numbers(visit);
        self.promote.numbers(visit);
        self.seen.numbers(visit);
    }
}
