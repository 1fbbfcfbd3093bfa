//! Commits taken back without a work tree: each of their files is merged by `git merge-file`, the commit as the common
//! ancestor. It succeeds if that is clean, and if no file outside of what is allowed is touched.

use super::{Git, Recorded, Tip, error::GitError, log};
use std::fs;

/// A path, and what it is to say; `None`: it goes.
pub type NewFile = (String, Option<String>);

impl Git {
    /// The commits at or below the tip that touch `path`, newest first, as far back as was fetched. A merge counts as one.
    ///
    /// # Errors
    /// [`GitError::Failed`] if git cannot be run.
    pub async fn touching(&self, tip: &Tip, path: &str) -> Result<Vec<Recorded>, GitError> {
        let said = self.git(&["log", "-z", "--first-parent", log::FORMAT, &tip.commit, "--", path], b"").await?;
        Ok(said.split('\0').filter_map(Recorded::read).collect())
    }

    /// What the files would say without `commits`, which are given newest first; `None` if that is not clean, or if one of
    /// them touches a file that is not `within`.
    ///
    /// # Errors
    /// [`GitError`] if a file cannot be fetched.
    pub async fn without(
        &self,
        tip: &Tip,
        commits: &[String],
        within: impl Fn(&str) -> bool,
    ) -> Result<Option<Vec<NewFile>>, GitError> {
        let mut files: Vec<NewFile> = Vec::new();
        for commit in commits {
            let parent = format!("{commit}^1");
            let arguments = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", &parent, commit];
            // The first commit there is, or that was fetched, has nothing to go back to.
            let Ok(paths) = self.git(&arguments, b"").await else { return Ok(None) };
            for path in paths.split('\0').filter(|path| !path.is_empty()) {
                if !within(path) {
                    return Ok(None);
                }
                let (base, theirs) = (self.read(commit, path).await?, self.read(&parent, path).await?);
                let known = files.iter().position(|(name, _)| name == path);
                let ours = match known.and_then(|at| files.get(at)) {
                    Some((_, text)) => text.clone(),
                    None => self.read(&tip.commit, path).await?,
                };
                let Some(merged) = self.merged(ours, base, theirs).await? else { return Ok(None) };
                match known.and_then(|at| files.get_mut(at)) {
                    Some(file) => file.1 = merged,
                    None => files.push((path.to_owned(), merged)),
                }
            }
        }
        Ok(Some(files))
    }

    /// A three-way merge; the outer `None`: it is not clean.
    async fn merged(
        &self,
        ours: Option<String>,
        base: Option<String>,
        theirs: Option<String>,
    ) -> Result<Option<Option<String>>, GitError> {
        if ours == base {
            return Ok(Some(theirs));
        }
        if ours == theirs {
            return Ok(Some(ours));
        }
        let (Some(ours), Some(base), Some(theirs)) = (ours, base, theirs) else { return Ok(None) };
        let failed = |error: std::io::Error| GitError::Failed(format!("{}: {error}", self.dir.display()));
        for (name, text) in [("ours", ours), ("base", base), ("theirs", theirs)] {
            fs::write(self.dir.join(name), text).map_err(failed)?;
        }
        let said = self.run(&["merge-file", "--stdout", "--quiet", "ours", "base", "theirs"], b"").await?;
        Ok(said.good.then(|| String::from_utf8(said.out).ok()))
    }
}
