//! Latency: is the canary slower than stable, beyond a tolerance, anywhere in the distribution.
//!
//! Rollback mixes a Wilcoxon-type rank test (a shift of the whole) with tail tests at p90, p99 and p99.9 (stragglers).
//! Promotion asks at one quantile whether fewer canary than stable requests lie beyond it, after the shift that is allowed.
//! Claim: each ever reaches `1/alpha` under its null with probability at most alpha. Assumption: in each block the canary's
//! latency, made faster by the tolerance, is stochastically at most stable's. Source: judge.md sections 5.4, 5.5.

use super::{
    Counts, Numbers,
    bernoulli::BernoulliPromote,
    endpoint::Units,
    histogram::Histogram,
    logs::{log_mean, log_mix},
    mixture::StartMixture,
    rate::{Edge, RateRollback, TAILS_GRID},
    reference::{Distribution, Reference},
    window::Window,
};

/// Bets of the rank test, as fractions of the largest one that is safe.
pub const RANK_BETS: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.4, 0.8];
/// Where the tails begin.
pub const TAILS: [f64; 3] = [0.9, 0.99, 0.999];
/// The evidence's share of the rank test; the tails share the rest alike.
pub const RANKS_WEIGHT: f64 = 0.4;
/// So many of [`TAILS`] are looked at where a unit is an endpoint during ten seconds: it hardly shows a thousandth of its requests.
const UNIT_TAILS: usize = 2;
const EQUAL: Edge = Edge { ratio: 1.0, margin: 0.0 };

/// Requests by bucket; fractions of them, when what is expected is counted.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn weights(histogram: &Histogram) -> Vec<(i32, f64)> {
    histogram.iter().map(|(bucket, n)| (bucket, n as f64)).collect()
}

fn all(weights: &[(i32, f64)]) -> f64 {
    weights.iter().map(|(_, n)| n).sum()
}

/// Requests above a bucket, and all, of both variants; the canary's are first made faster by `shift` buckets.
fn above(canary: &[(i32, f64)], stable: &[(i32, f64)], bucket: i32, shift: i32) -> Counts {
    let beyond = |weights: &[(i32, f64)], limit: i32| -> f64 {
        weights.iter().filter(|(b, _)| *b > limit).map(|(_, n)| n).sum()
    };
    Counts {
        canary_events: beyond(canary, bucket + shift),
        stable_events: beyond(stable, bucket),
        canary: all(canary),
        stable: all(stable),
    }
}

/// One block's log-factors of the rank test, one per bet of [`RANK_BETS`]. With `lambda = bet min(rho, 1 - rho)` and the
/// mid-rank score s: `sum_canary n ln(1 + lambda s / rho) + sum_stable n ln(1 - lambda s / (1 - rho))`.
#[must_use]
pub fn rank_increments(
    canary: &Histogram,
    stable: &Histogram,
    shift: i32,
    reference: &Distribution,
) -> [f64; RANK_BETS.len()] {
    increments(&weights(canary), &weights(stable), shift, reference)
}

fn increments(
    canary: &[(i32, f64)],
    stable: &[(i32, f64)],
    shift: i32,
    reference: &Distribution,
) -> [f64; RANK_BETS.len()] {
    let (n_c, n_s) = (all(canary), all(stable));
    let rho = n_c / (n_c + n_s);
    let scored = |weights: &[(i32, f64)], shift: i32| -> Vec<(f64, f64)> {
        weights.iter().map(|(bucket, n)| (*n, reference.mid_rank(bucket - shift))).collect()
    };
    let (canary, stable) = (scored(canary, shift), scored(stable, 0));
    RANK_BETS.map(|bet| {
        let lambda = bet * rho.min(1.0 - rho);
        let for_canary: f64 = canary.iter().map(|(n, s)| n * (lambda * s / rho).ln_1p()).sum();
        let for_stable: f64 = stable.iter().map(|(n, s)| n * (-lambda * s / (1.0 - rho)).ln_1p()).sum();
        for_canary + for_stable
    })
}

/// The same of units with scores in [-1, 1].
fn unit_increments(scores: &Units) -> [f64; RANK_BETS.len()] {
    let rho = scores.counts().share();
    RANK_BETS.map(|bet| {
        let lambda = bet * rho.min(1.0 - rho);
        let for_canary: f64 = scores.canary.iter().map(|s| (lambda * s / rho).ln_1p()).sum();
        let for_stable: f64 = scores.stable.iter().map(|s| (-lambda * s / (1.0 - rho)).ln_1p()).sum();
        for_canary + for_stable
    })
}

/// Evidence against "the canary is at most `shift` buckets slower".
#[derive(Clone, PartialEq, Debug)]
pub struct LatencyRollback {
    shift: i32,
    ranks: StartMixture,
    tails: Vec<(f64, RateRollback)>,
}

impl LatencyRollback {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(shift: i32, horizon: u32) -> Self {
        Self::of(shift, horizon, TAILS.len())
    }

    /// A test of [windows](Self::update_window) that has seen nothing.
    #[must_use]
    pub fn of_windows(shift: i32, horizon: u32) -> Self {
        Self::of(shift, horizon, UNIT_TAILS)
    }

    fn of(shift: i32, horizon: u32, tails: usize) -> Self {
        Self {
            shift,
            ranks: StartMixture::new(RANK_BETS.len(), horizon),
            tails: TAILS.iter().take(tails).map(|q| (*q, RateRollback::new(EQUAL, &TAILS_GRID, horizon))).collect(),
        }
    }

    /// Takes a block, against what stable's latency was before it.
    pub fn update(&mut self, canary: &Histogram, stable: &Histogram, reference: &Distribution) {
        self.update_shares(&weights(canary), &weights(stable), reference);
    }

    /// The same with requests by bucket, fractions of them too: for a forecast.
    pub fn update_shares(&mut self, canary: &[(i32, f64)], stable: &[(i32, f64)], reference: &Distribution) {
        if all(canary) <= 0.0 || all(stable) <= 0.0 {
            return;
        }
        self.ranks.update(increments(canary, stable, self.shift, reference));
        for (q, test) in &mut self.tails {
            test.update(&above(canary, stable, reference.quantile(*q), self.shift));
        }
    }

    /// Takes a window of endpoints, against what stable's latency was before it.
    pub fn update_window(&mut self, window: &Window<'_>, reference: &Distribution) {
        self.ranks.update(unit_increments(&window.scores(self.shift, reference)));
        for (q, test) in &mut self.tails {
            test.update_units(&window.beyond(reference.quantile(*q), self.shift, 1.0 - *q), EQUAL);
        }
    }

    /// Natural log of the e-value: 0.4 on the ranks, the rest on the tails alike.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        let ranks = (RANKS_WEIGHT, self.log_e_ranks());
        let tails = self.log_e_tails().map(|(_, weight, log_e)| (weight, log_e));
        log_mix(&std::iter::once(ranks).chain(tails).collect::<Vec<_>>())
    }

    /// Natural log of the rank test's e-value.
    #[must_use]
    pub fn log_e_ranks(&self) -> f64 {
        log_mean(&self.ranks.log_e())
    }

    /// `(quantile, weight, natural log of the e-value)` of each tail.
    #[allow(clippy::cast_precision_loss, reason = "two or three")]
    pub fn log_e_tails(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let weight = (1.0 - RANKS_WEIGHT) / self.tails.len() as f64;
        self.tails.iter().map(move |(q, test)| (*q, weight, test.log_e()))
    }
}

impl Numbers for LatencyRollback {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.ranks.numbers(visit);
        self.tails.iter_mut().for_each(|(_, test)| test.numbers(visit));
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
        self.update_counts(&above(&weights(canary), &weights(stable), bucket, self.shift), reference, bucket);
    }

    /// The same with counts above `bucket`, stable's past quantile, after the shift: fractions too, for a forecast.
    pub fn update_counts(&mut self, above: &Counts, reference: &Reference, bucket: i32) {
        let hoped = (reference.share_above(bucket + self.shift), reference.share_above(bucket));
        self.test.update(above, Some(hoped));
    }

    /// Where it looks.
    #[must_use]
    pub fn quantile(&self) -> f64 {
        self.q
    }

    /// How many buckets slower the canary may be.
    #[must_use]
    pub fn shift(&self) -> i32 {
        self.shift
    }

    /// Takes a window of endpoints, against what stable's latency was before it.
    pub fn update_window(&mut self, window: &Window<'_>, reference: &Reference, distribution: &Distribution) {
        let bucket = distribution.quantile(self.q);
        let units = window.beyond(bucket, self.shift, reference.share_above(bucket));
        self.test.update(&units.counts(), Some(window.hoped(bucket, self.shift, reference)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(of: &[(i32, u64)]) -> Histogram {
        let mut histogram = Histogram::default();
        of.iter().for_each(|(bucket, n)| histogram.add(*bucket, *n));
        histogram
    }

    /// Ranks of -1/2 at bucket 10 and 1/2 at bucket 20.
    fn reference() -> Reference {
        let mut reference = Reference::default();
        reference.learn(&latency(&[(10, 1), (20, 1)]));
        reference
    }

    fn close(found: [f64; RANK_BETS.len()], by_hand: impl Fn(f64) -> f64) {
        for (found, bet) in found.into_iter().zip(RANK_BETS) {
            assert!((found - by_hand(bet)).abs() < 1e-12, "bet {bet}: {found} instead of {}", by_hand(bet));
        }
    }

    #[test]
    fn the_rank_test_stakes_by_the_smaller_of_the_two_shares() {
        // Three of four are one variant's, so lambda is a quarter of the bet.
        let (fast, slow) = (latency(&[(10, 1)]), latency(&[(20, 3)]));
        let reference = reference().distribution();
        close(rank_increments(&slow, &fast, 0, &reference), |bet| 3.0 * (bet / 6.0).ln_1p() + (bet / 2.0).ln_1p());
        close(rank_increments(&fast, &slow, 0, &reference), |bet| (-bet / 2.0).ln_1p() + 3.0 * (-bet / 6.0).ln_1p());
        // Ten buckets faster the slow ones are as the fast one.
        close(rank_increments(&slow, &fast, 10, &reference), |bet| 3.0 * (-bet / 6.0).ln_1p() + (bet / 2.0).ln_1p());
    }

    #[test]
    fn units_are_staked_as_requests_are() {
        let (many, one) = (vec![0.5, -1.0, 0.25], vec![-0.5]);
        let of = |scores: &[f64], factor: f64| scores.iter().map(|s| (factor * s).ln_1p()).sum::<f64>();
        let scores = Units { canary: many.clone(), stable: one.clone() };
        close(unit_increments(&scores), |bet| of(&many, bet / 3.0) + of(&one, -bet));
        let scores = Units { canary: one.clone(), stable: many.clone() };
        close(unit_increments(&scores), |bet| of(&one, bet) + of(&many, -bet / 3.0));
    }

    #[test]
    fn a_block_of_one_variant_is_no_block() {
        let mut test = LatencyRollback::new(1, 10);
        let (before, one, nothing) = (test.clone(), latency(&[(10, 1)]), Histogram::default());
        let reference = reference().distribution();
        for (canary, stable) in [(&one, &nothing), (&nothing, &one), (&nothing, &nothing)] {
            test.update(canary, stable, &reference);
        }
        assert_eq!(test, before);
    }

    #[test]
    fn the_tails_of_a_window_are_the_rate_test_of_its_units() {
        // Half of stable's past lies at bucket 10, nine tenths up to bucket 20, all up to bucket 30.
        let mut reference = Reference::default();
        reference.learn(&latency(&[(10, 50), (20, 40), (30, 10)]));
        let canary = latency(&[(10, 10), (23, 16), (40, 24)]);
        let stable = latency(&[(10, 25), (20, 10), (30, 15)]);
        let window = Window::new(&[&canary], &[&stable, &stable]).unwrap();
        let mut test = LatencyRollback::of_windows(3, 10);
        test.update_window(&window, &reference.distribution());
        // A unit of 50 may show three times the 5 or 1/2 that are expected beyond the two tails, rounded up: 15 and 2. The
        // canary's 24 beyond bucket 33 are more than that, stable's 15 beyond bucket 20 just as many, beyond bucket 30 it has none.
        for ((q, _, log_e), stable) in test.log_e_tails().zip([1.0, 0.0]) {
            let mut by_hand = RateRollback::new(EQUAL, &TAILS_GRID, 10);
            by_hand.update_units(&Units { canary: vec![1.0], stable: vec![stable; 2] }, EQUAL);
            assert!((log_e - by_hand.log_e()).abs() < 1e-12, "{q}: {log_e}");
        }
    }
    #[test]
    fn a_pass_of_windows_is_the_bernoulli_test_of_their_units() {
        let mut reference = Reference::default();
        reference.learn(&latency(&[(10, 50), (20, 40), (30, 10)]));
        let canary = latency(&[(10, 10), (23, 16), (40, 24)]);
        let stable = latency(&[(10, 25), (20, 10), (30, 15)]);
        let window = Window::new(&[&canary], &[&stable, &stable]).unwrap();
        let mut test = LatencyPromote::new(0.9, 10);
        assert_eq!((test.quantile().to_bits(), test.shift()), (0.9_f64.to_bits(), 10));
        test.update_window(&window, &reference, &reference.distribution());
        // 10 and a half over 101 lie beyond p90, bucket 20: of 50 at most three times as many count, 16 rounded up. The canary's
        // 24 beyond bucket 30 are more than that.
        let counts = Counts { canary_events: 1.0, stable_events: 2.0 * 15.0 / 16.0, canary: 1.0, stable: 2.0 };
        let mut by_hand = BernoulliPromote::new(EQUAL);
        by_hand.update(&counts, Some(window.hoped(20, 10, &reference)));
        assert!((test.log_e() - by_hand.log_e()).abs() < 1e-12 && test.log_e() < -1e-3, "{}", test.log_e());
    }
}
