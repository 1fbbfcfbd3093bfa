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

/// Since when the guardrails of one attempt are broken.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Guardrails {
    /// When the canary had first answered somebody: what was broken before is not its doing.
    from_ms: Option<u64>,
    broken: BTreeMap<GuardrailName, Spell>,
    /// Of an earlier process: they go on if the first answer here is beyond the bound, too. Nobody looked in between, so that time is
    /// not counted.
    restored: Vec<SavedSpell>,
}

/// A time for which a guardrail is broken.
#[derive(Clone, PartialEq, Debug)]
struct Spell {
    /// What was asked.
    query: Arc<str>,
    /// In earlier processes.
    before_ms: u64,
    since_ms: u64,
    /// When it was seen so last.
    last_ms: u64,
}

/// For how long a guardrail was broken when it was last looked at: what outlives the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedSpell {
    /// Its name.
    pub name: GuardrailName,
    /// What was asked: another query under the same name begins anew.
    pub query: Arc<str>,
    /// Milliseconds.
    pub broken_ms: u64,
}

impl Spell {
    fn broken_ms(&self) -> u64 {
        self.before_ms + self.last_ms.saturating_sub(self.since_ms)
    }
}

impl Guardrails {
    /// With what [`Self::saved`] gave. `answered`: whether the canary had answered anybody by then.
    #[must_use]
    pub fn restored(spells: Vec<SavedSpell>, answered: bool) -> Self {
        Self { from_ms: answered.then_some(0), broken: BTreeMap::new(), restored: spells }
    }

    /// What is broken, and for how long, to be saved.
    #[must_use]
    pub fn saved(&self) -> Vec<SavedSpell> {
        let of = |(name, spell): (&GuardrailName, &Spell)| SavedSpell {
            name: name.clone(),
            query: spell.query.clone(),
            broken_ms: spell.broken_ms(),
        };
        self.broken.iter().map(of).chain(self.restored.iter().cloned()).collect()
    }

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
        let is_said =
            |name: &GuardrailName, query: &Arc<str>| said.iter().any(|g| g.name == *name && g.query == *query);
        self.broken.retain(|name, spell| is_said(name, &spell.query));
        self.restored.retain(|spell| is_said(&spell.name, &spell.query));
        said.iter().map(|guardrail| self.one(guardrail, readings.of(&guardrail.query, now_ms))).collect()
    }

    fn one(&mut self, guardrail: &Guardrail, reading: Option<Reading>) -> GuardrailEvidence {
        let Reading { answer, at_ms } = reading.unwrap_or(Reading { answer: Err(Unknown::NotAsked), at_ms: 0 });
        // Before the first question nothing is known, but nothing is forgotten either.
        let before = match answer {
            Err(Unknown::NotAsked) => None,
            _ => self.restored.iter().position(|spell| spell.name == guardrail.name),
        };
        let before_ms = before.map_or(0, |at| self.restored.swap_remove(at).broken_ms);
        let broken = answer.is_ok_and(|value| guardrail.bound.is_broken_by(value));
        // What cannot be told, or is good again, begins anew: broken at every look is broken.
        if !broken {
            self.broken.remove(&guardrail.name);
        }
        let counts = broken && self.from_ms.is_some_and(|from_ms| at_ms >= from_ms);
        let broken_ms = if counts {
            let fresh = || Spell { query: guardrail.query.clone(), before_ms, since_ms: at_ms, last_ms: at_ms };
            let spell = self.broken.entry(guardrail.name.clone()).or_insert_with(fresh);
            spell.last_ms = at_ms;
            spell.broken_ms()
        } else {
            0
        };
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
mod tests;
