//! The system's git on a bare clone of our own: reads the tip of the branch, puts one commit on top of it, pushes fast-forward only.
//!
//! Secrets are files that git or ssh read themselves: they are never arguments, never in the environment, never in messages.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// Our name for the branch's tip.
const TIP: &str = "refs/coalmine/tip";

/// So many commits are fetched: a commit of ours that is older counts as gone, and a rollback is made once more.
const HISTORY: u32 = 200;

/// Where and how to commit.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Anything git can reach by file, ssh, http or https.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// The routes file in it.
    pub path: String,
    /// Name and e-mail of author and committer.
    pub author: (String, String),
    /// Private key for ssh.
    pub ssh_key: Option<PathBuf>,
    /// The only host keys that are trusted.
    pub known_hosts: Option<PathBuf>,
    /// Token for https.
    pub token_file: Option<PathBuf>,
    /// User name that goes with the token.
    pub username: String,
    /// SSH private key that signs commits.
    pub signing_key: Option<PathBuf>,
    /// Longest time of one git command.
    pub timeout: Duration,
}

/// Why there is no commit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GitError {
    /// Somebody else was faster: read the tip again.
    #[error("the branch has moved on: {0}")]
    Raced(String),
    /// A hook, a protected branch or missing rights: trying again at once is pointless.
    #[error("the remote refuses the push: {0}; may this key push to the branch?")]
    Refused(String),
    /// Anything else, such as no network.
    #[error("git: {0}")]
    Failed(String),
}

/// The tip of the branch, and the routes file in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tip {
    /// The commit.
    pub commit: String,
    /// The file's text.
    pub text: String,
}

/// A clone. Disposable: everything in it is fetched again.
#[derive(Debug)]
pub struct Git {
    remote: Remote,
    dir: PathBuf,
}

impl Git {
    /// A clone in `dir`, which is made at the first use.
    #[must_use]
    pub fn new(remote: Remote, dir: PathBuf) -> Self {
        Self { remote, dir }
    }

    /// Fetches the tip.
    ///
    /// # Errors
    /// [`GitError::Failed`] if the remote, the branch or the file cannot be read.
    pub async fn tip(&self) -> Result<Tip, GitError> {
        let tip = self.fetch().await;
        if tip.is_err() {
            // Whatever is wrong with the clone, the next one is whole.
            let _ = fs::remove_dir_all(&self.dir);
        }
        tip
    }

    async fn fetch(&self) -> Result<Tip, GitError> {
        self.prepare().await?;
        let refspec = format!("+refs/heads/{}:{TIP}", self.remote.branch);
        let depth = format!("--depth={HISTORY}");
        self.git(&["fetch", "--quiet", "--no-tags", &depth, "--", &self.remote.url, &refspec], b"").await?;
        let commit = self.git(&["rev-parse", TIP], b"").await?.trim().to_owned();
        let text = self.git(&["cat-file", "blob", &format!("{commit}:{}", self.remote.path)], b"").await?;
        Ok(Tip { commit, text })
    }

    /// Whether `commit` is the tip or one of its ancestors, as far back as was fetched.
    ///
    /// # Errors
    /// [`GitError::Failed`] if git cannot be run.
    pub async fn contains(&self, tip: &Tip, commit: &str) -> Result<bool, GitError> {
        let (contained, ..) = self.run(&["merge-base", "--is-ancestor", commit, &tip.commit], b"").await?;
        Ok(contained)
    }

    /// Puts `text` on top of `tip`, pushes, and reads the branch back; the new commit.
    ///
    /// # Errors
    /// [`GitError`]; the branch is then as it was.
    pub async fn commit(&self, tip: &Tip, text: &str, message: &str) -> Result<String, GitError> {
        let path = self.remote.path.as_str();
        let blob = self.git(&["hash-object", "-w", "--stdin"], text.as_bytes()).await?;
        let listed = self.git(&["ls-tree", &tip.commit, "--", path], b"").await?;
        let mode = listed.split(' ').next().filter(|mode| !mode.is_empty()).unwrap_or("100644");
        self.git(&["read-tree", &tip.commit], b"").await?;
        self.git(&["update-index", "--cacheinfo", &format!("{mode},{},{path}", blob.trim())], b"").await?;
        let tree = self.git(&["write-tree"], b"").await?;
        let mut arguments = vec!["commit-tree", tree.trim(), "-p", &tip.commit, "-F", "-"];
        if self.remote.signing_key.is_some() {
            arguments.push("-S");
        }
        let commit = self.git(&arguments, message.as_bytes()).await?.trim().to_owned();
        self.push(&commit).await?;
        let branch = format!("refs/heads/{}", self.remote.branch);
        let there = self.git(&["ls-remote", "--", &self.remote.url, &branch], b"").await?;
        if there.starts_with(&commit) {
            Ok(commit)
        } else {
            Err(GitError::Raced("the branch does not show our commit".into()))
        }
    }

    async fn push(&self, commit: &str) -> Result<(), GitError> {
        let refspec = format!("{commit}:refs/heads/{}", self.remote.branch);
        let arguments = ["push", "--porcelain", "--", &self.remote.url, &refspec];
        let (ok, out, error) = self.run(&arguments, b"").await?;
        if ok {
            return Ok(());
        }
        Err(match out.lines().find(|line| line.starts_with('!')) {
            Some(line) if line.contains("[rejected]") || line.contains("cannot lock ref") => {
                GitError::Raced(scrub(line))
            }
            Some(line) => GitError::Refused(scrub(&format!("{line} {error}"))),
            None => GitError::Failed(scrub(&error)),
        })
    }

    async fn prepare(&self) -> Result<(), GitError> {
        let failed = |error: std::io::Error| GitError::Failed(format!("{}: {error}", self.dir.display()));
        fs::create_dir_all(&self.dir).map_err(failed)?;
        if !self.dir.join("HEAD").exists() {
            self.git(&["init", "--quiet", "--bare", "."], b"").await?;
        }
        let mut script = fs::OpenOptions::new();
        script.write(true).create(true).truncate(true).mode(0o700);
        let text = b"#!/bin/sh\ncase \"$1\" in Username*) printf %s \"$COALMINE_USERNAME\";; *) cat \"$COALMINE_TOKEN_FILE\";; esac\n";
        script.open(self.askpass()).and_then(|mut file| file.write_all(text)).map_err(failed)
    }

    fn askpass(&self) -> PathBuf {
        self.dir.join("askpass")
    }

    async fn git(&self, arguments: &[&str], input: &[u8]) -> Result<String, GitError> {
        match self.run(arguments, input).await? {
            (true, out, _) => Ok(out),
            (false, _, error) => Err(GitError::Failed(scrub(&error))),
        }
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Result<(bool, String, String), GitError> {
        let failed = |error: std::io::Error| GitError::Failed(format!("cannot run git: {error}; is it installed?"));
        let mut child = self.command(arguments).spawn().map_err(failed)?;
        let work = async {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input).await?;
            }
            child.wait_with_output().await
        };
        let slow = || GitError::Failed(format!("no answer within {:?}", self.remote.timeout));
        let output = timeout(self.remote.timeout, work).await.map_err(|_| slow())?.map_err(failed)?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((output.status.success(), text(output.stdout), text(output.stderr)))
    }

    /// A fixed world: nobody's configuration, no prompts, the C locale.
    fn command(&self, arguments: &[&str]) -> Command {
        let remote = &self.remote;
        let mut git = Command::new("git");
        git.env_clear().current_dir(&self.dir).env("GIT_DIR", ".").kill_on_drop(true);
        git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ALLOW_PROTOCOL", "file:ssh:http:https"),
            ("GIT_AUTHOR_NAME", &remote.author.0),
            ("GIT_AUTHOR_EMAIL", &remote.author.1),
            ("GIT_COMMITTER_NAME", &remote.author.0),
            ("GIT_COMMITTER_EMAIL", &remote.author.1),
        ] {
            git.env(name, value);
        }
        git.env("HOME", &self.dir);
        if let Some(token) = &remote.token_file {
            git.env("GIT_ASKPASS", self.askpass()).env("COALMINE_TOKEN_FILE", token);
            git.env("COALMINE_USERNAME", &remote.username);
        }
        if let Some(key) = &remote.ssh_key {
            git.env("GIT_SSH_COMMAND", ssh(key, remote.known_hosts.as_deref()));
        }
        if let Some(key) = &remote.signing_key {
            git.args(["-c", "gpg.format=ssh", "-c", &format!("user.signingkey={}", key.display())]);
        }
        git.args(arguments);
        git
    }
}

impl Drop for Git {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn ssh(key: &Path, known_hosts: Option<&Path>) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let hosts = known_hosts.map_or(String::new(), |path| format!(" -o UserKnownHostsFile={}", quoted(path)));
    let options = "-o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=yes";
    format!("ssh -F none -i {} {options}{hosts}", quoted(key))
}

/// On one line, and without user or password of any URL.
fn scrub(text: &str) -> String {
    let words = text.split_whitespace().map(|word| match (word.find("://"), word.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://{}", word.get(..scheme).unwrap_or(""), word.get(at + 1..).unwrap_or(""))
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_no_password() {
        let text = "fatal: unable to access\n 'https://me:s3cret@git.example/x.git/': nope";
        assert_eq!(scrub(text), "fatal: unable to access 'https://git.example/x.git/': nope");
    }
}
