//! Edits: the result says exactly what was asked for and nothing else, and every byte outside of the edited scalars stays.

use coalmine::{
    config::{
        self,
        edit::{EditError, edit},
    },
    core::{clamp::Clamps, release::intent::Change, route::Route, snapshot::Snapshot, split::Weight, variant::Role},
};

/// The input is the text of a routes file, plain or in a ConfigMap.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((before, _)) = config::read(text, &Clamps::default()) else { return };
    for route in before.routes.iter().take(4) {
        let now = as_it_is(route);
        let Some(rewritten) = edited(text, &before, route, &now) else { continue };
        assert_eq!(edited(&rewritten, &before, route, &now).as_ref(), Some(&rewritten), "the edit is not idempotent");
        same_around(text, &rewritten);
        for wanted in [all_to_stable(route), swapped(route)] {
            let Some(there) = edited(text, &before, route, &wanted) else { continue };
            same_around(text, &there);
            // There and back: whatever else had changed would still be changed.
            let after = config::read(&there, &Clamps::default()).expect("an edit leaves a good file").0;
            let back = edit(&there, route.name.as_str(), &now).expect("an edit can be undone");
            assert_eq!(back, rewritten, "an edit touched more than its scalars");
            drop(after);
        }
    }
}

/// The edited text, whose meaning was compared; `None` where editing in place is refused.
fn edited(text: &str, before: &Snapshot, route: &Route, wanted: &[Change]) -> Option<String> {
    let result = match edit(text, route.name.as_str(), wanted) {
        Ok(result) => result,
        // A flow of scalars that has no place of its own, or an intent that is no valid file (a second canary).
        Err(EditError::NoPlace(_) | EditError::Invalid(_)) => return None,
        Err(EditError::Unsound) => panic!("the splice went wrong and was only caught by the last check"),
    };
    let after = config::read(&result, &Clamps::default()).expect("an edit leaves a good file").0;
    assert_eq!(after.routes.len(), before.routes.len());
    for (was, is) in before.routes.iter().zip(&after.routes) {
        if was.name != route.name {
            assert_eq!(was, is, "another route changed");
            continue;
        }
        let kept = |r: &Route| {
            (r.matches.clone(), r.protocol.clone(), r.sticky.clone(), r.pin, r.timeouts, r.limits, r.fallback.clone())
        };
        assert_eq!(kept(was), kept(is));
        assert_eq!((&was.plan, &was.policy, &was.rollback), (&is.plan, &is.policy, &is.rollback));
        assert_eq!(was.variants.len(), is.variants.len());
        for (was, is) in was.variants.iter().zip(&is.variants) {
            assert_eq!((&was.name, &was.backend, &was.model), (&is.name, &is.backend, &is.model));
            let asked =
                wanted.iter().find(|change| change.variant == was.name).map(|change| (change.weight, change.role));
            assert_eq!((is.said, is.role), asked.unwrap_or((was.said, was.role)), "{}", was.name);
        }
    }
    Some(result)
}

/// What an edit may put in is short: all bytes it did not put in stood there before, in the same order.
fn same_around(old: &str, new: &str) {
    let prefix = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    let suffix = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
    let suffix = suffix.min(old.len().min(new.len()) - prefix);
    let comments = |text: &str| text.matches('#').count();
    let middle = |text: &str| text.as_bytes()[prefix..text.len() - suffix].to_vec();
    let [from, to] = [old, new].map(|text| String::from_utf8_lossy(&middle(text)).into_owned());
    // A quoted scalar may hold a `#`; it can only get lost, never appear.
    assert!(comments(&to) <= comments(&from), "{from:?} became {to:?}");
    assert!(to.lines().count() <= from.lines().count().max(1), "{from:?} became {to:?}");
}

fn as_it_is(route: &Route) -> Vec<Change> {
    let change =
        |v: &coalmine::core::variant::Variant| Change { variant: v.name.clone(), weight: v.said, role: v.role };
    route.variants.iter().map(change).collect()
}

/// What a rollback writes.
fn all_to_stable(route: &Route) -> Vec<Change> {
    let mut wanted = as_it_is(route);
    for change in &mut wanted {
        change.weight = if change.role == Role::Stable { Weight::FULL } else { Weight::ZERO };
        change.role = if change.role == Role::Canary { Role::Rejected } else { change.role };
    }
    wanted
}

/// What a promotion writes.
fn swapped(route: &Route) -> Vec<Change> {
    let mut wanted = all_to_stable(route);
    for change in &mut wanted {
        (change.role, change.weight) = match change.role {
            Role::Rejected => (Role::Stable, Weight::FULL),
            Role::Stable => (Role::Previous, Weight::ZERO),
            other => (other, Weight::ZERO),
        };
    }
    wanted
}
