//! The record of a verdict as JSON in one line, for the commit's trailer: the keys and values of the API's, without the parts of
//! signals, the guards that are good, and what is foreseen. Written by hand, because the core serialises nothing: all words in it are our own.

use super::{Difference, Interval, difference};
use crate::core::judge::{Evidence, GuardState, GuardrailEvidence, Judgement, Mode, SignalEvidence, Verdict};

/// A number; what is none, or infinite, is null.
fn number(of: f64) -> String {
    if of.is_finite() { of.to_string() } else { "null".to_owned() }
}

fn list(of: impl Iterator<Item = String>) -> String {
    of.collect::<Vec<_>>().join(",")
}

/// The record.
#[must_use]
pub fn record(judgement: &Judgement) -> String {
    let evidence = &judgement.evidence;
    let Evidence { canary_requests, stable_requests, canary_labels, stable_labels, paired_labels, .. } = evidence;
    let reason = match judgement.verdict {
        Verdict::Pass => "null".to_owned(),
        Verdict::Fail(signal) => format!("\"{}\"", signal.as_str()),
        Verdict::Undecided(reason) => format!("\"{}\"", reason.as_str()),
    };
    let guards = evidence.guards.iter().filter(|of| of.state != GuardState::Good).map(|of| {
        let (value, limit) = (number(of.value), number(of.limit));
        format!(
            r#"{{"guard":"{}","state":"{}","value":{value},"limit":{limit}}}"#,
            of.guard.as_str(),
            of.state.as_str()
        )
    });
    format!(
        r#"{{"verdict":"{}","reason":{reason},"mode":"{}","canary_requests":{canary_requests},"stable_requests":{stable_requests},"canary_labels":{canary_labels},"stable_labels":{stable_labels},"paired_labels":{paired_labels},"log_e_rollback":{},"log_e_rollback_at":{},"signals":[{}],"guards":[{}],"guardrails":[{}]}}"#,
        judgement.verdict.as_str(),
        evidence.mode.as_str(),
        number(evidence.log_e_rollback),
        number(evidence.log_e_rollback_at),
        list(evidence.signals.iter().map(|of| signal(of, evidence.mode))),
        list(guards),
        list(evidence.guardrails.iter().map(guardrail)),
    )
}

fn signal(of: &SignalEvidence, mode: Mode) -> String {
    let told = difference(of, mode).map_or("null".to_owned(), |Difference { value, interval }| {
        let ends = interval.map(|Interval { low, high }| [number(low), number(high)]);
        let [low, high] = ends.unwrap_or(["null", "null"].map(str::to_owned));
        format!(r#"{{"value":{},"low":{low},"high":{high}}}"#, number(value))
    });
    let numbers = [
        ("canary", of.canary),
        ("stable", of.stable),
        ("margin", of.margin),
        ("weight", of.weight),
        ("log_e_rollback", of.log_e_rollback),
        ("log_e_rollback_at", of.log_e_rollback_at),
        ("log_e_promote", of.log_e_promote),
        ("log_e_promote_at", of.log_e_promote_at),
    ];
    let numbers = numbers.map(|(key, value)| format!(r#""{key}":{}"#, number(value))).join(",");
    format!(
        r#"{{"signal":"{}","canary_n":{},"stable_n":{},"difference":{told},"test":"{}",{numbers}}}"#,
        of.signal.as_str(),
        of.canary_n,
        of.stable_n,
        of.test.as_str(),
    )
}

fn guardrail(of: &GuardrailEvidence) -> String {
    let said = &of.guardrail;
    format!(
        r#"{{"guardrail":"{}","state":"{}","value":{},"limit":{}}}"#,
        said.name,
        of.state.as_str(),
        of.value.map_or("null".to_owned(), number),
        number(said.bound.limit()),
    )
}
