//! Which of several endpoints that should be alike is not.
//!
//! Claim: an endpoint's evidence ever reaches `1/alpha` with probability at most alpha while the endpoints are exchangeable in every
//! window, given what was before. Assumption: equal load; windows longer than a pause. In a window `u` of `k` endpoints are *apart*:
//! worse, beyond a margin, than the lower median of all. Given that, each of them is as likely to be among the `u` as any other, so
//! that `(1 - b) + b k / u` for those that are and `1 - b` for the others has mean one. An endpoint that pauses now and then is apart
//! in turn with the others; one that is ill is apart always, in however much traffic. Windows in which none is apart tell nothing.

use super::mixture::{HORIZON_BLOCKS, StartMixture};
use std::collections::BTreeMap;

/// The bet `b` that one which is apart now will be so again.
const BET: f64 = 0.8;
/// What is kept of the past per window when what an endpoint shows is told: it is about now.
const DECAY: f64 = 0.7;
/// After so many windows without it an endpoint is forgotten: it is gone, or another has its place.
const AWAY_MAX: u32 = 3;

/// Endpoints of one variant, looked at from one side.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Siblings {
    seen: BTreeMap<u16, Seen>,
}

#[derive(Clone, PartialEq, Debug)]
struct Seen {
    evidence: StartMixture,
    value: f64,
    others: f64,
    /// Share of the windows in which it was apart, of late.
    apart: f64,
    away: u32,
}

/// One endpoint beside the others.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sibling {
    /// Which.
    pub endpoint: u16,
    /// Natural log of the e-value against "it is like the others".
    pub log_e: f64,
    /// Its value of late.
    pub value: f64,
    /// The lower median of all of late.
    pub others: f64,
    /// Whether it was apart in most windows of late.
    pub is_apart: bool,
}

impl Siblings {
    /// Takes a window: each endpoint's value, larger being worse, and what is still alike if the lower median is this.
    pub fn update(&mut self, values: &[(u16, f64)], margin: impl Fn(f64) -> f64) {
        let mut sorted: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
        sorted.sort_by(f64::total_cmp);
        let Some(median) = sorted.get(sorted.len().saturating_sub(1) / 2).copied() else { return };
        let is_apart = |value: f64| value > margin(median);
        #[allow(clippy::cast_precision_loss, reason = "a handful of endpoints")]
        let [all, apart] =
            [values.len(), values.iter().filter(|(_, value)| is_apart(*value)).count()].map(|n| n as f64);
        self.seen.retain(|endpoint, seen| {
            seen.away = if values.iter().any(|(here, _)| here == endpoint) { 0 } else { seen.away + 1 };
            seen.away < AWAY_MAX
        });
        for (endpoint, value) in values {
            let seen = self.seen.entry(*endpoint).or_insert_with(|| Seen {
                evidence: StartMixture::new(1, HORIZON_BLOCKS),
                value: *value,
                others: median,
                apart: 0.0,
                away: 0,
            });
            let is = f64::from(u8::from(is_apart(*value)));
            for (mean, now) in [(&mut seen.value, *value), (&mut seen.others, median), (&mut seen.apart, is)] {
                *mean = DECAY * *mean + (1.0 - DECAY) * now;
            }
            if apart > 0.0 {
                seen.evidence.update([(1.0 - BET + is * BET * all / apart).ln()]);
            }
        }
    }

    /// Every endpoint that is there.
    pub fn all(&self) -> impl Iterator<Item = Sibling> + '_ {
        self.seen.iter().map(|(endpoint, seen)| Sibling {
            endpoint: *endpoint,
            log_e: seen.evidence.log_e().first().copied().unwrap_or(0.0),
            value: seen.value,
            others: seen.others,
            is_apart: seen.apart > 0.5,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_e(of: &Siblings, endpoint: u16) -> f64 {
        of.all().find(|one| one.endpoint == endpoint).unwrap().log_e
    }

    /// Every outcome of a window of endpoints each of which is apart with the same chance, after pasts of all kinds.
    #[test]
    fn the_evidence_is_expected_to_grow_by_nothing_while_endpoints_are_alike() {
        for past in [0, 1, 7] {
            for k in [2_u16, 3, 5] {
                let mut siblings = Siblings::default();
                let window = |bits: u32| -> Vec<(u16, f64)> {
                    (0..k).map(|at| (at, f64::from(u8::from(bits >> at & 1 == 1)))).collect()
                };
                (0..past).for_each(|_| siblings.update(&window(1), |median| median + 0.5));
                for chance in [0.05_f64, 0.3, 0.6] {
                    let mut mean = 0.0;
                    for bits in 0..1_u32 << k {
                        let ones = f64::from(bits.count_ones());
                        let weight = chance.powf(ones) * f64::powf(1.0 - chance, f64::from(k) - ones);
                        let mut next = siblings.clone();
                        next.update(&window(bits), |median| median + 0.5);
                        let before = if past > 0 { log_e(&siblings, 0) } else { 0.0 };
                        mean += weight * (log_e(&next, 0) - before).exp();
                    }
                    assert!((mean - 1.0).abs() < 1e-9, "{past} {k} {chance}: {mean}");
                }
            }
        }
    }

    #[test]
    fn the_others_are_told_by_the_lower_median() {
        let values = [(0, 0.5), (1, 0.1), (2, 0.4), (3, 0.2), (4, 0.3)];
        for (n, median) in [(1, 0.5), (2, 0.1), (3, 0.4), (4, 0.2), (5, 0.3)] {
            let mut siblings = Siblings::default();
            siblings.update(&values[..n], |median| median);
            assert!(siblings.all().all(|one| (one.others - median).abs() < 1e-12), "of {n}");
        }
    }

    #[test]
    fn what_is_just_at_the_margin_is_still_alike() {
        for (value, apart) in [(0.5, false), (0.6, true)] {
            let mut siblings = Siblings::default();
            for _ in 0..3 {
                siblings.update(&[(0, 0.0), (1, 0.0), (2, value)], |median| median + 0.5);
            }
            let ill = siblings.all().last().unwrap();
            assert_eq!((ill.is_apart, ill.log_e > 1e-9), (apart, apart), "{ill:?}");
        }
    }

    #[test]
    fn two_of_eight_that_always_fail_are_found_and_moods_are_not() {
        let (mut ill, mut moods) = (Siblings::default(), Siblings::default());
        for window in 0..40_u16 {
            let of = |apart: &dyn Fn(u16) -> bool| -> Vec<(u16, f64)> {
                (0..8).map(|at| (at, if apart(at) { 1.0 } else { 0.0 })).collect()
            };
            ill.update(&of(&|at| at < 2), |median| median * 1.25 + 0.002);
            moods.update(&of(&|at| at == window * 5 % 8), |median| median * 1.25 + 0.002);
        }
        let found = |of: &Siblings| of.all().filter(|one| one.log_e > 12.0 && one.is_apart).count();
        assert_eq!((found(&ill), found(&moods)), (2, 0));
        let one = ill.all().next().unwrap();
        assert!(one.value > 0.99 && one.others < 0.01, "{one:?}");
        // Well again: no longer apart after two windows; gone: forgotten after three.
        for _ in 0..2 {
            ill.update(&(0..8).map(|at| (at, 0.0)).collect::<Vec<_>>(), |median| median + 0.5);
        }
        assert_eq!(found(&ill), 0);
        (0..3).for_each(|_| ill.update(&[(0, 0.0), (7, 0.0)], |median| median + 0.5));
        assert_eq!(ill.all().map(|one| one.endpoint).collect::<Vec<_>>(), [0, 7]);
    }
}
