//! All releases and everything rejected, and how one look at the world moves them. The control loop only carries this out.

use super::{
    Action, Release, Seen,
    intent::{Intent, Outcome, Wanted},
    quarantine::{ENTRIES_MAX, Entry, Next},
};
use crate::core::{
    clamp::Clamps,
    command::{Order, Refused},
    judge::Judgement,
    name::{Generation, ReleaseKey, RouteName},
    now::Now,
    release::State,
    route::{Route, RouteTable},
    snapshot::Snapshot,
};
use std::collections::BTreeMap;

/// The releases and the rejected.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ledger {
    /// Each route's release: the one under way, or the last one.
    pub releases: BTreeMap<RouteName, Release>,
    /// What stays at 0, oldest first.
    pub quarantine: Vec<Entry>,
}

/// The world at one look.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// What was delivered.
    pub snapshot: &'a Snapshot,
    /// What the judge says.
    pub judgements: &'a BTreeMap<RouteName, Judgement>,
    /// What became of intents, by their ids.
    pub outcomes: &'a BTreeMap<String, Outcome>,
    /// Whether there is a branch to commit to.
    pub git: bool,
    /// The present.
    pub now: Now,
}

/// What a look brought about.
#[derive(Clone, PartialEq, Debug)]
pub enum News {
    /// A release begins.
    Begins(RouteName),
    /// A release is in another state.
    Enters(RouteName, &'static str),
    /// An artefact is held at 0 from now on.
    Clamped(Box<Intent>),
    /// The branch has shown a rollback.
    OnBranch(RouteName),
    /// An artefact is let in again.
    Lifted(Box<Intent>),
}

impl World<'_> {
    fn routes(&self) -> &RouteTable {
        &self.snapshot.routes
    }

    fn route(&self, name: &RouteName) -> Option<&Route> {
        self.routes().named(name.as_str()).map(|(_, route)| &**route)
    }
}

impl Ledger {
    /// Takes a look: what is over is settled, what is new begins, and each release takes a step.
    pub fn look(&mut self, world: &World<'_>) -> Vec<News> {
        let mut news = Vec::new();
        self.settle(world, &mut news);
        self.renew(world, &mut news);
        for (name, before) in self.releases.clone() {
            let Some(route) = world.route(&name) else { continue };
            let word = before.state.as_str();
            let seen = self.seen(world, route, &before);
            let (after, action) = before.step(&seen);
            if after.state.as_str() != word {
                news.push(News::Enters(name.clone(), after.state.as_str()));
            }
            self.take(name, after, action, &mut news);
        }
        news
    }

    /// Carries out a person's order; what was done, in words.
    ///
    /// # Errors
    /// [`Refused`] if it does not fit; nothing has then changed.
    pub fn obey(&mut self, order: &Order, world: &World<'_>) -> Result<(String, Vec<News>), Refused> {
        let now = world.snapshot.generation;
        if let Some(seen) = order.generation.filter(|seen| *seen != now) {
            return Err(Refused::Stale { seen, now });
        }
        let route = world.route(&order.route).ok_or_else(|| Refused::NoRoute(order.route.as_str().into()))?;
        let before = self.releases.get(&order.route).ok_or_else(|| Refused::NoRelease(order.route.clone()))?.clone();
        let seen = self.seen(world, route, &before);
        let (after, action, words) = before.obey(order, &seen)?;
        let mut news = Vec::new();
        self.take(order.route.clone(), after, action, &mut news);
        Ok((words, news))
    }

    /// Everything that is to stay at 0.
    #[must_use]
    pub fn clamps(&self) -> Clamps {
        let mut clamps = Clamps::default();
        for entry in &self.quarantine {
            clamps.hold(&entry.intent.route, &entry.intent.artefact);
        }
        clamps
    }

    /// Which attempt at which release each route is in.
    #[must_use]
    pub fn attempts(&self) -> BTreeMap<RouteName, (ReleaseKey, u32)> {
        self.releases.iter().map(|(name, release)| (name.clone(), (release.key, release.attempt))).collect()
    }

    /// What the branch should take or be asked about, rollbacks first.
    #[must_use]
    pub fn wanted(&self, world: &World<'_>) -> Vec<Wanted> {
        if !world.git {
            return Vec::new();
        }
        let generation: Generation = world.snapshot.generation;
        let down = self.quarantine.iter().filter_map(|entry| {
            let outcome = world.outcomes.get(&entry.intent.id());
            match entry.next(world.route(&entry.intent.route), outcome, world.git) {
                Next::Commit | Next::Ask => {
                    Some(Wanted { intent: entry.intent.clone(), shown: entry.shown.clone(), generation })
                }
                Next::Rest | Next::Lift => None,
            }
        });
        let up = self.releases.values().filter_map(|release| match &release.state {
            State::Advancing(intent, _) => Some(Wanted { intent: (**intent).clone(), shown: None, generation }),
            State::Baking
            | State::Judging
            | State::Holding(_)
            | State::AwaitingApproval
            | State::Watching
            | State::RollingBack(_)
            | State::RolledBack
            | State::Promoted => None,
        });
        down.chain(up).collect()
    }

    /// What the branch and the file say about rejected artefacts.
    fn settle(&mut self, world: &World<'_>, news: &mut Vec<News>) {
        self.quarantine.retain_mut(|entry| {
            let outcome = world.outcomes.get(&entry.intent.id());
            if let Some(Outcome::Committed(commit) | Outcome::There(commit)) = outcome
                && entry.shown.as_ref() != Some(commit)
            {
                entry.shown = Some(commit.clone());
                news.push(News::OnBranch(entry.intent.route.clone()));
            }
            let lift = entry.next(world.route(&entry.intent.route), outcome, world.git) == Next::Lift;
            if lift {
                news.push(News::Lifted(Box::new(entry.intent.clone())));
            }
            !lift
        });
    }

    /// A route that carries another artefact under release is in another release.
    fn renew(&mut self, world: &World<'_>, news: &mut Vec<News>) {
        // Before the first good file nothing is known to be gone.
        if world.snapshot.generation > Generation(0) {
            self.releases.retain(|name, _| world.route(name).is_some());
        }
        for route in world.routes() {
            let Some(view) = &route.release else { continue };
            let known = self.releases.get(&route.name).is_some_and(|release| release.key == view.key);
            if let Some(mut release) = Release::begin(route, world.now).filter(|_| !known) {
                // What was rejected is remembered longer than its release: its next attempt is another one.
                let same = |e: &&Entry| e.intent.route == route.name && e.intent.artefact == release.artefact;
                if let Some(entry) = self.quarantine.iter().find(same) {
                    release.attempt = entry.intent.attempt;
                    release.state = State::RollingBack(Box::new(entry.intent.clone()));
                }
                news.push(News::Begins(route.name.clone()));
                self.releases.insert(route.name.clone(), release);
            }
        }
    }

    fn seen<'a>(&self, world: &World<'a>, route: &'a Route, release: &Release) -> Seen<'a> {
        let held =
            self.quarantine.iter().any(|e| e.intent.route == route.name && e.intent.artefact == release.artefact);
        let outcome = release.state.intent().and_then(|intent| world.outcomes.get(&intent.id()));
        let judgement = world.judgements.get(&route.name);
        Seen { route, judgement, held, outcome, git: world.git, now: world.now }
    }

    fn take(&mut self, name: RouteName, release: Release, action: Option<Action>, news: &mut Vec<News>) {
        self.releases.insert(name, release);
        if let Some(Action::RollBack(intent)) = action {
            self.reject((*intent).clone());
            news.push(News::Clamped(intent));
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
        self.quarantine.push(Entry { intent, shown: None });
    }
}
