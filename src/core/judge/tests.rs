//! The words of metrics, messages and the API: others build on them.

use super::*;

#[test]
fn verdicts_reasons_and_blame_have_their_words() {
    assert_eq!(Signal::ALL.map(Signal::as_str), ["errors", "latency", "accuracy", "disagreement", "guardrail"]);
    assert_eq!(Signal::Accuracy.blame(), "worse in accuracy");
    assert_eq!(Signal::Guardrail.blame(), "beyond a guardrail");
    let verdicts = [Verdict::Pass, Verdict::Fail(Signal::Errors), Verdict::Undecided(Reason::NoData)];
    assert_eq!(verdicts.map(Verdict::as_str), ["pass", "fail", "undecided"]);
    let reasons = [
        (Reason::NoData, "no_data"),
        (Reason::LowSamples, "low_samples"),
        (Reason::Overlap, "overlap"),
        (Reason::SplitMismatch, "split_mismatch"),
        (Reason::StableUnhealthy, "stable_unhealthy"),
        (Reason::LabelStarved, "label_starved"),
        (Reason::Skewed, "skewed"),
        (Reason::Guardrail, "guardrail"),
        (Reason::Endpoint, "endpoint_differs"),
    ];
    reasons.iter().for_each(|(reason, word)| assert_eq!(reason.as_str(), *word));
}

#[test]
fn what_evidence_is_made_of_has_its_words() {
    assert_eq!(Mode::ALL.map(Mode::as_str), ["requests", "endpoints", "users"]);
    let tests = [Test::Requests, Test::Endpoints, Test::Users, Test::Pairs];
    assert_eq!(tests.map(Test::as_str), ["requests", "endpoints", "users", "pairs"]);
    assert_eq!([Part::Rate, Part::Copy].map(Part::as_str), ["rate", "copy"]);
    let places = [Quantile::Ranks, Quantile::P50, Quantile::P90, Quantile::P99, Quantile::P999];
    let of = |part: fn(Quantile) -> Part| places.map(|at| part(at).as_str());
    assert_eq!(of(Part::Answer), ["answer_ranks", "answer_p50", "answer_p90", "answer_p99", "answer_p999"]);
    let first = ["first_token_ranks", "first_token_p50", "first_token_p90", "first_token_p99", "first_token_p999"];
    assert_eq!(of(Part::FirstToken), first);
    let gaps = ["token_gap_ranks", "token_gap_p50", "token_gap_p90", "token_gap_p99", "token_gap_p999"];
    assert_eq!(of(Part::TokenGap), gaps);
}

#[test]
fn guards_and_guardrails_have_their_words() {
    let guards = [
        (Guard::WarmUp, "warm_up"),
        (Guard::Samples, "samples"),
        (Guard::SampleRatio, "sample_ratio"),
        (Guard::LabelCoverage, "label_coverage"),
        (Guard::StableHealth, "stable_health"),
        (Guard::LabelsMissing, "labels_missing"),
        (Guard::LabelDelay, "label_delay"),
        (Guard::Endpoints, "endpoints_alike"),
    ];
    guards.iter().for_each(|(guard, word)| assert_eq!(guard.as_str(), *word));
    let states = [GuardState::Good, GuardState::Warns, GuardState::Holds];
    assert_eq!(states.map(GuardState::as_str), ["good", "warns", "holds"]);
    let words: std::collections::BTreeSet<_> = Unknown::ALL.into_iter().map(Unknown::words).collect();
    assert_eq!(words.len(), Unknown::ALL.len(), "each says what is the matter: {words:?}");
}

#[test]
fn a_raise_is_stopped_by_a_tenth_of_what_a_rollback_takes() {
    let evidence =
        |e: f64| Evidence { log_e_rollback: e.ln(), log_e_rollback_at: 100.0_f64.ln(), ..Evidence::default() };
    assert!((evidence(1.0).log_e_clear_below() - 10.0_f64.ln()).abs() < 1e-12);
    assert!(evidence(9.99).is_clear() && !evidence(10.01).is_clear());
    let at = Evidence { log_e_rollback: evidence(1.0).log_e_clear_below(), ..evidence(1.0) };
    assert!(!at.is_clear(), "at the tenth");
}
