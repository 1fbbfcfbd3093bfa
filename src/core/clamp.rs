//! Clamp and quarantine: ceilings of 0 on rejected artefacts, weights that a person set for a while, and what traffic gets.
//!
//! A clamp is an overlay on whatever file is delivered, so it survives unrelated commits, reloads and replayed old files.
//! It can only ever *lower* the artefact it is about. A weight set by hand is the one thing that may raise one, and a clamp
//! goes before it.

use super::{
    name::{Artefact, RouteName},
    split::Weight,
    variant::Role,
};
use std::collections::{BTreeMap, BTreeSet};

/// What goes before the file: the artefacts that get nothing, and those whose weight is set by hand.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Clamps {
    held: BTreeSet<(RouteName, Artefact)>,
    by_hand: BTreeMap<(RouteName, Artefact), Weight>,
}

impl Clamps {
    /// Puts a ceiling of 0 on `artefact` on `route`. Doing it twice is doing it once.
    pub fn hold(&mut self, route: &RouteName, artefact: &Artefact) {
        self.held.insert((route.clone(), artefact.clone()));
    }

    /// Gives `artefact` on `route` this weight while it is under release there.
    pub fn set(&mut self, route: &RouteName, artefact: &Artefact, weight: Weight) {
        self.by_hand.insert((route.clone(), artefact.clone()), weight);
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

    /// The weight that a person set for `artefact` on `route`.
    #[must_use]
    pub fn by_hand(&self, route: &RouteName, artefact: &Artefact) -> Option<Weight> {
        self.by_hand.get(&(route.clone(), artefact.clone())).copied()
    }

    /// Everything held, in order.
    pub fn iter(&self) -> impl Iterator<Item = &(RouteName, Artefact)> {
        self.held.iter()
    }
}

/// One variant's share before clamps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Its role in the file.
    pub role: Role,
    /// Its weight in the file.
    pub said: Weight,
    /// Whether it is held at 0.
    pub held: bool,
    /// The weight that a person set. Only the candidate of a release has one that counts.
    pub by_hand: Option<Weight>,
}

/// The weights that traffic really gets, in the order of the variants. What a held variant loses goes to stable, else to the
/// previous one. If both are held, nobody could take it: the clamps are refused (`None`) and the file's weights stay, because
/// an outage by safety is worse.
#[must_use]
pub fn effective(variants: &[Share]) -> Option<Vec<Weight>> {
    let freed = variants.iter().filter(|v| v.held).fold(Weight::ZERO, |sum, v| sum.plus(v.said));
    // Of several previous ones the one that has traffic: the others are older.
    // One without traffic may not be running any more.
    let taker = |role: Role| {
        let free = variants.iter().enumerate().filter(|(_, v)| v.role == role && !v.held);
        let alive = free.filter(|(_, v)| v.role == Role::Stable || v.said > Weight::ZERO);
        alive.max_by_key(|(_, v)| v.said).map(|(position, _)| position)
    };
    let (stable, previous) = (taker(Role::Stable), taker(Role::Previous));
    let heir = match freed {
        Weight::ZERO => None,
        _ => Some(stable.or(previous)?),
    };
    let clamped = variants.iter().enumerate().map(|(position, v)| match (v.held, heir) {
        (true, _) => Weight::ZERO,
        (false, Some(heir)) if heir == position => v.said.plus(freed),
        (false, _) => v.said,
    });
    let mut weights: Vec<Weight> = clamped.collect();
    let wished = variants.iter().enumerate().find_map(|(at, v)| Some((at, v.role, v.by_hand.filter(|_| !v.held)?)));
    if let Some((candidate, role, wish)) = wished
        && let Some(other) = if role == Role::Stable { previous } else { stable }
        && let Some(both) = weights.get(candidate).zip(weights.get(other)).map(|(a, b)| a.plus(*b))
    {
        // What is raised by hand is taken from the one it is compared with, and from nobody else.
        let given = wish.min(both);
        for (at, weight) in [(candidate, given), (other, both.minus(given))] {
            weights.get_mut(at).into_iter().for_each(|place| *place = weight);
        }
    }
    Some(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_share_goes_to_stable_then_to_previous_then_nowhere() {
        let w = |n| Weight::new(n).unwrap();
        let check = |variants: &[(Role, u16, bool)], wanted: Option<&[u16]>| {
            let share = |(role, said, held): &(Role, u16, bool)| Share {
                role: *role,
                said: w(*said),
                held: *held,
                by_hand: None,
            };
            let variants: Vec<_> = variants.iter().map(share).collect();
            let wanted = wanted.map(|list| list.iter().map(|n| w(*n)).collect::<Vec<_>>());
            assert_eq!(effective(&variants), wanted);
        };
        let (stable, canary, previous) = (Role::Stable, Role::Canary, Role::Previous);
        check(&[(stable, 9000, false), (canary, 1000, false)], Some(&[9000, 1000]));
        check(&[(stable, 9000, false), (canary, 1000, true)], Some(&[10_000, 0]));
        check(&[(stable, 9500, true), (previous, 500, false)], Some(&[0, 10_000]));
        check(&[(stable, 9000, true), (canary, 1000, true)], None);
        check(&[(stable, 10_000, false), (canary, 0, true)], Some(&[10_000, 0]));
        // Stable is there even without traffic; a previous one without any may not run any more.
        check(&[(stable, 0, false), (canary, 10_000, true)], Some(&[10_000, 0]));
        check(&[(stable, 10_000, true), (previous, 0, false)], None);
    }

    #[test]
    fn an_artefact_is_held_on_its_route_until_it_is_lifted() {
        let [digits, faces] = ["digits", "faces"].map(|name| RouteName::new(name).unwrap());
        let (bad, good) = (Artefact::new("m/2@2"), Artefact::new("m/1@1"));
        let mut clamps = Clamps::default();
        clamps.hold(&digits, &bad);
        clamps.hold(&digits, &bad);
        assert!(clamps.holds(&digits, &bad) && !clamps.holds(&faces, &bad) && !clamps.holds(&digits, &good));
        assert_eq!(clamps.iter().count(), 1);
        clamps.set(&digits, &good, Weight::FULL);
        assert_eq!(clamps.by_hand(&digits, &good), Some(Weight::FULL));
        assert_eq!((clamps.by_hand(&faces, &good), clamps.by_hand(&digits, &bad)), (None, None));
        clamps.lift(&digits, &bad);
        assert!(!clamps.holds(&digits, &bad) && clamps.by_hand(&digits, &good).is_some());
    }

    #[test]
    fn a_weight_set_by_hand_is_shared_with_the_reference_and_never_goes_before_a_clamp() {
        let w = |n| Weight::new(n).unwrap();
        let check = |candidate: Role, held: bool, wish: u16, wanted: [u16; 3]| {
            let other = if candidate == Role::Canary { Role::Stable } else { Role::Previous };
            let share = |role, said, held, by_hand| Share { role, said: w(said), held, by_hand };
            let variants = [
                share(other, 8000, false, None),
                share(candidate, 1000, held, Some(w(wish))),
                share(Role::Rejected, 1000, false, None),
            ];
            assert_eq!(effective(&variants), Some(wanted.map(w).to_vec()));
        };
        check(Role::Canary, false, 5000, [4000, 5000, 1000]);
        check(Role::Canary, false, 10_000, [0, 9000, 1000]);
        check(Role::Canary, false, 0, [9000, 0, 1000]);
        check(Role::Canary, true, 5000, [9000, 0, 1000]);
        check(Role::Stable, false, 5000, [4000, 5000, 1000]);
        check(Role::Stable, true, 5000, [9000, 0, 1000]);
        // It must not take anything from nobody: with stable held there is no one to share with.
        let share = |role, said, held, by_hand| Share { role, said: w(said), held, by_hand };
        let alone = [share(Role::Stable, 0, true, None), share(Role::Canary, 10_000, false, Some(w(1000)))];
        assert_eq!(effective(&alone), Some(vec![w(0), w(10_000)]));
    }
}
