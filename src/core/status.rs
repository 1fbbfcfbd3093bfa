//! What the control plane tells people: what is in force, where each release stands, and what is wrong.
//!
//! `ConfigStatus` is written by the config loop, judgements by the judge loop, `ReleaseStatus` by the release loop: one writer each. The admin plane puts them
//! together with the snapshot.

use super::{
    name::{Generation, ReleaseKey, Revision, RouteName},
    release::{
        Alert, ByHand, Release, State,
        intent::{Intent, Outcome},
        ledger::{Ledger, World},
    },
    split::Weight,
};

/// How the routes file is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigStatus {
    /// The generation in force; 0 before the first good file.
    pub generation: Generation,
    /// What it was compiled from.
    pub revision: Option<Revision>,
    /// When it came into force, milliseconds since 1970 UTC.
    pub loaded_ms: u64,
    /// Problems of the newest document, one a piece, if it was refused; the last good table stays.
    pub problems: Vec<String>,
    /// Documents that became the table in force, so far.
    pub reloads: u64,
    /// Documents that were refused, so far.
    pub refusals: u64,
}

/// Where a release stands, for people.
#[derive(Clone, PartialEq, Debug)]
pub struct ReleaseStatus {
    /// Its identity.
    pub key: ReleaseKey,
    /// The word for its state.
    pub state: &'static str,
    /// Why it does not go on, or what it is doing.
    pub reason: Box<str>,
    /// Which attempt.
    pub attempt: u32,
    /// The candidate's weight in the delivered file.
    pub weight: Weight,
    /// Time at that weight, milliseconds.
    pub at_weight_ms: u64,
    /// The next weight of the plan.
    pub next: Option<Weight>,
    /// Who paused it.
    pub paused_by: Option<Box<str>>,
    /// Who froze all raises.
    pub frozen_by: Option<Box<str>>,
    /// The weight that a person set for a while, and until when.
    pub by_hand: Option<ByHand>,
    /// What a person should know of.
    pub alerts: Vec<Alert>,
    /// When the intent in flight was decided, milliseconds since 1970 UTC.
    pub decided_ms: Option<u64>,
    /// The commit of the intent in flight.
    pub commit: Option<Box<str>>,
    /// What keeps the intent in flight from the branch.
    pub trouble: Option<Box<str>>,
    /// Where people are asked to merge the intent in flight.
    pub waits_for: Option<Box<str>>,
    /// The intent in flight itself.
    pub intent: Option<Box<Intent>>,
    /// The raise that people have refused, and where.
    pub refused: Option<Box<(Intent, Outcome)>>,
}

impl ReleaseStatus {
    /// What `release` of the route `name` looks like from outside.
    #[must_use]
    pub fn of(name: &RouteName, release: &Release, ledger: &Ledger, world: &World<'_>) -> Self {
        let reason = match &release.state {
            State::Holding(hold) => hold.as_str().into(),
            State::Advancing(intent, _) | State::RollingBack(intent) => {
                format!("{}: {}", intent.to.words(), intent.reason).into()
            }
            State::Staged
            | State::Baking
            | State::Judging
            | State::AwaitingApproval
            | State::Watching
            | State::RolledBack
            | State::Promoted
            | State::Withdrawn => "".into(),
        };
        let plan = world.snapshot.routes.named(name.as_str()).and_then(|(_, route)| route.plan.as_ref());
        let above = plan.and_then(|plan| plan.steps.iter().map(|step| step.weight).find(|w| *w > release.stay.weight));
        let outcome = release.state.intent().and_then(|intent| world.outcomes.get(&intent.id()));
        let (commit, trouble, waits_for) = match outcome {
            Some(Outcome::Committed(commit)) => (Some(commit.clone()), None, None),
            Some(Outcome::Failing(why)) => (None, Some(why.clone()), None),
            Some(Outcome::Waiting(place)) => (None, None, Some(place.clone())),
            Some(Outcome::Refused(place)) => (None, Some(refused(place)), None),
            Some(
                Outcome::There(_) | Outcome::Moved | Outcome::NotOurs | Outcome::TakenBack(_) | Outcome::Readmitted(_),
            )
            | None => (None, None, None),
        };
        Self {
            key: release.key,
            state: release.state.as_str(),
            reason,
            attempt: release.attempt,
            weight: release.stay.weight,
            at_weight_ms: release.stay.spell.elapsed_ms(world.now),
            next: above,
            paused_by: release.paused_by.clone(),
            frozen_by: ledger.frozen.as_ref().map(|frozen| frozen.by.clone()),
            by_hand: ledger.by_hand.get(name).cloned(),
            alerts: ledger.alerts(name, world),
            decided_ms: release.state.intent().map(|intent| intent.window_ms[1]),
            commit,
            trouble,
            waits_for,
            intent: release.state.intent().cloned().map(Box::new),
            refused: release.refused.clone(),
        }
    }
}

/// For people who have refused a rollback.
fn refused(place: &str) -> Box<str> {
    format!(
        "{place} was closed without being merged: it stays at 0 until a commit rejects it, or `readmit` lets it in; or reopen that and merge it"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::release::tests::{Bed, FAIL, at, committed, digits, weight};

    fn status(bed: &Bed) -> ReleaseStatus {
        ReleaseStatus::of(&digits(), bed.release(), &bed.ledger, &bed.world())
    }

    #[test]
    fn people_see_where_it_stands_and_which_weight_comes_next() {
        let mut bed = Bed::new(at(1_000));
        bed.time(5_000);
        let ReleaseStatus { state, weight: now, next, at_weight_ms, commit, .. } = status(&bed);
        assert_eq!(
            (state, now, next, at_weight_ms, commit),
            ("baking", weight(1_000), Some(weight(2_500)), 5_000, None)
        );
        assert_eq!(status(&Bed::new(at(2_499))).next, Some(weight(2_500)), "above the one it is at");
        assert_eq!(status(&Bed::new(at(10_000))).next, None);
        let raising = Bed::raising();
        assert_eq!(
            (&*status(&raising).reason, status(&raising).decided_ms),
            ("the step to 25 %: the plan", Some(1_120_000))
        );
    }

    #[test]
    fn people_see_what_became_of_its_commit() {
        let of = |outcome| {
            let mut bed = Bed::rolling_back();
            bed.branch(outcome);
            let status = status(&bed);
            [status.commit, status.trouble, status.waits_for].map(|told| told.map(String::from))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(of(committed()), [some("c1"), None, None]);
        assert_eq!(of(Outcome::Failing("protected".into())), [None, some("protected"), None]);
        assert_eq!(of(Outcome::Waiting("pulls/1".into())), [None, None, some("pulls/1")]);
        assert!(
            of(Outcome::Refused("pulls/1".into()))[1].as_ref().is_some_and(|why| why.starts_with("pulls/1 was closed"))
        );
        assert_eq!(of(Outcome::Moved), [None, None, None]);
        let mut bed = Bed::rolling_back();
        bed.judge(FAIL, 60, 0);
        assert_eq!((status(&bed).state, &*status(&bed).reason), ("rolling_back", "the rollback: worse in errors"));
    }
}
