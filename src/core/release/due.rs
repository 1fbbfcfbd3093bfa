//! Whether the next step of the plan is due, and if not, why.

use super::{Release, Seen, intent::Move};
use crate::core::{
    judge::{Evidence, OnInconclusive, Reason, Verdict},
    plan::{Plan, Step},
    split::Weight,
};
use std::time::Duration;

/// Why the next step is not taken although its time has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// The judge cannot tell yet.
    Undecided(Reason),
    /// A person paused it.
    Paused,
    /// There is no branch to commit to.
    NoGit,
    /// The route has no plan, or the plan has no step above this weight.
    EndOfPlan,
    /// The canary has weight 0, and no copies by which it could be judged: a person starts it.
    Staged,
}

impl Hold {
    /// The word in messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecided(reason) => reason.as_str(),
            Self::Paused => "paused",
            Self::NoGit => "no_git",
            Self::EndOfPlan => "end_of_plan",
            Self::Staged => "staged",
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Due {
    Waiting,
    Held(Hold),
    Approval,
    RollBack,
    Raise(Move),
}

/// What the plan and the judge say is next.
pub(super) fn due(release: &Release, seen: &Seen<'_>) -> Due {
    let elapsed_ms = release.stay.elapsed_ms(seen.now);
    let over = |hold: Duration| u128::from(elapsed_ms) >= hold.as_millis();
    let plan = seen.route.plan.clone().unwrap_or_default();
    let undecided = undecided(release, seen, &plan);
    if release.stay.promoted {
        let clear = seen.judged(release).is_none_or(|judgement| judgement.evidence.is_clear());
        return match () {
            () if !over(plan.watch.hold) => Due::Waiting,
            () if release.paused_by.is_some() => Due::Held(Hold::Paused),
            () if !seen.git => Due::Held(Hold::NoGit),
            () if !clear => Due::Held(Hold::Undecided(Reason::Overlap)),
            () => Due::Raise(Move::Finish),
        };
    }
    if release.stay.weight == Weight::ZERO && !seen.is_copied(release) {
        return Due::Held(Hold::Staged);
    }
    let Some(next) = next(&plan, release.stay.weight) else { return Due::Held(Hold::EndOfPlan) };
    if !over(here(&plan, release.stay.weight).map_or(Duration::ZERO, |step| step.hold)) {
        return Due::Waiting;
    }
    let stalled = plan.deadline.is_some_and(|deadline| {
        let since = seen.judged(release).map_or(seen.now, |judgement| judgement.since);
        u128::from(seen.now.since_ms(since)) >= deadline.as_millis()
    });
    match (undecided, seen.route.policy.on_inconclusive) {
        (Some(Reason::Overlap | Reason::LowSamples | Reason::LabelStarved), OnInconclusive::Rollback) => Due::RollBack,
        (Some(_), OnInconclusive::RollbackOnStall) if stalled => Due::RollBack,
        (Some(reason), _) => Due::Held(Hold::Undecided(reason)),
        (None, _) if release.paused_by.is_some() => Due::Held(Hold::Paused),
        (None, _) if !seen.git => Due::Held(Hold::NoGit),
        (None, _) if next.approve => Due::Approval,
        (None, _) => Due::Raise(raise(&plan, next.weight)),
    }
}

/// What a person's `promote` means now.
pub(super) fn asked(release: &Release, seen: &Seen<'_>, override_judge: bool) -> Result<Move, &'static str> {
    if !seen.git {
        return Err("there is no Git remote to commit to; set `git:` in the settings, or commit the weights yourself");
    }
    if release.paused_by.is_some() {
        return Err("it is paused; resume it first");
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
            reason @ (Reason::NoData | Reason::LowSamples | Reason::SplitMismatch | Reason::StableUnhealthy),
        ) => Some(reason),
        Verdict::Undecided(reason) if needs_pass => Some(reason),
        Verdict::Pass | Verdict::Fail(_) | Verdict::Undecided(_) if !judgement.evidence.is_clear() => {
            Some(Reason::Overlap)
        }
        Verdict::Pass | Verdict::Fail(_) | Verdict::Undecided(_) => None,
    }
}
