//! Single releases, told from the first step to the last.

use super::{
    chance::{order, wish},
    docs::{Docs, FIRST, digits},
    world::{Made, Rule},
};
use coalmine::{
    config::edit::edit,
    core::{
        command::{Command, Order, Wish},
        judge::{Reason, Signal, Verdict},
        name::{Artefact, Generation, VariantName},
        release::{Alert, intent::Change},
        split::Weight,
        variant::Role,
    },
};

const BAD: &str = "http://h:2";

/// A whole release with nobody in the way but one who approves; what the branch showed, in order.
fn release(verdicts: impl Fn(u64) -> Verdict) -> Vec<(String, String)> {
    let mut docs = Docs::default();
    let mut world = Made::new(&mut docs, 1, Rule::Quarantine);
    for second in 0..160 {
        world.now_ms = second * 1000;
        world.replicas[0].requests += 50;
        world.replicas[0].verdict = verdicts(second);
        world.look(0).unwrap();
        let _ = world.obey(0, &wish(Wish::Approve)).unwrap();
        world.commit(0, |_| Ok(()), false).unwrap();
        world.deliver(0, world.tip().doc).unwrap();
    }
    let shown: Vec<_> = world.branch.iter().map(|commit| commit.doc).collect();
    let of = |doc, at: usize| {
        let line = &docs.lines(doc)[at];
        format!("{}:{}", line.role.as_str(), line.weight)
    };
    shown.into_iter().map(|doc| (of(doc, 0), of(doc, 1))).collect()
}

#[track_caller]
fn check(verdicts: impl Fn(u64) -> Verdict, wanted: &[(&str, &str)]) {
    let shown = release(verdicts);
    let shown: Vec<(&str, &str)> = shown.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(shown, wanted);
}

#[test]
fn a_good_candidate_climbs_and_is_promoted_and_a_bad_one_goes_back_from_wherever_it_is() {
    let climb = [
        ("stable:99", "canary:1"),
        ("stable:90", "canary:10"),
        ("stable:50", "canary:50"),
        ("previous:5", "stable:95"),
        ("previous:0", "stable:100"),
    ];
    check(|_| Verdict::Pass, &climb);
    // Steps have minima of their own; promotion alone needs the pass.
    check(|_| Verdict::Undecided(Reason::Overlap), &climb[..3]);
    check(|_| Verdict::Undecided(Reason::SplitMismatch), &climb[..1]);
    check(|_| Verdict::Fail(Signal::Errors), &[climb[0], ("stable:100", "rejected:0")]);
    let late = |second| if second > 45 { Verdict::Fail(Signal::Accuracy) } else { Verdict::Pass };
    check(late, &[climb[0], climb[1], climb[2], climb[3], ("stable:100", "rejected:0")]);
}

#[test]
fn a_guardrail_that_cannot_be_told_holds_every_step_and_a_stalled_release_too_and_one_that_is_breached_rolls_back() {
    let climb = [
        ("stable:99", "canary:1"),
        ("stable:90", "canary:10"),
        ("stable:50", "canary:50"),
        ("previous:5", "stable:95"),
    ];
    let unknown = Verdict::Undecided(Reason::Guardrail);
    check(|_| unknown, &climb[..1]);
    check(|second| if second > 45 { unknown } else { Verdict::Pass }, &climb);
    check(|_| Verdict::Fail(Signal::Guardrail), &[climb[0], ("stable:100", "rejected:0")]);

    // Past the deadline this plan rolls back what nobody can judge, but not because a monitoring system is away.
    let stalled = |verdict| {
        let mut docs = Docs::default();
        let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
        talk.world.look(0).unwrap();
        talk.world.replicas[0].requests = 500;
        talk.world.replicas[0].verdict = verdict;
        talk.go(2 * 3_600);
        talk.world.replicas[0].word()
    };
    assert_eq!(stalled(unknown), "holding");
    assert_eq!(stalled(Verdict::Undecided(Reason::SplitMismatch)), "rolling_back");
}

/// A world of one replica that people talk to.
pub(super) struct Talk<'a> {
    pub(super) world: Made<'a>,
}

impl Talk<'_> {
    #[track_caller]
    pub(super) fn good(&mut self, order: &Order, part: &str) {
        let words = self.world.obey(0, order).unwrap().expect("refused");
        assert!(words.contains(part), "{words}");
    }

    #[track_caller]
    pub(super) fn bad(&mut self, order: &Order, part: &str) {
        let refused = self.world.with(0, |ledger, world| ledger.obey(order, world)).unwrap_err();
        assert!(refused.to_string().contains(part), "{refused}");
    }

    pub(super) fn go(&mut self, seconds: u64) {
        self.world.now_ms += seconds * 1000;
        self.world.look(0).unwrap();
        self.world.commit(0, |_| Ok(()), false).unwrap();
        self.world.look(0).unwrap();
    }

    pub(super) fn deliver(&mut self) {
        self.world.deliver(0, self.world.tip().doc).unwrap();
        self.world.look(0).unwrap();
    }

    pub(super) fn tip(&self) -> String {
        self.world.docs.weight(self.world.tip().doc, &Artefact::new(BAD)).to_string()
    }

    pub(super) fn served(&self) -> String {
        let (_, route) = self.world.replicas[0].live.routes.named("digits").unwrap();
        route.variants[1].effective.to_string()
    }
}

#[test]
fn people_can_hold_it_up_push_it_on_and_are_told_what_comes_next() {
    let mut docs = Docs::default();
    let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
    let promote = || wish(Wish::Promote { override_judge: false });
    talk.world.look(0).unwrap();
    talk.world.replicas[0].log_e = 4.0;
    talk.bad(&promote(), "evidence against");
    talk.world.replicas[0].log_e = 0.0;
    let stale = Order { generation: Some(Generation(0)), ..wish(Wish::Pause) };
    talk.bad(&stale, "stale");
    talk.bad(&wish(Wish::Approve), "nothing waits for approval: the step to 10 % comes next, in 10 s at the earliest");
    talk.good(&wish(Wish::Pause), "no raises until resumed");
    (talk.world.replicas[0].verdict, talk.world.replicas[0].requests) = (Verdict::Pass, 1000);
    talk.go(60);
    assert_eq!(talk.world.branch.len(), 1, "a paused release does not climb");
    talk.bad(&promote(), "paused");
    talk.good(&wish(Wish::Resume), "the step to 10 % is committed next");
    talk.good(&order(Command::Freeze), "no raises on any route");
    talk.go(1);
    assert_eq!((talk.world.branch.len(), talk.world.replicas[0].word()), (1, "holding"));
    talk.bad(&promote(), "unfreeze first");
    talk.good(&order(Command::Unfreeze), "`digits`: the step to 10 % is committed next");
    talk.good(&promote(), "the step to 10 % is committed next; it counts once it is delivered");
    talk.go(1);
    assert_eq!(talk.tip(), "10");
    talk.good(&wish(Wish::Pause), "the raise in flight is on the branch already");
    talk.good(&wish(Wish::Rollback), "clamped to 0; the rollback is committed next");
    assert_eq!(talk.served(), "0");
    talk.go(1);
    assert_eq!(talk.tip(), "0", "on top of the raise that was not even delivered");
    talk.deliver();
    talk.bad(&wish(Wish::Rollback), "no release in progress");
}

#[test]
fn a_step_that_needs_a_yes_waits_for_it() {
    let mut docs = Docs::default();
    let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
    talk.world.replicas[0].verdict = Verdict::Pass;
    for _ in 0..2 {
        talk.world.replicas[0].requests += 200;
        talk.go(15);
        talk.deliver();
    }
    assert_eq!((talk.tip().as_str(), talk.world.replicas[0].word()), ("10", "judging"));
    talk.world.replicas[0].requests += 200;
    talk.go(15);
    assert_eq!(talk.world.replicas[0].word(), "awaiting_approval");
    talk.good(&wish(Wish::Approve), "the step to 50 % is committed next");
    talk.go(1);
    assert_eq!(talk.tip(), "50");
}

#[test]
fn a_weight_set_by_hand_ends_by_itself_and_with_a_rollback() {
    let mut docs = Docs::default();
    let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
    talk.world.look(0).unwrap();
    let set = || wish(Wish::SetWeight { weight: Weight::new(6000).unwrap(), for_ms: 30_000 });
    talk.good(&set(), "60 % for 30 s, then the file's 1 % again");
    assert_eq!(talk.served(), "60");
    talk.world.replicas[0].by_hand = Some((30_000, Weight::new(6000).unwrap()));
    (talk.world.replicas[0].verdict, talk.world.replicas[0].requests) = (Verdict::Pass, 1000);
    talk.go(20);
    assert_eq!((talk.served().as_str(), talk.world.branch.len()), ("60", 1), "the plan waits");
    assert_eq!(talk.world.with(0, |ledger, world| ledger.alerts(&digits(), world)), [Alert::ByHand]);
    talk.bad(&wish(Wish::Promote { override_judge: true }), "set by hand");
    talk.go(11);
    assert_eq!(talk.served(), "1");
    talk.good(&set(), "60 %");
    talk.good(&wish(Wish::ClearWeight), "the file's 1 % again");
    assert_eq!(talk.served(), "1");
    talk.bad(&wish(Wish::ClearWeight), "no weight is set by hand");
    talk.good(&set(), "60 %");
    talk.good(&wish(Wish::Rollback), "clamped to 0");
    assert_eq!(talk.served(), "0");
    talk.bad(&set(), "it is rejected");
}

#[test]
fn what_was_rejected_is_let_in_again_by_a_commit_that_a_person_orders() {
    let mut docs = Docs::default();
    let mut talk = Talk { world: Made::new(&mut docs, 1, Rule::Quarantine) };
    let readmit = |name| wish(Wish::Readmit(VariantName::new(name).unwrap()));
    talk.world.look(0).unwrap();
    talk.bad(&readmit("v9"), "no variant `v9`");
    talk.bad(&readmit("v2"), "`v2` is not rejected");
    talk.good(&wish(Wish::Rollback), "until a person lets it in again");
    talk.bad(&readmit("v2"), "not on the branch yet");
    talk.go(1);
    talk.deliver();
    talk.good(&readmit("v2"), "`v2` is committed as a canary at 1 % next");
    talk.go(1);
    assert_eq!(talk.tip(), "1");
    talk.deliver();
    assert_eq!(talk.served(), "0", "the branch is asked first");
    talk.go(1);
    assert_eq!(talk.served(), "1");
    assert_eq!(talk.world.replicas[0].ledger.releases[&digits()].attempt, 2);
}

#[test]
fn what_another_replica_rejected_stays_at_0_when_an_old_file_comes_again() {
    let mut docs = Docs::default();
    let mut world = Made::new(&mut docs, 2, Rule::Quarantine);
    let first = world.tip().doc;
    world.replicas[0].verdict = Verdict::Fail(Signal::Errors);
    world.look(0).unwrap();
    world.commit(0, |_| Ok(()), false).unwrap();
    // The other one has seen nothing bad, and reads of it in the file.
    world.look(1).unwrap();
    world.deliver(1, world.tip().doc).unwrap();
    world.look(1).unwrap();
    world.deliver(1, first).unwrap();
    world.look(1).unwrap();
    world.commit(1, |_| Ok(()), false).unwrap();
    world.look(1).unwrap();
    assert_eq!((world.branch.len(), world.replicas[1].word()), (2, "rolled_back"));
    let alerts = world.with(1, |ledger, world| ledger.alerts(&digits(), world));
    assert_eq!(alerts, [Alert::DeliveryStale]);
}

#[test]
fn nobody_is_rolled_back_to_nobody() {
    let mut docs = Docs::default();
    let mut world = Made::new(&mut docs, 1, Rule::Quarantine);
    world.look(0).unwrap();
    // The stable one was rejected once, and a person promoted by hand what came after.
    let mut entry = world.replicas[0].ledger.clone();
    let rollback = wish(Wish::Rollback);
    world.with(0, |ledger, world| ledger.obey(&rollback, world)).unwrap();
    let mut held = std::mem::take(&mut world.replicas[0].ledger.quarantine);
    held[0].intent.artefact = Artefact::new("http://h:1");
    entry.quarantine = held;
    world.replicas[0].ledger = entry;
    world.replicas[0].verdict = Verdict::Fail(Signal::Errors);
    world.look(0).unwrap();
    assert_eq!(world.replicas[0].word(), "holding");
    let alerts = world.with(0, |ledger, world| ledger.alerts(&digits(), world));
    assert!(alerts.contains(&Alert::NoHeir), "{alerts:?}");
    let refused = world.with(0, |ledger, world| ledger.obey(&rollback, world)).unwrap_err();
    assert!(refused.to_string().contains("nobody could take its traffic"), "{refused}");
}

#[test]
fn an_edit_that_cannot_be_made_is_refused_by_name() {
    let change = Change { variant: VariantName::new("v9").unwrap(), weight: Weight::ZERO, role: Role::Rejected };
    let error = edit(FIRST, "digits", &[change]).unwrap_err();
    assert!(error.to_string().contains("v9"), "{error}");
}
