//! Fast-forward pushes, what the server made of them, and the branch read back.

use super::{Git, error::GitError};

impl Git {
    /// Pushes `commit` to `branch`, fast-forward only. The server's word for success is not proof: ask [`Self::shows`].
    ///
    /// # Errors
    /// [`GitError`]. After [`GitError::Network`] and [`GitError::Failed`] the branch may have it nevertheless.
    pub async fn push(&self, commit: &str, branch: &str) -> Result<(), GitError> {
        self.remote.access.check()?;
        let refspec = format!("{commit}:refs/heads/{branch}");
        let said = self.run(&["push", "--porcelain", "--", super::REMOTE, &refspec], b"").await?;
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
