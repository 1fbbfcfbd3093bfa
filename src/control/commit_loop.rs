//! A clamp -> a rollback commit on the branch. The clamp already protects traffic, so this may take its time: it tries until
//! the branch says it.

use crate::{
    config::{
        self,
        edit::{Change, edit},
    },
    core::{clamp::Clamps, route::Route, split::Weight, variant::Role},
    io::{
        git::{Git, GitError, Tip},
        meters::Meters,
        store::Store,
    },
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};

/// The store's document with the intents that the branch has taken.
const DOCUMENT: &str = "commits";
/// Races that are lost in a row before it waits.
const RACES_MAX: u32 = 10;
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A rollback that the branch should say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rollback {
    /// Identity of this decision, the same after every restart.
    pub intent: String,
    /// The route.
    pub route: String,
    /// What was rejected.
    pub artefact: String,
    /// Which attempt at it.
    pub attempt: u32,
    /// The judge's words.
    pub evidence: String,
}

/// The loop and its channels.
#[derive(Debug)]
pub struct CommitLoop {
    /// The clamp loop writes.
    pub wanted: watch::Receiver<Arc<Vec<Rollback>>>,
    /// The clamp loop reads: intents that the branch has taken.
    pub done: watch::Sender<Arc<BTreeSet<String>>>,
    /// Where it commits; `None`: nowhere, clamps are all there is.
    pub git: Option<Git>,
    /// What was done outlives the process.
    pub store: Store,
    /// Commits and failures.
    pub meters: Arc<Meters>,
}

/// What there was to do.
enum Edit {
    /// The branch says it already, or the artefact is gone.
    Nothing,
    /// A person made it stable: not ours to take back.
    NotOurs,
    /// The new text and the subject line.
    Text(String, String),
}

impl CommitLoop {
    /// Runs until the clamp loop is gone.
    pub async fn run(mut self) {
        let saved = self.store.get(DOCUMENT).ok().flatten();
        let saved: BTreeSet<String> = saved.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        self.done.send_replace(Arc::new(saved));
        let mut pause = PAUSE_MIN;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let done = self.done.borrow().clone();
            let next = wanted.iter().find(|rollback| !done.contains(&rollback.intent));
            let (Some(git), Some(rollback)) = (&self.git, next) else {
                if self.wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            match self.commit(git, rollback).await {
                Ok(()) => {
                    self.finish(rollback.intent.clone());
                    pause = PAUSE_MIN;
                }
                Err(error) => {
                    self.meters.git_failures.up();
                    tracing::error!(
                        route = rollback.route,
                        error,
                        retry_s = pause.as_secs(),
                        "rollback not committed; the clamp holds"
                    );
                    tokio::select! {
                        () = sleep(pause) => {}
                        changed = self.wanted.changed() => if changed.is_err() { return },
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    async fn commit(&self, git: &Git, rollback: &Rollback) -> Result<(), String> {
        for _ in 0..RACES_MAX {
            let tip = git.tip().await.map_err(|error| error.to_string())?;
            let (text, subject) = match plan(&tip, rollback)? {
                Edit::Nothing => return Ok(()),
                Edit::NotOurs => {
                    tracing::warn!(
                        route = rollback.route,
                        "the branch has made it stable meanwhile: not rolled back there"
                    );
                    return Ok(());
                }
                Edit::Text(text, subject) => (text, subject),
            };
            match git.commit(&tip, &text, &message(&subject, rollback)).await {
                Ok(commit) => {
                    self.meters.git_commits.up();
                    tracing::info!(route = rollback.route, commit, "rollback committed");
                    return Ok(());
                }
                // Recomputed on the new tip, never rebased.
                Err(GitError::Raced(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("the branch moved {RACES_MAX} times in a row"))
    }

    fn finish(&self, intent: String) {
        self.done.send_modify(|done| {
            Arc::make_mut(done).insert(intent);
        });
        let written = serde_json::to_vec(&**self.done.borrow()).map_err(|error| error.to_string());
        let written = written.and_then(|bytes| self.store.put(DOCUMENT, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::error!(error, "commit not remembered; after a restart the branch is asked again");
        }
    }
}

fn plan(tip: &Tip, rollback: &Rollback) -> Result<Edit, String> {
    let (snapshot, _) = config::read(&tip.text, &Clamps::default()).map_err(|problems| {
        let first = problems.first().map_or(String::new(), |problem| problem.one_line("routes.yaml"));
        format!("the file on the branch is not valid: {first}")
    })?;
    let Some((_, route)) = snapshot.routes.named(&rollback.route) else { return Ok(Edit::Nothing) };
    let rejected = |v: &&crate::core::variant::Variant| {
        v.artefact.as_str() == rollback.artefact && (v.said > Weight::ZERO || v.role == Role::Canary)
    };
    let Some(candidate) = route.variants.iter().find(rejected) else { return Ok(Edit::Nothing) };
    let Some(heir) = heir(route, candidate.role) else { return Ok(Edit::NotOurs) };
    let weight = heir.said.plus(candidate.said);
    let changes = [
        Change { variant: candidate.name.clone(), weight: Weight::ZERO, role: Role::Rejected },
        Change { variant: heir.name.clone(), weight, role: Role::Stable },
    ];
    let text = edit(&tip.text, &rollback.route, &changes).map_err(|error| error.to_string())?;
    let (loser, from) = (&candidate.name, candidate.said);
    let subject = format!("rollback({}): {loser} {from} % -> 0 %, {} {weight} %", rollback.route, heir.name);
    Ok(Edit::Text(text, subject))
}

/// Who takes over: stable from a canary, the previous one from a new stable.
fn heir(route: &Route, role: Role) -> Option<&crate::core::variant::Variant> {
    let wanted = if role == Role::Stable { Role::Previous } else { Role::Stable };
    route.variants.iter().find(|variant| variant.role == wanted)
}

fn message(subject: &str, rollback: &Rollback) -> String {
    let Rollback { intent, route, artefact, attempt, evidence } = rollback;
    format!(
        "{subject}\n\n{evidence}\n\nCoalmine-Route: {route}\nCoalmine-Action: rollback\nCoalmine-Artefact: {artefact}\n\
         Coalmine-Attempt: {attempt}\nCoalmine-Intent: {intent}\nCoalmine-Requested-By: judge\n"
    )
}
