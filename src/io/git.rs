//! The system's git on a bare clone of our own, without the files that nobody asked for: reads the tip of the branch and the
//! record of releases in it, puts one commit on top, pushes fast-forward only, and reads the branch back.
//!
//! A clone is disposable: it is made at the first use, and anew when something is wrong with it.

mod access;
mod error;
mod log;
mod push;
mod revert;
mod run;
mod sign;
mod write;

pub use access::Access;
pub use error::GitError;
pub use log::Recorded;
pub use revert::NewFile;
pub use sign::{KeyKind, Signing};
pub use write::NewText;

use run::Said;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

/// What the remote is called in our clone.
const REMOTE: &str = "origin";
/// Our name for the branch's tip.
const TIP: &str = "refs/coalmine/tip";
/// Our name for what a branch has shown after a push.
const READ_BACK: &str = "refs/coalmine/read-back";
/// Where the pinned host key is written.
const PINNED: &str = "known_hosts";

/// Where and how to commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// Anything git can reach by file, ssh, http or https; no password in it.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// The routes file in it.
    pub path: String,
    /// Name and e-mail of author and committer.
    pub author: (String, String),
    /// How we are let in.
    pub access: Access,
    /// What commits are signed with; missing: nothing.
    pub signing: Option<Signing>,
    /// Ends of everything.
    pub limits: Limits,
}

/// Ends of everything that depends on the remote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest time of one git command.
    pub command: Duration,
    /// So many commits are fetched: a commit of ours that is older counts as gone, and a rollback is made once more.
    pub history: u32,
    /// A clone that has grown larger is made anew; a new one that is larger is refused.
    pub clone_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { command: Duration::from_secs(30), history: 200, clone_bytes: 1 << 30 }
    }
}

/// The tip of the branch, and the routes file in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tip {
    /// The commit.
    pub commit: String,
    /// The file's text.
    pub text: String,
}

/// A clone.
#[derive(Debug)]
pub struct Git {
    remote: Remote,
    dir: PathBuf,
    /// Whether the clone in `dir` is ours: what an earlier process has left behind may be half made.
    made: AtomicBool,
    /// Whether the remote cannot give single files, so that all of them are fetched.
    whole: AtomicBool,
}

impl Git {
    /// A clone in `dir`, which is made at the first use.
    #[must_use]
    pub fn new(remote: Remote, dir: PathBuf) -> Self {
        Self { remote, dir, made: AtomicBool::new(false), whole: AtomicBool::new(false) }
    }

    /// The branch that commits go to.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.remote.branch
    }

    /// The routes file in the repository.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.remote.path
    }

    /// Fetches the tip.
    ///
    /// # Errors
    /// [`GitError`] if the remote, the branch or the file cannot be read.
    pub async fn tip(&self) -> Result<Tip, GitError> {
        let mut tip = self.fresh_tip().await;
        if matches!(tip, Err(GitError::Failed(_))) && self.made.swap(false, Relaxed) {
            // Whatever is wrong with the clone, the next one is whole.
            tip = self.fresh_tip().await;
            if matches!(tip, Err(GitError::Failed(_))) && !self.whole.load(Relaxed) {
                self.whole.store(true, Relaxed);
                self.made.store(false, Relaxed);
                tip = self.fresh_tip().await;
                self.whole.fetch_and(tip.is_ok(), Relaxed);
            }
        }
        tip
    }

    async fn fresh_tip(&self) -> Result<Tip, GitError> {
        self.remote.access.check()?;
        self.prepare().await?;
        self.fetch(&self.remote.branch, TIP).await?;
        self.bound()?;
        let commit = self.git(&["rev-parse", TIP], b"").await?.trim().to_owned();
        let path = &self.remote.path;
        let missing = || GitError::Missing(format!("there is no {path} on the branch {}", self.remote.branch));
        let text = self.read(&commit, path).await?.ok_or_else(missing)?;
        Ok(Tip { commit, text })
    }

    /// A file as it is in `commit`; `None` if there is none.
    ///
    /// # Errors
    /// [`GitError`] if it cannot be fetched, or is not text.
    pub async fn read(&self, commit: &str, path: &str) -> Result<Option<String>, GitError> {
        if self.git(&["ls-tree", "--name-only", commit, "--", path], b"").await?.is_empty() {
            return Ok(None);
        }
        let said = self.run(&["cat-file", "blob", &format!("{commit}:{path}")], b"").await?;
        match (said.good, String::from_utf8(said.out)) {
            (false, _) => Err(GitError::of(&said.error)),
            // Every byte outside an edit must stay.
            (true, Err(_)) => Err(GitError::Failed(format!("{path} is not UTF-8"))),
            (true, Ok(text)) => Ok(Some(text)),
        }
    }

    /// Whether `commit` is the tip or one of its ancestors, as far back as was fetched.
    ///
    /// # Errors
    /// [`GitError::Failed`] if git cannot be run.
    pub async fn contains(&self, tip: &Tip, commit: &str) -> Result<bool, GitError> {
        self.is_below(commit, &tip.commit).await
    }

    /// The commits at or below the tip whose message has a line `trailer: ...`, newest first, as far back as was fetched.
    ///
    /// # Errors
    /// [`GitError::Failed`] if git cannot be run.
    pub async fn recorded(&self, tip: &Tip, trailer: &str) -> Result<Vec<Recorded>, GitError> {
        let grep = format!("--grep=^{trailer}: ");
        let said = self.git(&["log", "-z", log::FORMAT, &grep, &tip.commit], b"").await?;
        Ok(said.split('\0').filter_map(Recorded::read).collect())
    }

    /// Whether the branch has more commits than were fetched.
    ///
    /// # Errors
    /// [`GitError::Failed`] if git cannot be run.
    pub async fn is_cut_off(&self) -> Result<bool, GitError> {
        Ok(self.git(&["rev-parse", "--is-shallow-repository"], b"").await?.trim() == "true")
    }

    /// When a commit was made, by its own word, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// [`GitError::Failed`] if it is not there.
    pub async fn made_ms(&self, commit: &str) -> Result<i64, GitError> {
        let said = self.git(&["show", "--no-patch", "--format=%ct", commit, "--"], b"").await?;
        let seconds: Option<i64> = said.trim().parse().ok();
        seconds.map(|s| s.saturating_mul(1000)).ok_or_else(|| GitError::Failed(format!("{commit} has no time")))
    }

    /// What `to` changes in `from`, as a unified diff.
    ///
    /// # Errors
    /// [`GitError`] if a file cannot be fetched.
    pub async fn difference(&self, from: &str, to: &str) -> Result<String, GitError> {
        self.git(&["diff-tree", "-r", "-p", "--no-color", "--no-ext-diff", from, to], b"").await
    }

    async fn is_below(&self, commit: &str, tip: &str) -> Result<bool, GitError> {
        Ok(self.run(&["merge-base", "--is-ancestor", commit, tip], b"").await?.good)
    }

    async fn fetch(&self, branch: &str, name: &str) -> Result<(), GitError> {
        let refspec = format!("+refs/heads/{branch}:{name}");
        let depth = format!("--depth={}", self.remote.limits.history);
        let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", &depth];
        if !self.whole.load(Relaxed) {
            arguments.push("--filter=blob:none");
        }
        arguments.extend(["--", REMOTE, &refspec]);
        self.git(&arguments, b"").await.map(drop)
    }

    /// Makes the clone, if there is none of ours yet.
    async fn prepare(&self) -> Result<(), GitError> {
        let failed = |error: std::io::Error| GitError::Failed(format!("{}: {error}", self.dir.display()));
        if self.made.load(Relaxed) && self.dir.join("HEAD").exists() {
            return Ok(());
        }
        let _ = fs::remove_dir_all(&self.dir);
        fs::create_dir_all(&self.dir).map_err(failed)?;
        self.git(&["init", "--quiet", "--bare", "--template=", "."], b"").await?;
        self.git(&["config", &format!("remote.{REMOTE}.url"), &self.remote.url], b"").await?;
        if !self.whole.load(Relaxed) {
            for (key, value) in [
                ("core.repositoryFormatVersion", "1"),
                ("extensions.partialClone", REMOTE),
                ("remote.origin.promisor", "true"),
                ("remote.origin.partialCloneFilter", "blob:none"),
            ] {
                self.git(&["config", key, value], b"").await?;
            }
        }
        self.remote.access.pin(&self.dir.join(PINNED)).map_err(failed)?;
        self.made.store(true, Relaxed);
        Ok(())
    }

    /// Keeps the clone within its bound.
    fn bound(&self) -> Result<(), GitError> {
        let (bytes, limit) = (bytes_in(&self.dir), self.remote.limits.clone_bytes);
        if bytes <= limit {
            return Ok(());
        }
        Err(GitError::Failed(format!("the clone has {bytes} bytes, more than the {limit} that `clone_max` allows")))
    }

    async fn git(&self, arguments: &[&str], input: &[u8]) -> Result<String, GitError> {
        match self.run(arguments, input).await? {
            Said { good: true, out, .. } => Ok(lossy(&out)),
            Said { good: false, error, .. } => Err(GitError::of(&error)),
        }
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Said, GitError> {
        run::run(&self.remote, &self.dir, arguments, input).await
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A clone is a few files; whatever cannot be read counts nothing.
fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
