//! The evidence of one attempt at a release, block by block, and the verdict it allows.
//!
//! Rollback: a weighted mean of the signals' e-values reaches `1/alpha`. Promotion: every signal's non-inferiority e-value
//! reaches `1/alpha_promote`, now. A fail is final; a pass is said anew at each look, and so is worth no more than the step at
//! which it is said. Source: judge.md section 5.5.

mod accuracy;
mod alike;
mod channel;
mod copies;
mod disagreement;
mod errors;
mod guards;
mod latency;
mod pairs;
mod report;
mod saved;

use super::{
    Block, Chosen, DisagreementPolicy, GuardrailEvidence, GuardrailState, Mode, Policy, Reason, Signal, Verdict,
    evidence::NO_SMOKE,
};
use crate::core::stats::{Counts, logs::log_mix};
use accuracy::Accuracy;
use alike::Alike;
use disagreement::Disagreement;
use errors::Errors;
use guards::Guards;
use latency::Latency;

/// The tests of one attempt. Policy and mode are those it began with: a chance of error holds for weights and margins that were
/// fixed before the first number was seen.
#[derive(Clone, PartialEq, Debug)]
pub struct Trial {
    policy: Policy,
    chosen: Chosen,
    /// Whether the routes file says another policy by now; for show.
    policy_changed: bool,
    errors: Errors,
    latency: Latency,
    accuracy: Accuracy,
    disagreement: Disagreement,
    guards: Guards,
    alike: Alike,
    /// What was seen last; none is saved.
    guardrails: Vec<GuardrailEvidence>,
    /// Finished requests of both variants.
    requests: Counts,
    /// 0: not failed; 1 and on: by that signal.
    failed: f64,
}

impl Trial {
    /// A trial by requests that has seen nothing.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        Self::in_mode(policy, Chosen::default())
    }

    /// A trial that has seen nothing. A signal that is off weighs nothing: its tests stand idle by the default margins.
    #[must_use]
    pub fn in_mode(policy: &Policy, chosen: Chosen) -> Self {
        Self {
            policy: policy.clone(),
            chosen,
            policy_changed: false,
            errors: Errors::new(policy.errors.unwrap_or_default(), chosen.mode),
            latency: Latency::new(policy.latency.unwrap_or_default(), chosen.mode),
            accuracy: Accuracy::new(policy.accuracy.unwrap_or_default()),
            disagreement: Disagreement::new(policy.disagreement.unwrap_or(DisagreementPolicy { max: 0.05 })),
            guards: Guards::default(),
            alike: Alike::default(),
            guardrails: Vec::new(),
            requests: Counts::default(),
            failed: 0.0,
        }
    }
    /// Takes what the routes file says now. The trial keeps to the policy it began with; its evidence says if they differ.
    pub fn compare(&mut self, said: &Policy) {
        self.policy_changed = saved::numbers_of(said) != saved::numbers_of(&self.policy);
        // What is no margin or weight follows the file.
        self.policy.on_inconclusive = said.on_inconclusive;
        if let (Some(ours), Some(said)) = (&mut self.policy.accuracy, said.accuracy) {
            ours.label_delay_ms = said.label_delay_ms;
        }
        self.policy.window_ms = said.window_ms;
    }

    /// Whether the canary has answered nobody yet, so that the mode may still be chosen: what copies have told stays.
    #[must_use]
    pub fn may_choose(&self) -> bool {
        self.only_copies()
    }

    /// Takes another mode, if it [may](Self::may_choose).
    pub fn choose(&mut self, chosen: Chosen) {
        if self.may_choose() && chosen != self.chosen {
            self.errors = Errors::new(self.policy.errors.unwrap_or_default(), chosen.mode).with_pairs_of(&self.errors);
            self.latency =
                Latency::new(self.policy.latency.unwrap_or_default(), chosen.mode).with_copies_of(&self.latency);
            self.chosen = chosen;
        }
    }

    /// What is one observation of errors and latency.
    #[must_use]
    pub fn mode(&self) -> Chosen {
        self.chosen
    }

    /// Takes where the guardrails stand now; those of a fail stay for show.
    pub fn take_guardrails(&mut self, guardrails: Vec<GuardrailEvidence>) {
        if self.failed().is_none() || self.guardrails.is_empty() {
            self.guardrails = guardrails;
        }
    }

    /// Whether the canary has answered anybody, a copy at least.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.samples() > 0.0
    }

    /// Takes a block and says what is to be said now.
    pub fn observe(&mut self, block: &Block) -> Verdict {
        if let Some(pairs) = &block.pairs {
            // Once callers are answered by the canary, its own requests tell of errors and latency: a copy is a lesser witness.
            if self.only_copies() && block.requests.is_none() {
                self.errors.take_pairs(&pairs.errors);
                self.latency.copies.take(&pairs.latency);
            }
            self.accuracy.take_pairs(&pairs.labels);
            self.disagreement.take(pairs.compared, pairs.disagreed);
        }
        let was_warm = self.guards.is_warm();
        if let Some(requests) = &block.requests {
            let warm = self.guards.take_requests(requests, block.at_ms, &self.policy, self.requests.canary);
            self.errors.take_requests(requests, block.users.as_ref());
            self.latency.take_requests(requests, warm);
            self.requests.add(&errors::counts(requests));
        }
        // After the last requests in it, so that they are held against what was known before the window.
        if let (Mode::Endpoints, Some(endpoints)) = (self.chosen.mode, &block.endpoints) {
            self.alike.take(&endpoints.canary, &self.policy);
            self.errors.take_window(endpoints);
            self.latency.take_window(endpoints, was_warm);
        }
        if let Some(labels) = &block.labels {
            self.guards.ripen(block.at_ms);
            self.guards.take_labels(labels, block.pairs.as_ref().map(|pairs| &pairs.labels));
            self.accuracy.take(labels);
        }
        let verdict = self.verdict();
        if let Verdict::Fail(signal) = verdict {
            self.failed = 1.0 + f64::from(signal as u8);
        }
        verdict
    }

    /// Whether the canary has answered no caller: what is known of it comes from copies.
    fn only_copies(&self) -> bool {
        self.requests.canary <= 0.0
    }

    /// What a verdict rests on: the canary's requests, or copies while there is none.
    fn samples(&self) -> f64 {
        if self.only_copies() { self.errors.pairs.seen().n.max(self.latency.copies.n()) } else { self.requests.canary }
    }

    /// `(signal, weight)` of those that are on. What a signal that is off would weigh goes to the others.
    fn weights(&self) -> Vec<(Signal, f64)> {
        let all = [
            (Signal::Errors, 0.4, self.policy.errors.is_some()),
            (Signal::Latency, 0.3, self.policy.latency.is_some()),
            (Signal::Accuracy, 0.3, self.policy.accuracy.is_some()),
            (Signal::Disagreement, 0.2, self.policy.disagreement.is_some()),
        ];
        let sum: f64 = all.iter().filter(|(.., on)| *on).map(|(_, weight, _)| weight).sum();
        all.iter().filter(|(.., on)| *on).map(|(signal, weight, _)| (*signal, weight / sum)).collect()
    }

    fn log_e_against(&self, signal: Signal) -> f64 {
        match signal {
            Signal::Errors => self.errors.log_e_against(),
            Signal::Latency => self.latency.log_e_against(),
            Signal::Accuracy => self.accuracy.log_e_against(),
            Signal::Disagreement => self.disagreement.log_e_against(),
            Signal::Guardrail => f64::NEG_INFINITY,
        }
    }

    fn log_e_for(&self, signal: Signal) -> f64 {
        match signal {
            Signal::Errors => self.errors.log_e_for(),
            Signal::Latency => self.latency.log_e_for(self.only_copies()),
            Signal::Accuracy => self.accuracy.log_e_for(),
            Signal::Disagreement => self.disagreement.log_e_for(),
            Signal::Guardrail => f64::NEG_INFINITY,
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
        self.guards.log_e_split()
    }

    /// The signal that failed this attempt.
    fn failed(&self) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| (self.failed - 1.0 - f64::from(*signal as u8)).abs() < 0.5)
    }

    /// What the evidence allows to say.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn verdict(&self) -> Verdict {
        if let Some(signal) = self.failed() {
            return Verdict::Fail(signal);
        }
        let samples = self.samples();
        if samples <= 0.0 {
            return Verdict::Undecided(Reason::NoData);
        }
        // A bound that somebody said needs no minimum; a stable in trouble may have broken it itself.
        let guardrails = |is: fn(GuardrailState) -> bool| self.guardrails.iter().any(|of| is(of.state));
        if guardrails(|state| state == GuardrailState::Breached) && !self.guards.stable_is_unhealthy() {
            return Verdict::Fail(Signal::Guardrail);
        }
        if samples < self.policy.requests_min as f64 {
            return Verdict::Undecided(Reason::LowSamples);
        }
        if self.guards.stable_is_unhealthy() {
            return Verdict::Undecided(Reason::StableUnhealthy);
        }
        let (weights, log_e) = (self.weights(), self.log_e_rollback());
        if log_e >= -self.policy.alpha.ln() {
            let of = |(signal, weight): &(Signal, f64)| weight.ln() + self.log_e_against(*signal);
            if let Some((signal, _)) = weights.iter().max_by(|a, b| of(a).total_cmp(&of(b))) {
                return Verdict::Fail(*signal);
            }
        }
        if self.guards.split_holds(self.chosen.mode) {
            return Verdict::Undecided(Reason::SplitMismatch);
        }
        if guardrails(|state| state != GuardrailState::Within) {
            return Verdict::Undecided(Reason::Guardrail);
        }
        let at = -self.policy.alpha_promote.ln();
        let lacking: Vec<Signal> =
            weights.iter().map(|(signal, _)| *signal).filter(|signal| self.log_e_for(*signal) < at).collect();
        let skewed = self.policy.accuracy.is_some() && self.guards.coverage_holds();
        match lacking.as_slice() {
            [] | [Signal::Accuracy] if skewed => Verdict::Undecided(Reason::Skewed),
            [] if log_e < (NO_SMOKE / self.policy.alpha).ln() && !weights.is_empty() => Verdict::Pass,
            [Signal::Accuracy] => Verdict::Undecided(Reason::LabelStarved),
            _ if self.alike.told().iter().any(|of| lacking.contains(&of.signal)) => {
                Verdict::Undecided(Reason::Endpoint)
            }
            _ => Verdict::Undecided(Reason::Overlap),
        }
    }
}

#[cfg(test)]
mod tests;
