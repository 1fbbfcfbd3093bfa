//! What keeps a verdict from resting on sand.

use crate::core::{
    judge::{Guard, GuardEvidence, GuardState, LabelBlock, Mode, Pairs, Policy, RequestBlock},
    stats::{Numbers, coverage::Coverage, sample_ratio::SampleRatio},
};

/// Chance of holding a release for a split, or for labels, that are right.
const ALPHA: f64 = 0.001;
/// A stable variant that fails more often than this is nothing to compare with.
const STABLE_ERRORS_MAX: f64 = 0.5;
/// What is kept of the past per block when stable's health is looked at: it is about now, not about the whole release.
const HEALTH_DECAY: f64 = 0.95;
/// Stable's health is not told from less than this much.
const HEALTH_MIN: f64 = 20.0;

/// Shares that wait until requests of their time may be labelled; past so many the oldest counts early, which makes the guard
/// slower and never wrong.
const UNRIPE_MAX: usize = 8;

/// A share is not learnt from fewer draws.
const DRAWN_MIN: f64 = 500.0;

/// What the guards have seen.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Guards {
    split: SampleRatio,
    coverage: Coverage,
    /// Shares with which requests are served that are too young to be labelled, and when the first of them is old enough, oldest
    /// first; 0 is none.
    unripe: [[f64; 2]; UNRIPE_MAX],
    /// When the last block of requests was looked at; the first request of the next one came after it.
    looked_ms: f64,
    /// Draws so far: `[canary, stable]`.
    drawn: [f64; 2],
    /// Stable's requests and errors of late.
    health: [f64; 2],
    /// Whether the canary has warmed up. 0 or 1.
    warm: f64,
}

/// What the guards of a trial are asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) policy: &'a Policy,
    pub(super) mode: Mode,
    /// Canary requests; and what a verdict rests on: those, or pairs while there is none.
    pub(super) canary: f64,
    pub(super) samples: f64,
    pub(super) canary_labels: f64,
    /// The most evidence that an endpoint is not like the others, and where that names it; whether one is named, and whether it
    /// is why nothing can be said.
    pub(super) alike: (f64, f64),
    pub(super) differ: bool,
    pub(super) differ_holds: bool,
}

impl Guards {
    /// Takes finished requests. `before`: the canary's, before this block. Whether the canary is warm.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn take_requests(&mut self, block: &RequestBlock, at_ms: u64, policy: &Policy, before: f64) -> bool {
        let draws = [block.canary.assigned, block.stable.assigned];
        for (sum, n) in self.drawn.iter_mut().zip(draws) {
            *sum += n as f64;
        }
        let [canary, stable] = self.drawn;
        if let Some(share) = block.share {
            self.split.update(block.canary.assigned, block.stable.assigned, share);
            self.served(share, policy);
        } else if canary + stable >= DRAWN_MIN {
            // Where nobody says what the share is, what it was must do.
            self.served(canary / (canary + stable), policy);
        }
        self.looked_ms = at_ms as f64;
        let [n, errors] = &mut self.health;
        *n = *n * HEALTH_DECAY + block.stable.completed as f64;
        *errors = *errors * HEALTH_DECAY + block.stable.errors as f64;
        let warm = !block.warming_up && before >= policy.warmup_requests as f64;
        self.warm = f64::from(u8::from(warm));
        warm
    }

    /// Requests are being served with this share: of the first one those that are labelled are; of a later one only those that are
    /// old enough are compared with labels. Source: judge.md section 5.3.
    #[allow(clippy::cast_precision_loss, reason = "a delay in milliseconds stays far below 2^53")]
    fn served(&mut self, share: f64, policy: &Policy) {
        let delay_ms = policy.accuracy.map_or(0, |accuracy| accuracy.label_delay_ms) as f64;
        let waiting = self.unripe.iter().filter(|[share, _]| *share > 0.0).count();
        if delay_ms <= 0.0 || !self.coverage.has_served() {
            self.coverage.served(share);
            return;
        }
        // Between shares of before it says nothing new.
        let mut known = self.coverage.clone();
        self.unripe.iter().for_each(|[share, _]| known.served(*share));
        if share <= 0.0 || known.has_served_with(share) {
            return;
        }
        if waiting == UNRIPE_MAX {
            self.ripen_first();
        }
        if let Some(slot) = self.unripe.iter_mut().find(|[share, _]| *share <= 0.0) {
            *slot = [share, self.looked_ms + delay_ms];
        }
    }

    fn ripen_first(&mut self) {
        let [[share, _], ..] = &mut self.unripe;
        self.coverage.served(std::mem::take(share));
        self.unripe.rotate_left(1);
    }

    /// What requests are old enough at this moment.
    #[allow(clippy::cast_precision_loss, reason = "a time in milliseconds stays far below 2^53")]
    pub(super) fn ripen(&mut self, at_ms: u64) {
        let is_ripe = |[[share, at], ..]: &[[f64; 2]; UNRIPE_MAX]| *share > 0.0 && *at <= at_ms as f64;
        while is_ripe(&self.unripe) {
            self.ripen_first();
        }
    }

    pub(super) fn is_warm(&self) -> bool {
        self.warm > 0.5
    }

    /// Takes labels. Those of pairs are about requests that stable served.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn take_labels(&mut self, labels: &LabelBlock, pairs: Option<&Pairs>) {
        let paired = pairs.map_or(0, |pairs| pairs.n);
        self.coverage.update(labels.canary as f64, (labels.stable + paired) as f64);
    }

    pub(super) fn log_e_split(&self) -> f64 {
        self.split.log_e()
    }

    /// Whether draws fall otherwise than configured. With users that is no news: one who asks much is drawn once.
    pub(super) fn split_holds(&self, mode: Mode) -> bool {
        mode != Mode::Users && self.split.log_e() >= -ALPHA.ln()
    }

    pub(super) fn coverage_holds(&self) -> bool {
        self.coverage.log_e() >= -ALPHA.ln()
    }

    /// Stable's error rate of late.
    fn stable_errors(&self) -> f64 {
        let [n, errors] = self.health;
        if n >= HEALTH_MIN { errors / n } else { 0.0 }
    }

    pub(super) fn stable_is_unhealthy(&self) -> bool {
        self.stable_errors() > STABLE_ERRORS_MAX
    }

    /// All of them, in their order.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn told(&self, facts: &Facts<'_>) -> Vec<GuardEvidence> {
        let holds = |it: bool| if it { GuardState::Holds } else { GuardState::Good };
        let warns = |it: bool| if it { GuardState::Warns } else { GuardState::Good };
        let policy = facts.policy;
        let (split, coverage) = (self.split.log_e(), self.coverage.log_e());
        let split_state =
            if facts.mode == Mode::Users { warns(split >= -ALPHA.ln()) } else { holds(split >= -ALPHA.ln()) };
        let labels = policy.accuracy.is_some();
        let unlabelled = labels && facts.canary_labels < 1.0;
        let delay_ms = policy.accuracy.map_or(0, |accuracy| accuracy.label_delay_ms) as f64;
        let all = [
            (
                Guard::WarmUp,
                warns(policy.latency.is_some() && !self.is_warm()),
                facts.canary,
                policy.warmup_requests as f64,
            ),
            (
                Guard::Samples,
                holds(facts.samples < policy.requests_min as f64),
                facts.samples,
                policy.requests_min as f64,
            ),
            (Guard::SampleRatio, split_state, split, -ALPHA.ln()),
            (Guard::LabelCoverage, holds(labels && self.coverage_holds()), coverage, -ALPHA.ln()),
            (Guard::StableHealth, holds(self.stable_is_unhealthy()), self.stable_errors(), STABLE_ERRORS_MAX),
            (Guard::LabelsMissing, holds(unlabelled), facts.canary_labels, 1.0),
            (Guard::LabelDelay, warns(unlabelled && delay_ms > 0.0), delay_ms, delay_ms),
            (
                Guard::Endpoints,
                if facts.differ_holds { GuardState::Holds } else { warns(facts.differ) },
                facts.alike.0,
                facts.alike.1,
            ),
        ];
        all.into_iter().map(|(guard, state, value, limit)| GuardEvidence { guard, state, value, limit }).collect()
    }
}

impl Numbers for Guards {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.split.numbers(visit);
        self.coverage.numbers(visit);
        self.unripe.iter_mut().flatten().for_each(&mut *visit);
        visit(&mut self.looked_ms);
        self.drawn.iter_mut().chain(&mut self.health).for_each(&mut *visit);
        visit(&mut self.warm);
    }
}
