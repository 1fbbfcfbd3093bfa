//! While a release runs: what is still needed, from what has been said of it so far.
//!
//! Made from the evidence alone. A test of the same kind is given what has been counted, at the rates that were seen, so that it
//! bets like the one that judges; the way that is left is the judge's own, from its evidence to its bound. Where there are no
//! counts to do that with (latency, units of endpoints) the evidence is taken to grow as it has, with the variance of a
//! likelihood ratio, twice its drift. Times are at the pace seen since the attempt began.

use super::{Counting, Passage, Supposed, Supposing, Way, normal, passage, together};
use crate::core::{
    judge::{Evidence, Judgement, Mode, Signal, SignalEvidence, Test},
    stats::{
        Counts,
        bernoulli::{BernoulliPromote, BernoulliRollback},
        mixture::HORIZON_BLOCKS,
        paired::{PairedPromote, PairedRollback},
        rate::{ERRORS_GRID, Edge, RatePromote, RateRollback},
    },
};

/// How many times as bad as promotion would just not let pass is the effect that is forecast.
pub const FACTOR: f64 = 2.0;
/// Canary exposures that are looked ahead at most.
const EXPOSURES_MAX: f64 = 1e7;
/// No extrapolation from fewer canary exposures.
const EXPOSURES_MIN: f64 = 100.0;
/// What was counted is given to a test in blocks that grow like this.
const PAST_GROWTH: f64 = 0.25;

/// Half of the releases need less; nine in ten need less. `None`: longer than is looked ahead, or nothing comes in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Span {
    /// Half of them.
    pub half: Option<f64>,
    /// Nine in ten.
    pub most: Option<f64>,
}

impl Span {
    fn of(at: impl Fn(f64) -> Option<f64>) -> Self {
        Self { half: at(0.5), most: at(0.9) }
    }
}

/// What one signal still needs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Needs {
    /// More canary requests, labels or pairs.
    pub exposures: Span,
    /// Seconds from now.
    pub seconds: Span,
}

/// One signal's forecast.
#[derive(Clone, PartialEq, Debug)]
pub struct SignalForecast {
    /// Which.
    pub signal: Signal,
    /// What is counted: `requests`, `labels` or `pairs`.
    pub unit: &'static str,
    /// Until a canary like stable passes it.
    pub pass: Needs,
    /// The canary's value that is [`FACTOR`] times as bad as promotion would just not let pass, and until it is rolled back.
    pub seen: Option<(f64, Needs)>,
}

/// A release's forecast.
#[derive(Clone, PartialEq, Debug)]
pub struct Forecast {
    /// Seconds until a canary like stable has passed every signal.
    pub pass_seconds: Span,
    /// By signal.
    pub signals: Vec<SignalForecast>,
}

/// What a signal's evidence counts: its exposures with their events, and how many of the canary's come in a second.
struct Source {
    counts: Counts,
    pace: f64,
    pairs: bool,
}

/// What is still needed; nothing once the release has failed.
#[must_use]
pub fn forecast(judgement: &Judgement) -> Forecast {
    let evidence = &judgement.evidence;
    #[allow(clippy::cast_precision_loss, reason = "a time in milliseconds stays far below 2^53")]
    let seconds = judgement.at.wall_ms.saturating_sub(judgement.since.wall_ms) as f64 / 1000.0;
    let mut ways = Vec::new();
    let signals = evidence.signals.iter().map(|signal| {
        let source = source(signal, seconds);
        let way = |passage| Way { passage, pace: source.pace, wait_s: 0.0 };
        let pass = way(to_pass(signal, evidence, &source));
        let seen = to_see(signal, evidence, &source).map(|(value, passage)| (value, needs(&way(passage))));
        let unit = match (signal.signal, source.pairs) {
            (_, true) => "pairs",
            (Signal::Accuracy, false) => "labels",
            (Signal::Errors | Signal::Latency | Signal::Disagreement | Signal::Guardrail, false) => "requests",
        };
        let told = SignalForecast { signal: signal.signal, unit, pass: needs(&pass), seen };
        ways.push(pass);
        told
    });
    let signals = signals.collect();
    let pass_seconds = Span::of(|chance| if ways.is_empty() { None } else { together(&ways, chance) });
    Forecast { pass_seconds, signals }
}

fn needs(way: &Way) -> Needs {
    Needs {
        exposures: Span::of(|chance| way.passage.exposures(chance)),
        seconds: Span::of(|chance| way.seconds(chance)),
    }
}

/// The larger of the two: requests or labels about one answer, or pairs.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn source(signal: &SignalEvidence, seconds: f64) -> Source {
    let own = Counts {
        canary_events: signal.canary_events,
        stable_events: signal.stable_events,
        canary: signal.canary_n as f64,
        stable: signal.stable_n as f64,
    };
    let paired = signal.parts.iter().find(|part| part.test == Test::Pairs && part.canary_n > own.canary);
    let counts = paired.map_or(own, |part| Counts {
        canary_events: part.canary_events,
        stable_events: part.stable_events,
        canary: part.canary_n,
        stable: part.stable_n,
    });
    let pace = if seconds > 0.0 { counts.canary / seconds } else { 0.0 };
    Source { counts, pace, pairs: paired.is_some() }
}

/// A test that has seen what was counted.
fn with_past<T: Counting>(mut test: T, counts: &Counts) -> T {
    let mut done = 0.0;
    while done < counts.canary {
        let more = (PAST_GROWTH * done).max(10.0).min(counts.canary - done);
        let part = more / counts.canary;
        test.take(&Counts {
            canary_events: counts.canary_events * part,
            stable_events: counts.stable_events * part,
            canary: more,
            stable: counts.stable * part,
        });
        done += more;
    }
    test
}

impl Source {
    /// The way of `test`, if the canary's rate is this, from where the judge's own evidence `is` to its bound `at`.
    fn way<T: Counting>(&self, test: T, canary: f64, (is, at): (f64, f64)) -> Passage {
        let test = with_past(test, &self.counts);
        let bound = test.evidence() + at - is;
        let stable_per_canary =
            if self.pairs || self.counts.canary <= 0.0 { 1.0 } else { self.counts.stable / self.counts.canary };
        let supposed = Supposed { canary, stable: self.stable(), stable_per_canary };
        passage(&Supposing { test, supposed }, bound, EXPOSURES_MAX)
    }

    /// Stable's rate so far; of pairs half of those in which one was worse.
    fn stable(&self) -> f64 {
        if self.pairs {
            let worse = self.counts.canary_events + self.counts.stable_events;
            return (worse + 0.5) / (self.counts.canary + 1.0) / 2.0;
        }
        self.counts.stable_rate()
    }

    /// Evidence that goes on growing as it has.
    fn steady(&self, (is, at): (f64, f64)) -> Passage {
        let growth = is / self.counts.canary.max(1.0);
        if is >= at {
            return Passage::there();
        }
        if self.counts.canary < EXPOSURES_MIN || growth <= 0.0 {
            return Passage::never();
        }
        let step = |k: u32| (at - is) / growth * 0.01 * f64::from(k);
        let chance = |n: f64| normal::passage(at - is, growth * n, 2.0 * growth * n);
        Passage { curve: (0..=2000).map(|k| (step(k), chance(step(k)))).collect() }
    }
}

fn margin(signal: &SignalEvidence) -> Edge {
    Edge { ratio: signal.pass_ratio, margin: signal.pass_margin }
}

fn to_pass(signal: &SignalEvidence, evidence: &Evidence, source: &Source) -> Passage {
    let way = (signal.log_e_promote, signal.log_e_promote_at);
    let equal = source.stable();
    match signal.signal {
        Signal::Errors | Signal::Accuracy if source.pairs => {
            // Of errors in pairs the promotion's margin is what its ratio leaves at no errors.
            source.way(PairedPromote::new(signal.pass_margin), equal, way)
        }
        Signal::Errors if evidence.mode == Mode::Requests => source.way(RatePromote::new(margin(signal)), equal, way),
        Signal::Accuracy => source.way(BernoulliPromote::new(margin(signal)), equal, way),
        Signal::Errors | Signal::Latency | Signal::Disagreement | Signal::Guardrail => source.steady(way),
    }
}

fn to_see(signal: &SignalEvidence, evidence: &Evidence, source: &Source) -> Option<(f64, Passage)> {
    let way = (signal.log_e_rollback, signal.log_e_rollback_at);
    let stable = source.stable();
    let limit = Edge { ratio: 1.0, margin: signal.margin };
    let worse = FACTOR * (margin(signal).at(stable) - stable);
    match signal.signal {
        Signal::Accuracy if source.pairs => {
            let test = PairedRollback::new(signal.margin, HORIZON_BLOCKS);
            Some((signal.stable - worse, source.way(test, stable + worse, way)))
        }
        Signal::Accuracy => {
            let test = BernoulliRollback::new(limit, HORIZON_BLOCKS);
            Some((1.0 - stable - worse, source.way(test, (stable + worse).min(1.0), way)))
        }
        Signal::Errors if !source.pairs && evidence.mode == Mode::Requests => {
            let test = RateRollback::new(limit, &ERRORS_GRID, HORIZON_BLOCKS);
            Some((stable + worse, source.way(test, (stable + worse).min(1.0), way)))
        }
        Signal::Errors | Signal::Latency | Signal::Disagreement | Signal::Guardrail => None,
    }
}

#[cfg(test)]
mod tests;
