//! The one thing that every test of the judge rests on: a block's factor has mean at most one wherever the null holds. Not simulated but
//! added up over every outcome of small blocks, so a wrong formula cannot hide behind luck; and formulas that are wrong in ways one
//! could write them are shown to be found out.

use coalmine::core::stats::{Counts, histogram::Histogram};

mod factors;
mod ranks;
mod trial;
mod whole;

/// What rounding may add to a mean of one.
const ROUNDING: f64 = 1e-11;
/// A wrong formula is wrong by more than this somewhere.
const WRONG: f64 = 1e-5;
/// Rates of stable at which nulls are looked at.
const RATES: [f64; 9] = [0.0, 1e-6, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.97];
/// Requests of canary and stable in a block.
const SIZES: [(u32, u32); 6] = [(1, 1), (1, 3), (3, 1), (2, 5), (4, 4), (1, 9)];

/// An outcome with its chance.
type Outcomes<T> = Vec<(f64, T)>;

/// Chances of 0, 1, ... `n` events, each with probability `p`.
fn binomial(n: u32, p: f64) -> Vec<f64> {
    let mut chances = vec![1.0];
    for _ in 0..n {
        let mut next = vec![0.0; chances.len() + 1];
        for (k, chance) in chances.iter().enumerate() {
            next[k] += chance * (1.0 - p);
            next[k + 1] += chance * p;
        }
        chances = next;
    }
    chances
}

/// Every outcome of a block whose requests fail on their own, the canary's with `p_c` and stable's with `p_s`.
fn rates((canary, stable): (u32, u32), p_c: f64, p_s: f64) -> Outcomes<Counts> {
    let mut all = Vec::new();
    for (a, chance_a) in (0_u32..).zip(binomial(canary, p_c)) {
        for (b, chance_b) in (0_u32..).zip(binomial(stable, p_s)) {
            let [canary_events, stable_events, canary, stable] = [a, b, canary, stable].map(f64::from);
            all.push((chance_a * chance_b, Counts { canary_events, stable_events, canary, stable }));
        }
    }
    all
}

/// Every way in which `n` requests fall into `buckets` with these chances.
fn latencies(n: u32, buckets: &[(i32, f64)]) -> Outcomes<Histogram> {
    let mut all = vec![(1.0, Histogram::default())];
    for _ in 0..n {
        let each = |(chance, histogram): &(f64, Histogram)| {
            let one = |(bucket, p): &(i32, f64)| {
                let mut histogram = histogram.clone();
                histogram.add(*bucket, 1);
                (chance * p, histogram)
            };
            buckets.iter().map(one).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(each).collect();
    }
    all
}

/// The mean of a factor that is known by its logarithm.
fn mean<T>(outcomes: &[(f64, T)], log_factor: impl Fn(&T) -> f64) -> f64 {
    outcomes
        .iter()
        .filter(|(chance, _)| *chance > 0.0)
        .map(|(chance, outcome)| chance * log_factor(outcome).exp())
        .sum()
}

/// Points of a null with an edge at `at(p_s)`: on the edge and beyond it, as far as it goes. `below`: the null is below the edge.
fn points(at: impl Fn(f64) -> f64, below: bool) -> Vec<(f64, f64)> {
    let of = |p_s: f64| {
        // An edge beyond one leaves nothing above it.
        let edge = at(p_s);
        if !below && edge > 1.0 {
            return Vec::new();
        }
        let beyond = if below { [edge * 0.9, edge * 0.3, 0.0] } else { [edge * 1.1, (edge + 1.0) / 2.0, 1.0] };
        [edge]
            .into_iter()
            .chain(beyond)
            .filter(|p_c| (0.0..=1.0).contains(p_c))
            .map(move |p_c| (p_c, p_s))
            .collect::<Vec<_>>()
    };
    RATES.into_iter().flat_map(of).collect()
}

#[test]
fn chances_add_up_to_one() {
    let of = |chances: f64| assert!((chances - 1.0).abs() < 1e-12, "{chances}");
    of(binomial(7, 0.3).iter().sum());
    of(mean(&rates((2, 5), 0.1, 0.4), |_| 0.0));
    of(mean(&latencies(3, &[(1, 0.5), (4, 0.3), (9, 0.2)]), |_| 0.0));
    assert!((mean(&rates((2, 5), 0.1, 0.4), |block| block.canary_events.ln()) - 0.2).abs() < 1e-12);
}
