//! From what the file says to what is true. The only builder of a `Snapshot`: what comes out cannot be wrong.

use super::{
    fields::{Place, Problems},
    problem::{Problem, Warning, did_you_mean},
    spec::{PlanSpec, RouteSpec, Spec, VariantSpec},
};
use crate::core::{
    clamp::{Clamps, Share, effective},
    name::{Artefact, Generation, ReleaseKey},
    route::{ReleaseView, Route, RouteTable},
    snapshot::Snapshot,
    split::{Split, WHOLE, Weight, siphash},
    variant::{Role, Variant},
};
use http::HeaderValue;
use std::{collections::BTreeMap, sync::Arc};

/// Puts the parts together and lowers them by the clamps. Generation and revision are the caller's to fill in.
///
/// # Errors
/// Every part that does not fit the others, in the order of the text.
pub fn compile(spec: &Spec, clamps: &Clamps) -> Result<(Snapshot, Vec<Warning>), Vec<Problem>> {
    let list = Problems::default();
    if spec.routes.is_empty() && spec.unreadable == 0 && !spec.routes_place.path.is_empty() {
        list.add(&spec.routes_place, "there is no route", "list at least one");
    }
    twice(spec, &list);
    let routes: Vec<_> = spec.routes.iter().filter_map(|spec| route(spec, clamps, &list)).collect();
    let snapshot = Snapshot {
        generation: Generation::default(),
        revision: None,
        routes: RouteTable::new(routes.into_iter().map(Arc::new).collect()),
    };
    let broken = list.any();
    let (problems, warnings) = list.finish();
    if broken { Err(problems) } else { Ok((snapshot, warnings)) }
}

/// Two routes of one name, or two that catch the same.
fn twice(spec: &Spec, list: &Problems) {
    for (i, route) in spec.routes.iter().enumerate() {
        let earlier = spec.routes.get(..i).unwrap_or_default();
        if earlier.iter().any(|other| other.name.value == route.name.value) {
            list.add(&route.name.place, format!("there are two routes `{}`", route.name.value), "rename one of them");
        }
        if let Some(other) = earlier.iter().find(|other| other.matches.value == route.matches.value) {
            let what = format!("route `{}` catches the same requests", other.name.value);
            list.add(&route.matches.place, what, "the first one would get them all; change one of the two");
        }
    }
}

fn route(spec: &RouteSpec, clamps: &Clamps, list: &Problems) -> Option<Route> {
    roles(spec, list);
    weights(spec, list);
    if let Some(plan) = &spec.rest.plan {
        steps(plan, list);
    }
    fallback_target(spec, list);
    let stable = spec.variants.iter().position(|v| v.role.value == Role::Stable)?;
    let variants = variants(spec, clamps, list);
    let release = release(spec, &variants, stable);
    let rest = spec.rest.clone();
    Some(Route {
        name: spec.name.value.clone(),
        matches: spec.matches.value.clone(),
        split: split(&variants, release.as_ref().map(|view| view.candidate))?,
        stable,
        release,
        variants,
        protocol: rest.protocol,
        sticky: rest.sticky,
        pin: rest.pin,
        expose: rest.expose,
        fallback: rest.fallback,
        timeouts: rest.timeouts,
        outlier: rest.outlier,
        limits: rest.limits,
        caller_limit: rest.caller_limit,
        shadows: shadows(spec, clamps),
        plan: rest.plan.map(|spec| spec.plan),
        policy: rest.policy,
        rollback: rest.rollback,
        digest: siphash(&[spec.canonical.as_bytes()]),
    })
}

fn roles(spec: &RouteSpec, list: &Problems) {
    let of = |role: Role| spec.variants.iter().filter(move |v| v.role.value == role);
    let mut names = BTreeMap::new();
    for variant in &spec.variants {
        if names.insert(variant.name.value.as_str(), ()).is_some() {
            list.add(
                &variant.name.place,
                format!("there are two variants `{}`", variant.name.value),
                "rename one of them",
            );
        }
    }
    if of(Role::Stable).next().is_none() && spec.variants_whole {
        let help = "exactly one variant has `role: stable`: it answers when nothing is being released";
        list.add(&spec.variants_place, "no variant is stable", help);
    }
    for (role, help) in [
        (Role::Stable, "exactly one variant is stable"),
        (Role::Canary, "one release at a time: give the other weight 0 and `role: rejected`, or remove it"),
        (Role::Previous, "one of them may have traffic; give the other weight 0, or remove it"),
    ] {
        // Older previous ones may stay in the file, at 0.
        let counts = |v: &&VariantSpec| role != Role::Previous || v.weight.value > Weight::ZERO;
        for extra in of(role).filter(counts).skip(1) {
            list.add(&extra.role.place, format!("there are two variants with `role: {}`", role.as_str()), help);
        }
    }
    if let (Some(stable), Some(canary)) = (of(Role::Stable).next(), of(Role::Canary).next())
        && artefact(stable) == artefact(canary)
    {
        let help = "give each its own `model:` (digest, or uri and version) or url";
        list.add(&canary.name.place, "canary and stable serve the same model", help);
    }
}

fn weights(spec: &RouteSpec, list: &Problems) {
    let of = |role: Role| spec.variants.iter().filter(move |v| v.role.value == role);
    for variant in of(Role::Rejected).filter(|v| v.weight.value > Weight::ZERO) {
        list.add(&variant.weight.place, "a rejected variant has a weight", "give it weight 0, or another role");
    }
    for variant in of(Role::Shadow).filter(|v| v.weight.value > Weight::ZERO) {
        let help = "it answers nobody: write `weight: 0`, and `share:` for how many requests it gets a copy of";
        list.add(&variant.weight.place, "a shadow variant has a weight", help);
    }
    // No problem: a release leaves it where it was, at what was the canary.
    for variant in spec.variants.iter().filter(|v| !matches!(v.role.value, Role::Shadow | Role::Canary)) {
        if let Some(share) = &variant.share {
            let what = format!("`share` does nothing for `role: {}`", variant.role.value.as_str());
            list.warn(&share.place, &what, "only a shadow and a canary get copies of requests; remove it");
        }
    }
    let sum: u32 = spec.variants.iter().map(|v| u32::from(v.weight.value.basis_points())).sum();
    if spec.variants_whole && !spec.variants.is_empty() && sum != u32::from(WHOLE) {
        let help = "weights are per cent and sum to 100";
        list.add(&spec.variants_place, format!("the weights sum to {}", hundredths(sum)), help);
    }
}

fn hundredths(basis_points: u32) -> String {
    let (whole, rest) = (basis_points / 100, basis_points % 100);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:02}") }
}

fn steps(spec: &PlanSpec, list: &Problems) {
    let Some(first) = spec.steps.first() else {
        return;
    };
    let mut last = Weight::ZERO;
    for (step, place) in spec.plan.steps.iter().zip(&spec.steps) {
        if step.weight <= last {
            let what = format!("the step to {} does not rise above {last}", step.weight);
            list.add(place, what, "each step's weight is above the one before it");
        }
        last = last.max(step.weight);
    }
    if spec.plan.steps.last().is_none_or(|step| step.weight < Weight::FULL) {
        list.warn(first, "the plan does not end at 100", "without `- { weight: 100 }` the canary is never promoted");
    }
}

fn fallback_target(spec: &RouteSpec, list: &Problems) {
    let Some(to) = &spec.fallback_to else { return };
    let stable = spec.variants.iter().find(|v| v.role.value == Role::Stable);
    let known = ["stable"].into_iter().chain(stable.map(|v| v.name.value.as_str())).collect::<Vec<_>>();
    if !known.contains(&to.value.as_str()) {
        let help = did_you_mean(&to.value, &known).unwrap_or_else(|| "write `to: stable`".to_owned());
        list.add(&to.place, format!("fallback goes to stable only, not to `{}`", to.value), help);
    }
}

/// Digest, else uri and version, else address.
fn artefact(variant: &VariantSpec) -> Artefact {
    let model = &variant.model;
    match (&model.digest, &model.uri, &model.version) {
        (Some(digest), ..) => Artefact::new(digest),
        (None, Some(uri), Some(version)) => Artefact::new(&format!("{uri}@{version}")),
        _ => Artefact::new(variant.url.trim_end_matches('/')),
    }
}

fn variants(spec: &RouteSpec, clamps: &Clamps, list: &Problems) -> Vec<Variant> {
    let artefacts: Vec<Artefact> = spec.variants.iter().map(artefact).collect();
    let route = &spec.name.value;
    let share = |(v, artefact): (&VariantSpec, &Artefact)| Share {
        role: v.role.value,
        said: v.weight.value,
        held: clamps.holds(route, artefact),
        by_hand: clamps.by_hand(route, artefact).filter(|_| matches!(v.role.value, Role::Canary | Role::Stable)),
    };
    let overlay: Vec<Share> = spec.variants.iter().zip(&artefacts).map(share).collect();
    let said: Vec<Weight> = spec.variants.iter().map(|v| v.weight.value).collect();
    let weights = effective(&overlay).unwrap_or_else(|| {
        let place: &Place = &spec.variants_place;
        list.warn(place, "every variant that could take traffic is clamped", "the file's weights stay in force");
        said
    });
    let built = spec.variants.iter().zip(artefacts).zip(weights);
    built
        .map(|((v, artefact), effective)| Variant {
            name: v.name.value.clone(),
            // A name has no character that a header's value may not have.
            label: HeaderValue::from_str(v.name.value.as_str()).unwrap_or(HeaderValue::from_static("unknown")),
            role: v.role.value,
            said: v.weight.value,
            effective,
            backend: v.backend.clone(),
            artefact,
            model: v.model.clone(),
        })
        .collect()
}

/// Who gets copies, of which share: a shadow of all of them unless the file says another share, a canary only if it says one. What
/// was rejected gets nothing.
fn shadows(spec: &RouteSpec, clamps: &Clamps) -> Box<[(usize, Weight)]> {
    let share = |v: &VariantSpec| {
        let said = v.share.as_ref().map(|share| share.value);
        match v.role.value {
            Role::Shadow => said.or(Some(Weight::FULL)),
            Role::Canary => said.filter(|share| *share > Weight::ZERO),
            Role::Stable | Role::Previous | Role::Rejected => None,
        }
    };
    let free = |v: &VariantSpec| !clamps.holds(&spec.name.value, &artefact(v));
    let copied = spec.variants.iter().enumerate().filter(|(_, v)| free(v));
    copied.filter_map(|(at, v)| Some((at, share(v)?))).collect()
}

fn release(spec: &RouteSpec, variants: &[Variant], stable: usize) -> Option<ReleaseView> {
    let position = |role: Role| variants.iter().position(|v| v.role == role);
    let key = |at: usize| Some(ReleaseKey::of(&spec.name.value, &variants.get(at)?.artefact));
    if let Some(canary) = position(Role::Canary) {
        return Some(ReleaseView { key: key(canary)?, candidate: canary, reference: stable, promoted: false });
    }
    let previous = variants.iter().position(|v| v.role == Role::Previous && v.said > Weight::ZERO)?;
    Some(ReleaseView { key: key(stable)?, candidate: stable, reference: previous, promoted: true })
}

/// The variant under release lies first along the draw: who is in at 10 % is still in at 25 %.
fn split(variants: &[Variant], candidate: Option<usize>) -> Option<Split> {
    let mut order: Vec<usize> = (0..variants.len()).collect();
    order.sort_by_key(|position| Some(*position) != candidate);
    let laid: Option<Vec<_>> = order
        .into_iter()
        .map(|position| Some((u16::try_from(position).ok()?, variants.get(position)?.effective)))
        .collect();
    Split::new(&laid?).ok()
}
