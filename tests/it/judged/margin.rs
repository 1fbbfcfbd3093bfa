//! Canaries exactly at the margin of promotion: as bad as nobody wants them, so that at most 5 % may pass.

use super::{Signal, World, count, limits, many, only, run, runs};
use coalmine::core::judge::Policy;

/// Runs of each margin in `make test`.
const RUNS: u64 = 100;

fn margins() -> Vec<(&'static str, Policy, World)> {
    let base =
        || World { requests: 20_000, rate: 50.0, splits: vec![(0, 0.5)], label_delay_ms: 0.0, ..World::default() };
    let labels =
        |wrong: f64| World { wrong: (wrong, wrong + 0.02), labelled: (1.0, 1.0), errors: (0.0, 0.0), ..base() };
    vec![
        ("errors 1 % -> 1.45 %", only(Signal::Errors), World { errors: (0.01, 0.0145), ..base() }),
        ("errors 0.1 % -> 0.325 %", only(Signal::Errors), World { errors: (0.001, 0.00325), ..base() }),
        ("errors 1 % -> 1.45 %, drift", only(Signal::Errors), World { errors: (0.01, 0.0145), drift: 0.5, ..base() }),
        ("wrong answers 5 % -> 7 %", only(Signal::Accuracy), labels(0.05)),
        ("wrong answers 20 % -> 22 %", only(Signal::Accuracy), labels(0.2)),
        ("all slower by 4 buckets", only(Signal::Latency), World { slower: (2.0_f64.powf(0.25), 1.0), ..base() }),
    ]
}

#[test]
fn a_canary_at_the_margin_is_promoted_in_at_most_one_run_of_twenty() {
    let n = runs(RUNS);
    println!("promoted though at the margin, of {n} streams each; at most 5 % may be");
    let (mut passed, mut total) = (0, 0);
    for (number, (name, policy, world)) in (70_u64..).zip(margins()) {
        let seen = many(n, |seed| run(&world, &policy, number * 1_000_000 + seed));
        let wrong = count(&seen, |run| run.passed);
        let limit = limits::upper(wrong, n) * 100.0;
        println!("{name:34} {wrong:>6}, so with 95 % confidence at most {limit:.2} %");
        assert!(limits::lower(wrong, n) <= 0.05, "{name}: {wrong} of {n}");
        (passed, total) = (passed + wrong, total + n);
    }
    assert!(limits::upper(passed, total) <= 0.05, "{passed} of {total}");
}
