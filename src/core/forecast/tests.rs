//! The forecast's median beside that of simulated streams.
#![allow(clippy::print_stdout, reason = "a simulation shows its figures")]

use super::*;
use crate::core::stats::{
    Counts,
    bernoulli::{BernoulliPromote, BernoulliRollback},
    mixture::HORIZON_BLOCKS,
    paired::{PairedPromote, PairedRollback},
    rate::{ERRORS_GRID, Edge, RatePromote, RateRollback},
};

/// A small seeded generator of numbers in 0..1 (`SplitMix64`).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn throw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
    }

    fn hits(&mut self, p: f64, n: f64) -> f64 {
        let mut hits = 0.0;
        let mut left = n;
        while left >= 1.0 {
            hits += f64::from(u8::from(self.throw() < p));
            left -= 1.0;
        }
        hits
    }
}

/// Canary exposures until the bound: the median of some hundred streams of blocks of ten.
fn happened<T: Counting>(test: &T, supposed: Supposed, bound: f64) -> f64 {
    let mut needed: Vec<f64> = (0..RUNS)
        .map(|seed| {
            let (mut dice, mut test, mut n) = (Dice(seed), test.clone(), 0.0);
            let stable = 10.0 * supposed.stable_per_canary;
            while test.evidence() < bound && n < 100_000.0 {
                let canary_events = dice.hits(supposed.canary, 10.0);
                let stable_events = dice.hits(supposed.stable, stable);
                test.take(&Counts { canary_events, stable_events, canary: 10.0, stable });
                n += 10.0;
            }
            n
        })
        .collect();
    needed.sort_by(f64::total_cmp);
    needed[needed.len() / 2]
}

/// Compares the two medians; what is further apart than a quarter.
fn compare<T: Counting>(what: &str, test: &T, supposed: Supposed, bound: f64) -> Option<String> {
    let forecast = passage(&Supposing { test: test.clone(), supposed }, bound, 1e6).exposures(0.5).unwrap();
    let happened = happened(test, supposed, bound);
    let ratio = forecast / happened;
    let (canary, stable) = (supposed.canary, supposed.stable);
    let line =
        format!("{what:<18} {stable:<6} {canary:<6} forecast {forecast:>6.0}, happened {happened:>6}: {ratio:.2}");
    println!("{line}");
    (!(0.75..=1.25).contains(&ratio)).then_some(line)
}

const RUNS: u64 = 300;

#[test]
fn the_forecast_s_median_is_within_a_quarter_of_what_happens() {
    let pass = -0.05_f64.ln();
    let at = |canary, stable| Supposed { canary, stable, stable_per_canary: 9.0 };
    let pairs = |canary, stable| Supposed { canary, stable, stable_per_canary: 1.0 };
    let mut wrong = Vec::new();
    let test = RatePromote::new(Edge { ratio: 1.25, margin: 0.002 });
    wrong.extend([0.0, 0.001, 0.005, 0.02].map(|p| compare("pass errors", &test, at(p, p), pass)));
    let test = BernoulliPromote::new(Edge { ratio: 1.0, margin: 0.02 });
    wrong.extend([0.05, 0.2, 0.4].map(|p| compare("pass labels", &test, at(p, p), pass)));
    let test = PairedPromote::new(0.02);
    wrong.extend([0.015, 0.04].map(|p| compare("pass pairs", &test, pairs(p, p), pass)));
    let test = RateRollback::new(Edge { ratio: 1.0, margin: 0.0005 }, &ERRORS_GRID, HORIZON_BLOCKS);
    for (canary, stable) in [(0.05, 0.001), (0.01, 0.001), (0.004, 0.001), (0.03, 0.01)] {
        wrong.push(compare("see errors", &test, at(canary, stable), -0.004_f64.ln()));
    }
    let test = BernoulliRollback::new(Edge { ratio: 1.0, margin: 0.002 }, HORIZON_BLOCKS);
    for (canary, stable) in [(0.1, 0.05), (0.2, 0.05), (0.25, 0.2), (0.3, 0.2)] {
        wrong.push(compare("see labels", &test, at(canary, stable), -0.003_f64.ln()));
    }
    let test = PairedRollback::new(0.002, HORIZON_BLOCKS);
    for (canary, stable) in [(0.065, 0.015), (0.09, 0.04)] {
        wrong.push(compare("see pairs", &test, pairs(canary, stable), -0.003_f64.ln()));
    }
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_forecast_from_the_middle_of_a_release_needs_what_is_left() {
    let supposed = Supposed { canary: 0.05, stable: 0.05, stable_per_canary: 9.0 };
    let mut test = BernoulliPromote::new(Edge { ratio: 1.0, margin: 0.02 });
    let needs = |test: &BernoulliPromote| {
        passage(&Supposing { test: test.clone(), supposed }, -0.05_f64.ln(), 1e6).exposures(0.5).unwrap()
    };
    let at_start = needs(&test);
    for _ in 0..40 {
        test.take(&Counts { canary_events: 0.5, stable_events: 4.5, canary: 10.0, stable: 90.0 });
    }
    let left = needs(&test);
    assert!((0.3..0.75).contains(&(left / at_start)), "{at_start} at the start, {left} after 400");
    for _ in 0..80 {
        test.take(&Counts { canary_events: 0.5, stable_events: 4.5, canary: 10.0, stable: 90.0 });
    }
    assert!(needs(&test) <= 0.0);
}

#[test]
fn what_never_comes_is_never_forecast() {
    let supposed = Supposed { canary: 0.07, stable: 0.05, stable_per_canary: 9.0 };
    let test = BernoulliPromote::new(Edge { ratio: 1.0, margin: 0.02 });
    let passage = passage(&Supposing { test, supposed }, -0.05_f64.ln(), 1e6);
    assert_eq!(passage.exposures(0.5), None, "a canary at the margin");
    assert!(passage.chance(1e6) <= 0.05, "{}", passage.chance(1e6));
    let way = |pace| Way { passage: Passage { curve: vec![(0.0, 0.0), (100.0, 1.0)] }, pace, wait_s: 10.0 };
    assert_eq!(way(0.0).seconds(0.5), None);
    assert_eq!(way(5.0).seconds(0.5), Some(20.0));
    assert_eq!(together(&[way(5.0), way(0.0)], 0.5), None);
    let both = together(&[way(5.0), way(5.0)], 0.5).unwrap();
    assert!((both - (10.0 + 20.0 * 0.5_f64.sqrt())).abs() < 1e-6, "{both}");
}

#[test]
fn a_luck_of_so_many_deviations_is_so_many_times_as_large() {
    assert_eq!(Luck { canary: 2.0, stable: -3.0 }.times(4.0), Luck { canary: 8.0, stable: -12.0 });
}

#[test]
fn between_two_points_a_passage_is_straight() {
    let passage = Passage { curve: vec![(0.0, 0.0), (100.0, 0.2), (300.0, 0.6), (400.0, 0.6), (500.0, 0.8)] };
    for (exposures, chance) in [(0.0, 0.0), (50.0, 0.1), (100.0, 0.2), (200.0, 0.4), (350.0, 0.6), (900.0, 0.8)] {
        assert!((passage.chance(exposures) - chance).abs() < 1e-12, "{exposures}");
    }
    assert!((passage.exposures(0.3).unwrap() - 150.0).abs() < 1e-9);
    assert!((passage.exposures(0.7).unwrap() - 450.0).abs() < 1e-9);
    assert!((passage.exposures(0.6).unwrap() - 300.0).abs() < 1e-9, "the first time that it is so likely");
    assert_eq!(passage.exposures(0.81), None);
    assert!(Passage::never().chance(9.0).abs() < 1e-12);
    assert_eq!((Passage::there().exposures(0.9), Passage::there().chance(0.0)), (Some(0.0), 1.0));
}

/// A test whose gain is known: 2 per exposure and more the further luck has strayed, either way, from where it began.
#[derive(Clone)]
struct Known {
    grown: f64,
    strayed: [f64; 2],
}

impl Ahead for Known {
    fn push(&mut self, canary: f64, luck: Luck) {
        let [of_canary, of_stable] = self.strayed;
        let more = 0.1 * of_canary * of_canary + 0.01 * of_stable * of_stable;
        self.grown += canary * (0.002 + 1e-4 * more) + 0.3 * luck.canary + 0.4 * luck.stable;
        self.strayed = [of_canary + luck.canary, of_stable + luck.stable];
    }

    fn grown(&self) -> f64 {
        self.grown
    }
}

#[test]
fn drift_is_averaged_over_pasts_a_deviation_to_either_side_and_luck_makes_the_variance() {
    let passage = passage(&Known { grown: 1.0, strayed: [0.0; 2] }, 11.0, 400.0);
    let (mut n, mut drift) = (0.0, 0.0);
    for (exposures, chance) in &passage.curve[1..] {
        let block = exposures - n;
        assert!((block - (0.08 * n).max(10.0)).abs() < 1e-9, "blocks grow by 8 % of what is behind them");
        // After n exposures luck has strayed by sqrt n: of the four pasts two by the canary's, two by stable's.
        drift += block * (0.002 + 1e-4 * (0.1 + 0.01) * n);
        n = *exposures;
        // 0.3^2 + 0.4^2 an exposure.
        let by_hand = normal::passage(10.0, drift, 0.25 * n);
        assert!((chance - by_hand).abs() < 1e-9, "{n}: {chance}, not {by_hand}");
    }
    assert!((400.0..440.0).contains(&n), "{n} are looked ahead");
    assert!((0.01..0.99).contains(&passage.chance(400.0)), "{}", passage.chance(400.0));
}

#[test]
fn as_many_exposures_are_looked_ahead_as_asked_and_no_block_more() {
    let test = Known { grown: 0.0, strayed: [0.0; 2] };
    assert_eq!(passage(&test, 1e6, 10.0).curve.len(), 2);
    assert_eq!(passage(&test, 1e6, 20.0).curve.len(), 3);
}

#[test]
fn two_signals_together_are_as_likely_as_both() {
    let way = |curve: &[(f64, f64)]| Way { passage: Passage { curve: curve.to_vec() }, pace: 1.0, wait_s: 0.0 };
    // Neither ever gets further than 60 %: both together no further than 36 %.
    let half = way(&[(0.0, 0.0), (100.0, 0.6)]);
    assert!(together(std::slice::from_ref(&half), 0.5).is_some());
    assert_eq!(together(&[half.clone(), half], 0.5), None);
    // The first stays at a half from 10 to 20, the second is there at 15: the first moment counts.
    let (resting, steady) =
        (way(&[(0.0, 0.0), (10.0, 0.5), (20.0, 0.5), (30.0, 1.0)]), way(&[(0.0, 0.0), (15.0, 1.0)]));
    let both = together(&[resting, steady], 0.5).unwrap();
    assert!((both - 15.0).abs() < 1e-6, "{both}");
}
