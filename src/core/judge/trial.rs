//! The evidence of one attempt at a release, block by block, and the verdict it allows.
//!
//! Rollback: a weighted mean of the signals' e-values reaches `1/alpha`. Promotion: every signal's non-inferiority e-value
//! reaches `1/alpha_promote`. A fail is final; a pass holds until a fail. Source: judge.md section 5.5.

use super::{
    Block, Evidence, LabelBlock, Mode, Policy, Reason, RequestBlock, Signal, SignalEvidence, Test, Verdict,
    evidence::NO_SMOKE,
};
use crate::core::stats::{
    Counts, Numbers,
    bernoulli::{BernoulliPromote, BernoulliRollback},
    histogram::{Histogram, bucket_bound_ms},
    latency::{LatencyPromote, LatencyRollback},
    logs::log_mix,
    mixture::HORIZON_BLOCKS,
    rate::{ERRORS_GRID, Edge, RatePromote, RateRollback},
    reference::Reference,
    sample_ratio::SampleRatio,
};

/// Chance of holding a release for a split that is right.
const ALPHA_SPLIT: f64 = 0.001;
/// A stable variant that fails more often than this is nothing to compare with.
const STABLE_ERRORS_MAX: f64 = 0.5;
const MICRO: f64 = 1e6;

/// The tests of one attempt. Its policy is the one it began with: weights are fixed before the start.
#[derive(Clone, PartialEq, Debug)]
pub struct Trial {
    policy: Policy,
    errors: RateRollback,
    errors_promote: RatePromote,
    accuracy: BernoulliRollback,
    accuracy_promote: BernoulliPromote,
    latency: LatencyRollback,
    latency_promote: [LatencyPromote; 3],
    reference: Reference,
    split: SampleRatio,
    requests: Counts,
    labels: Counts,
    canary_latency: Histogram,
    stable_latency: Histogram,
    /// 0: none yet, 1: passed, 2 and on: failed by that signal.
    verdict: f64,
}

impl Trial {
    /// A trial that has seen nothing.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let defaults = Policy::default();
        let errors = policy.errors.or(defaults.errors);
        let latency = policy.latency.or(defaults.latency);
        let accuracy = policy.accuracy.or(defaults.accuracy);
        let edge = |ratio, margin| Edge { ratio, margin };
        let (rise, pass) = errors
            .map_or((edge(1.0, 0.0), edge(1.0, 0.0)), |e| (edge(1.0, e.may_rise), edge(e.pass_ratio, e.pass_margin)));
        let (tolerate, middle, tail) =
            latency.map_or((0, 0, 0), |l| (l.tolerate_buckets, l.pass_buckets, l.pass_tail_buckets));
        let (worse, drop) = accuracy.map_or((0.0, 0.0), |a| (a.tolerate, a.may_drop));
        Self {
            policy: policy.clone(),
            errors: RateRollback::new(rise, &ERRORS_GRID, HORIZON_BLOCKS),
            errors_promote: RatePromote::new(pass),
            accuracy: BernoulliRollback::new(edge(1.0, worse), HORIZON_BLOCKS),
            accuracy_promote: BernoulliPromote::new(edge(1.0, drop)),
            latency: LatencyRollback::new(tolerate, HORIZON_BLOCKS),
            latency_promote: [(0.5, middle), (0.9, middle), (0.99, tail)]
                .map(|(q, shift)| LatencyPromote::new(q, shift)),
            reference: Reference::default(),
            split: SampleRatio::default(),
            requests: Counts::default(),
            labels: Counts::default(),
            canary_latency: Histogram::default(),
            stable_latency: Histogram::default(),
            verdict: 0.0,
        }
    }

    /// A trial of `policy` with the evidence that [`Self::saved`] gave; `None` if the numbers are not of this shape.
    #[must_use]
    pub fn restored(policy: &Policy, bits: &[u64]) -> Option<Self> {
        let mut trial = Self::new(policy);
        let mut rest = bits.iter();
        let mut short = false;
        trial.numbers(&mut |number| match rest.next() {
            Some(bits) => *number = f64::from_bits(*bits),
            None => short = true,
        });
        (!short && rest.next().is_none()).then_some(trial)
    }

    /// Every number of the evidence, as the bits of a float.
    #[must_use]
    pub fn saved(&self) -> Vec<u64> {
        let mut bits = Vec::new();
        self.clone().numbers(&mut |number| bits.push(number.to_bits()));
        bits
    }

    /// Takes a block and says what is to be said now.
    pub fn observe(&mut self, block: &Block) -> Verdict {
        if let Some(requests) = &block.requests {
            self.take_requests(requests);
        }
        if let Some(labels) = &block.labels {
            self.take_labels(labels);
        }
        self.decide()
    }

    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn take_requests(&mut self, block: &RequestBlock) {
        let counts = Counts {
            canary_events: block.canary.errors as f64,
            stable_events: block.stable.errors as f64,
            canary: block.canary.completed as f64,
            stable: block.stable.completed as f64,
        };
        if let Some(share) = block.share {
            self.split.update(block.canary.assigned, block.stable.assigned, share);
        }
        self.errors.update(&counts);
        self.errors_promote.update(&counts);
        let warm = !block.warming_up && self.requests.canary >= self.policy.warmup_requests as f64;
        let (canary, stable) = (&block.canary.latency, &block.stable.latency);
        if warm {
            if self.reference.is_ready() && canary.total() > 0 && stable.total() > 0 {
                let distribution = self.reference.distribution();
                self.latency.update(canary, stable, &distribution);
                for test in &mut self.latency_promote {
                    test.update(canary, stable, &self.reference, &distribution);
                }
            }
            self.canary_latency.merge(canary);
            self.stable_latency.merge(stable);
        }
        // Learnt after it was judged by; while the canary warms up, stable's latency is learnt all the same.
        self.reference.learn(stable);
        self.requests.add(&counts);
    }

    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn take_labels(&mut self, block: &LabelBlock) {
        let counts = Counts {
            canary_events: block.canary_wrong_micro as f64 / MICRO,
            stable_events: block.stable_wrong_micro as f64 / MICRO,
            canary: block.canary as f64,
            stable: block.stable as f64,
        };
        self.accuracy.update(&counts);
        self.accuracy_promote.update(&counts, None);
        self.labels.add(&counts);
    }

    /// `(signal, weight)` of those that are on. What a signal that is off would weigh goes to the others.
    fn weights(&self) -> Vec<(Signal, f64)> {
        let all = [
            (Signal::Errors, 0.4, self.policy.errors.is_some()),
            (Signal::Latency, 0.3, self.policy.latency.is_some()),
            (Signal::Accuracy, 0.3, self.policy.accuracy.is_some()),
        ];
        let sum: f64 = all.iter().filter(|(.., on)| *on).map(|(_, weight, _)| weight).sum();
        all.iter().filter(|(.., on)| *on).map(|(signal, weight, _)| (*signal, weight / sum)).collect()
    }

    fn log_e_against(&self, signal: Signal) -> f64 {
        match signal {
            Signal::Errors => self.errors.log_e(),
            Signal::Latency => self.latency.log_e(),
            Signal::Accuracy => self.accuracy.log_e(),
            Signal::Disagreement => 0.0,
        }
    }

    fn log_e_for(&self, signal: Signal) -> f64 {
        match signal {
            Signal::Errors => self.errors_promote.log_e(),
            Signal::Latency => self.latency_promote.iter().map(LatencyPromote::log_e).fold(f64::INFINITY, f64::min),
            Signal::Accuracy => self.accuracy_promote.log_e(),
            Signal::Disagreement => 0.0,
        }
    }

    /// Natural log of the combined e-value against the canary; minus infinity with every signal off.
    #[must_use]
    pub fn log_e_rollback(&self) -> f64 {
        let terms: Vec<_> =
            self.weights().into_iter().map(|(signal, weight)| (weight, self.log_e_against(signal))).collect();
        log_mix(&terms)
    }

    /// Natural log of the e-value against the configured split.
    #[must_use]
    pub fn log_e_split(&self) -> f64 {
        self.split.log_e()
    }

    fn decide(&mut self) -> Verdict {
        let verdict = self.verdict();
        self.verdict = match verdict {
            Verdict::Fail(signal) => 2.0 + f64::from(signal as u8),
            Verdict::Pass => 1.0,
            Verdict::Undecided(_) => 0.0,
        };
        verdict
    }

    /// What the evidence allows to say.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn verdict(&self) -> Verdict {
        let weights = self.weights();
        let code = |signal: Signal| 2.0 + f64::from(signal as u8);
        let failed = |signal: Signal| (self.verdict - code(signal)).abs() < 0.5;
        if let Some((signal, _)) = weights.iter().find(|(signal, _)| failed(*signal)) {
            return Verdict::Fail(*signal);
        }
        if self.requests.canary <= 0.0 {
            return Verdict::Undecided(Reason::NoData);
        }
        if self.requests.canary < self.policy.requests_min as f64 {
            return Verdict::Undecided(Reason::LowSamples);
        }
        let log_e = self.log_e_rollback();
        if log_e >= -self.policy.alpha.ln() {
            let of = |(signal, weight): &(Signal, f64)| weight.ln() + self.log_e_against(*signal);
            if let Some((signal, _)) = weights.iter().max_by(|a, b| of(a).total_cmp(&of(b))) {
                return Verdict::Fail(*signal);
            }
        }
        if self.verdict >= 1.0 {
            return Verdict::Pass;
        }
        if self.log_e_split() >= -ALPHA_SPLIT.ln() {
            return Verdict::Undecided(Reason::SplitMismatch);
        }
        if self.requests.stable_events > STABLE_ERRORS_MAX * self.requests.stable {
            return Verdict::Undecided(Reason::StableUnhealthy);
        }
        let at = -self.policy.alpha_promote.ln();
        let lacking: Vec<Signal> =
            weights.iter().map(|(signal, _)| *signal).filter(|signal| self.log_e_for(*signal) < at).collect();
        match lacking.as_slice() {
            [] if log_e < (NO_SMOKE / self.policy.alpha).ln() && !weights.is_empty() => Verdict::Pass,
            [Signal::Accuracy] => Verdict::Undecided(Reason::LabelStarved),
            _ => Verdict::Undecided(Reason::Overlap),
        }
    }

    /// The numbers behind the verdict.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole counts below 2^53")]
    pub fn evidence(&self) -> Evidence {
        let count = |number: f64| number as u64;
        Evidence {
            canary_requests: count(self.requests.canary),
            stable_requests: count(self.requests.stable),
            canary_labels: count(self.labels.canary),
            stable_labels: count(self.labels.stable),
            paired_labels: 0,
            mode: Mode::Requests,
            mode_why: "every request is counted as one observation",
            log_e_rollback: self.log_e_rollback(),
            log_e_rollback_at: -self.policy.alpha.ln(),
            log_e_split: self.log_e_split(),
            signals: self.weights().into_iter().map(|(signal, weight)| self.of_signal(signal, weight)).collect(),
            guards: Vec::new(),
            policy_changed: false,
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole counts below 2^53")]
    fn of_signal(&self, signal: Signal, weight: f64) -> SignalEvidence {
        let share = |events: f64, n: f64| if n > 0.0 { events / n } else { 0.0 };
        let p99 = |histogram: &Histogram| histogram.quantile(0.99).map_or(0.0, bucket_bound_ms);
        let (r, l) = (&self.requests, &self.labels);
        let (canary, stable, canary_n, stable_n, margin) = match signal {
            Signal::Errors => {
                let margin = self.policy.errors.map_or(0.0, |e| e.may_rise);
                let (canary, stable) = (share(r.canary_events, r.canary), share(r.stable_events, r.stable));
                (canary, stable, r.canary as u64, r.stable as u64, margin)
            }
            Signal::Latency => {
                let margin = self.policy.latency.map_or(1.0, |l| bucket_bound_ms(l.tolerate_buckets));
                let (canary, stable) = (&self.canary_latency, &self.stable_latency);
                (p99(canary), p99(stable), canary.total(), stable.total(), margin)
            }
            Signal::Accuracy => {
                let margin = self.policy.accuracy.map_or(0.0, |a| a.tolerate);
                let (canary, stable) =
                    (share(l.canary - l.canary_events, l.canary), share(l.stable - l.stable_events, l.stable));
                (canary, stable, l.canary as u64, l.stable as u64, margin)
            }
            Signal::Disagreement => (0.0, 0.0, 0, 0, 0.0),
        };
        let (canary_events, stable_events) = match signal {
            Signal::Errors => (r.canary_events, r.stable_events),
            Signal::Accuracy => (l.canary_events, l.stable_events),
            Signal::Latency | Signal::Disagreement => (0.0, 0.0),
        };
        let (pass_ratio, pass_margin) = match signal {
            Signal::Errors => self.policy.errors.map_or((1.0, 0.0), |e| (e.pass_ratio, e.pass_margin)),
            Signal::Latency => self
                .policy
                .latency
                .map_or((1.0, 1.0), |l| (bucket_bound_ms(l.pass_buckets), bucket_bound_ms(l.pass_tail_buckets))),
            Signal::Accuracy => (1.0, self.policy.accuracy.map_or(0.0, |a| a.may_drop)),
            Signal::Disagreement => (1.0, 0.0),
        };
        SignalEvidence {
            signal,
            canary,
            stable,
            canary_n,
            stable_n,
            canary_events,
            stable_events,
            margin,
            pass_ratio,
            pass_margin,
            weight,
            log_e_rollback: self.log_e_against(signal),
            log_e_rollback_at: -(self.policy.alpha * weight).ln(),
            test: Test::Requests,
            parts: Vec::new(),
            log_e_promote: self.log_e_for(signal),
            log_e_promote_at: -self.policy.alpha_promote.ln(),
        }
    }
}

impl Numbers for Trial {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        visit(&mut self.verdict);
        self.requests.numbers(visit);
        self.labels.numbers(visit);
        self.errors.numbers(visit);
        self.errors_promote.numbers(visit);
        self.accuracy.numbers(visit);
        self.accuracy_promote.numbers(visit);
        self.latency.numbers(visit);
        self.latency_promote.iter_mut().for_each(|test| test.numbers(visit));
        self.split.numbers(visit);
        self.reference.numbers(visit);
        self.canary_latency.numbers(visit);
        self.stable_latency.numbers(visit);
    }
}
