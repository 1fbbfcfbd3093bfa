//! What a person may ask of the releases.

use super::{
    name::{Generation, RouteName, VariantName},
    split::Weight,
};

/// Longest time for which a weight may be set by hand, milliseconds: a commit is the way to stay longer.
pub const BY_HAND_MS_MAX: u64 = 24 * 3600 * 1000;

/// An order from a person. Safety still acts on its own, whatever is paused or frozen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// No raises on any route until `Unfreeze`. A worse canary is still rolled back.
    Freeze,
    /// End a freeze.
    Unfreeze,
    /// About the release of one route.
    Route(RouteName, Wish),
}

/// What may be asked of one release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Take the step that waits for a person's yes.
    Approve,
    /// Take the next step of the plan now, whether or not it is due; past the last step: promote.
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
    /// The candidate gets this weight for a while, whatever the file says. The only way above the delivered weight.
    SetWeight {
        /// The weight.
        weight: Weight,
        /// For how long, milliseconds, at most [`BY_HAND_MS_MAX`].
        for_ms: u64,
    },
    /// The file's weight again.
    ClearWeight,
    /// Let a rejected variant in again, by a commit.
    Readmit(VariantName),
}

impl Command {
    /// The word in the API, in messages and in trailers.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Freeze => "freeze",
            Self::Unfreeze => "unfreeze",
            Self::Route(_, wish) => wish.as_str(),
        }
    }

    /// The route it is about; `None`: all of them.
    #[must_use]
    pub fn route(&self) -> Option<&RouteName> {
        match self {
            Self::Freeze | Self::Unfreeze => None,
            Self::Route(route, _) => Some(route),
        }
    }
}

impl Wish {
    /// The word in the API, in messages and in trailers.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Promote { .. } => "promote",
            Self::Rollback => "rollback",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SetWeight { .. } => "set_weight",
            Self::ClearWeight => "clear_weight",
            Self::Readmit(_) => "readmit",
        }
    }
}

/// A command with who gave it, why, and the world it was given in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// What to do, and to what.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_says_its_word_and_the_route_it_is_about() {
        let digits = RouteName::new("digits").unwrap();
        let about = |wish| Command::Route(digits.clone(), wish);
        for (command, word) in [
            (Command::Freeze, "freeze"),
            (Command::Unfreeze, "unfreeze"),
            (about(Wish::Approve), "approve"),
            (about(Wish::Promote { override_judge: true }), "promote"),
            (about(Wish::Rollback), "rollback"),
            (about(Wish::Pause), "pause"),
            (about(Wish::Resume), "resume"),
            (about(Wish::SetWeight { weight: Weight::ZERO, for_ms: 1 }), "set_weight"),
            (about(Wish::ClearWeight), "clear_weight"),
            (about(Wish::Readmit(VariantName::new("v2").unwrap())), "readmit"),
        ] {
            assert_eq!(command.as_str(), word);
            let route = if matches!(command, Command::Route(..)) { Some(&digits) } else { None };
            assert_eq!(command.route(), route, "{word}");
        }
        assert_eq!(BY_HAND_MS_MAX, 86_400_000, "a day");
    }
}
