//! The plan of a release: the ordered weights, what each step asks for, and what follows promotion.

use super::split::Weight;
use std::time::Duration;

/// The ordered weights of a release.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Steps with strictly rising weights.
    pub steps: Vec<Step>,
    /// What happens after promotion.
    pub watch: Watch,
    /// The whole release should be over by then; only alerts.
    pub deadline: Option<Duration>,
}

/// One step of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The canary's weight.
    pub weight: Weight,
    /// Least time at this weight.
    pub hold: Duration,
    /// Least canary requests at this weight.
    pub requests: u64,
    /// Least canary labels at this weight.
    pub labels: u64,
    /// A person must say yes before this step is taken.
    pub approve: bool,
}

/// The time after promotion, in which a late regression still rolls back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// How long the old model is kept; zero: not at all.
    pub hold: Duration,
    /// The share it keeps as a control.
    pub holdback: Weight,
}

/// What a rollback commit edits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RollbackKind {
    /// Weight and role of the variants involved.
    #[default]
    Weights,
}
