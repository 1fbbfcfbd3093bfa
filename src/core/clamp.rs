//! Clamp and quarantine: ceilings of 0 on rejected artefacts, and the weights that remain.
//!
//! A clamp is an overlay on whatever file is delivered, so it survives unrelated commits, reloads and replayed old files.
//! It can only ever *lower* the artefact it is about.

use super::{
    name::{Artefact, RouteName},
    split::Weight,
    variant::Role,
};
use std::collections::BTreeSet;

/// The artefacts that get nothing, whatever the file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Clamps {
    held: BTreeSet<(RouteName, Artefact)>,
}

impl Clamps {
    /// Puts a ceiling of 0 on `artefact` on `route`. Doing it twice is doing it once.
    pub fn hold(&mut self, route: &RouteName, artefact: &Artefact) {
        self.held.insert((route.clone(), artefact.clone()));
    }

    /// Takes the ceiling away.
    pub fn lift(&mut self, route: &RouteName, artefact: &Artefact) {
        self.held.remove(&(route.clone(), artefact.clone()));
    }

    /// Whether `artefact` is held at 0 on `route`.
    #[must_use]
    pub fn holds(&self, route: &RouteName, artefact: &Artefact) -> bool {
        self.held.contains(&(route.clone(), artefact.clone()))
    }

    /// Everything held, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(RouteName, Artefact)> {
        self.held.iter()
    }
}

/// The weights that traffic really gets: `(role, said weight, held at 0)` of each variant in, weights in the same order out.
/// What a held variant loses goes to stable, else to the previous one. If both are held, nobody could take it: the clamps
/// are refused (`None`) and the file's weights stay, because an outage by safety is worse.
#[must_use]
pub fn effective(variants: &[(Role, Weight, bool)]) -> Option<Vec<Weight>> {
    let freed = variants.iter().filter(|(.., held)| *held).fold(Weight::ZERO, |sum, (_, said, _)| sum.plus(*said));
    // Of several previous ones the one that has traffic: the others are older.
    let taker = |role: Role| {
        let free = variants.iter().enumerate().filter(|(_, (r, _, held))| *r == role && !held);
        free.max_by_key(|(_, (_, said, _))| *said).map(|(position, _)| position)
    };
    let taker = match freed {
        Weight::ZERO => None,
        _ => Some(taker(Role::Stable).or_else(|| taker(Role::Previous))?),
    };
    let weight = |(position, (_, said, held)): (usize, &(Role, Weight, bool))| match (held, taker) {
        (true, _) => Weight::ZERO,
        (false, Some(taker)) if taker == position => said.plus(freed),
        (false, _) => *said,
    };
    Some(variants.iter().enumerate().map(weight).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_share_goes_to_stable_then_to_previous_then_nowhere() {
        let w = |n| Weight::new(n).unwrap();
        let check = |variants: &[(Role, u16, bool)], wanted: Option<&[u16]>| {
            let variants: Vec<_> = variants.iter().map(|(r, n, h)| (*r, w(*n), *h)).collect();
            let wanted = wanted.map(|list| list.iter().map(|n| w(*n)).collect::<Vec<_>>());
            assert_eq!(effective(&variants), wanted);
        };
        let (stable, canary, previous) = (Role::Stable, Role::Canary, Role::Previous);
        check(&[(stable, 9000, false), (canary, 1000, false)], Some(&[9000, 1000]));
        check(&[(stable, 9000, false), (canary, 1000, true)], Some(&[10_000, 0]));
        check(&[(stable, 9500, true), (previous, 500, false)], Some(&[0, 10_000]));
        check(&[(stable, 9000, true), (canary, 1000, true)], None);
        check(&[(stable, 10_000, false), (canary, 0, true)], Some(&[10_000, 0]));
    }
}
