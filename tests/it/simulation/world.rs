//! The made-up world: a branch, replicas that each have a ledger and a delivered file, and what must hold in it.

use super::docs::{Doc, Docs, FIRST, digits};
use coalmine::{
    control::record,
    core::{
        clamp::Clamps,
        command::Order,
        judge::{Evidence, Judgement, Reason, Verdict},
        name::{Artefact, Generation, RouteName, VariantName},
        now::Now,
        release::{
            State,
            intent::{Move, Outcome, Wanted},
            ledger::{Ledger, World},
        },
        snapshot::Snapshot,
        split::Weight,
        variant::Role,
    },
    io::store::Store,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A promise that did not hold, with what led to it.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

/// A commit on the branch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Commit {
    pub(super) name: Box<str>,
    pub(super) doc: Doc,
    /// The intent it was made for; `None`: a person's.
    pub(super) intent: Option<String>,
}

/// Why an artefact must get nothing on a replica.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Rejected {
    /// A person gave it weight again on top of the rollback, or ordered that.
    pub(super) readmitted: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Replica {
    pub(super) ledger: Ledger,
    /// What a restart would find.
    pub(super) saved: Ledger,
    pub(super) doc: Doc,
    pub(super) live: Snapshot,
    pub(super) outcomes: BTreeMap<String, Outcome>,
    pub(super) verdict: Verdict,
    pub(super) requests: u64,
    pub(super) log_e: f64,
    pub(super) attempt: u32,
    pub(super) looked_ms: u64,
    pub(super) rejected: BTreeMap<Artefact, Rejected>,
    /// A person's order: until when, and up to which weight.
    pub(super) by_hand: Option<(u64, Weight)>,
}

/// What happened, for the one who reads of a broken promise.
#[derive(Default, Debug)]
pub(super) struct Log {
    pub(super) lines: Vec<String>,
    /// Nobody will read it.
    pub(super) deaf: bool,
}

impl Log {
    pub(super) fn note(&mut self, line: fmt::Arguments<'_>) {
        if !self.deaf {
            self.lines.push(line.to_string().chars().take(220).collect());
        }
    }

    pub(super) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// Which rule keeps a rejected artefact at 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// Ours.
    Quarantine,
    /// Planted: the clamp is dropped once the rollback has arrived.
    DropOnArrival,
}

pub(super) struct Made<'a> {
    pub(super) docs: &'a mut Docs,
    pub(super) rule: Rule,
    pub(super) branch: Vec<Commit>,
    /// Everything that was ever a tip: any of it may be delivered late, or again.
    pub(super) ever: Vec<Doc>,
    pub(super) replicas: Vec<Replica>,
    pub(super) git_down: bool,
    /// Whether the replicas have been told of a branch to commit to.
    pub(super) git: bool,
    pub(super) now_ms: u64,
    pub(super) commits: u32,
    pub(super) log: Log,
    /// Every change of a release's state, from and to.
    pub(super) seen: BTreeSet<(&'static str, &'static str)>,
    /// Every reason to hold that was seen.
    pub(super) holds: BTreeSet<&'static str>,
}

impl Replica {
    fn new(doc: Doc, live: Snapshot) -> Self {
        Self {
            ledger: Ledger::default(),
            saved: Ledger::default(),
            doc,
            live,
            outcomes: BTreeMap::new(),
            verdict: Verdict::Undecided(Reason::NoData),
            requests: 0,
            log_e: 0.0,
            attempt: 1,
            looked_ms: 0,
            rejected: BTreeMap::new(),
            by_hand: None,
        }
    }

    fn judgements(&self, now: Now) -> BTreeMap<RouteName, Judgement> {
        let Some((_, on)) = self.live.routes.named("digits") else { return BTreeMap::new() };
        let Some(view) = &on.release else { return BTreeMap::new() };
        let attempts = self.ledger.attempts();
        let attempt = attempts.get(&digits()).filter(|(key, _)| *key == view.key).map_or(1, |(_, n)| *n);
        let evidence = Evidence {
            canary_requests: self.requests,
            canary_labels: self.requests,
            log_e_rollback: self.log_e,
            log_e_rollback_at: 100_f64.ln(),
            ..Evidence::default()
        };
        let (verdict, since) = (self.verdict, Now::default());
        let judgement = Judgement { route: digits(), release: view.key, attempt, verdict, evidence, since, at: now };
        [(digits(), judgement)].into()
    }

    /// The word for where its release stands.
    pub(super) fn word(&self) -> &'static str {
        self.ledger.releases.get(&digits()).map_or("idle", |release| release.state.as_str())
    }
}

impl<'a> Made<'a> {
    pub(super) fn new(docs: &'a mut Docs, replicas: usize, rule: Rule) -> Self {
        let doc = docs.number(FIRST);
        let live = Snapshot { generation: Generation(1), ..docs.under(doc, Clamps::default()) };
        Self {
            docs,
            rule,
            branch: vec![Commit { name: "0".into(), doc, intent: None }],
            ever: vec![doc],
            replicas: vec![Replica::new(doc, live); replicas],
            git_down: false,
            git: true,
            now_ms: 0,
            commits: 0,
            log: Log::default(),
            seen: BTreeSet::new(),
            holds: BTreeSet::new(),
        }
    }

    pub(super) fn tip(&self) -> &Commit {
        self.branch.last().unwrap()
    }

    pub(super) fn with<T>(&mut self, at: usize, act: impl FnOnce(&mut Ledger, &World<'_>) -> T) -> T {
        let now = Now { mono_ms: self.now_ms, wall_ms: self.now_ms };
        let replica = &mut self.replicas[at];
        let judgements = replica.judgements(now);
        let (snapshot, outcomes) = (&replica.live, &replica.outcomes);
        let world = World { snapshot, judgements: &judgements, outcomes, git: self.git, now };
        act(&mut replica.ledger, &world)
    }

    /// The release loop wakes, and its state is saved.
    pub(super) fn look(&mut self, at: usize) -> Result<(), Broken> {
        let before = (self.replicas[at].word(), self.replicas[at].ledger.releases.get(&digits()).map(|r| r.key));
        let news = self.with(at, Ledger::look);
        let same = self.replicas[at].ledger.releases.get(&digits()).map(|r| r.key) == before.1;
        self.saw(if same { before.0 } else { "idle" }, at);
        self.hear(at, &news)?;
        self.replicas[at].looked_ms = self.now_ms;
        if self.rule == Rule::DropOnArrival {
            self.drop_what_arrived(at);
        }
        self.swap(at);
        let replica = &mut self.replicas[at];
        replica.saved = replica.ledger.clone();
        let attempt = replica.ledger.releases.get(&digits()).map_or(1, |release| release.attempt);
        if attempt != replica.attempt {
            // Another attempt is another trial.
            (replica.attempt, replica.verdict) = (attempt, Verdict::Undecided(Reason::NoData));
            (replica.requests, replica.log_e) = (0, 0.0);
        }
        self.check(at)
    }

    fn saw(&mut self, from: &'static str, at: usize) {
        let to = self.replicas[at].word();
        if from != to {
            self.seen.insert((from, to));
        }
        if let Some(State::Holding(hold)) = self.replicas[at].ledger.releases.get(&digits()).map(|r| &r.state) {
            self.holds.insert(hold.as_str());
        }
    }

    pub(super) fn obey(&mut self, at: usize, order: &Order) -> Result<Option<String>, Broken> {
        let from = self.replicas[at].word();
        let done = self.with(at, |ledger, world| ledger.obey(order, world));
        self.saw(from, at);
        let Ok((words, news)) = done else { return Ok(None) };
        if words.is_empty() {
            return self.broken("an order was carried out and nothing was told");
        }
        self.log.note(format_args!("{at}: {} -> {words}", order.command.as_str()));
        self.hear(at, &news)?;
        self.swap(at);
        // Saved before it is answered.
        let replica = &mut self.replicas[at];
        replica.saved = replica.ledger.clone();
        Ok(Some(words))
    }

    /// What the store has comes back; or it is lost.
    pub(super) fn restart(&mut self, at: usize, lost: bool) {
        let now = Now { mono_ms: self.now_ms, wall_ms: self.now_ms };
        let replica = &mut self.replicas[at];
        let store = Store::memory();
        record::save(&store, &replica.saved, now);
        replica.ledger = if lost { Ledger::default() } else { record::load(&store, now) };
        replica.outcomes.clear();
        if lost {
            replica.rejected.clear();
            replica.by_hand = None;
        }
        self.swap(at);
        self.log.note(format_args!("{at}: restart, lost: {lost}"));
    }

    /// Whoever may order a readmission says that it may come back, however it does.
    pub(super) fn ordered_in(&mut self, at: usize, name: &VariantName) {
        let route = self.docs.route(self.replicas[at].doc);
        let artefact = route.and_then(|route| Some(route.variants.iter().find(|v| v.name == *name)?.artefact.clone()));
        let replica = &mut self.replicas[at];
        let diverged = replica.ledger.quarantine.iter().any(|entry| entry.diverged);
        if let Some(rejected) = artefact.and_then(|artefact| replica.rejected.get_mut(&artefact)) {
            rejected.readmitted |= diverged || !self.git;
        }
    }

    fn drop_what_arrived(&mut self, at: usize) {
        let Replica { ledger, doc, .. } = &mut self.replicas[at];
        let docs = &self.docs;
        ledger.quarantine.retain(|e| e.shown.is_none() || docs.weight(*doc, &e.intent.artefact) > Weight::ZERO);
    }

    /// The config loop: the newest good file under today's clamps.
    pub(super) fn swap(&mut self, at: usize) {
        let replica = &mut self.replicas[at];
        let snapshot = self.docs.under(replica.doc, replica.ledger.clamps());
        if replica.live.routes != snapshot.routes {
            replica.live = Snapshot { generation: Generation(replica.live.generation.0 + 1), ..snapshot };
        }
    }

    pub(super) fn deliver(&mut self, at: usize, doc: Doc) -> Result<(), Broken> {
        if self.docs.route(doc).is_none() {
            return Ok(());
        }
        self.log.note(format_args!("{at}: delivered {:?}", self.docs.lines(doc)));
        self.replicas[at].doc = doc;
        self.swap(at);
        // Traffic does not wait for the release loop.
        self.check(at)
    }

    /// The commit loop, once over everything that is wanted. `between` happens before the first push.
    pub(super) fn commit(
        &mut self,
        at: usize,
        mut between: impl FnMut(&mut Self) -> Result<(), Broken>,
        answer_lost: bool,
    ) -> Result<(), Broken> {
        let wanted = self.with(at, |ledger, world| ledger.wanted(world));
        self.replicas[at].outcomes.retain(|id, _| wanted.iter().any(|w| w.intent.id() == *id));
        let mut first = true;
        for wanted in wanted {
            let id = wanted.intent.id();
            let known = self.replicas[at].outcomes.get(&id);
            if known.is_some_and(|known| !matches!(known, Outcome::Failing(_)) && !wanted.asks()) {
                continue;
            }
            let mut outcome = loop {
                let base = self.tip().name.clone();
                let planned =
                    if self.git_down { Err(Outcome::Failing("no network".into())) } else { self.plan(&wanted) };
                if std::mem::take(&mut first) {
                    between(self)?;
                }
                match planned {
                    Err(outcome) => break outcome,
                    // Fast-forward only: somebody else was faster.
                    Ok(_) if self.tip().name != base => {}
                    Ok(doc) => break Outcome::Committed(self.push(doc, Some(&wanted))?),
                }
            };
            if answer_lost && matches!(outcome, Outcome::Committed(_)) {
                outcome = Outcome::Failing("the answer was lost".into());
            }
            self.log.note(format_args!("{at}: {} -> {outcome:?}", wanted.intent.to.as_str()));
            self.replicas[at].outcomes.insert(id, outcome);
        }
        Ok(())
    }

    fn plan(&mut self, wanted: &Wanted) -> Result<Doc, Outcome> {
        let tip = self.tip().clone();
        let Some(route) = self.docs.route(tip.doc).cloned() else {
            return Err(Outcome::Failing("the file on the branch is not valid".into()));
        };
        let ours = self.branch.iter().find(|commit| commit.intent.as_deref() == Some(&wanted.intent.id()));
        let shown = wanted.shown.as_ref().is_some_and(|shown| self.branch.iter().any(|c| c.name == *shown));
        let contained = shown || ours.is_some();
        if let (Some(ours), false) = (ours, matches!(wanted.intent.to, Move::RollBack { .. })) {
            // As `control::proposal`: once is enough, whatever people have made of it since.
            return Err(wanted.intent.found(&route, ours.name.clone()));
        }
        let changes = wanted.on(&route, &tip.name, contained)?;
        self.docs.edit(tip.doc, changes).map_err(|why| Outcome::Failing(why.into()))
    }

    /// A commit on top of the tip: ours, or a person's.
    pub(super) fn push(&mut self, doc: Doc, ours: Option<&Wanted>) -> Result<Box<str>, Broken> {
        self.commits += 1;
        let name: Box<str> = self.commits.to_string().into();
        let before = self.tip().doc;
        let intent = ours.map(|wanted| wanted.intent.id());
        if let Some(wanted) = ours {
            let last = self.branch.iter().rposition(|commit| commit.intent == intent);
            let person = last.is_some_and(|last| self.branch[last..].iter().any(|commit| commit.intent.is_none()));
            if last.is_some() && (!person || wanted.intent.is_raise()) {
                return self.broken("two commits for one intent");
            }
            if matches!(wanted.intent.to, Move::Promote { .. })
                && &*wanted.intent.verdict != "pass"
                && &*wanted.intent.by == "judge"
            {
                return self.broken("promoted without a pass");
            }
        }
        self.log.note(format_args!(
            "commit {name} by {}: {:?}",
            intent.as_deref().unwrap_or("a person"),
            self.docs.lines(doc)
        ));
        let by_person = ours.is_none_or(|wanted| matches!(wanted.intent.to, Move::Readmit(_)));
        for replica in self.replicas.iter_mut().filter(|_| by_person) {
            for (artefact, rejected) in &mut replica.rejected {
                let (was, is) = (self.docs.said(before, artefact), self.docs.said(doc, artefact));
                let raised = was.is_none_or(|(_, weight)| weight == Weight::ZERO)
                    && is.is_some_and(|(_, weight)| weight > Weight::ZERO);
                rejected.readmitted |= raised;
            }
        }
        self.branch.push(Commit { name: name.clone(), doc, intent });
        self.ever.push(doc);
        Ok(name)
    }

    /// The branch is forced back. Who knows a rejection only from a file takes it for a person's decision if the file no
    /// longer says so; who decided it says it again.
    pub(super) fn force_back(&mut self, by: usize) {
        self.branch.truncate((self.branch.len() - by.min(self.branch.len() - 1)).max(1));
        let Commit { name, doc: tip, .. } = self.tip().clone();
        self.log.note(format_args!("forced back to {name}"));
        for replica in &mut self.replicas {
            for entry in replica.ledger.quarantine.iter().filter(|e| e.learned) {
                if let Some(rejected) = replica.rejected.get_mut(&entry.intent.artefact) {
                    let said = self.docs.said(tip, &entry.intent.artefact);
                    rejected.readmitted |= said.is_some_and(|(role, _)| role != Role::Rejected);
                }
            }
        }
    }
}
