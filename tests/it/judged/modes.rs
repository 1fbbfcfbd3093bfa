//! What one observation is, in made-up worlds: endpoints that pause alone, users who come again, copies of requests.
//!
//! Of `docs/judge.md` they check: "judging by endpoint and window helps" (pods with moods take no canary back, all pods worse does);
//! "a user's first failure is one observation" (few who ask much and are in trouble take no canary back, failures of many do);
//! "pairs need about half of the labels" (when it passes, when it fails), and for all of them that no more canaries as good as
//! stable are taken back than `alpha` says. Requests judged one by one are shown beside: what the mode is for.

use super::{Run, Signal, World, count, follow, limits, many, only, policy, quantile, runs};
use crate::streams::Dice;
use coalmine::core::{
    judge::{Arm, Block, Chosen, Mode, PairBlock, Pairs, Policy, RequestBlock, UserBlock, trial::Trial},
    stats::histogram::{Histogram, bucket_of_ms},
};

/// Runs of each world in `make test`.
const SAFE_RUNS: u64 = 100;
pub(super) const HARM_RUNS: u64 = 24;
const MILLION: u64 = 1_000_000;

pub(super) fn sure(mode: Mode) -> Chosen {
    Chosen { mode, said: true }
}

/// Runs of one world, judged by the mode it is about and, for what that is worth, by requests.
pub(super) struct Seen {
    pub(super) by_mode: Vec<Run>,
    pub(super) by_requests: Vec<Run>,
}

pub(super) fn seen<W: Copy + Sync, B: Iterator<Item = Block>>(
    (n, number): (u64, u64),
    (mode, policy): (Mode, &Policy),
    world: W,
    blocks: impl Fn(W, Dice) -> B + Sync,
) -> Seen {
    let of = |mode: Mode| {
        many(n, |seed| {
            let dice = Dice::new(number * 1_000_000 + seed);
            follow(Trial::in_mode(policy, sure(mode)), policy, blocks(world, dice))
        })
    };
    let by_requests = if mode == Mode::Requests { Vec::new() } else { of(Mode::Requests) };
    Seen { by_mode: of(mode), by_requests }
}

/// Of runs with a canary as good as stable: no more may be taken back than is said; all of them go into `all`.
pub(super) fn safe(name: &str, seen: Seen, all: &mut Vec<Run>) {
    let n = seen.by_mode.len() as u64;
    let fails = |runs: &[Run], alpha: f64| count(runs, |run| run.fails_at(alpha));
    let [one, five, twenty] = [0.01, 0.05, 0.2].map(|alpha| fails(&seen.by_mode, alpha));
    let by_requests = fails(&seen.by_requests, 0.01);
    println!("{name:44} {one:>6} {five:>6} {twenty:>6} {by_requests:>12}");
    for (alpha, failed) in [(0.01, one), (0.05, five), (0.2, twenty)] {
        assert!(limits::lower(failed, n) <= alpha, "{name}: {failed} of {n} at {alpha}");
    }
    all.extend(seen.by_mode);
}

pub(super) fn heading(n: u64) {
    println!("taken back though as good as stable, of {n} streams each; and by requests one by one");
    println!("{:44} {:>6} {:>6} {:>6} {:>12}", "world", "at 1 %", "at 5 %", "20 %", "1 %, requests");
}

pub(super) fn together(all: &[Run]) {
    let total = all.len() as u64;
    for alpha in [0.01, 0.05, 0.2] {
        let failed = count(all, |run| run.fails_at(alpha));
        let limit = limits::upper(failed, total);
        println!("all: {failed} of {total} at {alpha}, so with 95 % confidence at most {:.2} %", limit * 100.0);
        assert!(limits::lower(failed, total) <= alpha, "{failed} of {total} at {alpha}");
    }
}

/// All of the runs must have found it, half of them in time.
pub(super) fn found(name: &str, seen: &[Run], signal: Signal, goal: u64, took: impl Fn(&Run) -> u64) {
    let n = seen.len() as u64;
    let found = count(seen, |run| run.failed == Some(signal) && !run.passed);
    let at = |q| quantile(seen.iter().map(&took), q);
    println!("{name:44} {found:>7} {:>8} {:>8} {goal:>8}", at(0.5), at(0.9));
    assert!(found == n, "{name}: {found} of {n} were found");
    let longer = count(seen, |run| took(run) > goal);
    assert!(limits::lower(longer, n) <= 0.5, "{name}: {longer} of {n} took longer than {goal}");
}

/// Users who keep their variant and come again; 100 requests a second, looked at every two seconds.
#[derive(Clone, Copy)]
struct Users {
    users: usize,
    share: f64,
    blocks: u64,
    errors: (f64, f64),
    /// Of all users: half of what they ask fails, whoever answers.
    troubled: f64,
}

impl Default for Users {
    fn default() -> Self {
        Self { users: 1_000, share: 0.2, blocks: 300, errors: (0.0005, 0.0005), troubled: 0.01 }
    }
}

#[derive(Clone)]
struct User {
    /// Up to where draws of a request fall on them.
    upto: f64,
    canary: bool,
    troubled: bool,
    failed: bool,
}

fn first_failures(world: Users, mut dice: Dice) -> impl Iterator<Item = Block> {
    let mut upto = 0.0;
    let mut users: Vec<_> = (0..world.users)
        .map(|_| {
            // Some ask a hundred times as often as others.
            upto += (1.0 - dice.draw()).powf(-1.0 / 1.2).min(200.0);
            User { upto, canary: dice.chance(world.share), troubled: dice.chance(world.troubled), failed: false }
        })
        .collect();
    (0..world.blocks).map(move |_| {
        let (mut arms, mut first) = ([Arm::default(), Arm::default()], UserBlock::default());
        for _ in 0..200 {
            let draw = dice.draw() * upto;
            let at = users.partition_point(|user| user.upto <= draw).min(world.users - 1);
            let user = &mut users[at];
            let arm = &mut arms[usize::from(!user.canary)];
            arm.completed += 1;
            arm.assigned += 1;
            let rate = if user.canary { world.errors.1 } else { world.errors.0 };
            if dice.chance(if user.troubled { 0.5 } else { rate }) {
                arm.errors += 1;
                let firsts = if user.canary { &mut first.canary } else { &mut first.stable };
                *firsts += u64::from(!std::mem::replace(&mut user.failed, true));
            }
        }
        let [canary, stable] = arms;
        let requests = RequestBlock { canary, stable, share: Some(world.share), warming_up: false };
        Block { requests: Some(requests), users: Some(first), ..Block::default() }
    })
}

#[test]
fn users_in_trouble_take_no_canary_back_and_failures_of_many_users_do() {
    let policy = only(Signal::Errors);
    let n = runs(SAFE_RUNS);
    heading(n);
    let base = Users::default;
    let worlds = [
        ("users: nobody is in trouble", Users { troubled: 0.0, ..base() }),
        ("one user of a hundred is in trouble", base()),
        ("one of twenty, few users", Users { users: 200, troubled: 0.05, ..base() }),
        ("one of a hundred, half of them the canary's", Users { share: 0.5, ..base() }),
    ];
    let (mut all, mut fooled) = (Vec::new(), 0);
    for (number, (name, world)) in (130..).zip(worlds) {
        let seen = seen((n, number), (Mode::Users, &policy), world, first_failures);
        fooled += count(&seen.by_requests, |run| run.fails_at(0.01));
        safe(name, seen, &mut all);
    }
    together(&all);
    assert!(fooled > n / 2, "users in trouble fooled requests in {fooled} streams only");

    let n = runs(HARM_RUNS);
    println!("found by users, of {n} streams each, and canary requests until then");
    println!("{:44} {:>7} {:>8} {:>8} {:>8}", "harm", "found", "median", "9 of 10", "goal");
    let harms = [
        ("errors 0.05 % -> 5 %", 200, Users { errors: (0.0005, 0.05), ..base() }),
        ("errors 0.05 % -> 1 %", 1_500, Users { errors: (0.0005, 0.01), ..base() }),
    ];
    for (number, (name, goal, world)) in (140..).zip(harms) {
        let seen = seen((n, number), (Mode::Users, &policy), world, first_failures).by_mode;
        found(name, &seen, Signal::Errors, goal, |run| run.at_canary);
    }
}

/// Copies of what stable answers, 20 a block, half of them labelled; the canary has no weight.
#[derive(Clone, Copy)]
struct Copies {
    blocks: u64,
    /// Wrong answers of stable and canary, and the share of requests on which only one is wrong where both are as good.
    wrong: (f64, f64),
    apart: f64,
    errors: (f64, f64),
    slower: f64,
    /// Now and then both fail and are slow for some blocks.
    bursts: bool,
}

impl Default for Copies {
    fn default() -> Self {
        Self { blocks: 400, wrong: (0.05, 0.05), apart: 0.03, errors: (0.001, 0.001), slower: 1.0, bursts: false }
    }
}

/// Which of the two is the worse one.
fn worse(pairs: &mut Pairs, canary: bool, stable: bool) {
    pairs.n += 1;
    pairs.canary_worse_micro += MILLION * u64::from(canary && !stable);
    pairs.stable_worse_micro += MILLION * u64::from(stable && !canary);
}

fn copies(world: Copies, mut dice: Dice) -> impl Iterator<Item = Block> {
    let of = World::default();
    let slower = World { slower: (world.slower, 1.0), ..World::default() };
    let mut burst = 0;
    (0..world.blocks).map(move |_| {
        burst = if world.bursts && dice.chance(0.02) { 3 } else { u32::saturating_sub(burst, 1) };
        let ill = if burst > 0 { 0.2 } else { 0.0 };
        let (mut labels, mut errors, mut latency) = (Pairs::default(), Pairs::default(), Histogram::default());
        for _ in 0..20 {
            let hit = dice.chance(ill);
            let failed = [world.errors.1, world.errors.0].map(|rate| hit && dice.chance(0.5) || dice.chance(rate));
            worse(&mut errors, failed[0], failed[1]);
            if failed == [false, false] {
                // What the request itself costs, it costs both.
                let cost = 1.0 + 4.0 * dice.draw();
                let [canary, stable] = [&slower, &of].map(|world| cost * 20.0 + world.latency(&mut dice, true));
                latency.add(bucket_of_ms(canary / stable), 1);
                if dice.chance(0.5) {
                    let (stable, canary) = world.wrong;
                    let draw = dice.draw();
                    let only_canary = world.apart / 2.0 + canary - stable;
                    worse(
                        &mut labels,
                        draw < only_canary,
                        (only_canary..only_canary + world.apart / 2.0).contains(&draw),
                    );
                }
            }
        }
        let pairs = PairBlock { labels, errors, latency, compared: 0, disagreed: 0 };
        Block { pairs: Some(pairs), ..Block::default() }
    })
}

#[test]
fn copies_take_no_good_canary_back_and_tell_a_bad_one_with_few_labels() {
    let whole = policy();
    let n = runs(SAFE_RUNS);
    heading(n);
    let base = Copies::default;
    let worlds = [
        ("copies: as good", base()),
        ("copies: often apart, as good", Copies { wrong: (0.2, 0.2), apart: 0.2, ..base() }),
        ("copies: both have bursts", Copies { bursts: true, errors: (0.02, 0.02), ..base() }),
    ];
    let mut all = Vec::new();
    for (number, (name, world)) in (150..).zip(worlds) {
        safe(name, seen((n, number), (Mode::Requests, &whole), world, copies), &mut all);
    }
    together(&all);

    let n = runs(HARM_RUNS);
    println!("found by copies, of {n} streams each, and pairs with a label until then (errors, latency: copies)");
    println!("{:44} {:>7} {:>8} {:>8} {:>8}", "harm", "found", "median", "9 of 10", "goal");
    let of =
        |number, policy: &Policy, world: Copies| seen((n, number), (Mode::Requests, policy), world, copies).by_mode;
    let labels = only(Signal::Accuracy);
    let wrong = of(160, &labels, Copies { wrong: (0.05, 0.1), ..base() });
    found("wrong answers 5 % -> 10 %", &wrong, Signal::Accuracy, 400, |run| run.at_labels);
    let wrong = of(161, &whole, Copies { wrong: (0.05, 0.2), ..base() });
    found("wrong answers 5 % -> 20 %", &wrong, Signal::Accuracy, 180, |run| run.at_labels);
    let slow = of(162, &whole, Copies { slower: 1.5, ..base() });
    found("all 1.5 times as slow", &slow, Signal::Latency, 300, |run| 2 * run.at_labels);
    let failing = of(163, &whole, Copies { errors: (0.001, 0.05), ..base() });
    found("errors 0.1 % -> 5 %", &failing, Signal::Errors, 400, |run| 2 * run.at_labels);

    let equal = of(164, &Policy { alpha: 1e-9, ..labels.clone() }, base());
    let passed = count(&equal, |run| run.passed);
    let median = quantile(equal.iter().map(|run| run.at_labels), 0.5);
    println!("an equal canary: {passed} of {n} passed by labels of pairs, half of them by {median} labels; goal 546");
    let longer = count(&equal, |run| !run.passed || run.at_labels > 546);
    assert!(limits::lower(longer, n) <= 0.5, "{longer} of {n} took longer than 546 labels");
    let n = runs(SAFE_RUNS);
    let margin = Copies { wrong: (0.05, 0.07), ..base() };
    let at = many(n, |seed| follow(Trial::new(&labels), &labels, copies(margin, Dice::new(165_000_000 + seed))));
    let wrong = count(&at, |run| run.passed);
    println!("a canary at the margin: {wrong} of {n} passed");
    assert!(limits::lower(wrong, n) <= 0.05, "{wrong} of {n} passed at the margin");
}
