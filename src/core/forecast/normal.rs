//! First passage of a Brownian motion, and the normal law it needs.

/// The chance that a motion that has drifted by `drift` with `variance` has ever been `rise` higher than at its start.
pub(super) fn passage(rise: f64, drift: f64, variance: f64) -> f64 {
    if variance <= 0.0 {
        return f64::from(u8::from(drift >= rise));
    }
    let spread = variance.sqrt();
    let (over, under) = ((drift - rise) / spread, (drift + rise) / spread);
    // exp(2 r M / V) Phi(-(M + r)/s), written so that neither factor leaves the range of a float.
    let returned =
        if under > 0.0 { density(over) * mills(under) } else { (2.0 * rise * drift / variance).exp() * below(-under) };
    (below(over) + returned).min(1.0)
}

fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// The standard normal law's share below `z`.
fn below(z: f64) -> f64 {
    if z < 0.0 { density(z) * mills(-z) } else { 1.0 - density(z) * mills(z) }
}

/// The `z` with a share `p` below it, by halving.
pub(super) fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Share above `z` over density at `z`, for z >= 0: the polynomial 26.2.17 of Abramowitz & Stegun near the middle, Laplace's
/// continued fraction beyond.
fn mills(z: f64) -> f64 {
    if z > 3.0 {
        return 1.0 / (1..=40_u8).rev().fold(z, |rest, k| z + f64::from(k) / rest);
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let terms = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    t * terms.iter().rev().fold(0.0, |sum, term| sum * t + term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_law_is_that_of_the_tables() {
        for (z, share) in [(0.0, 0.5), (1.0, 0.841_344_746), (1.959_963_985, 0.975), (3.5, 0.999_767_371)] {
            assert!((below(z) - share).abs() < 2e-7, "{z}: {}", below(z));
            assert!((below(-z) - 1.0 + share).abs() < 2e-7, "-{z}");
        }
        assert!((quantile(0.975) - 1.959_963_985).abs() < 1e-5);
        assert!((mills(10.0) - 0.099_028_596).abs() < 1e-8);
    }

    #[test]
    fn without_drift_a_rise_is_passed_twice_as_often_as_it_is_exceeded() {
        // The reflection principle.
        assert!((passage(1.0, 0.0, 4.0) - 2.0 * below(-0.5)).abs() < 1e-6);
        assert!(passage(3.0, 50.0, 9.0) > 0.999_999);
        assert!(passage(3.0, -50.0, 1.0) < 1e-9);
        assert_eq!((passage(1.0, 1.0, 0.0), passage(1.0, 0.9, 0.0)), (1.0, 0.0));
    }

    #[test]
    fn a_passage_against_the_drift_and_one_far_away_keep_their_digits() {
        // Phi(-1.5) + exp(2 x 1 x -2 / 4) Phi(0.5) = 0.0668072 + 0.3678794 x 0.6914625.
        assert!((passage(1.0, -2.0, 4.0) - 0.321_182).abs() < 1e-6, "{}", passage(1.0, -2.0, 4.0));
        // Phi(1) + exp(4) Phi(-3) = 0.8413447 + 54.59815 x 0.0013499.
        assert!((passage(2.0, 4.0, 4.0) - 0.915_047).abs() < 1e-5, "{}", passage(2.0, 4.0, 4.0));
        // exp(2e6) is beyond every float: 0.5 + phi(0) / 2000.
        assert!((passage(1000.0, 1000.0, 1.0) - 0.500_199_47).abs() < 1e-7, "{}", passage(1000.0, 1000.0, 1.0));
    }
}
