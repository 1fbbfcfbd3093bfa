//! Conditions that a person should know of. They are no states: several may hold at once, in any state.

use super::{DELIVERY_MS_MAX, Release, intent::Outcome, ledger::World, quarantine::Entry};
use crate::core::{route::Route, split::Weight};

/// Something is wrong, or not as it should stay.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Alert {
    /// A commit does not reach the branch.
    WriteBlocked,
    /// A clamp is older than the slowest delivery and the file does not say so yet.
    ClampStale,
    /// The file gives weight to what the branch has shown at 0: an old one, or a newer one that nobody has asked about yet.
    DeliveryStale,
    /// A person made it stable while it was being rejected, or refused the rollback; they decide.
    Diverged,
    /// It should get nothing, and nobody could take its traffic.
    NoHeir,
    /// The release has passed its deadline.
    Overdue,
    /// Its weight is set by hand.
    ByHand,
}

impl Alert {
    /// Every alert.
    pub const ALL: [Self; 7] = [
        Self::WriteBlocked,
        Self::ClampStale,
        Self::DeliveryStale,
        Self::Diverged,
        Self::NoHeir,
        Self::Overdue,
        Self::ByHand,
    ];

    /// The word in metrics and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WriteBlocked => "write_blocked",
            Self::ClampStale => "clamp_stale",
            Self::DeliveryStale => "delivery_stale",
            Self::Diverged => "diverged",
            Self::NoHeir => "no_heir",
            Self::Overdue => "overdue",
            Self::ByHand => "by_hand",
        }
    }
}

/// What is wrong with a release.
pub(super) fn of_release(release: &Release, route: &Route, world: &World<'_>) -> Vec<Alert> {
    let deadline = route.plan.as_ref().and_then(|plan| plan.deadline);
    let overdue = |age_ms: u64| deadline.is_some_and(|deadline| u128::from(age_ms) >= deadline.as_millis());
    let outcome = release.state.raise().and_then(|intent| world.outcomes.get(&intent.id()));
    let conditions = [
        (Alert::WriteBlocked, matches!(outcome, Some(Outcome::Failing(_)))),
        (Alert::NoHeir, release.state == super::State::Holding(super::Hold::NoHeir)),
        (Alert::Overdue, !release.state.is_over() && overdue(release.age.elapsed_ms(world.now))),
    ];
    conditions.into_iter().filter_map(|(alert, holds)| holds.then_some(alert)).collect()
}

/// What is wrong with something rejected.
pub(super) fn of_entry(entry: &Entry, route: Option<&Route>, world: &World<'_>) -> Vec<Alert> {
    let variant = route.and_then(|route| route.variants.iter().find(|v| v.artefact == entry.intent.artefact));
    let said = variant.is_some_and(|v| v.said > Weight::ZERO);
    let served = variant.is_some_and(|v| v.effective > Weight::ZERO);
    let of = |intent: &super::Intent| world.outcomes.get(&intent.id());
    let failing = |intent| matches!(of(intent), Some(Outcome::Failing(_)));
    let old = world.now.wall_ms.saturating_sub(entry.intent.window_ms[1]) >= DELIVERY_MS_MAX;
    let conditions = [
        (Alert::WriteBlocked, failing(&entry.intent) || entry.readmit.as_ref().is_some_and(failing)),
        (Alert::ClampStale, old && said && !entry.diverged),
        (Alert::DeliveryStale, said && entry.shown.is_some()),
        (Alert::Diverged, entry.diverged),
        (Alert::NoHeir, served),
    ];
    conditions.into_iter().filter_map(|(alert, holds)| holds.then_some(alert)).collect()
}
