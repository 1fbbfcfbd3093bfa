//! What people see of a route, as JSON.

use crate::core::{
    judge::{Evidence, Judgement, Verdict},
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
        "release": release.map(standing),
        "judgement": judgement.map(verdict),
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
        "decided_ms": release.decided_ms,
        "commit": release.commit.as_deref(),
        "trouble": release.trouble.as_deref(),
    })
}

fn verdict(judgement: &Judgement) -> Value {
    let reason = match judgement.verdict {
        Verdict::Pass => None,
        Verdict::Fail(signal) => Some(signal.as_str()),
        Verdict::Undecided(reason) => Some(reason.as_str()),
    };
    let mut said = evidence(&judgement.evidence);
    let more = [
        ("verdict", judgement.verdict.as_str().into()),
        ("reason", reason.into()),
        ("attempt", judgement.attempt.into()),
        ("since_ms", judgement.since.wall_ms.into()),
        ("at_ms", judgement.at.wall_ms.into()),
    ];
    said.extend(more.map(|(key, value)| (key.to_owned(), value)));
    Value::Object(said)
}

/// The numbers behind a verdict.
#[must_use]
pub fn evidence(evidence: &Evidence) -> Map<String, Value> {
    let signals: Vec<Value> = evidence
        .signals
        .iter()
        .map(|s| {
            json!({
                "signal": s.signal.as_str(), "canary": s.canary, "stable": s.stable, "canary_n": s.canary_n,
                "stable_n": s.stable_n, "margin": s.margin, "weight": s.weight, "log_e_rollback": s.log_e_rollback,
                "log_e_promote": s.log_e_promote, "log_e_promote_at": s.log_e_promote_at,
            })
        })
        .collect();
    let numbers: [(&str, Value); 8] = [
        ("canary_requests", evidence.canary_requests.into()),
        ("stable_requests", evidence.stable_requests.into()),
        ("canary_labels", evidence.canary_labels.into()),
        ("stable_labels", evidence.stable_labels.into()),
        ("log_e_rollback", evidence.log_e_rollback.into()),
        ("log_e_rollback_at", evidence.log_e_rollback_at.into()),
        ("log_e_split", evidence.log_e_split.into()),
        ("signals", signals.into()),
    ];
    numbers.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
