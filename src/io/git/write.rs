//! Objects: files on top of a commit become a tree and a commit. Nothing leaves this machine.

use super::{Git, Tip, error::GitError};

/// A file's whole new text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewText<'a> {
    /// Where in the repository.
    pub path: &'a str,
    /// What it is to say; `None`: the file goes.
    pub text: Option<&'a str>,
}

impl Git {
    /// A commit on top of `tip` with these files changed and everything else as it is, signed if there is a key. It is
    /// nowhere but here until it is pushed.
    ///
    /// # Errors
    /// [`GitError::Failed`] if git refuses, [`GitError::Signing`] if the key cannot sign.
    pub async fn record(&self, tip: &Tip, files: &[NewText<'_>], message: &str) -> Result<String, GitError> {
        self.record_over(tip, None, files, message).await
    }

    /// The same, with a second parent: an older head of a branch of ours, so that its push is a fast-forward.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn record_over(
        &self,
        tip: &Tip,
        also: Option<&str>,
        files: &[NewText<'_>],
        message: &str,
    ) -> Result<String, GitError> {
        let mut index = String::new();
        for file in files {
            let mode = self.mode(tip, file.path).await?;
            let (mode, blob) = match file.text {
                Some(text) => (mode, self.git(&["hash-object", "-w", "--stdin"], text.as_bytes()).await?),
                // Mode 0 takes it away.
                None => ("0".to_owned(), "0".repeat(tip.commit.len())),
            };
            index.push_str(&format!("{mode} {}\t{}\0", blob.trim(), file.path));
        }
        self.git(&["read-tree", &tip.commit], b"").await?;
        self.git(&["update-index", "-z", "--index-info"], index.as_bytes()).await?;
        // The clone has no blobs but those it was asked for; that the others exist is the remote's word.
        let tree = self.git(&["write-tree", "--missing-ok"], b"").await?;
        let mut arguments = vec!["commit-tree", tree.trim(), "-p", &tip.commit, "-F", "-"];
        if let Some(also) = also {
            arguments.extend(["-p", also]);
        }
        let Some(signing) = &self.remote.signing else {
            return Ok(self.git(&arguments, message.as_bytes()).await?.trim().to_owned());
        };
        let limit = self.remote.limits.command;
        let sign = signing.argument(&self.dir, limit).await?;
        arguments.push(&sign);
        match self.git(&arguments, message.as_bytes()).await {
            Ok(commit) => Ok(commit.trim().to_owned()),
            Err(said) => Err(signing.why(said, &sign, &self.dir, limit).await),
        }
    }

    /// What kind of file stands there; a plain one if none does.
    async fn mode(&self, tip: &Tip, path: &str) -> Result<String, GitError> {
        let listed = self.git(&["ls-tree", "-z", &tip.commit, "--", path], b"").await?;
        match listed.split(' ').next().unwrap_or("") {
            mode @ ("100644" | "100755") => Ok(mode.to_owned()),
            "" => Ok("100644".to_owned()),
            // A link's text is where it points to; a submodule's is elsewhere.
            mode => Err(GitError::Failed(format!("{path} is not a plain file (mode {mode}); name the file itself"))),
        }
    }
}
