//! The power table: its arithmetic by hand, its answers beside what was measured for the judge (judge.md, sections 5.3, 5.5, 5.7).

use super::*;

const SERVICE: Service = Service {
    share: 0.1,
    rate: 50.0,
    labelled: 0.2,
    shadowed: 0.3,
    errors: 0.001,
    accuracy: 0.95,
    disagree: 0.03,
    spread: 4.0,
};

fn near(is: f64, expected: f64) {
    assert!((is - expected).abs() < 1e-9 * expected.abs().max(1.0), "{is}, not {expected}");
}

/// A way that is gone evenly: half of it after half of `exposures`.
fn even(exposures: f64, pace: f64, wait_s: f64) -> Way {
    Way { passage: Passage { curve: vec![(0.0, 0.0), (exposures, 1.0)] }, pace, wait_s }
}

fn row(unit: Unit, question: Question, way: Way) -> Row {
    Row { signal: Signal::Errors, question, unit, ways: vec![way], requests_min: 60.0, seconds_min: 30.0 }
}

#[test]
fn effects_are_multiples_of_what_promotion_would_just_not_let_pass() {
    let policy = Policy::default();
    let planner = Planner::new(&policy, &SERVICE);
    // 1.25 x 0.1 % + 0.2 % = 0.325 %: a rise by 0.225 %.
    near(planner.worse(Signal::Errors, 1.0), 0.00325);
    near(planner.worse(Signal::Errors, 5.0), 0.01225);
    near(planner.worse(Signal::Errors, 1000.0), 1.0);
    near(planner.worse(Signal::Accuracy, 2.0), 0.91);
    near(planner.worse(Signal::Accuracy, 100.0), 0.0);
    // Four buckets of 2^(1/16), twice.
    near(planner.worse(Signal::Latency, 2.0), 2.0_f64.sqrt());
    near(planner.worse(Signal::Disagreement, 2.0), 0.0);
}

#[test]
fn units_come_at_the_pace_of_their_share_and_latency_waits_for_the_warm_up() {
    let mut policy = Policy::default();
    let paced = |policy: &Policy, signal, unit| {
        let row = Planner::new(policy, &SERVICE).row(signal, unit, Question::Passed);
        near(row.seconds_min, 10.0); // 50 requests at 5 a second
        near(row.requests_min, 50.0);
        (row.ways[0].pace, row.ways[0].wait_s)
    };
    assert_eq!(paced(&policy, Signal::Errors, Unit::Requests), (5.0, 0.0));
    assert_eq!(paced(&policy, Signal::Accuracy, Unit::Labels), (1.0, 0.0));
    assert_eq!(paced(&policy, Signal::Accuracy, Unit::Pairs), (3.0, 0.0));
    // 60 s, or 200 requests at 5 a second: whichever takes longer.
    assert_eq!(paced(&policy, Signal::Latency, Unit::Requests), (5.0, 60.0));
    policy.warmup_requests = 600;
    assert_eq!(paced(&policy, Signal::Latency, Unit::Requests), (5.0, 120.0));
    near(Planner::new(&policy, &SERVICE).stable_per_canary(), 9.0);
}

#[test]
fn no_answer_comes_before_the_smallest_sample() {
    let requests = row(Unit::Requests, Question::Passed, even(100.0, 5.0, 10.0));
    assert_eq!(requests.needs(0.5), Some(60.0), "half of 100 is too few");
    assert!((requests.needs(0.9).unwrap() - 90.0).abs() < 1e-6);
    assert_eq!(requests.seconds(0.5), Some(30.0), "10 s and 50 at 5 a second are too soon");
    assert_eq!(row(Unit::Requests, Question::Passed, even(200.0, 5.0, 20.0)).seconds(0.5), Some(40.0));
    let labels = row(Unit::Labels, Question::Passed, even(100.0, 5.0, 10.0));
    assert_eq!(labels.needs(0.5), Some(50.0), "the smallest sample is of requests");
    let never = row(Unit::Labels, Question::Passed, Way { passage: Passage::never(), pace: 5.0, wait_s: 0.0 });
    assert_eq!((never.needs(0.5), never.seconds(0.5)), (None, None));
}

#[test]
fn all_signals_are_passed_when_the_last_is_with_labels_or_with_pairs() {
    let rows = [
        row(Unit::Requests, Question::Seen(0.1), even(1e6, 1.0, 0.0)),
        row(Unit::Requests, Question::Passed, even(1.0, 1.0, 0.0)),
        row(Unit::Labels, Question::Passed, even(1000.0, 1.0, 0.0)),
        row(Unit::Pairs, Question::Passed, even(100.0, 1.0, 0.0)),
    ];
    assert_eq!(passed(&rows, Unit::Labels, 0.5), Some(500.0));
    assert_eq!(passed(&rows, Unit::Pairs, 0.5), Some(50.0));
    assert_eq!(passed(&rows[..1], Unit::Pairs, 0.5), None, "nothing to pass");
}

#[test]
fn the_table_asks_what_the_policy_judges_and_the_service_can_show() {
    let told = |policy: &Policy, service: &Service| -> Vec<(Signal, Unit, bool)> {
        let rows = plan(policy, service);
        rows.iter().map(|row| (row.signal, row.unit, row.question == Question::Passed)).collect()
    };
    let policy = Policy { latency: None, ..Policy::default() };
    let (errors, labels, pairs) =
        ((Signal::Errors, Unit::Requests), (Signal::Accuracy, Unit::Labels), (Signal::Accuracy, Unit::Pairs));
    let of = |asked: &[(Signal, Unit)]| -> Vec<(Signal, Unit, bool)> {
        let seen = asked.iter().flat_map(|(signal, unit)| [(*signal, *unit, false); FACTORS.len()]);
        seen.chain(asked.iter().map(|(signal, unit)| (*signal, *unit, true))).collect()
    };
    assert_eq!(told(&policy, &SERVICE), of(&[errors, labels, pairs]));
    assert_eq!(told(&policy, &Service { shadowed: 0.0, ..SERVICE }), of(&[errors, labels]));
    let policy = Policy { errors: None, ..policy };
    assert_eq!(told(&policy, &SERVICE), of(&[labels, pairs]));
    assert_eq!([Unit::Requests, Unit::Labels, Unit::Pairs].map(Unit::as_str), ["requests", "labels", "pairs"]);
}

/// What half of the releases need, no more than a quarter from what was measured.
fn measured(service: Service, signal: Signal, unit: Unit, question: Question, median: f64) {
    // No smallest sample: the tests alone were measured.
    let policy = Policy { requests_min: 0, ..Policy::default() };
    let needs = Planner::new(&policy, &service).row(signal, unit, question).needs(0.5).unwrap();
    assert!((0.75..=1.25).contains(&(needs / median)), "{unit:?}, {question:?}: {needs}, measured {median}");
}

#[test]
fn a_default_policy_needs_what_was_measured_of_its_tests() {
    use Question::{Passed, Seen};
    let errors = |question, median| measured(SERVICE, Signal::Errors, Unit::Requests, question, median);
    errors(Seen(0.05), 104.0);
    errors(Seen(0.01), 707.0);
    let at = |accuracy| Service { accuracy, disagree: if accuracy > 0.9 { 0.03 } else { 0.08 }, ..SERVICE };
    let labels = |accuracy, question, median| measured(at(accuracy), Signal::Accuracy, Unit::Labels, question, median);
    labels(0.95, Seen(0.9), 450.0);
    labels(0.95, Seen(0.8), 76.0);
    labels(0.95, Passed, 879.0);
    labels(0.8, Passed, 2253.0);
    let pairs = |accuracy, question, median| measured(at(accuracy), Signal::Accuracy, Unit::Pairs, question, median);
    pairs(0.95, Passed, 520.0);
    pairs(0.8, Passed, 1055.0);
}

#[test]
fn in_pairs_a_worse_canary_is_wrong_alone_by_what_it_lost() {
    let policy = Policy { requests_min: 0, ..Policy::default() };
    let needs = Planner::new(&policy, &SERVICE).row(Signal::Accuracy, Unit::Pairs, Question::Seen(0.9)).needs(0.5);
    // 3 % disagree, half of them each; 5 % more are the canary's alone.
    let supposed = Supposed { canary: 0.065, stable: 0.015, stable_per_canary: 1.0 };
    let test = PairedRollback::new(0.002, HORIZON_BLOCKS);
    near(needs.unwrap(), ahead(&Supposing { test, supposed }, -0.003_f64.ln()).exposures(0.5).unwrap());
}

#[test]
fn latency_is_asked_of_the_very_tests_with_the_canary_that_many_buckets_slower() {
    let policy = Policy { requests_min: 0, ..Policy::default() };
    let planner = Planner::new(&policy, &SERVICE);
    let distribution = planner.reference.distribution();
    let stable = (&planner.reference, &distribution);
    // 0.3 of alpha 1 %.
    let fail_at = -0.003_f64.ln();
    let five = Slower::new(LatencyRollback::new(1, HORIZON_BLOCKS), stable, 5, 9.0);
    // A factor that is a bucket's bound is that bucket, not the next.
    let row = planner.row(Signal::Latency, Unit::Requests, Question::Seen(bucket_bound_ms(5)));
    near(row.needs(0.5).unwrap(), ahead(&five, fail_at).exposures(0.5).unwrap());
    let row = planner.row(Signal::Latency, Unit::Requests, Question::Passed);
    assert_eq!(row.ways.len(), 3);
    let pass_at = -0.05_f64.ln();
    for (way, (q, shift)) in row.ways.iter().zip([(0.5, 4), (0.9, 4), (0.99, 6)]) {
        let test = Slower::new(LatencyPromote::new(q, shift), stable, 0, 9.0);
        near(way.passage.exposures(0.5).unwrap(), ahead(&test, pass_at).exposures(0.5).unwrap());
    }
}

#[test]
fn the_assumed_latency_is_lognormal_with_its_p99_that_many_times_its_median() {
    let reference = lognormal(4.0);
    near(reference.weight(), 1e6);
    let distribution = reference.distribution();
    // 100 ms is in bucket ceil(16 log2 100) = 107; 4 x 2^(1/16 x 32) = 400 ms 32 further.
    assert_eq!(distribution.quantile(0.4995), 107);
    assert_eq!(distribution.quantile(0.99), 107 + 32);
    // The first and the last of a thousand are at z = -/+3.2905, with sigma = ln 4 / 2.3263: 14.07 and 710.6 ms.
    let shown: Vec<(i32, f64)> = distribution.shares().collect();
    assert_eq!((shown[0].0, shown[shown.len() - 1].0), (62, 152));
    assert_eq!(lognormal(0.5).distribution().shares().count(), 1, "nothing is faster than the median at p99");
}
