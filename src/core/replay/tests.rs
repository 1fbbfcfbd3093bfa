//! Which events make which block, and what is said of a stream.

use super::*;
use crate::core::judge::{EndpointBlock, ModeChoice, Unit, UserBlock};

fn event(at_ms: f64, canary: bool) -> Event {
    Event::new(at_ms, canary, true, 10.0)
}

fn labelled(at_ms: f64, canary: bool, label_ms: f64, wrong_micro: u32) -> Event {
    Event { label: Some(Label { at_ms: label_ms, wrong_micro }), ..event(at_ms, canary) }
}

/// `(at, canary, stable)` of every block of requests.
fn blocks(events: &mut [Event], setup: &Setup) -> Vec<(f64, u64, u64)> {
    let of = |look: Look| look.block.requests.map(|r| (look.at_ms, r.canary.completed, r.stable.completed));
    Looks::new(events, setup).filter_map(of).collect()
}

#[test]
fn a_block_closes_at_the_first_look_that_has_both() {
    let setup = Setup::default();
    // The second interval has only stable's: it is carried over. An event on the edge belongs to the later interval.
    let mut events = [
        event(1000.0, true),
        event(1500.0, false),
        event(3000.0, false),
        event(4999.9, false),
        event(5000.0, true),
        event(90_000.0, false),
    ];
    assert_eq!(blocks(&mut events, &setup), [(3000.0, 1, 1), (7000.0, 1, 2)]);
    assert_eq!(Looks::new(&mut events, &setup).count(), 4, "looks at which nothing came are left out");
    let last = Looks::new(&mut events, &setup).last().unwrap();
    assert_eq!((last.requests, last.canary, last.at_ms), (6, 2, 91_000.0));
}

#[test]
fn events_are_judged_in_the_order_of_time() {
    let setup = Setup::default();
    let mut events = [event(5000.0, true), event(1500.0, false), event(1000.0, true), event(4000.0, false)];
    assert_eq!(blocks(&mut events, &setup), [(3000.0, 1, 1), (5000.0 + 2000.0, 1, 1)]);
    assert!(replay(&mut [], &setup).at_request == 0, "nothing is no verdict");
    assert_eq!(replay(&mut [], &setup).said, Said::Keep(Reason::NoData));
}

#[test]
fn labels_form_blocks_of_their_own_when_they_come() {
    let mut setup = Setup::default();
    let mut events = [labelled(0.0, true, 9000.0, 1_000_000), labelled(100.0, false, 0.0, 0), event(200.0, true)];
    let labels = |setup: &Setup, events: &mut [Event]| -> Vec<(f64, LabelBlock)> {
        Looks::new(events, setup).filter_map(|look| Some((look.at_ms, look.block.labels?))).collect()
    };
    let both = LabelBlock { canary: 1, stable: 1, canary_wrong_micro: 1_000_000, stable_wrong_micro: 0 };
    assert_eq!(labels(&setup, &mut events), [(10_000.0, both)]);
    // Its label came before the request was served: it counts once it has been. A delay holds it longer.
    setup.policy.accuracy.as_mut().unwrap().label_delay_ms = 20_000;
    assert_eq!(labels(&setup, &mut events), [(22_000.0, both)]);
}

#[test]
fn errors_have_no_latency_and_a_changed_split_is_not_checked() {
    let setup = Setup { share: Some(0.1), ..Setup::default() };
    let failed = Event { ok: false, ..event(10.0, true) };
    let mut events =
        [event(0.0, false), failed, Event { share: Some(0.25), ..event(2500.0, true) }, event(2600.0, false)];
    let looks: Vec<RequestBlock> = Looks::new(&mut events, &setup).filter_map(|look| look.block.requests).collect();
    assert_eq!((looks[0].canary.errors, looks[0].canary.latency.total(), looks[0].stable.latency.total()), (1, 0, 1));
    assert_eq!((looks[0].share, looks[1].share), (Some(0.1), None));
    assert!(looks[0].warming_up, "the default warm-up is a minute");
    let mut late = [event(0.0, false), event(58_000.0, true)];
    let looks: Vec<RequestBlock> = Looks::new(&mut late, &setup).filter_map(|look| look.block.requests).collect();
    assert!(!looks[0].warming_up, "at 60 s it is over");
}

#[test]
fn the_mode_follows_from_the_columns_by_the_rule_that_holds_live() {
    let of = |endpoint, user, canary| Event { endpoint, user, ..event(0.0, canary) };
    let check = |events: &[Event], choice, mode| assert_eq!(chosen(events, choice).mode, mode, "{events:?}");
    let [a, b] = [Some(1), Some(2)];
    let pods = [of(a, None, true), of(b, None, true), of(a, None, false), of(b, None, false)];
    check(&pods, ModeChoice::Auto, Mode::Endpoints);
    check(&pods[..3], ModeChoice::Auto, Mode::Requests);
    check(&pods, ModeChoice::Fixed(Mode::Requests), Mode::Requests);
    check(&pods, ModeChoice::Fixed(Mode::Users), Mode::Endpoints);
    check(&pods[..3], ModeChoice::Fixed(Mode::Endpoints), Mode::Endpoints);
    check(&[of(a, Some(1), true), of(b, None, true)], ModeChoice::Auto, Mode::Users);
    check(&[of(None, None, true)], ModeChoice::Fixed(Mode::Endpoints), Mode::Requests);
    check(&[], ModeChoice::Auto, Mode::Requests);
}

#[test]
fn a_window_ends_at_the_first_look_after_its_time_and_holds_each_request_once() {
    let setup = Setup { interval_ms: 3_000.0, ..Setup::default() };
    let of = |at_ms, canary, endpoint| Event { endpoint: Some(endpoint), ..event(at_ms, canary) };
    let mut events = [
        of(0.0, true, 1),
        of(1.0, false, 1),
        of(2.0, false, 2),
        // The window of ten seconds ends at the fourth look, at 12 s; this is of the one after.
        of(11_999.0, true, 2),
        of(12_000.0, true, 2),
        // Long after nothing came: at 24 s that window has ended, with stable silent; and so have all until here.
        of(100_000.0, true, 1),
        of(100_001.0, false, 1),
        of(200_000.0, true, 1),
    ];
    let windows: Vec<_> = Looks::new(&mut events, &setup)
        .filter_map(|look| {
            let EndpointBlock { canary, stable } = look.block.endpoints?;
            let sum = |units: &[Unit]| units.iter().map(|unit| unit.completed).collect::<Vec<_>>();
            Some((look.at_ms, sum(&canary), sum(&stable)))
        })
        .collect();
    assert_eq!(windows, [(12_000.0, vec![1, 1], vec![1, 1]), (108_000.0, vec![1], vec![1])]);
    let requests: u64 = Looks::new(&mut events, &setup)
        .filter_map(|look| look.block.requests)
        .map(|r| r.canary.completed + r.stable.completed)
        .sum();
    assert_eq!(requests, 7, "the last one has nothing of stable's beside it");
}

#[test]
fn a_user_s_first_failure_counts_once_and_for_stable_if_it_fell_on_both() {
    let setup = Setup { share: Some(0.5), ..Setup::default() };
    let of = |at_ms, canary, user| Event { user, ok: false, ..event(at_ms, canary) };
    let [ann, bob] = [Some(7), Some(9)];
    let mut events = [
        of(0.0, true, ann),
        of(1.0, true, ann),
        of(2.0, false, bob),
        of(3.0, true, bob),
        of(4.0, true, None),
        of(5.0, true, None),
        of(2_500.0, true, ann),
        of(2_501.0, false, None),
    ];
    let users: Vec<_> = Looks::new(&mut events, &setup).filter_map(|look| look.block.users).collect();
    assert_eq!(users, [UserBlock { canary: 3, stable: 1 }, UserBlock { canary: 0, stable: 1 }]);
}

#[test]
fn a_streamed_answer_is_judged_by_its_first_token() {
    let setup = Setup::default();
    let mut events = [Event { first_token: Some(3), ..event(0.0, true) }, event(1.0, false)];
    let look = Looks::new(&mut events, &setup).next().unwrap();
    let RequestBlock { canary, stable, .. } = look.block.requests.unwrap();
    assert_eq!((canary.latency.total(), stable.latency.total(), stable.streams), (0, 1, None));
    assert_eq!(canary.streams.unwrap().first_token.iter().collect::<Vec<_>>(), [(3, 1)]);
}

/// `n` requests, a hundred a second, every tenth the canary's, which fails every `bad`th time.
fn stream(n: u32, bad: u32) -> Vec<Event> {
    let one = |i: u32| {
        let canary = i.is_multiple_of(10);
        let ok = !canary || bad == 0 || !(i / 10).is_multiple_of(bad);
        Event { share: Some(0.1), ok, ..event(f64::from(i) * 10.0, canary) }
    };
    (0..n).map(one).collect()
}

#[test]
fn the_first_verdict_counts_and_says_when_it_fell() {
    let setup = Setup::default();
    let bad = replay(&mut stream(20_000, 5), &setup);
    assert_eq!(bad.said, Said::Rollback(Signal::Errors));
    assert!(bad.at_request < 2_000 && bad.at_canary * 10 == bad.at_request, "{bad:?}");
    assert_eq!(bad.evidence.canary_requests, bad.at_canary);
    let mut policy = setup.policy.clone();
    // One latency for all shows no tail that could be compared: only errors are judged.
    (policy.accuracy, policy.latency) = (None, None);
    let good = replay(&mut stream(60_000, 0), &Setup { policy, ..setup.clone() });
    assert_eq!(good.said, Said::Promote, "{good:?}");
    let labelled = Policy { latency: None, ..setup.policy.clone() };
    let starved = replay(&mut stream(60_000, 0), &Setup { policy: labelled, ..setup.clone() });
    assert_eq!(starved.said, Said::Keep(Reason::LabelStarved));
    assert_eq!((starved.at_request, starved.at_canary), (60_000, 6_000));
    let mut wrong: Vec<Event> = stream(20_000, 0).into_iter().map(|e| Event { share: Some(0.2), ..e }).collect();
    let held = replay(&mut wrong, &setup);
    assert_eq!((held.said, held.said.as_str()), (Said::HoldSrm, "hold_srm"));
    assert!(held.at_request < 5_000, "{held:?}");
}

#[test]
fn a_block_is_timed_from_the_first_event_and_so_is_the_warm_up() {
    let setup = Setup::default();
    let mut events = [event(50_000.0, false), event(52_000.0, true), event(112_500.0, true), event(112_600.0, false)];
    let blocks: Vec<Block> = Looks::new(&mut events, &setup).map(|look| look.block).collect();
    assert_eq!(blocks.iter().map(|block| block.at_ms).collect::<Vec<_>>(), [2_000, 4_000, 64_000]);
    let warm: Vec<bool> = blocks.into_iter().filter_map(|block| Some(!block.requests?.warming_up)).collect();
    assert_eq!(warm, [false, true], "four seconds after the first event it is cold, a minute after it warm");
}

#[test]
fn labels_of_one_variant_wait_for_the_other_ones() {
    let setup = Setup::default();
    for first in [true, false] {
        let mut events = [labelled(0.0, first, 0.0, 0), labelled(5_000.0, !first, 5_000.0, 0)];
        let at: Vec<f64> = Looks::new(&mut events, &setup).filter_map(|l| l.block.labels.map(|_| l.at_ms)).collect();
        assert_eq!(at, [6_000.0], "{first}");
    }
}

/// `(at, requests of the canary's endpoints, of stable's)` of every window of ten seconds, looked at every three.
fn windows(events: &mut [Event]) -> Vec<(f64, u64, u64)> {
    let setup = Setup { interval_ms: 3_000.0, ..Setup::default() };
    let looks = Looks::new(events, &setup);
    assert_eq!(looks.chosen().mode, Mode::Endpoints);
    let sum = |units: &[Unit]| units.iter().map(|unit| unit.completed).sum();
    looks.filter_map(|l| l.block.endpoints.map(|e| (l.at_ms, sum(&e.canary), sum(&e.stable)))).collect()
}

#[test]
fn a_window_lasts_four_looks_however_its_events_lie() {
    let of = |at_ms, canary, endpoint| Event { endpoint: Some(endpoint), ..event(at_ms, canary) };
    // Two endpoints of each variant at the start, so that the recording is judged by endpoints.
    let start = || (0..4).map(|i: u16| of(f64::from(i), i < 2, i % 2)).collect::<Vec<_>>();
    let both = |at_ms: f64| [of(at_ms, true, 0), of(at_ms, false, 0)];
    let mut steady = start();
    steady.extend((1..12).flat_map(|look| both(f64::from(look) * 3_000.0)));
    assert_eq!(windows(&mut steady), [(12_000.0, 5, 5), (24_000.0, 4, 4), (36_000.0, 4, 4)]);
    // What comes at the moment when a window has ended is of the next one, also after silence.
    let mut silence = start();
    silence.extend(both(12_000.0));
    silence.extend(both(23_000.0));
    assert_eq!(windows(&mut silence), [(12_000.0, 2, 2), (24_000.0, 2, 2)]);
    // The last look of a window is its own, also if nothing came before in it.
    let mut late = start();
    late.extend(both(22_000.0));
    assert_eq!(windows(&mut late), [(12_000.0, 2, 2), (24_000.0, 1, 1)]);
}

#[test]
fn an_endpoint_s_failures_are_counted_in_its_window() {
    let setup = Setup { interval_ms: 3_000.0, ..Setup::default() };
    let of = |at_ms, canary, endpoint, ok| Event { endpoint: Some(endpoint), ok, ..event(at_ms, canary) };
    let mut events = [
        of(0.0, true, 0, false),
        of(1.0, true, 0, false),
        of(2.0, true, 1, true),
        of(3.0, false, 0, true),
        of(9_000.0, false, 1, false),
    ];
    let block = Looks::new(&mut events, &setup).find_map(|look| look.block.endpoints).unwrap();
    let of = |units: &[Unit]| {
        units.iter().map(|u| (u.endpoint, u.completed, u.errors, u.latency.total())).collect::<Vec<_>>()
    };
    assert_eq!(of(&block.canary), [(0, 2, 2, 0), (1, 1, 0, 1)]);
    assert_eq!(of(&block.stable), [(0, 1, 0, 1), (1, 1, 1, 0)]);
}
