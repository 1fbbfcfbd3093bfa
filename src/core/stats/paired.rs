//! One request answered by both variants: the difference between the two answers, whatever is common to them.
//!
//! D is +1 in a pair in which only the canary is worse, -1 in one in which only stable is, else 0. Claim: `PairedRollback`
//! grows when the mean of D exceeds the margin d, `PairedPromote` when it stays below; each ever reaches `1/alpha` with
//! probability at most alpha otherwise. A pair's factor `1 + bet (D - d)` has mean 1 when D's mean is d, whatever the joint
//! distribution of the two answers. With scores D lies anywhere between: a pair then counts as the fraction |D| of a pair that
//! differs, which by the logarithm's concavity can only lower the factor. Source: judge.md sections 5.7, 5.8.

use super::{
    Numbers,
    logs::{log_mean, log_mix},
    mixture::StartMixture,
};

/// Bets of rollback, as fractions of the largest one that is allowed.
pub const BETS: [f64; 6] = [0.05, 0.1, 0.2, 0.4, 0.7, 0.9];
/// Past shares are shrunk by so many pairs ...
const PRIOR_PAIRS: f64 = 20.0;
/// ... to this share of disagreement, evenly split.
const PRIOR_SHARE: f64 = 0.05;
/// Halvings after which a bet between -2 and 2 is as exact as it can be written.
const HALVINGS_MAX: usize = 200;

/// Pairs of a block, and those in which one of the two was worse.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct PairCounts {
    /// Only the canary worse: b.
    pub canary_worse: f64,
    /// Only stable worse: c.
    pub stable_worse: f64,
    /// All pairs.
    pub n: f64,
}

impl PairCounts {
    fn add(&mut self, other: &Self) {
        self.canary_worse += other.canary_worse;
        self.stable_worse += other.stable_worse;
        self.n += other.n;
    }

    /// Probability that exactly one of the two is worse.
    fn share(&self) -> f64 {
        (self.canary_worse + self.stable_worse + PRIOR_PAIRS * PRIOR_SHARE) / (self.n + PRIOR_PAIRS)
    }

    /// What was learnt of "only the canary" and "only stable".
    fn learnt(&self) -> (f64, f64) {
        let of = |worse: f64| (worse + PRIOR_PAIRS / 2.0 * PRIOR_SHARE) / (self.n + PRIOR_PAIRS);
        (of(self.canary_worse), of(self.stable_worse))
    }
}

impl Numbers for PairCounts {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        [&mut self.canary_worse, &mut self.stable_worse, &mut self.n].into_iter().for_each(visit);
    }
}

/// One block's log-factor: `b ln(1 + bet (1-d)) + c ln(1 - bet (1+d)) + (n-b-c) ln(1 - bet d)`. A bet above 0 is against "the
/// mean of D is at most d", one below 0 against "at least d"; `-1/(1-d) < bet < 1/(1+d)`.
#[must_use]
pub fn log_increment(block: &PairCounts, d: f64, bet: f64) -> f64 {
    let PairCounts { canary_worse: b, stable_worse: c, n } = *block;
    b * (bet * (1.0 - d)).ln_1p() + c * (-bet * (1.0 + d)).ln_1p() + (n - b - c) * (-bet * d).ln_1p()
}

/// The bet of fastest expected growth when "only the canary" has probability `p_b` and "only stable" `p_c`: the root of a
/// falling derivative, by halving.
#[must_use]
pub fn kelly_bet((p_b, p_c): (f64, f64), d: f64) -> f64 {
    let (mut low, mut high) = (-1.0 / (1.0 - d), 1.0 / (1.0 + d));
    for _ in 0..HALVINGS_MAX {
        let bet = 0.5 * (low + high);
        if bet <= low || bet >= high {
            break;
        }
        let slope = p_b * (1.0 - d) / (1.0 + bet * (1.0 - d))
            - p_c * (1.0 + d) / (1.0 - bet * (1.0 + d))
            - (1.0 - p_b - p_c) * d / (1.0 - bet * d);
        if slope > 0.0 { low = bet } else { high = bet }
    }
    0.5 * (low + high)
}

/// Evidence against "in every block the mean of D is at most d".
#[derive(Clone, PartialEq, Debug)]
pub struct PairedRollback {
    d: f64,
    mixture: StartMixture,
    log_learnt: f64,
    past: PairCounts,
}

impl PairedRollback {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(d: f64, horizon: u32) -> Self {
        Self { d, mixture: StartMixture::new(BETS.len(), horizon), log_learnt: 0.0, past: PairCounts::default() }
    }

    /// Takes a block.
    pub fn update(&mut self, block: &PairCounts) {
        if block.n <= 0.0 {
            return;
        }
        let (d, top) = (self.d, 1.0 / (1.0 + self.d));
        self.mixture.update(BETS.map(|bet| log_increment(block, d, bet * top)));
        let learnt = kelly_bet(self.past.learnt(), d).clamp(0.02 * top, 0.95 * top);
        self.log_learnt += log_increment(block, d, learnt);
        self.past.add(block);
    }

    /// Natural log of the e-value: 0.6 on the grid, 0.4 on the bet learnt.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mix(&[(0.6, log_mean(&self.mixture.log_e())), (0.4, self.log_learnt)])
    }

    /// All pairs so far.
    #[must_use]
    pub fn past(&self) -> PairCounts {
        self.past
    }
}

impl Numbers for PairedRollback {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.mixture.numbers(visit);
        visit(&mut self.log_learnt);
        self.past.numbers(visit);
    }
}

/// Evidence against "in every block the mean of D is at least d".
#[derive(Clone, PartialEq, Debug)]
pub struct PairedPromote {
    d: f64,
    log_equal: f64,
    log_learnt: f64,
    past: PairCounts,
}

impl PairedPromote {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(d: f64) -> Self {
        Self { d, log_equal: 0.0, log_learnt: 0.0, past: PairCounts::default() }
    }

    /// Takes a block.
    pub fn update(&mut self, block: &PairCounts) {
        if block.n <= 0.0 {
            return;
        }
        let half = self.past.share() / 2.0;
        let equal = kelly_bet((half, half), self.d).min(0.0);
        let learnt = kelly_bet(self.past.learnt(), self.d).min(0.0);
        self.log_equal += log_increment(block, self.d, equal);
        self.log_learnt += log_increment(block, self.d, learnt);
        self.past.add(block);
    }

    /// Natural log of the e-value: 0.7 on an equal canary, 0.3 on what was learnt.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mix(&[(0.7, self.log_equal), (0.3, self.log_learnt)])
    }
}

impl Numbers for PairedPromote {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        visit(&mut self.log_equal);
        visit(&mut self.log_learnt);
        self.past.numbers(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every outcome of `n` pairs with its probability, when D is +1, -1, 0 with these probabilities.
    fn mean_factor(n: i32, p_b: f64, p_c: f64, d: f64, bet: f64) -> f64 {
        let of = |k: i32| (1..=k).map(f64::from).product::<f64>();
        let mut mean = 0.0;
        for b in 0..=n {
            for c in 0..=n - b {
                let rest = n - b - c;
                let ways = of(n) / (of(b) * of(c) * of(rest));
                let chance = ways * p_b.powi(b) * p_c.powi(c) * (1.0 - p_b - p_c).powi(rest);
                let block = PairCounts { canary_worse: f64::from(b), stable_worse: f64::from(c), n: f64::from(n) };
                mean += chance * log_increment(&block, d, bet).exp();
            }
        }
        mean
    }

    #[test]
    fn the_factor_has_mean_one_at_the_margin_and_less_inside_the_null() {
        for d in [0.0, 0.002, 0.02] {
            for stable in [0.0, 0.01, 0.2] {
                for bet in [-0.9, -0.2, 0.1, 0.9] {
                    let at = mean_factor(6, stable + d, stable, d, bet);
                    assert!((at - 1.0).abs() < 1e-12, "d {d}, stable {stable}, bet {bet}: {at}");
                    let inside = if bet > 0.0 { (stable, stable + 0.01) } else { (stable + d + 0.01, stable) };
                    assert!(mean_factor(6, inside.0, inside.1, d, bet) < 1.0, "d {d}, bet {bet}");
                }
            }
        }
    }

    #[test]
    fn a_score_counts_no_more_than_its_factor() {
        for bet in [-0.9, -0.3, 0.3, 0.9] {
            for d in [0.002, 0.02] {
                for tenth in -10..=10 {
                    let lacks = f64::from(tenth) / 10.0;
                    let block = PairCounts { canary_worse: lacks.max(0.0), stable_worse: (-lacks).max(0.0), n: 1.0 };
                    let exact = (bet * (lacks - d)).ln_1p();
                    assert!(log_increment(&block, d, bet) <= exact + 1e-12, "bet {bet}, d {d}, {lacks}");
                }
            }
        }
    }

    #[test]
    fn no_bet_is_larger_than_what_can_be_lost() {
        // Without any pair in which the other is worse all would be staked: 1/(1+d), and -1/(1-d).
        for d in [0.02, 0.25] {
            let (most, least) = (kelly_bet((0.9, 0.0), d), kelly_bet((0.0, 0.9), d));
            assert!((most - 1.0 / (1.0 + d)).abs() < 1e-12, "{d}: {most}");
            assert!((least + 1.0 / (1.0 - d)).abs() < 1e-12, "{d}: {least}");
        }
    }

    #[test]
    fn a_rollback_bets_a_fiftieth_of_the_most_at_least() {
        // At d = 1/4 the most is 4/5, and nobody's past of 20 pairs, evenly split, would bet on a worse canary: 0.016 it is.
        let mut against = PairedRollback::new(0.25, 10);
        against.update(&PairCounts { canary_worse: 3.0, stable_worse: 2.0, n: 10.0 });
        let by_hand = 3.0 * 1.012_f64.ln() + 2.0 * 0.98_f64.ln() + 5.0 * 0.996_f64.ln();
        assert!((against.log_learnt - by_hand).abs() < 1e-12, "{}", against.log_learnt);
    }

    #[test]
    fn a_rollback_bets_nineteen_twentieths_of_the_most_at_most() {
        // After 980 of 1,000 pairs in which only the canary was worse the best bet at d = 1/4 is beyond 0.95 of 4/5: 0.76 it is.
        let mut against = PairedRollback::new(0.25, 10);
        against.update(&PairCounts { canary_worse: 980.0, stable_worse: 0.0, n: 1000.0 });
        let before = against.log_learnt;
        against.update(&PairCounts { canary_worse: 1.0, stable_worse: 1.0, n: 2.0 });
        let by_hand = 1.57_f64.ln() + 0.05_f64.ln();
        assert!((against.log_learnt - before - by_hand).abs() < 1e-9, "{} after {before}", against.log_learnt);
        assert_eq!(against.past(), PairCounts { canary_worse: 981.0, stable_worse: 1.0, n: 1002.0 });
    }

    #[test]
    fn an_empty_block_is_no_block() {
        let (mut against, mut pro) = (PairedRollback::new(0.002, 10), PairedPromote::new(0.02));
        let (before, nothing) = ((against.clone(), pro.clone()), PairCounts::default());
        against.update(&nothing);
        pro.update(&nothing);
        assert_eq!((against, pro), before);
    }
}
