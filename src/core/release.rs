//! A release: the attempts to move a route to a new artefact. All of its control flow is [`Release::step`].
//!
//! How far a release has come is what the delivered file says; a state adds only what the file cannot say. Down is a clamp
//! first and a commit after. Up is a commit, and counts once it is delivered. Rollback wins from every state.

mod due;
pub mod intent;
pub mod ledger;
pub mod quarantine;

use super::{
    command::{Command, Order, Refused},
    judge::{Judgement, Verdict},
    name::{Artefact, ReleaseKey},
    now::Now,
    route::{ReleaseView, Route},
    split::Weight,
    variant::Role,
};
use due::{Due, due};
use intent::{Intent, Move, Outcome};

pub use due::Hold;

/// A raise that turned out to rest on another file than the branch has is decided again after so long.
const AGAIN_AFTER_MS: u64 = 30_000;

/// What is true while the candidate stays at one weight.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Stay {
    /// The candidate's weight in the delivered file.
    pub weight: Weight,
    /// Whether it has been promoted.
    pub promoted: bool,
    /// Since when, in this process.
    pub since: Now,
    /// Time spent at this weight in earlier processes, milliseconds.
    pub before_ms: u64,
    /// Canary requests that had been judged when it began.
    pub requests_at: u64,
    /// Canary labels that had been judged when it began.
    pub labels_at: u64,
}

impl Stay {
    /// Time at this weight, milliseconds.
    #[must_use]
    pub fn elapsed_ms(&self, now: Now) -> u64 {
        self.before_ms + now.since_ms(self.since)
    }
}

/// What the file cannot say.
#[derive(Clone, PartialEq, Debug)]
pub enum State {
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
}

/// One release of one route.
#[derive(Clone, PartialEq, Debug)]
pub struct Release {
    /// Its identity.
    pub key: ReleaseKey,
    /// What is under release.
    pub artefact: Artefact,
    /// Which attempt: a rejected artefact that a person lets in again starts another.
    pub attempt: u32,
    /// Who paused it.
    pub paused_by: Option<Box<str>>,
    /// The weight it is at.
    pub stay: Stay,
    /// Where it stands.
    pub state: State,
}

/// The world as a step sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The route as delivered.
    pub route: &'a Route,
    /// What the judge last said of the route.
    pub judgement: Option<&'a Judgement>,
    /// Whether the artefact is held at 0.
    pub held: bool,
    /// What became of the intent in flight.
    pub outcome: Option<&'a Outcome>,
    /// Whether there is a branch to commit to.
    pub git: bool,
    /// The present.
    pub now: Now,
}

/// What a step asks the control loop for. Doing it twice is doing it once.
#[derive(Clone, PartialEq, Debug)]
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
}

impl Release {
    /// A release that has just been delivered; `None` if the route is in none.
    #[must_use]
    pub fn begin(route: &Route, now: Now) -> Option<Self> {
        let view = route.release.as_ref()?;
        let candidate = route.variant(view.candidate)?;
        let stay = Stay { weight: candidate.said, promoted: view.promoted, since: now, ..Stay::default() };
        let state = if view.promoted { State::Watching } else { State::Baking };
        Some(Self { key: view.key, artefact: candidate.artefact.clone(), attempt: 1, paused_by: None, stay, state })
    }

    /// The next state of the release, and what is to be done about it.
    #[must_use]
    pub fn step(mut self, seen: &Seen<'_>) -> (Self, Option<Action>) {
        let Some(view) = seen.view(self.key) else {
            self.end(seen.route);
            return (self, None);
        };
        let down = matches!(self.state, State::RollingBack(_) | State::RolledBack);
        if seen.held {
            self.state = if down { self.state } else { State::RolledBack };
            return (self, None);
        }
        if down {
            self.attempt += 1;
            self.arrive(view, seen);
        }
        let weight = seen.route.variant(view.candidate).map_or(Weight::ZERO, |v| v.said);
        if (weight, view.promoted) != (self.stay.weight, self.stay.promoted) || self.state == State::Promoted {
            self.arrive(view, seen);
        }
        let judged = seen.judged(&self);
        if let Some(judgement) = judged
            && let Verdict::Fail(signal) = judgement.verdict
        {
            let reason = format!("worse in {}", signal.as_str());
            return self.roll_back(seen, "judge", &reason);
        }
        if let State::Advancing(intent, since) = &self.state {
            // The route was changed by somebody else, or the branch was another than we judged: decide again.
            let late = matches!(seen.outcome, Some(Outcome::Moved)) && seen.now.since_ms(*since) >= AGAIN_AFTER_MS;
            if intent.digest == seen.route.digest && !late {
                return (self, None);
            }
        }
        match due(&self, seen) {
            Due::Waiting if self.stay.promoted => self.state = State::Watching,
            Due::Waiting => {
                let warm = judged.is_some_and(|j| seen.now.since_ms(j.since) >= seen.route.policy.warmup_ms);
                self.state = if warm { State::Judging } else { State::Baking };
            }
            Due::Held(hold) => self.state = State::Holding(hold),
            Due::Approval => self.state = State::AwaitingApproval,
            Due::RollBack => return self.roll_back(seen, "judge", "undecided at the end of the step"),
            Due::Raise(to) => {
                let intent = Intent::new(&self, seen, to, "judge", "the plan");
                self.state = State::Advancing(Box::new(intent), seen.now);
            }
        }
        (self, None)
    }

    /// Carries out a person's order; what was done, in words.
    ///
    /// # Errors
    /// [`Refused`] if it does not fit; nothing has then changed.
    pub fn obey(mut self, order: &Order, seen: &Seen<'_>) -> Result<(Self, Option<Action>, String), Refused> {
        let not_now = |text: &str| Err(Refused::NotNow(text.into()));
        if matches!(self.state, State::RolledBack | State::Promoted) || seen.view(self.key).is_none() {
            return Err(Refused::NoRelease(seen.route.name.clone()));
        }
        let rolling_back = matches!(self.state, State::RollingBack(_));
        match order.command {
            Command::Pause => {
                self.paused_by = Some(order.by.clone());
                if matches!(self.state, State::Advancing(..)) && seen.outcome.is_none() {
                    self.state = State::Judging;
                }
                Ok((self, None, "paused: no raises until resumed; a worse canary is still rolled back".into()))
            }
            Command::Resume if self.paused_by.is_none() => not_now("it is not paused"),
            Command::Resume => {
                self.paused_by = None;
                Ok((self, None, "resumed".into()))
            }
            Command::Rollback if rolling_back => not_now("it is being rolled back already"),
            Command::Rollback => {
                let (this, action) = self.roll_back(seen, &order.by, &order.reason);
                Ok((this, action, "clamped to 0; the rollback is committed next".into()))
            }
            Command::Promote { .. } if rolling_back => not_now("it is being rolled back"),
            Command::Promote { override_judge } => {
                let to = due::asked(&self, seen, override_judge).map_err(|why| Refused::NotNow(why.into()))?;
                let words = format!("{} is committed next; it counts once it is delivered", to.words());
                let intent = Intent::new(&self, seen, to, &order.by, &order.reason);
                self.state = State::Advancing(Box::new(intent), seen.now);
                Ok((self, None, words))
            }
        }
    }

    fn roll_back(mut self, seen: &Seen<'_>, by: &str, reason: &str) -> (Self, Option<Action>) {
        let promoting = matches!(&self.state, State::Advancing(intent, _) if matches!(intent.to, Move::Promote { .. }));
        let to = Move::RollBack { promoted: self.stay.promoted || promoting, kind: seen.route.rollback.kind };
        let intent = Box::new(Intent::new(&self, seen, to, by, reason));
        self.state = State::RollingBack(intent.clone());
        (self, Some(Action::RollBack(intent)))
    }

    /// Another weight was delivered, or the artefact was let in again.
    fn arrive(&mut self, view: &ReleaseView, seen: &Seen<'_>) {
        let evidence = seen.judged(self).map(|judgement| &judgement.evidence);
        self.stay = Stay {
            weight: seen.route.variant(view.candidate).map_or(Weight::ZERO, |v| v.said),
            promoted: view.promoted,
            since: seen.now,
            before_ms: 0,
            requests_at: evidence.map_or(0, |e| e.canary_requests),
            labels_at: evidence.map_or(0, |e| e.canary_labels),
        };
        self.state = if view.promoted { State::Watching } else { State::Baking };
    }

    /// The file says that the release is over; how, is in the artefact's role.
    fn end(&mut self, route: &Route) {
        let role = route.variants.iter().find(|v| v.artefact == self.artefact).map(|v| v.role);
        self.state = if role == Some(Role::Stable) { State::Promoted } else { State::RolledBack };
    }
}

impl State {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Baking => "baking",
            Self::Judging => "judging",
            Self::Holding(_) => "holding",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Advancing(..) => "advancing",
            Self::Watching => "watching",
            Self::RollingBack(_) => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Promoted => "promoted",
        }
    }

    /// Every word that [`Self::as_str`] gives.
    pub const ALL: [&'static str; 9] = [
        "baking",
        "judging",
        "holding",
        "awaiting_approval",
        "advancing",
        "watching",
        "rolling_back",
        "rolled_back",
        "promoted",
    ];

    /// The intent that the branch should take.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        match self {
            Self::Advancing(intent, _) | Self::RollingBack(intent) => Some(intent),
            Self::Baking
            | Self::Judging
            | Self::Holding(_)
            | Self::AwaitingApproval
            | Self::Watching
            | Self::RolledBack
            | Self::Promoted => None,
        }
    }
}
