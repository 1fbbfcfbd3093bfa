//! Factors of one block with a fixed alternative, formula by formula.

use super::{Outcomes, ROUNDING, SIZES, WRONG, binomial, mean, points, rates};
use coalmine::core::stats::{
    Counts, bernoulli, disagreement,
    endpoint::{self, Units},
    paired::{self, PairCounts},
    rate::{self, Edge},
    sample_ratio::SampleRatio,
};

const EDGES: [Edge; 5] = [
    Edge { ratio: 1.0, margin: 0.0 },
    Edge { ratio: 1.0, margin: 0.0005 },
    Edge { ratio: 1.0, margin: 0.02 },
    Edge { ratio: 1.25, margin: 0.002 },
    Edge { ratio: 0.8, margin: 0.1 },
];
/// Multiples of the edge, on both sides.
const ALTERNATIVES: [f64; 8] = [0.02, 0.5, 0.9, 0.98, 1.02, 1.3, 6.0, 30.0];

/// The largest mean of a factor `(block, edge, alternative)` on the nulls of 5.2, over all edges, alternatives, sizes and rates.
fn largest_of_rates(factor: impl Fn(&Counts, Edge, f64) -> f64) -> f64 {
    let mut most: f64 = 0.0;
    for (edge, alternative) in EDGES.into_iter().flat_map(|edge| ALTERNATIVES.map(|r| (edge, r))) {
        for (p_c, p_s) in points(|p| edge.at(p), alternative > 1.0) {
            for size in SIZES {
                most = most.max(mean(&rates(size, p_c, p_s), |block| factor(block, edge, alternative)));
            }
        }
    }
    most
}

#[test]
fn rates_of_rare_events() {
    let most = largest_of_rates(rate::log_increment);
    assert!(most <= 1.0 + ROUNDING, "{most}");
    // Nothing is given away where events are rare.
    assert!(most > 0.999, "{most}");
}

#[test]
fn a_wrong_rate_is_found_out() {
    let wrong = |what: &str, factor: &dyn Fn(&Counts, Edge, f64) -> f64| {
        let most = largest_of_rates(factor);
        assert!(most > 1.0 + WRONG, "{what}: {most}");
    };
    wrong("without the margin's term", &|b, edge, r| rate::log_increment(b, Edge { margin: 0.0, ..edge }, r));
    wrong("with half of the margin's term", &|b, edge, r| {
        let (x, _) = rate::multipliers(b.share(), edge.ratio, r);
        rate::log_increment(b, edge, r) - b.canary * (1.0 - x) * edge.margin / 2.0
    });
    wrong("with a share that is not the block's", &|b, edge, r| {
        let (x, y) = rate::multipliers(0.1, edge.ratio, r);
        b.canary * (1.0 - x) * edge.margin + b.canary_events * x.ln() + b.stable_events * y.ln()
    });
    wrong("with stable's share for the canary's", &|b, edge, r| {
        let (x, y) = rate::multipliers(1.0 - b.share(), edge.ratio, r);
        b.canary * (1.0 - x) * edge.margin + b.canary_events * x.ln() + b.stable_events * y.ln()
    });
    wrong("without the ratio", &|b, edge, r| rate::log_increment(b, Edge { ratio: 1.0, ..edge }, r));
    wrong("with the two variants' events exchanged", &|b, edge, r| {
        let exchanged = Counts { canary_events: b.stable_events, stable_events: b.canary_events, ..*b };
        rate::log_increment(&exchanged, edge, r)
    });
    wrong("with the better of two alternatives, picked after the block", &|b, edge, r| {
        rate::log_increment(b, edge, r).max(rate::log_increment(b, edge, if r > 1.0 { 1.5 } else { 0.7 }))
    });
}

/// Whatever it is that requests have in common: of `events` among all requests of the block, routing gives the canary some by chance.
#[test]
fn with_random_routing_an_equal_canary_needs_no_independence() {
    let equal = Edge { ratio: 1.0, margin: 0.0 };
    let choose = |n: u32, k: u32| (0..k).map(|i| f64::from(n - i) / f64::from(k - i)).product::<f64>();
    let largest = |share: Option<f64>| {
        let mut most: f64 = 0.0;
        for ((canary, stable), alternative) in SIZES.into_iter().flat_map(|size| ALTERNATIVES.map(|r| (size, r))) {
            for events in 0..=canary + stable {
                let all = (0..=canary.min(events)).filter(|a| events - a <= stable).map(|a| {
                    let chance = choose(canary, a) * choose(stable, events - a) / choose(canary + stable, events);
                    let [canary_events, stable_events, canary, stable] = [a, events - a, canary, stable].map(f64::from);
                    (chance, Counts { canary_events, stable_events, canary, stable })
                });
                most = most.max(mean(&all.collect::<Outcomes<_>>(), |b| match share {
                    None => rate::log_increment(b, equal, alternative),
                    Some(share) => {
                        let (x, y) = rate::multipliers(share, 1.0, alternative);
                        b.canary_events * x.ln() + b.stable_events * y.ln()
                    }
                }));
            }
        }
        most
    };
    assert!(largest(None) <= 1.0 + ROUNDING, "{}", largest(None));
    assert!(largest(Some(0.1)) > 1.0 + WRONG, "a split that was only said is found out");
}

/// The largest mean of a factor `(block, (p_c, p_s), edge)` on the nulls of 5.2b.
fn largest_of_bernoulli(factor: impl Fn(&Counts, (f64, f64), Edge) -> f64) -> f64 {
    let mut most: f64 = 0.0;
    for edge in EDGES {
        for hoped_s in [0.01, 0.2, 0.6] {
            for hoped_c in [0.001, 0.02, 0.2, 0.5, 0.9] {
                // An alternative on the edge or next to it would have nothing to say.
                if (hoped_c - edge.at(hoped_s)).abs() < 0.005 {
                    continue;
                }
                for (p_c, p_s) in points(|p| edge.at(p), hoped_c > edge.at(hoped_s)) {
                    for size in SIZES {
                        most = most.max(mean(&rates(size, p_c, p_s), |block| factor(block, (hoped_c, hoped_s), edge)));
                    }
                }
            }
        }
    }
    most
}

#[test]
fn rates_that_are_not_rare() {
    let most = largest_of_bernoulli(bernoulli::log_increment);
    assert!(most <= 1.0 + ROUNDING, "{most}");
    assert!(most > 0.999, "nothing is given away at the projection: {most}");
}

/// A factor of a block, an alternative `(p_c, p_s)` and an edge.
type OfPair<'a> = &'a dyn Fn(&Counts, (f64, f64), Edge) -> f64;

#[test]
fn a_wrong_projection_is_found_out() {
    let ratio = |b: &Counts, (p_c, p_s): (f64, f64), (t_c, t_s): (f64, f64)| {
        b.canary_events * (p_c / t_c).ln()
            + (b.canary - b.canary_events) * ((1.0 - p_c) / (1.0 - t_c)).ln()
            + b.stable_events * (p_s / t_s).ln()
            + (b.stable - b.stable_events) * ((1.0 - p_s) / (1.0 - t_s)).ln()
    };
    let wrong = |what: &str, factor: OfPair<'_>| {
        let most = largest_of_bernoulli(factor);
        assert!(most > 1.0 + WRONG, "{what}: {most}");
    };
    wrong("against the edge above the hoped-for stable", &|b, p, edge| ratio(b, p, (edge.at(p.1).min(0.999), p.1)));
    wrong("with exposures exchanged", &|b, p, edge| ratio(b, p, bernoulli::projection(b.stable, b.canary, p, edge)));
    wrong("without the margin", &|b, p, edge| bernoulli::log_increment(b, p, Edge { margin: 0.0, ..edge }));
    wrong("without the good requests", &|b, p, edge| {
        let (t_c, t_s) = bernoulli::projection(b.canary, b.stable, p, edge);
        b.canary_events * (p.0 / t_c).ln() + b.stable_events * (p.1 / t_s).ln()
    });
    wrong("with the newly learnt alternative", &|b, (_, p_s), edge| {
        bernoulli::log_increment(b, ((b.canary_events + 0.5) / (b.canary + 1.0), p_s), edge)
    });
}

/// Every outcome of `n` pairs: only the canary worse, only stable worse, neither.
fn pairs(n: u32, p_b: f64, p_c: f64) -> Outcomes<PairCounts> {
    let mut all = Vec::new();
    for (b, chance_b) in (0_u32..).zip(binomial(n, p_b)) {
        let rest = n - b;
        for (c, chance_c) in (0_u32..).zip(binomial(rest, (p_c / (1.0 - p_b)).min(1.0))) {
            let [canary_worse, stable_worse, n] = [b, c, n].map(f64::from);
            all.push((chance_b * chance_c, PairCounts { canary_worse, stable_worse, n }));
        }
    }
    all
}

fn largest_of_pairs(factor: impl Fn(&PairCounts, f64, f64) -> f64) -> f64 {
    let mut most: f64 = 0.0;
    for d in [0.0, 0.002, 0.02, 0.1] {
        for bet in [-0.9, -0.2, 0.1, 0.85] {
            for stable in [0.0, 0.01, 0.2, 0.4] {
                for beyond in [0.0, 0.01, 0.05] {
                    let (canary, stable) =
                        if bet > 0.0 { (stable + d, stable + beyond) } else { (stable + d + beyond, stable) };
                    for n in [1, 2, 6] {
                        most = most.max(mean(&pairs(n, canary, stable), |block| factor(block, d, bet)));
                    }
                }
            }
        }
    }
    most
}

#[test]
fn pairs_that_differ() {
    let most = largest_of_pairs(paired::log_increment);
    assert!((most - 1.0).abs() <= ROUNDING, "{most}");
    let wrong = |what: &str, factor: &dyn Fn(&PairCounts, f64, f64) -> f64| {
        let most = largest_of_pairs(factor);
        assert!(most > 1.0 + WRONG, "{what}: {most}");
    };
    wrong("without the pairs that agree", &|p, d, bet| {
        p.canary_worse * (bet * (1.0 - d)).ln_1p() + p.stable_worse * (-bet * (1.0 + d)).ln_1p()
    });
    wrong("without the margin", &|p, _, bet| paired::log_increment(p, 0.0, bet));
    wrong("with the margin on the other side", &|p, d, bet| paired::log_increment(p, -d, bet));
}

/// Discordant pairs (latency of copies): rates with as many exposures of the one as of the other.
#[test]
fn discordant_pairs_are_rates_of_two_equal_variants() {
    let largest = |keep: f64| {
        let mut most: f64 = 0.0;
        for (d, alternative) in [0.0, 0.002, 0.05].into_iter().flat_map(|d| ALTERNATIVES.map(|r| (d, r))) {
            for (stable, beyond, n) in [(0.0, 0.0, 4), (0.1, 0.0, 5), (0.3, 0.1, 3), (0.45, 0.0, 2)] {
                let (canary, stable) =
                    if alternative > 1.0 { (stable + d, stable + beyond) } else { (stable + d + beyond, stable) };
                let factor = |p: &PairCounts| {
                    let counts = Counts {
                        canary_events: p.canary_worse,
                        stable_events: p.stable_worse,
                        canary: p.n,
                        stable: p.n,
                    };
                    rate::log_increment(&counts, Edge { ratio: 1.0, margin: keep * d }, alternative)
                };
                most = most.max(mean(&pairs(n, canary, stable), factor));
            }
        }
        most
    };
    assert!(largest(1.0) <= 1.0 + ROUNDING, "{}", largest(1.0));
    assert!(largest(0.0) > 1.0 + WRONG, "without the margin: {}", largest(0.0));
}

#[test]
fn disagreement_at_its_limit() {
    let largest = |factor: &dyn Fn(f64, f64, f64, f64) -> f64| {
        let mut most: f64 = 0.0;
        for (limit, alternative) in [0.001, 0.05, 0.3].into_iter().flat_map(|q| ALTERNATIVES.map(|r| (q, r))) {
            let rates = if alternative > 1.0 { [limit, limit * 0.7, 0.0] } else { [limit, limit * 1.3, 1.0] };
            for (q, n) in rates.into_iter().flat_map(|q| [1_u32, 2, 9].map(|n| (q, n))) {
                let outcomes: Outcomes<u32> = binomial(n, q).into_iter().zip(0..).collect();
                most = most.max(mean(&outcomes, |k| factor(f64::from(*k), f64::from(n), limit, alternative)));
            }
        }
        most
    };
    let most = largest(&disagreement::log_increment);
    assert!((0.999..=1.0 + ROUNDING).contains(&most), "{most}");
    assert!(largest(&|k, _, _, r| k * r.ln()) > 1.0 + WRONG, "without its cost");
}

#[test]
fn draws_of_the_configured_split() {
    let largest = |off: f64| {
        let mut most: f64 = 0.0;
        for share in [0.01, 0.1, 0.5, 0.95] {
            for n in [1_u32, 5, 12] {
                let outcomes: Outcomes<u32> = binomial(n, share).into_iter().zip(0..).collect();
                let e = |canary: &u32| {
                    let mut test = SampleRatio::default();
                    test.update(u64::from(*canary), u64::from(n - canary), share * off);
                    test.log_e()
                };
                most = most.max(mean(&outcomes, e));
            }
        }
        most
    };
    assert!((largest(1.0) - 1.0).abs() <= ROUNDING, "{}", largest(1.0));
    assert!(largest(0.9) > 1.0 + WRONG, "another split: {}", largest(0.9));
}

/// Every outcome of units whose value is 0, a half or 1 with these chances.
fn units(n: u32, chances: [f64; 3]) -> Outcomes<Vec<f64>> {
    let mut all = vec![(1.0, Vec::new())];
    for _ in 0..n {
        let one = |(chance, units): &(f64, Vec<f64>)| {
            let with = |value: f64| [units.as_slice(), &[value]].concat();
            [0.0, 0.5, 1.0].into_iter().zip(chances).map(|(u, p)| (chance * p, with(u))).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(one).collect();
    }
    all
}

#[test]
fn windows_of_endpoints() {
    let largest = |factor: &dyn Fn(&Units, Edge, f64) -> f64| {
        let mut most: f64 = 0.0;
        for (edge, alternative) in EDGES.into_iter().flat_map(|edge| ALTERNATIVES.map(|r| (edge, r))) {
            for (p_c, p_s) in points(|p| edge.at(p), alternative > 1.0) {
                for (canary, stable, whole) in [(1, 1, 1.0), (1, 3, 0.5), (2, 2, 0.2), (3, 1, 0.7)] {
                    // A mean of p, some of it in halves as far as there is room.
                    let of = |p: f64| {
                        let ones = p * if p <= 0.5 { whole } else { 1.0 };
                        [1.0 - ones - (p - ones) * 2.0, (p - ones) * 2.0, ones]
                    };
                    let (canary, stable) = (units(canary, of(p_c)), units(stable, of(p_s)));
                    let both = canary.iter().flat_map(|(chance, c)| {
                        let of = move |(other, s): &(f64, Vec<f64>)| {
                            (chance * other, Units { canary: c.clone(), stable: s.clone() })
                        };
                        stable.iter().map(of).collect::<Vec<_>>()
                    });
                    most = most.max(mean(&both.collect::<Outcomes<_>>(), |units| factor(units, edge, alternative)));
                }
            }
        }
        most
    };
    let most = largest(&endpoint::log_increment);
    assert!((0.99..=1.0 + ROUNDING).contains(&most), "{most}");
    let without = largest(&|u, edge, r| endpoint::log_increment(u, Edge { margin: 0.0, ..edge }, r));
    assert!(without > 1.0 + WRONG, "without the margin: {without}");
    let one =
        largest(&|u, edge, r| rate::log_increment(&u.counts(), edge, r) + 0.1 * u.counts().canary_events * r.ln());
    assert!(one > 1.0 + WRONG, "with more than it may take of an event: {one}");
}
