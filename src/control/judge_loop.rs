//! Tallies in, verdicts out: every interval, per route in a release. The only owner of evidence.

use super::release_loop::Attempts;
use crate::{
    core::{
        judge::{Arm, Block, Judgement, LabelBlock, RequestBlock, Streams, trial::Trial},
        name::{ReleaseKey, RouteName},
        now::Now,
        route::{ReleaseView, Route},
        snapshot::Live,
        tally::{Reading, VariantTally},
    },
    io::{clock, store::Store},
};
use arc_swap::ArcSwap;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::watch, time::interval};

/// The store's document with the evidence.
const DOCUMENT: &str = "evidence";
/// Evidence is saved at least so often.
const SAVE_EVERY_MS: u64 = 5_000;

/// What the judge last said of each route.
pub type Judgements = Arc<BTreeMap<RouteName, Judgement>>;

/// The loop and its channels.
#[derive(Debug)]
pub struct JudgeLoop {
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// The release loop writes: each attempt gets a fresh trial.
    pub attempts: watch::Receiver<Attempts>,
    /// Release loop and admin read.
    pub judgements: watch::Sender<Judgements>,
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
    base: Option<Base>,
}

/// Up to where counts have been judged.
struct Base {
    tallies: [Arc<VariantTally>; 2],
    requests: [Reading; 2],
    labels: [Reading; 2],
    share: f64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Saved {
    key: u64,
    number: u32,
    since_wall_ms: u64,
    bits: Vec<u64>,
}

impl JudgeLoop {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let mut saved = self.load();
        let mut attempts = BTreeMap::new();
        let mut saved_ms = 0;
        let mut beat = interval(self.interval);
        loop {
            beat.tick().await;
            let now = clock::now();
            let live = self.live.load_full();
            let changed = self.look(&live, &mut attempts, &mut saved, now);
            if !attempts.is_empty() && (changed || now.mono_ms >= saved_ms + SAVE_EVERY_MS) {
                saved_ms = now.mono_ms;
                self.save(&attempts);
            }
        }
    }

    /// Judges every route; whether a verdict is another than before.
    fn look(
        &self,
        live: &Live,
        attempts: &mut BTreeMap<RouteName, Attempt>,
        saved: &mut BTreeMap<String, Saved>,
        now: Now,
    ) -> bool {
        attempts.retain(|name, _| live.snapshot.routes.named(name.as_str()).is_some_and(|(_, r)| r.release.is_some()));
        let before = self.judgements.borrow().clone();
        let mut after = BTreeMap::new();
        for (position, route) in live.snapshot.routes.iter().enumerate() {
            let Some(view) = &route.release else { continue };
            let attempt = attempts
                .entry(route.name.clone())
                .and_modify(|attempt| self.renew(attempt, route, view, now))
                .or_insert_with(|| self.begin(route, view, saved.remove(route.name.as_str()), now));
            let tallies = [view.candidate, view.reference].map(|variant| live.board.tally(position, variant).cloned());
            let [Some(candidate), Some(reference)] = tallies else { continue };
            let block = attempt.block(route, view, [candidate, reference], now);
            let verdict = attempt.trial.observe(&block);
            let judgement = Judgement {
                route: route.name.clone(),
                release: view.key,
                attempt: attempt.number,
                verdict,
                evidence: attempt.trial.evidence(),
                since: attempt.since,
                at: now,
            };
            after.insert(route.name.clone(), judgement);
        }
        let changed = after.iter().any(|(name, judgement)| {
            before.get(name).is_none_or(|old| old.verdict != judgement.verdict || old.attempt != judgement.attempt)
        });
        for judgement in after.values().filter(|_| changed) {
            tracing::info!(route = %judgement.route, verdict = ?judgement.verdict, attempt = judgement.attempt,
                canary_requests = judgement.evidence.canary_requests, canary_labels = judgement.evidence.canary_labels,
                log_e = judgement.evidence.log_e_rollback, "verdict");
        }
        self.judgements.send_replace(Arc::new(after));
        changed
    }

    fn trial(&self, route: &Route) -> Trial {
        let mut policy = route.policy.clone();
        policy.alpha /= f64::from(self.replicas.max(1));
        Trial::new(&policy)
    }

    /// Which attempt the release loop is at; the first, before it has heard of the release.
    fn number(&self, route: &Route, view: &ReleaseView) -> u32 {
        self.attempts.borrow().get(&route.name).filter(|(key, _)| *key == view.key).map_or(1, |(_, number)| *number)
    }

    fn begin(&self, route: &Route, view: &ReleaseView, saved: Option<Saved>, now: Now) -> Attempt {
        let number = self.number(route, view);
        let fresh = Attempt { key: view.key, number, since: now, trial: self.trial(route), base: None };
        let Some(saved) = saved.filter(|saved| saved.key == view.key.0 && saved.number == number) else { return fresh };
        let mut policy = route.policy.clone();
        policy.alpha /= f64::from(self.replicas.max(1));
        match Trial::restored(&policy, &saved.bits) {
            Some(trial) => Attempt { trial, since: Now { wall_ms: saved.since_wall_ms, ..now }, ..fresh },
            None => fresh,
        }
    }

    /// A new release, or an artefact that a person let in again, starts with no evidence.
    fn renew(&self, attempt: &mut Attempt, route: &Route, view: &ReleaseView, now: Now) {
        if (attempt.key, attempt.number) != (view.key, self.number(route, view)) {
            *attempt = self.begin(route, view, None, now);
        }
    }

    fn load(&self) -> BTreeMap<String, Saved> {
        let read = self.store.get(DOCUMENT).map_err(|error| error.to_string());
        let parsed = read.and_then(|bytes| match bytes {
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            None => Ok(BTreeMap::new()),
        });
        parsed.unwrap_or_else(|error| {
            tracing::error!(error, "saved evidence cannot be read: judging starts afresh");
            BTreeMap::new()
        })
    }

    fn save(&self, attempts: &BTreeMap<RouteName, Attempt>) {
        let of = |attempt: &Attempt| Saved {
            key: attempt.key.0,
            number: attempt.number,
            since_wall_ms: attempt.since.wall_ms,
            bits: attempt.trial.saved(),
        };
        let all: BTreeMap<&str, Saved> = attempts.iter().map(|(name, attempt)| (name.as_str(), of(attempt))).collect();
        let written = serde_json::to_vec(&all)
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.store.put(DOCUMENT, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::error!(error, "evidence not saved: a restart now would judge afresh");
        }
    }
}

impl Attempt {
    /// What came in since the last block. Counts of a variant wait until the other one has some, too.
    fn block(&mut self, route: &Route, view: &ReleaseView, tallies: [Arc<VariantTally>; 2], now: Now) -> Block {
        let readings = [tallies[0].read(), tallies[1].read()];
        let share = share(route, view);
        let same = |base: &Base| base.tallies.iter().zip(&tallies).all(|(a, b)| Arc::ptr_eq(a, b));
        let Some(base) = self.base.as_mut().filter(|base| same(base)) else {
            // The first look at these cells: what they counted before is not this attempt's.
            self.base = Some(Base { tallies, requests: readings.clone(), labels: readings, share });
            return Block::default();
        };
        let mut block = Block::default();
        let [canary, stable] = [0, 1].map(|i: usize| match (readings.get(i), base.requests.get(i)) {
            (Some(now), Some(then)) => arm(now, then),
            _ => Arm::default(),
        });
        if canary.completed > 0 && stable.completed > 0 {
            let warming_up = now.since_ms(self.since) < route.policy.warmup_ms;
            let kept = (base.share - share).abs() < 1e-9;
            block.requests = Some(RequestBlock { canary, stable, share: kept.then_some(share), warming_up });
            base.requests.clone_from(&readings);
            base.share = share;
        }
        let [canary_now, stable_now] = &readings;
        let [canary_then, stable_then] = &base.labels;
        let labels = LabelBlock {
            canary: canary_now.labelled - canary_then.labelled,
            stable: stable_now.labelled - stable_then.labelled,
            canary_wrong_micro: canary_now.wrong_micro - canary_then.wrong_micro,
            stable_wrong_micro: stable_now.wrong_micro - stable_then.wrong_micro,
        };
        if labels.canary > 0 && labels.stable > 0 {
            block.labels = Some(labels);
            base.labels = readings;
        }
        block
    }
}

/// The canary's share of the draws that fall on one of the two.
fn share(route: &Route, view: &ReleaseView) -> f64 {
    let weight = |position| route.variant(position).map_or(0.0, |v| v.effective.fraction());
    let (canary, stable) = (weight(view.candidate), weight(view.reference));
    if canary + stable > 0.0 { canary / (canary + stable) } else { 0.0 }
}

fn arm(now: &Reading, then: &Reading) -> Arm {
    let streams = Streams {
        first_token: now.first_token.counts.minus(&then.first_token.counts),
        token_gap: now.mean_gap.counts.minus(&then.mean_gap.counts),
    };
    Arm {
        completed: now.completed().saturating_sub(then.completed()),
        assigned: now.assigned.saturating_sub(then.assigned),
        errors: now.errors().saturating_sub(then.errors()),
        latency: now.latency.minus(&then.latency),
        streams: (streams.first_token.total() > 0).then(|| Box::new(streams)),
    }
}
