//! Signatures: by an SSH key, or by an OpenPGP key that is put into a key ring of our own.
//!
//! A passphrase is a file, too: whoever needs it reads it there. Nobody is ever asked for one.

use super::error::{GitError, scrub};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// What ssh-keygen calls for a passphrase. It tells it once: a wrong one is not tried for ever.
const ASKED: &str = "#!/bin/sh\nexec head -n 1 \"$COALMINE_PASSPHRASE_FILE\"\n";
/// Whether there was a secret key among what was imported: a bit in gpg's answer.
const SECRET: u32 = 16;
/// What gpg means by an unusable key.
const UNUSABLE: &str = "the key has expired, was revoked, or is none for signatures";

/// What kind of key signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyKind {
    /// An SSH private key.
    Ssh,
    /// An exported OpenPGP secret key, armoured or not.
    OpenPgp,
}

/// What commits are signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signing {
    /// What kind of key it is.
    pub kind: KeyKind,
    /// The private key.
    pub key: PathBuf,
    /// What opens the key; missing: it is open.
    pub passphrase_file: Option<PathBuf>,
}

/// The key ring beside a clone.
pub(super) fn gpg_home(dir: &Path) -> PathBuf {
    dir.join("gnupg")
}

/// What ssh-keygen calls, beside a clone.
fn asked(dir: &Path) -> PathBuf {
    dir.join("passphrase")
}

impl Signing {
    /// Git's word for the kind of signature.
    pub(super) fn format(&self) -> &'static str {
        match self.kind {
            KeyKind::Ssh => "ssh",
            KeyKind::OpenPgp => "openpgp",
        }
    }

    /// What ssh-keygen is told, so that it never asks a terminal.
    pub(super) fn environment(&self, dir: &Path) -> Vec<(&'static str, PathBuf)> {
        let mut environment = vec![("SSH_ASKPASS_REQUIRE", "force".into())];
        match &self.passphrase_file {
            Some(file) => {
                environment.push(("SSH_ASKPASS", asked(dir)));
                environment.push(("COALMINE_PASSPHRASE_FILE", file.clone()));
            }
            None => environment.push(("SSH_ASKPASS", "false".into())),
        }
        environment
    }

    /// Makes the key ready, as it is now: a renewed one counts from the next commit on. The argument of `commit-tree`.
    pub(super) async fn argument(&self, dir: &Path, limit: Duration) -> Result<String, GitError> {
        for file in [Some(&self.key), self.passphrase_file.as_ref()].into_iter().flatten() {
            fs::read(file).map_err(|error| GitError::Signing(format!("{}: {error}", file.display())))?;
        }
        let failed = |error: io::Error| GitError::Failed(format!("{}: {error}", dir.display()));
        match self.kind {
            KeyKind::Ssh => {
                if self.passphrase_file.is_some() {
                    write(&asked(dir), ASKED, 0o700).map_err(failed)?;
                }
                Ok(format!("-S{}", self.key.display()))
            }
            KeyKind::OpenPgp => {
                let home = gpg_home(dir);
                fs::DirBuilder::new().mode(0o700).recursive(true).create(&home).map_err(failed)?;
                write(&home.join("gpg.conf"), &self.gpg_conf(), 0o600).map_err(failed)?;
                Ok(format!("-S{}", self.import(&home, limit).await?))
            }
        }
    }

    /// Why git could not sign. Of gpg it says no more than that.
    pub(super) async fn why(&self, said: GitError, argument: &str, dir: &Path, limit: Duration) -> GitError {
        let key = argument.trim_start_matches("-S");
        match (self.kind, said) {
            (_, away @ GitError::Network(_)) => away,
            (KeyKind::Ssh, said) => GitError::Signing(said.words().to_owned()),
            (KeyKind::OpenPgp, said) => {
                let tried = run(gpg(&gpg_home(dir)).args(["--output", "-", "-bsau", key]), limit).await;
                let words = match tried {
                    Ok(tried) if !tried.status.success() => scrub(&String::from_utf8_lossy(&tried.stderr)),
                    _ => said.words().to_owned(),
                };
                let unusable = words.contains("Unusable secret key");
                GitError::Signing(if unusable { format!("{UNUSABLE}: {words}") } else { words })
            }
        }
    }

    fn gpg_conf(&self) -> String {
        let passphrase = self.passphrase_file.as_ref().map_or("pinentry-mode error\n".to_owned(), |file| {
            format!("pinentry-mode loopback\npassphrase-file {}\n", file.display())
        });
        format!("batch\nno-tty\n{passphrase}")
    }

    /// Puts the key into the ring; its fingerprint.
    async fn import(&self, home: &Path, limit: Duration) -> Result<String, GitError> {
        let imported = run(gpg(home).args(["--status-fd", "1", "--import", "--"]).arg(&self.key), limit).await?;
        let status = String::from_utf8_lossy(&imported.stdout);
        status.lines().find_map(secret_key).map(str::to_owned).ok_or_else(|| {
            let said = scrub(&String::from_utf8_lossy(&imported.stderr));
            let said = if said.is_empty() { "it is a public key".to_owned() } else { said };
            GitError::Signing(format!("{} holds no OpenPGP secret key: {said}", self.key.display()))
        })
    }
}

/// The fingerprint in a line of gpg's status, if it says that a secret key was imported or is there already.
fn secret_key(line: &str) -> Option<&str> {
    let (flags, fingerprint) = line.strip_prefix("[GNUPG:] IMPORT_OK ")?.split_once(' ')?;
    flags.parse::<u32>().is_ok_and(|flags| flags & SECRET != 0).then_some(fingerprint)
}

fn gpg(home: &Path) -> Command {
    let mut gpg = Command::new("gpg");
    gpg.env_clear().env("LC_ALL", "C").env("GNUPGHOME", home).kill_on_drop(true).stdin(Stdio::null());
    gpg.envs(std::env::var_os("PATH").map(|path| ("PATH", path))).arg("--quiet");
    gpg
}

async fn run(gpg: &mut Command, limit: Duration) -> Result<Output, GitError> {
    let output = timeout(limit, gpg.output()).await;
    let output = output.map_err(|_| GitError::Signing(format!("no answer of gpg within {limit:?}")))?;
    output.map_err(|error| GitError::Signing(format!("cannot run gpg: {error}; is it installed?")))
}

fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    io::Write::write_all(&mut options.write(true).create(true).truncate(true).mode(mode).open(file)?, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_secret_key_signs() {
        let print = "215A85F4C1FC0D9FC4DF08C9A7994FBF356E7760";
        for (flags, secret) in [(1, false), (0, false), (16, true), (17, true)] {
            let line = format!("[GNUPG:] IMPORT_OK {flags} {print}");
            assert_eq!(secret_key(&line), secret.then_some(print), "{line}");
        }
        assert_eq!(secret_key("[GNUPG:] IMPORT_RES 1 0"), None);
    }
}
