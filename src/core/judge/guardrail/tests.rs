//! Bounds that are broken, for how long, and over a restart.

use super::*;

fn guardrail(name: &str, bound: Bound, lasting_ms: u64) -> Guardrail {
    Guardrail { name: GuardrailName::new(name).unwrap(), query: format!("q_{name}").into(), bound, lasting_ms }
}

fn readings(of: &[(&Guardrail, Result<f64, Unknown>, u64)]) -> Readings {
    let by_query = of.iter().map(|(of, answer, at_ms)| (of.query.clone(), Reading { answer: *answer, at_ms: *at_ms }));
    Readings { by_query: by_query.collect(), fresh_ms: 1_000 }
}

/// The states after each answer, given at its own moment and looked at 10 ms later.
fn states(guardrail: &Guardrail, answers: &[(u64, Result<f64, Unknown>)]) -> Vec<GuardrailState> {
    let mut guardrails = Guardrails::default();
    let mut look = |(at_ms, answer): &(u64, Result<f64, Unknown>)| {
        let readings = readings(&[(guardrail, *answer, *at_ms)]);
        guardrails.look(std::slice::from_ref(guardrail), &readings, true, at_ms + 10)[0].state
    };
    answers.iter().map(&mut look).collect()
}

use GuardrailState::{Breached, Broken, Within};

#[test]
fn a_restart_in_the_middle_takes_nothing_of_the_time_and_adds_nothing() {
    let max = guardrail("cost", Bound::Max(0.5), 1_000);
    let said = std::slice::from_ref(&max);
    let look = |of: &mut Guardrails, at_ms: u64, answer| {
        let told = of.look(said, &readings(&[(&max, answer, at_ms)]), true, at_ms)[0].clone();
        (told.state, told.broken_ms)
    };
    let mut before = Guardrails::default();
    for (at_ms, broken_ms) in [(100_000, 0), (100_300, 300), (100_700, 700)] {
        assert_eq!(look(&mut before, at_ms, Ok(0.6)), (Broken, broken_ms));
    }
    // Another process, whose clock begins at zero, and which asks nobody at its first look.
    let again = || Guardrails::restored(before.saved(), true);
    let mut after = again();
    let not_asked = after.look(said, &Readings::default(), true, 5)[0].state;
    assert_eq!(not_asked, GuardrailState::Unknown(Unknown::NotAsked));
    assert_eq!(after.saved(), before.saved(), "a second restart at once loses nothing");
    assert_eq!(look(&mut after, 10, Ok(0.6)), (Broken, 700), "the time in between is nobody's");
    assert_eq!(look(&mut after, 309, Ok(0.6)), (Broken, 999));
    assert_eq!(look(&mut after, 310, Ok(0.6)), (Breached, 1_000));
    // Good, or unknown, at the first answer: it begins anew.
    for first in [Ok(0.4), Err(Unknown::Away)] {
        let mut after = again();
        look(&mut after, 10, first);
        assert_eq!(look(&mut after, 20, Ok(0.6)), (Broken, 0), "{first:?}");
    }
    let other = Guardrail { query: "another".into(), ..max.clone() };
    let mut after = again();
    after.look(std::slice::from_ref(&other), &Readings::default(), true, 5);
    assert!(after.saved().is_empty(), "another query is another number");
}

#[test]
fn a_bound_must_be_broken_at_every_look_for_long_enough() {
    let max = guardrail("cost", Bound::Max(0.5), 1_000);
    // The first answer is of a moment before the canary had answered anybody.
    let told = states(&max, &[(0, Ok(0.7)), (500, Ok(0.6)), (1_499, Ok(0.6)), (1_500, Ok(0.6))]);
    assert_eq!(told, [Broken, Broken, Broken, Breached]);
    let told = states(&max, &[(0, Ok(0.5)), (500, Ok(0.6)), (1_000, Ok(0.5)), (1_500, Ok(0.6)), (2_400, Ok(0.6))]);
    assert_eq!(told, [Within, Broken, Within, Broken, Broken], "the bound itself is good, and good begins anew");
    let away = Err(Unknown::Away);
    let told = states(&max, &[(0, Ok(0.1)), (500, Ok(0.6)), (1_000, away), (1_600, Ok(0.6)), (2_600, Ok(0.6))]);
    assert_eq!(told, [Within, Broken, GuardrailState::Unknown(Unknown::Away), Broken, Breached]);
    let min = guardrail("free", Bound::Min(-2.0), 0);
    assert_eq!(states(&min, &[(0, Ok(-2.0)), (500, Ok(-2.1))]), [Within, Breached]);
}

#[test]
fn what_was_broken_before_the_canary_answered_anybody_is_not_its_doing() {
    let max = guardrail("cost", Bound::Max(0.5), 0);
    let (mut guardrails, said) = (Guardrails::default(), std::slice::from_ref(&max));
    let broken = |at_ms| readings(&[(&max, Ok(9.0), at_ms)]);
    assert_eq!(guardrails.look(said, &broken(100), false, 110)[0].state, Broken);
    assert_eq!(guardrails.look(said, &broken(100), true, 200)[0].state, Broken, "an answer from before");
    assert_eq!(guardrails.look(said, &broken(201), true, 210)[0].state, Breached);
}

#[test]
fn nobody_asked_an_old_answer_and_another_query_say_nothing() {
    let max = guardrail("cost", Bound::Max(0.5), 1_000);
    let (mut guardrails, said) = (Guardrails::default(), std::slice::from_ref(&max));
    let unknown = |why| GuardrailState::Unknown(why);
    assert_eq!(guardrails.look(said, &Readings::default(), true, 0)[0].state, unknown(Unknown::NotAsked));
    let told = readings(&[(&max, Ok(9.0), 100)]);
    assert_eq!(guardrails.look(said, &told, true, 1_100)[0].state, Broken);
    assert_eq!(guardrails.look(said, &told, true, 1_101)[0].state, unknown(Unknown::Stale));
    // The same name for another query: what the old one has broken is over.
    assert_eq!(guardrails.look(said, &readings(&[(&max, Ok(9.0), 1_200)]), true, 1_200)[0].broken_ms, 0);
    let other = Guardrail { query: "other".into(), ..max.clone() };
    let told = readings(&[(&other, Ok(9.0), 9_000)]);
    let seen = &guardrails.look(std::slice::from_ref(&other), &told, true, 9_000)[0];
    assert_eq!((seen.state, seen.broken_ms), (Broken, 0));
    assert_eq!(seen.line(), "guardrail cost broken: 9, max 0.5, for 0 s of 1 s");
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<_> = Unknown::ALL.map(Unknown::as_str).into();
    assert_eq!(words.len(), Unknown::ALL.len());
    assert!(Unknown::ALL.iter().all(|why| !why.words().is_empty()));
}
