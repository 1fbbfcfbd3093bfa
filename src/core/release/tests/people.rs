//! What people order: what fits, what is refused, and what they are told.

use super::*;
use crate::core::{
    name::{Artefact, VariantName},
    plan::FileEdit,
};

fn readmit(bed: &mut Bed) -> Result<(String, Vec<News>), Refused> {
    bed.wish(Wish::Readmit(VariantName::new("v2").unwrap()))
}

fn refused(done: Result<(String, Vec<News>), Refused>) -> String {
    done.unwrap_err().to_string()
}

#[test]
fn an_order_is_for_the_world_it_was_given_in() {
    let mut bed = Bed::new(at(1_000));
    let generation = bed.snapshot.generation;
    let mut order = Order {
        command: Command::Route(digits(), Wish::Pause),
        by: "ann".into(),
        reason: "because".into(),
        generation: Some(Generation(generation.0 + 1)),
    };
    assert!(matches!(bed.give(&order), Err(Refused::Stale { now, .. }) if now == generation));
    order.generation = Some(generation);
    assert!(bed.give(&order).is_ok());
    let faces = RouteName::new("faces").unwrap();
    assert!(matches!(bed.order(Command::Route(faces, Wish::Pause)), Err(Refused::NoRoute(_))));
    let mut none = Bed::new(planned(&[("v1", Role::Stable, 10_000)]));
    assert!(matches!(none.wish(Wish::Pause), Err(Refused::NoRelease(_))));
    // Its release is over; and it is withdrawn, which is no end but nothing to order about.
    assert!(matches!(Bed::rolled_back().wish(Wish::Pause), Err(Refused::NoRelease(_))));
    let mut gone = Bed::new(at(1_000));
    gone.snapshot.routes = RouteTable::new(vec![Arc::new(planned(&[("v1", Role::Stable, 10_000)]))]);
    assert!(matches!(gone.wish(Wish::Pause), Err(Refused::NoRelease(_))));
}

#[test]
fn a_pause_takes_a_raise_back_and_ends_by_a_resume() {
    let mut bed = Bed::raising();
    assert_eq!(refused(bed.wish(Wish::Resume)), "it is not paused");
    let (words, _) = bed.wish(Wish::Pause).unwrap();
    assert!(words.ends_with("the raise in flight is withdrawn"), "{words}");
    assert_eq!((bed.hold(), bed.release().paused_by.as_deref()), (Some(Hold::Paused), Some("ann")));
    let (words, _) = bed.wish(Wish::Resume).unwrap();
    assert_eq!(words, "resumed; the step to 25 % is committed next");
    bed.look();
    bed.branch(committed());
    let (words, _) = bed.wish(Wish::Pause).unwrap();
    assert!(words.ends_with("revert it there, or roll back"), "{words}");
    bed.look();
    assert_eq!(bed.state(), "advancing", "the branch has it");
}

#[test]
fn a_freeze_is_for_all_routes() {
    let mut bed = Bed::raising();
    assert_eq!(refused(bed.order(Command::Unfreeze)), "nothing is frozen");
    let (words, news) = bed.order(Command::Freeze).unwrap();
    assert!(words.ends_with("; `digits`; the raise in flight is withdrawn"), "{words}");
    assert_eq!(news, [News::Frozen("ann".into())]);
    let frozen = bed.ledger.frozen.clone().unwrap();
    assert_eq!((&*frozen.reason, frozen.since_ms), ("because", 1_120_000));
    let (words, _) = bed.order(Command::Unfreeze).unwrap();
    assert_eq!(words, "unfrozen; `digits`: the step to 25 % is committed next");
    let mut over = Bed::rolled_back();
    over.order(Command::Freeze).unwrap();
    assert_eq!(over.order(Command::Unfreeze).unwrap().0, "unfrozen", "of what is over nothing comes next");
    let (words, _) = Bed::new(at(1_000)).order(Command::Freeze).unwrap();
    assert!(words.ends_with("worse canaries are still rolled back"), "nothing was in flight: {words}");
}

#[test]
fn a_rollback_by_a_person_needs_no_evidence() {
    let mut bed = Bed::raising();
    let (words, news) = bed.wish(Wish::Rollback).unwrap();
    assert!(words.contains("the rollback is committed next"), "{words}");
    assert!(matches!(&news[..], [News::Clamped(intent)] if &*intent.by == "ann" && &*intent.reason == "because"));
    for wish in [Wish::Rollback, Wish::Approve, Wish::Promote { override_judge: true }] {
        assert!(refused(bed.wish(wish)).contains("being rolled back"));
    }
    let mut bed = Bed::new(at(1_000));
    bed.git = false;
    assert!(bed.wish(Wish::Rollback).unwrap().0.contains("commit that yourself"));
    let mut alone = Bed::new(planned(&[("v2", Role::Stable, 10_000), ("v1", Role::Previous, 0)]));
    assert!(matches!(alone.wish(Wish::Rollback), Err(Refused::NoRelease(_))));
}

#[test]
fn only_what_waits_for_approval_is_approved() {
    let mut bed = Bed::new(at(2_500));
    bed.judge(OVERLAP, 100, 10);
    assert!(refused(bed.wish(Wish::Approve)).contains("in 60 s at the earliest"));
    bed.time(60_000);
    let (words, _) = bed.wish(Wish::Approve).unwrap();
    assert_eq!(words, "the step to 50 % is committed next; it counts once it is delivered");
    let why = refused(bed.wish(Wish::Approve));
    assert_eq!(why, "nothing waits for approval: the step to 50 % is committed next; it counts once it is delivered");
    let mut bed = Bed::raising();
    bed.branch(Outcome::Waiting(place()));
    assert!(refused(bed.wish(Wish::Approve)).contains("the step to 25 % waits for people to merge it"));
    let mut step = Bed::new(at(1_000));
    step.judge(OVERLAP, 100, 0);
    step.time(120_000);
    assert!(refused(step.wish(Wish::Approve)).contains("the step to 25 % is committed next"), "that needs none");
}

#[test]
fn people_are_told_what_comes_next() {
    let ahead = |bed: &mut Bed| {
        bed.wish(Wish::Pause).unwrap();
        bed.wish(Wish::Resume).unwrap().0.replace("resumed; ", "")
    };
    assert_eq!(ahead(&mut Bed::new(at(0))), "it is at 0 %; `promote` starts it");
    let mut bed = Bed::new(at(1_000));
    bed.time(500);
    assert_eq!(ahead(&mut bed), "the step to 25 % comes next, in 120 s at the earliest");
    bed.time(120_000);
    assert_eq!(ahead(&mut bed), "the step to 25 % comes next, but the judge cannot tell yet (no_data)");
    assert_eq!(ahead(&mut Bed::watched()), "the end of the watch comes next, in 600 s at the earliest");
    let mut end = Bed::new(route("digits", &[("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000)]));
    assert_eq!(ahead(&mut end), "nothing comes next, but the plan has no further step");
    let mut approval = Bed::new(at(2_500));
    approval.judge(OVERLAP, 100, 10);
    approval.time(60_000);
    assert_eq!(ahead(&mut approval), "the step to 50 % waits for `approve`");
}

#[test]
fn a_weight_by_hand_is_for_a_while_and_for_what_is_not_rejected() {
    let mut bed = Bed::new(at(1_000));
    assert_eq!(refused(bed.wish(Wish::ClearWeight)), "no weight is set by hand");
    let set = |bed: &mut Bed| bed.wish(Wish::SetWeight { weight: weight(3_000), for_ms: 90_000 });
    let (words, news) = set(&mut bed).unwrap();
    assert!(words.starts_with("30 % for 90 s, then the file's 10 % again"), "{words}");
    assert_eq!(news, [News::ByHand(digits())]);
    let (words, news) = bed.wish(Wish::ClearWeight).unwrap();
    assert_eq!((&*words, &news[..]), ("the file's 10 % again", &[News::ByHandOver(digits())][..]));
    assert!(refused(set(&mut Bed::rolling_back())).contains("it is rejected"));
    let mut alone = Bed::new(at(1_000));
    let mut entry = Bed::rolling_back().ledger.quarantine.remove(0);
    entry.intent.artefact = alone.snapshot.routes.named("digits").unwrap().1.variants[0].artefact.clone();
    alone.ledger.quarantine.push(entry);
    assert!(refused(set(&mut alone)).contains("no other variant to share with"));
}

#[test]
fn what_was_rejected_is_let_in_again_by_a_commit() {
    let mut bed = Bed::rolling_back();
    bed.deliver(rejected());
    assert!(refused(readmit(&mut bed)).contains("its rollback is not on the branch yet"));
    let mut bed = Bed::rolled_back();
    let (words, news) = readmit(&mut bed).unwrap();
    assert!(words.starts_with("`v2` is committed as a canary at 10 % next"), "{words}");
    assert_eq!(news, [News::Readmitting(digits())]);
    let asked = bed.wanted().pop().unwrap().intent;
    assert_eq!((asked.to, &*asked.by, asked.window_ms), (Move::Readmit(weight(1_000)), "ann", [1_060_000; 2]));
    assert_eq!((&*asked.reason, asked.digest, &*asked.set), ("because", rejected().digest, &[][..]));
    let (mut bed, mut file) = (Bed::rolled_back(), rejected());
    let beside = FileEdit::new("canary.yaml", "spec.replicas", "1").unwrap();
    file.plan.as_mut().unwrap().steps[0].set = vec![beside.clone()];
    bed.deliver(file);
    readmit(&mut bed).unwrap();
    assert_eq!(*bed.wanted().pop().unwrap().intent.set, [beside]);
    let (mut bed, mut file) = (Bed::rolled_back(), rejected());
    file.plan.as_mut().unwrap().steps.drain(..3);
    bed.deliver(file);
    assert!(refused(readmit(&mut bed)).contains("no first step"), "all at once is no first step");
    for (change, why) in [
        ((|bed| bed.git = false) as fn(&mut Bed), "no Git remote"),
        (|bed| drop(bed.order(Command::Freeze)), "unfreeze first"),
        (
            |bed| {
                drop(bed.deliver(planned(&[
                    ("v1", Role::Stable, 9_000),
                    ("v2", Role::Rejected, 0),
                    ("v3", Role::Canary, 1_000),
                ])))
            },
            "another canary",
        ),
        (
            |bed| drop(bed.deliver(route("digits", &[("v1", Role::Stable, 10_000), ("v2", Role::Rejected, 0)]))),
            "no first step",
        ),
        (|bed| drop(bed.deliver(planned(&[("v1", Role::Stable, 10_000)]))), "no variant `v2`"),
    ] {
        let mut bed = Bed::rolled_back();
        change(&mut bed);
        assert!(refused(readmit(&mut bed)).contains(why), "{why}");
    }
    assert!(refused(readmit(&mut Bed::new(at(1_000)))).contains("`v2` is not rejected"));
}

#[test]
fn it_is_let_in_at_once_where_the_file_wants_it_and_there_is_no_branch_or_people_differ() {
    let mut bed = Bed::rolling_back();
    assert!(refused(readmit(&mut bed)).contains("not on the branch yet"), "the branch comes first");
    bed.ledger.quarantine[0].diverged = true;
    let (words, news) = readmit(&mut bed).unwrap();
    assert!(words.starts_with("let in again: it gets the 10 % that the file says"), "{words}");
    assert!(matches!(&news[..], [News::Lifted(_)]) && bed.ledger.quarantine.is_empty() && bed.ledger.past.len() == 1);
    let mut bed = Bed::rolling_back();
    bed.git = false;
    assert!(readmit(&mut bed).is_ok() && bed.ledger.quarantine.is_empty());
    let mut bed = Bed::rolled_back();
    bed.git = false;
    assert!(refused(readmit(&mut bed)).contains("commit `role: canary`"), "the file says 0");
    // Another route's entry of the same artefact is not touched, nor another artefact's of this route.
    let mut bed = Bed::rolling_back();
    let of = bed.ledger.quarantine[0].clone();
    bed.ledger.quarantine[0].diverged = true;
    for (name, artefact) in [("faces", of.intent.artefact.clone()), ("digits", Artefact::new("m/v9"))] {
        let mut other = of.clone();
        (other.intent.route, other.intent.artefact) = (RouteName::new(name).unwrap(), artefact);
        bed.ledger.quarantine.insert(0, other);
    }
    let (_, news) = readmit(&mut bed).unwrap();
    assert_eq!(news, [News::Lifted(Box::new(of.intent))]);
    assert_eq!(bed.ledger.quarantine.len(), 2);
}
