//! What a model registry should be told: which version serves as stable, and which ones were rejected.
//!
//! The delivered file is what counts, whoever has committed it. The first look at a route only takes note: nothing has changed yet.

use super::{
    name::{Artefact, RouteName},
    route::RouteTable,
    variant::{ModelRef, Role},
};
use std::collections::{BTreeMap, BTreeSet};

/// URIs of a registry's models begin so.
const SCHEME: &str = "models:/";

/// A version of a registered model.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Registered {
    /// The model's name in the registry.
    pub name: String,
    /// The version.
    pub version: String,
}

impl Registered {
    /// What `models:/NAME/VERSION` says, or `models:/NAME` together with a version; `None` for anything else.
    #[must_use]
    pub fn of(model: &ModelRef) -> Option<Self> {
        let rest = model.uri.as_deref()?.strip_prefix(SCHEME)?.trim_matches('/');
        let (name, version) = match rest.split_once('/') {
            Some((name, version)) => (name, version),
            None => (rest.split('@').next()?, model.version.as_deref()?),
        };
        let good = !name.is_empty() && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
        good.then(|| Self { name: name.to_owned(), version: version.to_owned() })
    }
}

/// Something to tell the registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deed {
    /// This version is the route's stable one from now on.
    Champion(RouteName, Artefact, Option<Registered>),
    /// This version was rejected.
    Reject(RouteName, Artefact, Option<Registered>),
    /// A rejected version is let in again.
    Readmit(RouteName, Artefact),
}

/// What the registry was told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Book {
    /// The stable artefact of each route.
    pub stable: BTreeMap<RouteName, Artefact>,
    /// Rejected ones.
    pub rejected: BTreeSet<(RouteName, Artefact)>,
}

impl Book {
    /// Takes note of routes that it has not seen, and finds what is to be told of the others.
    pub fn look(&mut self, routes: &RouteTable) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for route in routes {
            let name = &route.name;
            let Some(stable) = route.variants.iter().find(|v| v.role == Role::Stable) else { continue };
            let known = self.stable.get(name).cloned();
            if known.is_none() {
                self.stable.insert(name.clone(), stable.artefact.clone());
            }
            for variant in &route.variants {
                let key = (name.clone(), variant.artefact.clone());
                match (variant.role == Role::Rejected, self.rejected.contains(&key)) {
                    (true, false) if known.is_none() => drop(self.rejected.insert(key)),
                    (true, false) => deeds.push(Deed::Reject(key.0, key.1, Registered::of(&variant.model))),
                    (false, true) => deeds.push(Deed::Readmit(key.0, key.1)),
                    (true, true) | (false, false) => {}
                }
            }
            if known.is_some_and(|known| known != stable.artefact) {
                let model = Registered::of(&stable.model);
                deeds.push(Deed::Champion(name.clone(), stable.artefact.clone(), model));
            }
        }
        deeds
    }

    /// It was told.
    pub fn done(&mut self, deed: &Deed) {
        match deed {
            Deed::Champion(route, artefact, _) => drop(self.stable.insert(route.clone(), artefact.clone())),
            Deed::Reject(route, artefact, _) => drop(self.rejected.insert((route.clone(), artefact.clone()))),
            Deed::Readmit(route, artefact) => drop(self.rejected.remove(&(route.clone(), artefact.clone()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registered_version_is_read_from_the_uri() {
        let of = |uri: &str, version: Option<&str>| {
            let model = ModelRef { version: version.map(Into::into), uri: Some(uri.into()), digest: None };
            Registered::of(&model).map(|r| format!("{} {}", r.name, r.version))
        };
        assert_eq!(of("models:/digits/3", None).as_deref(), Some("digits 3"));
        assert_eq!(of("models:/digits", Some("4")).as_deref(), Some("digits 4"));
        assert_eq!(of("models:/digits@candidate", Some("4")).as_deref(), Some("digits 4"));
        for (uri, version) in [
            ("models:/digits", None),
            ("models:/digits/Production", None),
            ("s3://digits/3", Some("3")),
            ("models:/", Some("3")),
        ] {
            assert_eq!(of(uri, version), None, "{uri}");
        }
    }

    #[test]
    fn the_registry_is_told_of_a_new_stable_one_and_of_rejections_once() {
        use crate::core::route::tests::route;
        let table = |variants: &[(&str, Role, u16)]| RouteTable::new(vec![route("digits", variants).into()]);
        let name = RouteName::new("digits").unwrap();
        let [one, two] = ["m/v1", "m/v2"].map(Artefact::new);
        let before = table(&[("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000), ("v0", Role::Rejected, 0)]);
        let mut book = Book::default();
        assert_eq!(book.look(&before), [], "the first look takes note");
        assert_eq!((book.stable.len(), book.rejected.len()), (1, 1));
        assert_eq!(book.look(&before), []);
        let promoted = table(&[("v2", Role::Stable, 10_000), ("v0", Role::Rejected, 0)]);
        let champion = [Deed::Champion(name.clone(), two.clone(), None)];
        assert_eq!((book.look(&promoted), book.look(&promoted)), (champion.clone().into(), champion.clone().into()));
        book.done(&champion[0]);
        assert_eq!(book.look(&promoted), [], "until it was told");
        let rejected = table(&[("v2", Role::Stable, 10_000), ("v1", Role::Rejected, 0), ("v0", Role::Rejected, 0)]);
        let reject = [Deed::Reject(name.clone(), one.clone(), None)];
        assert_eq!(book.look(&rejected), reject);
        book.done(&reject[0]);
        assert_eq!(book.look(&rejected), []);
        let again = table(&[("v2", Role::Stable, 9_000), ("v1", Role::Canary, 1_000), ("v0", Role::Rejected, 0)]);
        let readmit = [Deed::Readmit(name, one)];
        assert_eq!(book.look(&again), readmit);
        book.done(&readmit[0]);
        assert_eq!(book.look(&again), []);
    }
}
