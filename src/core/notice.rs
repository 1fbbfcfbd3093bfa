//! What is worth telling people outside: verdicts, steps, rollbacks, commits that do not reach the branch.
//!
//! Found by comparing what is with what was told already. A notice's id follows from what it is about, so that one told again
//! after a restart, or by another replica, is known for the same.

use super::{
    judge::{EndpointEvidence, Judgement, Reason, Verdict},
    name::{ReleaseKey, RouteName},
    now::Now,
    release::{
        intent::{self, Intent, Move, Outcome, Wanted},
        made::Made,
    },
    status::ReleaseStatus,
};
use std::collections::{BTreeMap, BTreeSet};

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// The judge says something else of a release than before.
    Verdict,
    /// A step up, the end of a watch, or a candidate let in again is on the branch.
    Step,
    /// A promotion is on the branch.
    Promotion,
    /// A candidate is held at 0 from now on.
    Rollback,
    /// The rollback is on the branch.
    RollbackCommitted,
    /// A commit does not reach the branch.
    WriteBlocked,
    /// People are asked to merge a commit.
    Waiting,
    /// People have refused a commit: what a rollback was to reject is held at 0 until they decide, a raise is not asked for
    /// again by the plan.
    Refused,
    /// Nothing can be said of a canary because one of its endpoints is not like the others.
    Endpoint,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Verdict,
        Self::Step,
        Self::Promotion,
        Self::Rollback,
        Self::RollbackCommitted,
        Self::WriteBlocked,
        Self::Waiting,
        Self::Refused,
        Self::Endpoint,
    ];

    /// The word in settings and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Step => "step",
            Self::Promotion => "promotion",
            Self::Rollback => "rollback",
            Self::RollbackCommitted => "rollback_committed",
            Self::WriteBlocked => "write_blocked",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Endpoint => "endpoint",
        }
    }
}

/// Something to tell.
#[derive(Clone, PartialEq, Debug)]
pub struct Notice {
    /// What happened.
    pub kind: Kind,
    /// The same for the same event, whoever tells it and however often.
    pub id: String,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// The route.
    pub route: RouteName,
    /// The release.
    pub release: ReleaseKey,
    /// Which attempt at it.
    pub attempt: u32,
    /// The judge's word.
    pub verdict: Box<str>,
    /// The numbers behind it, a line a signal.
    pub numbers: Box<str>,
    /// What is decided, if it is about a decision.
    pub intent: Option<Box<Intent>>,
    /// The commit on the branch.
    pub commit: Option<Box<str>>,
    /// What keeps the commit from the branch.
    pub trouble: Option<Box<str>>,
    /// Where people are, or were, asked to merge it.
    pub place: Option<Box<str>>,
}

impl Notice {
    /// One line for people.
    #[must_use]
    pub fn words(&self) -> String {
        let (route, what) = (&self.route, self.intent.as_ref().map_or(String::new(), |intent| intent.to.words()));
        let by = self.intent.as_ref().map_or(String::new(), |i| format!("{} ({})", i.reason, i.by));
        let commit = self.commit.as_deref().map_or(String::new(), |commit| format!(", commit {commit}"));
        match self.kind {
            Kind::Verdict => format!("{route}: the judge says {}", self.verdict),
            Kind::Step | Kind::Promotion | Kind::RollbackCommitted => {
                format!("{route}: {what} is on the branch{commit}: {by}")
            }
            Kind::Rollback => format!("{route}: the canary is held at 0 from now on: {by}"),
            Kind::WriteBlocked => {
                let trouble = self.trouble.as_deref().unwrap_or("");
                format!("{route}: {what} does not reach the branch: {trouble}")
            }
            Kind::Endpoint => {
                let which = self.trouble.as_deref().unwrap_or("");
                format!("{route}: {which}; until it is mended or replaced the canary can be neither passed nor blamed")
            }
            Kind::Waiting => {
                let place = self.place.as_deref().unwrap_or("");
                format!("{route}: {what} waits for people to merge {place}: {by}")
            }
            Kind::Refused => {
                let place = self.place.as_deref().unwrap_or("");
                let next = match self.intent.as_ref().is_some_and(|intent| intent.is_raise()) {
                    true => "the plan does not ask again from here, `promote` does",
                    false => "held at 0 until a commit or `readmit` decides",
                };
                format!("{route}: {what} was refused, {place} is closed: {next}")
            }
        }
    }
}

/// What there is to compare.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// What the judge says.
    pub judgements: &'a BTreeMap<RouteName, Judgement>,
    /// Where releases stand.
    pub releases: &'a BTreeMap<RouteName, ReleaseStatus>,
    /// What the branch should take.
    pub wanted: &'a [Wanted],
    /// What became of it.
    pub outcomes: &'a BTreeMap<String, Outcome>,
    /// The last commits of this process.
    pub made: &'a [Made],
    /// The present.
    pub now: Now,
}

/// What was told already.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Told {
    verdicts: BTreeMap<RouteName, (ReleaseKey, u32, Verdict)>,
    intents: BTreeSet<(String, Kind)>,
    /// By the notice's id.
    endpoints: BTreeSet<String>,
    /// Number of the last commit of this process that was told.
    made: u64,
}

impl Told {
    /// What is new.
    pub fn look(&mut self, sight: &Sight<'_>) -> Vec<Notice> {
        let mut notices = Vec::new();
        self.verdicts.retain(|route, _| sight.judgements.contains_key(route));
        for (route, judgement) in sight.judgements {
            let now = (judgement.release, judgement.attempt, judgement.verdict);
            let before = self.verdicts.insert(route.clone(), now);
            let same = before.filter(|(release, attempt, _)| (*release, *attempt) == (now.0, now.1));
            // Every trial begins undecided, and why it is undecided changes all the time.
            let word = same.map_or("undecided", |(.., verdict)| verdict.as_str());
            if word != judgement.verdict.as_str() {
                notices.push(verdict(judgement));
            }
        }
        let differ: BTreeMap<String, Notice> =
            sight.judgements.values().flat_map(endpoints).map(|notice| (notice.id.clone(), notice)).collect();
        // The next time is news again.
        self.endpoints.retain(|id| differ.contains_key(id));
        notices.extend(differ.into_values().filter(|notice| self.endpoints.insert(notice.id.clone())));
        let asked = |wanted: &&Wanted| wanted.shown.is_none() || wanted.intent.is_raise();
        let of_branch = sight.wanted.iter().filter(asked).map(|wanted| &wanted.intent);
        let of_releases = sight.releases.values().filter_map(|status| status.intent.as_deref());
        let of_loop = |intent| (Intent::id(intent), (intent, sight.outcomes.get(&intent.id())));
        // Nothing is wanted of the branch any more.
        let refused = sight.releases.values().filter_map(|status| status.refused.as_deref());
        let refused = refused.map(|(intent, outcome)| (intent.id(), (intent, Some(outcome))));
        let open: BTreeMap<String, (&Intent, Option<&Outcome>)> =
            of_branch.chain(of_releases).map(of_loop).chain(refused).collect();
        self.intents.retain(|(id, _)| open.contains_key(id));
        for (id, (intent, outcome)) in open {
            let now = kinds(intent, outcome);
            for kind in [Kind::WriteBlocked, Kind::Waiting, Kind::Refused] {
                if !now.contains(&kind) {
                    // The next time is news again.
                    self.intents.remove(&(id.clone(), kind));
                }
            }
            for kind in now {
                if self.intents.insert((id.clone(), kind)) {
                    notices.push(decided(intent, &id, kind, outcome, sight.now));
                }
            }
        }
        notices.extend(Made::news(sight.made, &mut self.made).map(|made| committed(made, sight.now)));
        notices
    }
}

/// What there is to tell of an intent whose commit is not made, or not by us.
fn kinds(intent: &Intent, outcome: Option<&Outcome>) -> Vec<Kind> {
    let down = matches!(intent.to, Move::RollBack { .. });
    let mut kinds = Vec::new();
    if down {
        kinds.push(Kind::Rollback);
    }
    match outcome {
        Some(Outcome::Failing(_)) => kinds.push(Kind::WriteBlocked),
        Some(Outcome::Waiting(_)) => kinds.push(Kind::Waiting),
        Some(Outcome::Refused(_)) => kinds.push(Kind::Refused),
        Some(
            Outcome::Committed(_)
            | Outcome::There(_)
            | Outcome::Moved
            | Outcome::NotOurs
            | Outcome::TakenBack(_)
            | Outcome::Readmitted(_),
        )
        | None => {}
    }
    kinds
}

/// A commit of ours.
fn committed(made: &Made, now: Now) -> Notice {
    let kind = match made.intent.to {
        Move::Step(_) | Move::Finish | Move::Readmit(_) => Kind::Step,
        Move::Promote { .. } => Kind::Promotion,
        Move::RollBack { .. } => Kind::RollbackCommitted,
    };
    Notice { commit: Some(made.commit.clone()), ..decided(&made.intent, &made.intent.id(), kind, None, now) }
}

fn verdict(judgement: &Judgement) -> Notice {
    let word = judgement.verdict.as_str();
    Notice {
        kind: Kind::Verdict,
        id: format!("{}-{}-{word}-{}", judgement.release, judgement.attempt, judgement.at.wall_ms),
        at_ms: judgement.at.wall_ms,
        route: judgement.route.clone(),
        release: judgement.release,
        attempt: judgement.attempt,
        verdict: intent::said(judgement.verdict),
        numbers: intent::numbers(judgement),
        intent: None,
        commit: None,
        trouble: None,
        place: None,
    }
}

/// What holds a release for one of its endpoints.
fn endpoints(judgement: &Judgement) -> Vec<Notice> {
    if judgement.verdict != Verdict::Undecided(Reason::Endpoint) {
        return Vec::new();
    }
    let notice = |of: &EndpointEvidence| Notice {
        kind: Kind::Endpoint,
        id: format!("{}-{}-endpoint-{}", judgement.release, judgement.attempt, of.name()),
        trouble: Some(of.line().into()),
        ..verdict(judgement)
    };
    judgement.evidence.endpoints.iter().map(notice).collect()
}

fn decided(intent: &Intent, id: &str, kind: Kind, outcome: Option<&Outcome>, now: Now) -> Notice {
    let (trouble, place) = match (kind, outcome) {
        (Kind::WriteBlocked, Some(Outcome::Failing(why))) => (Some(why.clone()), None),
        (Kind::Waiting, Some(Outcome::Waiting(place))) | (Kind::Refused, Some(Outcome::Refused(place))) => {
            (None, Some(place.clone()))
        }
        _ => (None, None),
    };
    Notice {
        kind,
        id: format!("{id}-{}", kind.as_str()),
        at_ms: if kind == Kind::Rollback { intent.window_ms[1] } else { now.wall_ms },
        route: intent.route.clone(),
        release: ReleaseKey::of(&intent.route, &intent.artefact),
        attempt: intent.attempt,
        verdict: intent.verdict.clone(),
        numbers: intent.numbers.clone(),
        intent: Some(Box::new(intent.clone())),
        commit: None,
        trouble,
        place,
    }
}

#[cfg(test)]
mod tests;
