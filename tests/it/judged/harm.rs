//! Canaries that do harm: whether they are found, and how many requests or labels they have been given by then.

use super::{Run, Signal, World, count, limits, many, policy, quantile, run, runs};

/// Runs of each effect in `make test`.
const RUNS: u64 = 24;

pub(super) struct Harm {
    pub(super) name: &'static str,
    pub(super) world: World,
    signal: Signal,
    /// Most canary requests (accuracy: canary labels) until half of the runs have found it: judge.md section 8; while shared
    /// bursts hide it, more.
    median: u64,
}

/// The effects of judge.md, section 8.
pub(super) fn harms() -> Vec<Harm> {
    let base = || World { requests: 40_000, ..World::default() };
    let of = |name, signal, median, world| Harm { name, world, signal, median };
    vec![
        of("errors 0.1 % -> 5 %", Signal::Errors, 120, World { errors: (0.001, 0.05), ..base() }),
        of("errors 0.1 % -> 1 %", Signal::Errors, 870, World { errors: (0.001, 0.01), ..base() }),
        of("wrong answers 5 % -> 20 %", Signal::Accuracy, 180, World { wrong: (0.05, 0.2), ..base() }),
        of("slowest 3 % twice as slow", Signal::Latency, 1_600, World { slower: (1.0, 2.0), ..base() }),
        of("all 1.5 times as slow", Signal::Latency, 280, World { slower: (1.5, 1.0), ..base() }),
        of(
            "errors 0.1 % -> 5 %, ramp and drift",
            Signal::Errors,
            220,
            World { errors: (0.001, 0.05), splits: vec![(0, 0.01), (4_000, 0.1)], drift: 0.5, bursts: true, ..base() },
        ),
    ]
}

#[test]
fn a_canary_that_does_harm_is_found_in_time() {
    let (policy, n) = (policy(), runs(RUNS));
    println!("found, of {n} streams each, and canary requests (accuracy: canary labels) by then");
    println!("{:38} {:>7} {:>8} {:>8} {:>8}", "harm", "found", "median", "9 of 10", "goal");
    for (number, harm) in (50_u64..).zip(harms()) {
        let seen = many(n, |seed| run(&harm.world, &policy, number * 1_000_000 + seed));
        let found = count(&seen, |run| run.failed == Some(harm.signal) && !run.passed);
        let took = |run: &Run| if harm.signal == Signal::Accuracy { run.at_labels } else { run.at_canary };
        let at = |q| quantile(seen.iter().map(took), q);
        println!("{:38} {found:>7} {:>8} {:>8} {:>8}", harm.name, at(0.5), at(0.9), harm.median);
        assert!(found == n, "{}: {found} of {n} were found", harm.name);
        let longer = count(&seen, |run| took(run) > harm.median);
        assert!(limits::lower(longer, n) <= 0.5, "{}: {longer} of {n} took longer than {}", harm.name, harm.median);
    }
}
