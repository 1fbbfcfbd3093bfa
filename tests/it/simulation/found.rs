//! Stories that the made-up worlds have found out: each was once told wrong.

use super::{
    chance::wish,
    docs::{Docs, Line, digits},
    whole::Talk,
    world::{Made, Rule},
};
use coalmine::core::{
    command::Wish,
    judge::{Signal, Verdict},
    name::{Artefact, VariantName},
    release::{Alert, Hold, State},
    split::Weight,
    variant::Role,
};

fn weight(per_cent: u16) -> Weight {
    Weight::new(per_cent * 100).unwrap()
}

fn line(name: &str, role: Role, per_cent: u16) -> Line {
    let url = format!("http://h:{}", &name[1..]);
    Line { name: name.into(), role, weight: weight(per_cent), url }
}

/// A person commits these variants.
fn people_commit(world: &mut Made<'_>, lines: &[Line]) {
    let doc = world.docs.write(lines, "/d");
    world.push(doc, None).unwrap();
}

fn readmit() -> Wish {
    Wish::Readmit(VariantName::new("v2").unwrap())
}

fn fail(world: &mut Made<'_>, at: usize) {
    world.replicas[at].verdict = Verdict::Fail(Signal::Errors);
    world.look(at).unwrap();
}

fn arrive(world: &mut Made<'_>, at: usize) {
    world.deliver(at, world.tip().doc).unwrap();
    world.look(at).unwrap();
}

fn commit(world: &mut Made<'_>, at: usize) {
    world.commit(at, |_| Ok(()), false).unwrap();
    world.look(at).unwrap();
}

#[test]
fn a_raise_that_people_take_back_is_made_again_only_by_their_order() {
    let mut docs = Docs::default();
    let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
    talk.world.look(0).unwrap();
    talk.world.replicas[0].verdict = Verdict::Pass;
    talk.world.replicas[0].requests = 1000;
    talk.go(15);
    talk.deliver();
    talk.go(1);
    assert_eq!(talk.tip(), "10");
    people_commit(&mut talk.world, &[line("v1", Role::Stable, 99), line("v2", Role::Canary, 1)]);
    talk.deliver();
    for _ in 0..4 {
        talk.world.replicas[0].requests += 1000;
        talk.go(40);
    }
    assert_eq!(talk.tip(), "1", "the plan does not raise it again");
    let state = &talk.world.replicas[0].ledger.releases[&digits()].state;
    assert_eq!(*state, State::Holding(Hold::TakenBack));
    talk.good(&wish(Wish::Promote { override_judge: false }), "the step to 10 % is committed next");
    talk.go(1);
    assert_eq!(talk.tip(), "10");
}

#[test]
fn a_raise_that_people_revert_or_force_away_before_its_delivery_is_noticed_as_soon_as_the_branch_is_looked_at() {
    for forced in [false, true] {
        let mut docs = Docs::default();
        let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
        talk.world.look(0).unwrap();
        talk.world.replicas[0].verdict = Verdict::Pass;
        talk.world.replicas[0].requests = 1000;
        talk.go(15);
        assert_eq!((talk.tip().as_str(), talk.world.replicas[0].word()), ("10", "advancing"));
        let first = talk.world.ever[0];
        match forced {
            false => drop(talk.world.push(first, None).unwrap()),
            true => talk.world.force_back(1),
        }
        // The file that was delivered is the one before the raise, all the time.
        talk.go(30);
        let state = &talk.world.replicas[0].ledger.releases[&digits()].state;
        assert_eq!(*state, State::Holding(Hold::TakenBack), "forced: {forced}");
        talk.go(1000);
        assert_eq!(talk.tip(), "1", "nobody has ordered it");
        // After a restart, too.
        talk.world.restart(0, false);
        talk.go(1000);
        assert_eq!(talk.tip(), "1");
    }
}

#[test]
fn what_was_let_in_again_and_then_taken_out_of_the_file_leaves_nothing_to_do() {
    let mut docs = Docs::default();
    let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
    talk.world.look(0).unwrap();
    talk.good(&wish(Wish::Rollback), "clamped to 0");
    talk.go(1);
    talk.deliver();
    talk.good(&wish(readmit()), "committed as a canary at 1 %");
    talk.go(1);
    assert_eq!(talk.tip(), "1");
    // Before that is delivered.
    people_commit(&mut talk.world, &[line("v1", Role::Stable, 100)]);
    let commits = talk.world.branch.len();
    for _ in 0..3 {
        talk.deliver();
        talk.go(60);
    }
    assert_eq!(talk.world.branch.len(), commits, "nothing is committed for what is gone");
    assert!(talk.world.rests(0));
    assert_eq!(talk.world.with(0, |ledger, world| ledger.alerts(&digits(), world)), []);
}

#[test]
fn a_commit_of_another_replica_is_no_answer_to_whether_a_model_is_rejected_or_stable() {
    let mut docs = Docs::default();
    let mut world = Made::new(&mut docs, 2, Rule::Quarantine);
    (0..2).for_each(|at| world.look(at).unwrap());
    fail(&mut world, 0);
    // While that is on its way, a person promotes it.
    people_commit(&mut world, &[line("v1", Role::Previous, 5), line("v2", Role::Stable, 95)]);
    commit(&mut world, 0);
    let alerts = |world: &mut Made<'_>| world.with(0, |ledger, world| ledger.alerts(&digits(), world));
    assert!(alerts(&mut world).contains(&Alert::Diverged));
    // The other one has nothing against it and ends the watch.
    arrive(&mut world, 1);
    world.now_ms += 30_000;
    world.look(1).unwrap();
    commit(&mut world, 1);
    assert_eq!(world.docs.weight(world.tip().doc, &Artefact::new("http://h:2")), Weight::FULL);
    for _ in 0..3 {
        arrive(&mut world, 0);
        commit(&mut world, 0);
    }
    assert_eq!(world.branch.len(), 3, "a person's decision, and the other replica's, are not taken back");
    assert!(alerts(&mut world).contains(&Alert::Diverged));
    assert!(world.replicas[0].ledger.quarantine[0].diverged);
    world.ordered_in(0, &VariantName::new("v2").unwrap());
    let words = world.obey(0, &wish(readmit())).unwrap().expect("refused");
    assert!(words.contains("let in again"), "{words}");
    assert!(world.replicas[0].ledger.quarantine.is_empty());
}

#[test]
fn what_only_an_old_file_says_is_rejected_is_not_committed_over_a_persons_readmission() {
    let mut docs = Docs::default();
    let mut world = Made::new(&mut docs, 2, Rule::Quarantine);
    (0..2).for_each(|at| world.look(at).unwrap());
    fail(&mut world, 0);
    commit(&mut world, 0);
    let rejected = world.tip().doc;
    people_commit(&mut world, &[line("v1", Role::Stable, 99), line("v2", Role::Canary, 1)]);
    // The second replica hears of the rejection only now, from the file before the newest.
    world.deliver(1, rejected).unwrap();
    world.look(1).unwrap();
    assert!(world.replicas[1].ledger.quarantine[0].learned);
    commit(&mut world, 1);
    assert_eq!(world.branch.len(), 3);
    arrive(&mut world, 1);
    commit(&mut world, 1);
    let (_, route) = world.replicas[1].live.routes.named("digits").unwrap();
    assert_eq!((world.branch.len(), route.variants[1].effective), (3, weight(1)));
}

#[test]
fn the_trailer_of_an_earlier_rollback_does_not_pass_for_a_new_one() {
    let mut docs = Docs::default();
    let mut world = Made::new(&mut docs, 2, Rule::Quarantine);
    (0..2).for_each(|at| world.look(at).unwrap());
    fail(&mut world, 0);
    commit(&mut world, 0);
    // Reverted: the very file that the second replica has had all the time.
    let first = world.ever[0];
    world.push(first, None).unwrap();
    arrive(&mut world, 1);
    world.now_ms += 60_000;
    fail(&mut world, 1);
    assert_eq!(world.replicas[1].ledger.releases[&digits()].attempt, 1, "it knows of no other attempt");
    commit(&mut world, 1);
    assert_eq!(world.docs.weight(world.tip().doc, &Artefact::new("http://h:2")), Weight::ZERO);
    assert_eq!(world.branch.len(), 4, "the branch says it anew");
}
