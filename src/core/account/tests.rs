//! Differences by the kind of evidence there is, and sentences for every verdict.

use super::*;
use crate::core::{
    judge::{
        Bound, EndpointEvidence, Guardrail, GuardrailEvidence, Judgement, Part, Policy, Quantile, Took, trial::Trial,
    },
    name::{GuardrailName, ReleaseKey, RouteName},
    now::Now,
    stats::histogram::{Histogram, bucket_bound_ms},
};
use std::sync::Arc;

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
        took: None,
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

/// A part at a quantile of latencies that are these.
fn timed(part: Part, weight: f64, took: &Arc<Took>) -> PartEvidence {
    let value = |of: &Histogram| of.quantile(part.quantile().unwrap().share()).map_or(0.0, bucket_bound_ms);
    let (canary, stable) = (value(&took.canary), value(&took.stable));
    PartEvidence { part, canary, stable, weight: Some(weight), took: Some(took.clone()), ..pairs(0.0, 0.0, 1.0) }
}

/// `n` latencies between two octaves, the canary's a ninth of them and `slower` buckets above.
fn took(n: u64, slower: i32) -> Arc<Took> {
    let (mut canary, mut stable) = (Histogram::default(), Histogram::default());
    for bucket in 48..80 {
        canary.add(bucket + slower, n / 9);
        stable.add(bucket, n);
    }
    Arc::new(Took { canary, stable })
}

#[test]
fn latency_differs_by_a_factor_with_an_interval_at_each_quantile() {
    let slow = took(900, 8);
    let mut latency = signal(Signal::Latency, (0.0, 3_200), (0.0, 28_800));
    latency.parts = vec![
        timed(Part::Answer(Quantile::Ranks), 0.2, &took(900, 0)),
        timed(Part::Answer(Quantile::P99), 0.1, &took(900, 0)),
        timed(Part::FirstToken(Quantile::P50), 0.0, &slow),
        timed(Part::FirstToken(Quantile::P99), 0.2, &slow),
    ];
    (latency.canary, latency.stable) = (latency.parts[3].canary, latency.parts[3].stable);
    let Difference { value, interval } = difference(&latency, Mode::Requests).unwrap();
    let Interval { low, high } = interval.unwrap();
    assert!((value - 0.5_f64.exp2()).abs() < 1e-9, "the part that weighs most: {value}");
    assert!(1.0 < low && low < value && value < high && high < 2.0, "{low}..{high}");
    assert_eq!(difference(&latency, Mode::Endpoints).unwrap(), Difference { value, interval: None });
    let equal = of_latency(&latency.parts[1], Mode::Requests).unwrap().interval.unwrap();
    assert!(equal.low < 1.0 && equal.high > 1.0, "{equal:?}");
    let median = of_part(&latency.parts[2], Mode::Requests).unwrap().interval.unwrap();
    assert!(median.low < value && value < median.high, "all of it is slower: {median:?}");
    assert!(line(&latency, Mode::Requests).contains("difference x1.414 (x1."), "{}", line(&latency, Mode::Requests));
    // Few requests say nothing of the slowest ones: there is no upper end.
    let few = timed(Part::Answer(Quantile::P999), 0.2, &took(9, 0));
    assert!(of_latency(&few, Mode::Requests).unwrap().interval.unwrap().high.is_infinite());
    assert_eq!(of_latency(&pairs(1.0, 1.0, 9.0), Mode::Requests), None);
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

#[test]
fn without_both_values_there_is_no_difference() {
    let mut latency = signal(Signal::Latency, (0.0, 10), (0.0, 10));
    for (canary, stable, wanted) in [(30.0, 20.0, Some(1.5)), (0.0, 20.0, None), (30.0, 0.0, None), (0.0, 0.0, None)] {
        (latency.canary, latency.stable) = (canary, stable);
        let found = difference(&latency, Mode::Requests);
        assert_eq!(
            found.map(|found| (found.value, found.interval)),
            wanted.map(|value| (value, None)),
            "{canary}, {stable}"
        );
    }
    for (canary, stable) in [(0, 10), (10, 0), (0, 0)] {
        let errors = signal(Signal::Errors, (0.0, canary), (0.0, stable));
        assert_eq!(difference(&errors, Mode::Requests), None, "{canary}, {stable}");
    }
    // A part of latencies, and one of pairs, likewise.
    let slow = timed(Part::Answer(Quantile::P99), 0.2, &took(900, 8));
    assert!(of_latency(&slow, Mode::Requests).is_some());
    for (canary, stable) in [(0.0, 20.0), (30.0, 0.0)] {
        assert_eq!(of_latency(&PartEvidence { canary, stable, ..slow.clone() }, Mode::Requests), None);
    }
    assert_eq!(of_pairs(&PartEvidence { canary_n: 0.0, ..pairs(0.0, 0.0, 9.0) }), None);
    assert_eq!(of_pairs(&PartEvidence { test: Test::Requests, ..pairs(4.0, 1.0, 9.0) }), None);
}

#[test]
fn copies_differ_from_the_limit_that_the_route_sets() {
    let mut copies = signal(Signal::Errors, (30.0, 1_000), (0.0, 0));
    (copies.signal, copies.canary, copies.stable) = (Signal::Disagreement, 0.03, 0.05);
    let Difference { value, interval } = difference(&copies, Mode::Endpoints).unwrap();
    let (Interval { low, high }, rate) = (interval.unwrap(), interval::rate(Seen { events: 30.0, n: 1_000.0 }));
    assert!((value + 0.02).abs() < 1e-12, "{value}");
    assert!((low - rate.low + 0.05).abs() < 1e-12 && (high - rate.high + 0.05).abs() < 1e-12, "{low}..{high}");
    copies.canary_n = 0;
    assert_eq!(difference(&copies, Mode::Requests), None);
}

#[test]
fn whole_answers_stand_for_the_signal_where_streams_weigh_the_same() {
    let mut latency = signal(Signal::Latency, (0.0, 3_200), (0.0, 28_800));
    (latency.canary, latency.stable) = (1.0, 1.0);
    latency.parts = vec![
        timed(Part::Answer(Quantile::P99), 0.2, &took(900, 0)),
        timed(Part::FirstToken(Quantile::P99), 0.2, &took(900, 8)),
    ];
    assert!((difference(&latency, Mode::Requests).unwrap().value - 1.0).abs() < 1e-9);
    // Ninety requests say nothing of where the slowest hundredth ends.
    latency.parts = vec![timed(Part::Answer(Quantile::P99), 0.2, &took(9, 0))];
    assert!(line(&latency, Mode::Requests).contains(" to ?)"), "{}", line(&latency, Mode::Requests));
}

#[test]
fn what_is_within_its_bound_or_at_it_needs_no_more() {
    let mut evidence = Trial::new(&Policy::default()).evidence();
    evidence.guards.clear();
    for signal in &mut evidence.signals {
        signal.log_e_promote = signal.log_e_promote_at;
    }
    evidence.endpoints = vec![EndpointEvidence {
        endpoint: 1,
        address: "10.0.0.1:8080".into(),
        signal: Signal::Errors,
        part: Part::Rate,
        value: 0.5,
        others: 0.0,
        log_e: 9.0,
        log_e_at: 7.0,
    }];
    let guardrail = |state| GuardrailEvidence {
        guardrail: Guardrail {
            name: GuardrailName::new("gpu").unwrap(),
            query: "gpu".into(),
            bound: Bound::Max(90.0),
            lasting_ms: 60_000,
        },
        value: Some(95.0),
        broken_ms: 10_000,
        state,
    };
    evidence.guardrails = vec![guardrail(GuardrailState::Within)];
    let said = would_change(Verdict::Undecided(Reason::Overlap), &evidence);
    assert_eq!(said, ["a rollback: log e 4.61 against the canary, of all signals together; it is 0.00"]);
    let said = would_change(Verdict::Undecided(Reason::Endpoint), &evidence);
    assert!(said.len() == 2 && said[0].starts_with("endpoint 10.0.0.1:8080 fails 50.0 %"), "{said:?}");
    evidence.guardrails = vec![guardrail(GuardrailState::Broken)];
    let said = would_change(Verdict::Undecided(Reason::Guardrail), &evidence);
    assert!(said.len() == 2 && said[0].ends_with("no pass while it is so"), "{said:?}");
}

#[test]
fn the_record_is_one_line_of_json_with_null_for_what_is_no_number() {
    let mut judgement = Judgement {
        route: RouteName::new("digits").unwrap(),
        release: ReleaseKey(1),
        attempt: 1,
        verdict: Verdict::Fail(Signal::Errors),
        evidence: Trial::new(&Policy::default()).evidence(),
        since: Now::default(),
        at: Now::default(),
    };
    let evidence = &mut judgement.evidence;
    (evidence.canary_requests, evidence.stable_requests) = (400, 3_600);
    (evidence.canary_labels, evidence.stable_labels, evidence.paired_labels) = (40, 360, 9);
    (evidence.log_e_rollback, evidence.log_e_rollback_at) = (f64::NEG_INFINITY, 4.5);
    let mut latency = signal(Signal::Latency, (0.0, 400), (0.0, 3_600));
    (latency.canary, latency.stable, latency.margin, latency.weight) = (30.0, 20.0, 1.044, 0.25);
    (latency.log_e_rollback, latency.log_e_rollback_at) = (1.5, 6.0);
    (latency.log_e_promote, latency.log_e_promote_at) = (-0.5, 3.0);
    evidence.signals = vec![latency.clone(), SignalEvidence { stable: 0.0, ..latency }];
    evidence.guards = vec![
        GuardEvidence { guard: Guard::Samples, state: GuardState::Holds, value: 12.0, limit: 50.0 },
        GuardEvidence { guard: Guard::LabelDelay, state: GuardState::Good, value: 0.0, limit: 0.0 },
    ];
    let guardrail = |value| GuardrailEvidence {
        guardrail: Guardrail {
            name: GuardrailName::new("gpu").unwrap(),
            query: "gpu".into(),
            bound: Bound::Max(90.0),
            lasting_ms: 60_000,
        },
        value,
        broken_ms: 10_000,
        state: GuardrailState::Broken,
    };
    evidence.guardrails = vec![guardrail(Some(95.0)), guardrail(None)];
    let numbers = r#""margin":1.044,"weight":0.25,"log_e_rollback":1.5,"log_e_rollback_at":6,"log_e_promote":-0.5,"log_e_promote_at":3"#;
    let head = r#"{"signal":"latency","canary_n":400,"stable_n":3600,"difference":"#;
    let signals = format!(
        r#"{head}{{"value":1.5,"low":null,"high":null}},"test":"requests","canary":30,"stable":20,{numbers}}},{head}null,"test":"requests","canary":30,"stable":0,{numbers}}}"#
    );
    let guardrail = r#"{"guardrail":"gpu","state":"broken","value":"#;
    let rest = format!(
        r#""mode":"requests","canary_requests":400,"stable_requests":3600,"canary_labels":40,"stable_labels":360,"paired_labels":9,"log_e_rollback":null,"log_e_rollback_at":4.5,"signals":[{signals}],"guards":[{{"guard":"samples","state":"holds","value":12,"limit":50}}],"guardrails":[{guardrail}95,"limit":90}},{guardrail}null,"limit":90}}]}}"#
    );
    assert_eq!(record(&judgement), format!(r#"{{"verdict":"fail","reason":"errors",{rest}"#));
    for (verdict, words) in [
        (Verdict::Pass, r#""verdict":"pass","reason":null"#),
        (Verdict::Undecided(Reason::Skewed), r#""verdict":"undecided","reason":"skewed""#),
    ] {
        judgement.verdict = verdict;
        assert_eq!(record(&judgement), format!("{{{words},{rest}"));
    }
    // The ends of an interval, too.
    judgement.evidence.signals = vec![signal(Signal::Errors, (30.0, 1_000), (10.0, 9_000))];
    let Difference { value, interval } = difference(&judgement.evidence.signals[0], Mode::Requests).unwrap();
    let Interval { low, high } = interval.unwrap();
    let told = format!(r#""difference":{{"value":{value},"low":{low},"high":{high}}},"#);
    assert!(record(&judgement).contains(&told), "{told}");
}
