//! What the evidence comes to, for people: each difference with the interval that holds at any time, and what would change the
//! verdict. One account for the API, `explain` and the commit.

mod record;

pub use record::record;

use super::{
    interval::{self, Interval, Ratio, Seen},
    judge::{
        Evidence, Guard, GuardEvidence, GuardState, GuardrailState, Mode, Part, PartEvidence, Quantile, Reason, Signal,
        SignalEvidence, Test, Verdict,
    },
    stats::paired::PairCounts,
};

/// How far the canary is from stable.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Difference {
    /// Canary less stable; of latency the factor.
    pub value: f64,
    /// Where the truth lies, at all times at once with the chance of [`interval::ALPHA`] to be wrong; of latency the factor at one
    /// quantile, whose upper end is infinite while the slowest requests say nothing of it. `None` where requests are not
    /// independent (endpoints, users), so that it would be too narrow.
    pub interval: Option<Interval>,
}

impl Difference {
    fn new(value: f64, interval: Interval) -> Self {
        Self { value, interval: Some(interval) }
    }

    fn reversed(self) -> Self {
        let reverse = |Interval { low, high }: Interval| Interval { low: -high, high: -low };
        Self { value: -self.value, interval: self.interval.map(reverse) }
    }
}

/// The difference that a signal shows: of requests or labels where there are any, else of pairs. `None` while there is nothing.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn difference(signal: &SignalEvidence, mode: Mode) -> Option<Difference> {
    let seen = |events: f64, n: u64| Seen { events, n: n as f64 };
    let (canary, stable) = (seen(signal.canary_events, signal.canary_n), seen(signal.stable_events, signal.stable_n));
    let found = match signal.signal {
        Signal::Latency => (signal.canary > 0.0 && signal.stable > 0.0).then(|| {
            let told = carries_p99(signal).and_then(|part| of_latency(part, mode));
            told.unwrap_or(Difference { value: signal.canary / signal.stable, interval: None })
        }),
        Signal::Disagreement => {
            let Interval { low, high } = interval::rate(canary);
            let limit = signal.stable;
            (canary.n > 0.0)
                .then(|| Difference::new(signal.canary - limit, Interval { low: low - limit, high: high - limit }))
        }
        Signal::Errors | Signal::Accuracy if canary.n > 0.0 && stable.n > 0.0 => {
            let value = canary.events / canary.n - stable.events / stable.n;
            Some(Difference::new(value, interval::difference(canary, stable)))
        }
        Signal::Errors | Signal::Accuracy => signal.parts.iter().find_map(of_pairs),
        Signal::Guardrail => None,
    };
    let independent = mode == Mode::Requests || matches!(signal.signal, Signal::Accuracy | Signal::Disagreement);
    let found = found.map(|found| if independent { found } else { Difference { interval: None, ..found } });
    // Its events are wrong labels, its value is the share of right ones.
    if signal.signal == Signal::Accuracy { found.map(Difference::reversed) } else { found }
}

/// The part whose p99 stands for the signal: the one that weighs most, whole answers before streams.
fn carries_p99(signal: &SignalEvidence) -> Option<&PartEvidence> {
    let mut best: Option<&PartEvidence> = None;
    for part in signal
        .parts
        .iter()
        .filter(|part| matches!(part.part, Part::Answer(Quantile::P99) | Part::FirstToken(Quantile::P99)))
    {
        if best.is_none_or(|best| part.weight > best.weight) {
            best = Some(part);
        }
    }
    best
}

/// How many times as long the canary takes at the quantile of a part, since it is warm; the ranks are shown by their median. With
/// the interval where requests are independent.
#[must_use]
pub fn of_latency(part: &PartEvidence, mode: Mode) -> Option<Difference> {
    let (quantile, took) = (part.part.quantile()?, part.took.as_deref()?);
    let value = part.canary / part.stable;
    let interval = || {
        let Ratio { low, high } = interval::ratio(&took.canary, &took.stable, quantile.share());
        Interval { low, high }
    };
    (part.canary > 0.0 && part.stable > 0.0)
        .then(|| Difference { value, interval: (mode == Mode::Requests).then(interval) })
}

/// The difference of a part, whatever it looks at.
#[must_use]
pub fn of_part(part: &PartEvidence, mode: Mode) -> Option<Difference> {
    of_latency(part, mode).or_else(|| of_pairs(part))
}

/// The difference in bad events of a part that compares both answers to the same request.
#[must_use]
pub fn of_pairs(part: &PartEvidence) -> Option<Difference> {
    let pairs = PairCounts { canary_worse: part.canary_events, stable_worse: part.stable_events, n: part.canary_n };
    let value = (pairs.canary_worse - pairs.stable_worse) / pairs.n;
    (part.test == Test::Pairs && pairs.n > 0.0).then(|| Difference::new(value, interval::paired(pairs)))
}

/// A signal in a line, for the commit.
#[must_use]
pub fn line(signal: &SignalEvidence, mode: Mode) -> String {
    let word = signal.signal.as_str();
    let latency = signal.signal == Signal::Latency;
    let value = |value: f64| if latency { format!("{value:.1} ms") } else { format!("{value:.4}") };
    let difference = difference(signal, mode).map_or(String::new(), |Difference { value, interval }| {
        let shown = |number: f64| match latency {
            true if number.is_infinite() => "?".to_owned(),
            true => format!("x{number:.3}"),
            false => format!("{number:+.4}"),
        };
        let between =
            interval.map_or(String::new(), |Interval { low, high }| format!(" ({} to {})", shown(low), shown(high)));
        format!(", difference {}{between}", shown(value))
    });
    format!(
        "{word}: canary {} of {}, stable {} of {}{difference}, margin {:.4}, by {}, log e against {:.2} of {:.2}, for {:.2} of {:.2}",
        value(signal.canary),
        signal.canary_n,
        value(signal.stable),
        signal.stable_n,
        signal.margin,
        signal.test.as_str(),
        signal.log_e_rollback,
        signal.log_e_rollback_at,
        signal.log_e_promote,
        signal.log_e_promote_at,
    )
}

/// What would change the verdict, a sentence a piece.
#[must_use]
pub fn would_change(verdict: Verdict, evidence: &Evidence) -> Vec<String> {
    match verdict {
        Verdict::Fail(_) => {
            vec!["nothing that is still seen: this artefact stays out until a person gives it weight again, or another one is released".to_owned()]
        }
        Verdict::Pass => vec![format!(
            "evidence against the canary: log e {:.2} stops a raise, {:.2} rolls back; it is {:.2}",
            evidence.log_e_clear_below(),
            evidence.log_e_rollback_at,
            evidence.log_e_rollback
        )],
        Verdict::Undecided(reason) => undecided(reason, evidence),
    }
}

fn undecided(reason: Reason, evidence: &Evidence) -> Vec<String> {
    let mut said: Vec<String> = evidence.guards.iter().filter_map(held).collect();
    let differ = evidence.endpoints.iter().filter(|_| reason == Reason::Endpoint);
    said.extend(differ.map(|of| {
        format!(
            "{}: mend or replace it; by `mode: requests`, from the next attempt on, it counts like the others",
            of.line()
        )
    }));
    let open = evidence.guardrails.iter().filter(|of| of.state != GuardrailState::Within);
    said.extend(open.map(|of| format!("{}; no pass while it is so", of.line())));
    if said.is_empty() && matches!(reason, Reason::NoData | Reason::LowSamples) {
        said.push("requests that the canary answers".to_owned());
    }
    for signal in evidence.signals.iter().filter(|signal| signal.log_e_promote < signal.log_e_promote_at) {
        let (word, is, at) = (signal.signal.as_str(), signal.log_e_promote, signal.log_e_promote_at);
        let of = if signal.signal == Signal::Accuracy { "labels" } else { "requests" };
        said.push(format!("{word}: more {of} like stable's, until log e for the canary is {at:.2}; it is {is:.2}"));
    }
    if !evidence.is_clear() {
        said.push(format!(
            "less evidence against the canary: log e {:.2} holds it, a pass needs less than {:.2}",
            evidence.log_e_rollback,
            evidence.log_e_clear_below()
        ));
    }
    said.push(format!(
        "a rollback: log e {:.2} against the canary, of all signals together; it is {:.2}",
        evidence.log_e_rollback_at, evidence.log_e_rollback
    ));
    said
}

/// What a guard that holds is waiting for.
fn held(guard: &GuardEvidence) -> Option<String> {
    let GuardEvidence { guard, state, value, limit } = *guard;
    let what = match guard {
        Guard::WarmUp => {
            format!("latency counts once the canary has warmed up: {limit:.0} requests, {value:.0} so far")
        }
        Guard::Samples => format!("{limit:.0} canary requests; {value:.0} so far"),
        Guard::SampleRatio => format!(
            "draws that fall as configured: log e {value:.2} against that, held at {limit:.2}; retries, a cache or another proxy may take a share of one variant"
        ),
        Guard::LabelCoverage => format!(
            "both variants' requests labelled alike: log e {value:.2} against that, held at {limit:.2}; look at where labels come from"
        ),
        Guard::StableHealth => {
            format!("stable failing less: {value:.3} of its requests, {limit:.3} is too many to compare with")
        }
        Guard::LabelsMissing => "labels: none has come for the canary".to_owned(),
        // Each of them is told by name.
        Guard::Endpoints => return None,
        Guard::LabelDelay => format!("labels of requests that are {:.0} s old", limit / 1000.0),
    };
    (state == GuardState::Holds).then_some(what)
}

#[cfg(test)]
mod tests;
