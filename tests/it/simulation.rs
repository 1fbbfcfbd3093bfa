//! Releases in a made-up world: people, Git, deliveries and the judge do what they like, seeded; the promises hold.

use coalmine::{
    config::{self, edit::edit},
    core::{
        clamp::Clamps,
        command::{Command, Order},
        judge::{Evidence, Judgement, Reason, Signal, Verdict},
        name::{Generation, RouteName},
        now::Now,
        release::{
            State,
            intent::{Change, Move, Outcome, Wanted},
            ledger::{Ledger, News, World},
        },
        snapshot::Snapshot,
        split::Weight,
        variant::Role,
    },
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::collections::{BTreeMap, BTreeSet};

const FILE: &str = "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: { path: /d }
    variants:
      - { name: v1, role: stable, weight: 99, url: 'http://h:1' }
      - { name: v2, role: canary, weight: 1, url: 'http://h:2' }
    plan:
      steps:
        - { weight: 1, hold: 10s, requests: 100 }
        - { weight: 10, hold: 10s, requests: 100 }
        - { weight: 50, hold: 10s, labels: 100 }
        - { weight: 100 }
      watch: { hold: 20s, holdback: 5 }
    judge: { warmup: 1s }
";
const BAD: &str = "http://h:2";

/// A commit: its name, the file, and whether a person made it.
#[derive(Clone)]
struct Commit {
    name: Box<str>,
    text: String,
    by_person: bool,
}

struct Made {
    branch: Vec<Commit>,
    delivered: String,
    generation: u64,
    ledger: Ledger,
    outcomes: BTreeMap<String, Outcome>,
    now_ms: u64,
    verdict: Verdict,
    requests: u64,
    log_e: f64,
    /// Commits on the branch when the artefact was rejected last; `None`: it is not.
    rejected: Option<Rejected>,
    log: Vec<String>,
    commits: u32,
    /// Releases were lost: a promotion of ours cannot be told from a person's.
    lost: bool,
}

/// Since when the artefact must get nothing.
struct Rejected {
    /// A person gave it weight again on top of our rollback.
    readmitted: bool,
    on_branch: bool,
}

fn route() -> RouteName {
    RouteName::new("digits").unwrap()
}

fn weight_of(text: &str) -> Weight {
    let (snapshot, _) = config::read(text, &Clamps::default()).unwrap();
    let (_, route) = snapshot.routes.named("digits").unwrap();
    route.variants.iter().find(|v| v.artefact.as_str() == BAD).map_or(Weight::ZERO, |v| v.said)
}

impl Made {
    fn new() -> Self {
        let first = Commit { name: "0".into(), text: FILE.into(), by_person: true };
        Self {
            branch: vec![first],
            delivered: FILE.into(),
            generation: 1,
            ledger: Ledger::default(),
            outcomes: BTreeMap::new(),
            now_ms: 0,
            verdict: Verdict::Undecided(Reason::NoData),
            requests: 0,
            log_e: 0.0,
            rejected: None,
            log: Vec::new(),
            commits: 0,
            lost: false,
        }
    }

    fn tip(&self) -> &Commit {
        self.branch.last().unwrap()
    }

    fn snapshot(&self) -> Snapshot {
        let (snapshot, _) = config::read(&self.delivered, &self.ledger.clamps()).unwrap();
        Snapshot { generation: Generation(self.generation), ..snapshot }
    }

    fn judgements(&self, snapshot: &Snapshot) -> BTreeMap<RouteName, Judgement> {
        let (_, on) = snapshot.routes.named("digits").unwrap();
        let Some(view) = &on.release else { return BTreeMap::new() };
        let attempt = self.ledger.attempts().get(&route()).filter(|(key, _)| *key == view.key).map_or(1, |(_, n)| *n);
        let evidence = Evidence {
            canary_requests: self.requests,
            canary_labels: self.requests,
            log_e_rollback: self.log_e,
            log_e_rollback_at: 100_f64.ln(),
            ..Evidence::default()
        };
        let at = Now { mono_ms: self.now_ms, wall_ms: self.now_ms };
        let since = Now::default();
        let judgement =
            Judgement { route: route(), release: view.key, attempt, verdict: self.verdict, evidence, since, at };
        [(route(), judgement)].into()
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Ledger, &World<'_>) -> T) -> T {
        let snapshot = self.snapshot();
        let judgements = self.judgements(&snapshot);
        let outcomes = self.outcomes.clone();
        let now = Now { mono_ms: self.now_ms, wall_ms: self.now_ms };
        let world = World { snapshot: &snapshot, judgements: &judgements, outcomes: &outcomes, git: true, now };
        act(&mut self.ledger, &world)
    }

    fn look(&mut self) {
        let news = self.with(|ledger, world| ledger.look(world));
        self.note(&news);
        self.check();
    }

    fn note(&mut self, news: &[News]) {
        for one in news {
            self.log.push(format!("{one:?}").chars().take(60).collect());
            match one {
                News::Clamped(_) => {
                    self.rejected = Some(Rejected { readmitted: false, on_branch: false });
                    // A new attempt is a new trial.
                    (self.verdict, self.requests, self.log_e) = (Verdict::Undecided(Reason::NoData), 0, 0.0);
                }
                News::OnBranch(_) => self.rejected.iter_mut().for_each(|r| r.on_branch = true),
                News::Lifted(_) => {
                    let readmitted = self.rejected.take().is_some_and(|rejected| rejected.readmitted);
                    let ours = self.lost && self.tip().text.contains("{ name: v2, role: stable");
                    assert!(readmitted || ours, "lifted although no person let it in again\n{}", self.log.join("\n"));
                }
                News::Begins(_) | News::Enters(..) => {}
            }
        }
    }

    /// What traffic gets is never more than the file says, and nothing while it is rejected.
    fn check(&self) {
        let snapshot = self.snapshot();
        let (_, route) = snapshot.routes.named("digits").unwrap();
        let Some(bad) = route.variants.iter().find(|v| v.artefact.as_str() == BAD) else { return };
        assert!(bad.effective <= bad.said, "above the file\n{}", self.log.join("\n"));
        if self.rejected.is_some() {
            assert_eq!(bad.effective, Weight::ZERO, "a rejected artefact is served\n{}", self.log.join("\n"));
        }
    }

    /// The commit loop, once over everything that is wanted.
    fn commit(&mut self) {
        let wanted = self.with(|ledger, world| ledger.wanted(world));
        self.outcomes.retain(|id, _| wanted.iter().any(|w| w.intent.id() == *id));
        for wanted in wanted {
            let outcome = self.carry_out(&wanted);
            self.log.push(format!("{} -> {outcome:?}", wanted.intent.to.as_str()));
            self.outcomes.insert(wanted.intent.id(), outcome);
        }
    }

    fn carry_out(&mut self, wanted: &Wanted) -> Outcome {
        let tip = self.tip().clone();
        let (snapshot, _) = config::read(&tip.text, &Clamps::default()).unwrap();
        let (_, on) = snapshot.routes.named("digits").unwrap();
        let contained = wanted.shown.as_ref().is_some_and(|shown| self.branch.iter().any(|c| c.name == *shown));
        let changes = match wanted.on(on, &tip.name, contained) {
            Ok(changes) => changes,
            Err(outcome) => return outcome,
        };
        if let Move::Promote { .. } = wanted.intent.to {
            assert_eq!(&*wanted.intent.verdict, "pass", "promoted without a pass\n{}", self.log.join("\n"));
        }
        let text = edit(&tip.text, "digits", &changes).unwrap();
        Outcome::Committed(self.push(text, false))
    }

    fn push(&mut self, text: String, by_person: bool) -> Box<str> {
        self.commits += 1;
        let name: Box<str> = self.commits.to_string().into();
        self.branch.push(Commit { name: name.clone(), text, by_person });
        name
    }

    fn deliver(&mut self, text: String) {
        self.generation += u64::from(self.delivered != text);
        self.delivered = text;
        self.check();
    }

    fn person(&mut self, text: String) {
        if let Some(rejected) = &mut self.rejected
            && rejected.on_branch
            && weight_of(&text) > Weight::ZERO
        {
            rejected.readmitted = true;
        }
        self.push(text, true);
    }

    fn one_event(&mut self, dice: &mut StdRng) {
        self.now_ms += dice.random_range(0..4000);
        self.requests += dice.random_range(0..80);
        match dice.random_range(0..16) {
            0 => self.verdict = Verdict::Pass,
            1 => self.verdict = Verdict::Undecided(Reason::Overlap),
            2 if dice.random_ratio(1, 4) => self.verdict = Verdict::Fail(Signal::Accuracy),
            3 => self.log_e = dice.random_range(0.0..4.0),
            4..7 => self.deliver(self.tip().text.clone()),
            7 => {
                let old = dice.random_range(0..self.branch.len());
                self.deliver(self.branch[old].text.clone());
            }
            8..11 => self.commit(),
            11 => self.restart(dice.random()),
            12 => {
                let command = [Command::Pause, Command::Resume, Command::Rollback][dice.random_range(0..3)];
                let order = Order { route: route(), command, by: "ann".into(), reason: "x".into(), generation: None };
                if let Ok((_, news)) = self.with(|ledger, world| ledger.obey(&order, world)) {
                    self.note(&news);
                }
            }
            13 if dice.random_ratio(1, 4) => {
                // A revert of the newest commit: the file of before, and no trailer of ours.
                let text = self.branch[self.branch.len().saturating_sub(2)].text.clone();
                self.person(text);
            }
            14 if dice.random_ratio(1, 4) => {
                let text = format!("{}# a remark {}\n", self.tip().text, dice.next_u32());
                self.person(text);
            }
            15 if dice.random_ratio(1, 8) && self.branch.len() > 1 && !self.tip().by_person => {
                // Forced away: what it said must be said again.
                self.branch.pop();
            }
            _ => {}
        }
        self.look();
    }

    /// States follow from the file; the store may have lost the releases, but not what is rejected.
    fn restart(&mut self, lost: bool) {
        if lost {
            self.ledger.releases.clear();
            self.lost = true;
        }
        for release in self.ledger.releases.values_mut() {
            if !matches!(release.state, State::Advancing(..)) {
                release.state = if release.stay.promoted { State::Watching } else { State::Baking };
            }
        }
        self.outcomes.clear();
        self.log.push("restart".into());
    }

    /// Nobody interferes any more: what the branch says and what is rejected come to agree.
    fn calm(&mut self) {
        self.verdict = Verdict::Undecided(Reason::Overlap);
        for _ in 0..40 {
            self.now_ms += 1000;
            self.look();
            self.commit();
            self.deliver(self.tip().text.clone());
        }
        self.look();
        if self.rejected.as_ref().is_some_and(|rejected| !rejected.readmitted) {
            assert_eq!(weight_of(&self.tip().text), Weight::ZERO, "not on the branch\n{}", self.log.join("\n"));
        }
    }
}

#[test]
fn nothing_rejected_is_served_again_before_a_person_says_so() {
    let mut rolled_back = BTreeSet::new();
    for seed in 0..150 {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut world = Made::new();
        for _ in 0..120 {
            world.one_event(&mut dice);
        }
        if world.branch.iter().any(|commit| !commit.by_person && weight_of(&commit.text) == Weight::ZERO) {
            rolled_back.insert(seed);
        }
        world.calm();
    }
    assert!(rolled_back.len() > 40, "the runs hardly touch rollbacks: {}", rolled_back.len());
}

/// A whole release with nobody in the way; the weights that the branch showed, in order.
fn release(verdicts: impl Fn(u64) -> Verdict) -> Vec<(String, String)> {
    let mut world = Made::new();
    for second in 0..120 {
        world.now_ms = second * 1000;
        world.requests += 50;
        world.verdict = verdicts(second);
        world.look();
        world.commit();
        world.deliver(world.tip().text.clone());
    }
    let shown = world.branch.iter().map(|commit| {
        let (snapshot, _) = config::read(&commit.text, &Clamps::default()).unwrap();
        let (_, route) = snapshot.routes.named("digits").unwrap();
        let of = |at: usize| format!("{}:{}", route.variants[at].role.as_str(), route.variants[at].said);
        (of(0), of(1))
    });
    shown.collect()
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
    let late = |second| if second > 40 { Verdict::Fail(Signal::Accuracy) } else { Verdict::Pass };
    check(late, &[climb[0], climb[1], climb[2], climb[3], ("stable:100", "rejected:0")]);
}

#[test]
fn people_can_hold_it_up_and_push_it_on() {
    let mut world = Made::new();
    let order = |command| Order {
        route: route(),
        command,
        by: "ann".into(),
        reason: "because".into(),
        generation: Some(Generation(1)),
    };
    world.look();
    world.log_e = 4.0;
    let promote = order(Command::Promote { override_judge: false });
    let refused = world.with(|ledger, world| ledger.obey(&promote, world)).unwrap_err();
    assert!(refused.to_string().contains("evidence against"), "{refused}");
    world.log_e = 0.0;
    let mut old = order(Command::Pause);
    old.generation = Some(Generation(0));
    let refused = world.with(|ledger, world| ledger.obey(&old, world)).unwrap_err();
    assert!(refused.to_string().contains("stale"), "{refused}");
    world.with(|ledger, world| ledger.obey(&order(Command::Pause), world)).unwrap();
    (world.verdict, world.requests, world.now_ms) = (Verdict::Pass, 1000, 60_000);
    world.look();
    world.commit();
    assert_eq!(world.branch.len(), 1, "a paused release does not climb");
    world.with(|ledger, world| ledger.obey(&order(Command::Resume), world)).unwrap();
    world.with(|ledger, world| ledger.obey(&promote, world)).unwrap();
    world.commit();
    assert_eq!(weight_of(&world.tip().text).to_string(), "10");
    world.with(|ledger, world| ledger.obey(&order(Command::Rollback), world)).unwrap();
    world.check();
    world.commit();
    assert_eq!(weight_of(&world.tip().text), Weight::ZERO, "on top of the raise that was not even delivered");
}

#[test]
fn an_edit_that_cannot_be_made_is_refused_by_name() {
    let change = Change {
        variant: coalmine::core::name::VariantName::new("v9").unwrap(),
        weight: Weight::ZERO,
        role: Role::Rejected,
    };
    let error = edit(FILE, "digits", &[change]).unwrap_err();
    assert!(error.to_string().contains("v9"), "{error}");
}
