//! Canaries that are as good as stable, in worlds that fool a test that is not made for them: how often they are taken back.

use super::{Run, World, count, limits, many, policy, run, runs};

/// Runs of each world in `make test`.
const RUNS: u64 = 50;

/// The canary is stable's twin in all of them.
fn worlds() -> Vec<(&'static str, World)> {
    let base = || World { requests: 40_000, labelled: (0.3, 0.3), label_delay_ms: 20_000.0, ..World::default() };
    let ramp = || vec![(0, 0.01), (4_000, 0.05), (10_000, 0.1), (20_000, 0.25), (30_000, 0.5)];
    vec![
        ("nothing happens", base()),
        ("errors are common", World { errors: (0.05, 0.05), wrong: (0.2, 0.2), ..base() }),
        ("ramp", World { splits: ramp(), errors: (0.02, 0.02), ..base() }),
        ("both drift", World { drift: 0.8, errors: (0.02, 0.02), ..base() }),
        ("ramp while both drift", World { splits: ramp(), drift: 0.8, errors: (0.05, 0.05), ..base() }),
        ("shared bursts", World { bursts: true, ..base() }),
        ("ramp, drift and bursts", World { splits: ramp(), drift: 0.8, bursts: true, ..base() }),
        ("split is 15 %, said 10 %", World { odds: 1.6, errors: (0.02, 0.02), ..base() }),
        ("cold start in the warm-up", World { cold: 150, ..base() }),
        ("wrong answers are labelled 6 : 1", World { labelled: (0.1, 0.6), ..base() }),
        ("labels come late", World { label_delay_ms: 200_000.0, drift: 0.5, ..base() }),
    ]
}

fn fails(runs: &[Run], alpha: f64) -> u64 {
    count(runs, |run| run.fails_at(alpha))
}

#[test]
fn a_canary_as_good_as_stable_is_taken_back_no_more_often_than_said() {
    let (policy, n) = (policy(), runs(RUNS));
    println!("taken back though as good as stable, of {n} streams each");
    println!("{:34} {:>8} {:>8} {:>8} {:>10}", "world", "at 1 %", "at 5 %", "at 20 %", "promoted");
    let mut all = Vec::new();
    for (number, (name, world)) in (1_u64..).zip(worlds()) {
        let seen = many(n, |seed| run(&world, &policy, number * 1_000_000 + seed));
        let [one, five, twenty] = [0.01, 0.05, 0.2].map(|alpha| fails(&seen, alpha));
        println!("{name:34} {one:>8} {five:>8} {twenty:>8} {:>10}", count(&seen, |run| run.passed));
        for (alpha, failed) in [(0.01, one), (0.05, five), (0.2, twenty)] {
            assert!(limits::lower(failed, n) <= alpha, "{name}: {failed} of {n} at {alpha}");
        }
        all.extend(seen);
    }
    let total = all.len() as u64;
    for alpha in [0.01, 0.05, 0.2] {
        let failed = fails(&all, alpha);
        let limit = limits::upper(failed, total);
        println!("all: {failed} of {total} at {alpha}, so with 95 % confidence at most {:.2} %", limit * 100.0);
        assert!(limit <= alpha, "{failed} of {total}: up to {limit}, and {alpha} is promised");
    }
}
