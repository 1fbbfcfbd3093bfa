//! From a canary's first minute to promotion or rollback, at the very moments when something changes.

use super::*;

#[test]
fn a_canary_bakes_is_judged_and_steps_up_once_hold_and_samples_are_there() {
    let mut bed = Bed::new(at(1_000));
    assert_eq!(bed.state(), "baking");
    bed.judge(OVERLAP, 99, 0);
    assert_eq!(bed.state_at(59_999), "baking", "a warm-up of a minute");
    assert_eq!(bed.state_at(60_000), "judging");
    assert_eq!(bed.state_at(119_999), "judging", "a hold of two minutes");
    assert_eq!(bed.state_at(120_000), "holding", "a hundred requests");
    assert_eq!(bed.hold(), Some(Hold::Undecided(Reason::LowSamples)));
    bed.judge(OVERLAP, 100, 0);
    assert_eq!(bed.look(), [News::Enters(digits(), "advancing")]);
    assert_eq!(bed.moves(), [Move::Step(weight(2_500))]);
    // Its delivery begins another stay: of that only what comes from now on counts.
    bed.judge(OVERLAP, 100, 5);
    bed.time(130_000);
    bed.deliver(at(2_500));
    assert_eq!((bed.state(), bed.release().stay.requests_at, bed.release().stay.labels_at), ("judging", 100, 5));
    bed.judge(OVERLAP, 200, 14);
    assert_eq!(bed.state_at(189_999), "judging");
    assert_eq!(bed.state_at(190_000), "holding");
    assert_eq!(bed.hold(), Some(Hold::Undecided(Reason::LabelStarved)));
    bed.judge(OVERLAP, 200, 15);
    bed.look();
    assert_eq!(bed.state(), "awaiting_approval", "a person's yes before 50 %");
    bed.wish(Wish::Approve).unwrap();
    assert_eq!(bed.moves(), [Move::Step(weight(5_000))]);
    bed.deliver(at(5_000));
    assert_eq!(bed.hold(), Some(Hold::Undecided(Reason::Overlap)), "only a pass promotes");
    bed.judge(Verdict::Pass, 300, 20);
    bed.look();
    assert_eq!(bed.moves(), [Move::Promote { holdback: weight(500) }]);
}

#[test]
fn a_promotion_is_watched_and_ends_when_nothing_speaks_against_it() {
    let mut bed = Bed::watched();
    assert_eq!(bed.state_at(1_199_999), "watching", "ten minutes");
    bed.against(10.01_f64.ln());
    assert_eq!(bed.state_at(1_200_000), "holding");
    assert_eq!(bed.hold(), Some(Hold::Undecided(Reason::Overlap)));
    bed.judge(Verdict::Undecided(Reason::Guardrail), 1_000, 100);
    assert_eq!(bed.hold(), Some(Hold::Undecided(Reason::Guardrail)));
    bed.judge(OVERLAP, 1_000, 100);
    bed.order(Command::Freeze).unwrap();
    assert_eq!(bed.hold(), Some(Hold::Frozen));
    bed.order(Command::Unfreeze).unwrap();
    bed.look();
    assert_eq!(bed.moves(), [Move::Finish]);
    bed.deliver(planned(&[("v2", Role::Stable, 10_000), ("v1", Role::Previous, 0)]));
    assert_eq!(bed.state(), "promoted");
    assert!(bed.release().state.is_over() && bed.wanted().is_empty());
}

#[test]
fn a_worse_canary_gets_nothing_at_once_and_is_rejected_on_the_branch() {
    let mut bed = Bed::new(at(1_000));
    bed.judge(FAIL, 60, 0);
    bed.time(1_000);
    let news = bed.look();
    assert!(matches!(&news[..], [News::Enters(_, "rolling_back"), News::Clamped(_)]), "{news:?}");
    let artefact = bed.release().artefact.clone();
    assert!(bed.ledger.clamps().holds(&digits(), &artefact));
    assert_eq!(bed.moves(), [Move::RollBack { promoted: false, kind: Default::default() }]);
    assert_eq!(bed.release().state.intent().map(|i| (&*i.by, &*i.reason)), Some(("judge", "worse in errors")));
    bed.branch(committed());
    assert_eq!(bed.look(), [News::OnBranch(digits())]);
    assert_eq!(bed.state(), "rolling_back", "the file still gives it weight");
    assert_eq!(bed.deliver(rejected()), [News::Enters(digits(), "rolled_back")]);
    assert!(bed.ledger.clamps().holds(&digits(), &artefact), "an old file may come again");
    bed.deliver(at(1_000));
    assert_eq!(bed.state(), "rolled_back", "a replayed file makes it no less so");
}

#[test]
fn a_rollback_may_also_arrive_as_a_canary_at_zero() {
    let mut bed = Bed::rolling_back();
    bed.deliver(at(0));
    assert_eq!(bed.state(), "rolling_back", "the branch has not shown it");
    bed.branch(Outcome::There("c1".into()));
    bed.look();
    assert_eq!(bed.state(), "rolled_back");
    bed.deliver(at(1_000));
    assert_eq!(bed.state(), "rolled_back");
}

#[test]
fn what_is_said_of_another_release_or_attempt_is_not_heard() {
    for (release, attempt) in [(ReleaseKey(7), 1), (at(1_000).release.unwrap().key, 2)] {
        let mut bed = Bed::new(at(1_000));
        bed.judge(FAIL, 60, 0);
        let judgement = bed.judgements.get_mut(&digits()).unwrap();
        (judgement.release, judgement.attempt) = (release, attempt);
        assert_eq!(bed.state_at(60_000), "baking", "{release} {attempt}");
    }
}

#[test]
fn a_late_regression_takes_a_promotion_back_also_while_it_is_on_its_way() {
    let mut bed = Bed::watched();
    bed.judge(FAIL, 2_000, 100);
    bed.look();
    assert_eq!(bed.moves(), [Move::RollBack { promoted: true, kind: Default::default() }]);
    let mut bed = Bed::new(at(5_000));
    bed.judge(Verdict::Pass, 1_000, 100);
    bed.look();
    assert_eq!(bed.moves(), [Move::Promote { holdback: weight(500) }]);
    bed.judge(FAIL, 1_000, 100);
    bed.look();
    assert_eq!(bed.moves(), [Move::RollBack { promoted: true, kind: Default::default() }]);
    let mut bed = Bed::raising();
    bed.judge(FAIL, 1_000, 100);
    bed.look();
    assert_eq!(bed.moves(), [Move::RollBack { promoted: false, kind: Default::default() }], "a step is no promotion");
}

#[test]
fn a_raise_that_is_not_delivered_in_ten_minutes_is_decided_again_half_a_minute_later() {
    let mut bed = Bed::raising();
    bed.branch(committed());
    assert_eq!(bed.state_at(719_999), "advancing");
    assert_eq!(bed.state_at(720_000), "holding");
    assert_eq!(bed.hold(), Some(Hold::BranchAhead));
    assert_eq!(bed.state_at(749_999), "holding");
    bed.outcomes.clear();
    assert_eq!(bed.state_at(750_000), "advancing");
    // Another file than was judged: at once.
    bed.branch(Outcome::Moved);
    assert_eq!(bed.hold(), Some(Hold::BranchAhead));
    // ... and if that file comes, there is nothing to wait for.
    let mut other = at(1_000);
    other.digest ^= 1;
    bed.outcomes.clear();
    bed.deliver(other);
    assert_eq!(bed.state(), "advancing");
}

#[test]
fn a_raise_for_an_old_file_is_decided_anew_for_the_one_that_came() {
    let mut bed = Bed::raising();
    let mut other = at(1_000);
    other.digest ^= 1;
    let digest = other.digest;
    bed.deliver(other);
    assert_eq!(bed.wanted()[0].intent.digest, digest);
}

#[test]
fn peoples_no_is_heard_until_they_order_it_themselves() {
    for no in [Outcome::TakenBack("c2".into()), Outcome::Refused(place())] {
        let mut bed = Bed::raising();
        bed.branch(no.clone());
        assert_eq!(bed.hold(), Some(Hold::TakenBack), "{no:?}");
        assert_eq!(bed.state_at(3_000_000), "holding");
        assert_eq!(bed.hold(), Some(Hold::TakenBack), "{no:?}");
        bed.wish(Wish::Promote { override_judge: false }).unwrap();
        assert_eq!((bed.state(), &*bed.wanted()[0].intent.by), ("advancing", "ann"));
    }
}

#[test]
fn a_raise_that_waits_for_people_is_looked_for_only_once_they_have_merged_it() {
    let mut bed = Bed::raising();
    bed.branch(Outcome::Waiting(place()));
    assert_eq!(bed.state_at(2_000_000), "advancing");
    bed.branch(committed());
    assert_eq!(bed.state_at(2_599_999), "advancing", "ten minutes since they were seen to be asked");
    assert_eq!(bed.state_at(2_600_000), "holding");
}

#[test]
fn a_brake_takes_back_what_is_not_on_the_branch_yet() {
    for (outcome, taken_back) in [
        (None, true),
        (Some(Outcome::Failing("protected".into())), true),
        (Some(Outcome::Waiting(place())), true),
        (Some(committed()), false),
    ] {
        let mut bed = Bed::raising();
        if let Some(outcome) = outcome.clone() {
            bed.branch(outcome);
        }
        bed.git = false;
        assert_eq!(bed.hold(), taken_back.then_some(Hold::NoGit), "{outcome:?}");
    }
    let mut failing = Bed::raising();
    failing.branch(Outcome::Failing("protected".into()));
    assert_eq!(failing.state_at(3_000_000), "advancing", "it is tried on and on");
}

#[test]
fn what_was_let_in_again_is_another_attempt_that_starts_afresh() {
    let mut bed = Bed::rolled_back();
    assert_eq!(bed.release().attempt, 1);
    bed.branch(Outcome::Readmitted("c2".into()));
    bed.time(500_000);
    let news = bed.deliver(at(1_000));
    assert!(matches!(&news[..], [News::Lifted(_), News::Enters(_, "baking")]), "{news:?}");
    let Release { attempt, age, stay, .. } = bed.release();
    assert_eq!((*attempt, age.elapsed_ms(bed.now), stay.spell.elapsed_ms(bed.now)), (2, 0, 0));
}

#[test]
fn a_route_without_its_release_says_by_the_roles_what_became_of_it() {
    for (variants, state) in [
        (&[("v1", Role::Stable, 10_000)][..], "withdrawn"),
        (&[("v1", Role::Stable, 10_000), ("v2", Role::Rejected, 0)], "rolled_back"),
        (&[("v2", Role::Stable, 10_000)], "promoted"),
        (&[("v1", Role::Stable, 10_000), ("v2", Role::Shadow, 0)], "withdrawn"),
    ] {
        let mut bed = Bed::new(at(1_000));
        bed.deliver(planned(variants));
        assert_eq!(bed.state(), state, "{variants:?}");
    }
    // An old file that does not have it takes nothing from it.
    let mut bed = Bed::new(at(1_000));
    bed.judge(OVERLAP, 80, 3);
    bed.deliver(planned(&[("v1", Role::Stable, 10_000)]));
    bed.deliver(at(1_000));
    assert_eq!((bed.release().attempt, bed.state()), (1, "baking"));
    assert_eq!(bed.release().stay.requests_at, 80, "its hold begins again");
}

#[test]
fn a_spell_goes_on_over_restarts() {
    let spell = Spell { since: Now { mono_ms: 100, wall_ms: 0 }, before_ms: 30 };
    assert_eq!(spell.elapsed_ms(Now { mono_ms: 150, wall_ms: 9 }), 80);
    assert_eq!(Spell::begin(Now { mono_ms: 100, wall_ms: 0 }).elapsed_ms(Now { mono_ms: 150, wall_ms: 9 }), 50);
}

#[test]
fn states_have_words_and_say_whether_they_are_the_end() {
    let intent = Bed::raising().release().state.intent().unwrap().clone();
    let states = [
        State::Staged,
        State::Baking,
        State::Judging,
        State::Holding(Hold::Paused),
        State::AwaitingApproval,
        State::Advancing(Box::new(intent.clone()), Now::default()),
        State::Watching,
        State::RollingBack(Box::new(intent)),
        State::RolledBack,
        State::Promoted,
        State::Withdrawn,
    ];
    for (state, word) in states.iter().zip(State::ALL) {
        assert_eq!(state.as_str(), word);
        assert_eq!(state.is_over(), matches!(word, "rolled_back" | "promoted" | "withdrawn"), "{word}");
        assert_eq!(state.raise().is_some(), word == "advancing", "{word}");
        assert_eq!(state.intent().is_some(), matches!(word, "advancing" | "rolling_back"), "{word}");
    }
}

#[test]
fn a_release_begins_at_its_file_s_weight_when_it_is_delivered() {
    let now = Now { mono_ms: 7_000, wall_ms: 9 };
    let begun = Release::begin(&at(1_000), 3, now).unwrap();
    assert_eq!(
        (begun.attempt, begun.stay.weight, begun.stay.promoted, begun.stay.spell.since),
        (3, weight(1_000), false, now)
    );
    let begun = Release::begin(&promoted(), 1, now).unwrap();
    assert_eq!((begun.stay.weight, begun.stay.promoted), (weight(9_500), true));
    assert_eq!(Release::begin(&rejected(), 1, now), None, "that is no release");
}

#[test]
fn what_is_known_to_be_rejected_is_rolled_back_when_a_file_puts_it_under_release() {
    let mut bed = Bed::new(at(1_000));
    bed.ledger.quarantine = Bed::rolling_back().ledger.quarantine;
    bed.look();
    assert_eq!((bed.state(), bed.release().state.intent()), ("rolling_back", Some(&bed.ledger.quarantine[0].intent)));
}

#[test]
fn a_raise_in_flight_is_left_alone_until_it_is_late() {
    let mut bed = Bed::raising();
    assert_eq!(bed.state_at(400_000), "advancing");
    bed.branch(committed());
    assert_eq!(bed.state_at(720_000), "holding", "ten minutes since it was decided");
    // What a person ordered against the evidence, the plan does not take back.
    let mut bed = Bed::new(at(1_000));
    bed.judge(OVERLAP, 0, 0);
    bed.wish(Wish::Promote { override_judge: true }).unwrap();
    assert_eq!(bed.hold(), None);
    assert_eq!((bed.state(), &*bed.wanted()[0].intent.by), ("advancing", "ann"));
}
