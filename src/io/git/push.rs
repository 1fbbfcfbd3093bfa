//! Fast-forward pushes, what the server made of them, and the branch read back.

use super::{Git, error::GitError, log::Recorded};

impl Git {
    /// Pushes `commit` to `branch`, fast-forward only. The server's word for success is not proof: ask [`Self::shows`].
    ///
    /// # Errors
    /// [`GitError`]. After [`GitError::Network`] and [`GitError::Failed`] the branch may have it nevertheless.
    pub async fn push(&self, commit: &str, branch: &str) -> Result<(), GitError> {
        self.push_with(commit, branch, &[]).await
    }

    /// The same, with push options.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn push_with(&self, commit: &str, branch: &str, options: &[&str]) -> Result<(), GitError> {
        self.remote.access.check()?;
        let refspec = format!("{commit}:refs/heads/{branch}");
        let mut arguments = vec!["push", "--porcelain"];
        arguments.extend(options.iter().flat_map(|option| ["-o", option]));
        arguments.extend(["--", super::REMOTE, &refspec]);
        let said = self.run(&arguments, b"").await?;
        match said.good {
            true => Ok(()),
            false => Err(GitError::of_push(&self.remote.access.redact(super::lossy(&said.out)), &said.error)),
        }
    }

    /// Asks whether the remote would let us push `commit` to `branch`; nothing is pushed. Its hooks and the rules of the branch
    /// are not asked: they only tell at a real push.
    ///
    /// # Errors
    /// [`GitError`], as [`Self::push`].
    pub async fn would_take(&self, commit: &str, branch: &str) -> Result<(), GitError> {
        self.remote.access.check()?;
        let refspec = format!("{commit}:refs/heads/{branch}");
        let said = self.run(&["push", "--dry-run", "--porcelain", "--", super::REMOTE, &refspec], b"").await?;
        match said.good {
            true => Ok(()),
            false => Err(GitError::of_push(&self.remote.access.redact(super::lossy(&said.out)), &said.error)),
        }
    }

    /// The newest commit of a branch of the remote; `None` if there is no such branch.
    ///
    /// # Errors
    /// [`GitError`] if it cannot be asked.
    pub async fn head(&self, branch: &str) -> Result<Option<Recorded>, GitError> {
        match self.fetch(branch, super::READ_BACK).await {
            Err(GitError::Missing(_)) => return Ok(None),
            fetched => fetched?,
        }
        let said = self.git(&["log", "-1", "-z", super::log::FORMAT, super::READ_BACK], b"").await?;
        Ok(said.split('\0').find_map(Recorded::read))
    }

    /// The remote's branches whose names begin so.
    ///
    /// # Errors
    /// [`GitError`] if it cannot be asked.
    pub async fn branches(&self, prefix: &str) -> Result<Vec<String>, GitError> {
        let pattern = format!("refs/heads/{prefix}*");
        let said = self.git(&["ls-remote", "--", super::REMOTE, &pattern], b"").await?;
        let name = |line: &str| Some(line.split_once("refs/heads/")?.1.trim().to_owned());
        // The pattern is matched at the end of names, too.
        Ok(said.lines().filter_map(name).filter(|name| name.starts_with(prefix)).collect())
    }

    /// Whether the remote's `branch` has `commit`, at its tip or below.
    ///
    /// # Errors
    /// [`GitError`] if it cannot be asked.
    pub async fn shows(&self, commit: &str, branch: &str) -> Result<bool, GitError> {
        let name = format!("refs/heads/{branch}");
        let there = self.git(&["ls-remote", "--", super::REMOTE, &name], b"").await?;
        let Some(there) = there.split_whitespace().next() else { return Ok(false) };
        if there == commit {
            return Ok(true);
        }
        // Somebody has committed on top of it already, or in its place.
        self.fetch(branch, super::READ_BACK).await?;
        self.is_below(commit, super::READ_BACK).await
    }
}
