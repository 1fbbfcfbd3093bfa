//! The door: reads the arguments and the environment, picks a command, gives the exit code.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "talking to the terminal and its environment is this floor's work"
)]

mod check;
mod demo;
mod doctor;
mod explain;
mod forecast;
mod margins;
mod paint;
mod people;
mod plan;
mod record;
mod replay;
mod serve;
mod words;

use crate::io::process;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A canary traffic-splitting inference proxy: judges live accuracy, errors and latency, flips the weights at once when the
/// canary is worse, and commits the rollback - or the next step - through Git.
#[derive(Parser, Debug)]
#[command(name = "coalmine", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Carry traffic, judge it, and move the release.
    Serve(serve::Serve),
    /// See the main job done: a good model promoted and a bad one rolled back, in about a minute.
    Demo(demo::Demo),
    /// Compile routes files and show every problem with its place.
    Check(check::Check),
    /// Show where every route's release stands, and on what evidence.
    Status(people::Status),
    /// Why the judge says what it says of a route: differences, intervals, evidence, and what would change the verdict.
    Explain(explain::Explain),
    /// Take the step that waits for a person's yes.
    Approve(people::Order),
    /// Take the next step now; past the last one, promote.
    Promote(people::Promote),
    /// Take the canary's traffic away now, and commit that.
    Rollback(people::Order),
    /// No raises until resumed; a worse canary is still rolled back.
    Pause(people::Order),
    /// End a pause.
    Resume(people::Order),
    /// No raises on any route until unfrozen; worse canaries are still rolled back.
    Freeze(people::Freeze),
    /// End a freeze.
    Unfreeze(people::Freeze),
    /// Give the candidate a weight for a while, whatever the file says; it ends by itself.
    SetWeight(people::SetWeight),
    /// Let a rejected variant in again, by a commit.
    Readmit(people::Readmit),
    /// Send labels.
    Feedback(people::Feedback),
    /// Show the commits of releases, from their trailers on the branch.
    History(record::History),
    /// Tell what differs between the branch and what is in force.
    Diff(record::Diff),
    /// Show the commit that a move would push.
    Commit(record::Commit),
    /// Before a release: how long it takes to see which effect, and to pass.
    Plan(plan::Plan),
    /// Judge recorded requests, to tune margins before a release.
    Replay(replay::Replay),
    /// Look at everything a release needs, and say what to do about what is wrong.
    Doctor(doctor::Doctor),
}

/// Reads the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    // Before much memory is asked for: what has been given already stays as it is.
    process::small_pages();
    match Arguments::parse().verb {
        Verb::Serve(serve) => serve.run(),
        Verb::Demo(demo) => demo.run(),
        Verb::Check(check) => check.run(),
        Verb::Status(status) => status.run(),
        Verb::Explain(explain) => explain.run(),
        Verb::Approve(order) => order.run("approve"),
        Verb::Promote(promote) => promote.run(),
        Verb::Rollback(order) => order.run("rollback"),
        Verb::Pause(order) => order.run("pause"),
        Verb::Resume(order) => order.run("resume"),
        Verb::Freeze(freeze) => freeze.run("freeze"),
        Verb::Unfreeze(freeze) => freeze.run("unfreeze"),
        Verb::SetWeight(set) => set.run(),
        Verb::Readmit(readmit) => readmit.run(),
        Verb::Feedback(feedback) => feedback.run(),
        Verb::History(history) => history.run(),
        Verb::Diff(diff) => diff.run(),
        Verb::Commit(commit) => commit.run(),
        Verb::Plan(plan) => plan.run(),
        Verb::Replay(replay) => replay.run(),
        Verb::Doctor(doctor) => doctor.run(),
    }
}
