//! What people see of a route, as JSON.

use crate::core::{
    account::{self, Difference},
    forecast::running::{Forecast, Needs, Span, forecast},
    judge::{
        EndpointEvidence, Evidence, GuardEvidence, GuardrailEvidence, GuardrailState, Judgement, Mode, PartEvidence,
        SignalEvidence, Verdict,
    },
    route::Route,
    snapshot::Live,
    status::ReleaseStatus,
};
use serde_json::{Map, Value, json};

/// One route: what is said, what is seen, and what the judge makes of it.
#[must_use]
pub(super) fn route(
    live: &Live,
    position: usize,
    route: &Route,
    judgement: Option<&Judgement>,
    release: Option<&ReleaseStatus>,
    history_last: u64,
) -> Value {
    let variants: Vec<Value> = route
        .variants
        .iter()
        .enumerate()
        .map(|(index, variant)| {
            let seen = live.board.tally(position, index).map(|tally| tally.read()).unwrap_or_default();
            json!({
                "name": variant.name.as_str(),
                "role": variant.role.as_str(),
                "weight": { "said": variant.said.to_string(), "effective": variant.effective.to_string() },
                "artefact": variant.artefact.as_str(),
                "requests": seen.completed(),
                "errors": seen.errors(),
                "labels": seen.labelled,
                "in_flight": seen.in_flight,
            })
        })
        .collect();
    json!({
        "name": route.name.as_str(),
        "variants": variants,
        "generation": live.snapshot.generation.0,
        // Of the route as it was delivered: the same on every replica that has the same file.
        "digest": format!("{:016x}", route.digest),
        "release": release.map(standing),
        "judgement": judgement.map(verdict),
        // Who shows the history asks for it when this has grown.
        "history_last": history_last,
    })
}

fn standing(release: &ReleaseStatus) -> Value {
    json!({
        "key": release.key.to_string(),
        "state": release.state,
        "reason": &*release.reason,
        "attempt": release.attempt,
        "weight": release.weight.to_string(),
        "at_weight_ms": release.at_weight_ms,
        "next_weight": release.next.map(|weight| weight.to_string()),
        "paused_by": release.paused_by.as_deref(),
        "frozen_by": release.frozen_by.as_deref(),
        "alerts": release.alerts.iter().map(|alert| alert.as_str()).collect::<Vec<_>>(),
        "by_hand": release.by_hand.as_ref().map(|one| json!({
            "weight": one.weight.to_string(), "until_ms": one.until.wall_ms, "by": &*one.by, "reason": &*one.reason,
        })),
        "decided_ms": release.decided_ms,
        "commit": release.commit.as_deref(),
        "trouble": release.trouble.as_deref(),
        "waits_for": release.waits_for.as_deref(),
    })
}

/// What the judge says, and why.
#[must_use]
pub(super) fn verdict(judgement: &Judgement) -> Value {
    let reason = match judgement.verdict {
        Verdict::Pass => None,
        Verdict::Fail(signal) => Some(signal.as_str()),
        Verdict::Undecided(reason) => Some(reason.as_str()),
    };
    let mut said = evidence(&judgement.evidence);
    // What has failed has nothing before it.
    let ahead = (!matches!(judgement.verdict, Verdict::Fail(_))).then(|| foreseen(&forecast(judgement)));
    let more = [
        ("route", judgement.route.as_str().into()),
        ("verdict", judgement.verdict.as_str().into()),
        ("reason", reason.into()),
        ("would_change", account::would_change(judgement.verdict, &judgement.evidence).into()),
        ("forecast", ahead.into()),
        ("attempt", judgement.attempt.into()),
        ("since_ms", judgement.since.wall_ms.into()),
        ("at_ms", judgement.at.wall_ms.into()),
    ];
    said.extend(more.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(said)
}

/// What is still needed: `half` of the releases need less, `nine_in_ten` less than that; null is longer than anybody can tell.
fn foreseen(forecast: &Forecast) -> Value {
    let span = |of: Span| json!({ "half": of.half, "nine_in_ten": of.most });
    let needs = |of: &Needs| json!({ "exposures": span(of.exposures), "seconds": span(of.seconds) });
    let signals = forecast.signals.iter().map(|of| {
        let seen = of.seen.map(|(value, Needs { exposures, seconds })| {
            json!({ "canary": value, "exposures": span(exposures), "seconds": span(seconds) })
        });
        json!({ "signal": of.signal.as_str(), "unit": of.unit, "pass": needs(&of.pass), "seen": seen })
    });
    json!({ "pass_seconds": span(forecast.pass_seconds), "signals": signals.collect::<Vec<_>>() })
}

/// The numbers behind a verdict: the one form in which they leave the process.
#[must_use]
pub fn evidence(evidence: &Evidence) -> Map<String, Value> {
    let signals: Vec<Value> = evidence.signals.iter().map(|of| signal(of, evidence.mode)).collect();
    let guards: Vec<Value> = evidence.guards.iter().map(guard).collect();
    let guardrails: Vec<Value> = evidence.guardrails.iter().map(guardrail).collect();
    let endpoints: Vec<Value> = evidence.endpoints.iter().map(endpoint).collect();
    let numbers: [(&str, Value); 15] = [
        ("canary_requests", evidence.canary_requests.into()),
        ("stable_requests", evidence.stable_requests.into()),
        ("canary_labels", evidence.canary_labels.into()),
        ("stable_labels", evidence.stable_labels.into()),
        ("paired_labels", evidence.paired_labels.into()),
        ("mode", evidence.mode.as_str().into()),
        ("mode_why", evidence.mode_why.into()),
        ("policy_changed", evidence.policy_changed.into()),
        ("log_e_rollback", evidence.log_e_rollback.into()),
        ("log_e_rollback_at", evidence.log_e_rollback_at.into()),
        ("log_e_split", evidence.log_e_split.into()),
        ("signals", signals.into()),
        ("guards", guards.into()),
        ("guardrails", guardrails.into()),
        ("endpoints", endpoints.into()),
    ];
    numbers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn signal(of: &SignalEvidence, mode: Mode) -> Value {
    json!({
        "signal": of.signal.as_str(), "canary": of.canary, "stable": of.stable, "canary_n": of.canary_n,
        "stable_n": of.stable_n, "difference": account::difference(of, mode).map(difference), "margin": of.margin,
        "pass_ratio": of.pass_ratio, "pass_margin": of.pass_margin, "weight": of.weight, "test": of.test.as_str(),
        "log_e_rollback": of.log_e_rollback, "log_e_rollback_at": of.log_e_rollback_at,
        "log_e_promote": of.log_e_promote, "log_e_promote_at": of.log_e_promote_at,
        "parts": of.parts.iter().map(|of| part(of, mode)).collect::<Vec<_>>(),
    })
}

/// Canary less stable (latency: canary over stable), and where the truth lies with 95 %, at all times at once; an end is null
/// where there is none.
fn difference(difference: Difference) -> Value {
    let Difference { value, interval } = difference;
    json!({ "value": value, "low": interval.map(|of| of.low), "high": interval.map(|of| of.high) })
}

fn part(of: &PartEvidence, mode: Mode) -> Value {
    json!({
        "part": of.part.as_str(), "test": of.test.as_str(), "canary": of.canary, "stable": of.stable,
        "canary_n": of.canary_n, "stable_n": of.stable_n, "canary_events": of.canary_events,
        "stable_events": of.stable_events, "difference": account::of_part(of, mode).map(difference), "weight": of.weight,
        "log_e_rollback": of.log_e_rollback, "log_e_promote": of.log_e_promote,
    })
}

fn guard(of: &GuardEvidence) -> Value {
    json!({ "guard": of.guard.as_str(), "state": of.state.as_str(), "value": of.value, "limit": of.limit })
}

/// One of the canary's that is not like its others.
fn endpoint(of: &EndpointEvidence) -> Value {
    json!({
        "endpoint": of.name(), "signal": of.signal.as_str(), "part": of.part.as_str(), "value": of.value,
        "others": of.others, "log_e": of.log_e, "log_e_at": of.log_e_at, "text": of.line(),
    })
}

/// `unknown` says why there is no value, in words.
fn guardrail(of: &GuardrailEvidence) -> Value {
    let unknown = match of.state {
        GuardrailState::Unknown(why) => Some(why),
        GuardrailState::Within | GuardrailState::Broken | GuardrailState::Breached => None,
    };
    let said = &of.guardrail;
    json!({
        "guardrail": said.name.as_str(), "state": of.state.as_str(), "value": of.value, "bound": said.bound.as_str(),
        "limit": said.bound.limit(), "broken_ms": of.broken_ms, "lasting_ms": said.lasting_ms, "query": &*said.query,
        "text": of.line(), "unknown": unknown.map(|why| why.as_str()), "why": unknown.map(|why| why.words()),
    })
}
