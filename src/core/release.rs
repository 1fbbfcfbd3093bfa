//! A release: the attempts to move a route to a new artefact. All of its control flow is [`Release::step`].
//!
//! How far a release has come is what the delivered file says; a state adds only what the file cannot say. Down is a clamp
//! first and a commit after. Up is a commit, and counts once it is delivered. Rollback wins from every state.

mod alert;
mod by_hand;
mod due;
pub mod intent;
pub mod ledger;
pub mod made;
mod orders;
pub mod quarantine;
mod state;

use super::{
    judge::{Judgement, Verdict},
    name::{Artefact, ReleaseKey},
    now::Now,
    route::{ReleaseView, Route},
    split::Weight,
    variant::Role,
};
use due::{Due, brake, due};
use intent::{Intent, JUDGE, Move, Outcome};

pub use alert::Alert;
pub use by_hand::ByHand;
pub use due::Hold;

/// A raise that turned out to rest on another file than the branch has is decided again after so long.
const AGAIN_AFTER_MS: u64 = 30_000;

/// So long after its commit a raise is looked for again; the slowest delivery takes about six minutes.
const DELIVERY_MS_MAX: u64 = 600_000;

/// How long something lasts, over restarts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Spell {
    /// Since when, in this process.
    pub since: Now,
    /// In earlier processes, milliseconds.
    pub before_ms: u64,
}

impl Spell {
    /// Begins now.
    #[must_use]
    pub fn begin(now: Now) -> Self {
        Self { since: now, before_ms: 0 }
    }

    /// How long so far, milliseconds.
    #[must_use]
    pub fn elapsed_ms(&self, now: Now) -> u64 {
        self.before_ms + now.since_ms(self.since)
    }
}

/// What is true while the candidate stays at one weight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stay {
    /// The candidate's weight in the delivered file.
    pub weight: Weight,
    /// Whether it has been promoted.
    pub promoted: bool,
    /// How long.
    pub spell: Spell,
    /// Canary requests that had been judged when it began.
    pub requests_at: u64,
    /// Canary labels that had been judged when it began.
    pub labels_at: u64,
}

/// What the file cannot say.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// The canary has weight 0, and no copies by which it could be judged: a person starts it.
    Staged,
    /// The weight has just arrived: nothing is said about it before the warm-up is over.
    Baking,
    /// Evidence is gathered; the hold is not over.
    Judging,
    /// The hold is over and the next step is not due.
    Holding(Hold),
    /// The next step is due and needs a person's yes.
    AwaitingApproval,
    /// A raise is being committed or delivered.
    Advancing(Box<Intent>, Now),
    /// Promoted; the old model keeps a share as a control.
    Watching,
    /// Clamped; the rollback is being committed or delivered.
    RollingBack(Box<Intent>),
    /// The file says so, too.
    RolledBack,
    /// It is the route's stable one, and its predecessor has no traffic any more.
    Promoted,
    /// The file does not have it any more. If that was an old file, it goes on where it was.
    Withdrawn,
}

/// One release of one route.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Release {
    /// Its identity.
    pub key: ReleaseKey,
    /// What is under release.
    pub artefact: Artefact,
    /// Which attempt: a rejected artefact that a person lets in again starts another.
    pub attempt: u32,
    /// How long this attempt has lasted.
    pub age: Spell,
    /// Who paused it.
    pub paused_by: Option<Box<str>>,
    /// The weight it is at.
    pub stay: Stay,
    /// The file, by its digest, that the branch had left behind when a raise was to be committed, and when that was.
    pub behind: Option<(u64, Now)>,
    /// The file, by its digest, that people have put back after a raise, or refused to raise: the plan does not try again from
    /// there.
    pub taken_back: Option<u64>,
    /// The raise that people were asked to merge and have closed, and where: for those who are told of it.
    pub refused: Option<Box<(Intent, Outcome)>>,
    /// Where it stands.
    pub state: State,
}

/// What holds an artefact at 0, as its release sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held<'a> {
    /// The rollback.
    pub intent: &'a Intent,
    /// Whether the branch has shown it.
    pub shown: bool,
}

/// The world as a step sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The route as delivered.
    pub route: &'a Route,
    /// What the judge last said of the route.
    pub judgement: Option<&'a Judgement>,
    /// What holds the artefact at 0, if anything does.
    pub held: Option<Held<'a>>,
    /// Whether somebody could take the artefact's traffic.
    pub heir: bool,
    /// Whether its weight is set by hand.
    pub by_hand: bool,
    /// Whether raises are frozen.
    pub frozen: bool,
    /// What became of the intent in flight.
    pub outcome: Option<&'a Outcome>,
    /// Whether there is a branch to commit to.
    pub git: bool,
    /// The present.
    pub now: Now,
}

/// What a step asks the control loop for. Doing it twice is doing it once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Hold the artefact at 0 now, and commit that.
    RollBack(Box<Intent>),
}

impl Seen<'_> {
    fn view(&self, key: ReleaseKey) -> Option<&ReleaseView> {
        self.route.release.as_ref().filter(|view| view.key == key)
    }

    /// Whether the candidate gets copies of requests, by which it is judged at weight 0, too.
    fn is_copied(&self, release: &Release) -> bool {
        let candidate = self.view(release.key).map(|view| view.candidate);
        self.route.shadows.iter().any(|(position, _)| Some(*position) == candidate)
    }

    /// What the judge says of this attempt at this release.
    fn judged(&self, release: &Release) -> Option<&Judgement> {
        self.judgement.filter(|j| j.release == release.key && j.attempt == release.attempt)
    }

    fn weight(&self, view: &ReleaseView) -> Weight {
        self.route.variant(view.candidate).map_or(Weight::ZERO, |v| v.said)
    }
}

impl Release {
    /// A release that has just been delivered; `None` if the route is in none.
    #[must_use]
    pub fn begin(route: &Route, attempt: u32, now: Now) -> Option<Self> {
        let view = route.release.as_ref()?;
        let candidate = route.variant(view.candidate)?;
        let spell = Spell::begin(now);
        Some(Self {
            key: view.key,
            artefact: candidate.artefact.clone(),
            attempt,
            age: spell,
            paused_by: None,
            stay: Stay { weight: candidate.said, promoted: view.promoted, spell, ..Stay::default() },
            behind: None,
            taken_back: None,
            refused: None,
            state: State::Baking,
        })
    }

    /// The next state of the release, and what is to be done about it.
    #[must_use]
    pub fn step(mut self, seen: &Seen<'_>) -> (Self, Option<Action>) {
        let Some(view) = seen.view(self.key) else {
            self.state = self.without(seen.route);
            return (self, None);
        };
        if let Some(held) = &seen.held {
            self.stay_held(held, seen.weight(view));
            return (self, None);
        }
        self.settle(view, seen);
        if let Some(Verdict::Fail(signal)) = seen.judged(&self).map(|judgement| judgement.verdict) {
            return self.roll_back(seen, JUDGE, &signal.blame());
        }
        if self.is_in_flight(seen) {
            return (self, None);
        }
        match due(&self, seen) {
            Due::Staged => self.state = State::Staged,
            Due::Waiting if self.stay.promoted => self.state = State::Watching,
            Due::Waiting if self.is_warm(seen) => self.state = State::Judging,
            Due::Waiting => self.state = State::Baking,
            Due::Held(hold) => self.state = State::Holding(hold),
            Due::Approval => self.state = State::AwaitingApproval,
            Due::RollBack => return self.roll_back(seen, JUDGE, "undecided at the end of the step"),
            Due::Raise(to) => self.advance(seen, to, JUDGE, "the plan"),
        }
        (self, None)
    }

    /// The file's route is not in this release; what that means is in the artefact's role.
    fn without(&self, route: &Route) -> State {
        match route.variants.iter().find(|v| v.artefact == self.artefact).map(|v| v.role) {
            Some(Role::Stable) => State::Promoted,
            Some(Role::Rejected) => State::RolledBack,
            Some(Role::Canary | Role::Previous | Role::Shadow) | None => State::Withdrawn,
        }
    }

    /// It gets nothing, whatever the file says.
    fn stay_held(&mut self, held: &Held<'_>, said: Weight) {
        let arrived = held.shown && said == Weight::ZERO;
        match &self.state {
            // A replayed old file does not make it less rolled back.
            State::RolledBack => {}
            State::RollingBack(_) if !arrived => {}
            _ if arrived => self.state = State::RolledBack,
            _ => self.state = State::RollingBack(Box::new(held.intent.clone())),
        }
    }

    /// Takes in what was delivered: another weight, or an artefact that was let in again, which starts another attempt.
    fn settle(&mut self, view: &ReleaseView, seen: &Seen<'_>) {
        let over = matches!(self.state, State::RollingBack(_) | State::RolledBack | State::Promoted);
        if over {
            self.attempt += 1;
            self.age = Spell::begin(seen.now);
        }
        let weight = seen.weight(view);
        let moved = (weight, view.promoted) != (self.stay.weight, self.stay.promoted);
        if !over && !moved && self.state != State::Withdrawn {
            return;
        }
        let evidence = seen.judged(self).map(|judgement| &judgement.evidence);
        self.stay = Stay {
            weight,
            promoted: view.promoted,
            spell: Spell::begin(seen.now),
            requests_at: evidence.map_or(0, |e| e.canary_requests),
            labels_at: evidence.map_or(0, |e| e.canary_labels),
        };
        self.refused = None;
        self.state = State::Baking;
    }

    /// Whether a raise is on its way and still makes sense.
    fn is_in_flight(&mut self, seen: &Seen<'_>) -> bool {
        let State::Advancing(intent, since) = &self.state else { return false };
        if intent.digest != seen.route.digest {
            return false;
        }
        if let Some(no @ (Outcome::TakenBack(_) | Outcome::Refused(_))) = seen.outcome {
            self.taken_back = Some(intent.digest);
            let asked = matches!(no, Outcome::Refused(_));
            self.refused = asked.then(|| Box::new(((**intent).clone(), no.clone())));
            return false;
        }
        let lost = match seen.outcome {
            None | Some(Outcome::Failing(_) | Outcome::Waiting(_)) if brake(self, seen).is_some() => return false,
            // Its delivery begins once people have merged it.
            Some(Outcome::Waiting(_)) => {
                self.state = State::Advancing(intent.clone(), seen.now);
                return true;
            }
            None | Some(Outcome::Failing(_)) => false,
            Some(Outcome::Committed(_) | Outcome::There(_)) => seen.now.since_ms(*since) >= DELIVERY_MS_MAX,
            Some(
                Outcome::Moved
                | Outcome::NotOurs
                | Outcome::TakenBack(_)
                | Outcome::Refused(_)
                | Outcome::Readmitted(_),
            ) => true,
        };
        if lost {
            self.behind = Some((intent.digest, seen.now));
        }
        !lost
    }

    fn is_warm(&self, seen: &Seen<'_>) -> bool {
        seen.judged(self).is_some_and(|judgement| seen.now.since_ms(judgement.since) >= seen.route.policy.warmup_ms)
    }

    fn advance(&mut self, seen: &Seen<'_>, to: Move, by: &str, reason: &str) {
        let intent = Intent::new(self, seen, to, by, reason);
        self.refused = None;
        self.state = State::Advancing(Box::new(intent), seen.now);
    }

    /// Clamps and rolls back; holds if nobody could take the traffic, because an outage by safety is worse.
    fn roll_back(mut self, seen: &Seen<'_>, by: &str, reason: &str) -> (Self, Option<Action>) {
        if !seen.heir {
            self.state = State::Holding(Hold::NoHeir);
            return (self, None);
        }
        let promoting = matches!(&self.state, State::Advancing(intent, _) if matches!(intent.to, Move::Promote { .. }));
        let to = Move::RollBack { promoted: self.stay.promoted || promoting, kind: seen.route.rollback.kind };
        let intent = Box::new(Intent::new(&self, seen, to, by, reason));
        self.state = State::RollingBack(intent.clone());
        (self, Some(Action::RollBack(intent)))
    }
}

#[cfg(test)]
pub(in crate::core) mod tests;
