//! Tallies in, verdicts out: every interval, per route in a release. The only owner of evidence.

mod saved;

use self::saved::Saved;
use super::{others_first, release_loop::Attempts};
use crate::{
    core::{
        judge::{Block, Chosen, Evidence, Guardrails, Judgement, Mode, Policy, Readings, trial::Trial},
        name::{ReleaseKey, RouteName},
        now::Now,
        route::{ReleaseView, Route},
        snapshot::Live,
        tally::{
            FailedUsers,
            blocks::{Blocks, Look},
        },
    },
    io::{clock, directory::Directory, meters::Meters, store::Store},
};
use arc_swap::ArcSwap;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::interval};

/// Until the release loop has heard of a verdict, and the config loop of its clamp.
const ROUNDS: u32 = 3;
/// Evidence is saved at least so often.
const SAVE_EVERY_MS: u64 = 5_000;

/// By so many requests a variant with several endpoints has answered on more than one of them.
const CHOSEN_AFTER: u64 = 20;

/// What the judge last said of each route.
pub type Judgements = Arc<BTreeMap<RouteName, Judgement>>;

/// The loop: the only owner of evidence.
pub struct JudgeLoop {
    parts: Parts,
    attempts: BTreeMap<RouteName, Attempt>,
    /// Evidence of an earlier process that nobody has asked for yet.
    saved: BTreeMap<String, Saved>,
}

/// What the loop is made of: its channels, and how it judges.
#[derive(Debug)]
pub struct Parts {
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// The release loop writes: each attempt gets a fresh trial.
    pub attempts: watch::Receiver<Attempts>,
    /// The guardrail loop writes.
    pub readings: watch::Receiver<Arc<Readings>>,
    /// Release loop and admin read.
    pub judgements: watch::Sender<Judgements>,
    /// How many addresses a backend has.
    pub directory: Arc<Directory>,
    /// Shared by all threads.
    pub meters: Arc<Meters>,
    /// Where evidence outlives the process.
    pub store: Store,
    /// Between two looks.
    pub interval: Duration,
    /// Replicas that judge on their own: each at `alpha / replicas`, so that together they keep to alpha.
    pub replicas: u32,
}

/// One route's attempt.
struct Attempt {
    key: ReleaseKey,
    number: u32,
    since: Now,
    trial: Trial,
    guardrails: Guardrails,
    /// Users who had failed in an earlier process, whose evidence goes on here.
    restored: Option<FailedUsers>,
    blocks: Option<Blocks>,
}

impl JudgeLoop {
    /// A loop with the evidence that was saved.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let saved = saved::load(&parts.store);
        Self { parts, attempts: BTreeMap::new(), saved }
    }

    /// Runs until it is dropped.
    pub async fn run(&mut self) {
        let mut saved_ms = 0;
        let mut beat = interval(self.parts.interval);
        loop {
            beat.tick().await;
            let now = clock::now();
            let changed = self.look(now);
            if !self.attempts.is_empty() && (changed || now.mono_ms >= saved_ms + SAVE_EVERY_MS) {
                saved_ms = now.mono_ms;
                // A verdict is obeyed before it is kept.
                others_first(ROUNDS).await;
                saved::save(&self.parts.store, &self.attempts);
            }
        }
    }

    /// Takes a last look, once nothing is counted any more, so that a restart loses nothing.
    pub fn end(&mut self) {
        self.look(clock::now());
        if !self.attempts.is_empty() {
            saved::save(&self.parts.store, &self.attempts);
        }
    }

    /// Judges every route; whether a verdict is another than before.
    fn look(&mut self, now: Now) -> bool {
        let live = self.parts.live.load_full();
        let routes = &live.snapshot.routes;
        self.attempts.retain(|name, _| routes.named(name.as_str()).is_some_and(|(_, r)| r.release.is_some()));
        let before = self.parts.judgements.borrow().clone();
        let mut after = BTreeMap::new();
        for (position, route) in routes.iter().enumerate() {
            let Some(view) = &route.release else { continue };
            let tallies = [view.candidate, view.reference].map(|variant| live.board.tally(position, variant).cloned());
            let [Some(candidate), Some(reference)] = tallies else { continue };
            let mut attempt = match self.attempts.remove(&route.name) {
                Some(known) => self.parts.renew(known, route, view, now),
                None => self.parts.begin(route, view, self.saved.remove(route.name.as_str()), now),
            };
            let look = Look {
                tallies: [candidate, reference],
                share: share(route, view),
                sticky: route.sticky.is_some(),
                warming_up: now.since_ms(attempt.since) < route.policy.warmup_ms,
                window_ms: route.policy.window_ms,
                now_ms: now.mono_ms,
            };
            attempt.trial.compare(&self.parts.policy(route));
            attempt.open(&look);
            let chosen = attempt.choose(&look, route, || self.parts.addresses(route, view));
            let block = if chosen { attempt.block(&look) } else { Block::default() };
            let block = Block { at_ms: now.wall_ms, ..block };
            let Block { requests, labels, pairs, endpoints, users, .. } = &block;
            let held = [requests.is_some(), labels.is_some(), pairs.is_some(), endpoints.is_some(), users.is_some()];
            self.parts.meters.judged(held);
            attempt.guard(route, &self.parts.readings.borrow(), now);
            let verdict = attempt.trial.observe(&block);
            let mut evidence = attempt.trial.evidence();
            self.parts.name_endpoints(&mut evidence, route, view);
            let judgement = Judgement {
                route: route.name.clone(),
                release: view.key,
                attempt: attempt.number,
                verdict,
                evidence,
                since: attempt.since,
                at: now,
            };
            after.insert(route.name.clone(), judgement);
            self.attempts.insert(route.name.clone(), attempt);
        }
        let changed = after.iter().any(|(name, judgement)| {
            before.get(name).is_none_or(|old| old.verdict != judgement.verdict || old.attempt != judgement.attempt)
        });
        for judgement in after.values().filter(|_| changed) {
            tracing::info!(route = %judgement.route, verdict = ?judgement.verdict, attempt = judgement.attempt,
                canary_requests = judgement.evidence.canary_requests, canary_labels = judgement.evidence.canary_labels,
                log_e = judgement.evidence.log_e_rollback, "verdict");
        }
        self.parts.judgements.send_replace(Arc::new(after));
        changed
    }
}

impl Parts {
    /// Which attempt the release loop is at; the first, before it has heard of the release.
    fn number(&self, route: &Route, view: &ReleaseView) -> u32 {
        self.attempts.borrow().get(&route.name).filter(|(key, _)| *key == view.key).map_or(1, |(_, number)| *number)
    }

    /// How many addresses canary and stable have, as far as that is known.
    fn addresses(&self, route: &Route, view: &ReleaseView) -> [Option<usize>; 2] {
        [view.candidate, view.reference].map(|at| self.directory.addresses(&route.variant(at)?.backend))
    }

    /// Fills in where the canary's endpoints are.
    fn name_endpoints(&self, evidence: &mut Evidence, route: &Route, view: &ReleaseView) {
        let Some(candidate) = route.variant(view.candidate) else { return };
        for of in &mut evidence.endpoints {
            if let Some(address) = self.directory.address_at(&candidate.backend, of.endpoint) {
                of.address = address.to_string().into();
            }
        }
    }

    /// What the route says, for one replica of several.
    fn policy(&self, route: &Route) -> Policy {
        let mut policy = route.policy.clone();
        policy.alpha /= f64::from(self.replicas.max(1));
        policy
    }

    fn begin(&self, route: &Route, view: &ReleaseView, saved: Option<Saved>, now: Now) -> Attempt {
        let number = self.number(route, view);
        let policy = self.policy(route);
        let trial = Trial::new(&policy);
        let guardrails = Guardrails::default();
        let fresh = Attempt { key: view.key, number, since: now, trial, guardrails, restored: None, blocks: None };
        let Some(saved) = saved.filter(|saved| saved.key == view.key.0 && saved.number == number) else { return fresh };
        let Some(trial) = Trial::restored(&policy, &saved.bits) else {
            tracing::error!(route = %route.name, "saved evidence is of another version: judging starts afresh");
            return fresh;
        };
        let since = Now { wall_ms: saved.since_wall_ms, ..now };
        let guardrails = saved.guardrails(trial.has_answered());
        Attempt { trial, since, guardrails, restored: Some(saved.users()), ..fresh }
    }

    /// A new release, or an artefact that a person let in again, starts with no evidence.
    fn renew(&self, known: Attempt, route: &Route, view: &ReleaseView, now: Now) -> Attempt {
        let same = (known.key, known.number) == (view.key, self.number(route, view));
        if same { known } else { self.begin(route, view, None, now) }
    }
}

impl Attempt {
    /// Chooses what one observation is, while it may. `false`: not before both variants have shown on how many endpoints they run;
    /// what is counted meanwhile waits. That a name has several `addresses` is not enough: nobody may listen at the others.
    fn choose(&mut self, look: &Look, route: &Route, addresses: impl Fn() -> [Option<usize>; 2]) -> bool {
        if !self.trial.may_choose() || look.share <= 0.0 {
            return true;
        }
        let addresses = addresses();
        // An endpoint that has answered need not be there any more.
        let there = |at: usize| {
            let answered = look.tallies.get(at).map_or(0, |tally| tally.read_endpoints().len());
            addresses.get(at).copied().flatten().map_or(answered, |known| answered.min(known))
        };
        let chosen = Chosen::new(route.policy.mode, look.sticky, [there(0), there(1)]);
        self.trial.choose(chosen);
        let open = !chosen.said && chosen.mode == Mode::Requests;
        let several = addresses.iter().all(|known| known.is_none_or(|known| known > 1));
        !(open && several) || look.tallies.iter().all(|tally| tally.read().completed() >= CHOSEN_AFTER)
    }

    /// Begins to count, if these cells are not counted already. All that this process has counted is the attempt's if it goes on from
    /// an earlier process.
    fn open(&mut self, look: &Look) {
        if !self.blocks.as_ref().is_some_and(|blocks| blocks.are_of(&look.tallies)) {
            self.blocks = Some(match self.restored.take() {
                Some(users) => Blocks::from_zero(look, users),
                None => Blocks::from_now(look),
            });
        }
    }

    /// Looks at the route's guardrails.
    fn guard(&mut self, route: &Route, readings: &Readings, now: Now) {
        let (said, answers) = (&route.policy.guardrails, self.trial.has_answered());
        self.trial.take_guardrails(self.guardrails.look(said, readings, answers, now.mono_ms));
    }

    /// What came in since the last block.
    fn block(&mut self, look: &Look) -> Block {
        self.blocks.as_mut().map(|blocks| blocks.next(look)).unwrap_or_default()
    }
}

/// The canary's share of the draws that fall on one of the two.
fn share(route: &Route, view: &ReleaseView) -> f64 {
    let weight = |position| route.variant(position).map_or(0.0, |v| v.effective.fraction());
    let (canary, stable) = (weight(view.candidate), weight(view.reference));
    if canary + stable > 0.0 { canary / (canary + stable) } else { 0.0 }
}
