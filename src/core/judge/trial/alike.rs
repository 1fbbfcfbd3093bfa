//! Whether the canary's endpoints are alike. Where one is not, what would be said of the canary is said of that endpoint; it neither
//! blames nor passes anybody, it gives a hold its reason.
//!
//! Nothing of it is saved: which place an endpoint has is a matter of the process.

use super::channel::Timed;
use crate::core::{
    judge::{EndpointEvidence, Part, Policy, Quantile, Signal, Unit},
    stats::{histogram::Histogram, rate::Edge, siblings::Siblings, window::level},
};

/// Chance of ever naming an endpoint of a canary whose endpoints are alike.
const ALPHA: f64 = 0.001;
const QUANTILES: [Quantile; 3] = [Quantile::P50, Quantile::P90, Quantile::P99];

/// Endpoints from every side.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Alike {
    errors: Siblings,
    latency: [[Siblings; QUANTILES.len()]; Timed::ALL.len()],
}

impl Alike {
    /// Takes a window of the canary's endpoints. What promotion lets pass is alike.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub(super) fn take(&mut self, units: &[Unit], policy: &Policy) {
        let loads: Vec<u64> = units.iter().map(|unit| unit.completed).collect();
        let Some(load) = level(&loads, &loads) else { return };
        let units: Vec<&Unit> = units.iter().filter(|unit| unit.completed >= load).collect();
        if let Some(errors) = policy.errors {
            let rates: Vec<(u16, f64)> =
                units.iter().map(|unit| (unit.endpoint, unit.errors as f64 / unit.completed as f64)).collect();
            let edge = Edge { ratio: errors.pass_ratio, margin: errors.pass_margin };
            self.errors.update(&rates, |median| edge.at(median));
        }
        let Some(latency) = policy.latency else { return };
        for (timed, by_quantile) in Timed::ALL.into_iter().zip(&mut self.latency) {
            let timed: Vec<(u16, &Histogram)> =
                units.iter().filter_map(|unit| Some((unit.endpoint, timed.of_unit(unit)?))).collect();
            for (quantile, siblings) in QUANTILES.into_iter().zip(by_quantile) {
                let of = |(endpoint, latency): &(u16, &Histogram)| {
                    Some((*endpoint, f64::from(latency.quantile(quantile.share())?)))
                };
                let values: Vec<(u16, f64)> = timed.iter().filter_map(of).collect();
                let shift = if quantile == Quantile::P99 { latency.pass_tail_buckets } else { latency.pass_buckets };
                siblings.update(&values, |median| median + f64::from(shift));
            }
        }
    }

    fn sides(&self) -> impl Iterator<Item = (Part, &Siblings)> {
        let latency = Timed::ALL.into_iter().zip(&self.latency);
        let latency = latency.flat_map(|(timed, by)| QUANTILES.into_iter().map(move |q| timed.part(q)).zip(by));
        std::iter::once((Part::Rate, &self.errors)).chain(latency)
    }

    /// The most evidence that one is not like the others, and where that is enough to name it.
    #[allow(clippy::cast_precision_loss, reason = "some hundred at most")]
    pub(super) fn log_e(&self) -> (f64, f64) {
        let (mut most, mut n) = (0.0_f64, 0_usize);
        for one in self.sides().flat_map(|(_, siblings)| siblings.all()) {
            (most, n) = (most.max(one.log_e), n + 1);
        }
        (most, (n.max(1) as f64 / ALPHA).ln())
    }

    /// Those that are not like the others, each once for each signal: by the part that shows most.
    pub(super) fn told(&self) -> Vec<EndpointEvidence> {
        let (_, at) = self.log_e();
        let mut told: Vec<EndpointEvidence> = Vec::new();
        for (part, siblings) in self.sides() {
            let signal = if part == Part::Rate { Signal::Errors } else { Signal::Latency };
            for one in siblings.all().filter(|one| one.is_apart && one.log_e >= at) {
                let more = EndpointEvidence::new(signal, part, one, at);
                match told.iter_mut().find(|known| known.endpoint == one.endpoint && known.signal == signal) {
                    Some(known) if known.log_e < more.log_e => *known = more,
                    Some(_) => {}
                    None => told.push(more),
                }
            }
        }
        told
    }
}
