//! Decisions and what they mean for the branch's file: identity, edits, and what is found there.

use super::*;
use crate::core::{
    plan::{FileEdit, RollbackKind},
    release::intent::{Change, Edit, said},
};

const DOWN: Move = Move::RollBack { promoted: false, kind: RollbackKind::Weights };

fn intent(to: Move, route: &Route) -> Intent {
    let mut intent = Bed::raising().release().state.intent().unwrap().clone();
    (intent.to, intent.digest) = (to, route.digest);
    intent
}

/// `name weight role` of every change.
fn changes(edit: &Edit) -> Option<Vec<String>> {
    let line = |c: &Change| format!("{} {} {}", c.variant, c.weight.basis_points(), c.role.as_str());
    match edit {
        Edit::Set(changes) => Some(changes.iter().map(line).collect()),
        Edit::Nothing | Edit::Moved | Edit::NotOurs => None,
    }
}

#[test]
fn an_intent_carries_what_the_judge_had_to_say() {
    let mut bed = Bed::new(at(1_000));
    bed.time(90_000);
    bed.judge(FAIL, 60, 0);
    bed.look();
    let told = bed.wanted()[0].intent.clone();
    assert_eq!((&*told.verdict, told.window_ms, &*told.by), ("fail errors", [1_000_000, 1_090_000], "judge"));
    assert!(told.numbers.ends_with("together: log e against 0.00, rolled back at 4.61"), "{}", told.numbers);
    // Nobody has said anything: it is decided at one moment, on no numbers.
    let mut bed = Bed::new(at(0));
    bed.time(5_000);
    bed.wish(Wish::Promote { override_judge: true }).unwrap();
    let told = bed.wanted()[0].intent.clone();
    assert_eq!((&*told.verdict, &*told.numbers, told.window_ms), ("none", "", [1_005_000; 2]));
    let all = [Verdict::Pass, FAIL, OVERLAP].map(said);
    assert_eq!(all.each_ref().map(|said| &**said), ["pass", "fail errors", "undecided overlap"]);
}

#[test]
fn only_signals_that_both_variants_have_shown_are_told_with_their_numbers() {
    let mut bed = Bed::new(at(1_000));
    let shown = |canary_n, stable_n| {
        let mut signal = crate::core::judge::trial::Trial::new(&Policy::default()).evidence().signals.remove(0);
        (signal.canary_n, signal.stable_n) = (canary_n, stable_n);
        signal
    };
    bed.judge(OVERLAP, 60, 0);
    for (canary_n, stable_n, lines) in [(1, 1, 2), (0, 1, 1), (1, 0, 1), (0, 0, 1)] {
        let judgement = bed.judgements.get_mut(&digits()).unwrap();
        judgement.evidence.signals = vec![shown(canary_n, stable_n)];
        let numbers = intent::numbers(judgement);
        assert_eq!(numbers.lines().count(), lines, "{canary_n} {stable_n}: {numbers}");
    }
}

#[test]
fn a_raise_by_the_plan_is_the_same_for_one_file_and_everything_else_for_one_time() {
    let file = at(1_000);
    let of = |to, by: &str, digest, end_ms| {
        let mut intent = intent(to, &file);
        (intent.by, intent.digest, intent.window_ms) = (by.into(), digest, [1, end_ms]);
        intent.id()
    };
    let step = Move::Step(weight(2_500));
    assert_eq!(of(step, "judge", 7, 10), of(step, "judge", 7, 20), "another look at the same file");
    assert_ne!(of(step, "judge", 7, 10), of(step, "judge", 8, 10));
    assert_ne!(of(step, "ann", 7, 10), of(step, "ann", 7, 20), "ordered anew");
    assert_ne!(of(step, "ann", 7, 10), of(step, "ann", 8, 10), "for another file");
    assert_ne!(of(step, "ann", 3, 10), of(step, "ann", 7, 10), "3 | 10 and 11 alike, 3 & 10 and 7 & 10, too");
    assert_ne!(of(step, "ann", 7, 3), of(step, "ann", 7, 7), "7 | 3 is 7 | 7");
    assert_ne!(of(step, "ann", 4, 3), of(step, "ann", 8, 3), "4 & 3 is 8 & 3");
    assert_ne!(of(step, "judge", 7, 10), of(Move::Step(weight(5_000)), "judge", 7, 10));
    assert_ne!(of(Move::Finish, "judge", 7, 10), of(Move::Promote { holdback: Weight::ZERO }, "judge", 7, 10));
    for to in [DOWN, Move::Readmit(weight(1_000))] {
        assert_eq!(of(to, "judge", 7, 10), of(to, "judge", 8, 10), "whatever the file");
        assert_ne!(of(to, "judge", 7, 10), of(to, "judge", 7, 20), "another rollback is another one");
    }
    assert_eq!(of(step, "judge", 7, 10).len(), 16);
}

#[test]
fn moves_have_words_for_subjects_and_for_people() {
    for (to, word, words) in [
        (Move::Step(weight(2_500)), "step", "the step to 25 %"),
        (Move::Promote { holdback: weight(500) }, "promote", "the promotion"),
        (Move::Finish, "done", "the end of the watch"),
        (DOWN, "rollback", "the rollback"),
        (Move::Readmit(weight(50)), "readmit", "letting it in again at 0.5 %"),
    ] {
        assert_eq!((to.as_str(), &*to.words()), (word, words));
    }
    for (outcome, words) in [
        (committed(), "committed"),
        (Outcome::NotOurs, "not committed: a person has made it stable"),
        (Outcome::Refused(place()), "people have refused it"),
        (Outcome::Failing("protected".into()), "protected"),
    ] {
        assert_eq!(outcome.words(), words);
    }
}

#[test]
fn raises_change_weights_and_roles_of_the_file_that_was_judged_and_of_no_other() {
    let check = |to, route: &Route, wanted: &[&str]| {
        assert_eq!(changes(&intent(to, route).edit(route)).unwrap(), wanted, "{to:?}");
        let mut moved = intent(to, route);
        moved.digest ^= 1;
        assert_eq!(moved.edit(route), Edit::Moved, "{to:?}");
    };
    check(Move::Step(weight(2_500)), &at(1_000), &["v2 2500 canary", "v1 7500 stable"]);
    let three = [
        ("v1", Role::Stable, 4_000),
        ("v2", Role::Canary, 5_000),
        ("v0", Role::Previous, 1_000),
        ("v9", Role::Rejected, 0),
    ];
    let holdback = Move::Promote { holdback: weight(500) };
    check(holdback, &planned(&three), &["v2 9500 stable", "v1 500 previous", "v0 0 previous"]);
    let watched = planned(&[("v2", Role::Stable, 9_500), ("v1", Role::Previous, 500), ("v0", Role::Previous, 0)]);
    check(Move::Finish, &watched, &["v2 10000 stable", "v1 0 previous"]);
    // Where nobody has the artefact, there is nothing to do.
    let none = planned(&[("v1", Role::Stable, 10_000)]);
    assert_eq!(intent(Move::Finish, &none).edit(&none), Edit::Nothing);
}

#[test]
fn a_rollback_gives_the_weight_back_to_whom_it_was_taken_from() {
    let rolled = |promoted, variants: &[(&str, Role, u16)]| {
        let route = planned(variants);
        let to = Move::RollBack { promoted, kind: RollbackKind::Weights };
        let edit = intent(to, &route).edit(&route);
        (changes(&edit), edit)
    };
    let rejects = |promoted, variants: &[_], heir: &str| {
        let wanted = vec!["v2 0 rejected".to_owned(), heir.to_owned()];
        assert_eq!(rolled(promoted, variants).0, Some(wanted), "{variants:?}");
    };
    rejects(false, &[("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000)], "v1 10000 stable");
    rejects(false, &[("v1", Role::Stable, 9_500), ("v2", Role::Previous, 500)], "v1 10000 stable");
    // Of several previous ones the one with traffic.
    let watched = [
        ("v0", Role::Previous, 0),
        ("v2", Role::Stable, 9_500),
        ("v1", Role::Previous, 500),
        ("v9", Role::Previous, 0),
    ];
    rejects(true, &watched, "v1 10000 stable");
    assert_eq!(rolled(false, &watched).1, Edit::NotOurs, "a person made it stable");
    assert_eq!(rolled(true, &[("v2", Role::Stable, 10_000)]).1, Edit::NotOurs, "there is nobody to go back to");
    for role in [Role::Previous, Role::Shadow, Role::Rejected] {
        assert_eq!(rolled(false, &[("v1", Role::Stable, 10_000), ("v2", role, 0)]).1, Edit::Nothing, "{role:?}");
    }
}

#[test]
fn a_revert_is_content_with_nothing_for_the_canary() {
    for kind in [RollbackKind::Revert, RollbackKind::LastGood, RollbackKind::Weights] {
        let edit = |route: &Route| intent(Move::RollBack { promoted: true, kind }, route).edit(route);
        let content = kind != RollbackKind::Weights;
        assert_eq!(edit(&at(0)) == Edit::Nothing, content, "{kind:?}");
        assert_ne!(edit(&at(1_000)), Edit::Nothing, "it has weight");
        let stable_at_zero = planned(&[("v2", Role::Stable, 0), ("v1", Role::Previous, 10_000)]);
        assert_ne!(edit(&stable_at_zero), Edit::Nothing, "a stable one is never content with that");
    }
}

#[test]
fn letting_in_again_takes_from_stable_and_not_beside_another_canary() {
    let again = |variants: &[(&str, Role, u16)]| {
        let route = planned(variants);
        intent(Move::Readmit(weight(1_000)), &route).edit(&route)
    };
    let edit = again(&[("v1", Role::Stable, 10_000), ("v2", Role::Rejected, 0)]);
    assert_eq!(changes(&edit).unwrap(), ["v2 1000 canary", "v1 9000 stable"]);
    let beside = [("v1", Role::Stable, 9_000), ("v2", Role::Rejected, 0), ("v3", Role::Canary, 1_000)];
    assert_eq!(again(&beside), Edit::Moved);
    assert_eq!(again(&[("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000)]), Edit::Nothing, "it is in already");
}

#[test]
fn what_is_found_on_the_branch_later_is_peoples_word_if_the_file_is_back_as_it_was() {
    let (before, after) = (at(1_000), at(2_500));
    for (to, back) in
        [(Move::Step(weight(2_500)), true), (Move::Finish, true), (DOWN, false), (Move::Readmit(weight(1_000)), false)]
    {
        let intent = intent(to, &before);
        let taken = Outcome::TakenBack("c".into());
        assert_eq!(intent.found(&before, "c".into()) == taken, back, "{to:?}");
        assert_eq!(intent.found(&after, "c".into()), Outcome::There("c".into()), "{to:?}");
    }
}

#[test]
fn a_branch_is_asked_or_told() {
    let bed = Bed::rolling_back();
    let wanted = bed.wanted().remove(0);
    assert!(!wanted.asks());
    let (with, without) = (at(1_000), rejected());
    assert!(
        !wanted.intent.rejected_by(&with) && wanted.intent.rejected_by(&without) && wanted.intent.rejected_by(&at(0))
    );
    assert_eq!(wanted.on(&with, "c", false).unwrap().len(), 2);
    assert_eq!(wanted.on(&without, "c", false), Err(Outcome::There("c".into())));
    // The branch has had it already, or never will by us: the tip's word counts.
    let learned = Wanted { learned: true, ..wanted.clone() };
    for (wanted, contained) in [(&wanted, true), (&learned, false)] {
        assert_eq!(wanted.on(&with, "c", contained), Err(Outcome::Readmitted("c".into())));
        assert_eq!(wanted.on(&without, "c", contained), Err(Outcome::There("c".into())));
    }
    assert!(learned.asks());
    assert!(Wanted { shown: Some("c".into()), ..wanted.clone() }.asks());
    assert!(Wanted { diverged: true, ..wanted.clone() }.asks());
    let mut raise = Bed::raising().wanted().remove(0);
    raise.intent.digest ^= 1;
    assert_eq!(raise.on(&with, "c", false), Err(Outcome::Moved));
    let stable = planned(&[("v2", Role::Stable, 10_000)]);
    assert_eq!(wanted.on(&stable, "c", false), Err(Outcome::NotOurs));
}

#[test]
fn a_move_sets_what_the_file_wants_beside_it() {
    let edit = |value: &str| vec![FileEdit::new("canary.yaml", "spec.replicas", value).unwrap()];
    let mut route = at(1_000);
    let plan = route.plan.as_mut().unwrap();
    for (step, value) in plan.steps.iter_mut().zip(["1", "2", "5", "9"]) {
        step.set = edit(value);
    }
    route.rollback.set = edit("0");
    for (to, value) in [
        (Move::Step(weight(2_500)), Some("2")),
        (Move::Readmit(weight(1_000)), Some("1")),
        (Move::Promote { holdback: Weight::ZERO }, Some("9")),
        (DOWN, Some("0")),
        (Move::Finish, None),
        (Move::Step(weight(300)), None),
    ] {
        let set = intent::besides(to, &route);
        assert_eq!(set.first().map(FileEdit::value), value, "{to:?}");
    }
}
