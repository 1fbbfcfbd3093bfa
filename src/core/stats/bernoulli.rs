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

/// Derivative in `theta_s` of the distance `n_s KL(p_s || theta_s) + n_c KL(p_c || theta_c)` where `theta_s = t`, and the
/// derivative's own. With `c = r t + d`: `n_s (t - p_s) / (t (1-t)) + n_c r (c - p_c) / (c (1-c))`, which rises.
fn pull(canary: f64, stable: f64, (p_c, p_s): (f64, f64), edge: Edge, t: f64) -> (f64, f64) {
    let (r, c) = (edge.ratio, edge.at(t));
    let pull = stable * (t - p_s) / (t * (1.0 - t)) + canary * r * (c - p_c) / (c * (1.0 - c));
    let slope = stable * (p_s / (t * t) + (1.0 - p_s) / ((1.0 - t) * (1.0 - t)))
        + canary * r * r * (p_c / (c * c) + (1.0 - p_c) / ((1.0 - c) * (1.0 - c)));
    (pull, slope)
}

/// From `t` to where the tangent crosses zero, if that is inside the bracket; else to its middle.
fn newton(t: f64, (pull, slope): (f64, f64), (low, high): (f64, f64)) -> f64 {
    let next = t - pull / slope;
    if low < next && next < high { next } else { 0.5 * (low + high) }
}

/// The point `(theta_c, theta_s)` of the edge closest to the alternative `(p_c, p_s)`: where [`pull`] changes sign, between `p_s`
/// and `(p_c - d) / r`. Newton, kept inside that bracket.
#[must_use]
pub fn projection(canary: f64, stable: f64, (p_c, p_s): (f64, f64), edge: Edge) -> (f64, f64) {
    let Edge { ratio: r, margin: d } = edge;
    let top = ((1.0 - d) / r).min(1.0) - 1e-12;
    let (a, b) = (p_s.max(1e-12).min(top), ((p_c - d) / r).max(1e-12).min(top));
    let (mut low, mut high) = (a.min(b), a.max(b));
    let mut t = 0.5 * (low + high);
    for _ in 0..NEWTON_STEPS_MAX {
        let at = pull(canary, stable, (p_c, p_s), edge, t);
        if at.0 > 0.0 {
            high = t
        } else {
            low = t
        }
        let next = newton(t, at, (low, high));
        let done = (next - t).abs() <= 1e-15 * t || next <= low || next >= high;
        t = next;
        if done {
            break;
        }
    }
    (edge.at(t), t)
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

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [Edge; 4] = [
        Edge { ratio: 1.0, margin: 0.0 },
        Edge { ratio: 1.0, margin: 0.02 },
        Edge { ratio: 1.25, margin: 0.002 },
        Edge { ratio: 0.5, margin: 0.1 },
    ];

    fn divergence(p: f64, q: f64) -> f64 {
        let part = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
        part(p, q) + part(1.0 - p, 1.0 - q)
    }

    #[test]
    fn the_projection_is_the_closest_point_of_the_edge() {
        for edge in EDGES {
            for (p_c, p_s) in [(0.3, 0.1), (0.02, 0.5), (0.999, 0.2), (0.9999, 0.99999), (1e-6, 1e-6), (0.5, 0.9999)] {
                for (n_c, n_s) in [(1.0, 9.0), (400.0, 40.0)] {
                    let (c, s) = projection(n_c, n_s, (p_c, p_s), edge);
                    assert!((c - edge.at(s)).abs() < 1e-12 && c > 0.0 && c <= 1.0 && s > 0.0 && s <= 1.0, "{c} {s}");
                    let distance = |s: f64| n_s * divergence(p_s, s) + n_c * divergence(p_c, edge.at(s));
                    for other in [s * 0.999, s * 1.001, s * 0.5, s * 1.5] {
                        if other < 1.0 && edge.at(other) < 1.0 {
                            assert!(distance(s) <= distance(other) + 1e-9, "{edge:?}, {p_c}, {p_s}: {s}, {other}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_pull_and_its_slope_are_those_worked_out_by_hand() {
        let close = |(pull, slope): (f64, f64), by_hand: (f64, f64)| {
            assert!((pull - by_hand.0).abs() < 1e-9 && (slope - by_hand.1).abs() < 1e-9, "{pull} {slope}");
        };
        // t = 1/4, c = t/2 + 1/8 = 1/4: stable 3 (1/4 - 1/2) / (3/16) = -4 and 3 (1/2 16 + 1/2 16/9) = 80/3;
        // canary 2 1/2 (1/4 - 3/4) / (3/16) = -8/3 and 2 1/4 (3/4 16 + 1/4 16/9) = 56/9.
        let edge = Edge { ratio: 0.5, margin: 0.125 };
        close(pull(2.0, 3.0, (0.75, 0.5), edge, 0.25), (-20.0 / 3.0, 80.0 / 3.0 + 56.0 / 9.0));
        // t = 1/4, c = 2 t = 1/2: 1/4 is stable's own, with 1 (1/4 16 + 3/4 16/9) = 16/3;
        // canary 1 2 (1/2 - 1/4) / (1/4) = 2 and 1 4 (1/4 4 + 3/4 4) = 16.
        close(pull(1.0, 1.0, (0.25, 0.25), Edge { ratio: 2.0, margin: 0.0 }, 0.25), (2.0, 64.0 / 3.0));
    }

    #[test]
    fn newton_goes_along_the_tangent_and_never_to_the_ends_of_its_bracket() {
        let check = |pull: f64, bracket, wanted: f64| {
            let next = newton(0.5, (pull, 4.0), bracket);
            assert!((next - wanted).abs() < 1e-12, "{pull}, {bracket:?}: {next}");
        };
        check(1.0, (0.0, 1.0), 0.25);
        check(-1.0, (0.0, 1.0), 0.75);
        check(2.0, (0.0, 0.6), 0.3);
        check(-2.0, (0.4, 1.0), 0.7);
        check(4.0, (0.1, 0.5), 0.3);
        check(-4.0, (0.5, 0.9), 0.7);
    }

    #[test]
    fn what_always_or_never_happens_is_projected_to_just_beside_it() {
        for edge in [Edge { ratio: 1.0, margin: 0.0 }, Edge { ratio: 2.0, margin: 0.0 }] {
            let (c, s) = projection(1.0, 1.0, (1.0, 1.0), edge);
            assert!(c < 1.0 && c > 1.0 - 1e-11 && (s - c / edge.ratio).abs() < 1e-12, "{edge:?}: {c} {s}");
            let (c, s) = projection(1.0, 1.0, (0.0, 0.0), edge);
            assert!(s > 0.0 && s < 1e-11 && (c - s * edge.ratio).abs() < 1e-12, "{edge:?}: {c} {s}");
        }
    }

    #[test]
    fn a_variant_that_is_always_wrong_can_be_judged() {
        let always = Counts { canary_events: 2e6, stable_events: 2e6, canary: 2e6, stable: 2e6 };
        let never = Counts { canary_events: 0.0, stable_events: 0.0, ..always };
        for past in [always, never] {
            let edge = Edge { ratio: 1.0, margin: 0.002 };
            let (mut against, mut pro) = (BernoulliRollback::new(edge, 10), BernoulliPromote::new(edge));
            for block in [past, always, never] {
                against.update(&block);
                pro.update(&block, None);
                assert!(against.log_e().is_finite() && pro.log_e().is_finite(), "{past:?}");
            }
        }
    }

    #[test]
    fn a_block_of_one_variant_is_no_block() {
        let edge = Edge { ratio: 1.0, margin: 0.002 };
        let (mut against, mut pro) = (BernoulliRollback::new(edge, 10), BernoulliPromote::new(edge));
        let before = (against.clone(), pro.clone());
        for (canary, stable) in [(0.0, 0.0), (5.0, 0.0), (0.0, 5.0)] {
            let block = Counts { canary, stable, ..Counts::default() };
            assert!(log_increment(&block, (0.2, 0.1), edge).abs() < 1e-300, "{block:?}");
            against.update(&block);
            pro.update(&block, None);
        }
        assert_eq!((against, pro), before);
    }

    #[test]
    fn no_bet_before_a_hundred_of_stables() {
        let edge = Edge { ratio: 1.0, margin: 0.002 };
        let bad = |stable: f64| Counts { canary_events: 9.0, stable_events: 1.0, canary: 10.0, stable };
        for (stable, bets) in [(99.0, false), (100.0, true)] {
            let (mut against, mut pro) = (BernoulliRollback::new(edge, 10), BernoulliPromote::new(edge));
            for block in [bad(stable), bad(50.0)] {
                against.update(&block);
                pro.update(&block, None);
            }
            assert_eq!((against.log_e() > 1e-9, pro.log_e() < -1e-9), (bets, bets), "{stable}");
        }
    }
}
