//! What a rollback goes back to: the files without the release's commits, the route as it last was good, and what the release's
//! steps have set elsewhere.

use super::{
    message::{ACTION, ARTEFACT, ATTEMPT, REVERTS, ROUTE, SET, VERDICT},
    proposal::{Branch, Made, compiled, named},
};
use crate::{
    config::edit,
    core::{plan::FileEdit, release::intent::Intent, route::Route, snapshot::Snapshot},
    io::git::{GitError, Recorded},
};
use serde::{Deserialize, Serialize};

/// The files without the release's commits: the one that brought the artefact, and ours since. `None` if somebody else has
/// changed the route meanwhile, if they touch anything but this route and its model's folder, or if it is not clean.
pub(super) async fn reverted(
    branch: &Branch<'_>,
    intent: &Intent,
    route: &Route,
    before: &Snapshot,
) -> Result<Option<Made>, GitError> {
    let Branch { git, tip, .. } = branch;
    let Some(commits) = commits(branch, intent).await? else { return Ok(None) };
    let candidate = route.variants.iter().find(|v| v.artefact == intent.artefact);
    let folder = candidate.and_then(|v| v.model.uri.as_deref()).and_then(folder);
    let set: Vec<String> = of_release(branch, intent).flat_map(settings_of).map(|set| set.file).collect();
    let within = |path: &str| {
        path == git.path()
            || set.iter().any(|file| file == path)
            || folder.is_some_and(|folder| path.starts_with(folder))
    };
    let names: Vec<String> = commits.iter().map(|commit| commit.commit.clone()).collect();
    let Some(files) = git.without(tip, &names, within).await? else { return Ok(None) };
    let text = files.iter().find(|(path, _)| path == git.path()).and_then(|(_, text)| text.as_deref());
    let Some(Ok(after)) = text.map(compiled) else { return Ok(None) };
    let others = |snapshot: &Snapshot| {
        let others = snapshot.routes.iter().filter(|route| route.name != intent.route);
        others.map(|route| (route.name.clone(), route.digest)).collect::<Vec<_>>()
    };
    let good =
        named(&after, intent).is_some_and(|route| intent.rejected_by(&route)) && others(before) == others(&after);
    let notes = commits.iter().map(reverts).collect();
    Ok(good.then(|| Made { files, notes, trailers: vec![(REVERTS, names.join(" "))] }))
}

/// As `git revert` says it; of a merge it takes back all that came in with it, as `git revert -m 1` does.
fn reverts(commit: &Recorded) -> String {
    match commit.parents.as_slice() {
        [] | [_] => format!("This reverts commit {}.", commit.commit),
        [into, ..] => format!("This reverts commit {}, reversing changes made to {into}.", commit.commit),
    }
}

/// The commits of the release, newest first; `None` if that cannot be told, or if the route was changed by somebody else since.
async fn commits(branch: &Branch<'_>, intent: &Intent) -> Result<Option<Vec<Recorded>>, GitError> {
    let Branch { git, tip, .. } = branch;
    let mut commits = Vec::new();
    for commit in git.touching(tip, git.path()).await? {
        // A pull request is merged by a commit of the host, which has ours beside it.
        let beside = commit.parents.get(1).and_then(|of| branch.record.iter().find(|one| one.commit == *of));
        if is_of(&commit, intent) || beside.is_some_and(|one| is_of(one, intent)) {
            commits.push(commit);
            continue;
        }
        let Some(parent) = commit.parents.first() else { return Ok(None) };
        // What lies below the last commit that was fetched cannot be read.
        let (Ok(Some(after)), Ok(Some(before))) =
            (git.read(&commit.commit, git.path()).await, git.read(parent, git.path()).await)
        else {
            return Ok(None);
        };
        let (Ok(after), Ok(before)) = (compiled(&after), compiled(&before)) else { return Ok(None) };
        let (Some(after), Some(before)) = (named(&after, intent), named(&before, intent)) else { return Ok(None) };
        if after.digest == before.digest {
            continue;
        }
        let has = |route: &Route| route.variants.iter().any(|v| v.artefact == intent.artefact);
        if !has(&after) || has(&before) {
            return Ok(None);
        }
        commits.push(commit);
        return Ok(Some(commits));
    }
    Ok(None)
}

/// The route as the newest commit has it by which something else passed.
pub(super) async fn last_good(branch: &Branch<'_>, intent: &Intent) -> Result<Option<Made>, GitError> {
    let Branch { git, tip, record } = branch;
    let passed = record.iter().filter(|commit| {
        commit.trailer(ROUTE) == Some(intent.route.as_str())
            && matches!(commit.trailer(ACTION), Some("promote" | "done"))
            && commit.trailer(VERDICT) == Some("pass")
            && commit.trailer(ARTEFACT) != Some(intent.artefact.as_str())
    });
    for commit in passed {
        let Some(good) = git.read(&commit.commit, git.path()).await? else { continue };
        let Ok(text) = edit::restore(&tip.text, &good, intent.route.as_str()) else { continue };
        if named(&compiled(&text)?, intent).is_some_and(|route| intent.rejected_by(&route)) {
            let note = format!("The route is as commit {} has it.", commit.commit);
            let files = vec![(git.path().to_owned(), Some(text))];
            return Ok(Some(Made { files, ..Made::default() }.noting(note)));
        }
    }
    Ok(None)
}

/// The folder that a model is in, if it is in the repository: `models/digits/` of `models/digits/2`.
fn folder(uri: &str) -> Option<&str> {
    let outside = uri.contains("://") || uri.starts_with('/') || uri.split('/').any(|part| part == "..");
    let end = uri.trim_end_matches('/').rfind('/')?;
    uri.get(..=end).filter(|_| !outside)
}

fn is_of(commit: &Recorded, intent: &Intent) -> bool {
    commit.trailer(ROUTE) == Some(intent.route.as_str())
        && commit.trailer(ARTEFACT) == Some(intent.artefact.as_str())
        && commit.trailer(ATTEMPT) == Some(intent.attempt.to_string().as_str())
}

/// Our commits of this attempt, newest first.
fn of_release<'a>(branch: &'a Branch<'_>, intent: &'a Intent) -> impl Iterator<Item = &'a Recorded> {
    branch.record.iter().filter(|commit| is_of(commit, intent))
}

/// A scalar that a commit of ours has set, as its trailer says it.
#[derive(Serialize, Deserialize)]
struct Setting {
    file: String,
    path: String,
    from: String,
    to: String,
}

/// The trailer of an edit of a scalar that said `from`.
pub(super) fn said(edit: &FileEdit, from: &str) -> String {
    let (file, path, to) = (edit.file().to_owned(), edit.path().to_owned(), edit.value().to_owned());
    serde_json::to_string(&Setting { file, path, from: from.to_owned(), to }).unwrap_or_default()
}

fn settings_of(commit: &Recorded) -> impl Iterator<Item = Setting> + '_ {
    commit.trailers.iter().filter(|(name, _)| name == SET).filter_map(|(_, text)| serde_json::from_str(text).ok())
}

/// What takes the settings of this release back, each with what its scalar must say for that.
pub(super) fn settings(branch: &Branch<'_>, intent: &Intent) -> Vec<(FileEdit, String)> {
    let mut back: Vec<(Setting, String)> = Vec::new();
    // The newest says what stands there now, the oldest what stood there before the release.
    for setting in of_release(branch, intent).flat_map(settings_of) {
        match back.iter_mut().find(|(known, _)| (&known.file, &known.path) == (&setting.file, &setting.path)) {
            Some((known, _)) => known.from = setting.from,
            None => {
                let now = setting.to.clone();
                back.push((setting, now));
            }
        }
    }
    let edit = |(s, now): (Setting, String)| Some((FileEdit::new(&s.file, &s.path, &s.from).ok()?, now));
    back.into_iter().filter_map(edit).collect()
}
