//! Bounds that a route sets on numbers from outside, such as a queue's length or a cost an answer, asked of a monitoring system.
//!
//! A guardrail compares with nothing and has no chance of error: its bound is what somebody said. So it takes nothing of `alpha`, and
//! promises nothing about healthy canaries. Broken at every look for long enough it is a fail; what cannot be told holds, and is
//! neither a pass nor a fail. This file never asks: it is given what was answered, and when.

use crate::core::name::GuardrailName;
use std::{collections::BTreeMap, sync::Arc};

/// A bound on what a query gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Guardrail {
    /// What it is called in metrics, commits and the API.
    pub name: GuardrailName,
    /// What is asked.
    pub query: Arc<str>,
    /// Where it is broken.
    pub bound: Bound,
    /// It must be broken at every look for so long, milliseconds.
    pub lasting_ms: u64,
}

/// Where a guardrail is broken.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Bound {
    /// Above this.
    Max(f64),
    /// Below this.
    Min(f64),
}

impl Bound {
    /// Whether `value` lies beyond it; the bound itself is still good.
    #[must_use]
    pub fn is_broken_by(self, value: f64) -> bool {
        match self {
            Self::Max(max) => value > max,
            Self::Min(min) => value < min,
        }
    }

    /// The word in the routes file and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Max(_) => "max",
            Self::Min(_) => "min",
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn limit(self) -> f64 {
        match self {
            Self::Max(limit) | Self::Min(limit) => limit,
        }
    }
}

/// Why a number cannot be told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Unknown {
    /// No answer has come yet.
    NotAsked,
    /// The last answer is too old.
    Stale,
    /// The settings name nobody to ask.
    NoServer,
    /// There was no answer.
    Away,
    /// The answer was an error, or nothing that can be read.
    Refused,
    /// The query finds nothing.
    NoSeries,
    /// The query finds more than one series.
    SeveralSeries,
    /// The query gives infinity, or no number at all.
    NotFinite,
}

impl Unknown {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::NotAsked,
        Self::Stale,
        Self::NoServer,
        Self::Away,
        Self::Refused,
        Self::NoSeries,
        Self::SeveralSeries,
        Self::NotFinite,
    ];

    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAsked => "not_asked",
            Self::Stale => "stale",
            Self::NoServer => "no_server",
            Self::Away => "away",
            Self::Refused => "refused",
            Self::NoSeries => "no_series",
            Self::SeveralSeries => "several_series",
            Self::NotFinite => "not_finite",
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::NotAsked => "no answer has come yet",
            Self::Stale => "the last answer is too old",
            Self::NoServer => "the settings name no server to ask",
            Self::Away => "the server does not answer",
            Self::Refused => "the server answers with an error; the log says which",
            Self::NoSeries => "the query finds no series",
            Self::SeveralSeries => "the query finds several series; aggregate them to one",
            Self::NotFinite => "the query gives no finite number",
        }
    }
}

/// What a query gave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reading {
    /// The number, finite, or why there is none.
    pub answer: Result<f64, Unknown>,
    /// When it was asked, milliseconds of the monotonic clock.
    pub at_ms: u64,
}

/// What every query gave last.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Readings {
    /// By query.
    pub by_query: BTreeMap<Arc<str>, Reading>,
    /// What is older than this says nothing, milliseconds.
    pub fresh_ms: u64,
}

impl Readings {
    fn of(&self, query: &str, now_ms: u64) -> Option<Reading> {
        let reading = *self.by_query.get(query)?;
        let stale = now_ms.saturating_sub(reading.at_ms) > self.fresh_ms;
        Some(if stale { Reading { answer: Err(Unknown::Stale), ..reading } } else { reading })
    }
}

/// Where a guardrail stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuardrailState {
    /// Within its bound.
    Within,
    /// Beyond it, and not for long enough: no pass meanwhile.
    Broken,
    /// Beyond it for long enough: a fail.
    Breached,
    /// Nobody can tell: no pass meanwhile.
    Unknown(Unknown),
}

impl GuardrailState {
    /// The word in messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Within => "within",
            Self::Broken => "broken",
            Self::Breached => "breached",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A guardrail and what was seen of it.
#[derive(Clone, PartialEq, Debug)]
pub struct GuardrailEvidence {
    /// What was said.
    pub guardrail: Guardrail,
    /// The number, if it is known.
    pub value: Option<f64>,
    /// For how long it has been beyond its bound at every look, milliseconds.
    pub broken_ms: u64,
    /// What follows.
    pub state: GuardrailState,
}

impl GuardrailEvidence {
    /// In a line, for people.
    #[must_use]
    pub fn line(&self) -> String {
        let Guardrail { name, bound, lasting_ms, .. } = &self.guardrail;
        let what = match (self.state, self.value) {
            (GuardrailState::Unknown(why), _) => why.words().to_owned(),
            (_, Some(value)) => value.to_string(),
            (_, None) => "?".to_owned(),
        };
        let seconds = |ms: u64| format!("{} s", ms.div_ceil(1_000));
        let lasts = match self.state {
            GuardrailState::Broken | GuardrailState::Breached => {
                format!(", for {} of {}", seconds(self.broken_ms), seconds(*lasting_ms))
            }
            GuardrailState::Within | GuardrailState::Unknown(_) => String::new(),
        };
        format!("guardrail {name} {}: {what}, {} {}{lasts}", self.state.as_str(), bound.as_str(), bound.limit())
    }
}

/// Since when the guardrails of one attempt are broken. Not saved: after a restart the time begins anew.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Guardrails {
    /// When the canary had first answered somebody: what was broken before is not its doing.
    from_ms: Option<u64>,
    /// By name, with the query that it was about.
    broken_since_ms: BTreeMap<GuardrailName, (Arc<str>, u64)>,
}

impl Guardrails {
    /// What the last `readings` say of the guardrails that the file names now. `answers`: whether the canary has answered anybody.
    pub fn look(
        &mut self,
        said: &[Guardrail],
        readings: &Readings,
        answers: bool,
        now_ms: u64,
    ) -> Vec<GuardrailEvidence> {
        if answers {
            self.from_ms.get_or_insert(now_ms);
        }
        self.broken_since_ms.retain(|name, (query, _)| said.iter().any(|g| g.name == *name && g.query == *query));
        said.iter().map(|guardrail| self.one(guardrail, readings.of(&guardrail.query, now_ms))).collect()
    }

    fn one(&mut self, guardrail: &Guardrail, reading: Option<Reading>) -> GuardrailEvidence {
        let Reading { answer, at_ms } = reading.unwrap_or(Reading { answer: Err(Unknown::NotAsked), at_ms: 0 });
        let broken = answer.is_ok_and(|value| guardrail.bound.is_broken_by(value));
        // What cannot be told, or is good again, begins anew: broken at every look is broken.
        if !broken {
            self.broken_since_ms.remove(&guardrail.name);
        }
        let counts = broken && self.from_ms.is_some_and(|from_ms| at_ms >= from_ms);
        let since_ms = counts.then(|| {
            let fresh = || (guardrail.query.clone(), at_ms);
            self.broken_since_ms.entry(guardrail.name.clone()).or_insert_with(fresh).1
        });
        let broken_ms = since_ms.map_or(0, |since_ms| at_ms.saturating_sub(since_ms));
        let state = match answer {
            Err(why) => GuardrailState::Unknown(why),
            Ok(_) if counts && broken_ms >= guardrail.lasting_ms => GuardrailState::Breached,
            Ok(_) if broken => GuardrailState::Broken,
            Ok(_) => GuardrailState::Within,
        };
        GuardrailEvidence { guardrail: guardrail.clone(), value: answer.ok(), broken_ms, state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guardrail(name: &str, bound: Bound, lasting_ms: u64) -> Guardrail {
        Guardrail { name: GuardrailName::new(name).unwrap(), query: format!("q_{name}").into(), bound, lasting_ms }
    }

    fn readings(of: &[(&Guardrail, Result<f64, Unknown>, u64)]) -> Readings {
        let by_query =
            of.iter().map(|(of, answer, at_ms)| (of.query.clone(), Reading { answer: *answer, at_ms: *at_ms }));
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
}
