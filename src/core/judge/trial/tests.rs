//! What a trial says of whole releases: by requests, windows, users and pairs.

use super::*;
use crate::core::{
    judge::{
        AccuracyPolicy, Arm, EndpointBlock, Guard, GuardState, LabelBlock, ModeChoice, PairBlock, Pairs, Part,
        PartEvidence, Quantile, RequestBlock, SignalEvidence, Streams, Test, Unit, UserBlock,
    },
    stats::{histogram::Histogram, latency::LatencyPromote, reference::Reference, window::Window},
};

mod guards;
mod limits;
mod modes;
mod shown;
mod siblings;

use modes::{streamed, window};

const MILLION: u64 = 1_000_000;

/// Numbers that look like chance and are the same every time: splitmix64.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many of `n` are among a share `p`.
    fn of(&mut self, n: u64, p: f64) -> u64 {
        (0..n).filter(|_| self.unit() < p).count() as u64
    }

    /// `n` latencies around `bucket`, with a tail.
    fn latency(&mut self, n: u64, bucket: i32) -> Histogram {
        let mut latency = Histogram::default();
        for _ in 0..n {
            let around = (0..4).map(|_| self.unit()).sum::<f64>() * 12.0 - 24.0;
            let tail = if self.unit() < 0.03 { 40.0 * self.unit() } else { 0.0 };
            #[allow(clippy::cast_possible_truncation, reason = "a handful of buckets")]
            latency.add(bucket + (around + tail) as i32, 1);
        }
        latency
    }

    fn arm(&mut self, n: u64, errors: f64, bucket: i32) -> Arm {
        let errors = self.of(n, errors);
        Arm { completed: n, assigned: n, errors, latency: self.latency(n - errors, bucket), streams: None }
    }

    fn unit_of(&mut self, n: u64, errors: f64, bucket: i32) -> Unit {
        let arm = self.arm(n, errors, bucket);
        Unit { completed: n, errors: arm.errors, latency: arm.latency, ..Unit::default() }
    }
}

fn requests(canary: Arm, stable: Arm, share: f64) -> RequestBlock {
    RequestBlock { canary, stable, share: Some(share), warming_up: false }
}

fn by_requests(canary: Arm, stable: Arm) -> Block {
    Block { requests: Some(requests(canary, stable, 0.1)), ..Block::default() }
}

fn labels(canary: u64, wrong: u64, stable: u64, stable_wrong: u64) -> LabelBlock {
    LabelBlock { canary, stable, canary_wrong_micro: wrong * MILLION, stable_wrong_micro: stable_wrong * MILLION }
}

/// The first verdict that is one, and after how many blocks.
fn until(trial: &mut Trial, blocks: usize, mut block: impl FnMut(usize) -> Block) -> (Verdict, usize) {
    let mut last = trial.verdict();
    for number in 1..=blocks {
        last = trial.observe(&block(number));
        if !matches!(last, Verdict::Undecided(_)) {
            return (last, number);
        }
    }
    (last, blocks)
}

fn only(errors: bool, latency: bool, accuracy: bool) -> Policy {
    let all = Policy::default();
    Policy {
        errors: all.errors.filter(|_| errors),
        latency: all.latency.filter(|_| latency),
        accuracy: all.accuracy.filter(|_| accuracy),
        ..all
    }
}

#[test]
fn a_pass_is_said_anew_at_each_look_and_a_fail_once_and_for_all() {
    let mut dice = Dice(1);
    let mut trial = Trial::new(&only(true, false, false));
    let good = until(&mut trial, 900, |_| by_requests(dice.arm(20, 0.001, 50), dice.arm(180, 0.001, 50)));
    assert_eq!(good.0, Verdict::Pass);
    assert_eq!(trial.observe(&Block::default()), Verdict::Pass, "nothing new: still so");
    let mut said = Vec::new();
    for _ in 0..60 {
        said.push(trial.observe(&by_requests(dice.arm(20, 0.05, 50), dice.arm(180, 0.001, 50))));
    }
    said.dedup();
    let held = Verdict::Undecided(Reason::Overlap);
    assert_eq!(said, [held, Verdict::Fail(Signal::Errors)], "it had just passed");
    let better = until(&mut trial, 300, |_| by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.05, 50)));
    assert_eq!(better, (Verdict::Fail(Signal::Errors), 1), "what comes after is no news");
}

/// Copies of stable's requests: so many a block, so many of them worse by their share.
fn copies(dice: &mut Dice, worse: f64, slower: i32) -> PairBlock {
    let n = 40;
    let pairs =
        |canary, stable| Pairs { n, canary_worse_micro: canary * MILLION, stable_worse_micro: stable * MILLION };
    let labelled = dice.of(n, worse);
    PairBlock {
        labels: pairs(labelled, dice.of(n, 0.02)),
        errors: pairs(dice.of(n, 0.001), dice.of(n, 0.001)),
        latency: dice.latency(n, slower),
        compared: n,
        disagreed: (labelled + dice.of(n, 0.02)).min(n),
    }
}

#[test]
fn a_release_that_only_copies_tell_of_is_judged() {
    let mut dice = Dice(2);
    let block = |pairs| Block { pairs: Some(pairs), ..Block::default() };
    let mut trial = Trial::new(&Policy::default());
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::NoData));
    assert_eq!(trial.observe(&block(copies(&mut dice, 0.02, 0))), Verdict::Undecided(Reason::LowSamples));
    let good = until(&mut trial, 300, |_| block(copies(&mut dice, 0.02, 0)));
    assert_eq!(good.0, Verdict::Pass);
    let evidence = trial.evidence();
    assert_eq!((evidence.canary_requests, evidence.canary_labels), (0, evidence.paired_labels));
    assert!(evidence.paired_labels > 0 && evidence.signals.iter().all(|signal| signal.test == Test::Pairs));
    for (worse, slower, blamed) in [(0.2, 0, Signal::Accuracy), (0.02, 12, Signal::Latency)] {
        let mut trial = Trial::new(&Policy::default());
        let bad = until(&mut trial, 300, |_| block(copies(&mut dice, worse, slower)));
        assert_eq!(bad.0, Verdict::Fail(blamed));
    }
    let limit = Policy { disagreement: Some(DisagreementPolicy { max: 0.05 }), ..only(true, false, false) };
    let mut trial = Trial::new(&limit);
    assert_eq!(until(&mut trial, 300, |_| block(copies(&mut dice, 0.2, 0))).0, Verdict::Fail(Signal::Disagreement));
    let said = trial.evidence().signals.pop().unwrap();
    assert_eq!((said.signal, said.test, said.stable), (Signal::Disagreement, Test::Pairs, 0.05));
    assert!((said.weight - 1.0 / 3.0).abs() < 1e-12 && said.canary > 0.1, "{said:?}");
}

#[test]
fn copies_tell_of_errors_and_latency_only_until_the_canary_answers_callers() {
    let mut dice = Dice(3);
    let mut trial = Trial::new(&Policy::default());
    let pairs = |trial: &Trial| {
        let signals = trial.evidence().signals;
        let n = |signal: usize| {
            signals[signal]
                .parts
                .iter()
                .filter(|p| p.test == Test::Pairs)
                .map(|p| p.canary_n.to_string())
                .collect::<String>()
        };
        [n(0), n(1), n(2)]
    };
    trial.observe(&Block { pairs: Some(copies(&mut dice, 0.02, 0)), ..Block::default() });
    assert_eq!(pairs(&trial), ["40", "40", "40"]);
    let own = by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50));
    trial.observe(&Block { pairs: Some(copies(&mut dice, 0.02, 0)), ..own });
    trial.observe(&Block { pairs: Some(copies(&mut dice, 0.02, 0)), ..Block::default() });
    assert_eq!(pairs(&trial), ["40", "40", "120"], "labels of pairs go on");
}

#[test]
fn a_mode_is_chosen_once_the_canary_answers_and_copies_stay() {
    let mut dice = Dice(17);
    let mut trial = Trial::new(&Policy::default());
    trial.observe(&Block { pairs: Some(copies(&mut dice, 0.02, 0)), ..Block::default() });
    let told = trial.log_e_rollback();
    let users = Chosen::new(ModeChoice::Auto, true, [1, 1]);
    trial.choose(users);
    assert_eq!(trial.mode(), users);
    assert!((trial.log_e_rollback() - told).abs() < 1e-12 && told.abs() > 1e-9, "{told}");
    trial.observe(&by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50)));
    trial.choose(Chosen::default());
    assert!(trial.mode() == users && !trial.may_choose(), "it is too late");
}

#[test]
fn labels_of_pairs_and_of_single_answers_multiply() {
    let mut dice = Dice(4);
    let mut trial = Trial::new(&only(false, false, true));
    let mut alone = trial.clone();
    for _ in 0..20 {
        let single = labels(10, 2, 90, 4);
        let pairs = copies(&mut dice, 0.03, 0);
        let block = Block { labels: Some(single), pairs: Some(pairs), ..Block::default() };
        trial.observe(&block);
        alone.observe(&Block { labels: None, ..block.clone() });
    }
    let of = |trial: &Trial| trial.evidence().signals.remove(0);
    let (both, paired) = (of(&trial), of(&alone));
    let [own, pairs] = both.parts.as_slice() else { panic!("{:?}", both.parts) };
    assert_eq!((own.test, pairs.test, own.weight, pairs.weight), (Test::Requests, Test::Pairs, Some(1.0), None));
    let sum = own.log_e_rollback.unwrap() + pairs.log_e_rollback.unwrap();
    assert!((both.log_e_rollback - sum).abs() < 1e-12 && own.log_e_rollback.unwrap() > 1.0);
    assert!((paired.log_e_rollback - pairs.log_e_rollback.unwrap()).abs() < 1e-12);
    assert_eq!((both.test, paired.test), (Test::Requests, Test::Pairs), "what carries it");
    let evidence = trial.evidence();
    assert_eq!((evidence.canary_labels, evidence.stable_labels, evidence.paired_labels), (1000, 2600, 800));
}

#[test]
fn a_changed_policy_is_told_and_not_followed() {
    let mut dice = Dice(15);
    let policy = only(true, false, false);
    let mut trial = Trial::new(&policy);
    let mut block = || by_requests(dice.arm(20, 0.02, 50), dice.arm(180, 0.001, 50));
    trial.observe(&block());
    let mut lax = policy.clone();
    lax.errors.as_mut().unwrap().may_rise = 0.3;
    trial.compare(&lax);
    assert!(trial.evidence().policy_changed);
    let mut back = Trial::restored(&lax, &trial.saved()).unwrap();
    assert_eq!(back, trial);
    assert!((back.evidence().signals[0].margin - 0.0005).abs() < 1e-12, "the margin it began with");
    assert_eq!(until(&mut back, 100, |_| block()).0, Verdict::Fail(Signal::Errors));
    back.compare(&Policy { on_inconclusive: crate::core::judge::OnInconclusive::Rollback, ..policy });
    assert!(!back.evidence().policy_changed, "no margin and no weight");
}

/// A release with everything on, over the weights 5 and 25 %, with a change in between.
fn everything(dice: &mut Dice, number: usize) -> Block {
    let n = if number < 30 { 10 } else { 50 };
    let mut block = window(dice, 0.01, 0.002, 0);
    let streams = streamed(dice, 5, 5, 0).requests.unwrap();
    let share = (number != 30).then_some(n as f64 / 200.0);
    block.requests = Some(RequestBlock { share, ..streams });
    block.users = Some(UserBlock { canary: dice.of(1, 0.1), stable: dice.of(2, 0.3) });
    block.labels = Some(labels(n / 5, dice.of(n / 5, 0.05), 30, dice.of(30, 0.05)));
    block.pairs = Some(copies(dice, 0.02, 0));
    if number < 3 {
        (block.requests, block.endpoints) = (None, None);
    }
    block
}

#[test]
fn a_restart_after_any_block_loses_no_bit_in_any_mode_and_the_state_stays_small() {
    for mode in Mode::ALL {
        let policy = Policy { disagreement: Some(DisagreementPolicy { max: 0.1 }), alpha: 1e-9, ..Policy::default() };
        let chosen = Chosen::new(ModeChoice::Fixed(mode), true, [2, 4]);
        let mut dice = Dice(16);
        let (mut through, mut restarted) = (Trial::in_mode(&policy, chosen), Trial::in_mode(&policy, chosen));
        for number in 0..60 {
            let block = everything(&mut dice, number);
            through.observe(&block);
            restarted = Trial::restored(&policy, &restarted.saved()).unwrap();
            restarted.observe(&block);
            assert_eq!(through.saved(), restarted.saved(), "{mode:?}, block {number}");
            assert_eq!(through.verdict(), restarted.verdict(), "{mode:?}, block {number}");
            assert_eq!(through.evidence().signals, restarted.evidence().signals, "{mode:?}, block {number}");
        }
        let saved = through.saved();
        assert!(saved.len() * 8 <= 16 * 1024, "{mode:?}: {} bytes", saved.len() * 8);
        let mut other = saved.clone();
        other[0] += 1;
        assert_eq!(Trial::restored(&policy, &other), None, "another version");
        assert_eq!(Trial::restored(&policy, &saved[..saved.len() - 1]), None, "cut short");
        assert_eq!(Trial::restored(&policy, &[saved.as_slice(), &[1]].concat()), None, "too long");
        assert_eq!(Trial::restored(&policy, &[saved.as_slice(), &[u64::MAX]].concat()), None, "no zeros at all");
    }
}
