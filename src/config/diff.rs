//! What changed between two snapshots, in words a person reads: one short line per change.

use crate::core::{route::Route, snapshot::Snapshot, variant::Variant};

/// The changes from `old` to `new`; empty if nothing that matters to traffic or releases changed.
#[must_use]
pub fn diff(old: &Snapshot, new: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for route in old.routes.iter() {
        if new.routes.named(route.name.as_str()).is_none() {
            lines.push(format!("route {} removed", route.name));
        }
    }
    for route in new.routes.iter() {
        match old.routes.named(route.name.as_str()) {
            None => lines.push(format!("route {} added", route.name)),
            Some((_, before)) => lines.extend(changes(before, route)),
        }
    }
    lines
}

fn changes(before: &Route, after: &Route) -> Vec<String> {
    let mut lines = Vec::new();
    let name = &after.name;
    for variant in &before.variants {
        if after.position(variant.name.as_str()).is_none() {
            lines.push(format!("{name}: variant {} removed", variant.name));
        }
    }
    for variant in &after.variants {
        let earlier = before.position(variant.name.as_str()).and_then(|at| before.variant(at));
        match earlier {
            None => lines.push(format!(
                "{name}: variant {} added as {} with {}",
                variant.name,
                variant.role.as_str(),
                variant.said
            )),
            Some(earlier) => lines.extend(moves(earlier, variant).into_iter().map(|line| format!("{name}: {line}"))),
        }
    }
    if lines.is_empty() && before != after {
        lines.push(format!("{name}: settings changed"));
    }
    lines
}

fn moves(before: &Variant, after: &Variant) -> Vec<String> {
    let name = &after.name;
    let mut lines = Vec::new();
    if before.role != after.role {
        lines.push(format!("{name} {} -> {}", before.role.as_str(), after.role.as_str()));
    }
    if before.effective != after.effective {
        let clamped = if after.effective < after.said {
            format!(" (clamped, the file says {})", after.said)
        } else {
            String::new()
        };
        lines.push(format!("{name} weight {} -> {}{clamped}", before.effective, after.effective));
    }
    if before.backend != after.backend {
        lines.push(format!("{name} backend {} -> {}", before.backend.authority(), after.backend.authority()));
    }
    if before.artefact != after.artefact {
        lines.push(format!("{name} model {} -> {}", before.artefact, after.artefact));
    }
    lines
}
