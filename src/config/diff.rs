//! What changed between two snapshots, in words a person reads: one short line per change.

use crate::core::{
    route::Route,
    snapshot::Snapshot,
    variant::{Backend, Variant},
};
use std::mem::discriminant;

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
    if before.backend.address != after.backend.address
        || discriminant(&before.backend.wire) != discriminant(&after.backend.wire)
    {
        lines.push(format!("{name} backend {} -> {}", before.backend, after.backend));
    } else if before.backend.wire != after.backend.wire {
        let known = |backend: &Backend| backend.server_name().unwrap_or_default().to_owned();
        lines.push(format!("{name} server name {} -> {}", known(&before.backend), known(&after.backend)));
    }
    if before.artefact != after.artefact {
        lines.push(format!("{name} model {} -> {}", before.artefact, after.artefact));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::read, core::clamp::Clamps};

    #[test]
    fn another_backend_is_told_as_the_file_writes_it() {
        let compiled = |variant: &str, rest: &str| {
            let text = format!(
                "apiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n  - name: r\n    match: {{ path: / }}\n    \
                 variants: [{{ name: v, role: stable, weight: 100, model: {{ digest: d }}, {variant} }}]\n{rest}"
            );
            read(&text, &Clamps::default()).unwrap().0
        };
        let check = |old: (&str, &str), new: (&str, &str), wanted: &[&str]| {
            assert_eq!(diff(&compiled(old.0, old.1), &compiled(new.0, new.1)), wanted);
        };
        let (plain, tls, named) = ("url: 'http://h'", "url: 'https://h'", "url: 'https://h', server_name: other");
        check((plain, ""), (plain, ""), &[]);
        check((plain, ""), (tls, ""), &["r: v backend http://h:80 -> https://h:443"]);
        check((plain, ""), ("url: 'unix:/run/h'", ""), &["r: v backend http://h:80 -> unix:/run/h"]);
        check((tls, ""), (named, ""), &["r: v server name h -> other"]);
        check((tls, ""), (tls, "    readiness: { path: /ready }\n"), &["r: settings changed"]);
        check((tls, ""), (tls, "    outlier: off\n"), &["r: settings changed"]);
    }
}
