//! Cells counted into and read out.

use super::*;

mod board;

fn tally(threads: usize) -> VariantTally {
    let (route, variant) = (RouteName::new("chat").unwrap(), VariantName::new("v2").unwrap());
    VariantTally::new(&route, &variant, &Artefact::new("a"), threads)
}

#[test]
fn what_is_not_streamed_costs_no_histogram() {
    let tally = tally(2);
    tally.threads[0].tokens.add(3);
    tally.threads[1].finish(Finish::Length).add(1);
    assert!(
        tally
            .threads
            .iter()
            .all(|cells| cells.streams.first_token.made().is_none() && cells.token_gap.made().is_none())
    );
    assert_eq!(tally.read().first_token, Timed::default());
    assert!(tally.read_endpoints().is_empty());
}

#[test]
fn a_reading_is_the_sum_over_the_threads() {
    let tally = tally(2);
    for (cells, n) in tally.threads.iter().zip([1, 10]) {
        cells.streams.first_token.observe_us(2_000 * n);
        cells.streams.mean_gap.observe_us(1_500);
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
        cells.shadow.paired.add(8 * n);
        cells.shadow.worse.add(7 * n);
        cells.shadow.better.add(6 * n);
        cells.shadow.agreed.add(2 * n);
        cells.shadow.disagreed.add(n);
        cells.assigned.add(12 * n);
        cells.pinned.add(13 * n);
        cells.saved_by_fallback.add(14 * n);
        cells.fallbacks_served.add(15 * n);
        cells.bytes_in.add(16 * n);
        cells.bytes_out.add(17 * n);
        cells.begun.add(19 * n);
        cells.ended.add(n);
        cells.status_classes[4].add(n);
    }
    tally.labels.labelled.add(5);
    tally.labels.wrong_micro.add(2_500_000);
    let seen = tally.read();
    assert_eq!((seen.assigned, seen.pinned, seen.in_flight), (132, 143, 198));
    assert_eq!((seen.saved_by_fallback, seen.fallbacks_served), (154, 165));
    assert_eq!((seen.bytes_in, seen.bytes_out, seen.status_classes), (176, 187, [0, 0, 0, 0, 11]));
    assert_eq!((seen.labelled, seen.wrong_micro), (5, 2_500_000));
    assert_eq!((seen.first_token.counts.total(), seen.first_token.sum_us), (2, 22_000));
    assert_eq!((seen.mean_gap.counts.total(), seen.mean_gap.sum_us), (2, 3_000));
    assert_eq!((seen.token_gap.counts.total(), seen.token_gap.sum_us), (2, 2_000));
    assert_eq!((seen.tokens, seen.empty_answers, seen.finishes), (11, 11, [11, 0, 0, 0, 0, 2]));
    assert_eq!((seen.errors(), seen.completed()), (11, 13));
    let shadow = [
        ("sent", 55),
        ("dropped", 44),
        ("failed", 33),
        ("paired", 88),
        ("worse", 77),
        ("better", 66),
        ("agreed", 22),
        ("disagreed", 11),
    ];
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

#[test]
fn a_time_is_counted_in_the_bucket_of_its_milliseconds() {
    let tally = tally(1);
    for us in [1_000, 1_001, 4_000] {
        tally.threads[0].latency.observe_us(us);
    }
    tally.threads[0].shadow.ratio.observe_ms(2.0);
    let seen = tally.read();
    assert_eq!(seen.latency.iter().collect::<Vec<_>>(), [(0, 1), (1, 1), (32, 1)]);
    assert_eq!(seen.latency_sum_us, 6_001);
    assert_eq!(seen.shadow_ratio.iter().collect::<Vec<_>>(), [(16, 1)]);
}

#[test]
fn a_user_who_fails_twice_has_failed() {
    let tally = tally(1);
    for _ in 0..2 {
        tally.user_failed(0, Some(7));
    }
    let users = tally.failed_users();
    assert!(users.len() == 1 && !users.is_empty());
}

#[test]
fn a_user_taken_in_is_new_once() {
    let mut users = FailedUsers::default();
    // Two of one word, and the first again.
    assert_eq!([3, 5, 3].map(|user| users.insert(user)), [true, true, false]);
    assert_eq!((users.len(), users.saved()[0]), (2, 0b101_000));
}

#[test]
fn a_user_who_fails_again_or_on_another_thread_is_the_same_one() {
    let tally = tally(2);
    let user = |n: u64| Some(n << 40 | n);
    for (thread, who) in [(0, user(1)), (0, user(1)), (1, user(1)), (1, user(2)), (0, None), (1, None)] {
        tally.user_failed(thread, who);
    }
    let users = tally.failed_users();
    assert_eq!((users.len(), users.unnamed), (2, 2));
    let mut seen = FailedUsers::default();
    assert_eq!((seen.meet(&users), seen.meet(&users)), (2, 0));
    tally.user_failed(0, user(3));
    assert_eq!(seen.meet(&tally.failed_users()), 1);
    let saved: Vec<(usize, u64)> = seen.saved().iter().copied().enumerate().filter(|(_, word)| *word > 0).collect();
    assert_eq!((saved.len(), FailedUsers::restored(&saved)), (1, seen));
    assert!(FailedUsers::restored(&[(USER_BITS, 1)]).is_empty(), "past the end");
}

#[test]
fn another_attempt_begins_with_nobody_failed() {
    let tally = tally(2);
    tally.user_failed(0, Some(7));
    tally.user_failed(1, Some(8));
    tally.forget_users();
    assert!(tally.failed_users().is_empty(), "the threads have not written since");
    tally.user_failed(1, Some(7));
    assert_eq!(tally.failed_users().len(), 1);
}

#[test]
fn the_place_of_a_user_says_nothing_about_their_variant() {
    // Users drawn for a canary at 10 %: their places spread over all of the memory as anybody's do.
    let route = RouteName::new("chat").unwrap();
    let release = crate::core::name::ReleaseKey(7);
    let (mut all, mut canary) = ([0.0_f64; 16], [0.0_f64; 16]);
    for user in 0..40_000_u32 {
        let bits = crate::core::split::sticky_bits(&route, release, &user.to_le_bytes());
        let part = usize::try_from(bits % USER_BITS as u64).unwrap() / (USER_BITS / 16);
        all[part] += 1.0;
        if crate::core::split::Draw::from_bits(bits).value() < 1_000 {
            canary[part] += 1.0;
        }
    }
    let chi2: f64 = all.iter().zip(&canary).map(|(all, seen)| (seen - all / 10.0).powi(2) / (all / 10.0)).sum();
    assert!(chi2 < 37.7, "chi squared of 15 degrees at 0.1 %: {chi2}");
}
