//! Asks what the guardrails of running releases ask for, at a pace of its own: the judge never waits for a monitoring system.

use crate::{
    core::{
        judge::{Reading, Readings, Unknown},
        snapshot::Live,
    },
    io::{
        clock,
        meters::Meters,
        prometheus::{NoNumber, Prometheus},
    },
};
use arc_swap::ArcSwap;
use futures_util::{StreamExt as _, stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

/// Queries under way at once.
const AT_ONCE: usize = 8;

/// The loop: the only one that asks.
#[derive(Debug)]
pub struct GuardrailLoop {
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// Whom to ask; with nobody to ask nothing is known.
    pub server: Option<Prometheus>,
    /// Between two rounds.
    pub every: Duration,
    /// Longest time of one query.
    pub timeout: Duration,
    /// The judge loop reads.
    pub readings: watch::Sender<Arc<Readings>>,
    /// Shared by all threads.
    pub meters: Arc<Meters>,
}

impl GuardrailLoop {
    /// Runs until it is dropped.
    pub async fn run(&self) {
        let mut beat = interval(self.every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unknown = BTreeMap::new();
        loop {
            beat.tick().await;
            let asked: Vec<_> =
                stream::iter(self.queries()).map(|query| self.ask(query)).buffer_unordered(AT_ONCE).collect().await;
            let by_query = asked.iter().map(|(query, at_ms, answer)| {
                let answer = answer.as_ref().copied().map_err(|no| no.kind);
                (query.clone(), Reading { answer, at_ms: *at_ms })
            });
            let readings = Readings { by_query: by_query.collect(), fresh_ms: self.fresh_ms() };
            self.readings.send_replace(Arc::new(readings));
            tell(&mut unknown, asked);
        }
    }

    /// Each query once, of all routes in a release.
    fn queries(&self) -> BTreeSet<Arc<str>> {
        let live = self.live.load();
        let released = live.snapshot.routes.iter().filter(|route| route.release.is_some());
        released.flat_map(|route| &route.policy.guardrails).map(|guardrail| guardrail.query.clone()).collect()
    }

    async fn ask(&self, query: Arc<str>) -> (Arc<str>, u64, Result<f64, NoNumber>) {
        let at_ms = clock::now().mono_ms;
        let answer = match &self.server {
            Some(server) => server.ask(&query).await,
            None => Err(NoNumber { kind: Unknown::NoServer, why: Unknown::NoServer.words().into() }),
        };
        self.meters.guardrail_query(answer.as_ref().err().map(|no| no.kind));
        (query, at_ms, answer)
    }

    /// An answer holds for three rounds, and for as long as a round may take.
    fn fresh_ms(&self) -> u64 {
        u64::try_from((self.every * 3 + self.timeout * 2).as_millis()).unwrap_or(u64::MAX)
    }
}

/// One line when a query can no longer be told, or for another reason, and one when it can again.
fn tell(unknown: &mut BTreeMap<Arc<str>, Unknown>, asked: Vec<(Arc<str>, u64, Result<f64, NoNumber>)>) {
    unknown.retain(|known, _| asked.iter().any(|(query, ..)| query == known));
    for (query, _, answer) in asked {
        match answer {
            Ok(value) => {
                if unknown.remove(&query).is_some() {
                    tracing::info!(%query, value, "guardrail can be told again");
                }
            }
            Err(NoNumber { kind, why }) => {
                if unknown.get(&query) != Some(&kind) {
                    tracing::warn!(%query, reason = kind.as_str(), why, "guardrail cannot be told: no pass meanwhile");
                }
                unknown.insert(query, kind);
            }
        }
    }
}
