//! Forecasts made in the middle of simulated releases, beside what came of them.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a simulation shows its figures")]

use super::*;
use crate::core::{
    forecast::tests::Dice,
    judge::{Arm, Block, LabelBlock, Policy, RequestBlock, Verdict, trial::Trial},
    name::{ReleaseKey, RouteName},
    now::Now,
};

const RUNS: u64 = 60;
/// A look every ten seconds, at 50 requests a second, a tenth of them the canary's.
const LOOK_MS: u64 = 10_000;
const REQUESTS: [u32; 2] = [50, 450];
/// One in five is labelled.
const LABELS: [u32; 2] = [10, 90];

fn policy() -> Policy {
    Policy { latency: None, ..Policy::default() }
}

/// A block of a look in which the canary and stable fail, and are wrong, at these rates.
fn block(dice: &mut Dice, errors: [f64; 2], wrong: [f64; 2]) -> Block {
    let count = |dice: &mut Dice, n: u32, p: f64| (0..n).map(|_| u64::from(dice.throw() < p)).sum::<u64>();
    let [canary, stable] = [0, 1].map(|i| Arm {
        completed: u64::from(REQUESTS[i]),
        assigned: u64::from(REQUESTS[i]),
        errors: count(dice, REQUESTS[i], errors[i]),
        ..Arm::default()
    });
    let labels = LabelBlock {
        canary: u64::from(LABELS[0]),
        stable: u64::from(LABELS[1]),
        canary_wrong_micro: 1_000_000 * count(dice, LABELS[0], wrong[0]),
        stable_wrong_micro: 1_000_000 * count(dice, LABELS[1], wrong[1]),
    };
    let requests = RequestBlock { canary, stable, share: Some(0.1), warming_up: false };
    Block { requests: Some(requests), labels: Some(labels), ..Block::default() }
}

fn judged(trial: &Trial, verdict: Verdict, at_ms: u64) -> Judgement {
    Judgement {
        route: RouteName::new("digits").unwrap(),
        release: ReleaseKey(1),
        attempt: 1,
        verdict,
        evidence: trial.evidence(),
        since: Now::default(),
        at: Now { mono_ms: at_ms, wall_ms: at_ms },
    }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Seconds still needed after `looks`, forecast and happened: medians over the releases that were undecided by then.
fn compare(looks: u64, errors: [f64; 2], wrong: [f64; 2], told: impl Fn(&Forecast) -> Option<f64>) -> f64 {
    let (mut forecasts, mut happened) = (Vec::new(), Vec::new());
    for seed in 0..RUNS {
        let (mut dice, mut trial, mut at_ms) = (Dice(seed), Trial::new(&policy()), 0);
        loop {
            let verdict = trial.observe(&block(&mut dice, errors, wrong));
            at_ms += LOOK_MS;
            if at_ms == looks * LOOK_MS && matches!(verdict, Verdict::Undecided(_)) {
                forecasts.push(told(&forecast(&judged(&trial, verdict, at_ms))).unwrap_or(f64::INFINITY));
            }
            if !matches!(verdict, Verdict::Undecided(_)) || at_ms > 40_000_000 {
                break;
            }
        }
        if at_ms > looks * LOOK_MS {
            happened.push((at_ms - looks * LOOK_MS) as f64 / 1000.0);
        }
    }
    let (forecast, happened) = (median(forecasts), median(happened));
    println!("after {looks} looks: forecast {forecast:.0} s, happened {happened:.0} s: {:.2}", forecast / happened);
    forecast / happened
}

#[test]
fn a_running_release_is_forecast_to_a_quarter_of_what_comes() {
    let pass = |forecast: &Forecast| forecast.pass_seconds.half;
    let cases = [
        compare(5, [0.001; 2], [0.05; 2], pass),
        compare(30, [0.001; 2], [0.05; 2], pass),
        compare(10, [0.005; 2], [0.2; 2], pass),
        compare(100, [0.005; 2], [0.2; 2], pass),
    ];
    for ratio in cases {
        assert!((0.75..=1.25).contains(&ratio), "{ratio}");
    }
}

#[test]
fn an_effect_that_the_route_cares_about_is_forecast_to_a_quarter_of_what_comes() {
    // Twice the drop that promotion would not let pass, from the start of the release on.
    let seen =
        |forecast: &Forecast| forecast.signals.iter().find(|of| of.signal == Signal::Accuracy)?.seen?.1.seconds.half;
    let ratio = compare(5, [0.001; 2], [0.09, 0.05], seen);
    assert!((0.75..=1.25).contains(&ratio), "{ratio}");
}

#[test]
fn what_is_reached_needs_nothing_and_what_never_comes_is_not_forecast() {
    let mut trial = Trial::new(&policy());
    let mut judgement = judged(&trial, Verdict::Undecided(crate::core::judge::Reason::NoData), 0);
    assert_eq!(forecast(&judgement).pass_seconds, Span { half: None, most: None }, "nothing comes in");
    let mut dice = Dice(1);
    for _ in 0..400 {
        trial.observe(&block(&mut dice, [0.001; 2], [0.05; 2]));
    }
    judgement.evidence = trial.evidence();
    judgement.at.wall_ms = 400 * LOOK_MS;
    let told = forecast(&judgement);
    assert_eq!(told.pass_seconds.half, Some(0.0), "{told:?}");
    assert_eq!([told.signals[0].unit, told.signals[1].unit], ["requests", "labels"]);
}

/// A signal whose evidence is at 2 of 6, with these counts of its own.
fn signal(of: Signal, events: [f64; 2], n: [u64; 2]) -> SignalEvidence {
    let evidence = Trial::new(&Policy::default()).evidence();
    let mut signal = evidence.signals.into_iter().find(|signal| signal.signal == of).unwrap();
    [signal.canary_events, signal.stable_events] = events;
    [signal.canary_n, signal.stable_n] = n;
    (signal.log_e_promote, signal.log_e_promote_at) = (2.0, 6.0);
    (signal.log_e_rollback, signal.log_e_rollback_at) = (2.0, 6.0);
    signal
}

fn pairs(n: f64, events: [f64; 2]) -> crate::core::judge::PartEvidence {
    crate::core::judge::PartEvidence {
        part: crate::core::judge::Part::Rate,
        test: Test::Pairs,
        canary: events[0] / n,
        stable: events[1] / n,
        canary_n: n,
        stable_n: n,
        canary_events: events[0],
        stable_events: events[1],
        weight: None,
        log_e_rollback: None,
        log_e_promote: None,
        took: None,
    }
}

#[test]
fn what_counts_is_the_larger_of_a_signals_own_and_its_pairs() {
    let mut accuracy = signal(Signal::Accuracy, [4.0, 30.0], [100, 900]);
    accuracy.parts = vec![pairs(100.0, [3.0, 5.0])];
    let own = source(&accuracy, 50.0);
    assert_eq!((own.pairs, own.counts.stable, own.pace), (false, 900.0, 2.0), "as many pairs are no more");
    accuracy.parts = vec![pairs(101.0, [3.0, 5.0])];
    let of = source(&accuracy, 50.0);
    assert!(of.pairs);
    assert_eq!(
        of.counts,
        Counts { canary_events: 3.0, stable_events: 5.0, canary: 101.0, stable: 101.0 },
        "pairs count the same on both sides"
    );
    // Half of (3 + 5 + 1/2) in 102.
    assert!((of.stable() - 8.5 / 204.0).abs() < 1e-15, "{}", of.stable());
    assert!((own.stable() - 30.5 / 901.0).abs() < 1e-15, "{}", own.stable());
    assert!(source(&accuracy, 0.0).pace == 0.0, "no time has gone by");
}

#[test]
fn evidence_without_counts_is_taken_to_go_on_as_it_has() {
    let of = |canary| Source { counts: Counts { canary, stable: 900.0, ..Counts::default() }, pace: 1.0, pairs: false };
    // 2 in 200 requests: a hundredth a request, so that 4 more take 400.
    let passage = of(200.0).steady((2.0, 6.0));
    let (n, chance) = passage.curve[100];
    // Phi(0) + exp(2 x 4 x 4 / 8) Phi(-8 / sqrt 8) = 0.5 + 54.598 x 0.0023389.
    assert!((n - 400.0).abs() < 1e-9 && (chance - 0.627_70).abs() < 1e-5, "{n} {chance}");
    // Of twice as many: Phi(4/4) + exp(4) Phi(-12/4) = 0.84134 + 54.598 x 0.0013499.
    assert!((passage.chance(800.0) - 0.915_05).abs() < 1e-5, "{}", passage.chance(800.0));
    assert!((passage.curve[2000].0 - 8000.0).abs() < 1e-6, "twenty times that is looked ahead");
    assert_eq!(of(200.0).steady((6.0, 6.0)), Passage::there());
    assert_eq!(of(99.0).steady((2.0, 6.0)), Passage::never(), "too few to go by");
    assert!(of(100.0).steady((2.0, 6.0)).exposures(0.5).is_some());
    for none in [0.0, -1.0] {
        assert_eq!(of(200.0).steady((none, 6.0)), Passage::never(), "{none}");
    }
}

#[test]
fn in_pairs_a_canary_is_seen_that_is_wrong_alone_that_much_more_often() {
    let mut accuracy = signal(Signal::Accuracy, [0.0, 0.0], [0, 0]);
    accuracy.parts = vec![pairs(400.0, [8.0, 8.0])];
    (accuracy.stable, accuracy.margin, accuracy.pass_margin) = (0.98, 0.002, 0.02);
    let source = source(&accuracy, 100.0);
    let evidence = Trial::new(&Policy::default()).evidence();
    let (value, passage) = to_see(&accuracy, &evidence, &source).unwrap();
    assert!((value - 0.94).abs() < 1e-12, "twice 2 % below stable's 98 %: {value}");
    let expected = source.way(PairedRollback::new(0.002, HORIZON_BLOCKS), 16.5 / 802.0 + 0.04, (2.0, 6.0));
    let (is, expected) = (passage.exposures(0.5).unwrap(), expected.exposures(0.5).unwrap());
    assert!(is > 10.0 && (is - expected).abs() < 1e-6, "{is}, not {expected}");
}

/// A test that keeps the blocks it was given.
#[derive(Clone)]
struct Kept(Vec<Counts>);

impl Counting for Kept {
    fn take(&mut self, block: &Counts) {
        self.0.push(*block);
    }

    fn evidence(&self) -> f64 {
        0.0
    }
}

#[test]
fn the_past_is_given_in_blocks_of_ten_that_grow_by_a_quarter_all_in_the_same_proportion() {
    let counts = Counts { canary_events: 5.0, stable_events: 18.0, canary: 100.0, stable: 900.0 };
    let Kept(blocks) = with_past(Kept(Vec::new()), &counts);
    let sizes = [10.0, 10.0, 10.0, 10.0, 10.0, 12.5, 15.625, 19.531_25, 2.343_75];
    assert_eq!(blocks.len(), sizes.len());
    for (block, size) in blocks.iter().zip(sizes) {
        let near = |is: f64, expected: f64| assert!((is - expected).abs() < 1e-9, "{is}, not {expected}: {block:?}");
        near(block.canary, size);
        near(block.stable, 9.0 * size);
        near(block.canary_events, 0.05 * size);
        near(block.stable_events, 0.18 * size);
    }
    assert!(with_past(Kept(Vec::new()), &Counts::default()).0.is_empty());
}

/// The way from 2 to 6 with that many stable exposures beside one of the canary's.
fn way<T: Counting>(test: T, source: &Source, rates: (f64, f64), stable_per_canary: f64) -> Passage {
    let test = with_past(test, &source.counts);
    let bound = test.evidence() + 4.0;
    let supposed = Supposed { canary: rates.0, stable: rates.1, stable_per_canary };
    passage(&Supposing { test, supposed }, bound, EXPOSURES_MAX)
}

#[test]
fn each_signal_is_looked_ahead_by_the_test_that_judges_it() {
    let requests = Evidence { mode: Mode::Requests, ..Evidence::default() };
    let endpoints = Evidence { mode: Mode::Endpoints, ..Evidence::default() };
    // 9 in 900, half a one more: 9.5 in 901. Twice what 1.25 times that and 0.2 % more leave is an effect.
    let errors = signal(Signal::Errors, [1.0, 9.0], [100, 900]);
    let counted = source(&errors, 50.0);
    let stable = 9.5 / 901.0;
    let edge = Edge { ratio: 1.25, margin: 0.002 };
    let rate = way(RatePromote::new(edge), &counted, (stable, stable), 9.0);
    assert_eq!(to_pass(&errors, &requests, &counted), rate);
    assert_eq!(to_pass(&errors, &endpoints, &counted), counted.steady((2.0, 6.0)), "units have no counts");
    let limit = Edge { ratio: 1.0, margin: 0.0005 };
    let (value, seen) = to_see(&errors, &requests, &counted).unwrap();
    let worse = stable + 2.0 * (0.25 * stable + 0.002);
    assert!((value - worse).abs() < 1e-12, "{value}");
    assert_eq!(seen, way(RateRollback::new(limit, &ERRORS_GRID, HORIZON_BLOCKS), &counted, (value, stable), 9.0));
    assert_eq!(to_see(&errors, &endpoints, &counted), None);
    // Labels: 30.5 in 901 are wrong, 4 % more would be an effect.
    let accuracy = signal(Signal::Accuracy, [4.0, 30.0], [100, 900]);
    let counted = source(&accuracy, 50.0);
    let wrong = 30.5 / 901.0;
    let edge = |margin| Edge { ratio: 1.0, margin };
    for evidence in [&requests, &endpoints] {
        let equal = way(BernoulliPromote::new(edge(0.02)), &counted, (wrong, wrong), 9.0);
        assert_eq!(to_pass(&accuracy, evidence, &counted), equal);
        let (value, seen) = to_see(&accuracy, evidence, &counted).unwrap();
        assert!((value - (1.0 - wrong - 0.04)).abs() < 1e-12, "{value}");
        let test = BernoulliRollback::new(edge(0.002), HORIZON_BLOCKS);
        let expected = way(test, &counted, (wrong + 0.04, wrong), 9.0);
        let [is, expected] = [seen, expected].map(|passage| passage.exposures(0.5).unwrap());
        assert!((is - expected).abs() < 1e-6, "{is}, not {expected}");
    }
    // Pairs, of either: 12.5 in 402 differ, half of them each way.
    for of in [Signal::Errors, Signal::Accuracy] {
        let mut paired = signal(of, [0.0; 2], [0; 2]);
        paired.parts = vec![pairs(401.0, [4.0, 8.0])];
        let counted = source(&paired, 50.0);
        let half = 12.5 / 804.0;
        let expected = way(PairedPromote::new(paired.pass_margin), &counted, (half, half), 1.0);
        assert_eq!(to_pass(&paired, &requests, &counted), expected);
        assert_eq!(to_see(&paired, &requests, &counted).is_some(), of == Signal::Accuracy);
    }
}

#[test]
fn exposures_come_at_the_pace_seen_since_the_attempt_began() {
    let trial = Trial::new(&policy());
    let mut judgement = judged(&trial, Verdict::Undecided(crate::core::judge::Reason::Overlap), 70_000);
    judgement.since.wall_ms = 20_000;
    judgement.evidence.signals = vec![signal(Signal::Accuracy, [4.0, 30.0], [100, 900])];
    let told = forecast(&judgement);
    let Needs { exposures, seconds } = told.signals[0].pass;
    // A hundred labels in fifty seconds.
    let (labels, seconds) = (exposures.half.unwrap(), seconds.half.unwrap());
    assert!(labels > 100.0 && (seconds - labels / 2.0).abs() < 1e-6, "{labels} in {seconds} s");
}
