//! A commit message: a subject for people, the evidence, and trailers for machines. The record of a release is `git log`.

use crate::core::{
    release::intent::{Change, Intent, Move},
    route::Route,
    split::Weight,
};
use jiff::Timestamp;

/// The trailer by which a decision is found again.
pub(super) const INTENT: &str = "Coalmine-Intent";

/// The message of the commit that makes `changes` to `route` for `intent`.
pub(super) fn message(intent: &Intent, route: &Route, changes: &[Change]) -> String {
    let Intent { artefact, attempt, by, reason, verdict, numbers, window_ms, .. } = intent;
    let (name, action) = (&intent.route, intent.to.as_str());
    let [from, to] = window_ms.map(utc);
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "{}\n\n{reason}\n\n{numbers}\n\n\
         Coalmine-Route: {name}\n\
         Coalmine-Action: {action}\n\
         Coalmine-Artefact: {artefact}\n\
         Coalmine-Attempt: {attempt}\n\
         {INTENT}: {}\n\
         Coalmine-Weights: {}\n\
         Coalmine-Verdict: {verdict}\n\
         Coalmine-Window: {from}/{to}\n\
         Coalmine-Requested-By: {by}\n\
         Coalmine-Controller: {version}\n",
        subject(intent, route, changes),
        intent.id(),
        weights(route, changes),
    )
}

fn subject(intent: &Intent, route: &Route, changes: &[Change]) -> String {
    let part = |change: &Change| {
        let before = said(route, change);
        let (name, after) = (&change.variant, change.weight);
        if before == after { format!("{name} {after} %") } else { format!("{name} {before} % -> {after} %") }
    };
    let parts: Vec<String> = changes.iter().map(part).collect();
    let what = match intent.to {
        Move::Promote { .. } => ", promoted",
        Move::RollBack { .. } => ", rejected",
        Move::Readmit(_) => ", let in again",
        Move::Step(_) | Move::Finish => "",
    };
    let (first, rest) =
        parts.split_first().map_or(("", ""), |(first, rest)| (first.as_str(), rest.first().map_or("", String::as_str)));
    let comma = if rest.is_empty() { "" } else { "; " };
    format!("{}({}): {first}{what}{comma}{rest}", intent.to.as_str(), intent.route)
}

/// `v1=90,v2=10 -> v1=100,v2=0`
fn weights(route: &Route, changes: &[Change]) -> String {
    let list = |weight: &dyn Fn(&Change) -> Weight| {
        let parts: Vec<String> =
            changes.iter().map(|change| format!("{}={}", change.variant, weight(change))).collect();
        parts.join(",")
    };
    format!("{} -> {}", list(&|change| said(route, change)), list(&|change| change.weight))
}

fn said(route: &Route, change: &Change) -> Weight {
    route.variants.iter().find(|v| v.name == change.variant).map_or(Weight::ZERO, |v| v.said)
}

fn utc(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
