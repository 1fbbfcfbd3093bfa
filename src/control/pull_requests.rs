//! What would be a push becomes a pull request, one for each intent, that people merge or close.
//!
//! It is found by its branch, which is named from the intent, so that a restart and another replica find the same one. Nothing
//! is forced here either: when the target has moved under it, its branch gets a commit on top of both. What people have closed
//! is their no; what we have closed says so itself, and is opened again when it is wanted again.

use super::{
    message::INTENT,
    record::{get, put},
};
use crate::{
    core::{
        name::ReleaseKey,
        release::intent::{Intent, Move, Outcome, Wanted},
    },
    io::{
        forge::{Forge, PullRequest, State, Words},
        git::{Git, GitError, NewFile, NewText, Tip},
        meters::Meters,
        store::Store,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// The store's document with the intents that people were asked about.
const DOCUMENT: &str = "pull_requests";

/// How people are asked.
#[derive(Clone, Debug)]
pub enum Way {
    /// By the API of the Git host.
    Api(Forge),
    /// By GitLab's push options: the host makes a merge request of the push. What becomes of it is only seen on the branches.
    PushOptions,
}

/// The pull requests that were opened, or found to be open.
#[derive(Debug)]
pub struct PullRequests {
    way: Way,
    every: Duration,
    store: Store,
    meters: Arc<Meters>,
    /// By the ids of their intents: the branches.
    asked: BTreeMap<String, String>,
}

/// What people are to be asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// What is wanted.
    pub(super) wanted: &'a Wanted,
    /// The tip it is made on.
    pub(super) tip: &'a Tip,
    /// The files to change.
    pub(super) files: &'a [NewFile],
    /// The commit message.
    pub(super) message: &'a str,
}

impl Question<'_> {
    fn words(&self) -> Words<'_> {
        let (title, body) = self.message.split_once('\n').unwrap_or((self.message, ""));
        Words { title, body: body.trim_start() }
    }
}

/// The branch of an intent's pull request.
fn branch(intent: &Intent) -> String {
    format!("{}{}", of_release(intent), intent.id())
}

/// How the branches begin of everybody's intents to do the same.
fn of_release(intent: &Intent) -> String {
    format!("coalmine/{}-{}-", intent.to.as_str(), ReleaseKey::of(&intent.route, &intent.artefact))
}

impl PullRequests {
    /// Those that an earlier process has opened are known again. They are looked at `every` so often.
    #[must_use]
    pub fn new(way: Way, every: Duration, store: Store, meters: Arc<Meters>) -> Self {
        let asked = get(&store, DOCUMENT, |_| None);
        Self { way, every, store, meters, asked }
    }

    /// How often it is looked whether people have merged or closed one.
    pub(super) fn every(&self) -> Duration {
        self.every
    }

    /// Whether there are any that nobody may want any more.
    pub(super) fn has_stale(&self, wanted: &[Wanted]) -> bool {
        self.asked.keys().any(|id| !wanted.iter().any(|wanted| wanted.intent.id() == *id))
    }

    /// Sees to it that there is one that asks this, and says what has become of it.
    ///
    /// # Errors
    /// [`GitError`]; [`GitError::Stale`] if the branch has moved meanwhile.
    pub(super) async fn ask(&mut self, git: &Git, question: &Question<'_>) -> Result<Outcome, GitError> {
        let intent = &question.wanted.intent;
        let branch = branch(intent);
        let Way::Api(forge) = self.way.clone() else { return self.push(git, question, branch).await };
        match forge.find(&branch, git.branch()).await? {
            None => self.open(&forge, git, question, branch).await,
            Some(PullRequest { state: State::Merged(commit), .. }) => match merged(git, question, &commit).await? {
                Some(outcome) => Ok(outcome),
                None => self.open(&forge, git, question, branch).await,
            },
            Some(PullRequest { state: State::Closed, url, .. }) => Ok(Outcome::Refused(url.into())),
            Some(PullRequest { state: State::Withdrawn, url, number, .. }) => {
                renew(git, &branch, question, &[]).await?;
                forge.reopen(number, question.words()).await?;
                tracing::info!(intent = intent.id(), url, "a pull request is wanted again: reopened");
                self.note(&intent.id(), branch);
                Ok(Outcome::Waiting(url.into()))
            }
            Some(PullRequest { state: State::Open, url, number, .. }) => {
                if renew(git, &branch, question, &[]).await? {
                    forge.reword(number, question.words()).await?;
                    tracing::info!(intent = intent.id(), url, "a pull request is brought up to date");
                }
                Ok(Outcome::Waiting(url.into()))
            }
        }
    }

    /// The branch has left nothing to ask for: by one of ours, if that was merged. One that is still open is withdrawn.
    ///
    /// # Errors
    /// [`GitError`] if the host cannot be asked.
    pub(super) async fn settled(&mut self, git: &Git, wanted: &Wanted, outcome: Outcome) -> Result<Outcome, GitError> {
        if wanted.shown.is_some() || wanted.learned {
            return Ok(outcome);
        }
        let Way::Api(forge) = &self.way else {
            return Ok(match outcome {
                Outcome::There(commit) if self.asked.contains_key(&wanted.intent.id()) => Outcome::Committed(commit),
                other => other,
            });
        };
        let found = forge.find(&branch(&wanted.intent), git.branch()).await?;
        Ok(match (found, outcome) {
            (Some(PullRequest { state: State::Merged(commit), .. }), Outcome::There(_) | Outcome::Moved) => {
                Outcome::Committed(commit.into())
            }
            (Some(open @ PullRequest { state: State::Open, .. }), outcome) => {
                forge.close(&open, &format!("Not needed any more: {}.", outcome.words())).await?;
                outcome
            }
            (_, outcome) => outcome,
        })
    }

    /// Closes those that we have opened and nobody wants any more; whether that is done.
    pub(super) async fn withdraw(&mut self, git: &Git, wanted: &[Wanted]) -> bool {
        let stale = |id: &String| !wanted.iter().any(|wanted| wanted.intent.id() == *id);
        let stale: Vec<_> =
            self.asked.iter().filter(|(id, _)| stale(id)).map(|(i, b)| (i.clone(), b.clone())).collect();
        for (id, branch) in stale {
            match self.close(git, &id, &branch).await {
                Ok(()) => {
                    self.asked.remove(&id);
                    put(&self.store, DOCUMENT, &self.asked);
                }
                Err(why) => {
                    tracing::warn!(intent = id, %why, "a pull request that is overtaken could not be closed: tried again");
                    return false;
                }
            }
        }
        true
    }

    async fn close(&self, git: &Git, id: &str, branch: &str) -> Result<(), GitError> {
        // What another replica has opened is its own to close.
        let (Way::Api(forge), true) = (&self.way, branch.ends_with(id)) else { return Ok(()) };
        match forge.find(branch, git.branch()).await? {
            Some(open @ PullRequest { state: State::Open, .. }) => {
                tracing::info!(intent = id, url = open.url, "a pull request is closed: it is overtaken");
                forge.close(&open, "Overtaken: this is not wanted any more.").await
            }
            _ => Ok(()),
        }
    }

    async fn open(
        &mut self,
        forge: &Forge,
        git: &Git,
        question: &Question<'_>,
        branch: String,
    ) -> Result<Outcome, GitError> {
        let id = question.wanted.intent.id();
        if let Some(outcome) = self.asked_by_others(forge, git, &question.wanted.intent).await? {
            return Ok(outcome);
        }
        renew(git, &branch, question, &[]).await?;
        let opened = match forge.open(&branch, git.branch(), question.words()).await {
            // Another replica was faster.
            Err(GitError::Failed(why)) => match forge.find(&branch, git.branch()).await? {
                Some(open) if open.state == State::Open => open,
                _ => return Err(GitError::Failed(why)),
            },
            opened => opened?,
        };
        tracing::info!(intent = id, url = opened.url, "a pull request is opened");
        self.meters.git_asked.up();
        self.note(&id, branch);
        Ok(Outcome::Waiting(opened.url.into()))
    }

    /// Every replica decides a rollback for itself; people are asked once.
    async fn asked_by_others(
        &mut self,
        forge: &Forge,
        git: &Git,
        intent: &Intent,
    ) -> Result<Option<Outcome>, GitError> {
        if !matches!(intent.to, Move::RollBack { .. }) {
            return Ok(None);
        }
        let (id, own) = (intent.id(), branch(intent));
        let waited_for = self.asked.get(&id).cloned();
        for other in git.branches(&of_release(intent)).await?.into_iter().filter(|other| *other != own) {
            let Some(found) = forge.find(&other, git.branch()).await? else { continue };
            match found.state {
                State::Open => {
                    self.note(&id, other);
                    return Ok(Some(Outcome::Waiting(found.url.into())));
                }
                // The no to theirs is one to ours.
                State::Closed if waited_for.as_ref() == Some(&other) => {
                    return Ok(Some(Outcome::Refused(found.url.into())));
                }
                State::Closed | State::Merged(_) | State::Withdrawn => {}
            }
        }
        Ok(None)
    }

    async fn push(&mut self, git: &Git, question: &Question<'_>, branch: String) -> Result<Outcome, GitError> {
        let place = format!("the merge request of branch {branch}");
        let id = question.wanted.intent.id();
        if self.asked.contains_key(&id) && git.head(&branch).await?.is_none() {
            // The host takes the branch away with the merge request.
            return Ok(Outcome::Refused(place.into()));
        }
        let target = format!("merge_request.target={}", git.branch());
        let title = format!("merge_request.title={}", question.words().title);
        let options = ["merge_request.create", &target, &title, "merge_request.remove_source_branch"];
        if renew(git, &branch, question, &options).await? {
            self.meters.git_asked.up();
            self.note(&id, branch);
        }
        Ok(Outcome::Waiting(place.into()))
    }

    fn note(&mut self, id: &str, branch: String) {
        if self.asked.get(id) != Some(&branch) {
            self.asked.insert(id.to_owned(), branch);
            put(&self.store, DOCUMENT, &self.asked);
        }
    }
}

/// What it means that one was merged and the branch does not say it; `None`: the branch was put back to before the merge.
async fn merged(git: &Git, question: &Question<'_>, commit: &str) -> Result<Option<Outcome>, GitError> {
    let Question { wanted, tip, .. } = question;
    if !git.contains(tip, commit).await? {
        // Ours may be the tip of before the merge.
        return match git.tip().await?.commit == tip.commit {
            true => Ok(None),
            false => Err(GitError::Stale("the pull request has just been merged".into())),
        };
    }
    Ok(Some(match wanted.intent.to {
        Move::RollBack { .. } => Outcome::Readmitted(tip.commit.as_str().into()),
        Move::Readmit(_) => Outcome::There(commit.into()),
        Move::Step(_) | Move::Promote { .. } | Move::Finish => Outcome::TakenBack(commit.into()),
    }))
}

/// Brings the branch up to date; whether there was anything to do. What a person has committed to it stays as it is.
async fn renew(git: &Git, branch: &str, question: &Question<'_>, options: &[&str]) -> Result<bool, GitError> {
    let Question { wanted, tip, files, message } = question;
    let head = git.head(branch).await?;
    if let Some(head) = &head {
        if head.trailer(INTENT) != Some(wanted.intent.id().as_str()) {
            return Ok(false);
        }
        let base = head.parents.first().map_or("", String::as_str);
        if fits(git, files, &head.commit, base, &tip.commit).await? {
            return Ok(false);
        }
    }
    let also = head.as_ref().map(|head| head.commit.as_str());
    let files: Vec<NewText<'_>> = files.iter().map(|(path, text)| NewText { path, text: text.as_deref() }).collect();
    let commit = git.record_over(tip, also, &files, message).await?;
    git.push_with(&commit, branch, options).await?;
    Ok(true)
}

/// Whether merging `head`, which was made on `base`, into `tip` makes these files say what they are to say.
async fn fits(git: &Git, files: &[NewFile], head: &str, base: &str, tip: &str) -> Result<bool, GitError> {
    for (path, text) in files {
        if git.read(head, path).await? != *text || git.read(base, path).await? != git.read(tip, path).await? {
            return Ok(false);
        }
    }
    Ok(true)
}
