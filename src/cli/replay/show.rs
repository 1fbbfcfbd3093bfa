//! The line that is printed of a file.

use crate::core::{
    judge::{Evidence, SignalEvidence},
    replay::{Replayed, Said},
};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    verdict: &'a str,
    at_request: u64,
    at_canary: u64,
    /// The blamed one, of a rollback.
    signal: Option<&'a str>,
    /// Why nothing was decided.
    reason: Option<&'a str>,
    at_ms: f64,
    evidence: Numbers<'a>,
}

#[derive(Serialize)]
struct Numbers<'a> {
    canary_requests: u64,
    stable_requests: u64,
    canary_labels: u64,
    stable_labels: u64,
    log_e_rollback: f64,
    log_e_rollback_at: f64,
    log_e_split: f64,
    signals: Vec<Signal<'a>>,
}

#[derive(Serialize)]
struct Signal<'a> {
    signal: &'a str,
    canary: f64,
    stable: f64,
    canary_n: u64,
    stable_n: u64,
    margin: f64,
    weight: f64,
    log_e_rollback: f64,
    log_e_promote: f64,
    log_e_promote_at: f64,
}

impl<'a> From<&'a Evidence> for Numbers<'a> {
    fn from(evidence: &'a Evidence) -> Self {
        Self {
            canary_requests: evidence.canary_requests,
            stable_requests: evidence.stable_requests,
            canary_labels: evidence.canary_labels,
            stable_labels: evidence.stable_labels,
            log_e_rollback: evidence.log_e_rollback,
            log_e_rollback_at: evidence.log_e_rollback_at,
            log_e_split: evidence.log_e_split,
            signals: evidence.signals.iter().map(Signal::from).collect(),
        }
    }
}

impl<'a> From<&'a SignalEvidence> for Signal<'a> {
    fn from(s: &'a SignalEvidence) -> Self {
        Self {
            signal: s.signal.as_str(),
            canary: s.canary,
            stable: s.stable,
            canary_n: s.canary_n,
            stable_n: s.stable_n,
            margin: s.margin,
            weight: s.weight,
            log_e_rollback: s.log_e_rollback,
            log_e_promote: s.log_e_promote,
            log_e_promote_at: s.log_e_promote_at,
        }
    }
}

/// One JSON object.
pub(super) fn line(name: &str, replayed: &Replayed) -> String {
    let (signal, reason) = match replayed.said {
        Said::Rollback(signal) => (Some(signal.as_str()), None),
        Said::Promote => (None, None),
        Said::Keep(reason) => (None, Some(reason.as_str())),
        Said::HoldSrm => (None, Some("split_mismatch")),
    };
    let line = Line {
        name,
        verdict: replayed.said.as_str(),
        at_request: replayed.at_request,
        at_canary: replayed.at_canary,
        signal,
        reason,
        at_ms: replayed.at_ms,
        evidence: Numbers::from(&replayed.evidence),
    };
    serde_json::to_string(&line).unwrap_or_default()
}
