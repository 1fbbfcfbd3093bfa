//! What has happened to each route's release, for people who come later: bounded, oldest first, and lost with the process. What must
//! not be lost stands in Git.
//!
//! Found by comparing what is with what was, so it knows nothing of who caused it.

use super::{
    judge::{Judgement, Verdict},
    name::{ReleaseKey, RouteName, VariantName},
    notice::Sight,
    now::Now,
    release::{
        intent::{Intent, Outcome},
        made::Made,
    },
    snapshot::Snapshot,
    split::Weight,
    status::ReleaseStatus,
};
use std::{collections::BTreeMap, sync::Arc};

/// Points of evidence that are kept of a release; with more, every second one is dropped.
pub const POINTS_MAX: usize = 300;

/// What stands for a commit's name in the address where people look at it.
pub const COMMIT: &str = "{commit}";

/// What kind of thing has happened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum What {
    /// The judge says something else, or the same for another reason.
    Verdict,
    /// The release is in another state.
    Release,
    /// Other weights are in force.
    Weights,
    /// A commit is on the branch.
    Commit,
    /// Something keeps a commit from the branch.
    Trouble,
}

impl What {
    /// The word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Release => "release",
            Self::Weights => "weights",
            Self::Commit => "commit",
            Self::Trouble => "trouble",
        }
    }
}

/// One thing that has happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happened {
    /// From 1 on, without gaps, for as long as the process lives.
    pub number: u64,
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// What.
    pub what: What,
    /// In words; of a commit what it does.
    pub text: Box<str>,
    /// The commit's name.
    pub commit: Option<Box<str>>,
}

/// Evidence against the canary at one moment.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Point {
    /// When, milliseconds since 1970 UTC.
    pub at_ms: u64,
    /// Natural log of the combined e-value.
    pub log_e: f64,
}

/// What has happened to one route.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RouteHistory {
    /// The last ones.
    pub happened: Vec<Arc<Happened>>,
    /// Of the present attempt, from its beginning.
    pub points: Vec<Point>,
    /// Number of the last thing that happened; 0: nothing has.
    pub last: u64,
    /// Every so many looks a point is kept.
    every: u64,
    looks: u64,
    attempt: Option<(ReleaseKey, u32)>,
    verdict: Option<Verdict>,
    release: Option<Box<str>>,
    weights: Vec<(VariantName, Weight)>,
    trouble: Option<Box<str>>,
}

/// What has happened to each route, as it is told.
#[derive(Clone, PartialEq, Debug)]
pub struct Histories {
    /// By route.
    pub by_route: Arc<BTreeMap<RouteName, Arc<RouteHistory>>>,
    /// Where people look at a commit, [`COMMIT`] in place of its name.
    pub commit_url: Option<Arc<str>>,
}

/// All routes' histories.
#[derive(Clone, PartialEq, Debug)]
pub struct History {
    /// By route.
    pub routes: BTreeMap<RouteName, Arc<RouteHistory>>,
    happened_max: usize,
    /// By their ids.
    intents: BTreeMap<String, Open>,
    /// Number of the last commit of this process that was noted.
    made: u64,
}

/// An intent whose commit may still come.
#[derive(Clone, PartialEq, Debug)]
struct Open {
    route: RouteName,
    words: String,
    noted: bool,
}

impl History {
    /// An empty one that keeps so many things of each route.
    #[must_use]
    pub fn new(happened_max: usize) -> Self {
        Self { routes: BTreeMap::new(), happened_max: happened_max.max(1), intents: BTreeMap::new(), made: 0 }
    }

    /// Takes in how things are now. A route that is gone is forgotten.
    pub fn look(&mut self, snapshot: &Snapshot, sight: &Sight<'_>) {
        self.routes.retain(|name, _| snapshot.routes.named(name.as_str()).is_some());
        for route in snapshot.routes.iter() {
            let known = Arc::make_mut(self.routes.entry(route.name.clone()).or_default());
            let weights = route.variants.iter().map(|v| (&v.name, v.effective));
            if !known.weights.iter().map(|(name, weight)| (name, *weight)).eq(weights.clone()) {
                known.weights = weights.map(|(name, weight)| (name.clone(), weight)).collect();
                let each = known.weights.iter().map(|(name, weight)| format!("{name} {weight} %"));
                let text = each.collect::<Vec<_>>().join(", ");
                known.note(sight.now, What::Weights, &text, None);
            }
            known.take_release(sight.releases.get(&route.name), sight.now);
            known.take_judgement(sight.judgements.get(&route.name), sight.now);
        }
        self.take_commits(sight);
        for known in self.routes.values_mut().filter(|known| known.happened.len() > self.happened_max) {
            Arc::make_mut(known).keep(self.happened_max);
        }
    }

    /// Commits, once each: those of this process as they are made, others when the branch shows them. One that it has shown before
    /// this process knew that it was wanted is no news.
    fn take_commits(&mut self, sight: &Sight<'_>) {
        let wanted = sight.wanted.iter().filter(|one| !one.learned).map(|one| (&one.intent, one.shown.as_deref()));
        let released = sight.releases.values().filter_map(|of| of.intent.as_deref()).map(|intent| (intent, None));
        let mut open: BTreeMap<String, Option<&str>> = BTreeMap::new();
        for (intent, shown) in wanted.chain(released) {
            let id = intent.id();
            let ours = matches!(sight.outcomes.get(&id), Some(Outcome::Committed(_)));
            let fresh = |intent: &Intent| Open {
                route: intent.route.clone(),
                words: intent.to.words(),
                noted: ours || shown.is_some(),
            };
            self.intents.entry(id.clone()).or_insert_with(|| fresh(intent));
            let known = open.entry(id).or_default();
            *known = known.or(shown);
        }
        for made in Made::news(sight.made, &mut self.made) {
            let Intent { route, to, .. } = &made.intent;
            let noted = Open { route: route.clone(), words: to.words(), noted: true };
            if let Some(known) = self.routes.get_mut(route) {
                Arc::make_mut(known).note(sight.now, What::Commit, &noted.words, Some(&made.commit));
            }
            self.intents.insert(made.intent.id(), noted);
        }
        for (id, intent) in self.intents.iter_mut().filter(|(_, intent)| !intent.noted) {
            let commit = match sight.outcomes.get(id) {
                Some(Outcome::There(commit)) => Some(&**commit),
                _ => open.get(id).copied().flatten(),
            };
            if let (Some(commit), Some(known)) = (commit, self.routes.get_mut(&intent.route)) {
                Arc::make_mut(known).note(sight.now, What::Commit, &intent.words, Some(commit));
                intent.noted = true;
            }
        }
        self.intents.retain(|id, _| open.contains_key(id));
    }
}

impl RouteHistory {
    fn note(&mut self, now: Now, what: What, text: &str, commit: Option<&str>) {
        self.last += 1;
        let (number, at_ms, commit) = (self.last, now.wall_ms, commit.map(Into::into));
        self.happened.push(Arc::new(Happened { number, at_ms, what, text: text.into(), commit }));
    }

    fn keep(&mut self, max: usize) {
        let over = self.happened.len().saturating_sub(max);
        self.happened.drain(..over);
    }

    fn take_release(&mut self, release: Option<&ReleaseStatus>, now: Now) {
        let reason = |of: &ReleaseStatus| if of.reason.is_empty() { String::new() } else { format!(": {}", of.reason) };
        let state = release.map(|of| format!("attempt {}, {}{}", of.attempt, of.state, reason(of)).replace('_', " "));
        if self.release.as_deref() != state.as_deref() {
            if let Some(text) = state.as_deref().or(self.release.as_ref().map(|_| "it is over")) {
                self.note(now, What::Release, text, None);
            }
            self.release = state.map(Into::into);
        }
        let Some(release) = release else { return };
        if release.trouble != self.trouble {
            if let Some(trouble) = &release.trouble {
                self.note(now, What::Trouble, trouble, None);
            }
            self.trouble.clone_from(&release.trouble);
        }
    }

    fn take_judgement(&mut self, judgement: Option<&Judgement>, now: Now) {
        if self.verdict != judgement.map(|of| of.verdict) {
            self.verdict = judgement.map(|of| of.verdict);
            if let Some(verdict) = self.verdict {
                self.note(now, What::Verdict, &verdict.words(), None);
            }
        }
        let Some(judgement) = judgement else { return };
        if self.attempt != Some((judgement.release, judgement.attempt)) {
            self.attempt = Some((judgement.release, judgement.attempt));
            (self.every, self.looks) = (1, 0);
            self.points.clear();
        }
        let (at_ms, log_e) = (judgement.at.wall_ms, judgement.evidence.log_e_rollback);
        if self.points.last().is_some_and(|last| last.at_ms == at_ms) {
            return;
        }
        if self.looks.is_multiple_of(self.every.max(1)) {
            self.points.push(Point { at_ms, log_e });
        }
        self.looks += 1;
        if self.points.len() >= POINTS_MAX {
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.every *= 2;
        }
    }

    /// What happened after the one of this number.
    pub fn after(&self, number: u64) -> impl Iterator<Item = &Happened> {
        self.happened.iter().map(|one| &**one).filter(move |one| one.number > number)
    }
}

#[cfg(test)]
mod tests;
