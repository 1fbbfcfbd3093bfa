//! The words for a state, and what it holds.

use super::{Intent, State};

impl State {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Baking => "baking",
            Self::Judging => "judging",
            Self::Holding(_) => "holding",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Advancing(..) => "advancing",
            Self::Watching => "watching",
            Self::RollingBack(_) => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Promoted => "promoted",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Every word that [`Self::as_str`] gives.
    pub const ALL: [&'static str; 11] = [
        "staged",
        "baking",
        "judging",
        "holding",
        "awaiting_approval",
        "advancing",
        "watching",
        "rolling_back",
        "rolled_back",
        "promoted",
        "withdrawn",
    ];

    /// Whether nothing more comes of it unless a person commits something.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self {
            Self::RolledBack | Self::Promoted | Self::Withdrawn => true,
            Self::Staged
            | Self::Baking
            | Self::Judging
            | Self::Holding(_)
            | Self::AwaitingApproval
            | Self::Advancing(..)
            | Self::Watching
            | Self::RollingBack(_) => false,
        }
    }

    /// The raise that the branch should take.
    #[must_use]
    pub fn raise(&self) -> Option<&Intent> {
        match self {
            Self::Advancing(intent, _) => Some(intent),
            Self::Staged
            | Self::Baking
            | Self::Judging
            | Self::Holding(_)
            | Self::AwaitingApproval
            | Self::Watching
            | Self::RollingBack(_)
            | Self::RolledBack
            | Self::Promoted
            | Self::Withdrawn => None,
        }
    }

    /// The intent that the branch should take, up or down.
    #[must_use]
    pub fn intent(&self) -> Option<&Intent> {
        match self {
            Self::RollingBack(intent) => Some(intent),
            other => other.raise(),
        }
    }
}
