//! What a move would come to on the branch, without doing it: the same proposal that the commit loop pushes.

use super::clone::aside;
use crate::{
    config::{self, settings::Settings},
    control::proposal::{Proposal, propose},
    core::{
        clamp::Clamps,
        name::Generation,
        release::{
            Release, Seen,
            intent::{Intent, Move, Wanted},
        },
        split::Weight,
    },
    io::{
        clock,
        git::{Git, NewText, Recorded, Tip},
    },
};
use anyhow::{Context as _, anyhow, bail};

/// A move that somebody thinks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thought {
    /// The plan's next step, or past the last one the promotion.
    Next,
    /// The candidate is rejected.
    RollBack,
    /// The watch is over.
    Finish,
}

/// A commit that nobody has pushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rehearsal {
    /// Its message.
    pub message: String,
    /// What it changes, as a unified diff.
    pub patch: String,
}

/// What the branch says, as far back as it was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Its tip.
    pub tip: Tip,
    /// Our commits on it, newest first.
    pub record: Vec<Recorded>,
    /// Whether there are older commits than were looked at.
    pub more: bool,
}

/// The branch, as far back as the settings' `git.history` commits.
///
/// # Errors
/// If it cannot be read.
pub fn branch(settings: &Settings) -> anyhow::Result<Said> {
    let git = aside(settings).context("there is no `git:` in the settings")?;
    run(async {
        let tip = git.tip().await?;
        let record = git.recorded(&tip, "Coalmine-Intent").await?;
        let more = git.is_cut_off().await?;
        Ok(Said { tip, record, more })
    })
}

/// What the commit for this move would be.
///
/// # Errors
/// If the branch cannot be read, the move does not fit, or there is nothing to commit.
pub fn rehearse(settings: &Settings, route: &str, thought: Thought, reason: &str) -> anyhow::Result<Rehearsal> {
    let git = aside(settings).context("there is no `git:` in the settings")?;
    run(async {
        let tip = git.tip().await?;
        let wanted = wanted(&tip, route, thought, reason)?;
        match propose(&git, &tip, &wanted).await? {
            Proposal::Nothing(outcome) => bail!("there is nothing to commit: {outcome:?}"),
            Proposal::Commit { files, message } => patch(&git, &tip, &files, message).await,
        }
    })
}

async fn patch(git: &Git, tip: &Tip, files: &[(String, Option<String>)], message: String) -> anyhow::Result<Rehearsal> {
    let texts: Vec<NewText<'_>> = files.iter().map(|(path, text)| NewText { path, text: text.as_deref() }).collect();
    let commit = git.record(tip, &texts, &message).await?;
    let patch = git.difference(&tip.commit, &commit).await?;
    Ok(Rehearsal { message, patch })
}

/// The intent that a running Coalmine would form, without a judge's word.
fn wanted(tip: &Tip, route: &str, thought: Thought, reason: &str) -> anyhow::Result<Wanted> {
    let told = |problems: Vec<config::Problem>| {
        let first = problems.first().map_or(String::new(), |problem| problem.one_line("routes.yaml"));
        anyhow!("the file on the branch is not valid: {first}")
    };
    let (snapshot, _) = config::read(&tip.text, &Clamps::default()).map_err(told)?;
    let (_, route) =
        snapshot.routes.named(route).with_context(|| format!("there is no route `{route}` on the branch"))?;
    let now = clock::now();
    let release = Release::begin(route, 1, now).context("the route is in no release on the branch")?;
    let seen = Seen {
        route,
        judgement: None,
        held: None,
        heir: true,
        by_hand: false,
        frozen: false,
        outcome: None,
        git: true,
        now,
    };
    let plan = route.plan.clone().unwrap_or_default();
    let next = plan.steps.iter().map(|step| step.weight).find(|weight| *weight > release.stay.weight);
    let to = match (thought, next.unwrap_or(Weight::FULL)) {
        (Thought::RollBack, _) => Move::RollBack { promoted: release.stay.promoted, kind: route.rollback.kind },
        (Thought::Finish, _) => Move::Finish,
        (Thought::Next, Weight::FULL) => Move::Promote { holdback: plan.watch.holdback },
        (Thought::Next, weight) => Move::Step(weight),
    };
    let intent = Intent::new(&release, &seen, to, "dry-run", reason);
    Ok(Wanted { intent, shown: None, learned: false, diverged: false, generation: Generation(0) })
}

fn run<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
