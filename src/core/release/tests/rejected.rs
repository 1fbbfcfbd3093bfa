//! What was rejected: what it asks for, what lifts it, and what a person should know of it.

use super::*;
use crate::core::release::quarantine::{ENTRIES_MAX, Entry, Next};

fn entry() -> Entry {
    Bed::rolling_back().ledger.quarantine.remove(0)
}

#[test]
fn with_a_branch_only_the_branch_lets_it_in_again() {
    let (with, without) = (at(1_000), rejected());
    let (fresh, again) = (entry(), Outcome::Readmitted("c2".into()));
    let shown = Entry { shown: Some("c1".into()), ..entry() };
    for (entry, route, outcome, next) in [
        (&fresh, &with, None, Next::Commit),
        (&fresh, &without, None, Next::Commit),
        (&fresh, &with, Some(&again), Next::Lift),
        (&fresh, &without, Some(&again), Next::Commit),
        (&shown, &with, None, Next::Ask),
        (&shown, &without, None, Next::Rest),
        (&shown, &with, Some(&again), Next::Lift),
        (&shown, &without, Some(&again), Next::Rest),
    ] {
        assert_eq!(entry.next(Some(route), outcome, true), next, "{:?} {outcome:?}", entry.shown);
    }
    assert_eq!(shown.next(None, None, true), Next::Rest, "the route is gone");
}

#[test]
fn without_a_branch_another_file_that_wants_it_is_a_newer_decision() {
    let fresh = entry();
    assert_eq!(fresh.next(Some(&at(1_000)), None, false), Next::Rest, "the file that was judged");
    assert_eq!(fresh.next(Some(&at(2_500)), None, false), Next::Lift);
    assert_eq!(fresh.next(Some(&rejected()), None, false), Next::Rest);
    assert_eq!(fresh.next(None, None, false), Next::Rest);
}

#[test]
fn an_entry_hears_what_the_branch_says() {
    let hear = |entry: &mut Entry, outcome: Outcome| entry.hear(Some(&outcome));
    let mut one = Entry { diverged: true, ..entry() };
    assert!(hear(&mut one, committed()));
    assert_eq!((one.shown.as_deref(), one.diverged), (Some("c1"), false));
    assert!(!hear(&mut one, committed()), "nothing new");
    assert!(hear(&mut one, Outcome::There("c2".into())), "another commit");
    assert!(!hear(&mut one, Outcome::Readmitted("c3".into())));
    assert_eq!(one.shown.as_deref(), Some("c2"), "it was shown before");
    let mut two = entry();
    assert!(!hear(&mut two, Outcome::Readmitted("c3".into())));
    assert_eq!(two.shown.as_deref(), Some("c3"), "ours is behind it: there is nothing to commit");
    for no in [Outcome::NotOurs, Outcome::Refused(place())] {
        assert!(!hear(&mut two, no) && two.diverged);
        assert!(!hear(&mut two, Outcome::Waiting(place())) && !two.diverged, "asked once more");
    }
    let before = two.clone();
    for nothing in [Outcome::Moved, Outcome::TakenBack("c".into()), Outcome::Failing("x".into())] {
        assert!(!hear(&mut two, nothing));
    }
    assert!(!two.hear(None) && two == before);
}

#[test]
fn what_a_file_rejects_is_held_here_too_but_never_committed_on_its_word() {
    let mut bed = Bed::new(rejected());
    assert!(bed.ledger.quarantine[0].learned, "{:?}", bed.ledger);
    let artefact = bed.ledger.quarantine[0].intent.artefact.clone();
    assert!(bed.ledger.clamps().holds(&digits(), &artefact));
    assert!(bed.wanted()[0].asks());
    assert_eq!(bed.look(), [], "once");
    let mut known = Bed::rolling_back();
    known.deliver(rejected());
    assert_eq!((known.ledger.quarantine.len(), known.ledger.quarantine[0].learned), (1, false));
    // Bounded: a file of a hundred rejected ones is no reason to keep them all.
    let names: Vec<String> = (0..30).map(|i| format!("r{i}")).collect();
    let mut many: Vec<_> = names.iter().map(|name| (name.as_str(), Role::Rejected, 0)).collect();
    many.push(("v1", Role::Stable, 10_000));
    assert_eq!(Bed::new(planned(&many)).ledger.quarantine.len(), ENTRIES_MAX);
}

/// Alerts of the route now.
fn alerts(bed: &Bed) -> Vec<Alert> {
    bed.ledger.alerts(&digits(), &bed.world())
}

#[test]
fn a_clamp_that_the_file_does_not_show_for_ten_minutes_is_told() {
    let mut bed = Bed::rolling_back();
    // Until the file says 0 the clamp keeps it from traffic.
    let mut clamped = at(1_000);
    clamped.variants[1].effective = Weight::ZERO;
    bed.deliver(clamped.clone());
    assert_eq!(alerts(&bed), []);
    bed.time(659_999);
    assert_eq!(alerts(&bed), []);
    bed.time(660_000);
    assert_eq!(alerts(&bed), [Alert::ClampStale]);
    bed.branch(Outcome::Failing("protected".into()));
    assert_eq!(alerts(&bed), [Alert::WriteBlocked, Alert::ClampStale]);
    bed.branch(Outcome::NotOurs);
    assert_eq!(bed.look(), [News::Diverged(digits())]);
    assert_eq!(alerts(&bed), [Alert::Diverged], "that is for people, not for the delivery");
    bed.branch(committed());
    bed.look();
    assert_eq!(alerts(&bed), [Alert::ClampStale, Alert::DeliveryStale], "the branch says 0, the file does not");
    let mut served = clamped;
    served.variants[1].effective = weight(1_000);
    bed.deliver(served);
    assert!(alerts(&bed).contains(&Alert::NoHeir), "it is served all the same");
    bed.deliver(rejected());
    assert_eq!(alerts(&bed), []);
}

#[test]
fn a_release_tells_what_is_wrong_with_it() {
    let mut bed = Bed::raising();
    assert_eq!(alerts(&bed), []);
    bed.branch(Outcome::Failing("protected".into()));
    assert_eq!(alerts(&bed), [Alert::WriteBlocked]);
    bed.outcomes.clear();
    bed.time(3_599_999);
    assert_eq!(alerts(&bed), []);
    bed.time(3_600_000);
    assert_eq!(alerts(&bed), [Alert::Overdue]);
    bed.deliver(planned(&[("v2", Role::Stable, 10_000)]));
    assert_eq!(alerts(&bed), [], "what is over is not overdue");
    let mut alone = Bed::new(at(1_000));
    let stable = alone.snapshot.routes.named("digits").unwrap().1.variants[0].artefact.clone();
    let mut other = entry();
    other.intent.artefact = stable;
    alone.ledger.quarantine.push(Entry { shown: Some("c".into()), ..other });
    alone.judge(FAIL, 60, 0);
    assert_eq!(alone.hold(), Some(Hold::NoHeir), "an outage by safety is worse");
    assert!(alerts(&alone).contains(&Alert::NoHeir));
    assert_eq!(alone.ledger.quarantine.len(), 1, "nothing is clamped");
    // An older one without traffic may not be running any more.
    let variants = [("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000), ("v0", Role::Previous, 0)];
    let mut kept = Bed::new(planned(&variants));
    kept.ledger.quarantine = alone.ledger.quarantine.clone();
    kept.judge(FAIL, 60, 0);
    assert_eq!(kept.hold(), Some(Hold::NoHeir));
    // At zero, too: it may be raised while the rollback is on its way.
    let mut zero = Bed::new(Route { shadows: [(1, Weight::FULL)].into(), ..at(0) });
    zero.ledger.quarantine = alone.ledger.quarantine.clone();
    zero.judge(FAIL, 0, 0);
    assert_eq!(zero.hold(), Some(Hold::NoHeir));
    let words = Alert::ALL.map(Alert::as_str);
    let wanted = ["write_blocked", "clamp_stale", "delivery_stale", "diverged", "no_heir", "overdue", "by_hand"];
    assert_eq!(words, wanted);
}

#[test]
fn an_order_to_let_it_in_again_that_is_not_carried_out_is_told_too() {
    let mut bed = Bed::rolled_back();
    bed.wish(Wish::Readmit(crate::core::name::VariantName::new("v2").unwrap())).unwrap();
    let id = bed.ledger.quarantine[0].readmit.as_ref().unwrap().id();
    bed.outcomes.insert(id.clone(), Outcome::Failing("protected".into()));
    assert_eq!(alerts(&bed), [Alert::WriteBlocked]);
    bed.look();
    assert!(bed.ledger.quarantine[0].readmit.is_some(), "it is tried on");
    bed.outcomes.insert(id.clone(), Outcome::Waiting(place()));
    bed.look();
    assert!(bed.ledger.quarantine[0].readmit.is_some(), "people are asked");
    bed.outcomes.insert(id, committed());
    assert_eq!(bed.look(), [News::Readmitting(digits())]);
    assert_eq!(bed.ledger.quarantine[0].readmit, None);
}
