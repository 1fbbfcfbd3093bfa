//! What stable's latency has been: a histogram that forgets, and the ranks and quantiles it gives.
//!
//! Predictable by construction: a block is judged against it first and learnt after. Source: judge.md section 5.4.

use super::{
    Numbers,
    histogram::{BUCKET_MIN, BUCKETS, Histogram},
};

/// What is kept of the past per block.
pub const DECAY: f64 = 0.99;
/// No latency test before the reference weighs so many requests.
pub const WEIGHT_MIN: f64 = 200.0;

/// Stable's past latency.
#[derive(Clone, PartialEq, Debug)]
pub struct Reference {
    weights: Box<[f64]>,
    weight: f64,
}

impl Default for Reference {
    fn default() -> Self {
        Self { weights: vec![0.0; BUCKETS].into(), weight: 0.0 }
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
impl Reference {
    /// Forgets a little and adds stable's part of a block.
    pub fn learn(&mut self, stable: &Histogram) {
        self.weights.iter_mut().for_each(|w| *w *= DECAY);
        let mut added = 0;
        for (bucket, n) in stable.iter() {
            if let Some(weight) = usize::try_from(bucket - BUCKET_MIN).ok().and_then(|i| self.weights.get_mut(i)) {
                *weight += n as f64;
            }
            added += n;
        }
        self.weight = self.weight * DECAY + added as f64;
    }

    /// Whether it weighs enough to judge by.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.weight >= WEIGHT_MIN
    }

    /// How many requests it stands for.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Share of the reference above `bucket`, half a request better than nothing.
    #[must_use]
    pub fn share_above(&self, bucket: i32) -> f64 {
        let above = (BUCKET_MIN..).zip(&self.weights).filter(|(b, _)| *b > bucket);
        (above.map(|(_, w)| w).sum::<f64>() + 0.5) / (self.weight + 1.0)
    }

    /// Its distribution function.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let total: f64 = self.weights.iter().sum();
        let mut below = 0.0;
        let step = |w: &f64| {
            let at = w / total;
            let entry = (below, at);
            below += at;
            entry
        };
        Distribution(self.weights.iter().map(step).collect())
    }
}

impl Numbers for Reference {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        visit(&mut self.weight);
        self.weights.iter_mut().for_each(visit);
    }
}

/// `(share below, share in)` of every bucket.
#[derive(Clone, PartialEq, Debug)]
pub struct Distribution(Box<[(f64, f64)]>);

impl Distribution {
    /// The smallest bucket with at least a share `q` at or below it.
    #[must_use]
    pub fn quantile(&self, q: f64) -> i32 {
        let full = || (BUCKET_MIN..).zip(&self.0).filter(|(_, (_, at))| *at > 0.0);
        let hit = full().find(|(_, (below, at))| below + at >= q - 1e-12);
        hit.or_else(|| full().last()).map_or(BUCKET_MIN, |(bucket, _)| bucket)
    }

    /// `(bucket, share)` of every bucket that has one.
    pub fn shares(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        (BUCKET_MIN..).zip(&self.0).filter(|(_, (_, at))| *at > 0.0).map(|(bucket, (_, at))| (bucket, *at))
    }

    /// The mid-rank of `bucket`, stretched to [-1, 1]: `2 (F(<i) + f(i)/2) - 1`.
    #[must_use]
    pub fn mid_rank(&self, bucket: i32) -> f64 {
        let entry = usize::try_from(bucket - BUCKET_MIN).map(|i| self.0.get(i));
        let (below, at) = match entry {
            Err(_) => (0.0, 0.0),
            Ok(None) => (1.0, 0.0),
            Ok(Some(entry)) => *entry,
        };
        2.0 * (below + 0.5 * at) - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_where_something_was_seen() {
        let mut stable = Histogram::default();
        stable.add(10, 1);
        stable.add(20, 3);
        let mut reference = Reference::default();
        reference.learn(&stable);
        let distribution = reference.distribution();
        for (q, bucket) in [(0.0, 10), (0.25, 10), (0.26, 20), (1.0, 20), (1.1, 20)] {
            assert_eq!(distribution.quantile(q), bucket, "{q}");
        }
        assert_eq!(distribution.shares().collect::<Vec<_>>(), [(10, 0.25), (20, 0.75)]);
        assert_eq!(Reference::default().distribution().quantile(0.5), BUCKET_MIN, "nothing was");
    }
}
