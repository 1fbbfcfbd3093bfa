//! Before a release: how long the judge will need to see which effect, and to pass a canary like stable.
//!
//! The tests of a fresh trial, looked ahead from nothing. What is assumed of the service stands in [`Service`]; effects are sized
//! by what the route says it cares about: once, twice and five times as bad as promotion would just not let pass.

use super::{Ahead, Passage, Slower, Supposed, Supposing, Way, passage, together};
use crate::core::{
    judge::{ErrorsPolicy, Policy, Signal, trial::Trial},
    stats::{
        bernoulli::{BernoulliPromote, BernoulliRollback},
        histogram::{Histogram, bucket_bound_ms, bucket_of_ms},
        latency::{LatencyPromote, LatencyRollback},
        mixture::HORIZON_BLOCKS,
        paired::{PairedPromote, PairedRollback},
        rate::{ERRORS_GRID, Edge, RatePromote, RateRollback},
        reference::Reference,
    },
};

/// How many times as bad as promotion would just not let pass.
pub const FACTORS: [u8; 3] = [1, 2, 5];
/// Canary exposures that are looked ahead at most.
const EXPOSURES_MAX: f64 = 1e7;
/// The assumed latency's median; only ratios matter.
const MEDIAN_MS: f64 = 100.0;
/// z of 99 %.
const Z99: f64 = 2.326_347_874;

/// What is assumed of a service and of its canary's share.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Service {
    /// The canary's share of the requests.
    pub share: f64,
    /// Requests a second, of both variants.
    pub rate: f64,
    /// Share of the requests that get a label.
    pub labelled: f64,
    /// Share of the requests that a shadow answers too.
    pub shadowed: f64,
    /// Stable's error rate.
    pub errors: f64,
    /// Stable's accuracy.
    pub accuracy: f64,
    /// Share of the requests that exactly one of two equal variants gets wrong.
    pub disagree: f64,
    /// p99 of stable's latency over its median.
    pub spread: f64,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Question {
    /// When is a canary rolled back that shows this value? Error rate, accuracy, or the factor by which everything is slower.
    Seen(f64),
    /// When does a canary like stable pass this signal?
    Passed,
}

/// What a test counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Canary requests.
    Requests,
    /// Labels about the canary's answers.
    Labels,
    /// Labels about requests that a shadow answered too.
    Pairs,
}

impl Unit {
    /// The word in the table and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Labels => "labels",
            Self::Pairs => "pairs",
        }
    }
}

/// One answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Of which signal.
    pub signal: Signal,
    /// What was asked.
    pub question: Question,
    /// What is counted.
    pub unit: Unit,
    /// All of these have to be gone.
    ways: Vec<Way>,
    /// No verdict before so many canary requests ...
    requests_min: f64,
    /// ... which takes this long.
    seconds_min: f64,
}

impl Row {
    /// How many of its units until that share of the releases is decided.
    #[must_use]
    pub fn needs(&self, chance: f64) -> Option<f64> {
        let ways: Vec<Way> = self.ways.iter().map(|way| Way { pace: 1.0, wait_s: 0.0, ..way.clone() }).collect();
        let least = if self.unit == Unit::Requests { self.requests_min } else { 0.0 };
        together(&ways, chance).map(|needs| needs.max(least))
    }

    /// How many seconds that takes.
    #[must_use]
    pub fn seconds(&self, chance: f64) -> Option<f64> {
        together(&self.ways, chance).map(|seconds| seconds.max(self.seconds_min))
    }
}

/// The power table of a policy for a service: effects seen by signal and size, then what is passed.
#[must_use]
pub fn plan(policy: &Policy, service: &Service) -> Vec<Row> {
    let planner = Planner::new(policy, service);
    let mut rows = Vec::new();
    let units = [
        (Signal::Errors, Unit::Requests),
        (Signal::Latency, Unit::Requests),
        (Signal::Accuracy, Unit::Labels),
        (Signal::Accuracy, Unit::Pairs),
    ];
    let asked = |(signal, unit): &(Signal, Unit)| planner.asks(*signal, *unit);
    for (signal, unit) in units.into_iter().filter(asked) {
        let values = FACTORS.map(|factor| planner.worse(signal, f64::from(factor)));
        rows.extend(values.map(|value| planner.row(signal, unit, Question::Seen(value))));
    }
    rows.extend(units.into_iter().filter(asked).map(|(signal, unit)| planner.row(signal, unit, Question::Passed)));
    rows
}

/// When that share of canaries like stable has passed every signal; accuracy by single labels, or by pairs. `None` if that takes
/// longer than is looked ahead, or there is nothing to pass.
#[must_use]
pub fn passed(rows: &[Row], accuracy: Unit, chance: f64) -> Option<f64> {
    let other = if accuracy == Unit::Pairs { Unit::Labels } else { Unit::Pairs };
    let counts = |row: &&Row| row.question == Question::Passed && row.unit != other;
    let ways: Vec<Way> = rows.iter().filter(counts).flat_map(|row| row.ways.iter().cloned()).collect();
    if ways.is_empty() { None } else { together(&ways, chance) }
}

/// Answers questions about one policy and one service.
#[derive(Debug)]
pub struct Planner<'a> {
    policy: &'a Policy,
    service: &'a Service,
    /// `(signal, where it fails, where it passes)` of those that are on.
    bounds: Vec<(Signal, f64, f64)>,
    reference: Reference,
}

impl<'a> Planner<'a> {
    /// One that asks the tests of a fresh trial.
    #[must_use]
    pub fn new(policy: &'a Policy, service: &'a Service) -> Self {
        let fresh = Trial::new(policy).evidence();
        let bounds = fresh.signals.iter().map(|of| (of.signal, of.log_e_rollback_at, of.log_e_promote_at)).collect();
        Self { policy, service, bounds, reference: lognormal(service.spread) }
    }

    fn asks(&self, signal: Signal, unit: Unit) -> bool {
        let pairs = self.service.shadowed > 0.0;
        self.bounds.iter().any(|(on, ..)| *on == signal) && (unit != Unit::Pairs || pairs)
    }

    /// The value that is `factor` times as bad as promotion would just not let pass.
    fn worse(&self, signal: Signal, factor: f64) -> f64 {
        let service = self.service;
        match signal {
            Signal::Errors => {
                let edge = self.policy.errors.map_or(Edge { ratio: 1.0, margin: 0.0 }, pass_edge);
                (service.errors + factor * (edge.at(service.errors) - service.errors)).min(1.0)
            }
            Signal::Accuracy => {
                (service.accuracy - factor * self.policy.accuracy.map_or(0.0, |policy| policy.may_drop)).max(0.0)
            }
            Signal::Latency => {
                let buckets = self.policy.latency.map_or(0, |policy| policy.pass_buckets);
                (factor * bucket_bound_ms(buckets).ln()).exp()
            }
            Signal::Disagreement | Signal::Guardrail => 0.0,
        }
    }

    /// The answer to one question; a signal that is off is never decided.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a small number of requests")]
    pub fn row(&self, signal: Signal, unit: Unit, question: Question) -> Row {
        let service = self.service;
        let pace = match unit {
            Unit::Requests => service.rate * service.share,
            Unit::Labels => service.rate * service.share * service.labelled,
            Unit::Pairs => service.rate * service.shadowed * service.labelled,
        };
        let wait_s = if signal == Signal::Latency { self.warm_up_s() } else { 0.0 };
        let bounds = self.bounds.iter().find(|(on, ..)| *on == signal);
        let passages = match (bounds, signal, unit) {
            (Some((_, fail, pass)), Signal::Errors, _) => vec![self.errors(question, *fail, *pass)],
            (Some((_, fail, pass)), Signal::Latency, _) => self.latency(question, *fail, *pass),
            (Some((_, fail, pass)), Signal::Accuracy, Unit::Pairs) => vec![self.pairs(question, *fail, *pass)],
            (Some((_, fail, pass)), Signal::Accuracy, _) => vec![self.labels(question, *fail, *pass)],
            // Copies are compared at once: there is nothing to wait for that a plan could help with.
            (Some(_), Signal::Disagreement | Signal::Guardrail, _) | (None, ..) => vec![Passage::never()],
        };
        let ways = passages.into_iter().map(|passage| Way { passage, pace, wait_s }).collect();
        let requests_min = self.policy.requests_min as f64;
        Row { signal, question, unit, ways, requests_min, seconds_min: requests_min / (service.rate * service.share) }
    }

    #[allow(clippy::cast_precision_loss, reason = "a time and a number of requests")]
    fn warm_up_s(&self) -> f64 {
        let by_time = self.policy.warmup_ms as f64 / 1000.0;
        by_time.max(self.policy.warmup_requests as f64 / (self.service.rate * self.service.share))
    }

    fn stable_per_canary(&self) -> f64 {
        (1.0 - self.service.share) / self.service.share
    }

    fn supposed(&self, canary: f64, stable: f64) -> Supposed {
        Supposed { canary, stable, stable_per_canary: self.stable_per_canary() }
    }

    fn errors(&self, question: Question, fail_at: f64, pass_at: f64) -> Passage {
        let Some(policy) = self.policy.errors else { return Passage::never() };
        let stable = self.service.errors;
        match question {
            Question::Seen(canary) => {
                let limit = Edge { ratio: 1.0, margin: policy.may_rise };
                let test = RateRollback::new(limit, &ERRORS_GRID, HORIZON_BLOCKS);
                ahead(&Supposing { test, supposed: self.supposed(canary, stable) }, fail_at)
            }
            Question::Passed => {
                let test = RatePromote::new(pass_edge(policy));
                ahead(&Supposing { test, supposed: self.supposed(stable, stable) }, pass_at)
            }
        }
    }

    fn labels(&self, question: Question, fail_at: f64, pass_at: f64) -> Passage {
        let Some(policy) = self.policy.accuracy else { return Passage::never() };
        let edge = |margin| Edge { ratio: 1.0, margin };
        let wrong = 1.0 - self.service.accuracy;
        match question {
            Question::Seen(accuracy) => {
                let test = BernoulliRollback::new(edge(policy.tolerate), HORIZON_BLOCKS);
                ahead(&Supposing { test, supposed: self.supposed(1.0 - accuracy, wrong) }, fail_at)
            }
            Question::Passed => {
                let test = BernoulliPromote::new(edge(policy.may_drop));
                ahead(&Supposing { test, supposed: self.supposed(wrong, wrong) }, pass_at)
            }
        }
    }

    fn pairs(&self, question: Question, fail_at: f64, pass_at: f64) -> Passage {
        let Some(policy) = self.policy.accuracy else { return Passage::never() };
        let half = self.service.disagree / 2.0;
        let supposed = |more: f64| Supposed { canary: half + more, stable: half, stable_per_canary: 1.0 };
        match question {
            Question::Seen(accuracy) => {
                let test = PairedRollback::new(policy.tolerate, HORIZON_BLOCKS);
                ahead(&Supposing { test, supposed: supposed(self.service.accuracy - accuracy) }, fail_at)
            }
            Question::Passed => {
                let test = PairedPromote::new(policy.may_drop);
                ahead(&Supposing { test, supposed: supposed(0.0) }, pass_at)
            }
        }
    }

    fn latency(&self, question: Question, fail_at: f64, pass_at: f64) -> Vec<Passage> {
        let Some(policy) = self.policy.latency else { return vec![Passage::never()] };
        let distribution = self.reference.distribution();
        let stable = (&self.reference, &distribution);
        match question {
            Question::Seen(slower) => {
                let test = LatencyRollback::new(policy.tolerate_buckets, HORIZON_BLOCKS);
                let by = bucket_of_ms(slower * (1.0 - 1e-9));
                vec![ahead(&Slower::new(test, stable, by, self.stable_per_canary()), fail_at)]
            }
            Question::Passed => {
                let (middle, tail) = (policy.pass_buckets, policy.pass_tail_buckets);
                let tests =
                    [(0.5, middle), (0.9, middle), (0.99, tail)].map(|(q, shift)| LatencyPromote::new(q, shift));
                tests.map(|test| ahead(&Slower::new(test, stable, 0, self.stable_per_canary()), pass_at)).into()
            }
        }
    }
}

fn pass_edge(policy: ErrorsPolicy) -> Edge {
    Edge { ratio: policy.pass_ratio, margin: policy.pass_margin }
}

fn ahead<T: Ahead>(test: &T, bound: f64) -> Passage {
    passage(test, bound, EXPOSURES_MAX)
}

/// Stable's past of a service whose latency is lognormal, with this p99 over its median: a thousand quantiles, a thousand times.
fn lognormal(spread: f64) -> Reference {
    let sigma = spread.max(1.0).ln() / Z99;
    let mut histogram = Histogram::default();
    for slot in 0..1000_u32 {
        let z = super::normal::quantile((f64::from(slot) + 0.5) / 1000.0);
        histogram.add(bucket_of_ms(MEDIAN_MS * (sigma * z).exp()), 1000);
    }
    let mut reference = Reference::default();
    reference.learn(&histogram);
    reference
}

#[cfg(test)]
mod tests;
