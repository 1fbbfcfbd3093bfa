//! The judge in made-up worlds, many times over: how often it is wrong, and how soon it is right.
//!
//! Every world is a stream of `streams::World` by its seed, fed to the judge as `coalmine replay` feeds it, to the end of the stream: it is
//! looked at hundreds of times and may be wrong at any of them. `make simulate` runs more of everything and prints the tables.

use super::streams::{World, events};
use coalmine::core::{
    judge::{Block, Policy, Signal, Verdict, trial::Trial},
    replay::{Looks, Setup},
};
use std::{env, thread};

mod endpoints;
mod harm;
mod limits;
mod margin;
mod modes;
mod reference;
mod safe;

/// Multiplies the number of runs of everything in here: `make simulate` sets it.
const TIMES: &str = "COALMINE_SIMULATE_TIMES";

/// How often something that is run `runs` times in `make test` is to be run now.
fn runs(runs: u64) -> u64 {
    runs * env::var(TIMES).map_or(1, |times| times.parse().unwrap_or_else(|_| panic!("{TIMES}={times} is no number")))
}

/// What became of one stream.
#[derive(Clone, Copy)]
struct Run {
    /// The signal that took it back.
    failed: Option<Signal>,
    /// Whether it was passed at some look before that.
    passed: bool,
    /// The most evidence against the canary at any look at which a verdict was allowed: natural log of the e-value.
    most: f64,
    /// Canary requests when the first verdict fell, or all of them.
    at_canary: u64,
    /// Canary labels then.
    at_labels: u64,
}

impl Run {
    /// Whether the evidence ever sufficed at `alpha`.
    fn fails_at(&self, alpha: f64) -> bool {
        self.most >= -alpha.ln()
    }
}

/// The defaults, but for the time that warming up takes: the streams know when they are warm by their requests.
fn policy() -> Policy {
    Policy { warmup_ms: 0, ..Policy::default() }
}

/// One signal alone.
fn only(signal: Signal) -> Policy {
    let mut policy = policy();
    (policy.errors, policy.latency, policy.accuracy) = (
        policy.errors.filter(|_| signal == Signal::Errors),
        policy.latency.filter(|_| signal == Signal::Latency),
        policy.accuracy.filter(|_| signal == Signal::Accuracy),
    );
    policy
}

/// A stream from its first request to its last, or to a fail.
fn run(world: &World, policy: &Policy, seed: u64) -> Run {
    let mut events = events(&world.rows(seed));
    let setup = Setup { policy: policy.clone(), ..Setup::default() };
    follow(Trial::new(policy), policy, Looks::new(&mut events, &setup).map(|look| look.block))
}

/// A trial block by block to the last, or to a fail. A pass ends nothing: what comes after it is judged on.
fn follow(mut trial: Trial, policy: &Policy, blocks: impl Iterator<Item = Block>) -> Run {
    let mut run = Run { failed: None, passed: false, most: f64::NEG_INFINITY, at_canary: 0, at_labels: 0 };
    for block in blocks {
        let verdict = trial.observe(&block);
        let evidence = trial.evidence();
        if !run.passed {
            (run.at_canary, run.at_labels) = (evidence.canary_requests, evidence.canary_labels);
        }
        // Labels of pairs are about a canary that has answered nobody.
        if evidence.canary_requests.max(evidence.paired_labels) >= policy.requests_min {
            run.most = run.most.max(evidence.log_e_rollback);
        }
        match verdict {
            Verdict::Pass => run.passed = true,
            Verdict::Fail(signal) => {
                run.failed = Some(signal);
                return run;
            }
            Verdict::Undecided(_) => {}
        }
    }
    run
}

/// `of(0), of(1), ...` on all cores.
fn many<T: Send>(runs: u64, of: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let of = &of;
    thread::scope(|scope| {
        let one = |first: u64| {
            scope
                .spawn(move || (first..runs).step_by(threads as usize).map(|seed| (seed, of(seed))).collect::<Vec<_>>())
        };
        let parts: Vec<_> = (0..threads).map(one).collect();
        let mut all: Vec<_> = parts.into_iter().flat_map(|part| part.join().unwrap()).collect();
        all.sort_by_key(|(seed, _)| *seed);
        all.into_iter().map(|(_, run)| run).collect()
    })
}

fn count<T>(runs: &[T], is: impl Fn(&T) -> bool) -> u64 {
    runs.iter().filter(|run| is(run)).count() as u64
}

/// The value that a share `q` of `values` is at most.
fn quantile(values: impl IntoIterator<Item = u64>, q: f64) -> u64 {
    let mut values: Vec<u64> = values.into_iter().collect();
    values.sort_unstable();
    let at = (q * values.len() as f64).ceil() as usize;
    values[at.clamp(1, values.len()) - 1]
}
