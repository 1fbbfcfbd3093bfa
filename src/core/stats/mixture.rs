//! The start-time mixture: evidence that may begin in any block, so that a late regression is found as fast as an early one.
//!
//! With block number b, `pi_1 = 1/2`, `pi_b = 1/(2(H-1))` for 2 <= b <= H: `S_k <- (S_k + pi_b) exp(l_k)`, and
//! `E_k = S_k + 1 - Pi_b` is exactly the mixture over all start blocks of the product since that block, in O(1) memory.
//! Source: judge.md section 5.3.

use super::{Numbers, logs::log_add};

/// Blocks over which starts are spread; after them no new ones are added.
pub const HORIZON_BLOCKS: u32 = 2000;

/// One mixture per component, which share the block number.
#[derive(Clone, PartialEq, Debug)]
pub struct StartMixture {
    log_s: Vec<f64>,
    /// A whole number; kept as a float so that the state is numbers only.
    block: f64,
    horizon: f64,
}

impl StartMixture {
    /// A mixture of `components`, none of which has seen a block.
    #[must_use]
    pub fn new(components: usize, horizon: u32) -> Self {
        Self { log_s: vec![f64::NEG_INFINITY; components], block: 0.0, horizon: f64::from(horizon) }
    }

    /// Prior of a start in the present block, and of a start up to and with it.
    fn prior(&self) -> (f64, f64) {
        let (b, h) = (self.block, self.horizon);
        if b <= 1.0 {
            (0.5, 0.5)
        } else if b <= h {
            (0.5 / (h - 1.0), 0.5 + 0.5 * (b - 1.0) / (h - 1.0))
        } else {
            (0.0, 1.0)
        }
    }

    /// Takes one block's log-factors, one per component.
    pub fn update(&mut self, increments: impl IntoIterator<Item = f64>) {
        self.block += 1.0;
        let log_start = self.prior().0.ln();
        for (log_s, increment) in self.log_s.iter_mut().zip(increments) {
            *log_s = log_add(*log_s, log_start) + increment;
        }
    }

    /// Natural log of each component's e-value.
    #[must_use]
    pub fn log_e(&self) -> Vec<f64> {
        if self.block < 1.0 {
            return vec![0.0; self.log_s.len()];
        }
        let log_rest = (1.0 - self.prior().1).ln();
        self.log_s.iter().map(|log_s| log_add(*log_s, log_rest)).collect()
    }
}

impl Numbers for StartMixture {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        visit(&mut self.block);
        self.log_s.iter_mut().for_each(visit);
    }
}
