//! Endpoints during one window, brought to equal load: what makes their units comparable.
//!
//! A canary's endpoints rarely get as many requests as stable's, and neither "its worst request" nor "three failures" mean the
//! same of ten requests and of a thousand. So units with hardly any requests are left out, and the others are thinned to as many
//! as the smallest of them has. Which are left out depends on exposures only. Source: judge.md section 5.6.

use super::{
    endpoint::{Units, cap, mean_score, thinned, unit_score},
    histogram::Histogram,
    reference::{Distribution, Reference},
};

/// The load to which the units of a window are brought: that of the smallest one which has at least half of what is usual in
/// the variant with less. Units with fewer are left out; `None`: one variant has no unit with anything.
#[must_use]
pub fn level(canary: &[u64], stable: &[u64]) -> Option<u64> {
    let usual = |loads: &[u64]| {
        let mut loads: Vec<u64> = loads.iter().copied().filter(|n| *n > 0).collect();
        loads.sort_unstable();
        loads.get(loads.len() / 2).copied()
    };
    let least = usual(canary)?.min(usual(stable)?).div_ceil(2);
    canary.iter().chain(stable).copied().filter(|n| *n >= least).min()
}

/// Mean of `min(events, cap)` when events come independently, `expected` of them: Poisson.
#[must_use]
pub fn capped_mean(expected: f64, cap: f64) -> f64 {
    // Far from the cap it makes no difference; so far `exp` has not lost its digits.
    if cap > expected + 12.0 * (expected + 1.0).sqrt() || expected > 600.0 {
        return expected.min(cap);
    }
    let (mut probability, mut mean, mut h) = ((-expected).exp(), 0.0, 0.0);
    let mut beyond = 1.0 - probability;
    while h < cap {
        mean += beyond.max(0.0);
        h += 1.0;
        probability *= expected / h;
        beyond -= probability;
    }
    mean
}

/// Latencies of one window, by endpoint.
#[derive(Clone, PartialEq, Debug)]
pub struct Window<'a> {
    canary: Vec<&'a Histogram>,
    stable: Vec<&'a Histogram>,
    load: f64,
}

impl<'a> Window<'a> {
    /// Those that are comparable; `None` if one variant has none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn new(canary: &[&'a Histogram], stable: &[&'a Histogram]) -> Option<Self> {
        let loads = |all: &[&Histogram]| all.iter().map(|latency| latency.total()).collect::<Vec<_>>();
        let load = level(&loads(canary), &loads(stable))?;
        let kept = |all: &[&'a Histogram]| all.iter().copied().filter(|latency| latency.total() >= load).collect();
        let window = Self { canary: kept(canary), stable: kept(stable), load: load as f64 };
        (!window.canary.is_empty() && !window.stable.is_empty()).then_some(window)
    }

    /// How many units there are, of the canary and of stable.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a handful of endpoints")]
    pub fn units(&self) -> (f64, f64) {
        (self.canary.len() as f64, self.stable.len() as f64)
    }

    /// The units' scores for the rank test, the canary's made faster by `shift` buckets.
    #[must_use]
    pub fn scores(&self, shift: i32, reference: &Distribution) -> Units {
        let score = |latency: &&Histogram, shift| unit_score(mean_score(latency, shift, reference), self.load);
        Units {
            canary: self.canary.iter().map(|latency| score(latency, shift)).collect(),
            stable: self.stable.iter().map(|latency| score(latency, 0)).collect(),
        }
    }

    /// How many latencies beyond a point with a share `above` behind it a unit may show: never more than it has.
    fn cap(&self, above: f64) -> f64 {
        cap(self.load * above).min(self.load.max(1.0))
    }

    /// The units' latencies beyond `bucket` (the canary's made faster by `shift`), where a share `above` is expected.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn beyond(&self, bucket: i32, shift: i32, above: f64) -> Units {
        let cap = self.cap(above);
        let of = |latency: &&Histogram, limit: i32| {
            let beyond: u64 = latency.iter().filter(|(b, _)| *b > limit).map(|(_, n)| n).sum();
            thinned(beyond as f64, latency.total() as f64, self.load, cap) / cap
        };
        Units {
            canary: self.canary.iter().map(|latency| of(latency, bucket + shift)).collect(),
            stable: self.stable.iter().map(|latency| of(latency, bucket)).collect(),
        }
    }

    /// Means of [`Self::beyond`] that a canary equal to stable's past would show, of its units and of stable's.
    #[must_use]
    pub fn hoped(&self, bucket: i32, shift: i32, reference: &Reference) -> (f64, f64) {
        let above = reference.share_above(bucket);
        let cap = self.cap(above);
        let mean = |share: f64| capped_mean(self.load * share, cap) / cap;
        (mean(reference.share_above(bucket + shift)), mean(above))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_brought_to_its_smallest_usual_unit() {
        assert_eq!(level(&[90, 110], &[900, 1000, 1100]), Some(90));
        // One that hardly got any is left out, and does not decide for the others.
        assert_eq!(level(&[90, 3, 0], &[1000, 1000]), Some(90));
        assert_eq!(level(&[1000], &[5, 10, 15]), Some(5));
        assert_eq!(level(&[0, 0], &[7]), None);
        assert_eq!(level(&[], &[7]), None);
    }

    #[test]
    fn the_mean_under_a_cap_is_that_of_poisson() {
        // By hand: 1 - e^-2; and 2 - e^-2 (2 + 2) ... with cap 2: P(>0) + P(>1).
        let e = (-2.0_f64).exp();
        assert!((capped_mean(2.0, 1.0) - (1.0 - e)).abs() < 1e-12);
        assert!((capped_mean(2.0, 2.0) - (2.0 - 4.0 * e)).abs() < 1e-12);
        assert!((capped_mean(2.0, 40.0) - 2.0).abs() < 1e-12 && capped_mean(0.0, 3.0).abs() < 1e-12);
        assert!((capped_mean(900.0, 300.0) - 300.0).abs() < 1e-12);
    }

    #[test]
    fn the_mean_under_a_cap_is_exact_wherever_a_digit_tells() {
        // By its definition: min(k, cap) with Poisson's chance of k.
        let by_definition = |expected: f64, cap: f64| {
            let (mut chance, mut k, mut mean) = ((-expected).exp(), 0.0_f64, 0.0);
            while k < 100.0 {
                mean += k.min(cap) * chance;
                k += 1.0;
                chance *= expected / k;
            }
            mean
        };
        for (expected, cap) in [(3.0, 18.0), (3.0, 20.0), (3.0, 1.0), (0.01, 2.0), (0.01, 1.0)] {
            let (mean, wanted) = (capped_mean(expected, cap), by_definition(expected, cap));
            assert!((mean - wanted).abs() < 1e-13, "{expected}, {cap}: {mean} instead of {wanted}");
        }
        // Far from the cap not even the last digit is lost.
        assert_eq!(capped_mean(0.1, 50.0).to_bits(), 0.1_f64.to_bits());
        // m - m m^m e^-m / m!, with Stirling's series for m! at m = 600; above that only the cap counts.
        let stirling = 1.0 - 1.0 / 7200.0 + 1.0 / (288.0 * 360_000.0);
        let at_600 = 600.0 - 600.0 / (1200.0 * std::f64::consts::PI).sqrt() * stirling;
        assert!((capped_mean(600.0, 600.0) - at_600).abs() < 1e-9, "{at_600}");
        assert!((capped_mean(601.0, 600.0) - 600.0).abs() < 1e-12);
    }

    #[test]
    fn an_equal_canary_is_hoped_to_show_stables_past_after_the_shift() {
        let stable = latency(&[(10, 60), (14, 20), (20, 20)]);
        let mut reference = Reference::default();
        reference.learn(&stable);
        let window = Window::new(&[&stable], &[&stable]).unwrap();
        // Of 100 requests 20 and a half over 101 lie above bucket 14, 40 and a half over 101 above bucket 10; the cap is far.
        let (canary, stable) = window.hoped(10, 4, &reference);
        assert!((canary - 20.5 / 101.0).abs() < 1e-9 && (stable - 40.5 / 101.0).abs() < 1e-9, "{canary} {stable}");
    }

    fn latency(of: &[(i32, u64)]) -> Histogram {
        let mut histogram = Histogram::default();
        of.iter().for_each(|(bucket, n)| histogram.add(*bucket, *n));
        histogram
    }

    #[test]
    fn units_of_different_load_show_the_same_if_they_are_the_same() {
        let (few, many) = (latency(&[(10, 95), (90, 5)]), latency(&[(10, 950), (90, 50)]));
        let window = Window::new(&[&few, &few], &[&many]).unwrap();
        assert_eq!(window.units(), (2.0, 1.0));
        let beyond = window.beyond(50, 0, 0.05);
        // Of 100 drawn out of 1000 with 50 beyond, nearly always at most 15 are: the mean is 5, as it is of the small ones.
        assert!((beyond.canary[0] - 5.0 / 15.0).abs() < 1e-12);
        assert!((beyond.stable[0] - 5.0 / 15.0).abs() < 1e-3, "{beyond:?}");
        assert!(window.beyond(50, 40, 0.05).canary[0].abs() < 1e-12, "made faster, none is beyond");
        let mut reference = Reference::default();
        reference.learn(&many);
        let scores = window.scores(0, &reference.distribution());
        assert!((scores.canary[0] - scores.stable[0]).abs() < 1e-12);
        let (canary, stable) = window.hoped(50, 40, &reference);
        assert!(canary < 0.01 && (stable - 5.0 / 15.0).abs() < 0.02, "{canary} {stable}");
    }
}
