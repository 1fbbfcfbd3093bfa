//! Whose counts go on when the routes change.

use super::*;
use crate::core::{
    judge::Policy,
    plan::Rollback,
    route::{Expose, Limits, Match, PathMatch, Protocol, RouteTable, Timeouts},
    split::{Split, Weight},
    variant::{Address, Backend, ModelRef, Role, Wire},
};
use http::HeaderValue;
use std::time::Duration;

/// A route of `(variant, artefact)`, the first of which has all of the weight.
fn route(name: &str, variants: &[(&'static str, &str)]) -> Arc<Route> {
    let whole = Weight::new(10_000).unwrap();
    let one = |(position, (name, artefact)): (usize, &(&'static str, &str))| {
        let weight = if position == 0 { whole } else { Weight::ZERO };
        Variant {
            name: VariantName::new(name).unwrap(),
            label: HeaderValue::from_static(name),
            role: if position == 0 { Role::Stable } else { Role::Canary },
            said: weight,
            effective: weight,
            backend: Backend { address: Address::Unix("/model".into()), wire: Wire::Http1, readiness: None },
            artefact: Artefact::new(artefact),
            model: ModelRef::default(),
        }
    };
    let second = Duration::from_secs(1);
    Arc::new(Route {
        name: RouteName::new(name).unwrap(),
        matches: Match { host: None, path: PathMatch::Prefix("/".into()), headers: Vec::new() },
        variants: variants.iter().enumerate().map(one).collect(),
        split: Split::new(&[(0, whole)]).unwrap(),
        stable: 0,
        release: None,
        protocol: Protocol::V2,
        sticky: None,
        pin: false,
        expose: Expose { variant: true, ticket: true },
        fallback: None,
        timeouts: Timeouts { connect: second, first_byte: second, idle: second, total: second },
        outlier: None,
        limits: Limits { in_flight: 1, queue: 1, queue_wait: second, request_body_bytes: 1 },
        caller_limit: None,
        shadows: Box::default(),
        plan: None,
        policy: Policy::default(),
        rollback: Rollback::default(),
        digest: 0,
    })
}

fn board(before: &Board, routes: Vec<Arc<Route>>) -> Board {
    before.next(&Snapshot { routes: RouteTable::new(routes), ..Snapshot::default() }, 2)
}

#[test]
fn counts_go_on_while_route_name_and_artefact_stay_and_start_afresh_otherwise() {
    let before =
        board(&Board::default(), vec![route("chat", &[("v1", "a"), ("v2", "b")]), route("spam", &[("v1", "a")])]);
    let places = [(0, 0), (0, 1), (1, 0)];
    for ((route, variant), n) in places.into_iter().zip(1..) {
        before.cells(route, variant, 1).unwrap().tokens.add(n);
    }
    let tokens = |board: &Board, (route, variant)| board.tally(route, variant).unwrap().read().tokens;
    assert_eq!(places.map(|place| tokens(&before, place)), [1, 2, 3]);
    // The routes change places, one variant its artefact, and one is new under an artefact that is known.
    let after =
        board(&before, vec![route("spam", &[("v1", "a"), ("v2", "a")]), route("chat", &[("v1", "c"), ("v2", "b")])]);
    assert_eq!([(0, 0), (0, 1), (1, 0), (1, 1)].map(|place| tokens(&after, place)), [3, 0, 0, 2]);
    after.cells(1, 1, 0).unwrap().tokens.add(40);
    assert_eq!(tokens(&before, (0, 1)), 42, "requests that began before the change are counted with those after it");
    let names =
        |board: &Board| board.iter().map(|tally| format!("{}/{}", tally.route, tally.variant)).collect::<Vec<_>>();
    assert_eq!(names(&after), ["spam/v1", "spam/v2", "chat/v1", "chat/v2"]);
}

#[test]
fn there_are_cells_for_the_threads_that_were_asked_for_and_no_more() {
    let board = board(&Board::default(), vec![route("chat", &[("v1", "a")])]);
    assert!(board.cells(0, 0, 0).is_some() && board.cells(0, 0, 1).is_some());
    assert!(board.cells(0, 0, 2).is_none() && board.cells(0, 1, 0).is_none() && board.cells(1, 0, 0).is_none());
    assert!(board.tally(0, 1).is_none() && board.tally(1, 0).is_none());
}
