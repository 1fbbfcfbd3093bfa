//! What a number of runs can tell of a probability: the limits of Clopper & Pearson (Biometrika 1934), exact for any number.

/// How sure a limit is, each on its own side.
const SURE: f64 = 0.95;

/// Chance of at most `k` of `n`, each with probability `p`.
fn at_most(k: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 || k >= n {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    // By logarithms: (1-p)^n alone may be too small to be written.
    let mut log = n as f64 * (-p).ln_1p();
    let mut sum = log.exp();
    for i in 0..k {
        log += ((n - i) as f64 / (i + 1) as f64).ln() + (p / (1.0 - p)).ln();
        sum += log.exp();
    }
    sum.min(1.0)
}

/// Where a function that falls from 1 to 0 over [0, 1] passes `level`.
fn crossing(level: f64, falls: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if falls(middle) > level { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The probability is at most this, with 95 % confidence, when `k` of `n` were seen.
pub(super) fn upper(k: u64, n: u64) -> f64 {
    if k >= n { 1.0 } else { crossing(1.0 - SURE, |p| at_most(k, n, p)) }
}

/// The probability is at least this, with 95 % confidence, when `k` of `n` were seen.
pub(super) fn lower(k: u64, n: u64) -> f64 {
    if k == 0 { 0.0 } else { crossing(SURE, |p| at_most(k - 1, n, p)) }
}

#[test]
fn limits_are_those_of_the_tables() {
    // By hand: none of n is (1-p)^n = 0.05. The others: sums of exact binomial terms by another program.
    for (k, n, low, high) in [
        (0, 299, 0.0, 1.0 - 0.05_f64.powf(1.0 / 299.0)),
        (5, 100, 0.019_905_6, 0.102_253_4),
        (1, 10, 0.005_116_2, 0.394_163_3),
    ] {
        assert!((lower(k, n) - low).abs() < 1e-6, "{k} of {n}: {}", lower(k, n));
        assert!((upper(k, n) - high).abs() < 1e-6, "{k} of {n}: {}", upper(k, n));
    }
    assert!(upper(10, 10) >= 1.0 && (lower(10, 10) - 0.05_f64.powf(0.1)).abs() < 1e-9);
}
