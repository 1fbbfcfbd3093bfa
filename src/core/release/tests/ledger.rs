//! All releases and everything rejected: what is kept, for how long, and which attempt it is.

use super::*;
use crate::core::{name::Artefact, release::quarantine::ENTRIES_MAX};

fn artefact(name: &str) -> Artefact {
    Artefact::new(&format!("m/{name}"))
}

fn by_hand(bed: &mut Bed, for_ms: u64) {
    bed.wish(Wish::SetWeight { weight: weight(3_000), for_ms }).unwrap();
}

#[test]
fn a_route_with_another_artefact_is_in_another_release() {
    let mut bed = Bed::new(at(1_000));
    let first = bed.release().key;
    assert_eq!(bed.ledger.attempts()[&digits()], (first, 1));
    bed.deliver(at(2_500));
    assert_eq!(bed.release().key, first, "another weight is the same one");
    let news = bed.deliver(planned(&[("v1", Role::Stable, 9_000), ("v3", Role::Canary, 1_000)]));
    assert_eq!(news, [News::Begins(digits())]);
    assert!(bed.release().key != first && bed.release().artefact == artefact("v3"));
    bed.deliver(Route { name: RouteName::new("faces").unwrap(), ..at(1_000) });
    assert_eq!(bed.ledger.releases.keys().map(RouteName::as_str).collect::<Vec<_>>(), ["faces"], "the route is gone");
    // Before the first good file nothing is known to be gone.
    let mut bed = Bed::new(at(1_000));
    bed.snapshot = Snapshot::default();
    bed.look();
    assert_eq!(bed.ledger.releases.len(), 1);
}

#[test]
fn a_weight_by_hand_ends_by_itself_with_its_release_and_with_a_clamp() {
    let mut bed = Bed::new(at(1_000));
    by_hand(&mut bed, 10_000);
    assert_eq!(bed.ledger.clamps().by_hand(&digits(), &artefact("v2")), Some(weight(3_000)));
    assert_eq!(bed.ledger.alerts(&digits(), &bed.world()), [Alert::ByHand]);
    bed.time(9_999);
    assert_eq!(bed.look(), []);
    bed.time(10_000);
    assert_eq!(bed.look(), [News::ByHandOver(digits())]);
    assert!(bed.ledger.by_hand.is_empty());
    by_hand(&mut bed, 10_000);
    assert!(
        bed.deliver(planned(&[("v1", Role::Stable, 9_000), ("v3", Role::Canary, 1_000)]))
            .contains(&News::ByHandOver(digits()))
    );
    let mut bed = Bed::new(at(1_000));
    by_hand(&mut bed, 10_000);
    bed.judge(FAIL, 60, 0);
    let news = bed.look();
    assert!(matches!(&news[1..], [News::ByHandOver(_), News::Clamped(_)]), "{news:?}");
    let mut over = Bed::new(at(1_000));
    by_hand(&mut over, 10_000);
    over.deliver(planned(&[("v2", Role::Stable, 10_000)]));
    over.look();
    assert!(over.ledger.by_hand.is_empty(), "it is promoted");
    // Known from elsewhere to be rejected.
    let mut held = Bed::new(at(1_000));
    by_hand(&mut held, 10_000);
    held.ledger.quarantine = Bed::rolling_back().ledger.quarantine;
    assert!(held.look().contains(&News::ByHandOver(digits())));
}

#[test]
fn attempts_count_on_over_rejections() {
    let mut bed = Bed::rolled_back();
    bed.branch(Outcome::Readmitted("c2".into()));
    bed.deliver(at(1_000));
    assert_eq!((bed.release().attempt, bed.ledger.past.len()), (2, 1));
    // Rejected by a file meanwhile: that is the attempt under way.
    bed.outcomes.clear();
    bed.deliver(rejected());
    assert_eq!(bed.ledger.quarantine[0].intent.attempt, 2);
    // Another release comes between: the past is remembered.
    let mut bed = Bed::rolled_back();
    bed.branch(Outcome::Readmitted("c2".into()));
    bed.deliver(at(1_000));
    bed.deliver(planned(&[("v1", Role::Stable, 9_000), ("v3", Role::Canary, 1_000)]));
    assert_eq!(bed.release().attempt, 1, "of that one it is the first");
    bed.deliver(at(1_000));
    assert_eq!(bed.release().attempt, 2);
    // What is held is in the attempt that was rejected.
    let mut held = Bed::rolling_back();
    held.ledger.quarantine[0].intent.attempt = 5;
    held.ledger.releases.clear();
    held.look();
    assert_eq!(held.release().attempt, 5);
}

#[test]
fn a_hundred_past_attempts_are_remembered_each_artefact_once() {
    let mut ledger = Bed::new(at(1_000)).ledger;
    let of = Bed::rolling_back().ledger.quarantine[0].intent.clone();
    for i in 0..101_u32 {
        ledger.remember(Intent { artefact: artefact(&format!("a{i}")), ..of.clone() });
    }
    assert_eq!((ledger.past.len(), &ledger.past[0].1), (100, &artefact("a1")));
    ledger.remember(Intent { artefact: artefact("a50"), attempt: 2, ..of });
    assert_eq!(ledger.past.len(), 100);
    let last = ledger.past.iter().filter(|(_, one, _)| *one == artefact("a50")).map(|(.., attempt)| *attempt);
    assert_eq!(last.collect::<Vec<_>>(), [2]);
}

#[test]
fn of_one_route_twenty_rejected_ones_are_kept_and_the_oldest_gives_way() {
    let mut bed = Bed::rolling_back();
    let of = bed.ledger.quarantine.remove(0);
    let mut intents: Vec<Intent> =
        (0..ENTRIES_MAX).map(|i| Intent { artefact: artefact(&format!("a{i}")), ..of.intent.clone() }).collect();
    intents.insert(0, Intent { route: RouteName::new("faces").unwrap(), ..of.intent.clone() });
    let mut news = Vec::new();
    let reject = |bed: &mut Bed, intent: Intent, news: &mut Vec<News>| {
        let release = bed.release().clone();
        bed.ledger.take(digits(), release, Some(Action::RollBack(Box::new(intent))), news);
    };
    for intent in intents {
        reject(&mut bed, intent, &mut news);
    }
    assert_eq!(bed.ledger.quarantine.len(), ENTRIES_MAX + 1);
    reject(&mut bed, of.intent.clone(), &mut news);
    let kept: Vec<_> =
        bed.ledger.quarantine.iter().map(|e| (e.intent.route.as_str(), e.intent.artefact.clone())).collect();
    assert_eq!(
        (kept.len(), &kept[0], &kept[1]),
        (ENTRIES_MAX + 1, &("faces", artefact("v2")), &("digits", artefact("a1")))
    );
    // Rejected again, it is the newest one, and still one.
    reject(&mut bed, Intent { artefact: artefact("a5"), ..of.intent }, &mut news);
    assert_eq!(bed.ledger.quarantine.len(), ENTRIES_MAX + 1);
    assert_eq!(bed.ledger.quarantine.last().unwrap().intent.artefact, artefact("a5"));
}

#[test]
fn the_branch_is_asked_for_rollbacks_first_and_for_nothing_where_there_is_none() {
    let mut bed = Bed::rolling_back();
    bed.ledger.releases.insert(digits(), Bed::raising().release().clone());
    let wanted = bed.wanted();
    assert_eq!(wanted.iter().map(|w| w.intent.to.as_str()).collect::<Vec<_>>(), ["rollback", "step"]);
    let plain = |w: &Wanted| (w.shown.clone(), w.learned, w.diverged, w.generation);
    assert_eq!(plain(&wanted[0]), (None, false, false, bed.snapshot.generation));
    let entry = &mut bed.ledger.quarantine[0];
    (entry.shown, entry.learned, entry.diverged) = (Some("c1".into()), true, true);
    assert_eq!(plain(&bed.wanted()[0]), (Some("c1".into()), true, true, bed.snapshot.generation));
    assert_eq!(plain(&bed.wanted()[1]), (None, false, false, bed.snapshot.generation));
    bed.git = false;
    assert_eq!(bed.wanted(), []);
}

#[test]
fn another_route_s_rejected_ones_are_its_own() {
    let mut bed = Bed::rolling_back();
    bed.ledger.quarantine[0].intent.route = RouteName::new("faces").unwrap();
    bed.ledger.quarantine[0].diverged = true;
    assert_eq!(bed.ledger.alerts(&digits(), &bed.world()), []);
    // The stable artefact is rejected there: here it can take traffic all the same.
    bed.ledger.quarantine[0].intent.artefact = artefact("v1");
    bed.ledger.releases.clear();
    bed.judgements.clear();
    bed.look();
    bed.judge(FAIL, 60, 0);
    bed.look();
    assert_eq!(bed.state(), "rolling_back");
}
