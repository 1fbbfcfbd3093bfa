//! One small world, explored to its end: two replicas, one person who writes besides us, one old file delivered again, one
//! restart, one rollback. Every event is tried in every state, breadth-first; the promises are held against each of them.
//!
//! No time passes until nothing happens any more: with a clock that ticks there are millions of states. Raises come by orders.

use super::{
    chance::wish,
    docs::{Doc, Docs, Line},
    world::{Broken, Commit, Made, Replica, Rule},
};
use coalmine::core::{
    command::Wish,
    judge::{Signal, Verdict},
    name::VariantName,
    split::Weight,
    variant::Role,
};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::{
    collections::{HashMap, VecDeque},
    hash::Hash as _,
    time::Instant,
};

/// Requests that have been judged: enough for a step.
const REQUESTS: u64 = 200;

/// In the end, so often ...
const LATER: u32 = 5;
/// ... so much time passes: longer than the slowest delivery, shorter in all than the deadline.
const LATER_MS: u64 = 700_000;

/// What may still happen.
#[derive(Clone, Copy, Hash, Debug)]
struct Left {
    fails: u8,
    restarts: u8,
    replays: u8,
    /// A person's commits and orders.
    acts: u8,
}

const ALL: Left = Left { fails: 1, restarts: 1, replays: 1, acts: 1 };

#[derive(Clone, Debug)]
enum Event {
    /// A replica's release loop wakes.
    Look(usize),
    /// Its commit loop does what is wanted of it.
    Commit(usize),
    /// The newest file reaches it: traffic at once, and then the release loop.
    Deliver(usize),
    /// The judge of one replica fails the canary.
    Fail(usize),
    /// It is killed; the store is there again, or empty.
    Restart(usize, bool),
    /// An older file reaches it.
    Replay(usize, Doc),
    /// A person commits.
    Person(Doc),
    /// A person forces the branch back by one commit.
    Force,
    /// A person orders something of a replica.
    Order(usize, Wish),
}

impl Event {
    fn is_by_itself(&self) -> bool {
        matches!(self, Self::Look(_) | Self::Commit(_) | Self::Deliver(_))
    }
}

/// A state of the world.
#[derive(Clone)]
struct Node {
    branch: Vec<Commit>,
    ever: Vec<Doc>,
    replicas: Vec<Replica>,
    now_ms: u64,
    commits: u32,
    left: Left,
}

impl Node {
    fn of(world: &Made<'_>, left: Left) -> Self {
        let mut ever = world.ever.clone();
        ever.sort_unstable();
        ever.dedup();
        let (branch, replicas) = (world.branch.clone(), world.replicas.clone());
        Self { branch, ever, replicas, now_ms: world.now_ms, commits: world.commits, left }
    }

    fn enter(&self, world: &mut Made<'_>) {
        world.branch.clone_from(&self.branch);
        world.ever.clone_from(&self.ever);
        world.replicas.clone_from(&self.replicas);
        (world.now_ms, world.commits) = (self.now_ms, self.commits);
    }

    /// Two states with one key are one: which of the replicas is called the first makes no difference, nor does what nothing
    /// can ask for any more. 128 bits, so that two others never meet.
    fn key(&self) -> u128 {
        let mut replicas: Vec<u128> = self.replicas.iter().map(|replica| self.key_of(replica)).collect();
        replicas.sort_unstable();
        let mut hasher = SipHasher13::new();
        (&self.branch, replicas, self.now_ms, self.commits, self.left).hash(&mut hasher);
        if self.left.replays > 0 {
            self.ever.hash(&mut hasher);
        }
        hasher.finish128().as_u128()
    }

    fn key_of(&self, replica: &Replica) -> u128 {
        // What is in force follows from the file and the ledger.
        let Replica { ledger, saved, doc, outcomes, verdict, requests, attempt, rejected, .. } = replica;
        let mut hasher = SipHasher13::new();
        (ledger, doc, outcomes, verdict, requests, attempt, rejected).hash(&mut hasher);
        if self.left.restarts > 0 {
            saved.hash(&mut hasher);
        }
        hasher.finish128().as_u128()
    }

    /// What happens by itself, and what may happen besides.
    fn events(&self, docs: &mut Docs) -> Vec<Event> {
        let each = || 0..self.replicas.len();
        let mut events: Vec<Event> =
            each().flat_map(|at| [Event::Look(at), Event::Commit(at), Event::Deliver(at)]).collect();
        if self.left.fails > 0 {
            events.extend(each().map(Event::Fail));
        }
        if self.left.restarts > 0 {
            events.extend(each().flat_map(|at| [Event::Restart(at, false), Event::Restart(at, true)]));
        }
        if self.left.replays > 0 {
            let tip = self.branch.last().unwrap().doc;
            let old = self.ever.iter().filter(|doc| **doc != tip);
            events.extend(old.flat_map(|doc| each().map(|at| Event::Replay(at, *doc))));
        }
        if self.left.acts > 0 {
            events.extend(people_commit(docs, &self.branch).into_iter().map(Event::Person));
            events.extend((self.branch.len() > 1).then_some(Event::Force));
            let again = || Wish::Readmit(VariantName::new("v2").unwrap());
            let wishes = || [Wish::Promote { override_judge: true }, Wish::Rollback, again()];
            events.extend(each().flat_map(|at| wishes().map(|wish| Event::Order(at, wish))));
        }
        events
    }

    /// The state after `event`; `None` if an order was refused.
    fn after(&self, event: &Event, world: &mut Made<'_>) -> Result<Option<Self>, Broken> {
        self.enter(world);
        let mut left = self.left;
        match event {
            Event::Look(at) => world.look(*at)?,
            Event::Commit(at) => world.commit(*at, |_| Ok(()), false)?,
            Event::Deliver(at) => {
                world.deliver(*at, world.tip().doc)?;
                world.look(*at)?;
            }
            Event::Fail(at) => {
                left.fails -= 1;
                world.replicas[*at].verdict = Verdict::Fail(Signal::Errors);
            }
            Event::Restart(at, lost) => {
                left.restarts -= 1;
                // Nobody decides before and after it in the same millisecond.
                world.now_ms += 1;
                world.restart(*at, *lost);
            }
            Event::Replay(at, doc) => {
                left.replays -= 1;
                world.deliver(*at, *doc)?;
                world.look(*at)?;
            }
            Event::Person(doc) => {
                left.acts -= 1;
                world.push(*doc, None)?;
            }
            Event::Force => {
                left.acts -= 1;
                world.force_back(1);
            }
            Event::Order(at, one) => {
                left.acts -= 1;
                world.look(*at)?;
                if let Wish::Readmit(name) = one {
                    world.ordered_in(*at, name);
                }
                if world.obey(*at, &wish(one.clone()))?.is_none() {
                    return Ok(None);
                }
                world.check(*at)?;
            }
        }
        Ok(Some(Self::of(world, left)))
    }
}

impl Node {
    /// Nothing happens any more but that time passes, and with it what waits for it: the promises hold, and what is wanted of
    /// the branch is done, or told.
    fn in_the_end(&self, world: &mut Made<'_>) -> Result<(), Broken> {
        self.enter(world);
        for _ in 0..LATER {
            world.now_ms += LATER_MS;
            for at in 0..self.replicas.len() {
                world.look(at)?;
                world.commit(at, |_| Ok(()), false)?;
                world.look(at)?;
                world.deliver(at, world.tip().doc)?;
                world.look(at)?;
            }
        }
        for at in 0..self.replicas.len() {
            world.settled(at)?;
            if !world.rests(at) {
                return Err(Broken(format!("{at} wants what is never done: {:?}", world.replicas[at].ledger)));
            }
        }
        Ok(())
    }
}

/// What a person may make of the newest file.
fn people_commit(docs: &mut Docs, branch: &[Commit]) -> Vec<Doc> {
    let tip = branch.last().unwrap().doc;
    let lines = docs.lines(tip);
    let (path, other) = if docs.text(tip).contains("/other") { ("/other", "/d") } else { ("/d", "/other") };
    let of = |role: Role| lines.iter().position(|line| line.role == role);
    let mut files: Vec<(Vec<Line>, &str)> = vec![(lines.clone(), other)];
    let mut file = |change: &dyn Fn(&mut Vec<Line>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        files.push((lines, path));
    };
    let weight = |per_cent: u16| Weight::new(per_cent * 100).unwrap();
    if let (Some(canary), Some(stable)) = (of(Role::Canary), of(Role::Stable)) {
        let all = lines[stable].weight.plus(lines[canary].weight);
        for share in [weight(0), weight(50)] {
            file(&|lines| (lines[canary].weight, lines[stable].weight) = (share, all.minus(share)));
        }
        file(&|lines| {
            (lines[canary].role, lines[canary].weight) = (Role::Rejected, Weight::ZERO);
            lines[stable].weight = all;
        });
        file(&|lines| {
            (lines[canary].role, lines[canary].weight) = (Role::Stable, all.minus(weight(5)));
            (lines[stable].role, lines[stable].weight) = (Role::Previous, weight(5));
        });
        file(&|lines| {
            lines[stable].weight = all;
            lines.remove(canary);
        });
    }
    if let (Some(rejected), Some(stable), None) = (of(Role::Rejected), of(Role::Stable), of(Role::Canary)) {
        file(&|lines| {
            (lines[rejected].role, lines[rejected].weight) = (Role::Canary, weight(1));
            lines[stable].weight = lines[stable].weight.minus(weight(1));
        });
        file(&|lines| drop(lines.remove(rejected)));
    }
    let mut made: Vec<Doc> = files.iter().map(|(lines, path)| docs.write(lines, path)).collect();
    // A revert of the newest commit.
    made.extend(branch.iter().rev().nth(1).map(|commit| commit.doc));
    made.retain(|doc| *doc != tip && docs.route(*doc).is_some());
    made.sort_unstable();
    made.dedup();
    made
}

/// All states that were come to, by number: how, and where what happens by itself leads from there.
#[derive(Default)]
struct Explored {
    known: HashMap<u128, u32>,
    /// The state before, and what happened. The first one has none.
    trails: Vec<Option<(u32, Event)>>,
    /// From one state to another by what happens by itself.
    onward: Vec<(u32, u32)>,
    /// Where that leads nowhere else.
    resting: Vec<u32>,
    events: u64,
}

impl Explored {
    /// The number of a state, and whether it is a new one.
    fn number(&mut self, node: &Node, how: Option<(u32, Event)>) -> (u32, bool) {
        let next = u32::try_from(self.trails.len()).unwrap();
        let number = *self.known.entry(node.key()).or_insert(next);
        if number == next {
            self.trails.push(how);
        }
        (number, number == next)
    }

    /// Tells the whole story again, aloud, up to where it breaks.
    fn retell(&self, first: &Node, world: &mut Made<'_>, last: u32, event: Option<&Event>, what: &str) -> Broken {
        let mut story: Vec<Event> = event.into_iter().cloned().collect();
        let mut at = last;
        while let Some((before, event)) = &self.trails[at as usize] {
            story.push(event.clone());
            at = *before;
        }
        world.log.deaf = false;
        let mut node = first.clone();
        for event in story.iter().rev() {
            world.log.note(format_args!("- {event:?}"));
            match node.after(event, world) {
                Ok(next) => node = next.unwrap_or(node),
                Err(broken) => return broken,
            }
        }
        world.broken::<()>(what).unwrap_err()
    }

    /// A state from which what happens by itself leads to no rest, if there is one.
    fn restless(&self) -> Option<u32> {
        let mut back: Vec<Vec<u32>> = vec![Vec::new(); self.trails.len()];
        for (from, to) in &self.onward {
            back[*to as usize].push(*from);
        }
        let mut calm = vec![false; self.trails.len()];
        let mut open = self.resting.clone();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut calm[at as usize], true) {
                open.extend(&back[at as usize]);
            }
        }
        calm.iter().position(|calm| !calm).map(|at| u32::try_from(at).unwrap())
    }
}

/// Every state there is, or the shortest story that breaks a promise.
fn explore(docs: &mut Docs, rule: Rule) -> Result<Explored, Broken> {
    let mut world = Made::new(docs, 2, rule);
    world.log.deaf = true;
    for at in 0..2 {
        (world.replicas[at].verdict, world.replicas[at].requests) = (Verdict::Pass, REQUESTS);
        world.look(at)?;
    }
    let first = Node::of(&world, ALL);
    let mut all = Explored::default();
    let mut open = VecDeque::from([(all.number(&first, None).0, first.clone())]);
    while let Some((here, node)) = open.pop_front() {
        let mut rests = true;
        for event in node.events(world.docs) {
            let after = match node.after(&event, &mut world) {
                Ok(Some(after)) => after,
                Ok(None) => continue,
                Err(_) => {
                    return Err(all.retell(&first, &mut world, here, Some(&event), "told twice, and not the same"));
                }
            };
            all.events += 1;
            let by_itself = event.is_by_itself();
            let (there, new) = all.number(&after, Some((here, event)));
            if new {
                open.push_back((there, after));
            }
            if by_itself && there != here {
                rests = false;
                all.onward.push((here, there));
            }
        }
        if rests {
            all.resting.push(here);
            if let Err(Broken(why)) = node.in_the_end(&mut world) {
                return Err(all.retell(&first, &mut world, here, None, &why));
            }
        }
    }
    match all.restless() {
        Some(at) => Err(all.retell(&first, &mut world, at, None, "it never comes to rest")),
        None => Ok(all),
    }
}

#[test]
fn the_promises_hold_in_every_state_of_a_small_world() {
    let begun = Instant::now();
    let all = explore(&mut Docs::default(), Rule::Quarantine).unwrap_or_else(|Broken(why)| panic!("{why}"));
    println!(
        "{ALL:?}: {} states, {} events tried, {} states at rest, in {:.1} s",
        all.trails.len(),
        all.events,
        all.resting.len(),
        begun.elapsed().as_secs_f64(),
    );
    // There is no bound at which it gives up: the search is over because there is nothing new.
    assert!(all.trails.len() > 10_000 && all.resting.len() > 100);
}

#[test]
fn in_the_small_world_too_a_clamp_dropped_on_arrival_serves_a_rejected_model_again() {
    let Broken(why) =
        explore(&mut Docs::default(), Rule::DropOnArrival).err().expect("the planted rule went unnoticed");
    println!("{why}");
    assert!(why.starts_with("a rejected artefact is served"), "{why}");
}
