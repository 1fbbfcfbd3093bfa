//! What a person may ask of a release.

use super::name::{Generation, RouteName};

/// An order from a person. Safety still acts on its own, whatever is paused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Take the next step of the plan now, or approve the one that waits for approval; past the last step: promote.
    Promote {
        /// Also against a judge that has not passed the canary.
        override_judge: bool,
    },
    /// Clamp now, commit after.
    Rollback,
    /// No raises until `Resume`.
    Pause,
    /// End a pause.
    Resume,
}

impl Command {
    /// The word in the API, in messages and in trailers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote { .. } => "promote",
            Self::Rollback => "rollback",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// A command with who gave it, why, and the world it was given in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// The route it is about.
    pub route: RouteName,
    /// What to do.
    pub command: Command,
    /// Who asked: lands in the commit's `Coalmine-Requested-By` trailer.
    pub by: Box<str>,
    /// Why, in the person's words.
    pub reason: Box<str>,
    /// The generation the person was looking at; an order from an older world is refused.
    pub generation: Option<Generation>,
}

/// Why an order was not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// No such route.
    #[error("there is no route `{0}`")]
    NoRoute(Box<str>),
    /// The route is in no release.
    #[error("route `{0}` has no release in progress; commit a variant with `role: canary` first")]
    NoRelease(RouteName),
    /// The caller saw an older generation.
    #[error("generation {seen} is stale, {now} is in force; look again and repeat the command")]
    Stale {
        /// What the caller saw.
        seen: Generation,
        /// What is true.
        now: Generation,
    },
    /// The release's state does not allow it.
    #[error("{0}")]
    NotNow(Box<str>),
}
