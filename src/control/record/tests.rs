//! What was saved comes back, in today's shape and in that of before; what cannot be read is not lost.

use super::*;
use crate::core::{
    plan::{FileEdit, RollbackKind},
    release::intent::{Intent, Move},
};

fn intent(to: Move) -> Intent {
    Intent {
        route: RouteName::new("digits").unwrap(),
        artefact: Artefact::new("m/2@2"),
        attempt: 3,
        to,
        set: [FileEdit::new("m/a.yaml", "spec.replicas", "4").unwrap()].into(),
        digest: u64::MAX,
        by: "ann".into(),
        reason: "because".into(),
        verdict: "pass".into(),
        numbers: "a\nb".into(),
        evidence: r#"{"verdict":"fail"}"#.into(),
        window_ms: [1, 2],
    }
}

fn ledger(state: State, now: Now) -> Ledger {
    let rollback = intent(Move::RollBack { promoted: true, kind: RollbackKind::LastGood });
    let readmit = intent(Move::Readmit(Weight::new(100).unwrap()));
    let route = rollback.route.clone();
    let entry = Entry {
        shown: Some("c1".into()),
        learned: true,
        diverged: true,
        readmit: Some(readmit),
        ..Entry::new(rollback)
    };
    let release = Release {
        key: ReleaseKey(9),
        artefact: Artefact::new("m/2@2"),
        attempt: 3,
        age: Spell { since: now, before_ms: 70 },
        paused_by: Some("bob".into()),
        stay: Stay {
            weight: Weight::FULL,
            promoted: true,
            spell: Spell { since: now, before_ms: 50 },
            requests_at: 5,
            labels_at: 6,
        },
        behind: None,
        taken_back: Some(7),
        refused: None,
        state,
    };
    let by_hand = ByHand {
        artefact: Artefact::new("m/2@2"),
        weight: Weight::FULL,
        until: ByHand::end(now, 60_000),
        by: "ann".into(),
        reason: "a look".into(),
    };
    Ledger {
        releases: [(route.clone(), release)].into(),
        quarantine: vec![entry],
        past: vec![(route.clone(), Artefact::new("m/1@1"), 4)],
        by_hand: [(route, by_hand)].into(),
        frozen: Some(Frozen { by: "ann".into(), reason: "holiday".into(), since_ms: 8 }),
    }
}

#[test]
fn everything_comes_back() {
    let now = Now { mono_ms: 1_000, wall_ms: 1_000_000 };
    let (step, holdback) = (Move::Step(Weight::FULL), Weight::new(500).unwrap());
    for state in [
        State::Baking,
        State::Advancing(Box::new(intent(step)), now),
        State::Advancing(Box::new(intent(Move::Promote { holdback })), now),
        State::Advancing(Box::new(intent(Move::Finish)), now),
        State::RollingBack(Box::new(intent(Move::RollBack { promoted: false, kind: RollbackKind::Revert }))),
        State::RolledBack,
        State::Promoted,
        State::Withdrawn,
    ] {
        let (store, saved) = (Store::memory(), ledger(state, now));
        save(&store, &saved, now);
        assert_eq!(load(&store, now), saved);
    }
    let store = Store::memory();
    save(&store, &ledger(State::Baking, now), now);
    let later = Now { mono_ms: 5, wall_ms: 1_060_000 };
    assert!(load(&store, later).by_hand.is_empty(), "its time was over while nobody ran");
    assert_eq!(load(&store, later).releases.values().next().unwrap().stay.spell.elapsed_ms(later), 50);
}

#[test]
fn documents_of_before_are_read_and_newer_ones_are_put_aside() {
    let (store, now) = (Store::memory(), Now::default());
    let old = r#"[{"intent":{"route":"digits","artefact":"a","attempt":1,"to":{"RollBack":{"promoted":true}},"digest":1,
        "by":"judge","reason":"r","verdict":"v","numbers":"n","window_ms":[1,2]},"shown":"c"}]"#;
    store.put(QUARANTINE, old.as_bytes()).unwrap();
    let old = r#"[{"route":"digits","key":1,"artefact":"a","attempt":2,"paused_by":null,"weight":100,"promoted":false,
        "spent_ms":5,"requests_at":0,"labels_at":0,"advancing":{"route":"digits","artefact":"a","attempt":2,"to":{"Step":1000},
        "digest":1,"by":"judge","reason":"r","verdict":"v","numbers":"n","window_ms":[1,2]}}]"#;
    store.put(RELEASES, old.as_bytes()).unwrap();
    let read = load(&store, now);
    let kind = Move::RollBack { promoted: true, kind: RollbackKind::Weights };
    assert_eq!((read.quarantine[0].intent.to, read.quarantine[0].shown.as_deref()), (kind, Some("c")));
    assert!(matches!(read.releases.values().next().unwrap().state, State::Advancing(..)));

    let newer = br#"{"version":2,"body":{"entries":"of another kind"}}"#;
    let newer_still = br#"{"version":2,"body":{"entries":[],"past":[]}}"#;
    for bytes in [&newer[..], newer_still, b"half a docu"] {
        store.put(QUARANTINE, bytes).unwrap();
        assert!(load(&store, now).quarantine.is_empty());
        assert_eq!(store.get("quarantine-unread").unwrap().as_deref(), Some(bytes));
    }
}
