//! Where and how to commit. No secret is a value here: keys and tokens are paths.

use super::{path_of, positive};
use crate::config::fields::Field;
use std::{path::PathBuf, time::Duration};

/// Whether commits are pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GitMode {
    /// Straight to the branch, fast-forward only.
    #[default]
    Push,
    /// Clamp only; write nothing.
    Off,
}

/// Where and how to commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GitSettings {
    /// Anything the system git can reach.
    pub remote: String,
    /// Default `main`.
    pub branch: String,
    /// The routes file inside the repository. Default `routes.yaml`.
    pub path: String,
    /// Default `push`.
    pub mode: GitMode,
    /// Default `Coalmine`.
    pub author_name: String,
    /// Default `coalmine@localhost`.
    pub author_email: String,
    /// Private key for a remote over ssh.
    pub ssh_key: Option<PathBuf>,
    /// Host keys for a remote over ssh; the only ones that are trusted.
    pub known_hosts: Option<PathBuf>,
    /// Token (or password) for a remote over https.
    pub token_file: Option<PathBuf>,
    /// User name that goes with the token. Default `coalmine`.
    pub username: String,
    /// SSH private key that signs commits.
    pub signing_key: Option<PathBuf>,
    /// Longest time one git command may take. Default 30 s.
    pub timeout: Duration,
    /// How often the branch is looked at where routes come from it (`source: git`). Default 10 s.
    pub poll: Duration,
}

pub(super) fn read(field: &Field<'_>) -> Option<GitSettings> {
    let map = field.map()?;
    let remote = map.need("remote", "such as git@git.example.com:ml/models.git").and_then(|field| field.parse(remote));
    let relative = |text: &str| {
        let climbs = text.split('/').any(|part| part.is_empty() || part == ".." || part == ".");
        if climbs { Err(format!("`{text}` is not a path inside the repository")) } else { Ok(text.to_owned()) }
    };
    let plain = |text: &str| {
        let odd = text.starts_with('-') || text.contains(['\n', '\r', '<', '>', '\0']);
        if odd { Err(format!("`{text}` cannot be used here")) } else { Ok(text.to_owned()) }
    };
    let branch = |text: &str| {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let bad = text.starts_with(['-', '/', '.']) || text.contains("..") || !text.chars().all(good);
        if bad { Err(format!("`{text}` is not a branch name")) } else { Ok(text.to_owned()) }
    };
    let settings = GitSettings {
        branch: map.or("branch", "main".to_owned(), branch),
        path: map.or("path", "routes.yaml".to_owned(), relative),
        mode: map
            .get("mode")
            .and_then(|field| field.word(&[("push", GitMode::Push), ("off", GitMode::Off)]))
            .unwrap_or_default(),
        author_name: map.or("author_name", "Coalmine".to_owned(), plain),
        author_email: map.or("author_email", "coalmine@localhost".to_owned(), plain),
        ssh_key: path_of(&map, "ssh_key"),
        known_hosts: path_of(&map, "known_hosts"),
        token_file: path_of(&map, "token_file"),
        username: map.or("username", "coalmine".to_owned(), plain),
        signing_key: path_of(&map, "signing_key"),
        timeout: map.or("timeout", Duration::from_secs(30), positive),
        poll: map.or("poll", Duration::from_secs(10), positive),
        remote: remote.unwrap_or_default(),
    };
    map.done();
    Some(settings).filter(|settings| !settings.remote.is_empty())
}

/// A remote without a secret in it.
fn remote(text: &str) -> Result<String, String> {
    if text.starts_with('-') || text.chars().any(char::is_whitespace) {
        return Err("this is not a Git remote".to_owned());
    }
    let user = text.split_once("://").and_then(|(_, rest)| Some(rest.split('/').next()?.rsplit_once('@')?.0));
    if user.is_some_and(|user| user.contains(':')) {
        return Err("a password stands in the remote; put it in a file and name that as `token_file`".to_owned());
    }
    Ok(text.to_owned())
}
