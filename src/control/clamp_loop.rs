//! A failed verdict -> a clamp: the canary's weight goes to 0 within milliseconds, and stays there over restarts and
//! reloads until a person delivers another version of the route that still gives it weight.

use super::{commit_loop::Rollback, judge_loop::Judgements};
use crate::{
    core::{
        clamp::Clamps,
        judge::{Evidence, Verdict},
        name::{Artefact, RouteName},
        snapshot::Live,
        split::{Weight, siphash},
    },
    io::store::Store,
};
use arc_swap::ArcSwap;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::watch;

/// The store's document with the clamps.
const DOCUMENT: &str = "clamps";

/// A clamp and the route's text it was made under.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Held {
    route: String,
    artefact: String,
    digest: u64,
    /// The attempt that failed.
    attempt: u32,
    /// The judge's words.
    evidence: String,
}

/// The loop and its channels.
#[derive(Debug)]
pub struct ClampLoop {
    held: Vec<Held>,
    /// Those let in again: their failed attempt must not clamp them once more before the judge has begun a new one.
    lifted: Vec<Held>,
    live: Arc<ArcSwap<Live>>,
    judgements: watch::Receiver<Judgements>,
    clamps: watch::Sender<Arc<Clamps>>,
    wanted: watch::Sender<Arc<Vec<Rollback>>>,
    /// What the branch has taken; `None` without Git.
    done: Option<watch::Receiver<Arc<BTreeSet<String>>>>,
    store: Store,
}

impl ClampLoop {
    /// Brings the saved clamps back and publishes them: to be done before any routes file is read.
    #[must_use]
    pub fn new(
        live: Arc<ArcSwap<Live>>,
        judgements: watch::Receiver<Judgements>,
        clamps: watch::Sender<Arc<Clamps>>,
        wanted: watch::Sender<Arc<Vec<Rollback>>>,
        done: Option<watch::Receiver<Arc<BTreeSet<String>>>>,
        store: Store,
    ) -> Self {
        let held = store.get(DOCUMENT).ok().flatten().map_or(Vec::new(), |bytes| {
            serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::error!(%error, "saved clamps cannot be read: a rejected model may get traffic until it is judged again");
                Vec::new()
            })
        });
        let this = Self { held, lifted: Vec::new(), live, judgements, clamps, wanted, done, store };
        this.publish();
        this
    }

    /// Runs until the judge is gone.
    pub async fn run(mut self) {
        while self.judgements.changed().await.is_ok() {
            let judgements = self.judgements.borrow_and_update().clone();
            let live = self.live.load_full();
            let lifted = self.lift(&live);
            let clamped = self.clamp(&live, &judgements);
            if lifted || clamped {
                // Traffic first: the disk may be slow, the canary is worse now.
                self.publish();
                self.save();
            }
        }
    }

    /// Without a branch to read, a route that was delivered with other words and still gives the artefact weight is a
    /// person's newer decision.
    fn lift(&mut self, live: &Live) -> bool {
        let done = self.done.as_ref().map(|done| done.borrow().clone());
        let (before, lifted) = (self.held.len(), &mut self.lifted);
        self.held.retain(|held| {
            let Some((_, route)) = live.snapshot.routes.named(&held.route) else { return true };
            let wanted =
                |v: &crate::core::variant::Variant| v.artefact.as_str() == held.artefact && v.said > Weight::ZERO;
            // Until the branch says it, a file with other words may simply be older than our decision.
            let said = done.as_ref().is_none_or(|done| done.contains(&held.intent()));
            let newer = said && route.digest != held.digest && route.variants.iter().any(wanted);
            if newer {
                tracing::warn!(
                    route = held.route,
                    artefact = held.artefact,
                    "clamp lifted: the route was changed since"
                );
            }
            if newer {
                lifted.push(held.clone());
            }
            !newer
        });
        self.held.len() < before
    }

    fn clamp(&mut self, live: &Live, judgements: &Judgements) -> bool {
        let before = self.held.len();
        for judgement in judgements.values() {
            let Verdict::Fail(signal) = judgement.verdict else { continue };
            let Some((_, route)) = live.snapshot.routes.named(judgement.route.as_str()) else { continue };
            let view = route.release.as_ref().filter(|view| view.key == judgement.release);
            let Some(candidate) = view.and_then(|view| route.variant(view.candidate)) else { continue };
            let artefact = candidate.artefact.as_str();
            let same = |held: &Held| held.route == route.name.as_str() && held.artefact == artefact;
            let over = |held: &Held| same(held) && held.attempt >= judgement.attempt;
            if self.held.iter().any(same) || self.lifted.iter().any(over) {
                continue;
            }
            tracing::warn!(route = %route.name, variant = %candidate.name, artefact, blamed = signal.as_str(),
                log_e = judgement.evidence.log_e_rollback, "canary is worse: clamped to 0");
            let (route, digest) = (route.name.as_str().to_owned(), route.digest);
            self.held.push(Held {
                route,
                artefact: artefact.to_owned(),
                digest,
                attempt: judgement.attempt,
                evidence: words(&judgement.evidence),
            });
        }
        self.held.len() > before
    }

    fn publish(&self) {
        let mut clamps = Clamps::default();
        for held in &self.held {
            if let Ok(route) = RouteName::new(&held.route) {
                clamps.hold(&route, &Artefact::new(&held.artefact));
            }
        }
        self.clamps.send_replace(Arc::new(clamps));
        self.wanted.send_replace(Arc::new(self.held.iter().map(Held::rollback).collect()));
    }

    fn save(&self) {
        let written = serde_json::to_vec(&self.held)
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.store.put(DOCUMENT, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::error!(error, "clamps not saved: they hold until this process ends");
        }
    }
}

impl Held {
    fn intent(&self) -> String {
        let attempt = self.attempt.to_le_bytes();
        let hash = siphash(&[self.route.as_bytes(), self.artefact.as_bytes(), &attempt, &self.digest.to_le_bytes()]);
        format!("{hash:016x}")
    }

    fn rollback(&self) -> Rollback {
        Rollback {
            intent: self.intent(),
            route: self.route.clone(),
            artefact: self.artefact.clone(),
            attempt: self.attempt,
            evidence: self.evidence.clone(),
        }
    }
}

/// The evidence in lines for people.
fn words(evidence: &Evidence) -> String {
    let line = |s: &crate::core::judge::SignalEvidence| {
        format!(
            "{}: canary {:.4} of {}, stable {:.4} of {}, margin {:.4}, log e {:.2}",
            s.signal.as_str(),
            s.canary,
            s.canary_n,
            s.stable,
            s.stable_n,
            s.margin,
            s.log_e_rollback
        )
    };
    let mut lines: Vec<String> = evidence.signals.iter().map(line).collect();
    lines.push(format!(
        "together: log e {:.2}, rolled back at {:.2}",
        evidence.log_e_rollback, evidence.log_e_rollback_at
    ));
    lines.join("\n")
}
