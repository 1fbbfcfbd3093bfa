//! An intent on the tip of the branch -> the files and the message of one commit, or an outcome without one. Nothing is written.

use super::{
    message::{INTENT, Record, SET, message},
    undo,
};
use crate::{
    config::{self, edit},
    core::{
        clamp::Clamps,
        name::{Artefact, VariantName},
        plan::{FileEdit, RollbackKind},
        release::intent::{Change, Intent, Move, Outcome, Wanted},
        route::Route,
        snapshot::Snapshot,
        split::Weight,
        variant::Role,
    },
    io::git::{Git, GitError, NewFile, Recorded, Tip},
};
use std::sync::Arc;

/// What is to happen on this tip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proposal {
    /// No commit.
    Nothing(Outcome),
    /// This commit.
    Commit {
        /// Paths and what they are to say.
        files: Vec<NewFile>,
        /// Its message.
        message: String,
    },
}

/// What the branch says, and the record of releases in it.
pub(super) struct Branch<'a> {
    pub(super) git: &'a Git,
    pub(super) tip: &'a Tip,
    pub(super) record: Vec<Recorded>,
}

/// What carrying `wanted` out means on this tip.
///
/// # Errors
/// [`GitError`] if something cannot be read, or not be edited safely.
pub async fn propose(git: &Git, tip: &Tip, wanted: &Wanted) -> Result<Proposal, GitError> {
    let intent = &wanted.intent;
    let there = |commit: &str| Proposal::Nothing(Outcome::There(commit.into()));
    let snapshot = compiled(&tip.text)?;
    let Some(route) = named(&snapshot, intent) else { return Ok(there(&tip.commit)) };
    let branch = Branch { git, tip, record: git.recorded(tip, INTENT).await? };
    let ours = branch.record.iter().find(|c| c.trailer(INTENT) == Some(intent.id().as_str()));
    let contained = match (&wanted.shown, ours) {
        (_, Some(_)) => true,
        (Some(commit), None) => git.contains(tip, commit).await?,
        (None, None) => false,
    };
    let kind = match (intent.to, ours) {
        (Move::RollBack { kind, .. }, _) => kind,
        // By us before a restart, or by another replica: once is enough, whatever people have made of it since.
        (_, Some(ours)) => {
            let commit = ours.commit.as_str().into();
            return Ok(Proposal::Nothing(intent.found(&route, commit)));
        }
        (_, None) => RollbackKind::Weights,
    };
    let changes = match wanted.on(&route, &tip.commit, contained) {
        Ok(changes) => changes,
        Err(outcome) => return Ok(Proposal::Nothing(outcome)),
    };
    let mut made = match kind {
        RollbackKind::Weights => None,
        RollbackKind::Revert => undo::reverted(&branch, intent, &route, &snapshot).await?,
        RollbackKind::LastGood => undo::last_good(&branch, intent).await?,
    };
    if made.is_none() && kind != RollbackKind::Weights {
        let why = format!("`{}` is not possible cleanly here: weights and roles are set instead.", kind.as_str());
        made = Some(by_weights(&branch, intent, &changes)?.noting(why));
    }
    let mut made = match made {
        Some(made) => made,
        None => by_weights(&branch, intent, &changes)?,
    };
    set(&branch, intent, &mut made).await?;
    let after = made.files.iter().find(|(path, _)| path == git.path()).and_then(|(_, text)| text.as_deref());
    let changes = match after.map(compiled).transpose()?.as_ref().and_then(|after| named(after, intent)) {
        Some(after) => between(&route, &after, &intent.artefact),
        None => changes,
    };
    let record = Record { intent, route: &route, changes: &changes, notes: &made.notes, trailers: &made.trailers };
    Ok(Proposal::Commit { files: made.files, message: message(&record) })
}

/// Files of a commit, what is to be said about them, and trailers of their own.
#[derive(Default)]
pub(super) struct Made {
    pub(super) files: Vec<NewFile>,
    pub(super) notes: Vec<String>,
    pub(super) trailers: Vec<(&'static str, String)>,
}

impl Made {
    pub(super) fn noting(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// What the file is to say by now.
    async fn text(&self, branch: &Branch<'_>, path: &str) -> Result<Option<String>, GitError> {
        match self.files.iter().find(|(name, _)| name == path) {
            Some((_, text)) => Ok(text.clone()),
            None => branch.git.read(&branch.tip.commit, path).await,
        }
    }
}

fn by_weights(branch: &Branch<'_>, intent: &Intent, changes: &[Change]) -> Result<Made, GitError> {
    let text = edit::edit(&branch.tip.text, intent.route.as_str(), changes);
    let text = text.map_err(|error| GitError::Failed(error.to_string()))?;
    Ok(Made { files: vec![(branch.git.path().to_owned(), Some(text))], ..Made::default() })
}

/// Sets what else the commit is to set. A rollback also takes back what the release's steps have set, unless a person has
/// changed it since, and never fails for it: the rollback must arrive.
async fn set(branch: &Branch<'_>, intent: &Intent, made: &mut Made) -> Result<(), GitError> {
    let rollback = matches!(intent.to, Move::RollBack { .. });
    let said = intent.set.iter().cloned();
    let back = if rollback { undo::settings(branch, intent) } else { Vec::new() };
    let back = back.into_iter().filter(|(edit, _)| !intent.set.iter().any(|said| same(said, edit)));
    for (edit, expected) in said.map(|edit| (edit, None)).chain(back.map(|(edit, was)| (edit, Some(was)))) {
        match set_one(branch, made, &edit, expected.as_deref()).await {
            Err(GitError::Failed(why) | GitError::Missing(why)) if rollback => {
                made.notes.push(format!("Not set: `{}` of {}: {why}.", edit.path(), edit.file()));
            }
            done => done?,
        }
    }
    Ok(())
}

fn same(a: &FileEdit, b: &FileEdit) -> bool {
    (a.file(), a.path()) == (b.file(), b.path())
}

async fn set_one(
    branch: &Branch<'_>,
    made: &mut Made,
    edit: &FileEdit,
    expected: Option<&str>,
) -> Result<(), GitError> {
    let path = edit.file();
    if path == branch.git.path() {
        return Err(GitError::Failed(format!(
            "{path} is the routes file itself; only weights and roles are set in it"
        )));
    }
    let missing = || GitError::Missing(format!("there is no {path} on the branch"));
    let text = made.text(branch, path).await?.ok_or_else(missing)?;
    let before = edit::value(&text, edit).unwrap_or_default();
    if before == edit.value() || expected.is_some_and(|expected| expected != before) {
        return Ok(());
    }
    let edited = edit::set(&text, &[edit]).map_err(|error| GitError::Failed(error.to_string()))?;
    made.files.retain(|(name, _)| name != path);
    made.files.push((path.to_owned(), Some(edited)));
    made.trailers.push((SET, undo::said(edit, &before)));
    Ok(())
}

/// What differs in weight or role; what is gone is rejected.
fn between(before: &Route, after: &Route, candidate: &Artefact) -> Vec<Change> {
    let changed = before.variants.iter().filter_map(|was| {
        let is = after.variants.iter().find(|v| v.name == was.name);
        let (weight, role) = is.map_or((Weight::ZERO, Role::Rejected), |v| (v.said, v.role));
        let variant = was.name.clone();
        ((weight, role) != (was.said, was.role)).then_some(Change { variant, weight, role })
    });
    let mut changed: Vec<Change> = changed.collect();
    // The candidate first, as in every other message.
    let other = |name: &VariantName| before.variants.iter().any(|v| v.name == *name && v.artefact != *candidate);
    changed.sort_by_key(|change| other(&change.variant));
    changed
}

/// A routes file without clamps.
pub(super) fn compiled(text: &str) -> Result<Snapshot, GitError> {
    let (snapshot, _) = config::read(text, &Clamps::default()).map_err(|problems| {
        let first = problems.first().map_or(String::new(), |problem| problem.one_line("routes.yaml"));
        GitError::Failed(format!("the file on the branch is not valid: {first}"))
    })?;
    Ok(snapshot)
}

pub(super) fn named(snapshot: &Snapshot, intent: &Intent) -> Option<Arc<Route>> {
    snapshot.routes.named(intent.route.as_str()).map(|(_, route)| route.clone())
}
