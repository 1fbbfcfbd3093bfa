//! Endpoints that have moods: one endpoint during one window is one observation, however many requests it holds.
//!
//! Requests of one pod that pauses fail together. Counted one by one they look like evidence; counted as one unit they are what
//! they are. A unit's value u lies in [0, 1]: its events, at most `cap` of them, over `cap`; or, for ranks, its standardised
//! mean score in [-1, 1]. Claim and assumption as in `rate`, with units for requests. Units must hold equally many requests to be
//! comparable, and a canary's endpoints rarely do: [`thinned`] gives the events that a unit would show if it had fewer.
//! Source: judge.md section 5.6.

use super::{
    Counts,
    histogram::Histogram,
    rate::{Edge, multipliers},
    reference::Distribution,
};

/// Values of units, in [0, 1].
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Units {
    /// The canary's.
    pub canary: Vec<f64>,
    /// Stable's.
    pub stable: Vec<f64>,
}

impl Units {
    /// Units as exposures and their values as events.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a handful of endpoints")]
    pub fn counts(&self) -> Counts {
        Counts {
            canary_events: self.canary.iter().sum(),
            stable_events: self.stable.iter().sum(),
            canary: self.canary.len() as f64,
            stable: self.stable.len() as f64,
        }
    }
}

/// One window's log-factor: `n_c (1 - x) d + sum_c ln(1 + (x-1) u) + sum_s ln(1 - (1-y) u)`, with `rho` the canary's share of the
/// units; zero when one variant has none.
#[must_use]
pub fn log_increment(units: &Units, edge: Edge, alternative: f64) -> f64 {
    let counts = units.counts();
    if !counts.tells() {
        return 0.0;
    }
    let (x, y) = multipliers(counts.share(), edge.ratio, alternative);
    let sum = |units: &[f64], factor: f64| units.iter().map(|u| (factor * u).ln_1p()).sum::<f64>();
    counts.canary * (1.0 - x) * edge.margin + sum(&units.canary, x - 1.0) + sum(&units.stable, y - 1.0)
}

/// How many events of a unit count at most: three times what stable's past makes one expect, and at least one.
#[must_use]
pub fn cap(expected: f64) -> f64 {
    (3.0 * expected).ceil().max(1.0)
}

/// A unit's value: its events, capped.
#[must_use]
pub fn unit_fraction(events: f64, cap: f64) -> f64 {
    events.min(cap) / cap
}

/// A unit's score: the mean score of its `n` requests, in thirds of its standard deviation under the null, clipped.
#[must_use]
pub fn unit_score(mean_score: f64, n: f64) -> f64 {
    (mean_score * (3.0 * n).sqrt() / 3.0).clamp(-1.0, 1.0)
}

/// Mean score of a unit's requests, made faster by `shift` buckets.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn mean_score(latency: &Histogram, shift: i32, reference: &Distribution) -> f64 {
    let sum: f64 = latency.iter().map(|(bucket, n)| n as f64 * reference.mid_rank(bucket - shift)).sum();
    sum / (latency.total() as f64).max(1.0)
}

/// Expected `min(events, cap)` of `m` requests drawn from a unit of `n` with `events` among them: hypergeometric. So a unit with
/// much traffic can be laid beside one with little.
#[must_use]
pub fn thinned(events: f64, n: f64, m: f64, cap: f64) -> f64 {
    if m >= n {
        return events.min(cap);
    }
    // Where some of the draws must be events, or the cap is far, the mean is what counts.
    if events > n - m || cap > 64.0 || events > 512.0 {
        return (events * m / n).min(cap);
    }
    // P(none) = prod over the events of "not drawn"; each further one by the ratio of neighbours.
    let (mut probability, mut i) = (1.0, 0.0);
    while i < events {
        probability *= (n - m - i) / (n - i);
        i += 1.0;
    }
    let (mut mean, mut beyond, mut h) = (0.0, 1.0 - probability, 0.0);
    while h < cap && h < events {
        mean += beyond.max(0.0);
        probability *= (events - h) * (m - h) / ((h + 1.0) * (n - m - events + h + 1.0));
        beyond -= probability;
        h += 1.0;
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::stats::reference::Reference;

    #[test]
    fn a_unit_is_thinned_as_if_its_requests_had_been_drawn() {
        // By hand: 2 of 10 drawn with 3 events among them; P(0) = 42/90, P(1) = 42/90, P(2) = 6/90.
        let check = |cap: f64, wanted: f64| assert!((thinned(3.0, 10.0, 2.0, cap) - wanted).abs() < 1e-12, "cap {cap}");
        check(1.0, 48.0 / 90.0);
        check(2.0, 54.0 / 90.0);
        check(9.0, 54.0 / 90.0);
        assert!((thinned(3.0, 10.0, 10.0, 2.0) - 2.0).abs() < 1e-12, "all drawn");
        assert!(thinned(0.0, 10.0, 2.0, 2.0).abs() < 1e-12);
        assert!((thinned(9.0, 10.0, 5.0, 99.0) - 4.5).abs() < 1e-12, "the mean without a cap");
    }

    #[test]
    fn thinning_is_exact_up_to_its_limits_and_the_mean_beyond_them() {
        let check = |[events, n, m, cap]: [f64; 4], wanted: f64| {
            let thinned = thinned(events, n, m, cap);
            assert!((thinned - wanted).abs() < 1e-9, "{events} of {n}, {m} drawn, cap {cap}: {thinned}");
        };
        // Both draws can just miss the 8 events: P(none) = 2/10 1/9.
        check([8.0, 10.0, 2.0, 1.0], 44.0 / 45.0);
        // Of 9 events one is always drawn: 2 9/10.
        check([9.0, 10.0, 2.0, 2.0], 1.8);
        check([9.0, 10.0, 2.0, 1.0], 1.0);
        // Sum of min(k, 64) over the hypergeometric distribution, in exact fractions (Python).
        check([512.0, 1024.0, 128.0, 64.0], 61.893_188_347_447_5);
        check([512.0, 1024.0, 128.0, 65.0], 64.0);
        check([513.0, 1024.0, 128.0, 64.0], 64.0);
    }

    #[test]
    fn a_mean_score_is_that_of_the_requests_at_their_own_ranks() {
        let latency = |of: &[(i32, u64)]| {
            let mut histogram = Histogram::default();
            of.iter().for_each(|(bucket, n)| histogram.add(*bucket, *n));
            histogram
        };
        let mut reference = Reference::default();
        reference.learn(&latency(&[(10, 1), (20, 3)]));
        let reference = reference.distribution();
        // Ranks: bucket 10 has -3/4, bucket 20 has 1/4, what lies between -1/2, what lies below -1.
        let seen = latency(&[(10, 1), (20, 4)]);
        for (shift, wanted) in [(0, 0.25 / 5.0), (5, -3.0 / 5.0)] {
            let score = mean_score(&seen, shift, &reference);
            assert!((score - wanted).abs() < 1e-12, "{shift}: {score}");
        }
        assert!(mean_score(&Histogram::default(), 0, &reference).abs() < 1e-12, "no requests, no score");
    }

    /// The mean over all outcomes of a window with one request a unit: events at the edge of the null.
    #[test]
    fn the_factor_has_mean_at_most_one_on_the_null() {
        for (canary, stable) in [(1, 1), (1, 3), (2, 2), (3, 5)] {
            for (p_s, edge) in [(0.01, Edge { ratio: 1.0, margin: 0.0 }), (0.2, Edge { ratio: 1.25, margin: 0.002 })] {
                for alternative in [0.1, 0.5, 0.9, 1.1, 3.0, 30.0] {
                    let p_c = edge.at(p_s);
                    let mut mean = 0.0;
                    for bits in 0..1_u32 << (canary + stable) {
                        let at = |unit: u32| f64::from(bits >> unit & 1);
                        let units = Units {
                            canary: (0..canary).map(at).collect(),
                            stable: (canary..canary + stable).map(at).collect(),
                        };
                        let chance = |u: &f64, p: f64| if *u > 0.5 { p } else { 1.0 - p };
                        let of = |units: &[f64], p: f64| units.iter().map(|u| chance(u, p)).product::<f64>();
                        mean += of(&units.canary, p_c)
                            * of(&units.stable, p_s)
                            * log_increment(&units, edge, alternative).exp();
                    }
                    assert!(mean <= 1.0 + 1e-12, "{canary}/{stable}, {p_s}, {alternative}: {mean}");
                }
            }
        }
    }

    #[test]
    fn values_stay_in_their_range() {
        assert!((cap(0.0) - 1.0).abs() < 1e-12 && (cap(0.4) - 2.0).abs() < 1e-12);
        assert!((unit_fraction(7.0, 2.0) - 1.0).abs() < 1e-12 && unit_fraction(0.0, 2.0).abs() < 1e-12);
        assert!((unit_score(0.5, 300.0) - 1.0).abs() < 1e-12 && (unit_score(-0.5, 300.0) + 1.0).abs() < 1e-12);
    }
}
