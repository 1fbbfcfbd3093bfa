//! What was rejected stays at 0 until a person decides otherwise, after us and on the branch.
//!
//! An entry costs nothing while the file says 0. It must not be dropped when the rollback has been delivered: a replayed old
//! file would serve the rejected artefact again. Where Git can be read, only a commit after ours lifts it.

use super::intent::{Intent, Outcome};
use crate::core::{route::Route, split::Weight, variant::Role};

/// Entries that are kept for one route; the oldest give way.
pub const ENTRIES_MAX: usize = 20;

/// A rejected artefact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The rollback that rejected it.
    pub intent: Intent,
    /// The last commit at which the branch was seen to show it at 0.
    pub shown: Option<Box<str>>,
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
    /// What to do, given the route as delivered and what is known of the branch.
    #[must_use]
    pub fn next(&self, route: Option<&Route>, outcome: Option<&Outcome>, git: bool) -> Next {
        let variant = route.and_then(|route| route.variants.iter().find(|v| v.artefact == self.intent.artefact));
        let wanted = variant.is_some_and(|v| v.said > Weight::ZERO);
        let stable = variant.is_some_and(|v| v.role == Role::Stable);
        match (git, outcome) {
            // Nothing to read but the file: other words that still want it are a newer decision.
            (false, _) if wanted && route.is_some_and(|route| route.digest != self.intent.digest) => Next::Lift,
            (false, _) => Next::Rest,
            (true, Some(Outcome::Readmitted)) if wanted => Next::Lift,
            (true, Some(Outcome::NotOurs)) if wanted && stable => Next::Lift,
            (true, _) if self.shown.is_none() => Next::Commit,
            (true, _) if wanted => Next::Ask,
            (true, _) => Next::Rest,
        }
    }
}
