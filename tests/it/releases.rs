//! What a release asks of the branch, decided over routes files as people write them.

use coalmine::{
    config::{self, edit::edit},
    core::{
        clamp::Clamps,
        command::{Command, Order, Wish},
        name::{Artefact, Generation, ReleaseKey, RouteName},
        now::Now,
        plan::RollbackKind,
        release::{
            Release, Seen, Spell, State, Stay,
            intent::{Edit, Intent, Move, Outcome, Wanted},
            quarantine::{Entry, Next},
        },
        route::Route,
        split::Weight,
    },
};
use std::sync::Arc;

const FILE: &str = "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: { path: /d }
    variants:
      - { name: v1, role: stable, weight: 90, url: 'http://h:1' }
      - { name: v2, role: canary, weight: 10, url: 'http://h:2' }
    plan:
      steps:
        - { weight: 10, hold: 10s, pass: true }
        - { weight: 50, hold: 10s, set: [{ file: m/canary.yaml, path: spec.replicas, value: 4 }] }
        - { weight: 100 }
    rollback: { kind: revert, set: [{ file: m/canary.yaml, path: spec.replicas, value: 1 }] }
";

fn route(text: &str) -> Arc<Route> {
    let (snapshot, _) = config::read(text, &Clamps::default()).unwrap();
    snapshot.routes.named("digits").unwrap().1.clone()
}

fn weight(per_cent: u16) -> Weight {
    Weight::new(per_cent * 100).unwrap()
}

fn release(route: &Route) -> Release {
    let artefact = Artefact::new("http://h:2");
    Release {
        key: ReleaseKey::of(&route.name, &artefact),
        artefact,
        attempt: 1,
        age: Spell::default(),
        paused_by: None,
        stay: Stay { weight: weight(10), ..Stay::default() },
        behind: None,
        taken_back: None,
        refused: None,
        state: State::Baking,
    }
}

fn seen<'a>(route: &'a Route, outcome: Option<&'a Outcome>, second: u64) -> Seen<'a> {
    Seen {
        route,
        judgement: None,
        held: None,
        heir: true,
        by_hand: false,
        frozen: false,
        outcome,
        git: true,
        now: Now { mono_ms: second * 1000, wall_ms: second * 1000 },
    }
}

fn intent(text: &str, to: Move) -> Intent {
    let route = route(text);
    Intent::new(&release(&route), &seen(&route, None, 0), to, "ann", "because")
}

#[track_caller]
fn becomes(text: &str, to: Move, wanted: Option<(&str, &str)>) {
    let intent = intent(text, to);
    match (intent.edit(&route(text)), wanted) {
        (Edit::Set(changes), Some((stable, canary))) => {
            let edited = edit(text, "digits", &changes).unwrap();
            assert!(edited.contains(stable) && edited.contains(canary), "{edited}");
            assert_eq!(intent.rejected_by(&route(&edited)), matches!(to, Move::RollBack { .. }));
        }
        (Edit::Nothing, None) => {}
        (other, _) => panic!("{other:?}"),
    }
}

#[test]
fn a_step_and_a_rollback_carry_the_edits_that_the_plan_gives_them() {
    let set = |to| intent(FILE, to).set.iter().map(|edit| edit.value().to_owned()).collect::<Vec<_>>();
    let rollback = Move::RollBack { promoted: false, kind: RollbackKind::Revert };
    assert_eq!(set(Move::Step(weight(50))), ["4"]);
    assert_eq!(set(rollback), ["1"]);
    assert!(set(Move::Promote { holdback: Weight::ZERO }).is_empty() && set(Move::Finish).is_empty());
    let edit = &intent(FILE, rollback).set[0];
    assert_eq!((edit.file(), edit.keys().collect::<Vec<_>>()), ("m/canary.yaml", vec!["spec", "replicas"]));
}

#[test]
fn a_rollback_of_another_kind_ends_where_the_artefact_gets_nothing() {
    for kind in [RollbackKind::Weights, RollbackKind::Revert, RollbackKind::LastGood] {
        let rollback = Move::RollBack { promoted: false, kind };
        becomes(FILE, rollback, Some(("role: stable, weight: 100", "role: rejected, weight: 0")));
        // A revert may leave it staged. Only weights say that it is rejected.
        let staged = FILE.replace("weight: 90", "weight: 100").replace("weight: 10, url", "weight: 0, url");
        let weights = kind == RollbackKind::Weights;
        becomes(&staged, rollback, weights.then_some(("role: stable, weight: 100", "role: rejected, weight: 0")));
        assert!(intent(FILE, rollback).rejected_by(&route(&staged)));
    }
}

#[test]
fn what_was_rejected_is_let_in_again_where_no_other_canary_is() {
    let rejected =
        FILE.replace("stable, weight: 90", "stable, weight: 100").replace("canary, weight: 10", "rejected, weight: 0");
    let readmit = Move::Readmit(weight(10));
    becomes(&rejected, readmit, Some(("role: stable, weight: 90", "role: canary, weight: 10")));
    becomes(FILE, readmit, None);
    let other = "      - { name: v3, role: canary, weight: 0, url: 'http://h:3' }\n    plan:";
    assert_eq!(intent(FILE, readmit).edit(&route(&rejected.replace("    plan:", other))), Edit::Moved);
}

#[test]
fn what_a_plan_may_set_is_checked_with_the_file() {
    #[track_caller]
    fn check(text: &str, part: &str) {
        let problems = config::read(text, &Clamps::default()).unwrap_err();
        let told: String = problems.iter().map(|problem| problem.one_line("routes.yaml") + "\n").collect();
        assert!(told.contains(part), "{told}");
    }
    check(&FILE.replace("m/canary.yaml", "../canary.yaml"), "a path inside the repository");
    check(&FILE.replace(", value: 4", ""), "`value` is missing");
    check(&FILE.replace("kind: revert", "kind: last-good"), "last_good");
}

fn promote() -> (Wish, Order) {
    let wish = Wish::Promote { override_judge: true };
    let name = RouteName::new("digits").unwrap();
    let command = Command::Route(name, wish.clone());
    (wish, Order { command, by: "ann".into(), reason: "because".into(), generation: None })
}

#[test]
fn a_raise_waits_for_people_as_long_as_they_like_and_their_no_holds_until_their_own_order() {
    const HOUR: u64 = 3600;
    let route = route(FILE);
    let place = || "https://git.example/pulls/1".into();
    let to = Move::Step(weight(50));
    let raise = Intent { by: "judge".into(), ..Intent::new(&release(&route), &seen(&route, None, 0), to, "judge", "") };
    let at = |release: Release, outcome: &Outcome, second| release.step(&seen(&route, Some(outcome), second)).0;
    let begun = Release { state: State::Advancing(Box::new(raise.clone()), Now::default()), ..release(&route) };
    let waits = at(begun, &Outcome::Waiting(place()), 50 * HOUR);
    assert_eq!(waits.state.raise(), Some(&raise));
    // Its delivery may take as long as any, counted from the merge.
    let merged = at(waits.clone(), &Outcome::Committed("c".into()), 50 * HOUR + 60);
    assert_eq!(merged.state.raise(), Some(&raise));
    let refused = at(waits, &Outcome::Refused(place()), 50 * HOUR + 60);
    assert_eq!((refused.state.raise(), refused.taken_back), (None, Some(route.digest)));
    assert_eq!(refused.refused.as_deref(), Some(&(raise.clone(), Outcome::Refused(place()))), "people are told");
    let (wish, order) = promote();
    let (again, _, words) = refused.obey(&wish, &order, &seen(&route, None, 51 * HOUR)).unwrap();
    let asked = again.state.raise().unwrap();
    assert_eq!((asked.to, asked.id() == raise.id()), (to, false), "another question: {words}");
    assert_eq!(again.refused, None, "their no was to the other one");
}

#[test]
fn a_raise_that_the_branch_has_had_is_asked_about_until_it_is_delivered_and_never_made_again() {
    let (was, to) = (route(FILE), Move::Step(weight(50)));
    let raise = Intent::new(&release(&was), &seen(&was, None, 0), to, "judge", "");
    let wanted = Wanted {
        intent: raise,
        shown: Some("ours".into()),
        learned: false,
        diverged: false,
        generation: Generation(1),
    };
    assert!(wanted.asks());
    let raised = route(&FILE.replace("weight: 90", "weight: 50").replace("weight: 10, url", "weight: 50, url"));
    assert_eq!(wanted.on(&raised, "tip", true), Err(Outcome::There("ours".into())));
    // Reverted on top of it, or forced away.
    for contained in [true, false] {
        assert_eq!(wanted.on(&was, "tip", contained), Err(Outcome::TakenBack("ours".into())));
    }
}

#[test]
fn a_refused_rollback_stays_wanted_and_held_and_says_that_people_decide() {
    let rollback = Move::RollBack { promoted: false, kind: RollbackKind::Weights };
    let route = route(FILE);
    let mut entry = Entry::new(intent(FILE, rollback));
    let place = || "https://git.example/pulls/1".into();
    for (outcome, diverged) in [
        (Outcome::Waiting(place()), false),
        (Outcome::Refused(place()), true),
        // Reopened.
        (Outcome::Waiting(place()), false),
    ] {
        assert!(!entry.hear(Some(&outcome)), "the branch does not show it");
        assert_eq!((entry.diverged, entry.next(Some(&route), Some(&outcome), true)), (diverged, Next::Commit));
    }
    entry.hear(Some(&Outcome::Refused(place())));
    let wanted = Wanted {
        intent: entry.intent.clone(),
        shown: None,
        learned: false,
        diverged: entry.diverged,
        generation: Generation(1),
    };
    assert!(wanted.asks(), "what the branch says by now is asked from time to time");
}
