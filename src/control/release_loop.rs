//! Verdict, order or tick -> a step of each release -> what the step asks for. The only writer of clamps and intents.

use super::{commit_loop::Outcomes, judge_loop::Judgements, others_first, record};
use crate::{
    core::{
        clamp::Clamps,
        name::{ReleaseKey, RouteName},
        release::{
            intent::Wanted,
            ledger::{Ledger, News, World},
        },
        snapshot::Live,
        status::ReleaseStatus,
    },
    io::{
        clock,
        inbox::{Asked, Inbox},
        store::Store,
    },
};
use arc_swap::ArcSwap;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// Releases are saved at least so often: a restart adds so much to a hold at most.
const SAVE_EVERY_MS: u64 = 5_000;

/// Until a clamp is in force, and one round more: so long the judge takes before it saves what it has found.
const ROUNDS: u32 = 4;

/// Which attempt at which release each route is in; the judge starts a fresh trial with each.
pub type Attempts = Arc<BTreeMap<RouteName, (ReleaseKey, u32)>>;
/// Where each route's release stands.
pub type Releases = Arc<BTreeMap<RouteName, ReleaseStatus>>;

/// The channels it writes.
#[derive(Debug)]
pub struct Out {
    /// The config loop reads.
    pub clamps: watch::Sender<Arc<Clamps>>,
    /// The commit loop reads.
    pub wanted: watch::Sender<Arc<Vec<Wanted>>>,
    /// The judge loop reads.
    pub attempts: watch::Sender<Attempts>,
    /// The admin plane reads.
    pub releases: watch::Sender<Releases>,
}

/// The channels it reads.
#[derive(Debug)]
pub struct In {
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// The judge loop writes, every interval: that is the tick.
    pub judgements: watch::Receiver<Judgements>,
    /// The commit loop writes.
    pub outcomes: watch::Receiver<Outcomes>,
    /// People's orders.
    pub inbox: Inbox,
}

/// The loop.
#[derive(Debug)]
pub struct ReleaseLoop {
    ledger: Ledger,
    input: In,
    out: Out,
    store: Store,
    git: bool,
    saved_ms: u64,
}

impl ReleaseLoop {
    /// Brings back what was saved and publishes the clamps: to be done before any routes file is read, so that what was
    /// rejected stays at 0 from the first request on.
    #[must_use]
    pub fn new(input: In, out: Out, store: Store, git: bool) -> Self {
        let ledger = record::load(&store, clock::now());
        out.clamps.send_replace(Arc::new(ledger.clamps()));
        out.attempts.send_replace(Arc::new(ledger.attempts()));
        Self { ledger, input, out, store, git, saved_ms: 0 }
    }

    /// Runs until the judge is gone.
    pub async fn run(mut self) {
        loop {
            let asked = tokio::select! {
                changed = self.input.judgements.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return,
                },
                changed = self.input.outcomes.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => return,
                },
                Some(asked) = self.input.inbox.recv() => Some(asked),
            };
            self.look(asked).await;
        }
    }

    async fn look(&mut self, asked: Option<Asked>) {
        let live = self.input.live.load_full();
        let judgements = self.input.judgements.borrow_and_update().clone();
        let outcomes = self.input.outcomes.borrow_and_update().clone();
        let (snapshot, git, now) = (&live.snapshot, self.git, clock::now());
        let world = World { snapshot, judgements: &judgements, outcomes: &outcomes, git, now };
        let mut news = self.ledger.look(&world);
        let mut told = None;
        if let Some(Asked { order, answer }) = asked {
            let done = self.ledger.obey(&order, &world).map(|(words, more)| {
                tracing::warn!(route = order.command.route().map(RouteName::as_str), command = order.command.as_str(),
                    by = %order.by, reason = %order.reason, "order");
                news.extend(more);
                words
            });
            told = Some((answer, done));
        }
        // Traffic first: the disk may be slow, the canary is worse now.
        if replace(&self.out.clamps, Arc::new(self.ledger.clamps())) {
            others_first(ROUNDS).await;
        }
        if told.is_some() || !news.is_empty() {
            record::save(&self.store, &self.ledger, now);
            self.saved_ms = now.mono_ms;
        }
        if let Some((answer, done)) = told {
            // What a person has been told outlives the process. A caller that has hung up does not take its order back.
            let _ = answer.send(done);
        }
        replace(&self.out.attempts, Arc::new(self.ledger.attempts()));
        replace(&self.out.wanted, Arc::new(self.ledger.wanted(&world)));
        self.publish_status(&world);
        if now.mono_ms >= self.saved_ms + SAVE_EVERY_MS {
            self.saved_ms = now.mono_ms;
            record::save_releases(&self.store, &self.ledger, now);
        }
        news.iter().for_each(tell);
    }

    fn publish_status(&self, world: &World<'_>) {
        let status = self
            .ledger
            .releases
            .iter()
            .map(|(name, release)| (name.clone(), ReleaseStatus::of(name, release, &self.ledger, world)));
        self.out.releases.send_replace(Arc::new(status.collect()));
    }
}

#[allow(clippy::cognitive_complexity, reason = "one line of the log a kind of news; what the macros expand to counts")]
fn tell(news: &News) {
    match news {
        News::Begins(route) => tracing::info!(%route, "release begins"),
        News::Enters(route, state) => tracing::info!(%route, state, "release"),
        News::Clamped(intent) => {
            tracing::warn!(route = %intent.route, artefact = %intent.artefact, by = %intent.by, reason = %intent.reason,
                verdict = %intent.verdict, "clamped to 0");
        }
        News::Learned(intent) => {
            tracing::info!(route = %intent.route, artefact = %intent.artefact, "the routes file rejects it: held at 0");
        }
        News::OnBranch(route) => tracing::info!(%route, "the branch shows the rollback"),
        News::Diverged(route) => {
            tracing::error!(%route, "a person made it stable, or refused its rollback: held at 0 until they readmit it");
        }
        News::Readmitting(route) => tracing::info!(%route, "letting in again: asked for, or done with"),
        News::ByHand(route) => tracing::warn!(%route, "a weight is set by hand"),
        News::ByHandOver(route) => tracing::warn!(%route, "the weight that was set by hand is over: the file's again"),
        News::Frozen(by) => tracing::warn!(%by, "all raises are frozen"),
        News::Unfrozen => tracing::warn!("raises are frozen no longer"),
        News::Lifted(intent) => {
            tracing::warn!(route = %intent.route, artefact = %intent.artefact, "clamp lifted: a person let it in again");
        }
    }
}

/// Whether it is another value than before.
fn replace<T: PartialEq>(channel: &watch::Sender<T>, value: T) -> bool {
    channel.send_if_modified(|old| {
        let new = *old != value;
        if new {
            *old = value;
        }
        new
    })
}
