//! What was rejected stays at 0 until a person decides otherwise, after us and on the branch.
//!
//! An entry costs nothing while the file says 0. It must not be dropped when the rollback has been delivered: a replayed old
//! file would serve the rejected artefact again. Where Git can be read, only a commit after ours lifts it.

use super::intent::{Intent, Move, Outcome};
use crate::core::{now::Now, plan::RollbackKind, route::Route, split::Weight, variant::Variant};

/// Entries that are kept for one route; the oldest give way.
pub const ENTRIES_MAX: usize = 20;

/// A rejected artefact.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The rollback that rejected it.
    pub intent: Intent,
    /// The last commit at which the branch was seen to have the rollback.
    pub shown: Option<Box<str>>,
    /// Known only from a file that says so: another replica rejected it, or a person, or our state was lost. Nothing is
    /// committed on the word of a file alone, which may be an old one.
    pub learned: bool,
    /// A person made it stable while we rejected it, or refused the rollback. Which of the two holds is theirs to say, by
    /// `readmit`; that another replica went on from there is no answer.
    pub diverged: bool,
    /// A person's order to let it in again, until the branch says so.
    pub readmit: Option<Intent>,
}

/// What an entry asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Nothing.
    Rest,
    /// The branch must show the rollback.
    Commit,
    /// A file gives it weight although the branch has shown 0: replayed, or a newer decision? The branch knows.
    Ask,
    /// A person let it in again.
    Lift,
}

impl Entry {
    /// What was rejected by `intent` just now.
    #[must_use]
    pub fn new(intent: Intent) -> Self {
        Self { intent, shown: None, learned: false, diverged: false, readmit: None }
    }

    /// What a file says is rejected.
    #[must_use]
    pub fn learn(route: &Route, variant: &Variant, now: Now) -> Self {
        let intent = Intent {
            route: route.name.clone(),
            artefact: variant.artefact.clone(),
            attempt: 1,
            to: Move::RollBack { promoted: false, kind: RollbackKind::Weights },
            set: Box::default(),
            digest: route.digest,
            by: "the routes file".into(),
            reason: "the routes file says that it is rejected".into(),
            verdict: "none".into(),
            numbers: "".into(),
            evidence: "".into(),
            window_ms: [now.wall_ms; 2],
        };
        Self { learned: true, ..Self::new(intent) }
    }

    /// What to do, given the route as delivered and what is known of the branch.
    #[must_use]
    pub fn next(&self, route: Option<&Route>, outcome: Option<&Outcome>, git: bool) -> Next {
        let variant = route.and_then(|route| route.variants.iter().find(|v| v.artefact == self.intent.artefact));
        let wanted = variant.is_some_and(|v| v.said > Weight::ZERO);
        match (git, outcome) {
            // Nothing to read but the file: other words that still want it are a newer decision.
            (false, _) if wanted && route.is_some_and(|route| route.digest != self.intent.digest) => Next::Lift,
            (false, _) => Next::Rest,
            (true, Some(Outcome::Readmitted(_))) if wanted => Next::Lift,
            (true, _) if self.shown.is_none() => Next::Commit,
            (true, _) if wanted => Next::Ask,
            (true, _) => Next::Rest,
        }
    }

    /// Takes in what the branch was found to say; whether it shows the rollback now and did not before.
    pub fn hear(&mut self, outcome: Option<&Outcome>) -> bool {
        match outcome {
            Some(Outcome::Committed(commit) | Outcome::There(commit)) if self.shown.as_ref() != Some(commit) => {
                self.shown = Some(commit.clone());
                self.diverged = false;
                true
            }
            // Ours is behind that commit. If the file that comes has no weight for it all the same, there is nothing to commit,
            // and the branch is asked afresh when one has.
            Some(Outcome::Readmitted(commit)) if self.shown.is_none() => {
                self.shown = Some(commit.clone());
                false
            }
            Some(Outcome::NotOurs | Outcome::Refused(_)) => {
                self.diverged = true;
                false
            }
            // They are asked once more.
            Some(Outcome::Waiting(_)) => {
                self.diverged = false;
                false
            }
            Some(
                Outcome::Committed(_)
                | Outcome::There(_)
                | Outcome::Moved
                | Outcome::TakenBack(_)
                | Outcome::Readmitted(_)
                | Outcome::Failing(_),
            )
            | None => false,
        }
    }
}
