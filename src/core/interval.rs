//! Intervals for people: of the difference of two rates, of pairs, and of the ratio of two latency quantiles, that hold at every
//! moment at once, so that somebody may look as often as they like and stop when they like.
//!
//! The judge does not decide by them: its tests compare block by block, what is shown here is what was seen since the start.
//!
//! *Claim.* With chance at least 95 % the interval contains the truth at all times. The truth of a rate is the average of the
//! probabilities of the requests counted so far; each variant's own, so that a day of rising errors with a rising share of the
//! canary is shown as what it was, and only the judge sets it right. *Assumption.* An outcome's probability does not depend
//! on outcomes of requests in flight with it; rates may drift. Requests of one pausing pod break that, as they break everything.
//!
//! *How.* For a number in 0..1 of mean p and any d, `exp(d x - ln(1 - p + p e^d))` has mean at most 1 (exp is convex), and as
//! `ln(1 - p + p e^d)` is concave in p, the product over requests is at most its value at the average p. The mean over twelve
//! d, each half the one before, is evidence against p that only grows below the truth: Howard, Ramdas, McAuliffe & Sekhon (2021),
//! "Time-uniform, nonparametric, nonasymptotic confidence sequences", the sub-Bernoulli case, with a discrete mixture.
//! A beta prior of the same shape is wider from a few hundred requests on (1.76 against 2.02 times a fixed-time interval, at
//! 5 % of 10,000) and needs the gamma function. Two variants multiply, and the nuisance between them is taken at its worst:
//! Turner & Grünwald (2023), "Exact anytime-valid confidence intervals for contingency tables and beyond".

mod quantile;

pub use quantile::{Ratio, ratio};

use super::stats::{logs::log_mean, paired::PairCounts};

/// The chance that an interval ever misses the truth.
pub const ALPHA: f64 = 0.05;
/// Alternatives: what is added to the log odds of the rate tested. The smallest finds its match at some three million events.
const SHIFTS: [f64; 12] =
    [4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625, 0.031_25, 0.015_625, 0.007_812_5, 0.003_906_25, 0.001_953_125];
/// Bets on pairs, as shares of what is at stake.
const BETS: [f64; 12] =
    [0.96, 0.48, 0.24, 0.12, 0.06, 0.03, 0.015, 0.007_5, 0.003_75, 0.001_875, 0.000_937_5, 0.000_468_75];
/// Halvings of an end: from 2 to less than 1e-9.
const HALVINGS: u32 = 31;
/// Halvings of the nuisance.
const HALVINGS_WITHIN: u32 = 40;

/// Two ends; the truth lies between them, ends included.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Bad events among exposures; a score counts as the fraction of an event that it lacks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Seen {
    /// Bad events.
    pub events: f64,
    /// Exposures.
    pub n: f64,
}

impl Seen {
    /// The same seen from the other side: good events.
    fn mirrored(self) -> Self {
        Self { events: self.n - self.events, n: self.n }
    }

    /// Natural log of the evidence that the mean is above `p`, and its slope in `p`. Falls with `p`, and is convex.
    fn log_above(self, p: f64) -> (f64, f64) {
        let factors = SHIFTS.map(|d| 1.0 + p * d.exp_m1());
        let mut terms = SHIFTS;
        for (term, factor) in terms.iter_mut().zip(factors) {
            *term = *term * self.events - self.n * factor.ln();
        }
        let log_e = log_mean(&terms);
        let share = |term: f64| (term - log_e).exp();
        let each = terms.iter().zip(factors).zip(SHIFTS);
        let slope: f64 = each.map(|((term, factor), d)| share(*term) * d.exp_m1() / factor).sum();
        (log_e, -self.n * slope / 12.0)
    }
}

/// Evidence of one side beyond this makes an end.
fn limit() -> f64 {
    (2.0 / ALPHA).ln()
}

/// One rate.
#[must_use]
pub fn rate(seen: Seen) -> Interval {
    if seen.n <= 0.0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let least = |seen: Seen| {
        let of = |p: f64| seen.log_above(p).0 <= limit();
        last_refuted(0.0, seen.events / seen.n, of)
    };
    Interval { low: least(seen), high: 1.0 - least(seen.mirrored()) }
}

/// The canary's rate less stable's.
#[must_use]
pub fn difference(canary: Seen, stable: Seen) -> Interval {
    if canary.n <= 0.0 || stable.n <= 0.0 {
        return Interval { low: -1.0, high: 1.0 };
    }
    Interval { low: lower(canary, stable), high: -lower(stable, canary) }
}

/// The smallest difference of `a` to `b` that is not refuted.
fn lower(a: Seen, b: Seen) -> f64 {
    let seen = a.events / a.n - b.events / b.n;
    last_refuted(-1.0, seen, |d| is_possible(a, b, d))
}

/// Where `possible` begins to hold between `from`, where it may not, and `to`, where it does: halving from the safe side.
fn last_refuted(from: f64, to: f64, possible: impl Fn(f64) -> bool) -> f64 {
    if possible(from) {
        return from;
    }
    let (mut out, mut within) = (from, to);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (out + within);
        if possible(middle) { within = middle } else { out = middle }
    }
    out
}

/// Whether there is a rate of `b` with which "a is by `d` above b" stands up to what was seen: that a is higher than that, and
/// b lower. The sum of both is convex in b's rate: halving by its slope.
fn is_possible(a: Seen, b: Seen, d: f64) -> bool {
    let b = b.mirrored();
    let (mut low, mut high) = ((-d).max(0.0), (1.0 - d).min(1.0));
    for _ in 0..HALVINGS_WITHIN {
        let rate = 0.5 * (low + high);
        let ((log_a, slope_a), (log_b, slope_b)) = (a.log_above(rate + d), b.log_above(1.0 - rate));
        if log_a + log_b <= limit() {
            return true;
        }
        if slope_a - slope_b > 0.0 { high = rate } else { low = rate }
    }
    false
}

/// The mean over pairs of "only the canary worse" less "only stable worse".
///
/// A bet of a share f on `(1 + D) / (1 + m)` has mean at most 1 when D's mean is at most m, whatever its spread: Waudby-Smith
/// & Ramdas (2024), "Estimating means of bounded random variables by betting". With a mean that moves, the lower end stays
/// below the largest it ever had, the upper end above the smallest.
#[must_use]
pub fn paired(pairs: PairCounts) -> Interval {
    if pairs.n <= 0.0 {
        return Interval { low: -1.0, high: 1.0 };
    }
    let PairCounts { canary_worse, stable_worse, n } = pairs;
    let swapped = PairCounts { canary_worse: stable_worse, stable_worse: canary_worse, n };
    Interval { low: lower_paired(pairs), high: -lower_paired(swapped) }
}

fn lower_paired(pairs: PairCounts) -> f64 {
    let PairCounts { canary_worse: b, stable_worse: c, n } = pairs;
    let log_above = |mean: f64| {
        let of = |bet: f64| {
            let pay = |worth: f64| (bet * (worth / (1.0 + mean) - 1.0)).ln_1p();
            b * pay(2.0) + c * pay(0.0) + (n - b - c) * pay(1.0)
        };
        log_mean(&BETS.map(of))
    };
    let seen = (b - c) / n;
    if seen <= -1.0 {
        return -1.0;
    }
    last_refuted(-1.0 + 1e-9, seen, |mean| log_above(mean) <= limit()).max(-1.0)
}

#[cfg(test)]
mod tests;
