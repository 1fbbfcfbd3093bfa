//! An intent -> a commit on the branch, or a question to people. One at a time, rollbacks first, until the branch says it or it
//! is off.
//!
//! The clamp already protects traffic, so this may take its time. Recomputed on every new tip, never rebased or merged: the
//! remote's fast-forward check is the last arbiter.

use super::{
    proposal::{Proposal, propose},
    pull_requests::{PullRequests, Question},
    release_loop::Releases,
};
use crate::{
    core::{
        name::Generation,
        release::{
            intent::{Outcome, Wanted},
            made::Made,
        },
    },
    io::{
        git::{Git, GitError, NewText, Tip},
        meters::Meters,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

/// Races that are lost in a row before it waits, and the longest time they may take.
const RACES_MAX: u32 = 10;
const RACES_LONGEST: Duration = Duration::from_secs(60);
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The first pause after a refusal that only a person can lift: no hammering.
const PAUSE_PERSON: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The branch is asked again so often while a file gives a rejected artefact weight.
const ASK_EVERY: Duration = Duration::from_secs(30);

/// What became of the intents that are wanted, by their ids.
pub type Outcomes = Arc<BTreeMap<String, Outcome>>;

/// The loop and its channels.
#[derive(Debug)]
pub struct CommitLoop {
    /// The release loop writes.
    pub wanted: watch::Receiver<Arc<Vec<Wanted>>>,
    /// The release loop reads.
    pub outcomes: watch::Sender<Outcomes>,
    /// Whoever tells people of commits reads; written before the outcome is.
    pub made: watch::Sender<Arc<Vec<Made>>>,
    /// Where it commits; `None`: nowhere, clamps are all there is.
    pub git: Option<Git>,
    /// How people are asked to merge; `None`: commits are pushed to the branch.
    pub requests: Option<PullRequests>,
    /// The release loop writes, at each of its looks.
    pub looked: watch::Receiver<Releases>,
    /// Commits and failures.
    pub meters: Arc<Meters>,
}

/// When an intent was last carried out, over which table, and when it is due again.
type Done = BTreeMap<String, (Instant, Generation, Option<Duration>)>;

impl CommitLoop {
    /// Runs until the release loop is gone.
    pub async fn run(mut self) {
        let (mut pause, mut done) = (PAUSE_MIN, Done::new());
        let mut requests = self.requests.take();
        // Before its first look nobody knows which of them are wanted still.
        if requests.as_ref().is_some_and(|all| all.has_stale(&[])) && self.looked.changed().await.is_err() {
            return;
        }
        let mut withdraw_at = Instant::now();
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            self.forget(&wanted, &mut done);
            let stale = self.withdraw(requests.as_mut(), &wanted, &mut withdraw_at).await;
            let due = |wanted: &&Wanted| {
                done.get(&wanted.intent.id()).is_none_or(|last| again(wanted, *last) <= Instant::now())
            };
            let (Some(git), Some(next)) = (&self.git, wanted.iter().find(due)) else {
                let asked = wanted.iter().filter_map(|w| done.get(&w.intent.id()).map(|last| again(w, *last)));
                if !self.wait(asked.chain(stale).min()).await {
                    return;
                }
                continue;
            };
            match self.carry_out(git, requests.as_mut(), next).await {
                Ok(outcome) => {
                    // People may merge or close it at any time.
                    let waits = matches!(outcome, Outcome::Waiting(_));
                    let every = requests.as_ref().filter(|_| waits).map(PullRequests::every);
                    self.became(next, outcome);
                    done.insert(next.intent.id(), (Instant::now(), next.generation, every));
                    pause = PAUSE_MIN;
                }
                Err(why) => {
                    self.became(next, Outcome::Failing(why.to_string().into()));
                    pause = if why.needs_a_person() { pause.max(PAUSE_PERSON) } else { pause };
                    // A newer wish may be another one, and then it is not this one's turn to wait.
                    let _ = timeout(pause, self.wanted.changed()).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Until something else is wanted, or so long; whether anybody can want anything still.
    async fn wait(&mut self, alarm: Option<Instant>) -> bool {
        match alarm {
            Some(alarm) => tokio::select! {
                changed = self.wanted.changed() => changed.is_ok(),
                () = sleep_until(alarm) => true,
            },
            None => self.wanted.changed().await.is_ok(),
        }
    }

    /// What people were asked and nobody wants any more is closed; when that is to be tried again, if it could not be.
    async fn withdraw(
        &self,
        requests: Option<&mut PullRequests>,
        wanted: &[Wanted],
        at: &mut Instant,
    ) -> Option<Instant> {
        let (git, requests) = (self.git.as_ref()?, requests.filter(|all| all.has_stale(wanted))?);
        if *at <= Instant::now() {
            if requests.withdraw(git, wanted).await {
                return None;
            }
            *at = Instant::now() + ASK_EVERY;
        }
        Some(*at)
    }

    /// What nobody waits for any more.
    fn forget(&self, wanted: &[Wanted], done: &mut Done) {
        let kept = |id: &String| wanted.iter().any(|wanted| wanted.intent.id() == *id);
        done.retain(|id, _| kept(id));
        self.outcomes.send_if_modified(|all| {
            let stale = all.keys().any(|id| !kept(id));
            if stale {
                Arc::make_mut(all).retain(|id, _| kept(id));
            }
            stale
        });
    }

    fn became(&self, wanted: &Wanted, outcome: Outcome) {
        let intent = &wanted.intent;
        if let Outcome::Committed(commit) = &outcome {
            self.made.send_modify(|all| Made::add(Arc::make_mut(all), intent, commit));
        }
        self.outcomes.send_modify(|all| drop(Arc::make_mut(all).insert(intent.id(), outcome)));
    }

    async fn carry_out(
        &self,
        git: &Git,
        requests: Option<&mut PullRequests>,
        wanted: &Wanted,
    ) -> Result<Outcome, GitError> {
        let intent = &wanted.intent;
        let (route, action) = (intent.route.as_str(), intent.to.as_str());
        let mut done = self.commit(git, requests, wanted).await;
        let known = self.outcomes.borrow().get(&intent.id()).cloned();
        if let (Ok(there @ Outcome::There(_)), Some(ours @ Outcome::Committed(_)), true) =
            (&mut done, known, intent.is_raise())
        {
            // Asked once more whether it still stands there: it does.
            *there = ours;
        }
        match &done {
            Ok(outcome) if self.outcomes.borrow().get(&intent.id()) == Some(outcome) => {}
            Ok(outcome) => tracing::info!(route, action, ?outcome, by = %intent.by, "{}", outcome.words()),
            Err(why) => {
                self.meters.git_failures.up();
                tracing::error!(route, action, kind = why.as_str(), %why,
                    "not committed; a clamp holds all the same, a raise waits");
            }
        }
        done
    }

    /// Recomputed on every new tip, until it is on the branch or off.
    async fn commit(
        &self,
        git: &Git,
        mut requests: Option<&mut PullRequests>,
        wanted: &Wanted,
    ) -> Result<Outcome, GitError> {
        let began = Instant::now();
        let mut last = String::new();
        for _ in 0..RACES_MAX {
            let tip = git.tip().await?;
            match self.once(git, requests.as_deref_mut(), wanted, &tip).await {
                Err(GitError::Stale(why)) => last = why,
                done => return done,
            }
            if began.elapsed() > RACES_LONGEST {
                break;
            }
            sleep(jitter(&tip)).await;
        }
        Err(GitError::Failed(format!("the branch moves faster than we can commit to it: {last}")))
    }

    /// On this tip.
    async fn once(
        &self,
        git: &Git,
        requests: Option<&mut PullRequests>,
        wanted: &Wanted,
        tip: &Tip,
    ) -> Result<Outcome, GitError> {
        let (files, message) = match (propose(git, tip, wanted).await?, requests) {
            (Proposal::Nothing(outcome), None) => return Ok(outcome),
            (Proposal::Nothing(outcome), Some(requests)) => return requests.settled(git, wanted, outcome).await,
            (Proposal::Commit { files, message }, Some(requests)) => {
                return requests.ask(git, &Question { wanted, tip, files: &files, message: &message }).await;
            }
            (Proposal::Commit { files, message }, None) => (files, message),
        };
        let files: Vec<NewText<'_>> =
            files.iter().map(|(path, text)| NewText { path, text: text.as_deref() }).collect();
        let commit = git.record(tip, &files, &message).await?;
        git.push(&commit, git.branch()).await?;
        if !git.shows(&commit, git.branch()).await? {
            return Err(GitError::Stale("the remote took our commit, and the branch does not show it".into()));
        }
        self.meters.git_commits.up();
        Ok(Outcome::Committed(commit.into()))
    }
}

/// When an intent that was carried out is due once more.
fn again(wanted: &Wanted, (at, generation, every): (Instant, Generation, Option<Duration>)) -> Instant {
    match every.or(wanted.asks().then_some(ASK_EVERY)) {
        Some(every) if wanted.generation == generation => at + every,
        Some(_) => at,
        // Decided once and for all; the release loop takes it off the list.
        None => at + Duration::from_secs(365 * 24 * 3600),
    }
}

/// Replicas that lost the same race must not run the next one in step; the tip they saw is the same, they are not.
fn jitter(tip: &Tip) -> Duration {
    let bytes =
        tip.commit.bytes().fold(u64::from(std::process::id()), |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    Duration::from_millis(bytes % 100)
}
