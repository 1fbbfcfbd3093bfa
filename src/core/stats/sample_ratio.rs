//! Sample ratio mismatch: are draws really made with the configured split.
//!
//! Claim: with draws that fall on the canary with the configured probability, the e-value ever reaches `1/alpha` with
//! probability at most alpha. Assumption: independent draws (round robin does no harm). Source: judge.md section 5.5.

use super::{Numbers, logs::log_mean};

/// Alternatives: what is added to the log odds of the configured share.
pub const LOG_ODDS: [f64; 12] = [-0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5];

/// Evidence against "the canary's share of the draws is the configured one".
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SampleRatio {
    log_w: [f64; LOG_ODDS.len()],
}

impl SampleRatio {
    /// Takes the draws of a block made with `share` for the canary.
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn update(&mut self, canary: u64, stable: u64, share: f64) {
        if share <= 0.0 || share >= 1.0 {
            return;
        }
        for (log_w, delta) in self.log_w.iter_mut().zip(LOG_ODDS) {
            let odds: f64 = share * delta.exp();
            let theta = odds / (odds + 1.0 - share);
            *log_w += canary as f64 * (theta / share).ln() + stable as f64 * ((1.0 - theta) / (1.0 - share)).ln();
        }
    }

    /// Natural log of the e-value.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mean(&self.log_w)
    }
}

impl Numbers for SampleRatio {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.log_w.iter_mut().for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_nothing_or_of_all_says_nothing() {
        let mut test = SampleRatio::default();
        test.update(1, 9, 0.0);
        test.update(9, 1, 1.0);
        assert_eq!(test, SampleRatio::default());
    }
}
