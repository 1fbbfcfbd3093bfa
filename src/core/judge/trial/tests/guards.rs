//! What keeps a verdict from resting on sand.

use super::*;

fn state(trial: &Trial, guard: Guard) -> (GuardState, f64) {
    let guards = trial.evidence().guards;
    let found = guards.iter().find(|told| told.guard == guard).unwrap();
    (found.state, found.value)
}

#[test]
fn every_guard_says_what_it_looks_at() {
    let mut dice = Dice(11);
    let policy = Policy {
        accuracy: Some(AccuracyPolicy { label_delay_ms: 5000, ..AccuracyPolicy::default() }),
        ..Policy::default()
    };
    let mut trial = Trial::new(&policy);
    trial.observe(&by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50)));
    assert_eq!(state(&trial, Guard::WarmUp), (GuardState::Warns, 20.0));
    assert_eq!(state(&trial, Guard::Samples), (GuardState::Holds, 20.0));
    assert_eq!(state(&trial, Guard::LabelsMissing), (GuardState::Holds, 0.0));
    assert_eq!(state(&trial, Guard::LabelDelay), (GuardState::Warns, 5000.0));
    for _ in 0..20 {
        let block = by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50));
        trial.observe(&Block { labels: Some(labels(2, 0, 18, 1)), ..block });
    }
    let guards = trial.evidence().guards;
    assert!(guards.iter().all(|told| told.state == GuardState::Good), "{guards:?}");
    assert_eq!(guards.len(), 7);
}

#[test]
fn a_wrong_split_holds_but_for_users() {
    for (chosen, wanted) in [
        (Chosen::default(), (GuardState::Holds, Verdict::Undecided(Reason::SplitMismatch))),
        (Chosen::new(ModeChoice::Auto, true, [1, 1]), (GuardState::Warns, Verdict::Undecided(Reason::Overlap))),
    ] {
        let mut dice = Dice(12);
        let mut trial = Trial::in_mode(&only(true, false, false), chosen);
        for _ in 0..60 {
            trial.observe(&by_requests(dice.arm(30, 0.1, 50), dice.arm(170, 0.1, 50)));
        }
        assert_eq!((state(&trial, Guard::SampleRatio).0, trial.verdict()), wanted);
    }
}

#[test]
fn a_stable_that_fails_itself_is_blamed_on_nobody_and_comes_back() {
    let mut dice = Dice(13);
    let mut trial = Trial::new(&only(true, false, false));
    for _ in 0..10 {
        trial.observe(&by_requests(dice.arm(20, 0.001, 50), dice.arm(180, 0.001, 50)));
    }
    for _ in 0..40 {
        trial.observe(&by_requests(dice.arm(20, 0.95, 50), dice.arm(180, 0.7, 50)));
    }
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::StableUnhealthy));
    assert_eq!(state(&trial, Guard::StableHealth).0, GuardState::Holds);
    let after = until(&mut trial, 60, |_| by_requests(dice.arm(20, 0.1, 50), dice.arm(180, 0.001, 50)));
    assert_eq!(after.0, Verdict::Fail(Signal::Errors));
}

#[test]
fn labels_that_favour_one_variant_hold() {
    let mut dice = Dice(14);
    let mut trial = Trial::new(&Policy { accuracy: Policy::default().accuracy, ..only(true, false, true) });
    let said = until(&mut trial, 900, |_| {
        let block = by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50));
        Block { labels: Some(labels(12, 0, 36, 1)), ..block }
    });
    assert_eq!(said.0, Verdict::Undecided(Reason::Skewed));
    assert_eq!(state(&trial, Guard::LabelCoverage).0, GuardState::Holds);
    // Labels about both answers are about requests that stable served: they favour nobody.
    let mut trial = Trial::new(&only(true, false, true));
    for _ in 0..50 {
        let mut pairs = copies(&mut dice, 0.0, 0);
        pairs.labels.n = 60;
        let block = by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50));
        trial.observe(&Block { labels: Some(labels(12, 0, 36, 1)), pairs: Some(pairs), ..block });
    }
    assert_eq!(state(&trial, Guard::LabelCoverage).0, GuardState::Good);
}
