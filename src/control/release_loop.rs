//! Verdict, order or tick -> a step of each release -> what the step asks for. The only writer of clamps and intents.

use super::{
    commit_loop::{Outcomes, Wanted},
    judge_loop::Judgements,
    record,
};
use crate::{
    core::{
        clamp::Clamps,
        command::{Order, Refused},
        judge::Judgement,
        name::{ReleaseKey, RouteName},
        release::{
            Action, Release, Seen, State,
            intent::{Intent, Outcome},
            quarantine::{ENTRIES_MAX, Entry, Next},
        },
        route::Route,
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
    releases: BTreeMap<RouteName, Release>,
    quarantine: Vec<Entry>,
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
        let releases = record::load_releases(&store, clock::now());
        let quarantine = record::load_quarantine(&store);
        let this = Self { releases, quarantine, input, out, store, git, saved_ms: 0 };
        this.publish_clamps();
        this.publish_attempts();
        this
    }

    /// Runs until the judge is gone.
    pub async fn run(mut self) {
        loop {
            let order = tokio::select! {
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
            self.look(order);
        }
    }

    fn look(&mut self, asked: Option<Asked>) {
        let live = self.input.live.load_full();
        let judgements = self.input.judgements.borrow_and_update().clone();
        let outcomes = self.input.outcomes.borrow_and_update().clone();
        let held = self.quarantine.len();
        let lifted = self.settle(&live, &outcomes);
        self.renew(&live);
        if let Some(Asked { order, answer }) = asked {
            let judgement = judgements.get(&order.route);
            // A caller that has hung up does not take its order back.
            let _ = answer.send(self.obey(&order, &live, judgement, &outcomes));
        }
        let changed = self.step(&live, &judgements, &outcomes);
        if lifted || self.quarantine.len() != held {
            // Traffic first: the disk may be slow, the canary is worse now.
            self.publish_clamps();
            record::save_quarantine(&self.store, &self.quarantine);
        }
        self.publish_attempts();
        self.publish_wanted(&live, &outcomes);
        self.publish_status(&live, &outcomes);
        let now = clock::now();
        if changed || now.mono_ms >= self.saved_ms + SAVE_EVERY_MS {
            self.saved_ms = now.mono_ms;
            record::save_releases(&self.store, &self.releases, now);
        }
    }

    /// What the branch and the file say about rejected artefacts; whether that changed anything.
    fn settle(&mut self, live: &Live, outcomes: &Outcomes) -> bool {
        let git = self.git;
        let mut changed = false;
        self.quarantine.retain_mut(|entry| {
            let outcome = outcomes.get(&entry.intent.id());
            if !entry.on_branch && matches!(outcome, Some(Outcome::Committed(_) | Outcome::There)) {
                entry.on_branch = true;
                changed = true;
            }
            let route = live.snapshot.routes.named(entry.intent.route.as_str()).map(|(_, route)| &**route);
            let lift = entry.next(route, outcome, git) == Next::Lift;
            if lift {
                let (route, artefact) = (&entry.intent.route, &entry.intent.artefact);
                tracing::warn!(%route, %artefact, "clamp lifted: a person let it in again");
            }
            changed |= lift;
            !lift
        });
        changed
    }

    /// A route that carries another artefact under release is another release.
    fn renew(&mut self, live: &Live) {
        let routes = &live.snapshot.routes;
        // Before the first good file nothing is known to be gone.
        if live.snapshot.generation.0 > 0 {
            self.releases.retain(|name, _| routes.named(name.as_str()).is_some());
        }
        for route in routes {
            let Some(view) = &route.release else { continue };
            if self.releases.get(&route.name).is_none_or(|release| release.key != view.key)
                && let Some(release) = Release::begin(route, clock::now())
            {
                tracing::info!(route = %route.name, artefact = %release.artefact, weight = %release.stay.weight, "release begins");
                self.releases.insert(route.name.clone(), release);
            }
        }
    }

    fn obey(
        &mut self,
        order: &Order,
        live: &Live,
        judgement: Option<&Judgement>,
        outcomes: &Outcomes,
    ) -> Result<String, Refused> {
        let now = live.snapshot.generation;
        if let Some(seen) = order.generation.filter(|seen| *seen != now) {
            return Err(Refused::Stale { seen, now });
        }
        let route = live.snapshot.routes.named(order.route.as_str());
        let (_, route) = route.ok_or_else(|| Refused::NoRoute(order.route.as_str().into()))?;
        let release = self.releases.get(&order.route).ok_or_else(|| Refused::NoRelease(order.route.clone()))?.clone();
        let (after, action, words) = release.clone().obey(order, &self.seen(route, &release, judgement, outcomes))?;
        tracing::warn!(route = %order.route, command = order.command.as_str(), by = %order.by, reason = %order.reason, "order");
        self.take(&order.route, after, action);
        Ok(words)
    }

    /// A step of every release; whether a state is another than before.
    fn step(&mut self, live: &Live, judgements: &Judgements, outcomes: &Outcomes) -> bool {
        let mut changed = false;
        for (name, before) in self.releases.clone() {
            let Some((_, route)) = live.snapshot.routes.named(name.as_str()) else { continue };
            let (after, action) = before.clone().step(&self.seen(route, &before, judgements.get(&name), outcomes));
            if before != after {
                changed = true;
                if before.state.as_str() != after.state.as_str() {
                    tracing::info!(route = %name, state = after.state.as_str(), weight = %after.stay.weight,
                        attempt = after.attempt, "release");
                }
            }
            self.take(&name, after, action);
        }
        changed
    }

    fn seen<'a>(
        &self,
        route: &'a Route,
        release: &Release,
        judgement: Option<&'a Judgement>,
        outcomes: &'a Outcomes,
    ) -> Seen<'a> {
        let held =
            self.quarantine.iter().any(|e| e.intent.route == route.name && e.intent.artefact == release.artefact);
        let outcome = release.state.intent().and_then(|intent| outcomes.get(&intent.id()));
        Seen { route, judgement, held, outcome, git: self.git, now: clock::now() }
    }

    fn take(&mut self, name: &RouteName, release: Release, action: Option<Action>) {
        self.releases.insert(name.clone(), release);
        if let Some(Action::RollBack(intent)) = action {
            tracing::warn!(route = %name, artefact = %intent.artefact, by = %intent.by, reason = %intent.reason,
                verdict = %intent.verdict, "clamped to 0");
            self.reject(*intent);
        }
    }

    fn reject(&mut self, intent: Intent) {
        self.quarantine.retain(|e| (&e.intent.route, &e.intent.artefact) != (&intent.route, &intent.artefact));
        let of_route = |e: &Entry| e.intent.route == intent.route;
        if self.quarantine.iter().filter(|e| of_route(e)).count() >= ENTRIES_MAX
            && let Some(oldest) = self.quarantine.iter().position(of_route)
        {
            self.quarantine.remove(oldest);
        }
        self.quarantine.push(Entry { intent, on_branch: false });
    }

    fn publish_clamps(&self) {
        let mut clamps = Clamps::default();
        for entry in &self.quarantine {
            clamps.hold(&entry.intent.route, &entry.intent.artefact);
        }
        self.out.clamps.send_replace(Arc::new(clamps));
    }

    fn publish_attempts(&self) {
        let attempts = self.releases.iter().map(|(name, release)| (name.clone(), (release.key, release.attempt)));
        replace(&self.out.attempts, Arc::new(attempts.collect()));
    }

    /// Rollbacks first.
    fn publish_wanted(&self, live: &Live, outcomes: &Outcomes) {
        if !self.git {
            return;
        }
        let generation = live.snapshot.generation.0;
        let down = self.quarantine.iter().filter_map(|entry| {
            let route = live.snapshot.routes.named(entry.intent.route.as_str()).map(|(_, route)| &**route);
            let ask = match entry.next(route, outcomes.get(&entry.intent.id()), self.git) {
                Next::Commit => false,
                Next::Ask => true,
                Next::Rest | Next::Lift => return None,
            };
            Some(Wanted { intent: entry.intent.clone(), ask, generation })
        });
        let up = self.releases.values().filter_map(|release| match &release.state {
            State::Advancing(intent, _) => Some(Wanted { intent: (**intent).clone(), ask: false, generation }),
            State::Baking
            | State::Judging
            | State::Holding(_)
            | State::AwaitingApproval
            | State::Watching
            | State::RollingBack(_)
            | State::RolledBack
            | State::Promoted => None,
        });
        replace(&self.out.wanted, Arc::new(down.chain(up).collect()));
    }

    fn publish_status(&self, live: &Live, outcomes: &Outcomes) {
        let status = self.releases.iter().map(|(name, release)| {
            let plan = live.snapshot.routes.named(name.as_str()).and_then(|(_, route)| route.plan.as_ref());
            let outcome = release.state.intent().and_then(|intent| outcomes.get(&intent.id()));
            (name.clone(), ReleaseStatus::of(release, plan, outcome, clock::now()))
        });
        self.out.releases.send_replace(Arc::new(status.collect()));
    }
}

fn replace<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
    channel.send_if_modified(|old| {
        let new = *old != value;
        if new {
            *old = value;
        }
        new
    });
}
