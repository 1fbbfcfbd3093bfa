//! Whole tests: after any past, what a test's evidence is expected to be after the next block is at most what it is now. So mixtures, weights
//! that must add up to one, and bets that may only be learnt from what is past are all looked at as they are used.

use super::{Outcomes, ROUNDING, SIZES, WRONG, binomial, latencies, points, rates};
use crate::streams::Dice;
use coalmine::core::stats::{
    Counts,
    bernoulli::{BernoulliPromote, BernoulliRollback},
    disagreement::{DisagreementPromote, DisagreementRollback},
    endpoint::Units,
    histogram::Histogram,
    latency::{LatencyPromote, LatencyRollback},
    paired::{PairCounts, PairedPromote, PairedRollback},
    rate::{ERRORS_GRID, Edge, RatePromote, RateRollback},
    reference::Reference,
    sample_ratio::SampleRatio,
    window::Window,
};

/// Blocks over which starts are spread: so few that pasts go beyond.
const HORIZON: u32 = 12;
/// Lengths of pasts, in blocks.
const PASTS: [u32; 4] = [0, 1, 8, 20];

/// By how much the evidence is expected to be multiplied.
pub(super) fn growth<T: Clone, B>(
    test: &T,
    log_e: impl Fn(&T) -> f64,
    update: impl Fn(&mut T, &B),
    blocks: &Outcomes<B>,
) -> f64 {
    let now = log_e(test);
    let after = |block: &B| {
        let mut test = test.clone();
        update(&mut test, block);
        (log_e(&test) - now).exp()
    };
    blocks.iter().filter(|(chance, _)| *chance > 0.0).map(|(chance, block)| chance * after(block)).sum()
}

#[track_caller]
fn fair(growth: f64, what: &str) {
    assert!(growth <= 1.0 + ROUNDING, "{what}: {growth}");
}

fn counts(dice: &mut Dice, p_c: f64, p_s: f64) -> Counts {
    let mut of = |n: u32, p: f64| (0..n).map(|_| f64::from(u8::from(dice.chance(p)))).sum::<f64>();
    Counts { canary_events: of(12, p_c), stable_events: of(60, p_s), canary: 12.0, stable: 60.0 }
}

/// A test of rates, in pasts of all kinds, on its null.
fn of_rates<T: Clone>(
    new: impl Fn(Edge) -> T,
    edges: &[Edge],
    below: bool,
    update: impl Fn(&mut T, &Counts) + Copy,
    log_e: impl Fn(&T) -> f64 + Copy,
) -> f64 {
    let mut most: f64 = 0.0;
    for (seed, edge) in (0..).zip(edges) {
        assert!(log_e(&new(*edge)).abs() < 1e-12, "evidence begins at one");
        for (past, (was_c, was_s)) in
            PASTS.into_iter().flat_map(|n| [(0.0, 0.0), (0.1, 0.1), (0.3, 0.05)].map(|p| (n, p)))
        {
            let (mut test, mut dice) = (new(*edge), Dice::new(seed));
            (0..past).for_each(|_| update(&mut test, &counts(&mut dice, was_c, was_s)));
            for (p_c, p_s) in points(|p| edge.at(p), below) {
                for size in SIZES {
                    most = most.max(growth(&test, log_e, update, &rates(size, p_c, p_s)));
                }
            }
        }
    }
    most
}

const ROLLBACK: [Edge; 2] = [Edge { ratio: 1.0, margin: 0.0005 }, Edge { ratio: 1.0, margin: 0.02 }];
const PROMOTE: [Edge; 2] = [Edge { ratio: 1.25, margin: 0.002 }, Edge { ratio: 1.0, margin: 0.02 }];

#[test]
fn rare_events() {
    let rollback = |edge| RateRollback::new(edge, &ERRORS_GRID, HORIZON);
    fair(of_rates(rollback, &ROLLBACK, true, RateRollback::update, RateRollback::log_e), "errors against");
    fair(of_rates(RatePromote::new, &PROMOTE, false, RatePromote::update, RatePromote::log_e), "errors for");
}

#[test]
fn events_that_are_not_rare() {
    let rollback = |edge| BernoulliRollback::new(edge, HORIZON);
    fair(of_rates(rollback, &ROLLBACK, true, BernoulliRollback::update, BernoulliRollback::log_e), "labels against");
    let update = |test: &mut BernoulliPromote, block: &Counts| test.update(block, None);
    fair(of_rates(BernoulliPromote::new, &PROMOTE, false, update, BernoulliPromote::log_e), "labels for");
}

/// A test that wins by looking at a block before it bets on it.
#[test]
fn what_learns_before_it_bets_is_found_out() {
    let rollback = |edge| (RateRollback::new(edge, &ERRORS_GRID, HORIZON), 0.0);
    let peek = |(test, log_e): &mut (RateRollback, f64), block: &Counts| {
        let with = |mut test: RateRollback| {
            let before = test.log_e();
            test.update(block);
            test.log_e() - before
        };
        let mut knows = test.clone();
        knows.update(block);
        *log_e += with(knows).max(with(test.clone()));
        test.update(block);
    };
    let most = of_rates(rollback, &ROLLBACK, true, peek, |(_, log_e)| *log_e);
    assert!(most > 1.0 + WRONG, "{most}");
}

#[test]
fn draws() {
    for past in PASTS {
        let mut test = SampleRatio::default();
        (0..past).for_each(|i| test.update(u64::from(i % 3), 9, 0.1));
        for share in [0.02, 0.5] {
            let draws: Outcomes<u64> = binomial(9, share).into_iter().zip(0..).collect();
            let update = |test: &mut SampleRatio, canary: &u64| test.update(*canary, 9 - canary, share);
            let got = growth(&test, SampleRatio::log_e, update, &draws);
            assert!((got - 1.0).abs() < ROUNDING, "{got}");
        }
    }
}

#[test]
fn copies_that_disagree() {
    const LIMIT: f64 = 0.05;
    let (mut against, mut pro) = (DisagreementRollback::new(LIMIT), DisagreementPromote::new(LIMIT));
    let mut dice = Dice::new(3);
    for block in 0..60 {
        let blocks = |q: f64| -> Outcomes<f64> { binomial(6, q).into_iter().zip((0..).map(f64::from)).collect() };
        for part in [1.0, 0.5, 0.0] {
            let update = |test: &mut DisagreementRollback, k: &f64| test.update(*k, 6.0);
            fair(growth(&against, DisagreementRollback::log_e, update, &blocks(LIMIT * part)), "against");
            let update = |test: &mut DisagreementPromote, k: &f64| test.update(*k, 6.0);
            fair(growth(&pro, DisagreementPromote::log_e, update, &blocks(1.0 - (1.0 - LIMIT) * part)), "for");
        }
        let k = (0..6).filter(|_| dice.chance(if block < 30 { 0.2 } else { 0.02 })).count() as f64;
        against.update(k, 6.0);
        pro.update(k, 6.0);
    }
}

#[test]
fn pairs() {
    let outcomes = |n: u32, p_b: f64, p_c: f64| -> Outcomes<PairCounts> {
        let of =
            |b: u32, c: u32| PairCounts { canary_worse: f64::from(b), stable_worse: f64::from(c), n: f64::from(n) };
        let (bs, rest) = (binomial(n, p_b), |b: u32| binomial(n - b, p_c / (1.0 - p_b)));
        let all =
            (0..=n).flat_map(|b| (0_u32..).zip(rest(b)).map(move |(c, chance)| (b, c, chance)).collect::<Vec<_>>());
        all.map(|(b, c, chance)| (bs[b as usize] * chance, of(b, c))).collect()
    };
    let (mut against, mut pro) = (PairedRollback::new(0.002, HORIZON), PairedPromote::new(0.02));
    let mut dice = Dice::new(4);
    for block in 0..40 {
        for stable in [0.0, 0.01, 0.3] {
            let (worst, better) = (outcomes(5, stable + 0.002, stable), outcomes(5, stable, stable + 0.01));
            for blocks in [worst, better] {
                fair(growth(&against, PairedRollback::log_e, PairedRollback::update, &blocks), "pairs against");
            }
            for blocks in [outcomes(5, stable + 0.02, stable), outcomes(5, stable + 0.4, stable)] {
                fair(growth(&pro, PairedPromote::log_e, PairedPromote::update, &blocks), "pairs for");
            }
        }
        let mut worse = |p: f64| (0..8).filter(|_| dice.chance(p)).count() as f64;
        let past =
            PairCounts { canary_worse: worse(if block < 20 { 0.1 } else { 0.01 }), stable_worse: worse(0.05), n: 16.0 };
        against.update(&past);
        pro.update(&past);
    }
}

/// Windows of endpoints whose values are 0 or 1.
#[test]
fn units() {
    let blocks = |(canary, stable): (u32, u32), p_c: f64, p_s: f64| -> Outcomes<Units> {
        let of = |n: u32, k: f64| (0..n).map(|i| f64::from(u8::from(f64::from(i) < k))).collect();
        let units = |b: &Counts| Units { canary: of(canary, b.canary_events), stable: of(stable, b.stable_events) };
        rates((canary, stable), p_c, p_s).iter().map(|(chance, block)| (*chance, units(block))).collect()
    };
    let (against_edge, pro_edge) = (ROLLBACK[1], PROMOTE[0]);
    let (mut against, mut pro) = (RateRollback::new(against_edge, &ERRORS_GRID, HORIZON), RatePromote::new(pro_edge));
    let mut dice = Dice::new(5);
    for block in 0..60 {
        for size in [(1, 1), (2, 3)] {
            for (p_c, p_s) in points(|p| against_edge.at(p), true) {
                let update = |test: &mut RateRollback, units: &Units| test.update_units(units, against_edge);
                fair(growth(&against, RateRollback::log_e, update, &blocks(size, p_c, p_s)), "units against");
            }
            for (p_c, p_s) in points(|p| pro_edge.at(p), false) {
                let update = |test: &mut RatePromote, units: &Units| test.update_units(units, pro_edge);
                fair(growth(&pro, RatePromote::log_e, update, &blocks(size, p_c, p_s)), "units for");
            }
        }
        let mut of = |n: u32, p: f64| (0..n).map(|_| f64::from(u8::from(dice.chance(p)))).collect();
        let past = Units { canary: of(2, if block < 30 { 0.1 } else { 0.5 }), stable: of(4, 0.1) };
        against.update_units(&past, against_edge);
        pro.update_units(&past, pro_edge);
    }
}

/// Ranks and tails together, whatever stable's latency was until now.
#[test]
fn latency() {
    type Both = (Histogram, Histogram);
    const SHIFT: i32 = 1;
    let mut against = LatencyRollback::new(SHIFT, HORIZON);
    let mut pro = [(0.5, 4), (0.9, 4), (0.99, 6)].map(|(q, shift)| (LatencyPromote::new(q, shift), shift));
    let mut reference = Reference::default();
    let mut dice = Dice::new(6);
    let mut drawn = |n: u32, slower: i32| {
        let mut histogram = Histogram::default();
        (0..n).for_each(|_| {
            histogram.add(slower + if dice.chance(0.1) { 90 } else { 50 + (dice.draw() * 12.0) as i32 }, 1)
        });
        histogram
    };
    let blocks = |stable: &[(i32, f64)], slower: i32| -> Outcomes<Both> {
        let canary: Vec<_> = stable.iter().map(|(bucket, p)| (bucket + slower, *p)).collect();
        let of_stable = latencies(3, stable);
        let both = |(chance, c): &(f64, Histogram)| {
            of_stable.iter().map(|(other, s)| (chance * other, (c.clone(), s.clone()))).collect::<Vec<_>>()
        };
        latencies(2, &canary).iter().flat_map(both).collect()
    };
    let present = [vec![(50, 0.6), (60, 0.3), (90, 0.1)], vec![(57, 0.1), (90, 0.9)], vec![(40, 1.0)]];
    for block in 0..30 {
        let past = reference.distribution();
        if reference.is_ready() {
            for stable in &present {
                let update = |test: &mut LatencyRollback, (c, s): &Both| test.update(c, s, &past);
                for slower in [SHIFT, 0, -30] {
                    fair(growth(&against, LatencyRollback::log_e, update, &blocks(stable, slower)), "latency against");
                }
                for (test, shift) in &pro {
                    let update = |test: &mut LatencyPromote, (c, s): &Both| test.update(c, s, &reference, &past);
                    for slower in [*shift, shift + 30] {
                        fair(growth(test, LatencyPromote::log_e, update, &blocks(stable, slower)), "latency for");
                    }
                }
            }
        }
        let (canary, stable) = (drawn(10, if block < 15 { 0 } else { 12 }), drawn(40, 0));
        if reference.is_ready() {
            against.update(&canary, &stable, &past);
            pro.iter_mut().for_each(|(test, _)| test.update(&canary, &stable, &reference, &past));
        }
        reference.learn(&stable);
    }
    assert!(against.log_e() > 1.0 && pro[0].0.log_e() < -1.0, "the past moved them");
}

/// Promotion by windows, whatever stable's latency was until now: one endpoint of the canary and two of stable's, each with two
/// requests, the canary's slower by what may be or by more.
#[test]
fn windows_of_latency() {
    let mut tests = [(0.5, 4), (0.9, 4), (0.99, 6)].map(|(q, shift)| (LatencyPromote::new(q, shift), shift));
    let (mut reference, mut dice) = (Reference::default(), Dice::new(7));
    let drawn = |dice: &mut Dice, slower: i32| {
        let mut histogram = Histogram::default();
        for _ in 0..20 {
            histogram.add(slower + if dice.chance(0.1) { 90 } else { 50 + (dice.draw() * 12.0) as i32 }, 1);
        }
        histogram
    };
    let present = [vec![(50, 0.6), (60, 0.3), (90, 0.1)], vec![(57, 0.1), (90, 0.9)], vec![(40, 1.0)]];
    let mut most: f64 = 0.0;
    for block in 0..40 {
        let past = reference.distribution();
        if reference.is_ready() {
            for stable in &present {
                for (test, shift) in &tests {
                    for slower in [*shift, shift + 30] {
                        let canary: Vec<_> = stable.iter().map(|(bucket, p)| (bucket + slower, *p)).collect();
                        let (ours, theirs) = (latencies(2, &canary), latencies(2, stable));
                        let mut blocks: Outcomes<[Histogram; 3]> = Vec::new();
                        for (c, canary) in &ours {
                            for (a, first) in &theirs {
                                let all = |(b, second): &(f64, Histogram)| {
                                    (a * b * c, [canary.clone(), first.clone(), second.clone()])
                                };
                                blocks.extend(theirs.iter().map(all));
                            }
                        }
                        let update = |test: &mut LatencyPromote, [canary, first, second]: &[Histogram; 3]| {
                            let window = Window::new(&[canary], &[first, second]).unwrap();
                            test.update_window(&window, &reference, &past);
                        };
                        let got = growth(test, LatencyPromote::log_e, update, &blocks);
                        fair(got, "windows for");
                        most = most.max(got);
                    }
                }
            }
            let (canary, first, second) =
                (drawn(&mut dice, if block < 25 { 0 } else { 12 }), drawn(&mut dice, 0), drawn(&mut dice, 0));
            let window = Window::new(&[&canary], &[&first, &second]).unwrap();
            tests.iter_mut().for_each(|(test, _)| test.update_window(&window, &reference, &past));
        }
        (0..2).for_each(|_| reference.learn(&drawn(&mut dice, 0)));
    }
    assert!(most > 0.9, "windows that tell nothing show nothing: {most}");
}
