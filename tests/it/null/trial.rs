//! Whole trials: what a canary is taken back by, errors, latency and labels together, is expected to grow by nothing where the canary
//! is as good as stable, in every mode and after any past. Every outcome of a block of three requests and two labels is added up.

use super::{Outcomes, ROUNDING, WRONG, latencies, rates, whole::growth};
use crate::streams::Dice;
use coalmine::core::{
    judge::{
        Arm, Block, Chosen, EndpointBlock, LabelBlock, Mode, Policy, RequestBlock, Signal, Unit, UserBlock,
        trial::Trial,
    },
    stats::{Counts, histogram::Histogram},
};

const MILLION: u64 = 1_000_000;
/// Blocks of the past.
const PAST: u32 = 24;

fn new(mode: Mode) -> Trial {
    let policy = Policy { warmup_ms: 0, warmup_requests: 0, requests_min: 1, ..Policy::default() };
    Trial::in_mode(&policy, Chosen { mode, said: true })
}

fn unit(completed: u64, errors: u64, latency: Histogram) -> Unit {
    Unit { completed, errors, latency, ..Unit::default() }
}

/// One block: what each variant did, and its labels. In a window every request of it is an endpoint of its own.
fn block(mode: Mode, canary: &Unit, stable: &[Unit], wrong: &Counts) -> Block {
    let arm = |units: &[Unit]| {
        let mut arm = Arm::default();
        for unit in units {
            arm.completed += unit.completed;
            arm.errors += unit.errors;
            arm.latency.merge(&unit.latency);
        }
        arm.assigned = arm.completed;
        arm
    };
    let (canary_arm, stable_arm) = (arm(std::slice::from_ref(canary)), arm(stable));
    let users = UserBlock { canary: canary_arm.errors, stable: stable_arm.errors };
    let share = canary_arm.completed as f64 / (canary_arm.completed + stable_arm.completed) as f64;
    let requests = RequestBlock { canary: canary_arm, stable: stable_arm, share: Some(share), warming_up: false };
    Block {
        requests: Some(requests),
        labels: Some(LabelBlock {
            canary: wrong.canary as u64,
            stable: wrong.stable as u64,
            canary_wrong_micro: wrong.canary_events as u64 * MILLION,
            stable_wrong_micro: wrong.stable_events as u64 * MILLION,
        }),
        endpoints: Some(EndpointBlock { canary: vec![canary.clone()], stable: stable.to_vec() }),
        users: (mode == Mode::Users).then_some(users),
        ..Block::default()
    }
}

/// Every way in which one request ends: failed, or after some time.
fn request(errors: f64, buckets: &[(i32, f64)]) -> Outcomes<Unit> {
    let well =
        latencies(1, buckets).into_iter().map(|(chance, latency)| ((1.0 - errors) * chance, unit(1, 0, latency)));
    std::iter::once((errors, unit(1, 1, Histogram::default()))).chain(well).collect()
}

/// Every outcome of a block of one canary request, two of stable's, and a label for each.
fn outcomes(mode: Mode, errors: f64, wrong: f64, buckets: &[(i32, f64)]) -> Outcomes<Block> {
    let mut all = Vec::new();
    let one = request(errors, buckets);
    for (first, canary) in &one {
        for (second, stable) in &one {
            for (third, other) in &one {
                for (told, labels) in rates((1, 1), wrong, wrong) {
                    let stable = [stable.clone(), other.clone()];
                    all.push((first * second * third * told, block(mode, canary, &stable, &labels)));
                }
            }
        }
    }
    all
}

/// A block of the past, in which the canary may be worse.
fn past(mode: Mode, dice: &mut Dice, worse: bool) -> Block {
    let mut of = |n: u64, errors: f64, slower: i32| {
        let mut unit = unit(n, 0, Histogram::default());
        for _ in 0..n {
            if dice.chance(errors) {
                unit.errors += 1
            } else {
                unit.latency.add(50 + slower + (dice.draw() * 12.0) as i32, 1)
            }
        }
        unit
    };
    let canary = if worse { of(12, 0.2, 6) } else { of(12, 0.02, 0) };
    let stable = [of(12, 0.02, 0), of(12, 0.02, 0), of(12, 0.02, 0)];
    let mut wrong = |n: u32, p: f64| (0..n).map(|_| f64::from(u8::from(dice.chance(p)))).sum();
    let labels = Counts {
        canary_events: wrong(4, if worse { 0.3 } else { 0.05 }),
        stable_events: wrong(12, 0.05),
        canary: 4.0,
        stable: 12.0,
    };
    block(mode, &canary, &stable, &labels)
}

/// The most that `log_e` is expected to grow by in one block, after pasts of all kinds.
fn most(log_e: impl Fn(&Trial) -> f64 + Copy) -> f64 {
    let mut most: f64 = 0.0;
    for mode in Mode::ALL {
        for worse in [false, true] {
            let (mut trial, mut dice) = (new(mode), Dice::new(7));
            for number in 0..PAST {
                if number % 4 == 0 || number + 1 == PAST {
                    for (errors, wrong) in [(0.0, 0.0), (0.02, 0.05), (0.5, 0.9)] {
                        for buckets in [&[(50, 0.7), (60, 0.2), (90, 0.1)][..], &[(58, 1.0)]] {
                            let blocks = outcomes(mode, errors, wrong, buckets);
                            let update = |trial: &mut Trial, block: &Block| {
                                trial.observe(block);
                            };
                            most = most.max(growth(&trial, log_e, update, &blocks));
                        }
                    }
                }
                trial.observe(&past(mode, &mut dice, worse));
            }
            assert!(!worse || trial.log_e_rollback() > 1.0, "{mode:?}: the past moved nothing");
        }
    }
    most
}

#[test]
fn all_signals_together_are_expected_to_grow_by_nothing() {
    for mode in Mode::ALL {
        let log_e = new(mode).log_e_rollback();
        assert!(log_e.abs() < 1e-12, "the evidence begins at one: {log_e}");
    }
    let most = most(Trial::log_e_rollback);
    assert!(most <= 1.0 + ROUNDING, "{most}");
    assert!(most > 0.99, "blocks that tell nothing show nothing: {most}");
}

fn signals(trial: &Trial) -> Vec<(Signal, f64, f64)> {
    trial.evidence().signals.iter().map(|signal| (signal.signal, signal.weight, signal.log_e_rollback)).collect()
}

/// Weights of one signal too many.
#[test]
fn weights_that_add_up_to_more_than_one_are_found_out() {
    let trial = new(Mode::Requests);
    let sum = |errors: f64| -> f64 {
        let of = |(signal, weight, log_e): (Signal, f64, f64)| {
            if signal == Signal::Errors { errors * log_e.exp() } else { weight * log_e.exp() }
        };
        signals(&trial).into_iter().map(of).sum()
    };
    assert!((sum(0.4) - 1.0).abs() < 1e-12, "as they are");
    assert!(sum(0.5) > 1.0 + WRONG);
}

/// Weights that follow the evidence: all of it to the signal that says most.
#[test]
fn weights_that_follow_the_evidence_are_found_out() {
    let largest = |trial: &Trial| signals(trial).into_iter().map(|(_, _, log_e)| log_e).fold(f64::MIN, f64::max);
    let most = most(largest);
    assert!(most > 1.0 + WRONG, "{most}");
}
