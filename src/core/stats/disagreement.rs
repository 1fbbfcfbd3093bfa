//! A shadow's copies that say something else than the caller was told: their share against a fixed limit.
//!
//! Claim: `DisagreementRollback` grows when the share exceeds the limit q0, `DisagreementPromote` when it stays below; each
//! ever reaches `1/alpha` with probability at most alpha otherwise. Assumption: in every block copies disagree at most (at
//! least) at rate q0. One block's log-factor is `k ln R - n q0 (R - 1)`, which is that of `rate` with `r = 0, d = q0`: stable's
//! part of it is nothing. Source: judge.md section 5.7, with the grids and mixtures of 5.3.

use super::{
    Counts, Numbers,
    mixture::HORIZON_BLOCKS,
    rate::{self, ERRORS_GRID, Edge, RatePromote, RateRollback},
};

/// `k` of `n` copies disagree. Stable's exposures take no part in a factor with `r = 0`; as many as the copies let the bet that
/// is learnt begin after a hundred of them, next to none leave the promotion's bet to what the copies themselves have shown.
fn counts(k: f64, n: f64, stable: f64) -> Counts {
    Counts { canary_events: k, stable_events: 0.0, canary: n, stable }
}

fn edge(limit: f64) -> Edge {
    Edge { ratio: 0.0, margin: limit }
}

/// One block's log-factor.
#[must_use]
pub fn log_increment(k: f64, n: f64, limit: f64, alternative: f64) -> f64 {
    rate::log_increment(&counts(k, n, n), edge(limit), alternative)
}

/// Evidence against "in every block at most this share disagrees".
#[derive(Clone, PartialEq, Debug)]
pub struct DisagreementRollback(RateRollback);

impl DisagreementRollback {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(limit: f64) -> Self {
        Self(RateRollback::new(edge(limit), &ERRORS_GRID, HORIZON_BLOCKS))
    }

    /// Takes a block.
    pub fn update(&mut self, k: f64, n: f64) {
        self.0.update(&counts(k, n, n));
    }

    /// Natural log of the e-value.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.0.log_e()
    }
}

impl Numbers for DisagreementRollback {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.0.numbers(visit);
    }
}

/// Evidence against "in every block at least this share disagrees".
#[derive(Clone, PartialEq, Debug)]
pub struct DisagreementPromote(RatePromote);

impl DisagreementPromote {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(limit: f64) -> Self {
        Self(RatePromote::new(edge(limit)))
    }

    /// Takes a block.
    pub fn update(&mut self, k: f64, n: f64) {
        self.0.update(&counts(k, n, n * 1e-9));
    }

    /// Natural log of the e-value.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        self.0.log_e()
    }
}

impl Numbers for DisagreementPromote {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.0.numbers(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of 20 copies, every `one_in`-th of which disagrees, until the test says so.
    fn copies_until(limit: f64, one_in: u32, log_e: &mut dyn FnMut(f64, f64) -> f64) -> Option<u32> {
        let mut n = 0;
        while n < 20_000 {
            let before = n / one_in;
            n += 20;
            if log_e(f64::from(n / one_in - before), 20.0) >= -limit.ln() {
                return Some(n);
            }
        }
        None
    }

    #[test]
    fn twice_the_limit_is_found_and_half_of_it_passes() {
        let mut against = DisagreementRollback::new(0.05);
        let found = copies_until(0.01, 10, &mut |k, n| {
            against.update(k, n);
            against.log_e()
        });
        assert!(found.is_some_and(|n| n <= 800), "{found:?}");
        let mut pro = DisagreementPromote::new(0.05);
        let passed = copies_until(0.05, 40, &mut |k, n| {
            pro.update(k, n);
            pro.log_e()
        });
        assert!(passed.is_some_and(|n| n <= 700), "{passed:?}");
    }

    #[test]
    fn at_the_limit_nothing_is_said() {
        let (mut against, mut pro) = (DisagreementRollback::new(0.05), DisagreementPromote::new(0.05));
        let mut most = |k, n| {
            against.update(k, n);
            pro.update(k, n);
            against.log_e().max(pro.log_e())
        };
        assert_eq!(copies_until(0.05, 20, &mut most), None);
    }
}
