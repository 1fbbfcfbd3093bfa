//! What the judge makes of each release: verdict, evidence against its bounds, mode, guards, and what it rests on.

use super::Page;
use crate::{
    core::{
        judge::{Evidence, GuardState, GuardrailState, Judgement, Mode, Unknown, Verdict},
        name::RouteName,
        tally::{Reading, VariantTally},
    },
    io::meters::{JUDGE_BLOCKS, Meters, PairEvent},
};
use std::collections::BTreeMap;

const MODES: [Mode; 3] = [Mode::Requests, Mode::Endpoints, Mode::Users];

impl Page {
    pub(super) fn judge(&mut self, judgements: &BTreeMap<RouteName, Judgement>) {
        for (route, judgement) in judgements {
            self.judgement(route.as_str(), judgement);
            self.ahead(judgement);
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
    fn judgement(&mut self, route: &str, judgement: &Judgement) {
        let of_route = [("route", route)];
        let evidence = &judgement.evidence;
        let verdict = match judgement.verdict {
            Verdict::Pass => 1.0,
            Verdict::Fail(_) => -1.0,
            Verdict::Undecided(_) => 0.0,
        };
        self.gauge(("coalmine_verdict", "1: pass, 0: undecided, -1: fail."), &of_route, verdict);
        let against = ("coalmine_evidence_log_e", "Natural log of the e-value against the canary.");
        let bound = ("coalmine_evidence_log_e_bound", "Where the e-value against the canary rolls it back.");
        let all = [("route", route), ("signal", "all")];
        self.gauge(against, &all, evidence.log_e_rollback);
        self.gauge(bound, &all, evidence.log_e_rollback_at);
        for signal in &evidence.signals {
            let labels = [("route", route), ("signal", signal.signal.as_str())];
            self.gauge(against, &labels, signal.log_e_rollback);
            self.gauge(bound, &labels, signal.log_e_rollback_at);
            let name = ("coalmine_evidence_pass_log_e", "Natural log of the e-value for the canary.");
            self.gauge(name, &labels, signal.log_e_promote);
            let name = ("coalmine_evidence_pass_log_e_bound", "Where the signal passes the canary.");
            self.gauge(name, &labels, signal.log_e_promote_at);
        }
        for mode in MODES {
            let is = if evidence.mode == mode { 1.0 } else { 0.0 };
            let name = ("coalmine_judge_mode", "1 for what is one observation of errors and latency.");
            self.gauge(name, &[("route", route), ("mode", mode.as_str())], is);
        }
        for guard in &evidence.guards {
            let is = match guard.state {
                GuardState::Good => 0.0,
                GuardState::Warns => 1.0,
                GuardState::Holds => 2.0,
            };
            let name = ("coalmine_judge_guard", "0: good, 1: warns, 2: no pass while it is so.");
            self.gauge(name, &[("route", route), ("guard", guard.guard.as_str())], is);
        }
        self.guardrails(route, evidence);
        for of in &evidence.endpoints {
            let name = ("coalmine_judge_endpoint_differs", "1: this endpoint of the canary is not like its others.");
            self.gauge(name, &[("route", route), ("endpoint", &of.name()), ("signal", of.signal.as_str())], 1.0);
        }
        for (what, n) in [
            ("canary_requests", evidence.canary_requests),
            ("stable_requests", evidence.stable_requests),
            ("canary_labels", evidence.canary_labels),
            ("stable_labels", evidence.stable_labels),
            ("paired_labels", evidence.paired_labels),
        ] {
            let name = ("coalmine_judged", "What the evidence of this attempt rests on.");
            self.gauge(name, &[("route", route), ("what", what)], n as f64);
        }
        let changed = if evidence.policy_changed { 1.0 } else { 0.0 };
        let name = ("coalmine_judge_policy_changed", "1: the file says other margins than this attempt began with.");
        self.gauge(name, &of_route, changed);
    }

    /// A number that is not known has no sample.
    fn guardrails(&mut self, route: &str, evidence: &Evidence) {
        for of in &evidence.guardrails {
            let labels = [("route", route), ("guardrail", of.guardrail.name.as_str())];
            let is = match of.state {
                GuardrailState::Within => 0.0,
                GuardrailState::Broken => 1.0,
                GuardrailState::Unknown(_) => 2.0,
                GuardrailState::Breached => 3.0,
            };
            let name =
                ("coalmine_guardrail_state", "0: within, 1: broken, not for long enough, 2: unknown, 3: breached.");
            self.gauge(name, &labels, is);
            let bound = ("coalmine_guardrail_bound", "Where the guardrail is broken.");
            self.gauge(bound, &labels, of.guardrail.bound.limit());
            if let Some(value) = of.value {
                self.gauge(("coalmine_guardrail_value", "What the guardrail's query gave."), &labels, value);
            }
        }
    }

    /// What only sticky routes and those with copies have: left out where nothing happened.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
    pub(super) fn judged(&mut self, names: &[(&str, &str); 3], sticky: bool, seen: &Reading, tally: &VariantTally) {
        if sticky {
            let users = tally.failed_users().len() as f64;
            let name = ("coalmine_failed_users", "Users who have failed in this attempt, by the places they take.");
            self.gauge(name, names, users);
        }
        if seen.paired.labels > 0 {
            let whole = |micro: u64| micro / 1_000_000;
            let (worse, better) = (whole(seen.paired.worse_micro), whole(seen.paired.better_micro));
            for (result, n) in [("worse", worse), ("better", better), ("alike", seen.paired.labels - worse - better)] {
                let name = ("coalmine_paired_labels_total", "Labels that judged stable's answer and the copy's.");
                self.count(name, &[names[0], names[1], names[2], ("result", result)], n);
            }
        }
    }

    pub(super) fn judge_meters(&mut self, meters: &Meters) {
        for (kind, meter) in JUDGE_BLOCKS.iter().zip(&meters.judge_blocks) {
            let name = ("coalmine_judge_blocks_total", "Blocks that were judged, by what they hold.");
            self.count(name, &[("kind", kind)], meter.get());
        }
        let name = ("coalmine_guardrail_queries_total", "Queries of guardrails, by what they gave.");
        self.count(name, &[("result", "number")], meters.guardrail_numbers.get());
        for (why, meter) in Unknown::ALL.iter().zip(&meters.guardrail_unknown) {
            self.count(name, &[("result", why.as_str())], meter.get());
        }
        for (event, meter) in PairEvent::ALL.iter().zip(&meters.pairs) {
            let name = ("coalmine_pairs_total", "Predictions of copies that may be labelled, by what became of them.");
            self.count(name, &[("event", event.as_str())], meter.get());
        }
        #[allow(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
        let waiting = meters.pairs_waiting.get() as f64;
        self.gauge(("coalmine_pairs_waiting", "Predictions of copies that wait for a label, now."), &[], waiting);
    }
}
