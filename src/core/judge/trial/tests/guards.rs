//! What keeps a verdict from resting on sand.

use super::*;
use crate::core::{
    judge::{Bound, Guardrail, Unknown},
    name::GuardrailName,
};

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
    assert_eq!(guards.len(), 8);
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
fn labels_are_compared_with_requests_that_are_old_enough_to_have_them() {
    const MINUTE_MS: u64 = 60_000;
    /// Half an hour at 5 %, then at 50 %; labels of two in a hundred minutes that favour the canary, each of requests that were
    /// served at 5 %: when does that hold?
    fn told(label_delay_ms: u64) -> Option<u64> {
        let mut dice = Dice(31);
        let accuracy = Some(AccuracyPolicy { label_delay_ms, ..AccuracyPolicy::default() });
        let mut trial = Trial::new(&Policy { accuracy, ..only(true, false, true) });
        (1..=60).find(|minute| {
            let share = if *minute <= 30 { 0.05 } else { 0.5 };
            let n = if *minute <= 30 { 10 } else { 100 };
            let requests = requests(dice.arm(n, 0.0, 50), dice.arm(200 - n, 0.0, 50), share);
            // Labelled alike while the weight is 5 %; once it is 50 %, four times as often as stable's of that time.
            let labels = if *minute <= 30 { labels(1, 0, 19, 0) } else { labels(4, 0, 16, 0) };
            let block =
                Block { at_ms: minute * MINUTE_MS, requests: Some(requests), labels: Some(labels), ..Block::default() };
            trial.observe(&block);
            state(&trial, Guard::LabelCoverage).0 == GuardState::Holds
        })
    }
    let late = told(60 * MINUTE_MS).expect("all those labels are of requests at 5 %");
    assert!((31..=55).contains(&late), "{late}");
    assert_eq!(told(0), None, "without a delay they might be of requests at 50 %");
}

#[test]
fn a_share_counts_once_its_first_requests_are_old_enough() {
    let policy = Policy {
        accuracy: Some(AccuracyPolicy { label_delay_ms: 1_000, ..AccuracyPolicy::default() }),
        ..only(true, false, true)
    };
    let mut trial = Trial::new(&policy);
    let mut dice = Dice(32);
    let mut at = |at_ms: u64, share: f64, labels: LabelBlock| {
        let requests = requests(dice.arm(10, 0.0, 50), dice.arm(10, 0.0, 50), share);
        trial.observe(&Block { at_ms, requests: Some(requests), labels: Some(labels), ..Block::default() });
        state(&trial, Guard::LabelCoverage).1
    };
    // Half of the labels at 5 % are evidence; at 50 % they are none. The block of 50 % began at 500.
    assert!(at(500, 0.05, labels(1, 0, 19, 0)) < 0.5);
    let young = at(1_400, 0.5, labels(5, 0, 5, 0));
    assert!(young > 1.0, "{young}");
    let old = at(1_500, 0.5, labels(5, 0, 5, 0));
    assert!(old < young, "{old} after {young}");
    // And it survives a restart.
    let restored = Trial::restored(&policy, &trial.saved()).unwrap();
    assert_eq!(restored, trial);
}

/// One guardrail that stands so.
fn guardrail(state: GuardrailState) -> Vec<GuardrailEvidence> {
    let name = GuardrailName::new("cost").unwrap();
    let guardrail = Guardrail { name, query: "q".into(), bound: Bound::Max(0.5), lasting_ms: 0 };
    vec![GuardrailEvidence { guardrail, value: None, broken_ms: 0, state }]
}

/// A canary as good as stable that would have passed: what the judge says with a guardrail that stands so all the time.
fn guarded(state: Option<GuardrailState>) -> Verdict {
    let mut dice = Dice(21);
    let mut trial = Trial::new(&only(true, false, false));
    until(&mut trial, 900, |_| by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50)));
    trial.take_guardrails(state.map(guardrail).unwrap_or_default());
    trial.observe(&by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50)))
}

#[test]
fn a_guardrail_fails_or_holds_a_canary_that_would_pass_and_passes_none() {
    assert_eq!(guarded(None), Verdict::Pass);
    assert_eq!(guarded(Some(GuardrailState::Within)), Verdict::Pass);
    for state in Unknown::ALL.map(GuardrailState::Unknown).into_iter().chain([GuardrailState::Broken]) {
        assert_eq!(guarded(Some(state)), Verdict::Undecided(Reason::Guardrail), "{state:?}");
    }
    assert_eq!(guarded(Some(GuardrailState::Breached)), Verdict::Fail(Signal::Guardrail));

    // By itself it says nothing, however good it is; and it spares nobody whom the evidence speaks against.
    let mut trial = Trial::new(&only(true, false, false));
    trial.take_guardrails(guardrail(GuardrailState::Breached));
    assert_eq!(trial.observe(&Block::default()), Verdict::Undecided(Reason::NoData), "it has answered nobody");
    trial.take_guardrails(guardrail(GuardrailState::Within));
    let mut dice = Dice(22);
    trial.observe(&by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50)));
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::LowSamples));
    trial.take_guardrails(guardrail(GuardrailState::Unknown(Unknown::Away)));
    let failed = until(&mut trial, 99, |_| by_requests(dice.arm(20, 1.0, 50), dice.arm(180, 0.0, 50)));
    assert!(matches!(failed, (Verdict::Undecided(Reason::Guardrail), 99) | (Verdict::Fail(Signal::Errors), _)));
    assert_eq!(trial.verdict(), Verdict::Fail(Signal::Errors));
}

#[test]
fn a_breach_is_final_is_shown_as_it_was_and_outlives_a_restart() {
    let mut dice = Dice(23);
    let policy = only(true, false, false);
    let mut trial = Trial::new(&policy);
    trial.take_guardrails(guardrail(GuardrailState::Breached));
    // No minimum of requests: the bound is what somebody said.
    trial.observe(&by_requests(dice.arm(2, 0.0, 50), dice.arm(8, 0.0, 50)));
    trial.take_guardrails(guardrail(GuardrailState::Within));
    assert_eq!(trial.observe(&Block::default()), Verdict::Fail(Signal::Guardrail));
    assert_eq!(trial.evidence().guardrails[0].state, GuardrailState::Breached);
    let restored = Trial::restored(&policy, &trial.saved()).unwrap();
    assert_eq!(restored.verdict(), Verdict::Fail(Signal::Guardrail));
    assert!(trial.log_e_rollback() < 1.0, "it is no evidence: alpha is untouched");
}

#[test]
fn a_stable_in_trouble_may_have_broken_a_guardrail_itself() {
    let mut dice = Dice(24);
    let mut trial = Trial::new(&only(true, false, false));
    trial.take_guardrails(guardrail(GuardrailState::Breached));
    trial.observe(&by_requests(dice.arm(60, 0.9, 50), dice.arm(180, 0.9, 50)));
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::StableUnhealthy));
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
