//! The rank test of latency: canary and stable fall into the same few buckets, whatever stable's past was.

use super::{Outcomes, ROUNDING, WRONG, latencies, mean};
use coalmine::core::stats::{
    histogram::Histogram,
    latency::{RANK_BETS, rank_increments},
    reference::{Distribution, Reference},
};

/// Buckets and their chances.
type Latency = Vec<(i32, f64)>;

/// What stable's latency was in the past: the present may be anything.
fn past(latency: &[(i32, f64)]) -> Distribution {
    let mut histogram = Histogram::default();
    latency.iter().for_each(|(bucket, p)| histogram.add(*bucket, (p * 1000.0) as u64));
    let mut reference = Reference::default();
    reference.learn(&histogram);
    reference.distribution()
}

fn worlds() -> Vec<Latency> {
    vec![
        vec![(40, 0.5), (60, 0.3), (80, 0.2)],
        vec![(40, 0.05), (60, 0.05), (80, 0.9)],
        vec![(39, 0.9), (60, 0.05), (120, 0.05)],
        vec![(61, 1.0)],
    ]
}

/// The canary's latency on the null: like stable's made slower by the tolerance, or faster than that.
fn allowed(stable: &[(i32, f64)], shift: i32) -> [Latency; 3] {
    [shift, 0, -25].map(|by| stable.iter().map(|(bucket, p)| (bucket + by, *p)).collect())
}

fn largest(shift: i32, factors: impl Fn(&Histogram, &Histogram, &Distribution) -> [f64; RANK_BETS.len()]) -> f64 {
    let mut most: f64 = 0.0;
    for reference in worlds().iter().map(|world| past(world)) {
        for stable in worlds() {
            for canary in allowed(&stable, shift) {
                for (n_c, n_s) in [(1, 1), (1, 4), (3, 2)] {
                    let of_stable = latencies(n_s, &stable);
                    let both: Outcomes<_> = latencies(n_c, &canary)
                        .iter()
                        .flat_map(|(chance, c)| {
                            of_stable.iter().map(move |(other, s)| (chance * other, (c.clone(), s.clone())))
                        })
                        .map(|(chance, (c, s))| (chance, factors(&c, &s, &reference)))
                        .collect();
                    for bet in 0..RANK_BETS.len() {
                        most = most.max(mean(&both, |factors| factors[bet]));
                    }
                }
            }
        }
    }
    most
}

#[test]
fn ranks_within_the_tolerance() {
    for shift in [0, 1, 4] {
        let most = largest(shift, |c, s, reference| rank_increments(c, s, shift, reference));
        assert!(most <= 1.0 + ROUNDING, "{shift}: {most}");
        assert!(most > 0.99, "{shift}: {most}");
    }
}

#[test]
fn wrong_ranks_are_found_out() {
    let slower = largest(4, |c, s, reference| rank_increments(c, s, 0, reference));
    assert!(slower > 1.0 + WRONG, "without the tolerance: {slower}");
    let other = largest(4, |c, s, reference| rank_increments(c, s, -4, reference));
    assert!(other > 1.0 + WRONG, "the tolerance on the wrong side: {other}");
    let unweighted = largest(0, |c, s, reference| {
        let sum = |h: &Histogram, bet: f64| {
            h.iter().map(|(b, n)| n as f64 * (bet * reference.mid_rank(b)).ln_1p()).sum::<f64>()
        };
        RANK_BETS.map(|bet| sum(c, bet) + sum(s, -bet))
    });
    assert!(unweighted > 1.0 + WRONG, "a stable request weighs as much as a canary's: {unweighted}");
}
