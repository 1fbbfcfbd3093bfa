//! Rare bad events: errors, and latencies beyond a far quantile.
//!
//! Claim: `RateRollback` grows when the canary's rate exceeds `r p_s + d`, `RatePromote` when it stays below; each ever
//! reaches `1/alpha` with probability at most alpha otherwise. Assumption: the canary's events come at most at that rate in
//! every block (`r = 1, d = 0` with random routing needs no independence at all). Source: judge.md sections 5.2, 5.3, 5.5.

use super::{
    Counts, Numbers,
    endpoint::{self, Units},
    logs::{log_mean, log_mix},
    mixture::StartMixture,
};

/// Alternatives of the error test: multiples of the edge.
pub const ERRORS_GRID: [f64; 6] = [1.3, 1.8, 3.0, 6.0, 12.0, 30.0];
/// Alternatives of the latency tails.
pub const TAILS_GRID: [f64; 10] = [1.02, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0];
/// Alternatives of promotion.
pub const PROMOTE_GRID: [f64; 10] = [0.98, 0.95, 0.9, 0.8, 0.67, 0.5, 0.33, 0.2, 0.1, 0.02];
/// No bet on what was learnt before so many stable exposures.
const STABLE_MIN: f64 = 100.0;

/// Where the null ends: `p_c = ratio * p_s + margin`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Edge {
    /// `r`.
    pub ratio: f64,
    /// `d`.
    pub margin: f64,
}

impl Edge {
    /// The canary's rate at the edge when stable's is `stable`.
    #[must_use]
    pub fn at(self, stable: f64) -> f64 {
        self.ratio * stable + self.margin
    }
}

/// Factors of a canary event and of a stable event: `y = (1 - rho + rho r) / (1 - rho + rho r R)`, `x = R y`.
#[must_use]
pub fn multipliers(rho: f64, r: f64, alternative: f64) -> (f64, f64) {
    let y = (1.0 - rho + rho * r) / (1.0 - rho + rho * r * alternative);
    (alternative * y, y)
}

/// One block's log-factor: `A ln x + B ln y + n_c (1 - x) d`; zero when one variant has no exposure.
#[must_use]
pub fn log_increment(block: &Counts, edge: Edge, alternative: f64) -> f64 {
    if !block.tells() {
        return 0.0;
    }
    let (x, y) = multipliers(block.share(), edge.ratio, alternative);
    block.canary * (1.0 - x) * edge.margin + block.canary_events * x.ln() + block.stable_events * y.ln()
}

/// Evidence against "in every block the canary's rate is at most the edge".
#[derive(Clone, PartialEq, Debug)]
pub struct RateRollback {
    edge: Edge,
    grid: &'static [f64],
    mixture: StartMixture,
    log_learnt: f64,
    past: Counts,
}

impl RateRollback {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(edge: Edge, grid: &'static [f64], horizon: u32) -> Self {
        Self { edge, grid, mixture: StartMixture::new(grid.len(), horizon), log_learnt: 0.0, past: Counts::default() }
    }

    /// The canary's past rate over the edge, shrunk to 3 by the weight of three events at the edge.
    fn learnt(&self, edge: Edge) -> f64 {
        let edge = edge.at(self.past.stable_rate());
        let weight = 3.0 / edge.max(1e-5);
        let past = (self.past.canary_events + 3.0 * edge * weight) / (self.past.canary + weight);
        (past / edge).clamp(1.05, 50.0)
    }

    /// Takes a block.
    pub fn update(&mut self, block: &Counts) {
        if !block.tells() {
            return;
        }
        let edge = self.edge;
        self.advance(block, edge, |r| log_increment(block, edge, r));
    }

    /// Takes the units of a window, with the edge in their terms.
    pub fn update_units(&mut self, units: &Units, edge: Edge) {
        let block = units.counts();
        if block.tells() {
            self.advance(&block, edge, |r| endpoint::log_increment(units, edge, r));
        }
    }

    fn advance(&mut self, block: &Counts, edge: Edge, increment: impl Fn(f64) -> f64) {
        self.mixture.update(self.grid.iter().map(|r| increment(*r)));
        if self.past.stable >= STABLE_MIN {
            self.log_learnt += increment(self.learnt(edge));
        }
        self.past.add(block);
    }

    /// Natural log of the e-value: 0.6 on the grid, 0.4 on the alternative learnt.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mix(&[(0.6, log_mean(&self.mixture.log_e())), (0.4, self.log_learnt)])
    }
}

impl Numbers for RateRollback {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.mixture.numbers(visit);
        visit(&mut self.log_learnt);
        self.past.numbers(visit);
    }
}

/// Evidence against "in every block the canary's rate is at least the edge".
#[derive(Clone, PartialEq, Debug)]
pub struct RatePromote {
    edge: Edge,
    log_grid: [f64; PROMOTE_GRID.len()],
    log_learnt: f64,
    log_equal: f64,
    past: Counts,
}

impl RatePromote {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(edge: Edge) -> Self {
        Self { edge, log_grid: [0.0; PROMOTE_GRID.len()], log_learnt: 0.0, log_equal: 0.0, past: Counts::default() }
    }

    /// The canary's past rate, shrunk to stable's, over the edge.
    fn learnt(&self, edge: Edge) -> f64 {
        let stable = self.past.stable_rate();
        let canary = (self.past.canary_events + 2.0) / (self.past.canary + 2.0 / stable);
        (canary / edge.at(stable)).clamp(0.02, 0.98)
    }

    /// A canary exactly as good as stable has been.
    fn equal(&self, edge: Edge) -> f64 {
        let stable = self.past.stable_rate();
        (stable / edge.at(stable)).clamp(0.02, 0.98)
    }

    /// Takes a block.
    pub fn update(&mut self, block: &Counts) {
        if !block.tells() {
            return;
        }
        let edge = self.edge;
        self.advance(block, edge, |r| log_increment(block, edge, r));
    }

    /// Takes the units of a window, with the edge in their terms.
    pub fn update_units(&mut self, units: &Units, edge: Edge) {
        let block = units.counts();
        if block.tells() {
            self.advance(&block, edge, |r| endpoint::log_increment(units, edge, r));
        }
    }

    fn advance(&mut self, block: &Counts, edge: Edge, increment: impl Fn(f64) -> f64) {
        self.log_learnt += increment(self.learnt(edge));
        self.log_equal += increment(self.equal(edge));
        for (log_w, alternative) in self.log_grid.iter_mut().zip(PROMOTE_GRID) {
            *log_w += increment(alternative);
        }
        self.past.add(block);
    }

    /// Natural log of the e-value: 0.5 on an equal canary, 0.3 on what was learnt, 0.2 on the grid.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mix(&[(0.5, self.log_equal), (0.3, self.log_learnt), (0.2, log_mean(&self.log_grid))])
    }
}

impl Numbers for RatePromote {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.log_grid.iter_mut().for_each(&mut *visit);
        visit(&mut self.log_learnt);
        visit(&mut self.log_equal);
        self.past.numbers(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGE: Edge = Edge { ratio: 1.25, margin: 0.002 };

    #[test]
    fn a_block_of_one_variant_is_no_block() {
        let (mut against, mut pro) = (RateRollback::new(EDGE, &ERRORS_GRID, 10), RatePromote::new(EDGE));
        let before = (against.clone(), pro.clone());
        for (canary, stable) in [(0_u32, 0), (5, 0), (0, 5)] {
            let block = Counts { canary: canary.into(), stable: stable.into(), ..Counts::default() };
            against.update(&block);
            pro.update(&block);
            let ones = |n: u32| (0..n).map(|_| 1.0).collect();
            let units = Units { canary: ones(canary), stable: ones(stable) };
            against.update_units(&units, EDGE);
            pro.update_units(&units, EDGE);
        }
        assert_eq!((against, pro), before);
    }

    #[test]
    fn nothing_is_bet_on_what_was_learnt_before_a_hundred_of_stables() {
        for (stable, bets) in [(99.0, false), (100.0, true)] {
            let mut test = RateRollback::new(EDGE, &ERRORS_GRID, 10);
            let block = |stable: f64| Counts { canary_events: 5.0, stable_events: 0.0, canary: 10.0, stable };
            test.update(&block(stable));
            test.update(&block(50.0));
            assert_eq!(test.log_learnt > 0.0, bets, "{stable}");
        }
    }
}
