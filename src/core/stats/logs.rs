//! Sums of numbers that are known by their logarithms, without leaving the range of a float.

/// `ln(exp a + exp b)`.
#[must_use]
pub fn log_add(a: f64, b: f64) -> f64 {
    let most = a.max(b);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + ((a - most).exp() + (b - most).exp()).ln()
}

/// `ln(sum of exp x)`; minus infinity for no terms.
#[must_use]
pub fn log_sum(terms: &[f64]) -> f64 {
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + terms.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// `ln(mean of exp x)`.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "a handful of terms")]
pub fn log_mean(terms: &[f64]) -> f64 {
    log_sum(terms) - (terms.len() as f64).ln()
}

/// `ln(sum of w exp x)` of `(w, x)`; terms of weight 0 do not count.
#[must_use]
pub fn log_mix(terms: &[(f64, f64)]) -> f64 {
    let weighted: Vec<f64> = terms.iter().map(|(weight, x)| weight.ln() + x).collect();
    log_sum(&weighted)
}
