//! Windows of endpoints, in made-up worlds: pods with moods take no canary back, all pods worse does, and a canary that is worse than
//! the margins by one of its pods or by all of them is passed no more often than is said.

use super::{
    Run, Signal, World, count, limits,
    modes::{HARM_RUNS, found, heading, safe, seen, together},
    only, policy, runs,
};
use crate::streams::Dice;
use coalmine::core::{
    judge::{Arm, Block, EndpointBlock, Mode, Policy, RequestBlock, Unit},
    stats::histogram::bucket_of_ms,
};

/// Runs of each world in `make test`; every latency is drawn.
const POD_RUNS: u64 = 40;
/// ... and of those that ask how often a canary at its margin is passed.
const MARGIN_RUNS: u64 = 60;

/// Endpoints of both variants, 100 requests a second over all, each endpoint about as many.
#[derive(Clone, Copy)]
struct Pods {
    canary: u64,
    stable: u64,
    windows: u64,
    errors: (f64, f64),
    /// The canary's latency over stable's.
    slower: f64,
    /// Chance that an endpoint pauses in a window, alone: then it is slow, and part of its requests fail.
    pauses: f64,
    /// Errors of both swing by this share, once over the run.
    drift: f64,
    /// So many of the canary's endpoints are so many times as slow as the others.
    ill: (u64, f64),
}

impl Default for Pods {
    fn default() -> Self {
        Self {
            canary: 4,
            stable: 16,
            windows: 120,
            errors: (0.002, 0.002),
            slower: 1.0,
            pauses: 0.0,
            drift: 0.0,
            ill: (0, 1.0),
        }
    }
}

fn unit(dice: &mut Dice, pods: &Pods, errors: f64, slower: f64) -> Unit {
    let world = World { slower: (slower, 1.0), ..World::default() };
    let paused = dice.chance(pods.pauses);
    let n = 1_000.0 / (pods.canary + pods.stable) as f64 * (0.8 + 0.4 * dice.draw());
    let mut unit = Unit { completed: n as u64, ..Unit::default() };
    for _ in 0..unit.completed {
        let hit = paused && dice.chance(0.3);
        if dice.chance(if hit { 0.4 } else { errors }) {
            unit.errors += 1;
        } else {
            let ms = world.latency(dice, true) + if hit { 2_000.0 * dice.draw() } else { 0.0 };
            unit.latency.add(bucket_of_ms(ms), 1);
        }
    }
    unit
}

fn arm(units: &[Unit]) -> Arm {
    let mut arm = Arm::default();
    for unit in units {
        arm.completed += unit.completed;
        arm.errors += unit.errors;
        arm.latency.merge(&unit.latency);
    }
    arm.assigned = arm.completed;
    arm
}

/// A block a window.
fn windows(pods: Pods, mut dice: Dice) -> impl Iterator<Item = Block> {
    (0..pods.windows).map(move |window| {
        let swing = 1.0 + pods.drift * (std::f64::consts::TAU * window as f64 / pods.windows as f64).sin();
        let (stable, canary) = pods.errors;
        let slower = |at: u64| if at < pods.ill.0 { pods.slower * pods.ill.1 } else { pods.slower };
        let canary: Vec<_> = (0..pods.canary).map(|at| unit(&mut dice, &pods, canary * swing, slower(at))).collect();
        let stable: Vec<_> = (0..pods.stable).map(|_| unit(&mut dice, &pods, stable * swing, 1.0)).collect();
        let requests = RequestBlock { canary: arm(&canary), stable: arm(&stable), share: None, warming_up: false };
        let endpoints = Some(EndpointBlock { canary, stable });
        Block { requests: Some(requests), endpoints, ..Block::default() }
    })
}

#[test]
fn endpoints_with_moods_take_no_canary_back_and_endpoints_that_are_all_worse_do() {
    let policy = Policy { accuracy: None, ..policy() };
    let n = runs(POD_RUNS);
    heading(n);
    let base = Pods::default;
    let worlds = [
        ("endpoints: nothing happens", base()),
        ("endpoints pause alone", Pods { pauses: 0.05, ..base() }),
        ("endpoints pause alone, two of the canary's", Pods { pauses: 0.05, canary: 2, stable: 6, ..base() }),
        ("endpoints pause alone, both drift", Pods { pauses: 0.05, drift: 0.8, errors: (0.02, 0.02), ..base() }),
    ];
    let (mut all, mut fooled) = (Vec::new(), 0);
    for (number, (name, world)) in (110..).zip(worlds) {
        let seen = seen((n, number), (Mode::Endpoints, &policy), world, windows);
        fooled += count(&seen.by_requests, |run| run.fails_at(0.01));
        safe(name, seen, &mut all);
    }
    together(&all);
    assert!(fooled > n, "moods fooled requests in {fooled} streams only: too mild to show anything");

    let n = runs(HARM_RUNS);
    println!("found by windows of endpoints, of {n} streams each, and windows until then");
    println!("{:44} {:>7} {:>8} {:>8} {:>8}", "harm", "found", "median", "9 of 10", "goal");
    let harms = [
        ("errors 0.2 % -> 5 %", Signal::Errors, 4, Pods { errors: (0.002, 0.05), ..base() }),
        (
            "errors 0.2 % -> 5 %, endpoints pause",
            Signal::Errors,
            6,
            Pods { errors: (0.002, 0.05), pauses: 0.02, ..base() },
        ),
        ("errors 0.2 % -> 2 %", Signal::Errors, 12, Pods { errors: (0.002, 0.02), ..base() }),
        ("all 1.5 times as slow", Signal::Latency, 9, Pods { slower: 1.5, ..base() }),
        ("all 1.2 times as slow", Signal::Latency, 20, Pods { slower: 1.2, ..base() }),
    ];
    for (number, (name, signal, goal, world)) in (120..).zip(harms) {
        let seen = seen((n, number), (Mode::Endpoints, &policy), world, windows).by_mode;
        // A fifth of a thousand requests a window is the canary's.
        let took = |run: &Run| run.at_canary.div_ceil(200);
        found(name, &seen, signal, goal, took);
    }
}

#[test]
fn endpoints_pass_an_equal_canary_and_hardly_ever_one_at_its_margins_or_with_one_bad_endpoint() {
    let base = || Pods { canary: 8, stable: 8, windows: 160, ..Pods::default() };
    let (errors, latency) = (only(Signal::Errors), only(Signal::Latency));
    // What may be: errors 1.25 times stable's and 0.2 %, latency 2^(4/16) times.
    let factor = 2_f64.powf(0.25);
    let equal = [
        ("equal: errors", &errors, base()),
        ("equal: latency", &latency, base()),
        // What pauses is noise to both: it takes longer.
        ("equal, endpoints pause alone: latency", &latency, Pods { pauses: 0.02, windows: 320, ..base() }),
    ];
    let at = [
        ("errors at the margin", &errors, Pods { errors: (0.004, 0.007), ..base() }),
        ("all as slow as may be", &latency, Pods { slower: factor, ..base() }),
        ("all as slow as may be, endpoints pause alone", &latency, Pods { slower: factor, pauses: 0.02, ..base() }),
        ("one of eight twice as slow", &latency, Pods { ill: (1, 2.0), ..base() }),
        ("two of eight twice as slow", &latency, Pods { ill: (2, 2.0), ..base() }),
    ];
    let n = runs(MARGIN_RUNS);
    println!("passed by windows of endpoints, of {n} streams each, and windows until then");
    for (number, (name, policy, world)) in (130..).zip(equal) {
        let seen = seen((n, number), (Mode::Endpoints, policy), world, windows).by_mode;
        let (passed, failed) = (count(&seen, |run| run.passed), count(&seen, |run| run.failed.is_some()));
        let took = super::quantile(seen.iter().map(|run| run.at_canary.div_ceil(500)), 0.5);
        println!("{name:44} {passed:>7} {took:>8}");
        assert!(limits::upper(passed, n) > 0.9 && failed == 0, "{name}: {passed} passed, {failed} taken back");
    }
    for (number, (name, policy, world)) in (140..).zip(at) {
        let seen = seen((n, number), (Mode::Endpoints, policy), world, windows).by_mode;
        let passed = count(&seen, |run| run.passed);
        println!("{name:44} {passed:>7}");
        assert!(limits::lower(passed, n) <= 0.05, "{name}: {passed} of {n} were passed");
    }
}
