//! Signatures: by an SSH key, or by an OpenPGP key that is put into a key ring of our own.

use super::error::{GitError, scrub};
use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::process::Command;

/// What commits are signed with: a private key without a passphrase.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Signing {
    /// An SSH private key.
    Ssh(PathBuf),
    /// An exported OpenPGP secret key, armoured or not.
    Gpg(PathBuf),
}

/// The key ring beside a clone.
pub(super) fn gpg_home(dir: &Path) -> PathBuf {
    dir.join("gnupg")
}

impl Signing {
    /// Git's word for the kind of signature.
    pub(super) fn format(&self) -> &'static str {
        match self {
            Self::Ssh(_) => "ssh",
            Self::Gpg(_) => "openpgp",
        }
    }

    /// The argument of `commit-tree`.
    pub(super) async fn argument(&self, dir: &Path) -> Result<String, GitError> {
        match self {
            Self::Ssh(key) => Ok(format!("-S{}", key.display())),
            Self::Gpg(file) => Ok(format!("-S{}", import(file, &gpg_home(dir)).await?)),
        }
    }
}

/// Puts the key into the ring, once; its fingerprint.
async fn import(file: &Path, home: &Path) -> Result<String, GitError> {
    let failed = |error: std::io::Error| GitError::Failed(format!("the key ring {}: {error}", home.display()));
    if let Some(key) = fingerprint(home).await {
        return Ok(key);
    }
    if !home.exists() {
        fs::DirBuilder::new().mode(0o700).recursive(true).create(home).map_err(failed)?;
    }
    let imported = gpg(home).arg("--import").arg(file).output().await.map_err(failed)?;
    let why = || {
        let said = scrub(&String::from_utf8_lossy(&imported.stderr));
        GitError::Failed(format!("no OpenPGP secret key could be taken from {}: {said}", file.display()))
    };
    fingerprint(home).await.ok_or_else(why)
}

/// Of the first secret key in the ring.
async fn fingerprint(home: &Path) -> Option<String> {
    let listed = gpg(home).args(["--with-colons", "--list-secret-keys"]).output().await.ok()?;
    let text = String::from_utf8(listed.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("fpr:")).map(|rest| rest.trim_matches(':').to_owned())
}

fn gpg(home: &Path) -> Command {
    let mut gpg = Command::new("gpg");
    gpg.env_clear().env("LC_ALL", "C").env("GNUPGHOME", home).kill_on_drop(true).stdin(Stdio::null());
    gpg.envs(std::env::var_os("PATH").map(|path| ("PATH", path))).args(["--batch", "--quiet", "--no-tty"]);
    gpg
}
