//! What may happen, drawn at random: verdicts, people, deliveries late and again, Git that fails, restarts at any point.

use super::{
    docs::{Docs, Line, digits},
    table::REASONS,
    world::{Broken, Made, Rule},
};
use coalmine::core::{
    command::{Command, Order, Wish},
    judge::{Reason, Signal, Verdict},
    name::{Generation, VariantName},
    split::Weight,
    variant::Role,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{collections::BTreeSet, thread, time::Instant};

/// Worlds in one run of the test.
const WORLDS: u64 = 100_000;
/// Events in each.
const EVENTS: u32 = 36;
/// In one of so many nobody has told the replicas of a branch.
const WITHOUT_GIT: u64 = 16;

/// What a run came upon: a check that it does not miss the point.
#[derive(Default)]
struct Met {
    seen: BTreeSet<(&'static str, &'static str)>,
    holds: BTreeSet<&'static str>,
    rollbacks: u64,
    readmitted: u64,
    promoted: u64,
    alerts: BTreeSet<&'static str>,
}

fn weight(per_cent: u16) -> Weight {
    Weight::new(per_cent * 100).unwrap()
}

pub(super) fn order(command: Command) -> Order {
    Order { command, by: "ann".into(), reason: "because".into(), generation: None }
}

pub(super) fn wish(wish: Wish) -> Order {
    order(Command::Route(digits(), wish))
}

fn one_event(world: &mut Made<'_>, dice: &mut StdRng) -> Result<(), Broken> {
    // Longer than the slowest delivery, or than the plan's deadline.
    let long = [700_000, 700_000, 700_000, 4_000_000][dice.random_range(0..4)];
    world.now_ms += if dice.random_ratio(1, 60) { long } else { dice.random_range(0..6000) };
    let at = dice.random_range(0..world.replicas.len());
    let replica = &mut world.replicas[at];
    replica.requests += dice.random_range(0..80);
    match dice.random_range(0..28) {
        0 | 1 => replica.verdict = Verdict::Pass,
        2 => replica.verdict = Verdict::Undecided(REASONS[dice.random_range(0..REASONS.len())]),
        3 if dice.random_ratio(1, 2) => replica.verdict = Verdict::Fail(Signal::Accuracy),
        4 => replica.log_e = dice.random_range(0.0..4.0),
        5..9 => world.deliver(at, world.tip().doc)?,
        9 => {
            let old = dice.random_range(0..world.ever.len());
            world.deliver(at, world.ever[old])?;
        }
        10..15 => commit(world, dice, at)?,
        15 => restart(world, dice, at),
        16..19 => people_order(world, dice, at)?,
        19 | 20 => people_commit(world, dice)?,
        21 if dice.random_ratio(1, 3) => world.force_back(dice.random_range(1..3)),
        22 if dice.random_ratio(1, 2) => world.git_down = !world.git_down,
        _ => {}
    }
    world.look(at)
}

fn commit(world: &mut Made<'_>, dice: &mut StdRng, at: usize) -> Result<(), Broken> {
    let (race, answer_lost, dies) = (dice.random_ratio(1, 8), dice.random_ratio(1, 12), dice.random_ratio(1, 12));
    let between = |world: &mut Made<'_>| if race { people_commit(world, dice) } else { Ok(()) };
    world.commit(at, between, answer_lost)?;
    if dies {
        // After the push, before anybody took note of it.
        restart(world, dice, at);
    }
    Ok(())
}

/// What the store has comes back; seldom it has nothing.
fn restart(world: &mut Made<'_>, dice: &mut StdRng, at: usize) {
    let lost = dice.random_ratio(1, 10);
    world.restart(at, lost);
}

fn people_order(world: &mut Made<'_>, dice: &mut StdRng, at: usize) -> Result<(), Broken> {
    let set = (weight([0, 20, 60, 100][dice.random_range(0..4)]), dice.random_range(1..20_000));
    let name = VariantName::new(["v2", "v3"][dice.random_range(0..2)]).unwrap();
    let mut order = match dice.random_range(0..12) {
        0 => order(Command::Freeze),
        1 | 2 => order(Command::Unfreeze),
        3 => wish(Wish::Pause),
        4 => wish(Wish::Resume),
        5 => wish(Wish::Rollback),
        6 | 7 => wish(Wish::Approve),
        8 => wish(Wish::Promote { override_judge: dice.random() }),
        9 => wish(Wish::SetWeight { weight: set.0, for_ms: set.1 }),
        10 => wish(Wish::ClearWeight),
        _ => wish(Wish::Readmit(name.clone())),
    };
    if dice.random_ratio(1, 8) {
        order.generation = Some(Generation(world.replicas[at].live.generation.0.saturating_sub(1)));
    }
    if let Command::Route(_, Wish::Readmit(_)) = &order.command {
        world.ordered_in(at, &name);
    }
    let stale = order.generation.is_some();
    let done = world.obey(at, &order)?.is_some();
    if done && stale {
        return Err(Broken("a stale order was carried out".into()));
    }
    match &order.command {
        Command::Route(_, Wish::SetWeight { weight, for_ms }) if done => {
            world.replicas[at].by_hand = Some((world.now_ms + for_ms, *weight));
        }
        Command::Route(_, Wish::ClearWeight | Wish::Rollback) if done => world.replicas[at].by_hand = None,
        _ => {}
    }
    Ok(())
}

/// A person's commit; also one that is not valid.
fn people_commit(world: &mut Made<'_>, dice: &mut StdRng) -> Result<(), Broken> {
    let tip = world.tip().doc;
    let mut lines = world.docs.lines(tip);
    let mut path = if world.docs.text(tip).contains("/other") { "/other" } else { "/d" };
    let of = |lines: &[Line], role: Role| lines.iter().position(|line| line.role == role);
    match (dice.random_range(0..11), of(&lines, Role::Canary), of(&lines, Role::Stable)) {
        (0, ..) => {
            // A revert of the newest commit.
            let text = world.branch[world.branch.len().saturating_sub(2)].doc;
            return world.push(text, None).map(drop);
        }
        (1, ..) => return world.push(tip, None).map(drop),
        (2, ..) => path = if path == "/d" { "/other" } else { "/d" },
        (3, Some(canary), Some(stable)) => {
            let share = weight([0, 1, 5, 50, 100][dice.random_range(0..5)]);
            lines[stable].weight = lines[stable].weight.plus(lines[canary].weight).minus(share);
            lines[canary].weight = share;
        }
        (4, None, Some(stable)) => {
            // What was rejected is let in again, or something new begins.
            let share = weight([0, 1, 10][dice.random_range(0..3)]).min(lines[stable].weight);
            lines[stable].weight = lines[stable].weight.minus(share);
            match lines.iter_mut().find(|line| line.role == Role::Rejected) {
                Some(line) => (line.role, line.weight) = (Role::Canary, share),
                None => {
                    let url =
                        ["http://h:2", "http://h:3"].into_iter().find(|url| lines.iter().all(|line| line.url != *url));
                    let Some(url) = url else { return Ok(()) };
                    let name = format!("v{}", &url[9..]);
                    lines.push(Line { name, role: Role::Canary, weight: share, url: url.into() });
                }
            }
        }
        (5, Some(canary), Some(stable)) => {
            let keep = weight([0, 5][dice.random_range(0..2)]);
            let all = lines[stable].weight.plus(lines[canary].weight);
            lines.retain(|line| line.role != Role::Previous);
            let (canary, stable) =
                (of(&lines, Role::Canary).unwrap_or(canary), of(&lines, Role::Stable).unwrap_or(stable));
            (lines[canary].role, lines[canary].weight) = (Role::Stable, all.minus(keep));
            (lines[stable].role, lines[stable].weight) = (Role::Previous, keep.min(all));
        }
        (6, Some(canary), Some(stable)) => {
            lines[stable].weight = lines[stable].weight.plus(lines[canary].weight);
            (lines[canary].role, lines[canary].weight) = (Role::Rejected, Weight::ZERO);
        }
        (7, Some(canary), Some(stable)) => {
            lines[stable].weight = lines[stable].weight.plus(lines[canary].weight);
            lines.remove(canary);
        }
        (8, Some(canary), _) if lines.iter().all(|line| line.url != "http://h:3") => {
            (lines[canary].name, lines[canary].url) = ("v3".into(), "http://h:3".into());
        }
        (9, ..) if !lines.is_empty() => lines[0].weight = Weight::ZERO,
        _ => return Ok(()),
    }
    if lines.is_empty() {
        return world.push(world.ever[0], None).map(drop);
    }
    let doc = world.docs.write(&lines, path);
    world.push(doc, None).map(drop)
}

/// Nobody interferes any more, except by saying yes: what the branch says, what is in force and what is rejected come to agree.
fn calm(world: &mut Made<'_>, dice: &mut StdRng, met: &mut Met) -> Result<(), Broken> {
    if dice.random_ratio(1, 4) {
        return stuck(world, met);
    }
    world.git_down = false;
    if world.docs.route(world.tip().doc).is_none() {
        let good =
            world.branch.iter().rev().find(|commit| world.docs.route(commit.doc).is_some()).map(|commit| commit.doc);
        world.push(good.unwrap(), None)?;
    }
    let pass = dice.random();
    for round in 0..60 {
        world.now_ms += 15_000;
        for at in 0..world.replicas.len() {
            let replica = &mut world.replicas[at];
            if !matches!(replica.verdict, Verdict::Fail(_)) {
                replica.verdict = if pass { Verdict::Pass } else { Verdict::Undecided(Reason::SplitMismatch) };
            }
            (replica.requests, replica.log_e) = (replica.requests + 500, 0.0);
            if round == 0 {
                let _ = world.obey(at, &order(Command::Unfreeze))?;
                let _ = world.obey(at, &wish(Wish::Resume))?;
            }
            if pass {
                let _ = world.obey(at, &wish(Wish::Approve))?;
            }
            world.look(at)?;
            world.commit(at, |_| Ok(()), false)?;
            world.deliver(at, world.tip().doc)?;
            world.look(at)?;
        }
    }
    if !world.git {
        // Nothing can arrive: people are told of the youngest clamp, too, once it is as old as the slowest delivery.
        world.now_ms += 700_000;
    }
    for at in 0..world.replicas.len() {
        world.settled(at)?;
        if !world.rests(at) {
            return Err(Broken(format!(
                "{at} does not come to rest: {:?}\n{}",
                world.replicas[at].ledger,
                world.log.text()
            )));
        }
        let word = world.replicas[at].word();
        met.promoted += u64::from(word == "promoted");
    }
    Ok(())
}

/// Git never answers again: every clamp holds, and a person is told.
fn stuck(world: &mut Made<'_>, met: &mut Met) -> Result<(), Broken> {
    world.git_down = true;
    for _ in 0..2 {
        world.now_ms += 700_000;
        for at in 0..world.replicas.len() {
            world.look(at)?;
            world.commit(at, |_| Ok(()), false)?;
            world.look(at)?;
            let alerts = world.with(at, |ledger, world| ledger.alerts(&digits(), world));
            met.alerts.extend(alerts.iter().map(|alert| alert.as_str()));
            let replica = &world.replicas[at];
            let said = |entry: &coalmine::core::release::quarantine::Entry| {
                world.docs.weight(replica.doc, &entry.intent.artefact) > Weight::ZERO
            };
            if replica.ledger.quarantine.iter().any(said) && alerts.is_empty() {
                return Err(Broken(format!("a clamp that cannot arrive alerts nobody\n{}", world.log.text())));
            }
        }
    }
    Ok(())
}

fn one_world(docs: &mut Docs, seed: u64, rule: Rule, met: &mut Met) -> Result<(), Broken> {
    let mut dice = StdRng::seed_from_u64(seed);
    let mut world = Made::new(docs, 1 + (seed % 3) as usize, rule);
    world.git = seed % WITHOUT_GIT != WITHOUT_GIT - 1;
    for _ in 0..EVENTS {
        one_event(&mut world, &mut dice)?;
    }
    met.rollbacks += world.log.lines.iter().filter(|line| line.contains("Clamped")).count() as u64;
    met.readmitted += world.log.lines.iter().filter(|line| line.contains("Lifted")).count() as u64;
    let calmed = calm(&mut world, &mut dice, met);
    met.seen.extend(std::mem::take(&mut world.seen));
    met.holds.extend(std::mem::take(&mut world.holds));
    calmed
}

/// All of the worlds, or the first one in which a promise does not hold.
fn run(rule: Rule, worlds: u64) -> Result<Met, (u64, Broken)> {
    let threads = thread::available_parallelism().map_or(2, usize::from) as u64;
    let part = |first: u64| {
        let (mut docs, mut met) = (Docs::default(), Met::default());
        for seed in (first..worlds).step_by(threads as usize) {
            one_world(&mut docs, seed, rule, &mut met).map_err(|broken| (seed, broken))?;
        }
        Ok(met)
    };
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        let mut all = Met::default();
        for met in parts {
            let met = met.join().unwrap()?;
            all.seen.extend(met.seen);
            all.holds.extend(met.holds);
            all.alerts.extend(met.alerts);
            all.rollbacks += met.rollbacks;
            all.readmitted += met.readmitted;
            all.promoted += met.promoted;
        }
        Ok(all)
    })
}

#[test]
fn the_promises_hold_in_a_hundred_thousand_worlds() {
    let begun = Instant::now();
    let met = run(Rule::Quarantine, WORLDS).unwrap_or_else(|(seed, Broken(why))| panic!("world {seed}: {why}"));
    println!(
        "{WORLDS} worlds of {EVENTS} events in {:.1} s: {} rollbacks, {} let in again, {} promoted, {} kinds of transition, {} reasons to hold",
        begun.elapsed().as_secs_f64(),
        met.rollbacks,
        met.readmitted,
        met.promoted,
        met.seen.len(),
        met.holds.len(),
    );
    super::table::hold_against(&met.seen, &met.holds);
    assert!(met.rollbacks > WORLDS / 10 && met.readmitted > WORLDS / 100 && met.promoted > WORLDS / 100);
    for alert in ["write_blocked", "clamp_stale", "delivery_stale", "diverged", "overdue"] {
        assert!(met.alerts.contains(alert), "{alert} never came up: {:?}", met.alerts);
    }
}

#[test]
fn with_the_clamp_dropped_on_arrival_a_rejected_model_is_served_again() {
    let (seed, Broken(why)) = run(Rule::DropOnArrival, 20_000).err().expect("the planted rule went unnoticed");
    println!("world {seed}: {}", why.lines().next().unwrap());
    assert!(why.starts_with("a rejected artefact is served"), "{why}");
}
