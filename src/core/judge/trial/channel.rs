//! One kind of latency: its tests, what they are held against, and what is shown of it.

use crate::core::{
    judge::{Arm, LatencyPolicy, Mode, Part, PartEvidence, Quantile, Streams, Test, Took, Unit},
    stats::{
        Numbers,
        histogram::{Histogram, bucket_bound_ms},
        latency::{LatencyPromote, LatencyRollback, RANKS_WEIGHT},
        mixture::HORIZON_BLOCKS,
        reference::Reference,
        window::Window,
    },
};
use std::sync::Arc;

/// What is timed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Timed {
    Answer,
    FirstToken,
    TokenGap,
}

impl Timed {
    pub(super) const ALL: [Self; 3] = [Self::Answer, Self::FirstToken, Self::TokenGap];

    pub(super) fn part(self, quantile: Quantile) -> Part {
        match self {
            Self::Answer => Part::Answer(quantile),
            Self::FirstToken => Part::FirstToken(quantile),
            Self::TokenGap => Part::TokenGap(quantile),
        }
    }

    fn of<'a>(self, answers: &'a Histogram, streams: Option<&'a Streams>) -> Option<&'a Histogram> {
        match self {
            Self::Answer => Some(answers),
            Self::FirstToken => streams.map(|streams| &streams.first_token),
            Self::TokenGap => streams.map(|streams| &streams.token_gap),
        }
    }

    pub(super) fn of_arm(self, arm: &Arm) -> Option<&Histogram> {
        self.of(&arm.latency, arm.streams.as_deref())
    }

    pub(super) fn of_unit(self, unit: &Unit) -> Option<&Histogram> {
        self.of(&unit.latency, unit.streams.as_deref())
    }
}

/// One of the three: its tests and what they are held against.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Channel {
    pub(super) timed: Timed,
    /// Share of the signal's evidence; 0: it is not judged.
    pub(super) weight: f64,
    pub(super) reference: Reference,
    rollback: LatencyRollback,
    promote: [LatencyPromote; 3],
    /// With endpoints, requests must pass, too: a unit shows at most its cap, so that one slow endpoint of eight would be outweighed
    /// by seven that are a little fast.
    promote_requests: Option<[LatencyPromote; 3]>,
    /// What came since the canary is warm, for show.
    pub(super) canary: Histogram,
    pub(super) stable: Histogram,
}

impl Channel {
    pub(super) fn new(timed: Timed, policy: LatencyPolicy, mode: Mode) -> Self {
        let LatencyPolicy { tolerate_buckets, pass_buckets, pass_tail_buckets } = policy;
        let rollback = match mode {
            Mode::Requests | Mode::Users => LatencyRollback::new(tolerate_buckets, HORIZON_BLOCKS),
            Mode::Endpoints => LatencyRollback::of_windows(tolerate_buckets, HORIZON_BLOCKS),
        };
        let promote = [(0.5, pass_buckets), (0.9, pass_buckets), (0.99, pass_tail_buckets)]
            .map(|(q, shift)| LatencyPromote::new(q, shift));
        Self {
            timed,
            weight: 0.0,
            reference: Reference::default(),
            rollback,
            promote_requests: (mode == Mode::Endpoints).then(|| promote.clone()),
            promote,
            canary: Histogram::default(),
            stable: Histogram::default(),
        }
    }

    fn judges(&self) -> bool {
        self.weight > 0.0 && self.reference.is_ready()
    }

    pub(super) fn judge(&mut self, canary: &Histogram, stable: &Histogram) {
        if self.judges() && canary.total() > 0 && stable.total() > 0 {
            let distribution = self.reference.distribution();
            self.rollback.update(canary, stable, &distribution);
            for test in &mut self.promote {
                test.update(canary, stable, &self.reference, &distribution);
            }
        }
    }

    pub(super) fn judge_window(&mut self, window: &Window<'_>) {
        if self.judges() {
            let distribution = self.reference.distribution();
            self.rollback.update_window(window, &distribution);
            for test in &mut self.promote {
                test.update_window(window, &self.reference, &distribution);
            }
        }
    }

    /// Takes requests whose window is judged later, against what stable's latency was before that window.
    pub(super) fn judge_requests(&mut self, canary: &Histogram, stable: &Histogram) {
        if self.judges() && canary.total() > 0 && stable.total() > 0 {
            let distribution = self.reference.distribution();
            for test in self.promote_requests.iter_mut().flatten() {
                test.update(canary, stable, &self.reference, &distribution);
            }
        }
    }

    pub(super) fn log_e_against(&self) -> f64 {
        self.rollback.log_e()
    }

    /// Every test that must pass, by where it looks.
    fn log_e_promote(&self) -> impl Iterator<Item = (Quantile, f64)> {
        let tests = self.promote.iter().chain(self.promote_requests.iter().flatten());
        tests.map(|test| (quantile(test.quantile()), test.log_e()))
    }

    /// The smallest of them: a canary must be fast enough everywhere.
    pub(super) fn log_e_for(&self) -> f64 {
        self.log_e_promote().map(|(_, log_e)| log_e).fold(f64::INFINITY, f64::min)
    }

    /// The numbers of the tests that evidence of version 2 has not.
    pub(super) fn numbers_of_requests(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.promote_requests.iter_mut().flatten().for_each(|test| test.numbers(visit));
    }

    pub(super) fn parts(&self, test: Test) -> Vec<PartEvidence> {
        let ranks = std::iter::once((Quantile::Ranks, RANKS_WEIGHT, self.rollback.log_e_ranks()));
        let tails = self.rollback.log_e_tails().map(|(q, weight, log_e)| (quantile(q), weight, log_e));
        let against: Vec<_> = ranks.chain(tails).collect();
        let pro =
            |q: Quantile| self.log_e_promote().filter(|(at, _)| *at == q).map(|(_, log_e)| log_e).reduce(f64::min);
        let value = |histogram: &Histogram, q: Quantile| histogram.quantile(q.share()).map_or(0.0, bucket_bound_ms);
        let asked = [Quantile::Ranks, Quantile::P50, Quantile::P90, Quantile::P99, Quantile::P999];
        let took = Arc::new(Took { canary: self.canary.clone(), stable: self.stable.clone() });
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let part = |q: Quantile| {
            let found = against.iter().find(|(of, ..)| *of == q);
            let (log_e_rollback, log_e_promote) = (found.map(|(.., log_e)| *log_e), pro(q));
            (log_e_rollback.is_some() || log_e_promote.is_some()).then(|| PartEvidence {
                part: self.timed.part(q),
                test,
                canary: value(&self.canary, q),
                stable: value(&self.stable, q),
                canary_n: self.canary.total() as f64,
                stable_n: self.stable.total() as f64,
                canary_events: 0.0,
                stable_events: 0.0,
                weight: Some(self.weight * found.map_or(0.0, |(_, weight, _)| *weight)),
                log_e_rollback,
                log_e_promote,
                took: Some(took.clone()),
            })
        };
        asked.into_iter().filter_map(part).collect()
    }
}

fn quantile(q: f64) -> Quantile {
    match q {
        q if q < 0.7 => Quantile::P50,
        q if q < 0.95 => Quantile::P90,
        q if q < 0.995 => Quantile::P99,
        _ => Quantile::P999,
    }
}

impl Numbers for Channel {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        visit(&mut self.weight);
        self.reference.numbers(visit);
        self.rollback.numbers(visit);
        self.promote.iter_mut().for_each(|test| test.numbers(visit));
        self.canary.numbers(visit);
        self.stable.numbers(visit);
    }
}
