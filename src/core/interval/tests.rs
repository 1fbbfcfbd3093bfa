//! Coverage at all times at once, by seeded simulation, and what it costs in width.
#![allow(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a simulation shows its figures; its buckets are small"
)]

use super::*;
use crate::core::stats::histogram::Histogram;

const RUNS: u64 = 200;
const REQUESTS: u32 = 30_000;

/// A small seeded generator of numbers in 0..1 (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }

    fn hits(&mut self, p: f64) -> f64 {
        f64::from(u8::from(self.throw() < p))
    }
}

/// How many of the runs ever leave the truth out, looked at after each twentieth more requests.
fn missed(mut run: impl FnMut(&mut Dice, &mut dyn FnMut(u32) -> bool) -> bool) -> u64 {
    let runs = (0..RUNS).filter(|seed| {
        let mut next = 20.0;
        let mut is_look = |request: u32| {
            let look = f64::from(request) >= next;
            if look {
                next *= 1.05;
            }
            look
        };
        run(&mut Dice(*seed), &mut is_look)
    });
    u64::try_from(runs.count()).unwrap()
}

/// Whether both ends of the interval leave room for the truth.
fn covers(canary: Seen, stable: Seen, truth: f64) -> bool {
    is_possible(canary, stable, truth) && is_possible(stable, canary, -truth)
}

/// What an interval for one look says.
fn covers_once(canary: Seen, stable: Seen, truth: f64) -> bool {
    let [(p_c, v_c), (p_s, v_s)] = [canary, stable].map(|seen| {
        let p = seen.events / seen.n;
        (p, p * (1.0 - p) / seen.n)
    });
    (p_c - p_s - truth).abs() <= 1.96 * (v_c + v_s).sqrt()
}

/// Runs that ever leave out the difference of the rates so far, the variants' rates at a moment 0..1 of the run as given.
fn missed_difference(share: f64, rates: impl Fn(f64) -> (f64, f64), covers: impl Fn(Seen, Seen, f64) -> bool) -> u64 {
    missed(|dice, is_look| {
        let nothing = Seen { events: 0.0, n: 0.0 };
        let (mut canary, mut stable, mut expected) = (nothing, nothing, (0.0, 0.0));
        for request in 0..REQUESTS {
            let (p_c, p_s) = rates(f64::from(request) / f64::from(REQUESTS));
            if dice.throw() < share {
                canary = Seen { events: canary.events + dice.hits(p_c), n: canary.n + 1.0 };
                expected.0 += p_c;
            } else {
                stable = Seen { events: stable.events + dice.hits(p_s), n: stable.n + 1.0 };
                expected.1 += p_s;
            }
            if canary.n > 0.0 && stable.n > 0.0 && is_look(request) {
                let truth = expected.0 / canary.n - expected.1 / stable.n;
                if !covers(canary, stable, truth) {
                    return true;
                }
            }
        }
        false
    })
}

#[test]
fn the_difference_of_two_rates_is_covered_at_all_times_at_once() {
    let drift = |t: f64| 0.02 + 0.08 * (0.5 - 0.5 * (t * 12.0).cos());
    let counts = [
        ("errors of 0.1 %", missed_difference(0.1, |_| (0.001, 0.001), covers)),
        ("5 % against 4 %", missed_difference(0.1, |_| (0.05, 0.04), covers)),
        ("20 % against 25 %, half and half", missed_difference(0.5, |_| (0.2, 0.25), covers)),
        ("both drift between 2 % and 10 %", missed_difference(0.1, |t| (drift(t), drift(t)), covers)),
    ];
    for (what, missed) in counts {
        println!("{what}: {missed} of {RUNS} runs ever left the truth out");
        assert!(missed as f64 <= ALPHA * RUNS as f64, "{what}: {missed}");
    }
    let fooled = missed_difference(0.5, |_| (0.2, 0.25), covers_once);
    println!("the last but one by an interval for one look: {fooled} of {RUNS}");
    assert!(fooled as f64 > 3.0 * ALPHA * RUNS as f64, "{fooled}: then looking would be no problem");
}

#[test]
fn pairs_are_covered_at_all_times_at_once() {
    for (only_canary, only_stable) in [(0.015, 0.015), (0.04, 0.02), (0.3, 0.25)] {
        let missed = missed(|dice, is_look| {
            let mut pairs = PairCounts::default();
            for request in 0..REQUESTS / 3 {
                let throw = dice.throw();
                pairs.n += 1.0;
                pairs.canary_worse += f64::from(u8::from(throw < only_canary));
                pairs.stable_worse += f64::from(u8::from(throw > 1.0 - only_stable));
                let truth = only_canary - only_stable;
                if is_look(request) && !(paired(pairs).low..=paired(pairs).high).contains(&truth) {
                    return true;
                }
            }
            false
        });
        println!("{only_canary} against {only_stable}: {missed} of {RUNS} runs ever left the truth out");
        assert!(missed as f64 <= ALPHA * RUNS as f64, "{missed}");
    }
}

#[test]
fn the_ratio_of_two_quantiles_is_covered_at_all_times_at_once() {
    for (q, slower) in [(0.5, 0), (0.99, 5)] {
        let missed = missed(|dice, is_look| {
            let (mut canary, mut stable) = (Histogram::default(), Histogram::default());
            for request in 0..REQUESTS / 6 {
                // Skewed, with a tail: the product of two throws, in buckets.
                let bucket = (60.0 * dice.throw() * dice.throw()).round() as i32;
                if dice.throw() < 0.3 {
                    canary.add(bucket + slower, 1)
                } else {
                    stable.add(bucket, 1)
                }
                if canary.total() > 0 && stable.total() > 0 && is_look(request) {
                    let Ratio { low, high } = ratio(&canary, &stable, q);
                    let truth = (f64::from(slower) / 16.0).exp2();
                    if truth < low || truth > high {
                        return true;
                    }
                }
            }
            false
        });
        println!("q {q}: {missed} of {RUNS} runs ever left the truth out");
        assert!(missed as f64 <= ALPHA * RUNS as f64, "{missed}");
    }
}

#[test]
fn what_looking_at_any_time_costs_in_width() {
    println!("width over that of an interval for one look (Wald, 95 %)");
    for (share, rate) in [(0.1, 0.001), (0.1, 0.05), (0.5, 0.05), (0.5, 0.2)] {
        for n in [10_000.0, 100_000.0, 1_000_000.0] {
            let [canary, stable] = [share, 1.0 - share].map(|part: f64| Seen { events: n * part * rate, n: n * part });
            let variance = rate * (1.0 - rate) * (1.0 / canary.n + 1.0 / stable.n);
            let Interval { low, high } = difference(canary, stable);
            let cost = (high - low) / (2.0 * 1.96 * variance.sqrt());
            println!("share {share}, rate {rate}, {n} requests: {low:+.5}..{high:+.5}, {cost:.2} times");
            // With a single event of the canary expected, the normal interval is too narrow itself.
            assert!((1.5..if canary.events < 5.0 { 4.0 } else { 2.4 }).contains(&cost), "{cost}");
        }
    }
    for (disagree, n) in [(0.03, 500.0), (0.03, 5000.0), (0.3, 5000.0), (0.03, 500_000.0)] {
        let pairs = PairCounts { canary_worse: disagree / 2.0 * n, stable_worse: disagree / 2.0 * n, n };
        let Interval { low, high } = paired(pairs);
        let cost = (high - low) / (2.0 * 1.96 * (disagree / n).sqrt());
        println!("{n} pairs, {disagree} differ: {low:+.5}..{high:+.5}, {cost:.2} times");
        assert!((1.5..2.4).contains(&cost), "{cost}");
    }
}

#[test]
fn nothing_seen_rules_nothing_out() {
    let nothing = Seen { events: 0.0, n: 0.0 };
    let all = Interval { low: -1.0, high: 1.0 };
    assert_eq!(difference(nothing, Seen { events: 1.0, n: 10.0 }), all);
    assert_eq!(paired(PairCounts::default()), all);
    let mut some = Histogram::default();
    some.add(40, 3);
    let Ratio { low, high } = ratio(&some, &Histogram::default(), 0.5);
    assert_eq!((low, high), (0.0, f64::INFINITY));
}

#[test]
fn no_events_at_all_are_bounded_by_the_exposures() {
    let (canary, stable) = (Seen { events: 0.0, n: 2_000.0 }, Seen { events: 0.0, n: 18_000.0 });
    let Interval { low, high } = difference(canary, stable);
    assert!(low < 0.0 && high > 0.0 && high < 0.006, "{low}..{high}");
    let perfect = PairCounts { canary_worse: 0.0, stable_worse: 0.0, n: 1_000.0 };
    let Interval { low, high } = paired(perfect);
    assert!((low + high).abs() < 1e-9 && high > 0.0 && high < 0.01, "{low}..{high}");
}

/// Worked out by another program (Python) from the formulae at the head of `interval`, with the nuisance searched in 400 steps.
#[test]
fn the_ends_are_those_of_the_formulae() {
    let near = |Interval { low, high }: Interval, wanted: [f64; 2]| {
        assert!((low - wanted[0]).abs() < 1.5e-9 && (high - wanted[1]).abs() < 1.5e-9, "{low}..{high}, not {wanted:?}");
    };
    let seen = |events: f64, n: f64| Seen { events, n };
    near(rate(seen(30.0, 1_000.0)), [0.014_625_518_071, 0.052_471_575_569]);
    near(rate(seen(0.0, 1_000.0)), [0.0, 0.005_718_798_950]);
    near(rate(seen(0.0, 0.0)), [0.0, 1.0]);
    near(difference(seen(30.0, 1_000.0), seen(10.0, 9_000.0)), [0.013_041_150_090, 0.052_545_758_554]);
    near(difference(seen(200.0, 1_000.0), seen(900.0, 1_000.0)), [-0.758_075_482_949, -0.635_520_329_627]);
    let pairs = PairCounts { canary_worse: 30.0, stable_worse: 10.0, n: 1_000.0 };
    near(paired(pairs), [-0.001_589_267_288, 0.044_475_138_153]);
    let lost = paired(PairCounts { canary_worse: 0.0, stable_worse: 50.0, n: 50.0 });
    assert!(lost.low <= -1.0, "all of them: {}", lost.low);
}

#[test]
fn the_slope_of_the_evidence_is_its_derivative() {
    for (events, n, p) in [(30.0, 1_000.0, 0.02), (0.0, 50.0, 0.3), (40.0, 50.0, 0.7)] {
        let seen = Seen { events, n };
        let (_, slope) = seen.log_above(p);
        let by_difference = (seen.log_above(p + 1e-6).0 - seen.log_above(p - 1e-6).0) / 2e-6;
        assert!((slope - by_difference).abs() < 1e-5 * slope.abs(), "{slope}, {by_difference}");
    }
}

#[test]
fn quantiles_that_are_known_for_sure_have_a_ratio_to_a_bucket() {
    let in_each = |buckets: &[i32]| {
        let mut histogram = Histogram::default();
        buckets.iter().for_each(|bucket| histogram.add(*bucket, 1_000));
        histogram
    };
    // Eight buckets of 2^(1/16) apart, each up to one bucket wide.
    let Ratio { low, high } = ratio(&in_each(&[50]), &in_each(&[42]), 0.5);
    assert_eq!((low, high), ((7.0_f64 / 16.0).exp2(), (9.0_f64 / 16.0).exp2()));
    // Half in one, half in the next: the median may be in either.
    let Ratio { low, high } = ratio(&in_each(&[50]), &in_each(&[42, 43]), 0.5);
    assert_eq!((low, high), ((6.0_f64 / 16.0).exp2(), (9.0_f64 / 16.0).exp2()));
}
