//! What a trial shows, number by number, of blocks small enough to do the sums by hand.

use super::{
    channel::{Channel, Timed},
    *,
};
use crate::core::stats::{
    Counts,
    disagreement::DisagreementPromote,
    endpoint::{Units, cap, thinned, unit_fraction},
    mixture::HORIZON_BLOCKS,
    rate::{ERRORS_GRID, Edge, RatePromote, RateRollback},
    window::capped_mean,
};

fn all_signals() -> Policy {
    Policy { disagreement: Some(DisagreementPolicy { max: 0.05 }), ..Policy::default() }
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

/// As many of each bucket as said.
fn latency(of: &[(i32, u64)]) -> Histogram {
    let mut latency = Histogram::default();
    of.iter().for_each(|(bucket, n)| latency.add(*bucket, *n));
    latency
}

/// `errors` of `n` failed, all successes took `ms`' bucket.
fn arm(n: u64, errors: u64, bucket: i32) -> Arm {
    Arm { completed: n, assigned: n, errors, latency: latency(&[(bucket, n - errors)]), streams: None }
}

fn pairs(n: u64, canary: u64, stable: u64) -> Pairs {
    Pairs { n, canary_worse_micro: canary * MILLION, stable_worse_micro: stable * MILLION }
}

/// 50 copies: labels of 40, worse in 10 and 4; errors in 5 and 2; 25 timed, 7 beyond the tolerance, 5 just at it; 6 of 40 differ.
fn copied() -> Block {
    let pairs = PairBlock {
        labels: pairs(40, 10, 4),
        errors: pairs(50, 5, 2),
        latency: latency(&[(2, 7), (1, 5), (0, 13)]),
        compared: 40,
        disagreed: 6,
    };
    Block { pairs: Some(pairs), ..Block::default() }
}

/// Whether the two numbers and how many each is of are those said.
#[track_caller]
fn shows(signal: &SignalEvidence, values: [f64; 2], n: [u64; 2], events: [f64; 2]) {
    assert!(near(signal.canary, values[0]) && near(signal.stable, values[1]), "{signal:?}");
    assert_eq!([signal.canary_n, signal.stable_n], n, "{signal:?}");
    assert!(near(signal.canary_events, events[0]) && near(signal.stable_events, events[1]), "{signal:?}");
}

#[track_caller]
fn part(part: &PartEvidence, values: [f64; 2], n: [f64; 2], events: [f64; 2]) {
    assert!(near(part.canary, values[0]) && near(part.stable, values[1]), "{part:?}");
    assert_eq!(([part.canary_n, part.stable_n], [part.canary_events, part.stable_events]), (n, events), "{part:?}");
}

#[test]
fn nothing_seen_is_shown_as_nothing() {
    let trial = Trial::new(&all_signals());
    assert!(!trial.has_answered());
    for signal in trial.evidence().signals {
        let limit = if signal.signal == Signal::Disagreement { 0.05 } else { 0.0 };
        shows(&signal, [0.0, limit], [0, 0], [0.0, 0.0]);
        assert!(near(signal.log_e_rollback, 0.0) && near(signal.log_e_promote, 0.0), "{signal:?}");
        for own in &signal.parts {
            part(own, [0.0, limit], [0.0, 0.0], [0.0, 0.0]);
        }
    }
}

#[test]
fn requests_and_labels_are_shown_as_shares_of_how_many() {
    let mut trial = Trial::new(&all_signals());
    let block = by_requests(arm(20, 3, 50), arm(180, 9, 50));
    trial.observe(&Block { labels: Some(labels(10, 2, 90, 9)), ..block });
    assert!(trial.has_answered());
    let evidence = trial.evidence();
    let [errors, _, accuracy, _] = &evidence.signals[..] else { panic!("{evidence:?}") };
    shows(errors, [0.15, 0.05], [20, 180], [3.0, 9.0]);
    shows(accuracy, [0.8, 0.9], [10, 90], [2.0, 9.0]);
    let ([rate], [wrong]) = (&errors.parts[..], &accuracy.parts[..]) else { panic!("no copies: one part each") };
    part(rate, [0.15, 0.05], [20.0, 180.0], [3.0, 9.0]);
    part(wrong, [0.2, 0.1], [10.0, 90.0], [2.0, 9.0]);
    // Copies come too: labels of both kinds count, and the accuracies shown stay those of the callers' answers.
    trial.observe(&copied());
    let evidence = trial.evidence();
    shows(&evidence.signals[2], [0.8, 0.9], [10, 90], [2.0, 9.0]);
    assert_eq!((evidence.canary_labels, evidence.stable_labels, evidence.paired_labels), (50, 130, 40));
    let missing = evidence.guards.iter().find(|told| told.guard == Guard::LabelsMissing).unwrap();
    assert!(near(missing.value, 50.0));
}

#[test]
fn copies_are_shown_as_shares_of_pairs_while_nothing_else_is_known() {
    let mut trial = Trial::new(&all_signals());
    trial.observe(&copied());
    assert!(trial.has_answered(), "by copies");
    let evidence = trial.evidence();
    let [errors, latency, accuracy, disagreement] = &evidence.signals[..] else { panic!("{evidence:?}") };
    shows(errors, [0.1, 0.04], [0, 0], [0.0, 0.0]);
    part(&errors.parts[1], [0.1, 0.04], [50.0, 50.0], [5.0, 2.0]);
    shows(accuracy, [0.75, 0.9], [0, 0], [0.0, 0.0]);
    part(&accuracy.parts[1], [0.25, 0.1], [40.0, 40.0], [10.0, 4.0]);
    // A pair at the tolerance, one bucket, is no slower one.
    let [copy] = &latency.parts[..] else { panic!("{latency:?}") };
    assert_eq!((copy.part, copy.test), (Part::Copy, Test::Pairs));
    part(copy, [0.28, 0.72], [25.0, 25.0], [7.0, 18.0]);
    shows(disagreement, [0.15, 0.05], [40, 0], [6.0, 0.0]);
    part(&disagreement.parts[0], [0.15, 0.05], [40.0, 0.0], [6.0, 0.0]);
    let mut promote = DisagreementPromote::new(0.05);
    promote.update(6.0, 40.0);
    assert!(near(disagreement.log_e_promote, promote.log_e()) && promote.log_e() < -0.1);
    assert!(evidence.signals.iter().all(|signal| signal.test == Test::Pairs));
}

#[test]
fn what_copies_told_of_errors_multiplies_what_requests_tell() {
    let mut trial = Trial::new(&all_signals());
    trial.observe(&copied());
    trial.observe(&by_requests(arm(20, 3, 50), arm(180, 0, 50)));
    let errors = trial.evidence().signals.remove(0);
    let sum = |of: fn(&PartEvidence) -> Option<f64>| errors.parts.iter().filter_map(of).sum::<f64>();
    assert!(errors.parts.iter().all(|part| part.log_e_rollback.unwrap().abs() > 1e-3), "{errors:?}");
    assert!(near(errors.log_e_rollback, sum(|part| part.log_e_rollback)));
    assert!(near(errors.log_e_promote, sum(|part| part.log_e_promote)));
    assert_eq!(errors.test, Test::Requests, "what most of it comes from");
    // Requests that say next to nothing leave it to the copies.
    let mut trial = Trial::new(&all_signals());
    trial.observe(&copied());
    trial.observe(&by_requests(arm(20, 0, 50), arm(180, 9, 50)));
    assert_eq!(trial.evidence().signals[0].test, Test::Pairs);
}

#[test]
fn without_copies_requests_and_labels_carry_what_speaks_for_the_canary() {
    let mut trial = Trial::new(&Policy { warmup_requests: 0, ..Policy::default() });
    for _ in 0..3 {
        let block = by_requests(arm(400, 0, 48), arm(600, 60, 50));
        trial.observe(&Block { labels: Some(labels(100, 0, 100, 30)), ..block });
    }
    for signal in trial.evidence().signals {
        assert!(signal.log_e_rollback < -0.01, "{:?}: {}", signal.signal, signal.log_e_rollback);
        assert_eq!(signal.test, Test::Requests, "{:?}", signal.signal);
    }
}

#[test]
fn copies_carry_what_they_alone_tell_of_though_it_speaks_for_the_canary() {
    let mut trial = Trial::new(&only(false, false, true));
    let pairs = PairBlock { labels: pairs(40, 0, 4), ..PairBlock::default() };
    trial.observe(&Block { pairs: Some(pairs), ..Block::default() });
    let accuracy = trial.evidence().signals.remove(0);
    assert!(accuracy.log_e_rollback < -0.01, "{}", accuracy.log_e_rollback);
    assert_eq!(accuracy.test, Test::Pairs);
}

#[test]
fn a_latency_is_shown_at_its_p99_and_tested_at_every_place_that_counts() {
    let policy = Policy { warmup_requests: 0, ..all_signals() };
    let mut trial = Trial::new(&policy);
    let answers = |bucket| Arm { latency: latency(&[(bucket, 980), (100, 20)]), ..arm(1000, 0, 50) };
    // The first block is learnt; from the second on there is something to compare with.
    for _ in 0..3 {
        trial.observe(&by_requests(answers(51), answers(50)));
    }
    let signals = trial.evidence().signals;
    let p99 = (100.0_f64 / 16.0).exp2();
    shows(&signals[1], [p99, p99], [3000, 3000], [0.0, 0.0]);
    let told: Vec<_> =
        signals[1].parts.iter().map(|p| (p.part, p.log_e_rollback.is_some(), p.log_e_promote.is_some())).collect();
    let at = |q, rollback, promote| (Part::Answer(q), rollback, promote);
    let wanted = [
        at(Quantile::Ranks, true, false),
        at(Quantile::P50, false, true),
        at(Quantile::P90, true, true),
        at(Quantile::P99, true, true),
        at(Quantile::P999, true, false),
    ];
    assert_eq!(told, wanted);
    let medians = &signals[1].parts[1];
    assert!(near(medians.canary, (51.0_f64 / 16.0).exp2()) && near(medians.stable, (50.0_f64 / 16.0).exp2()));
}

#[test]
fn of_streams_the_first_token_is_shown() {
    let policy = Policy { warmup_requests: 0, ..all_signals() };
    let mut trial = Trial::new(&policy);
    let streams = |bucket| {
        let streams = Streams { first_token: latency(&[(bucket, 400)]), token_gap: latency(&[(3, 400)]) };
        Arm { latency: Histogram::default(), streams: Some(Box::new(streams)), ..arm(400, 0, 0) }
    };
    for _ in 0..2 {
        trial.observe(&by_requests(streams(80), streams(64)));
    }
    // The first block fixes what there is; what is shown is what came since then.
    shows(&trial.evidence().signals[1], [32.0, 16.0], [800, 800], [0.0, 0.0]);
}

/// Whole answers and streams, in these numbers.
fn mixed(answers: u64, streams: u64) -> Block {
    let both = || {
        let of = Streams { first_token: latency(&[(64, streams)]), token_gap: latency(&[(3, streams)]) };
        Arm { latency: latency(&[(50, answers)]), streams: Some(Box::new(of)), ..arm(answers + streams, 0, 0) }
    };
    by_requests(both(), both())
}

#[test]
fn streams_are_judged_from_a_twentieth_of_all_answers_on() {
    for (answers, streams, wanted) in [(961, 39, [true, false]), (950, 50, [true, true]), (39, 961, [false, true])] {
        let mut trial = Trial::new(&Policy { warmup_requests: 0, ..only(false, true, false) });
        (0..2).for_each(|_| _ = trial.observe(&mixed(answers, streams)));
        let parts = trial.evidence().signals.remove(0).parts;
        let [answer, first] =
            [Part::Answer, Part::FirstToken].map(|of| parts.iter().any(|told| told.part == of(Quantile::P50)));
        assert_eq!([answer, first], wanted, "{answers} answers, {streams} streams");
    }
    // Where both weigh the same, as streams of a single piece do, whole answers are shown.
    let mut trial = Trial::new(&Policy { warmup_requests: 0, ..only(false, true, false) });
    let mut block = mixed(500, 500);
    let RequestBlock { canary, stable, .. } = block.requests.as_mut().unwrap();
    for arm in [canary, stable] {
        arm.streams.as_mut().unwrap().token_gap = Histogram::default();
    }
    (0..2).for_each(|_| _ = trial.observe(&block));
    let p99 = (50.0_f64 / 16.0).exp2();
    shows(&trial.evidence().signals[0], [p99, p99], [1000, 1000], [0.0, 0.0]);
}

#[test]
fn nothing_is_judged_by_a_latency_that_nobody_knows_yet() {
    for (mode, judge) in [
        (Mode::Requests, Channel::judge as fn(&mut Channel, &Histogram, &Histogram)),
        (Mode::Endpoints, Channel::judge_requests),
    ] {
        nothing_is_judged(mode, judge);
    }
}

fn nothing_is_judged(mode: Mode, judge: fn(&mut Channel, &Histogram, &Histogram)) {
    let mut channel = Channel::new(Timed::Answer, crate::core::judge::LatencyPolicy::default(), mode);
    let (slow, quick) = (latency(&[(90, 300)]), latency(&[(50, 300)]));
    let all = |channel: &Channel| {
        let mut numbers = Vec::new();
        channel.clone().numbers_of_requests(&mut |number| numbers.push(*number));
        (channel.log_e_against(), channel.log_e_for(), numbers)
    };
    let nothing = all(&channel);
    assert!(near(nothing.0, 0.0) && near(nothing.1, 0.0), "{nothing:?}");
    channel.weight = 1.0;
    judge(&mut channel, &slow, &quick);
    assert_eq!(all(&channel), nothing, "nothing is known of stable");
    channel.reference.learn(&latency(&[(50, 199)]));
    judge(&mut channel, &slow, &quick);
    assert_eq!(all(&channel), nothing, "one short of what must be known");
    channel.reference.learn(&quick);
    channel.weight = 0.0;
    judge(&mut channel, &slow, &quick);
    assert_eq!(all(&channel), nothing, "it is not among those that are judged");
    channel.weight = 0.5;
    for (canary, stable) in [(&slow, &Histogram::default()), (&Histogram::default(), &quick)] {
        judge(&mut channel, canary, stable);
        assert_eq!(all(&channel), nothing, "one of the two has answered nobody");
    }
    judge(&mut channel, &slow, &quick);
    assert!(channel.log_e_for() < 0.0 && (channel.log_e_against() > 1.0) == (mode == Mode::Requests));
}

#[test]
fn users_fail_first_by_the_share_that_drew_them() {
    let users = UserBlock { canary: 1, stable: 2 };
    let requests = Counts { canary_events: 9.0, stable_events: 9.0, canary: 30.0, stable: 70.0 };
    let counts = errors::of_users(&users, &requests, 0.2);
    assert_eq!(counts, Counts { canary_events: 1.0, stable_events: 2.0, canary: 20.0, stable: 80.0 });
}

#[test]
fn windows_are_held_against_margins_that_fit_under_the_cap() {
    let policy = only(true, false, false);
    let mut trial = Trial::in_mode(&policy, Chosen::new(ModeChoice::Auto, false, [2, 2]));
    let units = |errors: [u64; 2]| errors.map(|errors| Unit { completed: 100, errors, ..Unit::default() }).to_vec();
    let block = |canary, stable| Block {
        endpoints: Some(EndpointBlock { canary: units(canary), stable: units(stable) }),
        ..Block::default()
    };
    // Nothing is known before the first window: it only says what to expect, two failures in 200.
    trial.observe(&block([0, 1], [1, 1]));
    let own = |trial: &Trial| trial.evidence().signals.remove(0).parts.remove(0);
    assert!(near(own(&trial).canary_n, 0.0));
    trial.observe(&block([4, 0], [1, 0]));
    // A unit at the edge is expected to fail so often in its 100 requests: of rollback, and of promotion.
    let failures = 100.0 * 2.5 / 201.0;
    let (edge, pass_edge) = (failures + 0.05, 1.25 * failures + 0.2);
    let shares = |most: f64| {
        let of =
            |errors: [f64; 2]| errors.map(|errors| unit_fraction(thinned(errors, 100.0, 100.0, most), most)).to_vec();
        Units { canary: of([4.0, 0.0]), stable: of([1.0, 0.0]) }
    };
    let most = cap(edge);
    let mut rollback = RateRollback::new(Edge { ratio: 1.0, margin: 0.0005 }, &ERRORS_GRID, HORIZON_BLOCKS);
    rollback.update_units(&shares(most), Edge { ratio: 1.0, margin: 0.05 / most });
    let most = cap(pass_edge);
    let mut promote = RatePromote::new(Edge { ratio: 1.25, margin: 0.002 });
    let margin = capped_mean(pass_edge, most) / most - 1.25 * capped_mean(failures, most) / most;
    assert!(margin > 0.0, "{margin}");
    promote.update_units(&shares(most), Edge { ratio: 1.25, margin });
    let own = own(&trial);
    assert!(near(own.log_e_rollback.unwrap(), rollback.log_e()) && rollback.log_e().abs() > 1e-3, "{own:?}");
    assert!(near(own.log_e_promote.unwrap(), promote.log_e().min(0.0)), "{own:?} {}", promote.log_e());
    assert!(near(own.canary_n, 2.0));
}

#[test]
fn a_canary_that_smokes_is_not_passed_though_every_signal_once_was() {
    let mut dice = Dice(41);
    let mut trial = Trial::new(&only(true, false, false));
    for _ in 0..4_000 {
        trial.observe(&by_requests(dice.arm(20, 0.0, 50), dice.arm(180, 0.0, 50)));
    }
    assert_eq!(trial.verdict(), Verdict::Pass);
    let smoking = (0..200).find(|_| {
        trial.observe(&by_requests(dice.arm(20, 0.02, 50), dice.arm(180, 0.0, 50)));
        !trial.evidence().is_clear()
    });
    let evidence = trial.evidence();
    assert!(smoking.is_some() && evidence.log_e_rollback < evidence.log_e_rollback_at, "{evidence:?}");
    assert!(evidence.signals[0].log_e_promote > evidence.signals[0].log_e_promote_at, "{evidence:?}");
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::Overlap));
}

#[test]
fn with_every_signal_off_nothing_is_ever_passed() {
    let mut trial = Trial::new(&only(false, false, false));
    for _ in 0..20 {
        trial.observe(&by_requests(arm(20, 0, 50), arm(180, 0, 50)));
    }
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::Overlap));
}

#[test]
fn at_the_minimum_there_are_samples_enough() {
    let mut trial = Trial::new(&only(true, false, false));
    trial.observe(&by_requests(arm(49, 0, 50), arm(441, 0, 50)));
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::LowSamples));
    trial.observe(&by_requests(arm(1, 0, 50), arm(9, 0, 50)));
    assert_eq!(trial.verdict(), Verdict::Undecided(Reason::Overlap));
    let samples = trial.evidence().guards.into_iter().find(|told| told.guard == Guard::Samples).unwrap();
    assert_eq!((samples.state, samples.value, samples.limit), (GuardState::Good, 50.0, 50.0));
}

#[test]
fn a_restart_under_another_policy_keeps_every_number_it_began_with() {
    let began = Policy { warmup_requests: 7, requests_min: 9, ..all_signals() };
    let mut trial = Trial::new(&began);
    trial.observe(&by_requests(arm(8, 0, 50), arm(72, 0, 50)));
    let mut said = Policy { warmup_requests: 70, requests_min: 90, ..Policy::default() };
    said.latency.as_mut().unwrap().tolerate_buckets = 32;
    let restored = Trial::restored(&said, &trial.saved()).unwrap();
    let evidence = restored.evidence();
    let limit = |guard| evidence.guards.iter().find(|told| told.guard == guard).unwrap().limit;
    assert_eq!((limit(Guard::WarmUp), limit(Guard::Samples)), (7.0, 9.0));
    assert!(near(evidence.signals[1].margin, (1.0_f64 / 16.0).exp2()), "{evidence:?}");
    assert!(evidence.signals.len() == 4 && evidence.policy_changed);
}
