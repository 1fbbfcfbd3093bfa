//! How many times as long the canary takes as stable, at a quantile, from two histograms.
//!
//! A share q of requests is at or below the q-quantile: for a bucket that is said to hold it, at least q lie at or below its
//! upper bound and at most q at or below its lower one. Counts that refute either refute the bucket: Howard & Ramdas (2022),
//! "Sequential estimation of quantiles with applications to A/B testing and best-arm identification". Two variants multiply,
//! as in [`super::difference`]. For one quantile at a time, at the precision of a bucket (4.4 %).

use super::{Seen, limit};
use crate::core::stats::histogram::{BUCKET_MAX, BUCKET_MIN, BUCKETS_PER_OCTAVE, Histogram};

/// A ratio's ends; `high` is infinite while the slowest requests say nothing of the quantile.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Ratio {
    /// The lower end; 0 while nothing is known.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The canary's `q`-quantile over stable's.
#[must_use]
pub fn ratio(canary: &Histogram, stable: &Histogram, q: f64) -> Ratio {
    let (canary, stable) = (Buckets::new(canary, q), Buckets::new(stable, q));
    let factor = |buckets: i32| (f64::from(buckets) / f64::from(BUCKETS_PER_OCTAVE)).exp2();
    Ratio {
        low: nearest(&canary, &stable).map_or(0.0, |buckets| factor(buckets - 1)),
        high: nearest(&stable, &canary).map_or(f64::INFINITY, |buckets| factor(1 - buckets)),
    }
}

/// Evidence that a variant's quantile lies elsewhere, by bucket from the lowest up.
struct Buckets {
    /// ... above the bucket; falls.
    above: Vec<f64>,
    /// ... below the bucket; rises.
    below: Vec<f64>,
}

impl Buckets {
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    fn new(histogram: &Histogram, q: f64) -> Self {
        let n = histogram.total() as f64;
        let mut counts = histogram.iter().peekable();
        let mut sum = 0.0;
        let mut up_to = vec![0.0];
        for bucket in BUCKET_MIN..=BUCKET_MAX {
            sum += counts.next_if(|(at, _)| *at == bucket).map_or(0.0, |(_, count)| count as f64);
            up_to.push(sum);
        }
        let (_, upper) = up_to.split_first().unwrap_or((&0.0, &[]));
        let (_, lower) = up_to.split_last().unwrap_or((&0.0, &[]));
        Self {
            above: each(upper, |events| Seen { events, n }.mirrored().log_above(1.0 - q).0),
            below: each(lower, |events| Seen { events, n }.log_above(q).0),
        }
    }
}

/// The evidence of every count; empty buckets leave the count, and so the evidence, as it was.
fn each(counts: &[f64], evidence: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut last: Option<(f64, f64)> = None;
    let mut of = |count: f64| {
        let known = last.filter(|(at, _)| *at >= count).map(|(_, log_e)| log_e);
        let log_e = known.unwrap_or_else(|| evidence(count));
        last = Some((count, log_e));
        log_e
    };
    counts.iter().map(|count| of(*count)).collect()
}

/// By how many buckets `a` lies above `b` at least, among the pairs that are not refuted; `None` if there is no end to that.
fn nearest(a: &Buckets, b: &Buckets) -> Option<i32> {
    let mut nearest: Option<i32> = None;
    let mut last = None;
    let mut highest = (BUCKET_MIN..).zip(&b.below).peekable();
    for (bucket, log_above) in (BUCKET_MIN..).zip(&a.above) {
        while let Some((at, _)) = highest.next_if(|(_, log_below)| log_above + *log_below <= limit()) {
            last = Some(at);
        }
        if last.is_some_and(|at| at == BUCKET_MAX || bucket == BUCKET_MIN) {
            return None;
        }
        nearest = nearest.into_iter().chain(last.map(|at| bucket - at)).min();
    }
    nearest
}
