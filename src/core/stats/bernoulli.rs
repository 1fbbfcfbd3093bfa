//! Bad events that are not rare: wrong labels, and latencies beyond a middling quantile.
//!
//! Claim and use as in `rate`, with a likelihood ratio that wastes nothing at rates of 5-50 %: the alternative against its
//! reverse information projection on the edge of the null, per block. Assumption: none but the null itself; rates may
//! drift from block to block. Source: judge.md sections 5.2b, 5.3, 5.5; Turner, Ly & Grünwald, safe 2x2 tests.

use super::{
    Counts, Numbers,
    logs::{log_mean, log_mix},
    mixture::StartMixture,
    rate::Edge,
};

/// Alternatives of rollback: odds over those of the edge.
pub const ODDS_GRID: [f64; 7] = [1.15, 1.3, 1.6, 2.2, 3.5, 6.0, 12.0];
/// No bet before so many stable exposures.
const STABLE_MIN: f64 = 100.0;
const NEWTON_STEPS_MAX: usize = 200;

/// The probability whose odds are `factor` times those of `p`.
fn odds_times(p: f64, factor: f64) -> f64 {
    factor * p / (1.0 - p + factor * p)
}

fn clip(p: f64) -> f64 {
    p.clamp(1e-6, 1.0 - 1e-6)
}

/// The point `(theta_c, theta_s)` of the edge closest to the alternative `(p_c, p_s)`: the minimiser of
/// `n_s KL(p_s || theta_s) + n_c KL(p_c || theta_c)`. Its derivative in `theta_s` rises and changes sign between `p_s` and
/// `(p_c - d) / r`: Newton, kept inside that bracket.
#[must_use]
pub fn projection(canary: f64, stable: f64, (p_c, p_s): (f64, f64), edge: Edge) -> (f64, f64) {
    let Edge { ratio: r, margin: d } = edge;
    let top = ((1.0 - d) / r).min(1.0) - 1e-12;
    let (a, b) = (p_s.max(1e-12).min(top), ((p_c - d) / r).max(1e-12).min(top));
    let (mut low, mut high) = (a.min(b), a.max(b));
    let mut t = 0.5 * (low + high);
    for _ in 0..NEWTON_STEPS_MAX {
        let c = r * t + d;
        let f = stable * (t - p_s) / (t * (1.0 - t)) + canary * r * (c - p_c) / (c * (1.0 - c));
        if f > 0.0 {
            high = t
        } else {
            low = t
        }
        let slope = stable * (p_s / (t * t) + (1.0 - p_s) / ((1.0 - t) * (1.0 - t)))
            + canary * r * r * (p_c / (c * c) + (1.0 - p_c) / ((1.0 - c) * (1.0 - c)));
        let newton = t - f / slope;
        let next = if low < newton && newton < high { newton } else { 0.5 * (low + high) };
        let done = (next - t).abs() <= 1e-15 * t || next <= low || next >= high;
        t = next;
        if done {
            break;
        }
    }
    (r * t + d, t)
}

/// One block's log-factor of the alternative `(p_c, p_s)`; zero when one variant has no exposure.
#[must_use]
pub fn log_increment(block: &Counts, (p_c, p_s): (f64, f64), edge: Edge) -> f64 {
    if !block.tells() {
        return 0.0;
    }
    let (t_c, t_s) = projection(block.canary, block.stable, (p_c, p_s), edge);
    block.canary_events * (p_c / t_c).ln()
        + (block.canary - block.canary_events) * ((1.0 - p_c) / (1.0 - t_c)).ln()
        + block.stable_events * (p_s / t_s).ln()
        + (block.stable - block.stable_events) * ((1.0 - p_s) / (1.0 - t_s)).ln()
}

/// Evidence against "in every block the canary's rate is at most the edge".
#[derive(Clone, PartialEq, Debug)]
pub struct BernoulliRollback {
    edge: Edge,
    mixture: StartMixture,
    log_learnt: f64,
    past: Counts,
}

impl BernoulliRollback {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(edge: Edge, horizon: u32) -> Self {
        Self { edge, mixture: StartMixture::new(ODDS_GRID.len(), horizon), log_learnt: 0.0, past: Counts::default() }
    }

    /// Takes a block.
    pub fn update(&mut self, block: &Counts) {
        if !block.tells() {
            return;
        }
        let p_s = clip(self.past.stable_rate());
        let at = clip(self.edge.at(p_s));
        let shrunk = (self.past.canary_events + 20.0 * odds_times(at, 2.0)) / (self.past.canary + 20.0);
        let learnt = clip(shrunk.max(at + 1e-6));
        let (edge, bets) = (self.edge, self.past.stable >= STABLE_MIN);
        let increment = |p_c: f64| {
            if bets { log_increment(block, (p_c, p_s), edge) } else { 0.0 }
        };
        self.mixture.update(ODDS_GRID.iter().map(|odds| increment(clip(odds_times(at, *odds)))));
        self.log_learnt += increment(learnt);
        self.past.add(block);
    }

    /// Natural log of the e-value: 0.6 on the grid, 0.4 on the alternative learnt.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mix(&[(0.6, log_mean(&self.mixture.log_e())), (0.4, self.log_learnt)])
    }
}

impl Numbers for BernoulliRollback {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.mixture.numbers(visit);
        visit(&mut self.log_learnt);
        self.past.numbers(visit);
    }
}

/// Evidence against "in every block the canary's rate is at least the edge".
#[derive(Clone, PartialEq, Debug)]
pub struct BernoulliPromote {
    edge: Edge,
    log_equal: f64,
    log_learnt: f64,
    past: Counts,
}

impl BernoulliPromote {
    /// A test that has seen nothing.
    #[must_use]
    pub fn new(edge: Edge) -> Self {
        Self { edge, log_equal: 0.0, log_learnt: 0.0, past: Counts::default() }
    }

    /// Takes a block. `equal`: the rates `(p_c, p_s)` that a canary equal to stable would show; `None`: stable's past for both.
    pub fn update(&mut self, block: &Counts, equal: Option<(f64, f64)>) {
        if !block.tells() {
            return;
        }
        if self.past.stable >= STABLE_MIN || equal.is_some() {
            let past = self.past.stable_rate();
            let (p_c, p_s) = equal.unwrap_or((past, past));
            let (p_c, p_s) = (clip(p_c), clip(p_s));
            let at = self.edge.at(p_s);
            let shrunk = (self.past.canary_events + 50.0 * p_c) / (self.past.canary + 50.0);
            let learnt = clip(shrunk.min(at - 1e-6));
            // An alternative on the wrong side of the edge bets nothing.
            if p_c < at {
                self.log_equal += log_increment(block, (p_c, p_s), self.edge);
            }
            if learnt < at {
                self.log_learnt += log_increment(block, (learnt, p_s), self.edge);
            }
        }
        self.past.add(block);
    }

    /// Natural log of the e-value: 0.7 on an equal canary, 0.3 on what was learnt.
    #[must_use]
    pub fn log_e(&self) -> f64 {
        log_mix(&[(0.7, self.log_equal), (0.3, self.log_learnt)])
    }
}

impl Numbers for BernoulliPromote {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        visit(&mut self.log_equal);
        visit(&mut self.log_learnt);
        self.past.numbers(visit);
    }
}
