//! Whether the next step of the plan is due, and if not, why.

use super::{
    AGAIN_AFTER_MS, Release, Seen, State,
    intent::{Move, Outcome},
};
use crate::core::{
    judge::{Evidence, OnInconclusive, Reason, Verdict},
    plan::{Plan, Step},
    split::Weight,
};
use std::time::Duration;

/// Why the next step is not taken although its time has come.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hold {
    /// The judge cannot tell yet.
    Undecided(Reason),
    /// The judge cannot tell, and the release has passed its deadline.
    Deadline(Reason),
    /// A person paused it.
    Paused,
    /// A person froze all raises.
    Frozen,
    /// There is no branch to commit to.
    NoGit,
    /// Its weight is set by hand: the plan waits until that is over.
    ByHand,
    /// The branch has another file than was delivered: decided again once that is here.
    BranchAhead,
    /// People have taken the raise back from this file, or refused it: only their own order goes on from here.
    TakenBack,
    /// It should be rolled back, and nobody could take its traffic.
    NoHeir,
    /// The route has no plan, or the plan has no step above this weight.
    EndOfPlan,
}

impl Hold {
    /// The word in messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecided(reason) => reason.as_str(),
            Self::Deadline(_) => "deadline",
            Self::Paused => "paused",
            Self::Frozen => "frozen",
            Self::NoGit => "no_git",
            Self::ByHand => "by_hand",
            Self::BranchAhead => "branch_ahead",
            Self::TakenBack => "taken_back",
            Self::NoHeir => "no_heir",
            Self::EndOfPlan => "end_of_plan",
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Undecided(reason) => format!("the judge cannot tell yet ({})", reason.as_str()),
            Self::Deadline(reason) => format!("its deadline is over and the judge cannot tell ({})", reason.as_str()),
            Self::Paused => "it is paused".into(),
            Self::Frozen => "all raises are frozen".into(),
            Self::NoGit => "there is no Git remote to commit to".into(),
            Self::ByHand => "its weight is set by hand".into(),
            Self::BranchAhead => "the branch has another file than was delivered".into(),
            Self::TakenBack => "people have taken that back or refused it: `promote` does it all the same".into(),
            Self::NoHeir => "it should be rolled back and nobody could take its traffic".into(),
            Self::EndOfPlan => "the plan has no further step".into(),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Due {
    Staged,
    Waiting,
    Held(Hold),
    Approval,
    RollBack,
    Raise(Move),
}

/// What the plan and the judge say is next.
pub(super) fn due(release: &Release, seen: &Seen<'_>) -> Due {
    let plan = seen.route.plan.clone().unwrap_or_default();
    let waiting = wait_ms(release, seen, &plan) > 0;
    if release.stay.promoted {
        let judged = seen.judged(release);
        let clear = judged.is_none_or(|judgement| judgement.evidence.is_clear());
        let guarded = judged.is_some_and(|judgement| judgement.verdict == Verdict::Undecided(Reason::Guardrail));
        return match brake(release, seen) {
            _ if waiting => Due::Waiting,
            Some(hold) => Due::Held(hold),
            None if guarded => Due::Held(Hold::Undecided(Reason::Guardrail)),
            None if !clear => Due::Held(Hold::Undecided(Reason::Overlap)),
            None => Due::Raise(Move::Finish),
        };
    }
    if release.stay.weight == Weight::ZERO && !seen.is_copied(release) {
        return Due::Staged;
    }
    let Some(next) = next(&plan, release.stay.weight) else { return Due::Held(Hold::EndOfPlan) };
    if waiting {
        return Due::Waiting;
    }
    let over = |deadline: Duration| u128::from(release.age.elapsed_ms(seen.now)) >= deadline.as_millis();
    let stalled = plan.deadline.is_some_and(over);
    match (undecided(release, seen, &plan), seen.route.policy.on_inconclusive, brake(release, seen)) {
        (
            Some(Reason::Overlap | Reason::LowSamples | Reason::LabelStarved | Reason::Endpoint),
            OnInconclusive::Rollback,
            _,
        ) => Due::RollBack,
        // Nor does a monitoring system that is away kill a canary.
        (Some(reason), OnInconclusive::RollbackOnStall, _) if stalled && reason != Reason::Guardrail => Due::RollBack,
        (Some(reason), ..) if stalled => Due::Held(Hold::Deadline(reason)),
        (Some(reason), ..) => Due::Held(Hold::Undecided(reason)),
        (None, _, Some(hold)) => Due::Held(hold),
        (None, _, None) if next.approve => Due::Approval,
        (None, _, None) => Due::Raise(raise(&plan, next.weight)),
    }
}

/// What keeps every raise back, however good the canary is.
pub(super) fn brake(release: &Release, seen: &Seen<'_>) -> Option<Hold> {
    let ahead = release
        .behind
        .is_some_and(|(digest, since)| digest == seen.route.digest && seen.now.since_ms(since) < AGAIN_AFTER_MS);
    let brakes = [
        (!seen.git, Hold::NoGit),
        (seen.frozen, Hold::Frozen),
        (release.paused_by.is_some(), Hold::Paused),
        (seen.by_hand, Hold::ByHand),
        (ahead, Hold::BranchAhead),
        (release.taken_back == Some(seen.route.digest), Hold::TakenBack),
    ];
    brakes.into_iter().find_map(|(holds, hold)| holds.then_some(hold))
}

/// How much of the hold, or of the watch, is left, milliseconds.
pub(super) fn wait_ms(release: &Release, seen: &Seen<'_>, plan: &Plan) -> u64 {
    let hold = match release.stay.promoted {
        true => plan.watch.hold,
        false => here(plan, release.stay.weight).map_or(Duration::ZERO, |step| step.hold),
    };
    let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(u64::MAX);
    hold_ms.saturating_sub(release.stay.spell.elapsed_ms(seen.now))
}

/// What a person's `promote` means now.
pub(super) fn asked(release: &Release, seen: &Seen<'_>, override_judge: bool) -> Result<Move, &'static str> {
    match brake(release, seen) {
        Some(Hold::NoGit) => {
            return Err(
                "there is no Git remote to commit to; set `git:` in the settings, or commit the weights yourself",
            );
        }
        Some(Hold::Paused) => return Err("it is paused; resume it first"),
        Some(Hold::Frozen) => return Err("all raises are frozen; unfreeze first"),
        Some(Hold::ByHand) => return Err("its weight is set by hand; `set-weight --clear` first"),
        // A person may ask at any time; the branch says whether it can be.
        Some(
            Hold::BranchAhead
            | Hold::TakenBack
            | Hold::Undecided(_)
            | Hold::Deadline(_)
            | Hold::NoHeir
            | Hold::EndOfPlan,
        )
        | None => {}
    }
    let taken_back = matches!(seen.outcome, Some(Outcome::TakenBack(_) | Outcome::Refused(_)));
    if release.state.raise().is_some_and(|raise| raise.digest == seen.route.digest && !taken_back) {
        return Err("a raise is on its way already; it counts once it is delivered");
    }
    if release.stay.promoted {
        return Ok(Move::Finish);
    }
    let plan = seen.route.plan.clone().unwrap_or_default();
    let to = next(&plan, release.stay.weight).map_or(Weight::FULL, |step| step.weight);
    let judged = seen.judged(release);
    let passed = judged.is_some_and(|judgement| judgement.verdict == Verdict::Pass);
    let clear = judged.map_or(release.stay.weight == Weight::ZERO, |judgement| judgement.evidence.is_clear());
    match (to == Weight::FULL, override_judge) {
        (_, true) => Ok(raise(&plan, to)),
        (true, false) if !passed => Err("the judge has not passed the canary; repeat with the override, and a reason"),
        (false, false) if !clear => Err("there is evidence against the canary; repeat with the override, and a reason"),
        (_, false) => Ok(raise(&plan, to)),
    }
}

/// The raise that a person's `approve` lets go, if that is all that is missing.
pub(super) fn approved(release: &Release, seen: &Seen<'_>) -> Option<Move> {
    let plan = seen.route.plan.as_ref()?;
    let waits = release.state.raise().is_none() && due(release, seen) == Due::Approval;
    next(plan, release.stay.weight).filter(|_| waits).map(|step| raise(plan, step.weight))
}

/// What comes next, in words, if nobody interferes.
pub(super) fn ahead(release: &Release, seen: &Seen<'_>) -> String {
    let plan = seen.route.plan.clone().unwrap_or_default();
    let next = match next(&plan, release.stay.weight).map(|step| raise(&plan, step.weight)) {
        _ if release.stay.promoted => Move::Finish.words(),
        Some(step) => step.words(),
        None => "nothing".into(),
    };
    match (&release.state, due(release, seen)) {
        (State::Advancing(intent, _), _) if matches!(seen.outcome, Some(Outcome::Waiting(_))) => {
            format!("{} waits for people to merge it; it counts once it is delivered", intent.to.words())
        }
        (State::Advancing(intent, _), _) => {
            format!("{} is committed next; it counts once it is delivered", intent.to.words())
        }
        (State::RollingBack(_), _) => "the rollback is committed next; its traffic is gone already".into(),
        (_, Due::Staged) => "it is at 0 %; `promote` starts it".into(),
        (_, Due::Waiting) => {
            let left = wait_ms(release, seen, &plan).div_ceil(1000);
            format!("{next} comes next, in {left} s at the earliest")
        }
        (_, Due::Held(hold)) => format!("{next} comes next, but {}", hold.words()),
        (_, Due::Approval) => format!("{next} waits for `approve`"),
        (_, Due::RollBack) => "it is rolled back next".into(),
        (_, Due::Raise(_)) => format!("{next} is committed next"),
    }
}

/// To 100 % is another thing than a step: roles change, too.
fn raise(plan: &Plan, to: Weight) -> Move {
    let holdback = if plan.watch.hold.is_zero() { Weight::ZERO } else { plan.watch.holdback };
    if to == Weight::FULL { Move::Promote { holdback } } else { Move::Step(to) }
}

fn next(plan: &Plan, weight: Weight) -> Option<&Step> {
    plan.steps.iter().find(|step| step.weight > weight)
}

/// The step the candidate is at. A weight off the plan was a person's choice: it counts as the step below it.
fn here(plan: &Plan, weight: Weight) -> Option<&Step> {
    plan.steps.iter().rev().find(|step| step.weight <= weight)
}

/// What the judge lacks for the next step. A step with a minimum of its own is left once that is met and nothing speaks
/// against the canary; one without, or that asks for it, waits for a pass, and so does promotion.
fn undecided(release: &Release, seen: &Seen<'_>, plan: &Plan) -> Option<Reason> {
    let Some(judgement) = seen.judged(release) else { return Some(Reason::NoData) };
    let Evidence { canary_requests, canary_labels, .. } = judgement.evidence;
    let here = here(plan, release.stay.weight);
    let (requests, labels) = here.map_or((0, 0), |step| (step.requests, step.labels));
    let promotion = next(plan, release.stay.weight).is_none_or(|step| step.weight == Weight::FULL);
    if canary_requests.saturating_sub(release.stay.requests_at) < requests {
        return Some(Reason::LowSamples);
    }
    if canary_labels.saturating_sub(release.stay.labels_at) < labels {
        return Some(Reason::LabelStarved);
    }
    let needs_pass = promotion || here.is_none_or(|step| step.pass) || (requests == 0 && labels == 0);
    match judgement.verdict {
        Verdict::Undecided(
            reason @ (Reason::NoData
            | Reason::LowSamples
            | Reason::SplitMismatch
            | Reason::StableUnhealthy
            | Reason::Guardrail),
        ) => Some(reason),
        Verdict::Undecided(reason) if needs_pass => Some(reason),
        Verdict::Pass | Verdict::Fail(_) | Verdict::Undecided(_) if !judgement.evidence.is_clear() => {
            Some(Reason::Overlap)
        }
        Verdict::Pass | Verdict::Fail(_) | Verdict::Undecided(_) => None,
    }
}
