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
