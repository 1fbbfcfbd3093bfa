//! Cells counted into and read out.

use super::*;

fn tally(threads: usize) -> VariantTally {
    let (route, variant) = (RouteName::new("chat").unwrap(), VariantName::new("v2").unwrap());
    VariantTally::new(&route, &variant, &Artefact::new("a"), threads)
}

#[test]
fn what_is_not_streamed_costs_no_histogram() {
    let tally = tally(2);
    tally.threads[0].tokens.add(3);
    tally.threads[1].finish(Finish::Length).add(1);
    assert!(tally.threads.iter().all(|cells| cells.first_token.made().is_none() && cells.token_gap.made().is_none()));
    assert_eq!(tally.read().first_token, Timed::default());
    assert!(tally.read_endpoints().is_empty());
}

#[test]
fn a_reading_is_the_sum_over_the_threads() {
    let tally = tally(2);
    for (cells, n) in tally.threads.iter().zip([1, 10]) {
        cells.first_token.observe_us(2_000 * n);
        cells.token_gap.observe_us(1_000);
        cells.tokens.add(n);
        cells.finish(Finish::Stop).add(n);
        cells.finish(Finish::None).add(1);
        cells.empty_answers.add(n);
        cells.outcome(Outcome::BackendEmpty).add(n);
        cells.outcome(Outcome::Ok).add(1);
        cells.shadow.sent.add(5 * n);
        cells.shadow.dropped.add(4 * n);
        cells.shadow.failed.add(3 * n);
        cells.shadow.agreed.add(2 * n);
        cells.shadow.disagreed.add(n);
    }
    let seen = tally.read();
    assert_eq!((seen.first_token.counts.total(), seen.first_token.sum_us), (2, 22_000));
    assert_eq!((seen.token_gap.counts.total(), seen.token_gap.sum_us), (2, 2_000));
    assert_eq!((seen.tokens, seen.empty_answers, seen.finishes), (11, 11, [11, 0, 0, 0, 0, 2]));
    assert_eq!((seen.errors(), seen.completed()), (11, 13));
    let shadow = [("sent", 55), ("dropped", 44), ("failed", 33), ("agreed", 22), ("disagreed", 11)];
    assert_eq!(seen.shadow.labelled(), shadow);
}

#[test]
fn endpoints_are_counted_apart_and_the_last_place_takes_the_rest() {
    let tally = tally(2);
    tally.threads[0].endpoint(7).completed.add(2);
    tally.threads[1].endpoint(7).completed.add(3);
    tally.threads[1].endpoint(7).latency.observe_us(4_000);
    tally.threads[1].endpoint(0).errors.add(1);
    for slot in [63, 64, 255] {
        tally.threads[0].endpoint(slot).completed.add(1);
    }
    let seen = tally.read_endpoints();
    assert_eq!(
        seen.iter().map(|(slot, one)| (*slot, one.completed, one.errors)).collect::<Vec<_>>(),
        [(0, 0, 1), (7, 5, 0), (63, 3, 0)]
    );
    assert_eq!((seen[1].1.latency.counts.total(), seen[1].1.latency.sum_us), (1, 4_000));
}
