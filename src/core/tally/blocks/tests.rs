//! Counts told once each, whatever the weights, the pods and the restarts do in between.

use super::*;
use crate::core::{
    judge::{Policy, trial::Trial},
    name::{Artefact, RouteName, VariantName},
    tally::Outcome,
};
use proptest::prelude::*;

fn tally(variant: &str, threads: usize) -> Arc<VariantTally> {
    let (route, name) = (RouteName::new("chat").unwrap(), VariantName::new(variant).unwrap());
    Arc::new(VariantTally::new(&route, &name, &Artefact::new(variant), threads))
}

fn look(share: f64, now_ms: u64) -> Look {
    let tallies = [tally("v2", 2), tally("v1", 2)];
    Look { tallies, share, sticky: true, warming_up: false, window_ms: 10_000, now_ms }
}

/// `n` requests that ended so, at endpoint 0.
fn serve(tally: &VariantTally, n: u64, outcome: Outcome) {
    let cells = &tally.threads[0];
    cells.assigned.add(n);
    cells.outcome(outcome).add(n);
    cells.endpoint(0).completed.add(n);
    for user in 0..n {
        if outcome == Outcome::Ok {
            cells.latency.observe_us(1_000);
        } else {
            tally.user_failed(0, Some(user));
        }
    }
}

#[test]
fn counts_wait_for_the_other_variant_and_are_told_once() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    serve(stable, 5, Outcome::Ok);
    let mut blocks = Blocks::from_now(&look);
    serve(stable, 7, Outcome::Ok);
    assert_eq!(blocks.next(&look), Block::default(), "nothing of the canary");
    serve(canary, 2, Outcome::BackendReset);
    serve(stable, 1, Outcome::Ok);
    let told = blocks.next(&look);
    let requests = told.requests.unwrap();
    assert_eq!((requests.canary.completed, requests.canary.errors, requests.stable.completed), (2, 2, 8));
    assert_eq!((requests.share, told.users), (Some(0.1), Some(UserBlock { canary: 2, stable: 0 })));
    assert_eq!(blocks.next(&look), Block::default());
    serve(canary, 2, Outcome::BackendReset);
    serve(stable, 3, Outcome::BackendReset);
    assert_eq!(blocks.next(&look).users, Some(UserBlock { canary: 0, stable: 1 }), "two had failed before");
}

#[test]
fn a_pause_at_weight_zero_counts_for_nobody() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    serve(canary, 1, Outcome::Ok);
    serve(stable, 9, Outcome::Ok);
    let paused = Look { share: 0.0, now_ms: 20_000, ..look.clone() };
    let before = blocks.next(&paused);
    assert_eq!(before.requests.map(|r| (r.canary.completed, r.stable.completed, r.share)), Some((1, 9, None)));
    assert!(before.endpoints.is_some(), "the window of before");
    // A slow answer of before the pause, and stable alone.
    serve(canary, 1, Outcome::Ok);
    serve(stable, 500, Outcome::BackendReset);
    assert_eq!(blocks.next(&Look { now_ms: 40_000, ..paused.clone() }), Block::default());
    serve(stable, 300, Outcome::BackendReset);
    assert_eq!(blocks.next(&Look { now_ms: 60_000, ..paused }), Block::default());
    serve(canary, 2, Outcome::Ok);
    serve(stable, 3, Outcome::Ok);
    let after = blocks.next(&Look { now_ms: 70_000, ..look });
    assert_eq!(after.requests.map(|r| (r.canary.completed, r.stable.completed, r.stable.errors)), Some((2, 3, 0)));
    let units = after.endpoints.unwrap();
    assert_eq!((units.canary[0].completed, units.stable[0].completed), (2, 3));
}

#[test]
fn an_attempt_that_goes_on_after_a_restart_takes_all_that_the_process_counted() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    for tally in [canary, stable] {
        serve(tally, 4, Outcome::BackendReset);
    }
    let mut known = FailedUsers::default();
    known.meet(&FailedUsers::restored(&[(0, 0b11)]));
    let told = Blocks::from_zero(&look, known).next(&look);
    assert_eq!(told.requests.map(|r| (r.canary.completed, r.stable.completed)), Some((4, 4)));
    assert_eq!(
        told.users,
        Some(UserBlock { canary: 0, stable: 2 }),
        "users 0 and 1 had failed, and who fails twice is one"
    );
    let mut fresh = Blocks::from_now(&look);
    assert_eq!(fresh.next(&look), Block::default(), "a fresh attempt takes none of it");
}

#[test]
fn a_window_of_endpoints_ends_after_its_time_and_holds_who_answered_in_it() {
    let look = look(0.5, 1_000);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    for (endpoint, n) in [(0, 3), (1, 4), (2, 0)] {
        canary.threads[1].endpoint(endpoint).completed.add(n);
        canary.threads[1].endpoint(endpoint).streams.first_token.observe_us(1_000 * n);
        stable.threads[0].endpoint(endpoint).completed.add(2 * n);
    }
    let at = |now_ms| Look { now_ms, ..look.clone() };
    assert_eq!(blocks.next(&at(10_999)).endpoints, None);
    let units = blocks.next(&at(11_000)).endpoints.unwrap();
    let completed = |units: &[Unit]| units.iter().map(|unit| unit.completed).collect::<Vec<_>>();
    assert_eq!((completed(&units.canary), completed(&units.stable)), (vec![3, 4], vec![6, 8]));
    assert_eq!(units.canary[0].streams.as_ref().map(|streams| streams.first_token.total()), Some(1));
    stable.threads[0].endpoint(0).completed.add(1);
    assert_eq!(blocks.next(&at(30_000)).endpoints, None, "nothing of the canary in this window");
    canary.threads[0].endpoint(5).completed.add(1);
    stable.threads[0].endpoint(1).completed.add(1);
    let units = blocks.next(&at(40_000)).endpoints.unwrap();
    assert_eq!(
        (completed(&units.canary), completed(&units.stable)),
        (vec![1], vec![1]),
        "what the last one held is over"
    );
}

#[test]
fn pairs_are_told_at_any_weight() {
    let look = look(0.0, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    let copies = &canary.threads[1].shadow;
    copies.paired.add(6);
    copies.worse.add(2);
    copies.better.add(1);
    copies.ratio.observe_us(1_500);
    copies.agreed.add(3);
    copies.disagreed.add(1);
    canary.labels.paired.add(4);
    canary.labels.worse_micro.add(2_500_000);
    stable.labels.labelled.add(9);
    let told = blocks.next(&look);
    let pairs = told.pairs.clone().unwrap();
    assert_eq!(pairs.labels, Pairs { n: 4, canary_worse_micro: 2_500_000, stable_worse_micro: 0 });
    assert_eq!(pairs.errors, Pairs { n: 6, canary_worse_micro: 2_000_000, stable_worse_micro: 1_000_000 });
    assert_eq!((pairs.latency.total(), pairs.compared, pairs.disagreed), (1, 4, 1));
    assert_eq!((told.requests, told.labels), (None, None));
    assert_eq!(blocks.next(&look), Block::default());
    canary.labels.labelled.add(1);
    stable.labels.labelled.add(2);
    assert_eq!(blocks.next(&look).labels.map(|l| (l.canary, l.stable)), Some((1, 2)), "stable's of the pause are over");
}

#[test]
fn requests_wait_for_stable_as_they_do_for_the_canary() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    serve(canary, 2, Outcome::Ok);
    assert_eq!(blocks.next(&look), Block::default());
    serve(stable, 1, Outcome::Ok);
    let requests = blocks.next(&look).requests.unwrap();
    assert_eq!((requests.canary.completed, requests.stable.completed), (2, 1));
    assert_eq!((requests.canary.streams, requests.stable.streams), (None, None), "nothing was streamed");
}

#[test]
fn a_block_that_saw_two_weights_has_no_share() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    serve(stable, 9, Outcome::Ok);
    let raised = Look { share: 0.2, ..look.clone() };
    assert_eq!(blocks.next(&raised), Block::default());
    for (shares, wanted) in [("first 0.1, then 0.2", None), ("all of it 0.2", Some(0.2))] {
        serve(canary, 1, Outcome::Ok);
        serve(stable, 4, Outcome::Ok);
        assert_eq!(blocks.next(&raised).requests.map(|requests| requests.share), Some(wanted), "{shares}");
    }
}

#[test]
fn a_weight_that_goes_before_a_block_could_close_leaves_nothing_behind() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    let paused = Look { share: 0.0, ..look.clone() };
    for _ in 0..2 {
        serve(stable, 50, Outcome::BackendReset);
        assert_eq!(blocks.next(&paused), Block::default());
    }
    serve(canary, 2, Outcome::Ok);
    serve(stable, 3, Outcome::Ok);
    let requests = blocks.next(&look).requests.unwrap();
    assert_eq!((requests.canary.completed, requests.stable.completed, requests.stable.errors), (2, 3, 0));
}

/// `n` labels of which `wrong` are, to a variant's answers.
fn label(tally: &VariantTally, n: u64, wrong: u64) {
    tally.labels.labelled.add(n);
    tally.labels.wrong_micro.add(wrong * MICRO);
}

#[test]
fn labels_wait_for_the_other_variants_and_are_told_once() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    label(stable, 3, 1);
    assert_eq!(blocks.next(&look).labels, None, "stable's wait");
    label(canary, 2, 1);
    let told = |canary, stable, wrong: [u64; 2]| {
        let [canary_wrong_micro, stable_wrong_micro] = wrong.map(|n| n * MICRO);
        Some(LabelBlock { canary, stable, canary_wrong_micro, stable_wrong_micro })
    };
    assert_eq!(blocks.next(&look).labels, told(2, 3, [1, 1]));
    label(canary, 5, 3);
    assert_eq!(blocks.next(&look).labels, None, "the canary's wait");
    label(stable, 7, 2);
    assert_eq!(blocks.next(&look).labels, told(5, 7, [3, 2]));
}

#[test]
fn late_labels_of_the_canary_wait_for_stables_in_a_pause_too() {
    let look = look(0.0, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    label(canary, 2, 1);
    assert_eq!(blocks.next(&look).labels, None);
    label(stable, 5, 0);
    assert_eq!(blocks.next(&look).labels.map(|labels| (labels.canary, labels.stable)), Some((2, 5)));
}

#[test]
fn pairs_of_any_one_kind_are_told_and_told_once() {
    let look = look(0.1, 0);
    let [canary, _] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    let copies = &canary.threads[0].shadow;
    let nothing = Pairs::default();
    for round in 1..=2 {
        canary.labels.paired.add(round);
        canary.labels.worse_micro.add(round * 1_000);
        canary.labels.better_micro.add(round * 500);
        let told = blocks.next(&look).pairs.unwrap();
        let labels = Pairs { n: round, canary_worse_micro: round * 1_000, stable_worse_micro: round * 500 };
        assert_eq!((told.labels, told.errors, told.compared), (labels, nothing, 0));

        copies.paired.add(2 * round);
        copies.worse.add(round);
        copies.better.add(1);
        let told = blocks.next(&look).pairs.unwrap();
        let errors = Pairs { n: 2 * round, canary_worse_micro: round * MICRO, stable_worse_micro: MICRO };
        assert_eq!((told.labels, told.errors, told.compared), (nothing, errors, 0));

        copies.agreed.add(round);
        copies.disagreed.add(1);
        let told = blocks.next(&look).pairs.unwrap();
        assert_eq!((told.errors, told.compared, told.disagreed), (nothing, round + 1, 1));
        assert_eq!(blocks.next(&look).pairs, None);
    }
    // One of each: as many labels and errors as comparisons.
    canary.labels.paired.add(1);
    copies.paired.add(1);
    copies.agreed.add(2);
    assert!(blocks.next(&look).pairs.is_some());
}

#[test]
fn failures_that_name_nobody_count_one_by_one_and_once() {
    let look = look(0.1, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    for (of_canary, of_stable) in [(2, 3), (4, 1)] {
        for (tally, n) in [(canary, of_canary), (stable, of_stable)] {
            (0..n).for_each(|_| tally.user_failed(1, None));
            serve(tally, 1, Outcome::Ok);
        }
        assert_eq!(blocks.next(&look).users, Some(UserBlock { canary: of_canary, stable: of_stable }));
    }
    assert!(blocks.users().is_empty());
    serve(canary, 2, Outcome::BackendReset);
    serve(stable, 1, Outcome::Ok);
    blocks.next(&look);
    assert_eq!(blocks.users().len(), 2);
}

#[test]
fn a_window_tells_what_an_endpoint_did_in_it() {
    let look = look(0.5, 0);
    let [canary, stable] = &look.tallies;
    let mut blocks = Blocks::from_now(&look);
    for (window, n) in [(1, 3), (2, 5)] {
        for tally in [canary, stable] {
            tally.threads[0].endpoint(4).completed.add(n);
            tally.threads[0].endpoint(4).errors.add(n - 1);
        }
        let units = blocks.next(&Look { now_ms: window * look.window_ms, ..look.clone() }).endpoints.unwrap();
        for unit in [&units.canary[0], &units.stable[0]] {
            assert_eq!((unit.endpoint, unit.completed, unit.errors), (4, n, n - 1));
        }
    }
}

#[test]
fn blocks_are_of_the_cells_they_read_and_of_no_others() {
    let (these, those) = (look(0.1, 0), look(0.1, 0));
    let blocks = Blocks::from_now(&these);
    let [canary, stable] = these.tallies.clone();
    assert!(blocks.are_of(&these.tallies));
    assert!(!blocks.are_of(&those.tallies) && !blocks.are_of(&[canary, those.tallies[1].clone()]));
    assert!(!blocks.are_of(&[those.tallies[0].clone(), stable]));
}

/// What came about: who, how long, how it ended, what its label said, and whether a look follows.
type Happened = (bool, u64, usize, Option<bool>, bool);

fn judged(events: &[(Happened, usize)], threads: usize) -> (Vec<u64>, Vec<Block>) {
    let look = Look { tallies: [tally("v2", threads), tally("v1", threads)], ..look(0.5, 0) };
    let mut blocks = Blocks::from_now(&look);
    let (mut trial, mut told, mut now_ms) = (Trial::new(&Policy::default()), Vec::new(), 0);
    for ((canary, us, outcome, label, looks), thread) in events {
        let tally = &look.tallies[usize::from(!canary)];
        let cells = &tally.threads[thread % threads];
        let outcome = Outcome::ALL[*outcome];
        cells.assigned.add(1);
        cells.outcome(outcome).add(1);
        if outcome == Outcome::Ok {
            cells.latency.observe_us(*us);
            cells.endpoint(3).latency.observe_us(*us);
        }
        cells.endpoint(3).completed.add(1);
        if let Some(wrong) = label {
            tally.labels.labelled.add(1);
            tally.labels.wrong_micro.add(u64::from(*wrong) * 1_000_000);
        }
        if *looks {
            now_ms += 4_000;
            let block = blocks.next(&Look { now_ms, ..look.clone() });
            trial.observe(&block);
            told.push(block);
        }
    }
    (trial.saved(), told)
}

proptest! {
    /// However the counts are spread over threads, their sum is judged bit for bit alike.
    #[test]
    fn counters_of_many_are_judged_as_those_of_one(
        events in prop::collection::vec(
            ((any::<bool>(), 100..100_000_u64, 0..Outcome::ALL.len(), any::<Option<bool>>(), any::<bool>()), 0..7_usize),
            1..300,
        ),
    ) {
        prop_assert_eq!(judged(&events, 1), judged(&events, 7));
    }
}
