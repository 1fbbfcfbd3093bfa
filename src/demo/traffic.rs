//! Callers that ask about held-out digits, and a job that learns the truth a little later and sends it as labels.

use super::{digits::Digit, http::Connection};
use bytes::Bytes;
use http::{Method, StatusCode};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, task::spawn_local, time::sleep};

/// Connections that ask at the same time.
const CALLERS: u32 = 24;
/// When the truth about an answer is known.
const LABEL_DELAY: std::ops::Range<f64> = 0.4..1.6;
const LABELS_EVERY: Duration = Duration::from_millis(100);
const READY_LIMIT: Duration = Duration::from_secs(20);
const READY_EVERY: Duration = Duration::from_millis(10);

/// What callers saw of one variant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) answers: u64,
    pub(super) wrong: u64,
    pub(super) failed: u64,
    /// When it was last asked, milliseconds since 1970 UTC.
    pub(super) last_ms: u64,
}

/// Counts by variant. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts(Arc<Mutex<BTreeMap<String, Seen>>>);

impl Counts {
    pub(super) fn of(&self, variant: &str) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(variant).copied().unwrap_or_default()
    }

    /// Requests that got no good answer, whoever was asked.
    pub(super) fn failed(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(|seen| seen.failed).sum()
    }

    fn add(&self, variant: &str, seen: Seen) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = all.entry(variant.to_owned()).or_default();
        sum.answers += seen.answers;
        sum.wrong += seen.wrong;
        sum.failed += seen.failed;
        sum.last_ms = sum.last_ms.max(seen.last_ms);
    }
}

/// Who asks whom, how often.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) data: SocketAddr,
    pub(super) admin: SocketAddr,
    /// Requests a second, over all callers.
    pub(super) rate: u32,
    pub(super) seed: u64,
    pub(super) counts: Counts,
}

type Labels = Arc<Mutex<VecDeque<(Instant, String)>>>;

impl Traffic {
    /// Runs until `stop`, and then until every caller has its answer.
    pub(super) async fn run(self, digits: Arc<Vec<Digit>>, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        ready(self.admin).await?;
        let labels = Labels::default();
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| spawn_local(self.clone().caller(number, digits.clone(), labels.clone(), stop.clone())))
            .collect();
        let job = spawn_local(send_labels(self.admin, labels, stop));
        for caller in callers {
            caller.await??;
        }
        job.await?
    }

    async fn caller(
        self,
        number: u32,
        digits: Arc<Vec<Digit>>,
        labels: Labels,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        let mut dice = StdRng::seed_from_u64(self.seed.wrapping_mul(1000) + u64::from(number));
        let mut connection = Connection::open(self.data).await?;
        let pause = f64::from(CALLERS) / f64::from(self.rate);
        let mut next = Instant::now();
        while !*stop.borrow() {
            next += Duration::from_secs_f64(dice.random_range(0.0..2.0) * pause);
            sleep(next.saturating_duration_since(Instant::now())).await;
            // What a stall made it miss it does not make up for: a burst would follow, and be compared.
            let late = Instant::now().saturating_duration_since(next);
            if late.as_secs_f64() > pause {
                next += late;
            }
            let Some(digit) = digits.get(dice.random_range(0..digits.len().max(1))) else { return Ok(()) };
            let input = json!({ "name": "pixels", "shape": [1, 64], "datatype": "FP32", "data": &digit.pixels[..] });
            let body = Bytes::from(json!({ "inputs": [input] }).to_string());
            let last_ms = now_ms();
            let answer = connection.call(Method::POST, "/v2/models/digits/infer", body).await?;
            let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
            let variant = header("x-coalmine-variant").unwrap_or("none");
            if !answer.status.is_success() {
                self.counts.add(variant, Seen { failed: 1, last_ms, ..Seen::default() });
                continue;
            }
            let right = predicted(&answer.body) == Some(u64::from(digit.label));
            self.counts.add(variant, Seen { answers: 1, wrong: u64::from(!right), last_ms, failed: 0 });
            if let Some(ticket) = header("x-coalmine-ticket") {
                let due = Instant::now() + Duration::from_secs_f64(dice.random_range(LABEL_DELAY));
                let line = json!({ "ticket": ticket, "label": digit.label }).to_string();
                labels.lock().unwrap_or_else(PoisonError::into_inner).push_back((due, line));
            }
        }
        Ok(())
    }
}

/// Nobody asks before Coalmine is ready: a load balancer would not let them.
async fn ready(admin: SocketAddr) -> anyhow::Result<()> {
    let mut connection = Connection::open(admin).await?;
    let begin = Instant::now();
    while connection.call(Method::GET, "/readyz", Bytes::new()).await?.status != StatusCode::OK {
        anyhow::ensure!(begin.elapsed() < READY_LIMIT, "Coalmine was not ready within {READY_LIMIT:?}");
        sleep(READY_EVERY).await;
    }
    Ok(())
}

fn predicted(body: &[u8]) -> Option<u64> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    answer.pointer("/outputs/0/data/0")?.as_u64()
}

async fn send_labels(admin: SocketAddr, labels: Labels, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    let mut connection = Connection::open(admin).await?;
    while !*stop.borrow() {
        sleep(LABELS_EVERY).await;
        let now = Instant::now();
        let mut due = String::new();
        labels.lock().unwrap_or_else(PoisonError::into_inner).retain(|(at, line)| {
            let ripe = *at <= now;
            if ripe {
                due.push_str(line);
                due.push('\n');
            }
            !ripe
        });
        if !due.is_empty() {
            connection.call(Method::POST, "/v1/feedback", due.into()).await?;
        }
    }
    Ok(())
}

/// The wall clock, as commits and judgements have it.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
