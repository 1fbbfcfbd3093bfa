//! The numbers behind a verdict, gathered from the tests.

use super::{Trial, errors::test, guards::Facts};
use crate::core::{
    judge::{Evidence, PartEvidence, Reason, Signal, SignalEvidence, Test, Verdict},
    stats::histogram::bucket_bound_ms,
};

/// What the two variants show on one signal.
#[derive(Default)]
struct Values {
    canary: f64,
    stable: f64,
    canary_n: u64,
    stable_n: u64,
    canary_events: f64,
    stable_events: f64,
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole counts below 2^53")]
fn count(number: f64) -> u64 {
    number as u64
}

fn share(events: f64, n: f64) -> f64 {
    if n > 0.0 { events / n } else { 0.0 }
}

impl Trial {
    /// The numbers behind the verdict.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let (labels, pairs) = (&self.accuracy.labels, self.accuracy.pairs.seen().n);
        let endpoints = self.alike.told();
        let facts = Facts {
            policy: &self.policy,
            mode: self.chosen.mode,
            canary: self.requests.canary,
            samples: self.samples(),
            canary_labels: self.accuracy.canary_labels(),
            alike: self.alike.log_e(),
            differ: !endpoints.is_empty(),
            differ_holds: self.verdict() == Verdict::Undecided(Reason::Endpoint),
        };
        Evidence {
            canary_requests: count(self.requests.canary),
            stable_requests: count(self.requests.stable),
            canary_labels: count(labels.canary + pairs),
            stable_labels: count(labels.stable + pairs),
            paired_labels: count(pairs),
            mode: self.chosen.mode,
            mode_why: self.chosen.why(),
            log_e_rollback: self.log_e_rollback(),
            log_e_rollback_at: -self.policy.alpha.ln(),
            log_e_split: self.log_e_split(),
            signals: self.weights().into_iter().map(|(signal, weight)| self.of_signal(signal, weight)).collect(),
            guards: self.guards.told(&facts),
            guardrails: self.guardrails.clone(),
            endpoints,
            policy_changed: self.policy_changed,
        }
    }

    fn of_signal(&self, signal: Signal, weight: f64) -> SignalEvidence {
        let values = self.values(signal);
        let (margin, pass_ratio, pass_margin) = self.margins(signal);
        SignalEvidence {
            signal,
            canary: values.canary,
            stable: values.stable,
            canary_n: values.canary_n,
            stable_n: values.stable_n,
            canary_events: values.canary_events,
            stable_events: values.stable_events,
            margin,
            pass_ratio,
            pass_margin,
            weight,
            log_e_rollback: self.log_e_against(signal),
            log_e_rollback_at: -(self.policy.alpha * weight).ln(),
            log_e_promote: self.log_e_for(signal),
            log_e_promote_at: -self.policy.alpha_promote.ln(),
            test: self.carrier(signal),
            parts: self.parts(signal),
        }
    }

    fn values(&self, signal: Signal) -> Values {
        let (r, l) = (&self.requests, &self.accuracy.labels);
        match signal {
            Signal::Errors => {
                let own = (share(r.canary_events, r.canary), share(r.stable_events, r.stable));
                let (canary, stable) = self.errors.pairs.shares().filter(|_| self.only_copies()).unwrap_or(own);
                let (canary_n, stable_n) = (count(r.canary), count(r.stable));
                let (canary_events, stable_events) = (r.canary_events, r.stable_events);
                Values { canary, stable, canary_n, stable_n, canary_events, stable_events }
            }
            Signal::Latency => {
                let [(canary, canary_n), (stable, stable_n)] = self.latency.values();
                Values { canary, stable, canary_n, stable_n, ..Values::default() }
            }
            Signal::Accuracy => {
                let (canary, stable) = self.accuracy.values();
                let (canary_n, stable_n) = (count(l.canary), count(l.stable));
                let (canary_events, stable_events) = (l.canary_events, l.stable_events);
                Values { canary, stable, canary_n, stable_n, canary_events, stable_events }
            }
            Signal::Disagreement => {
                let (canary, stable) = self.disagreement.values();
                let canary_n = count(self.disagreement.compared());
                Values { canary, stable, canary_n, canary_events: self.disagreement.disagreed, ..Values::default() }
            }
            Signal::Guardrail => Values::default(),
        }
    }

    /// Margin of rollback, ratio and margin of promotion.
    fn margins(&self, signal: Signal) -> (f64, f64, f64) {
        let policy = &self.policy;
        let said = match signal {
            Signal::Errors => policy.errors.map(|e| (e.may_rise, e.pass_ratio, e.pass_margin)),
            Signal::Latency => policy.latency.map(|l| {
                let factor = bucket_bound_ms;
                (factor(l.tolerate_buckets), factor(l.pass_buckets), factor(l.pass_tail_buckets))
            }),
            Signal::Accuracy => policy.accuracy.map(|a| (a.tolerate, 1.0, a.may_drop)),
            Signal::Disagreement => policy.disagreement.map(|_| (0.0, 1.0, 0.0)),
            Signal::Guardrail => None,
        };
        said.unwrap_or((0.0, 1.0, 0.0))
    }

    /// The test that most of the evidence against the canary comes from.
    fn carrier(&self, signal: Signal) -> Test {
        let (by, answered) = (test(self.chosen.mode), !self.only_copies());
        let (own, single, log_e) = match signal {
            Signal::Errors => (by, answered, self.errors.log_e_own()),
            Signal::Latency => (by, answered, self.latency.log_e_own()),
            Signal::Accuracy => (Test::Requests, self.accuracy.labels.canary > 0.0, self.accuracy.log_e_own()),
            Signal::Disagreement => return Test::Pairs,
            Signal::Guardrail => return Test::Requests,
        };
        let (paired, pairs) = match signal {
            Signal::Latency => (self.latency.copies.n() > 0.0, self.latency.copies.log_e_against()),
            Signal::Accuracy => (self.accuracy.pairs.seen().n > 0.0, self.accuracy.pairs.log_e_against()),
            Signal::Errors | Signal::Disagreement | Signal::Guardrail => {
                (self.errors.pairs.seen().n > 0.0, self.errors.pairs.log_e_against())
            }
        };
        if paired && (!single || pairs > log_e) { Test::Pairs } else { own }
    }

    fn parts(&self, signal: Signal) -> Vec<PartEvidence> {
        match signal {
            Signal::Errors => self.errors.parts(),
            Signal::Latency => self.latency.parts(),
            Signal::Accuracy => self.accuracy.parts(),
            Signal::Disagreement => self.disagreement.parts(),
            Signal::Guardrail => Vec::new(),
        }
    }
}
