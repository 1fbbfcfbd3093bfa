//! Why the next step is not taken, and what a person may ask for all the same.

use super::*;
use crate::core::judge::OnInconclusive;

/// At 10 % after two minutes with these samples, which is what its step asks for.
fn ready(plan: impl FnOnce(&mut Plan), policy: Policy, verdict: Verdict) -> Bed {
    let mut route = Route { policy, ..at(1_000) };
    plan(route.plan.as_mut().unwrap());
    let mut bed = Bed::new(route);
    bed.judge(verdict, 100, 0);
    bed.time(120_000);
    bed
}

fn undecided(on_inconclusive: OnInconclusive, reason: Reason) -> Bed {
    ready(|_| (), Policy { on_inconclusive, ..Policy::default() }, Verdict::Undecided(reason))
}

#[test]
fn a_canary_at_zero_waits_for_a_person_unless_it_gets_copies() {
    let mut bed = Bed::new(at(0));
    assert_eq!(bed.state_at(9_000_000), "staged");
    let copied = |position| Route { shadows: [(position, Weight::FULL)].into(), ..at(0) };
    let mut bed = Bed::new(copied(1));
    assert_eq!(bed.state(), "holding");
    assert_eq!(bed.hold(), Some(Hold::Undecided(Reason::NoData)));
    bed.judge(Verdict::Pass, 0, 0);
    bed.look();
    assert_eq!(bed.moves(), [Move::Step(weight(1_000))]);
    let mut bed = Bed::new(copied(0));
    assert_eq!(bed.state_at(0), "staged", "copies of somebody else's");
    // Only a canary at zero is staged, with copies or without.
    assert_eq!(Bed::new(at(1_000)).state(), "baking");
}

#[test]
fn a_weight_off_the_plan_counts_as_the_step_below_it() {
    for (basis_points, wait, next) in [(1_200, 120_000, 2_500), (2_500, 60_000, 5_000), (999, 0, 1_000)] {
        let mut bed = Bed::new(at(basis_points));
        bed.judge(Verdict::Pass, 100, 10);
        if wait > 0 {
            bed.time(wait - 1);
            bed.look();
            assert!(matches!(bed.state(), "judging" | "baking"), "{basis_points}: {}", bed.state());
        }
        bed.time(wait);
        bed.look();
        match next {
            5_000 => assert_eq!(bed.state(), "awaiting_approval"),
            next => assert_eq!(bed.moves(), [Move::Step(weight(next))], "{basis_points}"),
        }
    }
    let mut bed = Bed::new(route("digits", &[("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000)]));
    bed.judge(Verdict::Pass, 100, 10);
    assert_eq!(bed.hold(), Some(Hold::EndOfPlan), "no plan");
}

#[test]
fn what_is_undecided_is_held_rolled_back_or_rolled_back_once_the_deadline_is_over() {
    use OnInconclusive::{Hold as Holds, Rollback, RollbackOnStall};
    for reason in
        [Reason::NoData, Reason::LowSamples, Reason::SplitMismatch, Reason::StableUnhealthy, Reason::Guardrail]
    {
        assert_eq!(undecided(Holds, reason).hold(), Some(Hold::Undecided(reason)));
        let goes = matches!(reason, Reason::LowSamples);
        let mut bed = undecided(Rollback, reason);
        assert_eq!(bed.hold(), (!goes).then_some(Hold::Undecided(reason)));
        assert_eq!(bed.state() == "rolling_back", goes, "{reason:?}");
        let mut bed = undecided(RollbackOnStall, reason);
        assert_eq!(bed.hold(), Some(Hold::Undecided(reason)));
        bed.time(3_599_999);
        assert_eq!(bed.hold(), Some(Hold::Undecided(reason)));
        bed.time(3_600_000);
        let goes = reason != Reason::Guardrail;
        assert_eq!(
            bed.hold(),
            (!goes).then_some(Hold::Deadline(reason)),
            "a monitoring system that is away kills none"
        );
        assert_eq!(bed.state() == "rolling_back", goes, "{reason:?}");
    }
    let mut bed = undecided(Holds, Reason::SplitMismatch);
    bed.time(3_600_000);
    assert_eq!(bed.hold(), Some(Hold::Deadline(Reason::SplitMismatch)));
}

#[test]
fn a_step_with_minima_of_its_own_needs_no_pass_unless_it_asks_for_one() {
    for reason in [Reason::Overlap, Reason::LabelStarved, Reason::Skewed] {
        let verdict = Verdict::Undecided(reason);
        assert_eq!(ready(|_| (), Policy::default(), verdict).hold(), None, "{reason:?}");
        let mut asks = ready(|plan| plan.steps[0].pass = true, Policy::default(), verdict);
        assert_eq!(asks.hold(), Some(Hold::Undecided(reason)));
        let mut none = ready(|plan| plan.steps[0].requests = 0, Policy::default(), verdict);
        assert_eq!(none.hold(), Some(Hold::Undecided(reason)), "no minimum at all");
        let mut labels =
            ready(|plan| (plan.steps[0].requests, plan.steps[0].labels) = (0, 5), Policy::default(), verdict);
        labels.judge(verdict, 100, 5);
        assert_eq!(labels.hold(), None, "labels are a minimum, too");
        let mut last = ready(|plan| drop(plan.steps.drain(1..3)), Policy::default(), verdict);
        assert_eq!(last.hold(), Some(Hold::Undecided(reason)), "promotion needs a pass");
    }
    let mut smoke = ready(|_| (), Policy::default(), Verdict::Pass);
    smoke.against(10.01_f64.ln());
    assert_eq!(smoke.hold(), Some(Hold::Undecided(Reason::Overlap)), "something speaks against it");
    smoke.against(9.99_f64.ln());
    assert_eq!(smoke.hold(), None);
}

#[test]
fn holds_are_told_in_a_word_and_in_a_sentence() {
    let holds = [
        (Hold::Undecided(Reason::NoData), "no_data", "the judge cannot tell yet (no_data)"),
        (Hold::Deadline(Reason::Skewed), "deadline", "its deadline is over and the judge cannot tell (skewed)"),
        (Hold::Paused, "paused", "it is paused"),
        (Hold::Frozen, "frozen", "all raises are frozen"),
        (Hold::NoGit, "no_git", "there is no Git remote to commit to"),
        (Hold::ByHand, "by_hand", "its weight is set by hand"),
        (Hold::BranchAhead, "branch_ahead", "the branch has another file than was delivered"),
        (Hold::NoHeir, "no_heir", "it should be rolled back and nobody could take its traffic"),
        (Hold::EndOfPlan, "end_of_plan", "the plan has no further step"),
    ];
    for (hold, word, words) in holds {
        assert_eq!((hold.as_str(), &*hold.words()), (word, words));
    }
    assert!(Hold::TakenBack.as_str() == "taken_back" && Hold::TakenBack.words().contains("`promote`"));
}

fn promote(bed: &mut Bed, override_judge: bool) -> Result<String, String> {
    match bed.wish(Wish::Promote { override_judge }) {
        Ok((words, _)) => Ok(words),
        Err(why) => Err(why.to_string()),
    }
}

#[test]
fn a_person_may_go_on_before_time_but_not_against_evidence_without_saying_so() {
    let mut bed = Bed::new(at(1_000));
    assert!(promote(&mut bed, false).unwrap_err().contains("there is evidence"), "nothing is known of it");
    bed.judge(OVERLAP, 0, 0);
    assert!(promote(&mut bed.again(), false).unwrap().starts_with("the step to 25 % is committed next"));
    bed.against(10.01_f64.ln());
    assert!(promote(&mut bed, false).unwrap_err().contains("there is evidence against the canary"));
    assert!(promote(&mut bed, true).unwrap().starts_with("the step to 25 % is committed next"));
    assert!(promote(&mut bed, true).unwrap_err().contains("on its way already"));
    // To all only by a pass.
    let mut last = Bed::new(at(5_000));
    last.judge(OVERLAP, 900, 90);
    assert!(promote(&mut last, false).unwrap_err().contains("has not passed the canary"));
    last.judge(Verdict::Pass, 900, 90);
    assert!(promote(&mut last.again(), false).unwrap().starts_with("the promotion is committed next"));
    last.judge(OVERLAP, 900, 90);
    assert!(promote(&mut last, true).unwrap().starts_with("the promotion"));
    // A staged one is started by it: nobody has seen anything of it.
    assert!(promote(&mut Bed::new(at(0)), false).unwrap().starts_with("the step to 10 %"));
    assert!(promote(&mut Bed::watched(), false).unwrap().starts_with("the end of the watch"));
    // Off the plan's end it is the promotion.
    let mut off = Bed::new(route("digits", &[("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000)]));
    off.judge(Verdict::Pass, 9, 9);
    promote(&mut off, false).unwrap();
    assert_eq!(off.moves(), [Move::Promote { holdback: Weight::ZERO }]);
}

#[test]
fn a_raise_that_people_have_refused_or_that_is_for_another_file_is_ordered_anew() {
    let mut bed = Bed::raising();
    assert!(promote(&mut bed, false).unwrap_err().contains("on its way already"));
    bed.branch(Outcome::Refused(place()));
    assert!(promote(&mut bed, false).is_ok());
    let mut bed = Bed::raising();
    // It is known, but not looked at yet, that the file is another one.
    let mut other = at(1_000);
    other.digest ^= 1;
    bed.snapshot.routes = RouteTable::new(vec![Arc::new(other)]);
    assert!(promote(&mut bed, false).is_ok());
}

#[test]
fn every_brake_is_a_reason_not_to_raise() {
    let mut bed = ready(|_| (), Policy::default(), OVERLAP);
    bed.git = false;
    assert_eq!(bed.hold(), Some(Hold::NoGit));
    assert!(promote(&mut bed, true).unwrap_err().contains("no Git remote"));
    bed.git = true;
    bed.order(Command::Freeze).unwrap();
    assert_eq!(bed.hold(), Some(Hold::Frozen));
    assert!(promote(&mut bed, true).unwrap_err().contains("unfreeze first"));
    bed.order(Command::Unfreeze).unwrap();
    bed.wish(Wish::Pause).unwrap();
    assert_eq!(bed.hold(), Some(Hold::Paused));
    assert!(promote(&mut bed, true).unwrap_err().contains("resume it first"));
    bed.wish(Wish::Resume).unwrap();
    bed.wish(Wish::SetWeight { weight: weight(300), for_ms: 1_000 }).unwrap();
    assert_eq!(bed.hold(), Some(Hold::ByHand));
    assert!(promote(&mut bed, true).unwrap_err().contains("set by hand"));
    bed.wish(Wish::ClearWeight).unwrap();
    assert_eq!((bed.hold(), bed.state()), (None, "advancing"));
}
