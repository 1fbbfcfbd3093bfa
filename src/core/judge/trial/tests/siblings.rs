//! Endpoints of a canary beside each other: whom a trial names, by what, and from where on.

use super::*;
use crate::core::judge::EndpointEvidence;

/// An endpoint with a thousand requests: nine tenths of its successes in one bucket, the last tenth in another.
fn unit(endpoint: u16, errors: u64, most: i32, tail: i32) -> Unit {
    let mut latency = Histogram::default();
    latency.add(most, 850);
    latency.add(tail, 150 - errors);
    Unit { endpoint, completed: 1000, errors, latency, streams: None }
}

/// A block whose canary has these endpoints, and stable three good ones.
fn window(canary: Vec<Unit>) -> Block {
    let stable = (0..3).map(|at| unit(at, 0, 50, 60)).collect();
    Block { endpoints: Some(EndpointBlock { canary, stable }), ..Block::default() }
}

fn told(policy: &Policy, windows: impl IntoIterator<Item = Vec<Unit>>) -> Vec<EndpointEvidence> {
    let mut trial = Trial::in_mode(policy, Chosen::new(ModeChoice::Auto, false, [3, 3]));
    for canary in windows {
        trial.observe(&window(canary));
    }
    trial.evidence().endpoints
}

/// Two good endpoints and this one, again and again.
fn beside(errors: u64, most: i32, tail: i32, windows: usize) -> Vec<Vec<Unit>> {
    let canary = vec![unit(0, 0, 50, 60), unit(1, 0, 50, 60), unit(2, errors, most, tail)];
    vec![canary; windows]
}

fn parts(told: &[EndpointEvidence]) -> Vec<(u16, Part)> {
    told.iter().map(|of| (of.endpoint, of.part)).collect()
}

#[test]
fn slower_than_a_pass_allows_is_unlike_the_others_and_what_it_allows_is_alike() {
    let policy = only(true, true, false);
    // A pass allows four buckets at p50 and p90, six at p99, where only the tail is looked at.
    assert_eq!(parts(&told(&policy, beside(0, 54, 60, 40))), []);
    assert_eq!(parts(&told(&policy, beside(0, 55, 60, 40))), [(2, Part::Answer(Quantile::P50))]);
    assert_eq!(parts(&told(&policy, beside(0, 47, 57, 40))), [], "quicker is nothing to be named for");
    let tail = |at: i32| {
        let thin = |mut units: Vec<Unit>| {
            let mut latency = Histogram::default();
            latency.add(50, 980);
            latency.add(at, 20);
            units[2].latency = latency;
            units[..2].iter_mut().for_each(|unit| {
                unit.latency = Histogram::default();
                unit.latency.add(50, 980);
                unit.latency.add(60, 20);
            });
            units
        };
        parts(&told(&policy, beside(0, 50, 60, 40).into_iter().map(thin)))
    };
    assert_eq!(tail(66), []);
    assert_eq!(tail(67), [(2, Part::Answer(Quantile::P99))]);
}

#[test]
fn each_endpoint_is_told_once_a_signal_by_the_part_that_shows_most() {
    let policy = only(true, true, false);
    // At the tail alone first, later everywhere.
    let (tail, all) = (beside(0, 50, 80, 12), beside(0, 80, 80, 25));
    let late = told(&policy, tail.clone().into_iter().chain(all.clone()));
    assert_eq!(parts(&late), [(2, Part::Answer(Quantile::P90))], "{late:?}");
    // In the middle first: p90 and p99 are within what is allowed.
    let middle = told(&policy, beside(0, 55, 60, 12).into_iter().chain(all));
    assert_eq!(parts(&middle), [(2, Part::Answer(Quantile::P50))], "{middle:?}");
    // One fails and is slow, another is slow.
    let ill = [unit(1, 100, 80, 90), unit(2, 0, 80, 90)];
    let both = told(&policy, vec![[0, 3, 4].map(|at| unit(at, 0, 50, 60)).into_iter().chain(ill).collect(); 40]);
    let slow = Part::Answer(Quantile::P50);
    assert_eq!(parts(&both), [(1, Part::Rate), (1, slow), (2, slow)], "{both:?}");
    assert!((both[0].value - 0.1).abs() < 1e-6 && both[0].others.abs() < 1e-9, "{both:?}");
}

#[test]
fn naming_one_takes_more_the_more_there_are() {
    for (policy, sides) in [(only(true, false, false), 1.0), (only(true, true, false), 4.0)] {
        let mut trial = Trial::in_mode(&policy, Chosen::new(ModeChoice::Auto, false, [3, 3]));
        trial.observe(&window(beside(0, 50, 60, 1).remove(0)));
        let guards = trial.evidence().guards;
        let guard = guards.iter().find(|told| told.guard == Guard::Endpoints).unwrap();
        assert!((guard.limit - (3.0 * sides * 1000.0_f64).ln()).abs() < 1e-9, "{guard:?}");
    }
}
