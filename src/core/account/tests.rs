//! Differences by the kind of evidence there is, and sentences for every verdict.

use super::*;
use crate::core::judge::{Part, Policy, trial::Trial};

fn signal(of: Signal, canary: (f64, u64), stable: (f64, u64)) -> SignalEvidence {
    let mut found = Trial::new(&Policy::default()).evidence().signals.into_iter().find(|s| s.signal == of).unwrap();
    (found.canary_events, found.canary_n) = canary;
    (found.stable_events, found.stable_n) = stable;
    found
}

fn pairs(canary_worse: f64, stable_worse: f64, n: f64) -> PartEvidence {
    PartEvidence {
        part: Part::Rate,
        test: Test::Pairs,
        canary: canary_worse / n,
        stable: stable_worse / n,
        canary_n: n,
        stable_n: n,
        canary_events: canary_worse,
        stable_events: stable_worse,
        weight: None,
        log_e_rollback: None,
        log_e_promote: None,
    }
}

#[test]
fn errors_and_accuracy_differ_each_in_its_own_direction() {
    let errors = signal(Signal::Errors, (30.0, 1_000), (10.0, 9_000));
    let Difference { value, interval } = difference(&errors, Mode::Requests).unwrap();
    let Interval { low, high } = interval.unwrap();
    assert!((value - (0.03 - 10.0 / 9_000.0)).abs() < 1e-12);
    assert!(0.0 < low && low < value && value < high, "{low}..{high}");
    let accuracy = signal(Signal::Accuracy, (30.0, 1_000), (10.0, 9_000));
    let reversed = difference(&accuracy, Mode::Requests).unwrap();
    assert_eq!((reversed.value, reversed.interval.unwrap()), (-value, Interval { low: -high, high: -low }));
    let text = line(&errors, Mode::Requests);
    assert!(text.contains("difference +0.0289 (+0.0") && text.contains("against 0.00 of 5.52"), "{text}");
}

#[test]
fn where_one_endpoint_s_requests_fail_together_no_interval_is_claimed() {
    let errors = signal(Signal::Errors, (30.0, 1_000), (10.0, 9_000));
    assert_eq!(difference(&errors, Mode::Endpoints).unwrap().interval, None);
    let labels = signal(Signal::Accuracy, (30.0, 1_000), (10.0, 9_000));
    assert!(difference(&labels, Mode::Endpoints).unwrap().interval.is_some());
}

#[test]
fn a_canary_that_only_pairs_tell_of_differs_by_its_pairs() {
    let mut accuracy = signal(Signal::Accuracy, (0.0, 0), (0.0, 0));
    assert_eq!(difference(&accuracy, Mode::Requests), None);
    accuracy.parts = vec![pairs(40.0, 10.0, 1_000.0)];
    let Difference { value, interval } = difference(&accuracy, Mode::Requests).unwrap();
    let Interval { low, high } = interval.unwrap();
    assert!((value + 0.03).abs() < 1e-12 && low < value && value < high && high < 0.0, "{low}..{high}");
}

#[test]
fn every_verdict_says_what_would_change_it() {
    let mut evidence = Trial::new(&Policy::default()).evidence();
    evidence.guards = vec![
        GuardEvidence { guard: Guard::Samples, state: GuardState::Holds, value: 12.0, limit: 50.0 },
        GuardEvidence { guard: Guard::LabelDelay, state: GuardState::Good, value: 0.0, limit: 0.0 },
    ];
    let said = would_change(Verdict::Undecided(Reason::LowSamples), &evidence);
    assert_eq!(said[0], "50 canary requests; 12 so far");
    assert_eq!(said[1], "errors: more requests like stable's, until log e for the canary is 3.00; it is 0.00");
    assert_eq!(said.len(), 5, "three signals, a rollback: {said:?}");
    assert!(would_change(Verdict::Fail(Signal::Errors), &evidence)[0].starts_with("nothing that is still seen"));
    let pass = would_change(Verdict::Pass, &evidence);
    assert_eq!(pass, ["evidence against the canary: log e 2.30 stops a raise, 4.61 rolls back; it is 0.00"]);
}
