//! Which request is caught by which route, and routes made up for tests of whatever moves them.

use super::*;
use crate::core::{
    name::{Artefact, VariantName},
    split::siphash,
    variant::{Address, Backend, ModelRef, Role, Wire},
};

/// A variant that serves the artefact `m/NAME`, with a weight in basis points.
pub(in crate::core) fn variant(name: &str, role: Role, weight: u16) -> Variant {
    let said = Weight::new(weight).unwrap();
    Variant {
        name: VariantName::new(name).unwrap(),
        label: HeaderValue::from_str(name).unwrap(),
        role,
        said,
        effective: said,
        backend: Backend { address: Address::Tcp { host: name.into(), port: 80 }, wire: Wire::Http1, readiness: None },
        artefact: Artefact::new(&format!("m/{name}")),
        model: ModelRef::default(),
    }
}

/// A route with these variants, in the release that a file with these roles is in; without a plan.
pub(in crate::core) fn route(name: &str, variants: &[(&str, Role, u16)]) -> Route {
    let name = RouteName::new(name).unwrap();
    let digest = siphash(&[format!("{variants:?}").as_bytes()]);
    let variants: Vec<Variant> = variants.iter().map(|(name, role, weight)| variant(name, *role, *weight)).collect();
    let at = |role: Role| variants.iter().position(|v| v.role == role);
    let stable = at(Role::Stable).unwrap();
    let view = |candidate: usize, reference, promoted| ReleaseView {
        key: ReleaseKey::of(&name, &variants[candidate].artefact),
        candidate,
        reference,
        promoted,
    };
    let previous = variants.iter().position(|v| v.role == Role::Previous && v.said > Weight::ZERO);
    let release = at(Role::Canary)
        .map(|canary| view(canary, stable, false))
        .or_else(|| previous.map(|previous| view(stable, previous, true)));
    let in_order: Vec<(u16, Weight)> = (0..).zip(variants.iter().map(|v| v.said)).collect();
    let seconds = Duration::from_secs;
    Route {
        matches: Match { host: None, path: PathMatch::Prefix("/".into()), headers: Vec::new() },
        split: Split::new(&in_order).unwrap(),
        stable,
        release,
        protocol: Protocol::V2,
        sticky: None,
        pin: false,
        expose: Expose { variant: true, ticket: true },
        fallback: None,
        timeouts: Timeouts { connect: seconds(2), first_byte: seconds(30), idle: seconds(60), total: seconds(120) },
        outlier: None,
        limits: Limits {
            in_flight: 512,
            queue: 256,
            queue_wait: Duration::from_millis(500),
            request_body_bytes: 64 << 20,
        },
        caller_limit: None,
        shadows: Box::default(),
        plan: None,
        policy: Policy::default(),
        rollback: Rollback::default(),
        digest,
        name,
        variants,
    }
}

fn table(matches: &[Match]) -> RouteTable {
    let named = |(at, matches): (usize, &Match)| {
        Arc::new(Route { matches: matches.clone(), ..route(&format!("r{at}"), &[("v1", Role::Stable, 10_000)]) })
    };
    RouteTable::new(matches.iter().enumerate().map(named).collect())
}

fn on(host: Option<&str>, path: PathMatch, headers: &[(&'static str, Option<&'static str>)]) -> Match {
    let header = |(name, value): &(&'static str, Option<&'static str>)| HeaderMatch {
        name: HeaderName::from_static(name),
        value: value.map(HeaderValue::from_static),
    };
    Match { host: host.map(Into::into), path, headers: headers.iter().map(header).collect() }
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

/// The place of the route that catches `host path` with these header fields.
fn found(table: &RouteTable, host: &str, path: &str, fields: &[(&'static str, &'static str)]) -> Option<usize> {
    let fields =
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
    table.find(host, path, &fields).map(|(at, _)| at)
}

#[test]
fn a_prefix_catches_whole_segments_and_a_host_whatever_its_case() {
    let paths = table(&[on(Some("a.example"), prefix("/a/b"), &[])]);
    for (host, path, caught) in [
        ("a.example", "/a/b", true),
        ("A.Example", "/a/b/c", true),
        ("b.example", "/a/b", false),
        ("a.example", "/a/b/", true),
        ("a.example", "/a/bc", false),
        ("a.example", "/a", false),
        ("a.example", "/A/b", false),
    ] {
        assert_eq!(found(&paths, host, path, &[]).is_some(), caught, "{host}{path}");
    }
    // A slash at its end adds nothing.
    let slash = table(&[on(None, prefix("/a/"), &[])]);
    assert_eq!(
        ["/a", "/a/", "/a/b", "/ab"].map(|path| found(&slash, "x", path, &[]).is_some()),
        [true, true, true, false]
    );
    let whole = table(&[on(None, exact("/a"), &[])]);
    assert_eq!(["/a", "/a/", "/b"].map(|path| found(&whole, "x", path, &[]).is_some()), [true, false, false]);
}

#[test]
fn all_header_conditions_must_hold_by_any_of_the_fields() {
    let headers = table(&[on(None, prefix("/"), &[("x-team", Some("vision")), ("x-key", None)])]);
    for (fields, caught) in [
        (&[("x-team", "vision"), ("x-key", "1")][..], true),
        (&[("x-team", "audio"), ("x-team", "vision"), ("x-key", "")], true),
        (&[("x-team", "vision")], false),
        (&[("x-team", "audio"), ("x-key", "1")], false),
        (&[("x-key", "vision")], false),
    ] {
        assert_eq!(found(&headers, "x", "/", fields).is_some(), caught, "{fields:?}");
    }
}

#[test]
fn the_more_specific_route_wins_and_of_equals_the_first() {
    let routes = table(&[
        on(None, prefix("/"), &[]),
        on(None, prefix("/a"), &[]),
        on(None, exact("/a/b"), &[]),
        on(None, prefix("/a"), &[("x-key", None)]),
        on(Some("h"), prefix("/"), &[]),
        on(None, prefix("/a"), &[]),
    ]);
    for (host, path, fields, at) in [
        ("x", "/c", &[][..], Some(0)),
        ("x", "/a/c", &[], Some(1)),
        ("x", "/a/b", &[], Some(2)),
        ("x", "/a/c", &[("x-key", "1")], Some(3)),
        ("x", "/a/b", &[("x-key", "1")], Some(2)),
        ("h", "/a/b", &[], Some(4)),
    ] {
        assert_eq!(found(&routes, host, path, fields), at, "{host}{path}");
    }
}

#[test]
fn a_table_is_a_list_of_routes_by_name() {
    let routes = table(&[on(None, exact("/a"), &[]), on(None, exact("/b"), &[])]);
    assert_eq!((routes.len(), routes.is_empty(), RouteTable::default().is_empty()), (2, false, true));
    assert_eq!((RouteTable::default().len(), (&routes).into_iter().count()), (0, 2));
    assert_eq!(routes.named("r1").map(|(at, route)| (at, route.name.as_str())), Some((1, "r1")));
    assert!(routes.named("r2").is_none());
    let two = route("digits", &[("v1", Role::Stable, 9_000), ("v2", Role::Canary, 1_000)]);
    assert_eq!(["v1", "v2", "v3"].map(|name| two.position(name)), [Some(0), Some(1), None]);
}
