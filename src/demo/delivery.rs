//! A bare repository, the team that commits to it, and a stand-in for Argo CD and the kubelet: the branch's routes file becomes
//! a mounted ConfigMap directory, swapped through `..data`.

use super::traffic::now_ms;
use anyhow::{Context as _, bail};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

/// The routes file in the repository: a ConfigMap manifest.
pub(super) const FILE: &str = "prod/routes.yaml";
const BRANCH: &str = "main";

/// The repository and everything around it, in one directory.
#[derive(Clone, Debug)]
pub(super) struct Repo {
    home: PathBuf,
    /// Whether Coalmine's commits are signed.
    pub(super) signed: bool,
}

#[derive(Deserialize)]
struct ConfigMap {
    data: BTreeMap<String, String>,
}

/// What stands on the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tip {
    pub(super) commit: String,
    pub(super) subject: String,
    /// When it was first seen here, milliseconds since 1970 UTC.
    pub(super) seen_ms: u64,
}

impl Repo {
    pub(super) fn new(home: &Path) -> anyhow::Result<Self> {
        for dir in ["remote.git", "team", "mount"] {
            fs::create_dir_all(home.join(dir)).with_context(|| format!("cannot write to {}", home.display()))?;
        }
        let mut repo = Self { home: home.to_owned(), signed: false };
        repo.git("remote.git", &["init", "--quiet", "--bare", "--initial-branch", BRANCH, "."])?;
        repo.git(".", &["clone", "--quiet", "remote.git", "team"])?;
        // ssh-keygen comes with most systems that have git; without it commits are not signed.
        let key = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "coalmine@demo", "-f"])
            .arg(repo.key())
            .output();
        repo.signed = key.is_ok_and(|output| output.status.success());
        if repo.signed {
            let public = fs::read_to_string(repo.path("key.pub"))?;
            fs::write(repo.path("signers"), format!("* {public}"))?;
        }
        Ok(repo)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub(super) fn key(&self) -> PathBuf {
        self.path("key")
    }

    /// The team puts a file on the branch, on top of whatever is there.
    pub(super) fn commit(&self, text: &str, message: &str) -> anyhow::Result<()> {
        if self.tip()?.is_some() {
            self.git("team", &["pull", "--quiet", "--ff-only", "origin", BRANCH])?;
        }
        let file = self.path("team").join(FILE);
        fs::create_dir_all(file.parent().unwrap_or(&file))?;
        fs::write(file, text)?;
        self.git("team", &["add", "--all"])?;
        self.git("team", &["commit", "--quiet", "-m", message])?;
        self.git("team", &["push", "--quiet", "origin", &format!("HEAD:{BRANCH}")])?;
        Ok(())
    }

    pub(super) fn tip(&self) -> anyhow::Result<Option<Tip>> {
        let line = self.git(
            "remote.git",
            &["for-each-ref", "--format=%(objectname) %(contents:subject)", &format!("refs/heads/{BRANCH}")],
        )?;
        let tip = line.trim().split_once(' ').map(|(commit, subject)| Tip {
            commit: commit.to_owned(),
            subject: subject.to_owned(),
            seen_ms: now_ms(),
        });
        Ok(tip)
    }

    /// The routes file of a commit becomes the mounted one, as the kubelet does it: a new directory, `..data` renamed over.
    pub(super) fn deliver(&self, commit: &str) -> anyhow::Result<()> {
        let manifest = self.git("remote.git", &["show", &format!("{commit}:{FILE}")])?;
        let map: ConfigMap = serde_yaml::from_str(&manifest).with_context(|| format!("{FILE} is no ConfigMap"))?;
        let mount = self.path("mount");
        let name = format!("..{}", commit.get(..12).unwrap_or(commit));
        let fresh = mount.join(&name);
        if fresh.exists() {
            return Ok(());
        }
        fs::create_dir(&fresh)?;
        for (key, text) in &map.data {
            fs::write(fresh.join(key), text)?;
        }
        let old = fs::read_link(mount.join("..data")).ok();
        symlink(&name, mount.join("..data_tmp"))?;
        fs::rename(mount.join("..data_tmp"), mount.join("..data"))?;
        match old {
            Some(old) => fs::remove_dir_all(mount.join(old))?,
            None => symlink("..data/routes.yaml", mount.join("routes.yaml"))?,
        }
        Ok(())
    }

    /// One line a commit, the oldest first; good signatures are marked `G`.
    pub(super) fn log(&self) -> anyhow::Result<String> {
        self.git("remote.git", &["log", "--reverse", "--format=%h %G? %an: %s", BRANCH])
    }

    /// The whole message of the newest rollback, if there is one.
    pub(super) fn rollback(&self) -> anyhow::Result<String> {
        self.git("remote.git", &["log", "-1", "--grep=^Coalmine-Action: rollback", "--format=%B", BRANCH])
    }

    fn git(&self, dir: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut git = Command::new("git");
        git.current_dir(self.path(dir))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C");
        git.args(["-c", "user.name=Model Team", "-c", "user.email=team@example.com", "-c", "gpg.format=ssh"]);
        git.arg("-c").arg(format!("gpg.ssh.allowedSignersFile={}", self.path("signers").display()));
        let output = git.args(arguments).output().context("cannot run git; the demo needs it installed")?;
        if !output.status.success() {
            bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
