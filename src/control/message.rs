//! A commit message: a subject for people, the evidence, and trailers for machines. The record of a release is `git log`.

use crate::core::{
    release::intent::{Change, Intent, Move},
    route::Route,
    split::Weight,
};
use jiff::Timestamp;

/// The trailer by which a decision is found again.
pub(super) const INTENT: &str = "Coalmine-Intent";
/// The route.
pub(super) const ROUTE: &str = "Coalmine-Route";
/// The move.
pub(super) const ACTION: &str = "Coalmine-Action";
/// What is under release.
pub(super) const ARTEFACT: &str = "Coalmine-Artefact";
/// Which attempt at it.
pub(super) const ATTEMPT: &str = "Coalmine-Attempt";
/// The judge's word.
pub(super) const VERDICT: &str = "Coalmine-Verdict";
/// The record of the verdict, as JSON: what the API says of it, without the parts of signals.
pub(super) const EVIDENCE: &str = "Coalmine-Evidence";
/// A scalar of another file that the commit has set, as JSON.
pub(super) const SET: &str = "Coalmine-Set";
/// Commits that it takes back.
pub(super) const REVERTS: &str = "Coalmine-Reverts";

/// What a message is made of.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// The decision.
    pub(super) intent: &'a Intent,
    /// The route as it was.
    pub(super) route: &'a Route,
    /// What becomes of its variants.
    pub(super) changes: &'a [Change],
    /// What else is to be said, a paragraph.
    pub(super) notes: &'a [String],
    /// Trailers of its own.
    pub(super) trailers: &'a [(&'static str, String)],
}

/// The message of a commit.
pub(super) fn message(record: &Record<'_>) -> String {
    let Record { intent, route, changes, notes, trailers } = record;
    let Intent { artefact, attempt, by, reason, verdict, numbers, evidence, window_ms, .. } = intent;
    let (name, action) = (&intent.route, intent.to.as_str());
    let [from, to] = window_ms.map(utc);
    let version = env!("CARGO_PKG_VERSION");
    // Notes quote what others have said: a line of theirs must not become a trailer.
    let notes = notes.iter().map(|note| note.split_whitespace().collect::<Vec<_>>().join(" "));
    let paragraphs = [reason.to_string(), numbers.to_string(), notes.collect::<Vec<_>>().join("\n")];
    let body: String = paragraphs.iter().filter(|text| !text.is_empty()).map(|text| format!("{text}\n\n")).collect();
    let evidence = if evidence.is_empty() { String::new() } else { format!("{EVIDENCE}: {evidence}\n") };
    let own: String = trailers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!(
        "{}\n\n{body}\
         {ROUTE}: {name}\n\
         {ACTION}: {action}\n\
         {ARTEFACT}: {artefact}\n\
         {ATTEMPT}: {attempt}\n\
         {INTENT}: {}\n\
         Coalmine-Weights: {}\n\
         {VERDICT}: {verdict}\n\
         Coalmine-Window: {from}/{to}\n\
         {evidence}\
         Coalmine-Requested-By: {by}\n\
         {own}Coalmine-Controller: {version}\n",
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
