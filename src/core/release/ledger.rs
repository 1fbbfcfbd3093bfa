//! All releases and everything rejected, and how one look at the world moves them. The control loop only carries this out.

use super::{
    Action, Alert, ByHand, Held, Release, Seen, alert,
    intent::{Intent, Outcome, Wanted},
    quarantine::{ENTRIES_MAX, Entry, Next},
};
use crate::core::{
    clamp::{Clamps, Share, effective},
    judge::Judgement,
    name::{Artefact, Generation, ReleaseKey, RouteName},
    now::Now,
    route::{Route, RouteTable},
    snapshot::Snapshot,
    split::Weight,
    variant::Role,
};
use std::collections::BTreeMap;

/// Artefacts that were rejected once and let in again, whose attempts are remembered, over all routes.
const PAST_MAX: usize = 100;

/// The releases and the rejected.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Ledger {
    /// Each route's release: the one under way, or the last one.
    pub releases: BTreeMap<RouteName, Release>,
    /// What stays at 0, oldest first.
    pub quarantine: Vec<Entry>,
    /// The last attempt at what was rejected and let in again, oldest first.
    pub past: Vec<(RouteName, Artefact, u32)>,
    /// Candidates' weights that are set by hand.
    pub by_hand: BTreeMap<RouteName, ByHand>,
    /// Who froze all raises.
    pub frozen: Option<Frozen>,
}

/// Why there are no raises.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Frozen {
    /// Who said so.
    pub by: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// Since when, milliseconds since 1970 UTC.
    pub since_ms: u64,
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum News {
    /// A release begins.
    Begins(RouteName),
    /// A release is in another state.
    Enters(RouteName, &'static str),
    /// An artefact is held at 0 from now on.
    Clamped(Box<Intent>),
    /// A file says that an artefact is rejected: it is held at 0 from now on.
    Learned(Box<Intent>),
    /// The branch has shown a rollback.
    OnBranch(RouteName),
    /// A person made a rejected artefact stable meanwhile, or refused its rollback.
    Diverged(RouteName),
    /// A person asked to let an artefact in again, or that came to an end.
    Readmitting(RouteName),
    /// An artefact is let in again.
    Lifted(Box<Intent>),
    /// A weight is set by hand.
    ByHand(RouteName),
    /// That is over.
    ByHandOver(RouteName),
    /// There are no raises from now on.
    Frozen(Box<str>),
    /// There are again.
    Unfrozen,
}

impl World<'_> {
    fn routes(&self) -> &RouteTable {
        &self.snapshot.routes
    }

    pub(super) fn route(&self, name: &RouteName) -> Option<&Route> {
        self.routes().named(name.as_str()).map(|(_, route)| &**route)
    }
}

impl Ledger {
    /// Takes a look: what is over is settled, what is new begins, and each release takes a step.
    pub fn look(&mut self, world: &World<'_>) -> Vec<News> {
        let mut news = Vec::new();
        self.settle(world, &mut news);
        self.learn(world, &mut news);
        self.renew(world, &mut news);
        self.expire(world, &mut news);
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

    /// Everything that is to stay at 0, and what is set by hand.
    #[must_use]
    pub fn clamps(&self) -> Clamps {
        let mut clamps = Clamps::default();
        for entry in &self.quarantine {
            clamps.hold(&entry.intent.route, &entry.intent.artefact);
        }
        for (route, one) in &self.by_hand {
            clamps.set(route, &one.artefact, one.weight);
        }
        clamps
    }

    /// Which attempt at which release each route is in.
    #[must_use]
    pub fn attempts(&self) -> BTreeMap<RouteName, (ReleaseKey, u32)> {
        self.releases.iter().map(|(name, release)| (name.clone(), (release.key, release.attempt))).collect()
    }

    /// What a person should know of a route.
    #[must_use]
    pub fn alerts(&self, name: &RouteName, world: &World<'_>) -> Vec<Alert> {
        let route = world.route(name);
        let of_release =
            self.releases.get(name).zip(route).map(|(release, route)| alert::of_release(release, route, world));
        let entries = self.quarantine.iter().filter(|entry| entry.intent.route == *name);
        let by_hand = self.by_hand.contains_key(name).then_some(Alert::ByHand);
        let mut all: Vec<Alert> = of_release.into_iter().flatten().chain(by_hand).collect();
        all.extend(entries.flat_map(|entry| alert::of_entry(entry, route, world)));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// What the branch should take or be asked about, rollbacks first.
    #[must_use]
    pub fn wanted(&self, world: &World<'_>) -> Vec<Wanted> {
        if !world.git {
            return Vec::new();
        }
        let generation: Generation = world.snapshot.generation;
        let plain = |intent: &Intent| Wanted {
            intent: intent.clone(),
            shown: None,
            learned: false,
            diverged: false,
            generation,
        };
        let down = self.quarantine.iter().filter_map(|entry| {
            let outcome = world.outcomes.get(&entry.intent.id());
            match entry.next(world.route(&entry.intent.route), outcome, world.git) {
                Next::Commit | Next::Ask => Some(Wanted {
                    shown: entry.shown.clone(),
                    learned: entry.learned,
                    diverged: entry.diverged,
                    ..plain(&entry.intent)
                }),
                Next::Rest | Next::Lift => None,
            }
        });
        let again = self.quarantine.iter().filter_map(|entry| entry.readmit.as_ref()).map(plain);
        let up = self.releases.values().filter_map(|release| release.state.raise()).map(|intent| Wanted {
            shown: match world.outcomes.get(&intent.id()) {
                Some(Outcome::Committed(commit) | Outcome::There(commit)) => Some(commit.clone()),
                _ => None,
            },
            ..plain(intent)
        });
        down.chain(again).chain(up).collect()
    }

    /// What the branch and the file say about rejected artefacts.
    fn settle(&mut self, world: &World<'_>, news: &mut Vec<News>) {
        let mut lifted = Vec::new();
        for entry in &mut self.quarantine {
            let name = entry.intent.route.clone();
            let outcome = world.outcomes.get(&entry.intent.id());
            let diverged = entry.diverged;
            if entry.hear(outcome) {
                news.push(News::OnBranch(name.clone()));
            }
            if entry.diverged && !diverged {
                news.push(News::Diverged(name.clone()));
            }
            let told = entry.readmit.as_ref().and_then(|intent| world.outcomes.get(&intent.id()));
            if told.is_some_and(|outcome| !matches!(outcome, Outcome::Failing(_) | Outcome::Waiting(_))) {
                entry.readmit = None;
                news.push(News::Readmitting(name.clone()));
            }
            if entry.next(world.route(&name), outcome, world.git) == Next::Lift {
                lifted.push(entry.intent.clone());
            }
        }
        for intent in lifted {
            self.lift(&intent.route, &intent.artefact);
            news.push(News::Lifted(Box::new(intent)));
        }
    }

    /// What a file rejects stays rejected here, too, whoever did it: an old file may still be delivered.
    fn learn(&mut self, world: &World<'_>, news: &mut Vec<News>) {
        for route in world.routes() {
            for variant in route.variants.iter().filter(|v| v.role == Role::Rejected) {
                let of_route = self.quarantine.iter().filter(|e| e.intent.route == route.name);
                let known = of_route.clone().any(|e| e.intent.artefact == variant.artefact);
                if !known && of_route.count() < ENTRIES_MAX {
                    let mut entry = Entry::learn(route, variant, world.now);
                    entry.intent.attempt = self.attempt_at(&route.name, &variant.artefact);
                    news.push(News::Learned(Box::new(entry.intent.clone())));
                    self.quarantine.push(entry);
                }
            }
        }
    }

    /// A route that carries another artefact under release is in another release.
    fn renew(&mut self, world: &World<'_>, news: &mut Vec<News>) {
        // Before the first good file nothing is known to be gone.
        if world.snapshot.generation > Generation(0) {
            self.releases.retain(|name, _| world.route(name).is_some());
        }
        for route in world.routes() {
            let Some(view) = &route.release else { continue };
            if self.releases.get(&route.name).is_some_and(|release| release.key == view.key) {
                continue;
            }
            let artefact = route.variant(view.candidate).map(|v| &v.artefact);
            let attempt = artefact.map_or(1, |artefact| self.attempt_at(&route.name, artefact));
            if let Some(release) = Release::begin(route, attempt, world.now) {
                news.push(News::Begins(route.name.clone()));
                self.releases.insert(route.name.clone(), release);
            }
        }
    }

    /// A weight that is set by hand ends by itself, with its release, and with a clamp.
    fn expire(&mut self, world: &World<'_>, news: &mut Vec<News>) {
        let clamps = self.clamps();
        let releases = &self.releases;
        self.by_hand.retain(|name, one| {
            let under_way = releases.get(name).is_some_and(|r| r.artefact == one.artefact && !r.state.is_over());
            let keep = under_way && !one.is_over(world.now) && !clamps.holds(name, &one.artefact);
            if !keep {
                news.push(News::ByHandOver(name.clone()));
            }
            keep
        });
    }

    /// Which attempt it is in, or would be: what was rejected is remembered longer than its release.
    fn attempt_at(&self, route: &RouteName, artefact: &Artefact) -> u32 {
        let held = self.quarantine.iter().find(|e| (&e.intent.route, &e.intent.artefact) == (route, artefact));
        let past = self.past.iter().find(|(name, one, _)| (name, one) == (route, artefact));
        let under_way = self.releases.get(route).filter(|release| release.artefact == *artefact);
        held.map(|entry| entry.intent.attempt)
            .or(under_way.map(|release| release.attempt))
            .or(past.map(|(.., attempt)| attempt + 1))
            .unwrap_or(1)
    }

    pub(super) fn remember(&mut self, intent: Intent) {
        self.past.retain(|(route, artefact, _)| (route, artefact) != (&intent.route, &intent.artefact));
        if self.past.len() >= PAST_MAX {
            self.past.remove(0);
        }
        self.past.push((intent.route, intent.artefact, intent.attempt));
    }

    pub(super) fn seen<'a>(&'a self, world: &World<'a>, route: &'a Route, release: &Release) -> Seen<'a> {
        let of_it = |e: &&Entry| e.intent.route == route.name && e.intent.artefact == release.artefact;
        let entry = self.quarantine.iter().find(of_it);
        Seen {
            route,
            judgement: world.judgements.get(&route.name),
            held: entry.map(|entry| Held { intent: &entry.intent, shown: entry.shown.is_some() }),
            heir: self.has_heir(route, &release.artefact),
            by_hand: self.by_hand.contains_key(&route.name),
            frozen: self.frozen.is_some(),
            outcome: release.state.intent().and_then(|intent| world.outcomes.get(&intent.id())),
            git: world.git,
            now: world.now,
        }
    }

    /// Whether somebody could take the traffic of `artefact`.
    fn has_heir(&self, route: &Route, artefact: &Artefact) -> bool {
        let held = |one: &Artefact| {
            one == artefact || self.quarantine.iter().any(|e| e.intent.route == route.name && e.intent.artefact == *one)
        };
        let share = |v: &crate::core::variant::Variant| Share {
            role: v.role,
            // Even what has nothing now may be raised while the rollback is on its way.
            said: if v.artefact == *artefact { v.said.max(Weight::FULL) } else { v.said },
            held: held(&v.artefact),
            by_hand: None,
        };
        effective(&route.variants.iter().map(share).collect::<Vec<_>>()).is_some()
    }

    pub(super) fn take(&mut self, name: RouteName, release: Release, action: Option<Action>, news: &mut Vec<News>) {
        if let Some(Action::RollBack(intent)) = action {
            if self.by_hand.remove(&name).is_some() {
                news.push(News::ByHandOver(name.clone()));
            }
            self.reject((*intent).clone());
            news.push(News::Clamped(intent));
        }
        self.releases.insert(name, release);
    }

    fn reject(&mut self, intent: Intent) {
        self.quarantine.retain(|e| (&e.intent.route, &e.intent.artefact) != (&intent.route, &intent.artefact));
        let of_route = |e: &Entry| e.intent.route == intent.route;
        if self.quarantine.iter().filter(|e| of_route(e)).count() >= ENTRIES_MAX
            && let Some(oldest) = self.quarantine.iter().position(of_route)
        {
            self.quarantine.remove(oldest);
        }
        self.quarantine.push(Entry::new(intent));
    }
}
