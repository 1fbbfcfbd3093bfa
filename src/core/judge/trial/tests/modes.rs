//! What one observation is: requests, windows of endpoints, users; whole answers and streams.

use super::*;

/// Two canary endpoints with a tenth of the traffic of stable's four. `pause`: an endpoint now and then fails and is slow, alone.
pub(super) fn window(dice: &mut Dice, pause: f64, errors: f64, slower: i32) -> Block {
    let mut of = |units: u64, n: u64, errors: f64, slower: i32| -> Vec<Unit> {
        (0..units)
            .map(|_| {
                let paused = dice.unit() < pause;
                dice.unit_of(n, if paused { 0.5 } else { errors }, 50 + slower + if paused { 40 } else { 0 })
            })
            .collect()
    };
    let (canary, stable) = (of(2, 30, errors, slower), of(4, 135, 0.002, 0));
    let sum = |units: &[Unit]| {
        let mut arm = Arm::default();
        for unit in units {
            (arm.completed, arm.assigned) = (arm.completed + unit.completed, arm.assigned + unit.completed);
            arm.errors += unit.errors;
            arm.latency.merge(&unit.latency);
        }
        arm
    };
    Block {
        requests: Some(requests(sum(&canary), sum(&stable), 0.1)),
        endpoints: Some(EndpointBlock { canary, stable }),
        ..Block::default()
    }
}

fn endpoints() -> Chosen {
    Chosen::new(ModeChoice::Auto, false, [2, 4])
}

#[test]
fn pods_that_pause_alone_are_no_slow_version_by_windows_and_are_one_by_requests() {
    let policy = only(true, true, false);
    let judged = |chosen: Chosen, seed: u64| {
        let mut dice = Dice(seed);
        let mut trial = Trial::in_mode(&policy, chosen);
        until(&mut trial, 400, |_| window(&mut dice, 0.04, 0.002, 0)).0
    };
    let fails = |chosen| (0..20).filter(|seed| matches!(judged(chosen, 50 + *seed), Verdict::Fail(_))).count();
    assert_eq!(fails(endpoints()), 0);
    assert!(fails(Chosen::default()) >= 10, "what the mode is for");
}

#[test]
fn windows_find_what_is_worse_and_pass_what_is_not() {
    let mut dice = Dice(6);
    let mut trial = Trial::in_mode(&only(true, true, false), endpoints());
    let good = until(&mut trial, 1500, |_| window(&mut dice, 0.0, 0.002, 0));
    assert_eq!(good.0, Verdict::Pass);
    let evidence = trial.evidence();
    assert!(evidence.mode == Mode::Endpoints && evidence.mode_why.contains("several endpoints"));
    assert!(evidence.signals.iter().all(|signal| signal.test == Test::Endpoints));
    assert!(evidence.signals[0].parts[0].canary_n < 2.0 * 1500.0, "units, not requests");
    for (errors, slower, blamed) in [(0.03, 0, Signal::Errors), (0.002, 8, Signal::Latency)] {
        let mut trial = Trial::in_mode(&only(true, true, false), endpoints());
        let bad = until(&mut trial, 400, |_| window(&mut dice, 0.0, errors, slower));
        assert_eq!(bad.0, Verdict::Fail(blamed), "after {} windows", bad.1);
    }
}

/// Four endpoints of each variant with much traffic; so many of the canary's fail a share of it, stable's none.
fn busy(dice: &mut Dice, ill: usize, errors: f64) -> Block {
    let mut of = |ill: usize| -> Vec<Unit> {
        (0..4).map(|at| dice.unit_of(2_000, if at < ill { errors } else { 0.0 }, 50)).collect()
    };
    let (mut canary, stable) = (of(ill), of(0));
    (0..).zip(&mut canary).for_each(|(at, unit)| unit.endpoint = at);
    let arm = |units: &[Unit]| Arm {
        completed: 8_000,
        assigned: 8_000,
        errors: units.iter().map(|unit| unit.errors).sum(),
        ..Arm::default()
    };
    Block {
        requests: Some(requests(arm(&canary), arm(&stable), 0.5)),
        endpoints: Some(EndpointBlock { canary, stable }),
        ..Block::default()
    }
}

#[test]
fn much_traffic_does_not_make_windows_blind() {
    let mut dice = Dice(18);
    // By its margin alone a canary may fail once in such a unit: that one failure must not be all that a unit can show.
    let mut trial = Trial::in_mode(&only(true, false, false), endpoints());
    let bad = until(&mut trial, 12, |_| busy(&mut dice, 4, 0.01));
    assert_eq!(bad.0, Verdict::Fail(Signal::Errors));
    // One endpoint of four that always fails is no bad version to windows; nor does it pass.
    let mut trial = Trial::in_mode(&only(true, false, false), endpoints());
    let one = until(&mut trial, 300, |_| busy(&mut dice, 1, 1.0));
    assert_eq!(one.0, Verdict::Undecided(Reason::Endpoint));
    let evidence = trial.evidence();
    assert!(evidence.signals[0].log_e_promote < 0.0);
    // But it is told which one it is, and since when: soon.
    let [told] = &evidence.endpoints[..] else { panic!("{:?}", evidence.endpoints) };
    assert!((told.endpoint, told.signal) == (0, Signal::Errors) && told.value > 0.99 && told.others < 0.01, "{told:?}");
    let guard = evidence.guards.iter().find(|guard| guard.guard == Guard::Endpoints).unwrap();
    assert!(guard.state == GuardState::Holds && guard.value >= guard.limit, "{guard:?}");
    let mut trial = Trial::in_mode(&only(true, false, false), endpoints());
    let soon = (1..40).find(|_| trial.observe(&busy(&mut dice, 1, 1.0)) == Verdict::Undecided(Reason::Endpoint));
    assert!(soon.is_some_and(|windows| windows <= 10), "{soon:?}");
    // Well again, it is forgotten, and the canary passes in the end.
    let well = until(&mut trial, 3_000, |_| busy(&mut dice, 0, 0.0));
    assert_eq!(well.0, Verdict::Pass);
    assert!(trial.evidence().endpoints.is_empty());
}

#[test]
fn endpoints_with_moods_are_named_by_nobody() {
    let policy = only(true, true, false);
    for seed in 0..20 {
        let mut dice = Dice(300 + seed);
        let mut trial = Trial::in_mode(&policy, endpoints());
        for _ in 0..400 {
            let mut block = window(&mut dice, 0.04, 0.002, 0);
            for (at, unit) in (0..).zip(&mut block.endpoints.as_mut().unwrap().canary) {
                unit.endpoint = at;
            }
            trial.observe(&block);
            assert!(trial.evidence().endpoints.is_empty(), "{seed}: {:?}", trial.evidence().endpoints);
        }
    }
}

/// Eight endpoints of each variant, each with 200 requests; the last of the canary's is slower by so many buckets.
fn eight(dice: &mut Dice, slower: i32) -> EndpointBlock {
    let mut of = |slower: i32| -> Vec<Unit> {
        (0..8).map(|at| dice.unit_of(200, 0.0, if at == 7 { 50 + slower } else { 50 })).collect()
    };
    let mut canary = of(slower);
    (0..).zip(&mut canary).for_each(|(at, unit)| unit.endpoint = at);
    EndpointBlock { canary, stable: of(0) }
}

#[test]
fn one_slow_endpoint_of_eight_is_no_pass_though_its_windows_are_outweighed() {
    let arm = |units: &[Unit]| {
        let mut arm = Arm { completed: 1_600, assigned: 1_600, ..Arm::default() };
        units.iter().for_each(|unit| arm.latency.merge(&unit.latency));
        arm
    };
    for (slower, passes) in [(0, true), (16, false)] {
        let mut dice = Dice(19);
        // Its windows may blame it, in time; here they may not.
        let policy = Policy { alpha: if passes { 0.01 } else { 1e-300 }, ..only(false, true, false) };
        let mut trial = Trial::in_mode(&policy, endpoints());
        let mut windows_only = [(0.5, 4), (0.9, 4), (0.99, 6)].map(|(q, shift)| LatencyPromote::new(q, shift));
        let mut reference = Reference::default();
        let said = until(&mut trial, 400, |number| {
            let units = eight(&mut dice, slower);
            let of = |units: &[Unit]| units.iter().map(|unit| unit.latency.clone()).collect::<Vec<_>>();
            let (canary, stable) = (of(&units.canary), of(&units.stable));
            let (canary, stable) = (canary.iter().collect::<Vec<_>>(), stable.iter().collect::<Vec<_>>());
            if number > 2 {
                let (window, past) = (Window::new(&canary, &stable).unwrap(), reference.distribution());
                windows_only.iter_mut().for_each(|test| test.update_window(&window, &reference, &past));
            }
            stable.iter().for_each(|latency| reference.learn(latency));
            let requests = requests(arm(&units.canary), arm(&units.stable), 0.5);
            Block { requests: Some(requests), endpoints: Some(units), ..Block::default() }
        });
        assert_eq!(said.0 == Verdict::Pass, passes, "{slower}: {said:?}");
        let by_windows = windows_only.iter().map(LatencyPromote::log_e).fold(f64::INFINITY, f64::min);
        assert!(by_windows > 3.0, "{slower}: windows alone would have passed it, but say {by_windows}");
        let told = trial.evidence().signals.remove(0);
        assert_eq!(told.log_e_promote >= told.log_e_promote_at, passes, "{slower}");
        let named: Vec<u16> = trial.evidence().endpoints.iter().map(|of| of.endpoint).collect();
        assert_eq!(
            (said.0 == Verdict::Undecided(Reason::Endpoint), named),
            (!passes, if passes { vec![] } else { vec![7] })
        );
    }
}

/// A block of 200 requests of users who keep their variant; one of the canary's, with many requests, always fails.
fn of_users(dice: &mut Dice, number: usize, canary_fails: f64) -> Block {
    let heavy = dice.of(4, 0.9);
    let (mut canary, stable) = (dice.arm(16, canary_fails, 50), dice.arm(180, 0.002, 50));
    let users = UserBlock { canary: canary.errors + u64::from(number == 1), stable: stable.errors };
    (canary.completed, canary.assigned, canary.errors) = (16 + heavy, 16 + heavy, canary.errors + heavy);
    Block { users: Some(users), requests: Some(requests(canary, stable, 0.1)), ..Block::default() }
}

#[test]
fn one_user_in_trouble_is_one_observation() {
    let users = Chosen::new(ModeChoice::Auto, true, [1, 1]);
    let policy = only(true, false, false);
    let mut dice = Dice(7);
    let mut trial = Trial::in_mode(&policy, users);
    let one = until(&mut trial, 300, |number| of_users(&mut dice, number, 0.002));
    assert!(matches!(one.0, Verdict::Undecided(_)), "{one:?}");
    assert_eq!(trial.evidence().signals[0].test, Test::Users);
    let by_requests = until(&mut Trial::new(&policy), 300, |number| of_users(&mut dice, number, 0.002));
    assert_eq!(by_requests.0, Verdict::Fail(Signal::Errors), "what the mode is for");
    let many = until(&mut Trial::in_mode(&policy, users), 300, |number| of_users(&mut dice, number, 0.05));
    assert_eq!(many.0, Verdict::Fail(Signal::Errors));
    // While the weight changes, nobody knows with which share users were drawn.
    let mut trial = Trial::in_mode(&policy, users);
    let changed = |block: Block| {
        let requests = block.requests.map(|requests| RequestBlock { share: None, ..requests });
        Block { requests, ..block }
    };
    let said = until(&mut trial, 300, |number| changed(of_users(&mut dice, number, 0.05)));
    assert!(matches!(said.0, Verdict::Undecided(_)), "{said:?}");
    assert!(trial.evidence().signals[0].log_e_rollback.abs() < 1e-9);
}

#[test]
fn users_who_have_all_failed_already_are_no_pass() {
    let users = Chosen::new(ModeChoice::Auto, true, [1, 1]);
    let mut trial = Trial::in_mode(&Policy { alpha: 1e-300, ..only(true, false, false) }, users);
    let mut dice = Dice(8);
    let said = until(&mut trial, 1000, |number| {
        let mut block = of_users(&mut dice, 2, 0.03);
        if number > 5 {
            block.users = Some(UserBlock { canary: 0, stable: 1 });
        }
        block
    });
    assert!(matches!(said.0, Verdict::Undecided(_)), "{said:?}");
}

/// A block in which so many answers are whole and so many are streams.
pub(super) fn streamed(dice: &mut Dice, whole: u64, streams: u64, slower: i32) -> Block {
    let mut of = |times: u64, slower: i32| {
        let mut arm = dice.arm(whole * times, 0.0, 50);
        arm.completed += streams * times;
        arm.assigned = arm.completed;
        if streams > 0 {
            let first_token = dice.latency(streams * times, 100 + slower);
            arm.streams = Some(Box::new(Streams { first_token, token_gap: dice.latency(streams * times, 80) }));
        }
        arm
    };
    let (canary, stable) = (of(1, slower), of(9, 0));
    Block { requests: Some(requests(canary, stable, 0.1)), ..Block::default() }
}

#[test]
fn parts_of_latency_are_what_was_there_while_the_canary_warmed_up() {
    let check = |whole, streams, wanted: &[(Part, f64)]| {
        let mut dice = Dice(9);
        let mut trial = Trial::new(&only(false, true, false));
        for _ in 0..13 {
            trial.observe(&streamed(&mut dice, whole, streams, 0));
        }
        assert!(trial.evidence().signals[0].parts.is_empty(), "not yet fixed");
        for _ in 0..8 {
            // What comes now changes nothing any more.
            trial.observe(&streamed(&mut dice, 10, 10, 0));
        }
        let parts = trial.evidence().signals.remove(0).parts;
        let ranks: Vec<_> = parts
            .iter()
            .filter(|part| {
                matches!(
                    part.part,
                    Part::Answer(Quantile::Ranks) | Part::FirstToken(Quantile::Ranks) | Part::TokenGap(Quantile::Ranks)
                )
            })
            .map(|part| (part.part, part.weight.unwrap() / 0.4))
            .collect();
        assert_eq!(ranks.len(), wanted.len(), "{ranks:?}");
        for ((part, weight), (wanted, share)) in ranks.iter().zip(wanted) {
            assert!(part == wanted && (weight - share).abs() < 1e-12, "{ranks:?}");
        }
        let sum: f64 = parts.iter().filter_map(|part| part.weight).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    };
    let [answer, first, gap] = [Part::Answer, Part::FirstToken, Part::TokenGap].map(|part| part(Quantile::Ranks));
    check(16, 0, &[(answer, 1.0)]);
    check(0, 16, &[(first, 0.5), (gap, 0.5)]);
    check(8, 8, &[(answer, 0.5), (first, 0.25), (gap, 0.25)]);
}

#[test]
fn a_late_first_token_is_found_though_the_answers_take_as_long() {
    let mut dice = Dice(10);
    let mut trial = Trial::new(&only(false, true, false));
    let bad = until(&mut trial, 400, |_| streamed(&mut dice, 10, 10, 6));
    assert_eq!(bad.0, Verdict::Fail(Signal::Latency));
    let signal = trial.evidence().signals.remove(0);
    let worst = signal
        .parts
        .iter()
        .max_by(|a, b| a.log_e_rollback.unwrap_or(-9.0).total_cmp(&b.log_e_rollback.unwrap_or(-9.0)));
    assert!(matches!(worst.unwrap().part, Part::FirstToken(_)), "{worst:?}");
}
