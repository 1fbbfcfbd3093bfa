//! Guards at their limits.

use super::*;

fn guard(trial: &Trial, guard: Guard) -> (GuardState, f64, f64) {
    let guards = trial.evidence().guards;
    let found = guards.iter().find(|told| told.guard == guard).unwrap();
    (found.state, found.value, found.limit)
}

fn arm(n: u64, errors: u64) -> Arm {
    Arm { completed: n, assigned: n, errors, ..Arm::default() }
}

/// A block whose share is not known, of so many draws.
fn drawn(canary: u64, stable: u64, labelled: LabelBlock) -> Block {
    let requests = RequestBlock { share: None, ..requests(arm(canary, 0), arm(stable, 0), 0.0) };
    Block { requests: Some(requests), labels: Some(labelled), ..Block::default() }
}

#[test]
fn split_and_coverage_hold_at_one_in_a_thousand() {
    let trial = Trial::new(&Policy::default());
    for of in [Guard::SampleRatio, Guard::LabelCoverage] {
        let (state, value, limit) = guard(&trial, of);
        assert_eq!(state, GuardState::Good, "{of:?}");
        assert!(value.abs() < 1e-12 && (limit - 1000.0_f64.ln()).abs() < 1e-12, "{of:?}: {value} of {limit}");
    }
    let mut trial = Trial::in_mode(&Policy::default(), Chosen::new(ModeChoice::Auto, true, [1, 1]));
    trial.observe(&Block { requests: Some(requests(arm(20, 0), arm(180, 0), 0.1)), ..Block::default() });
    assert_eq!(guard(&trial, Guard::SampleRatio).0, GuardState::Good, "nor does it warn, of users");
}

#[test]
fn where_nobody_says_the_share_it_is_learnt_from_five_hundred_draws() {
    let coverage = |n: [u64; 2], blocks: u64, labelled: LabelBlock| {
        let mut trial = Trial::new(&only(true, false, true));
        let mut last = 0.0;
        for _ in 0..blocks {
            trial.observe(&drawn(n[0], n[1], labelled));
            last = guard(&trial, Guard::LabelCoverage).1;
        }
        last
    };
    let (fair, skewed) = (labels(4, 0, 36, 0), labels(12, 0, 36, 0));
    assert!(coverage([20, 180], 2, skewed).abs() < 1e-12, "400 draws");
    assert!(coverage([50, 450], 1, skewed) > 0.1, "500");
    assert!(coverage([20, 180], 30, fair) < 0.1, "labelled as they are served");
    assert!(coverage([20, 180], 30, skewed) > 7.0, "labels that favour the canary");
}

#[test]
fn of_more_shares_than_can_wait_the_oldest_counts_early() {
    let accuracy = Some(AccuracyPolicy { label_delay_ms: 1_000_000, ..AccuracyPolicy::default() });
    let mut trial = Trial::new(&Policy { accuracy, ..only(true, false, true) });
    // As labels of a share of 10 % may fall, within the factor of 1.5, and of 5 % may not.
    let told = |trial: &mut Trial, at_ms: u64, share: f64| {
        let requests = requests(arm(10, 0), arm(90, 0), share);
        let labels = Some(labels(14, 0, 86, 0));
        trial.observe(&Block { at_ms, requests: Some(requests), labels, ..Block::default() });
        guard(trial, Guard::LabelCoverage).1
    };
    let mut before = told(&mut trial, 0, 0.05);
    for (at_ms, share) in (1..).zip([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]) {
        let now = told(&mut trial, at_ms, share);
        assert!(now > before + 0.1, "{share}: {now} after {before}");
        before = now;
    }
    let now = told(&mut trial, 9, 0.9);
    assert!(now < before, "{now} after {before}");
}

#[test]
fn a_stable_that_fails_every_other_request_is_still_something_to_compare_with() {
    let mut trial = Trial::new(&only(true, false, false));
    trial.observe(&by_requests(arm(60, 30), arm(200, 100)));
    assert_eq!(guard(&trial, Guard::StableHealth), (GuardState::Good, 0.5, 0.5));
    assert_ne!(trial.verdict(), Verdict::Undecided(Reason::StableUnhealthy));
}

#[test]
fn one_label_is_a_label_and_no_delay_is_nothing_to_wait_for() {
    let mut trial = Trial::new(&Policy::default());
    trial.observe(&by_requests(arm(20, 0), arm(180, 0)));
    assert_eq!(guard(&trial, Guard::LabelsMissing), (GuardState::Holds, 0.0, 1.0));
    assert_eq!(guard(&trial, Guard::LabelDelay), (GuardState::Good, 0.0, 0.0));
    trial.observe(&Block { labels: Some(labels(1, 0, 1, 0)), ..Block::default() });
    assert_eq!(guard(&trial, Guard::LabelsMissing), (GuardState::Good, 1.0, 1.0));
}
