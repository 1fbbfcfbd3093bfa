//! Latency: is the canary slower than stable, beyond a tolerance, anywhere in the distribution.
//!
//! Rollback mixes a Wilcoxon-type rank test (a shift of the whole) with tail tests at p90, p99 and p99.9 (stragglers).
//! Promotion asks at one quantile whether fewer canary than stable requests lie beyond it, after the shift that is allowed.
//! Claim: each ever reaches `1/alpha` under its null with probability at most alpha. Assumption: in each block the canary's
//! latency, made faster by the tolerance, is stochastically at most stable's. Source: judge.md sections 5.4, 5.5.

use super::{
    Counts, Numbers,
    bernoulli::BernoulliPromote,
    histogram::Histogram,
    logs::{log_mean, log_mix},
    mixture::StartMixture,
    rate::{Edge, RateRollback, TAILS_GRID},
    reference::{Distribution, Reference},
};

/// Bets of the rank test, as fractions of the largest one that is safe.
pub const RANK_BETS: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8];
/// Where the tails begin.
pub const TAILS: [f64; 3] = [0.9, 0.99, 0.999];
const EQUAL: Edge = Edge { ratio: 1.0, margin: 0.0 };

/// Requests above a bucket, and all, of both variants; the canary's are first made faster by `shift` buckets.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn above(canary: &Histogram, stable: &Histogram, bucket: i32, shift: i32) -> Counts {
    let beyond = |histogram: &Histogram, limit: i32| -> f64 {
        histogram.iter().filter(|(b, _)| *b > limit).map(|(_, n)| n as f64).sum()
    };
    Counts {
        canary_events: beyond(canary, bucket + shift),
        stable_events: beyond(stable, bucket),
        canary: canary.total() as f64,
        stable: stable.total() as f64,
    }
}

/// One block's log-factors of the rank test, one per bet of [`RANK_BETS`]. With `lambda = bet min(rho, 1 - rho)` and the
/// mid-rank score s: `sum_canary n ln(1 + lambda s / rho) + sum_stable n ln(1 - lambda s / (1 - rho))`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub fn rank_increments(
    canary: &Histogram,
    stable: &Histogram,
    shift: i32,
    reference: &Distribution,
) -> [f64; RANK_BETS.len()] {
    let (n_c, n_s) = (canary.total() as f64, stable.total() as f64);
    let rho = n_c / (n_c + n_s);
    let scored = |histogram: &Histogram, shift: i32| -> Vec<(f64, f64)> {
        histogram.iter().map(|(bucket, n)| (n as f64, reference.mid_rank(bucket - shift))).collect()
    };
    let (canary, stable) = (scored(canary, shift), scored(stable, 0));
    RANK_BETS.map(|bet| {
        let lambda = bet * rho.min(1.0 - rho);
        let for_canary: f64 = canary.iter().map(|(n, s)| n * (lambda * s / rho).ln_1p()).sum();
        let for_stable: f64 = stable.iter().map(|(n, s)| n * (-lambda * s / (1.0 - rho)).ln_1p()).sum();
        for_canary + for_stable
    })
}

/// Evidence against "the canary is at most `shift` buckets slower".
#[derive(Clone, PartialEq, Debug)]
pub struct LatencyRollback {
    shift: i32,
    ranks: StartMixture,
    tails: [RateRollback; TAILS.len()],
}

impl LatencyRollback {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(shift: i32, horizon: u32) -> Self {
        Self {
            shift,
            ranks: StartMixture::new(RANK_BETS.len(), horizon),
            tails: TAILS.map(|_| RateRollback::new(EQUAL, &TAILS_GRID, horizon)),
        }
    }

    /// Takes a block, against what stable's latency was before it.
    pub fn update(&mut self, canary: &Histogram, stable: &Histogram, reference: &Distribution) {
        if canary.total() == 0 || stable.total() == 0 {
            return;
        }
        self.ranks.update(rank_increments(canary, stable, self.shift, reference));
        for (test, q) in self.tails.iter_mut().zip(TAILS) {
            test.update(&above(canary, stable, reference.quantile(q), self.shift));
        }
    }

    /// Natural log of the e-value: 0.4 on the ranks, 0.2 on each tail.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        let ranks = (0.4, log_mean(&self.ranks.log_e()));
        let tails = self.tails.iter().map(|test| (0.2, test.log_e()));
        log_mix(&std::iter::once(ranks).chain(tails).collect::<Vec<_>>())
    }
}

impl Numbers for LatencyRollback {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.ranks.numbers(visit);
        self.tails.iter_mut().for_each(|test| test.numbers(visit));
    }
}

/// Evidence against "at quantile `q` the canary is more than `shift` buckets slower".
#[derive(Clone, PartialEq, Debug)]
pub struct LatencyPromote {
    q: f64,
    shift: i32,
    test: BernoulliPromote,
}

impl LatencyPromote {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(q: f64, shift: i32) -> Self {
        Self { q, shift, test: BernoulliPromote::new(EQUAL) }
    }

    /// Takes a block, against what stable's latency was before it.
    pub fn update(
        &mut self,
        canary: &Histogram,
        stable: &Histogram,
        reference: &Reference,
        distribution: &Distribution,
    ) {
        let bucket = distribution.quantile(self.q);
        let hoped = (reference.share_above(bucket + self.shift), reference.share_above(bucket));
        self.test.update(&above(canary, stable, bucket, self.shift), Some(hoped));
    }

    /// Natural log of the e-value.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.test.log_e()
    }
}

impl Numbers for LatencyPromote {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.test.numbers(visit);
    }
}
