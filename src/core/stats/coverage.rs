//! Label coverage: are requests of both variants labelled alike.
//!
//! Claim: if the odds that a label is about the canary stay within [`DRIFT`] of the odds with which requests were served by it,
//! the e-value ever reaches `1/alpha` with probability at most alpha. Which shares those requests were served with is known only as
//! a range (labels are late, and the weight may have changed meanwhile): the null is as wide as all shares so far. Assumption:
//! labels come independently. Within the null differing labelling is no harm: the tests of accuracy condition on what was labelled.

use super::{Numbers, logs::log_mean};

/// So many times apart the odds of being labelled may be.
pub const DRIFT: f64 = 1.5;
/// Alternatives: so many times beyond the edge of the null.
pub const BEYOND: [f64; 3] = [1.3, 2.0, 4.0];

/// Evidence against "both variants' requests are labelled alike".
#[derive(Clone, PartialEq, Debug)]
pub struct Coverage {
    /// Odds of the canary over stable, least and most of all shares so far.
    odds: [f64; 2],
    log_more: [f64; BEYOND.len()],
    log_less: [f64; BEYOND.len()],
}

impl Default for Coverage {
    fn default() -> Self {
        Self { odds: [f64::INFINITY, 0.0], log_more: [0.0; 3], log_less: [0.0; 3] }
    }
}

fn ratio(odds: f64) -> f64 {
    odds / (1.0 + odds)
}

impl Coverage {
    /// Requests are being served with this share for the canary.
    pub fn served(&mut self, share: f64) {
        if share > 0.0 && share < 1.0 {
            let odds = share / (1.0 - share);
            let [least, most] = self.odds;
            self.odds = [least.min(odds), most.max(odds)];
        }
    }

    /// Whether any requests have been served.
    #[must_use]
    pub fn has_served(&self) -> bool {
        let [_, most] = self.odds;
        most > 0.0
    }

    /// Whether this share lies among those that requests were served with.
    #[must_use]
    pub fn has_served_with(&self, share: f64) -> bool {
        let [least, most] = self.odds;
        let odds = share / (1.0 - share);
        (least..=most).contains(&odds)
    }

    /// Takes the labels of a block.
    pub fn update(&mut self, canary: f64, stable: f64) {
        let [least, most] = self.odds;
        if most <= 0.0 {
            return;
        }
        let factor = |edge: f64, beyond: f64| {
            let (null, other) = (ratio(edge), ratio(beyond));
            canary * (other / null).ln() + stable * ((1.0 - other) / (1.0 - null)).ln()
        };
        let (high, low) = (most * DRIFT, least / DRIFT);
        for ((more, less), by) in self.log_more.iter_mut().zip(&mut self.log_less).zip(BEYOND) {
            *more += factor(high, high * by);
            *less += factor(low, low / by);
        }
    }

    /// Natural log of the e-value.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mean(&[self.log_more, self.log_less].concat())
    }
}

impl Numbers for Coverage {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.odds.iter_mut().chain(&mut self.log_more).chain(&mut self.log_less).for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks of a hundred labels, so many of them the canary's, until it is told at 0.001.
    fn told(shares: &[f64], canary: f64) -> Option<u32> {
        let mut coverage = Coverage::default();
        shares.iter().for_each(|share| coverage.served(*share));
        (1..=200).find(|_| {
            coverage.update(canary, 100.0 - canary);
            coverage.log_e() >= 1000.0_f64.ln()
        })
    }

    #[test]
    fn twice_as_many_or_half_as_many_are_told_and_what_is_near_is_not() {
        assert!(told(&[0.2], 40.0).is_some_and(|blocks| blocks <= 4), "odds 2.7 times as high");
        assert!(told(&[0.2], 8.0).is_some_and(|blocks| blocks <= 8), "odds 2.9 times as low");
        for canary in [20.0, 25.0, 15.0] {
            assert_eq!(told(&[0.2], canary), None, "{canary} of 100 at a share of 20 %");
        }
    }

    #[test]
    fn labels_of_an_earlier_weight_are_no_drift() {
        assert_eq!(told(&[0.05, 0.5], 5.0), None);
        assert_eq!(told(&[0.05, 0.5], 50.0), None);
        assert!(told(&[0.05, 0.5], 80.0).is_some());
        assert_eq!(told(&[], 80.0), None, "nothing to compare with");
    }

    #[test]
    fn shares_served_with_reach_from_the_least_to_the_most() {
        let mut coverage = Coverage::default();
        for nobody in [0.0, 1.0] {
            coverage.served(nobody);
            assert_eq!(coverage, Coverage::default(), "at {nobody} only one variant serves");
            assert!(!coverage.has_served());
        }
        coverage.served(0.5);
        coverage.served(0.1);
        assert!(coverage.has_served());
        for (share, wanted) in [(0.09, false), (0.1, true), (0.3, true), (0.5, true), (0.51, false)] {
            assert_eq!(coverage.has_served_with(share), wanted, "{share}");
        }
    }

    /// Over all outcomes of a few labels, with the odds at the edge of the null and inside it.
    #[test]
    fn the_factor_has_mean_at_most_one_on_the_null() {
        for times in [1.0 / DRIFT, 0.9, 1.0, DRIFT] {
            let theta = ratio(0.25 * times);
            let mut mean = 0.0;
            for canary in 0..=5_i32 {
                let ways = [1.0, 5.0, 10.0, 10.0, 5.0, 1.0][usize::try_from(canary).unwrap()];
                let mut coverage = Coverage::default();
                coverage.served(0.2);
                coverage.update(f64::from(canary), f64::from(5 - canary));
                mean += ways * theta.powi(canary) * (1.0 - theta).powi(5 - canary) * coverage.log_e().exp();
            }
            assert!(mean <= 1.0 + 1e-12, "{times}: {mean}");
        }
    }
}
