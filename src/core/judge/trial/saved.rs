//! The evidence as numbers, and back, bit for bit: what outlives a restart.
//!
//! First a mark with the version of this shape, then policy and mode, then every test's numbers in a fixed order. Most of a
//! latency histogram is empty: a run of zeros is one number.

use super::Trial;
use crate::core::{
    judge::{AccuracyPolicy, Chosen, DisagreementPolicy, ErrorsPolicy, LatencyPolicy, Mode, Policy},
    stats::Numbers,
};

/// "coalmine's evidence, version 3". No number that was ever saved first looks like it.
const VERSION: u64 = 0xc0a1_0000_0000_0003;
/// The one before, which ends where the tests that came with version 3 begin: those start afresh.
const VERSION_2: u64 = 0xc0a1_0000_0000_0002;
/// The upper half of a word that stands for as many zeros as its lower half says. As a float it is not a number, which no
/// evidence is.
const ZEROS: u64 = 0xffff_ffff_0000_0000;
/// Longer runs than any evidence holds are not saved evidence.
const ZEROS_MAX: u64 = 1 << 16;

/// What of a policy a trial is made of, in a fixed order. What is judged outside of it - delay and tolerance of labels, and what
/// an undecided judge leads to - may change any time.
pub(super) fn numbers_of(policy: &Policy) -> Vec<f64> {
    let mut numbers = Vec::new();
    let mut policy = policy.clone();
    visit(&mut policy, &mut |number| numbers.push(*number));
    numbers
}

fn visit(policy: &mut Policy, visit: &mut dyn FnMut(&mut f64)) {
    visit(&mut policy.alpha);
    visit(&mut policy.alpha_promote);
    for number in [&mut policy.warmup_ms, &mut policy.warmup_requests, &mut policy.requests_min] {
        whole(number, visit);
    }
    if on(&mut policy.errors, visit) {
        let ErrorsPolicy { may_rise, pass_ratio, pass_margin } = policy.errors.get_or_insert_default();
        [may_rise, pass_ratio, pass_margin].into_iter().for_each(&mut *visit);
    }
    if on(&mut policy.latency, visit) {
        let LatencyPolicy { tolerate_buckets, pass_buckets, pass_tail_buckets } =
            policy.latency.get_or_insert_default();
        for buckets in [tolerate_buckets, pass_buckets, pass_tail_buckets] {
            bucket(buckets, visit);
        }
    }
    if on(&mut policy.accuracy, visit) {
        let AccuracyPolicy { may_drop, tolerate, .. } = policy.accuracy.get_or_insert_default();
        [may_drop, tolerate].into_iter().for_each(&mut *visit);
    }
    let mut off = f64::from(u8::from(policy.disagreement.is_none()));
    visit(&mut off);
    if off < 0.5 {
        visit(&mut policy.disagreement.get_or_insert(DisagreementPolicy { max: 0.0 }).max);
    } else {
        policy.disagreement = None;
    }
}

/// Shows whether a signal is on; whether it is now.
fn on<T: Default>(signal: &mut Option<T>, visit: &mut dyn FnMut(&mut f64)) -> bool {
    let mut number = f64::from(u8::from(signal.is_some()));
    visit(&mut number);
    let on = number > 0.5;
    if !on {
        *signal = None;
    } else if signal.is_none() {
        *signal = Some(T::default());
    }
    on
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and milliseconds stay far below 2^53 and are never negative"
)]
fn whole(count: &mut u64, visit: &mut dyn FnMut(&mut f64)) {
    let mut number = *count as f64;
    visit(&mut number);
    *count = number as u64;
}

#[allow(clippy::cast_possible_truncation, reason = "a handful of buckets")]
fn bucket(buckets: &mut i32, visit: &mut dyn FnMut(&mut f64)) {
    let mut number = f64::from(*buckets);
    visit(&mut number);
    *buckets = number as i32;
}

fn chosen(chosen: &mut Chosen, visit: &mut dyn FnMut(&mut f64)) {
    let (mut mode, mut said) = (f64::from(chosen.mode as u8), f64::from(u8::from(chosen.said)));
    visit(&mut mode);
    visit(&mut said);
    let found = Mode::ALL.into_iter().find(|known| (f64::from(*known as u8) - mode).abs() < 0.5);
    *chosen = Chosen { mode: found.unwrap_or_default(), said: said > 0.5 };
}

impl Trial {
    /// A trial with what [`Self::saved`] gave: its evidence, and the policy and mode it began with. `said` is what the routes file
    /// says now. `None` if the numbers are not of this shape or version.
    #[must_use]
    pub fn restored(said: &Policy, bits: &[u64]) -> Option<Self> {
        let (first, rest) = bits.split_first()?;
        if ![VERSION, VERSION_2].contains(first) {
            return None;
        }
        let words = spread(rest)?;
        let mut words = words.iter();
        let mut short = false;
        let mut next = |number: &mut f64| match words.next() {
            Some(bits) => *number = f64::from_bits(*bits),
            None => short = true,
        };
        let (mut policy, mut mode) = (said.clone(), Chosen::default());
        visit(&mut policy, &mut next);
        chosen(&mut mode, &mut next);
        let mut trial = Self::in_mode(&policy, mode);
        trial.numbers(&mut next);
        if *first == VERSION {
            trial.latency.numbers_of_requests(&mut next);
        }
        trial.compare(said);
        (!short && words.next().is_none()).then_some(trial)
    }

    /// Every number of the evidence, with the policy and mode it began with, as the bits of a float.
    #[must_use]
    pub fn saved(&self) -> Vec<u64> {
        let mut words = Vec::new();
        let mut push = |number: &mut f64| words.push(number.to_bits());
        let mut copy = self.clone();
        visit(&mut copy.policy, &mut push);
        chosen(&mut copy.chosen, &mut push);
        copy.numbers(&mut push);
        copy.latency.numbers_of_requests(&mut push);
        std::iter::once(VERSION).chain(packed(&words)).collect()
    }
}

/// Runs of zeros as one word.
fn packed(words: &[u64]) -> impl Iterator<Item = u64> + '_ {
    let alike = |a: &u64, b: &u64| (*a == 0) == (*b == 0);
    words.chunk_by(alike).flat_map(|run| match run {
        [0, 0, ..] => vec![ZEROS | run.len() as u64],
        other => other.to_vec(),
    })
}

/// The reverse of [`packed`].
fn spread(words: &[u64]) -> Option<Vec<u64>> {
    let mut all = Vec::new();
    for word in words {
        if *word & ZEROS != ZEROS {
            all.push(*word);
            continue;
        }
        let zeros = *word & !ZEROS;
        all.resize(all.len() + usize::try_from(zeros).ok().filter(|_| zeros <= ZEROS_MAX)?, 0);
    }
    Some(all)
}

impl Numbers for Trial {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        visit(&mut self.failed);
        self.requests.numbers(visit);
        self.errors.numbers(visit);
        self.latency.numbers(visit);
        self.accuracy.numbers(visit);
        self.disagreement.numbers(visit);
        self.guards.numbers(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        judge::{Arm, Block, EndpointBlock, ModeChoice, RequestBlock, Unit},
        stats::histogram::Histogram,
    };

    fn of(number: u64) -> Block {
        let mut latency = Histogram::default();
        (0..50).for_each(|at| latency.add(40 + at % 9, 8));
        let unit = Unit { completed: 402, errors: number % 3, latency, ..Unit::default() };
        let arm = Arm { completed: 402, assigned: 402, latency: unit.latency.clone(), ..Arm::default() };
        let requests = RequestBlock { canary: arm.clone(), stable: arm, share: Some(0.5), warming_up: false };
        let endpoints = EndpointBlock { canary: vec![unit.clone()], stable: vec![unit] };
        Block { requests: Some(requests), endpoints: Some(endpoints), ..Block::default() }
    }

    #[test]
    fn evidence_of_version_2_is_read_to_the_bit_and_what_it_has_not_starts_afresh() {
        let (policy, chosen_mode) = (Policy::default(), ModeChoice::Fixed(Mode::Endpoints));
        let mut trial = Trial::in_mode(&policy, Chosen::new(chosen_mode, false, [1, 1]));
        for number in 0..20 {
            trial.observe(&of(number));
        }
        let words = |trial: &Trial, with_more: bool| {
            let (mut words, mut copy) = (Vec::new(), trial.clone());
            let mut push = |number: &mut f64| words.push(number.to_bits());
            visit(&mut copy.policy, &mut push);
            chosen(&mut copy.chosen, &mut push);
            copy.numbers(&mut push);
            if with_more {
                copy.latency.numbers_of_requests(&mut push);
            }
            words
        };
        let old: Vec<u64> = std::iter::once(VERSION_2).chain(packed(&words(&trial, false))).collect();
        let read = Trial::restored(&policy, &old).unwrap();
        assert_eq!(words(&read, false), words(&trial, false));
        assert_ne!(words(&read, true), words(&trial, true), "the past moved what version 2 has not");
        assert_eq!(words(&Trial::restored(&policy, &read.saved()).unwrap(), true), words(&read, true));
    }
}
