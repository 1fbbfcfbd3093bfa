//! The judge beside its reference implementation, on the same streams: the same word at the same request.

use super::{World, harm::harms, many, policy, quantile, runs};
use crate::{
    stage::real,
    streams::{csv, events},
};
use coalmine::core::replay::{Setup, replay};
use std::{fs, process::Command};

/// Streams of each kind in `make test`.
const RUNS: u64 = 4;
/// Our median may be this multiple of the reference's.
const SLOWER_MAX: f64 = 1.05;

/// The documented harms, of which both must tell in the same time, and what is not harm alone.
fn worlds() -> Vec<(&'static str, World)> {
    let base = || World { requests: 12_000, labelled: (0.5, 0.5), label_delay_ms: 5_000.0, ..World::default() };
    let half = || World { splits: vec![(0, 0.5)], errors: (0.0, 0.0), wrong: (0.02, 0.02), ..base() };
    let ramp = || vec![(0, 0.01), (1_000, 0.05), (2_000, 0.1), (4_000, 0.25), (6_000, 0.5)];
    let effects = harms().into_iter().map(|harm| (harm.name, harm.world));
    let others = [
        ("errors", World { errors: (0.001, 0.03), ..base() }),
        ("wrong", World { wrong: (0.05, 0.15), ..base() }),
        ("slow", World { slower: (1.2, 1.0), splits: vec![(0, 0.25)], ..base() }),
        ("late", World { errors: (0.001, 0.08), from: 5_000, ..base() }),
        ("good", World { requests: 16_000, ..half() }),
        ("ramp", World { errors: (0.02, 0.02), splits: ramp(), drift: 0.5, bursts: true, ..base() }),
        ("split", World { odds: 1.6, ..base() }),
    ];
    effects.chain(others).collect()
}

/// `verdict at_request at_canary`.
type Said = (String, u64, u64);

#[test]
fn the_reference_says_the_same_at_the_same_request() {
    let (n, dir) = (runs(RUNS), tempfile::tempdir().unwrap());
    let setup = Setup { policy: policy(), ..Setup::default() };
    println!("canary requests until the verdict, median of {n} streams each: ours, the reference's");
    for (number, (name, world)) in (90_u64..).zip(worlds()) {
        let both = many(n, |seed| {
            let rows = world.rows(number * 1_000_000 + seed);
            let file = dir.path().join(format!("{number}-{seed}.csv"));
            fs::write(&file, csv(&rows)).unwrap();
            let ours = replay(&mut events(&rows), &setup);
            let ours: Said = (ours.said.as_str().to_owned(), ours.at_request, ours.at_canary);
            let script = real("tests/real/judge/replay_ref.py");
            let output =
                Command::new("python3").arg(script).arg("-").arg(&file).output().expect("python3 must be installed");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let mut words = text.split_whitespace().skip(1);
            let verdict = words.next().unwrap().to_owned();
            let mut at = || words.next().unwrap().parse().unwrap();
            let theirs: Said = (verdict, at(), at());
            fs::remove_file(file).unwrap();
            (ours, theirs)
        });
        for (seed, (ours, theirs)) in both.iter().enumerate() {
            assert_eq!(ours, theirs, "{name}, seed {seed}: ours, and the reference's");
        }
        let ours = quantile(both.iter().map(|(ours, _)| ours.2), 0.5);
        let theirs = quantile(both.iter().map(|(_, theirs)| theirs.2), 0.5);
        println!("{name:38} {:10} {ours:>8} {theirs:>8}", both[0].0.0);
        assert!(ours as f64 <= theirs as f64 * SLOWER_MAX, "{name}: {ours} and {theirs}");
    }
}
