//! How long until the judge can tell, if this or that is true.
//!
//! *How.* A copy of a running test is given the counts that the supposed truth makes expect, fractions of events and all, in
//! blocks that grow like the time looked ahead. Tests learn what to bet from their past, so what a block is expected to bring is
//! averaged over pasts one standard deviation to either side; what luck within it moves, squared and added up, is the variance.
//! Of a Brownian motion with that drift M and variance V the chance to have risen by r is
//! `Phi((M - r)/s) + exp(2 r M / V) Phi(-(M + r)/s)`, `s = sqrt V` (the inverse Gaussian law, Wald 1947). Signals that must
//! all pass multiply. Where that is a half is what is shown: half of the releases take longer.
//!
//! The very tests that judge are copied, not formulae about them, so the forecast knows of every bet, prior and grid. Beside
//! simulated streams its median is within a quarter of what happens (`tests`).

mod ahead;
mod normal;
pub mod plan;
pub mod running;

pub use ahead::{Counting, Slower, Supposed, Supposing};

/// Blocks grow by this share of what is looked ahead.
const GROWTH: f64 = 0.08;
/// Canary exposures of the first block.
const FIRST: f64 = 10.0;
/// Which variant is how lucky, in standard deviations.
const SIDES: [Luck; 4] = [
    Luck { canary: 1.0, stable: 0.0 },
    Luck { canary: -1.0, stable: 0.0 },
    Luck { canary: 0.0, stable: 1.0 },
    Luck { canary: 0.0, stable: -1.0 },
];

/// More bad events than expected, in standard deviations of what one exposure of the canary, and stable's beside it, bring.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Luck {
    /// The canary's.
    pub canary: f64,
    /// Stable's.
    pub stable: f64,
}

impl Luck {
    fn times(self, factor: f64) -> Self {
        Self { canary: self.canary * factor, stable: self.stable * factor }
    }
}

/// A test and what is supposed of its future.
pub trait Ahead: Clone {
    /// Takes a block of `canary` exposures, and stable's beside them.
    fn push(&mut self, canary: f64, luck: Luck);
    /// Natural log of the evidence.
    fn grown(&self) -> f64;
}

/// The chance that a test has reached its bound, by how many more exposures of the canary it has had.
#[derive(Clone, PartialEq, Debug)]
pub struct Passage {
    /// `(exposures, chance)`, both rising.
    curve: Vec<(f64, f64)>,
}

impl Passage {
    /// That of a test that is not made.
    fn never() -> Self {
        Self { curve: Vec::new() }
    }

    /// That of a test that is at its bound.
    fn there() -> Self {
        Self { curve: vec![(0.0, 1.0)] }
    }

    /// The chance within `exposures`.
    #[must_use]
    pub fn chance(&self, exposures: f64) -> f64 {
        let at = self.curve.partition_point(|(n, _)| *n < exposures);
        match (at.checked_sub(1).and_then(|before| self.curve.get(before)), self.curve.get(at)) {
            (Some((n0, p0)), Some((n1, p1))) => p0 + (p1 - p0) * (exposures - n0) / (n1 - n0),
            (None, Some((_, p))) => *p,
            (before, None) => before.map_or(0.0, |(_, p)| *p),
        }
    }

    /// How many more exposures until that chance is `chance`; `None` if it takes longer than was looked ahead.
    #[must_use]
    pub fn exposures(&self, chance: f64) -> Option<f64> {
        let at = self.curve.partition_point(|(_, p)| *p < chance);
        let (n1, p1) = self.curve.get(at)?;
        let Some((n0, p0)) = at.checked_sub(1).and_then(|before| self.curve.get(before)) else { return Some(*n1) };
        Some(n0 + (n1 - n0) * (chance - p0) / (p1 - p0))
    }
}

/// Looks ahead until the chance to reach `bound` is nearly one, or for `exposures` more of the canary.
#[must_use]
pub fn passage<T: Ahead>(test: &T, bound: f64, exposures: f64) -> Passage {
    let mut test = test.clone();
    let rise = bound - test.grown();
    if rise <= 0.0 {
        return Passage::there();
    }
    let mut strayed = SIDES.map(|_| test.clone());
    let (mut n, mut drift, mut variance, mut chance) = (0.0_f64, 0.0, 0.0, 0.0_f64);
    let mut curve = vec![(0.0, 0.0)];
    while n < exposures && chance < 0.999 {
        let block = FIRST.max(GROWTH * n);
        let gain = |test: &T, luck: Luck| {
            let mut after = test.clone();
            after.push(block, luck);
            after.grown() - test.grown()
        };
        drift += strayed.iter().map(|strayed| gain(strayed, Luck::default())).sum::<f64>() / 2.0
            - gain(&test, Luck::default());
        let [up, down, stable_up, stable_down] = SIDES.map(|side| gain(&test, side.times(block.sqrt())));
        variance += (0.5 * (up - down)).powi(2) + (0.5 * (stable_up - stable_down)).powi(2);
        // Whoever strays stays one deviation of all that was looked ahead away.
        let further = (n + block).sqrt() - n.sqrt();
        strayed.iter_mut().zip(SIDES).for_each(|(strayed, side)| strayed.push(block, side.times(further)));
        test.push(block, Luck::default());
        n += block;
        chance = chance.max(normal::passage(rise, drift, variance));
        curve.push((n, chance));
    }
    Passage { curve }
}

/// A test's way to its bound, in time.
#[derive(Clone, PartialEq, Debug)]
pub struct Way {
    /// By exposures.
    pub passage: Passage,
    /// Canary exposures a second; 0 is never.
    pub pace: f64,
    /// Seconds before the first of them counts.
    pub wait_s: f64,
}

impl Way {
    fn chance(&self, seconds: f64) -> f64 {
        self.passage.chance((seconds - self.wait_s).max(0.0) * self.pace)
    }

    /// When this is reached with `chance`, alone.
    #[must_use]
    pub fn seconds(&self, chance: f64) -> Option<f64> {
        let exposures = self.passage.exposures(chance)?;
        if exposures <= 0.0 {
            return Some(0.0);
        }
        (self.pace > 0.0).then(|| self.wait_s + exposures / self.pace)
    }
}

/// When all of `ways` are at their ends with `chance`; `None` if one of them does not get there.
#[must_use]
pub fn together(ways: &[Way], chance: f64) -> Option<f64> {
    let alone: Option<Vec<f64>> = ways.iter().map(|way| way.seconds(chance)).collect();
    let mut low = alone?.into_iter().fold(0.0, f64::max);
    let all = |seconds: f64| ways.iter().map(|way| way.chance(seconds)).product::<f64>();
    if all(low) >= chance {
        return Some(low);
    }
    let mut high = low.max(1.0);
    while all(high) < chance {
        high *= 2.0;
        // Further than anything was looked ahead.
        if high > 1e12 {
            return None;
        }
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if all(middle) < chance { low = middle } else { high = middle }
    }
    Some(high)
}

#[cfg(test)]
mod tests;
