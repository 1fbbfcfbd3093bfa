//! Where and how to commit. No secret is a value here: keys and tokens are paths.

mod commit_url;
mod pull_request;

pub use pull_request::{Provider, PullRequestSettings};

use super::{at_least_one, path_of, positive, text_of};
use crate::config::{fields::Field, units};
use std::{path::PathBuf, time::Duration};

const MODES: [(&str, GitMode); 3] =
    [("push", GitMode::Push), ("pull_request", GitMode::PullRequest), ("off", GitMode::Off)];
/// More commits than these are never looked at: each of them brings its trees.
const HISTORY_MAX: u64 = 10_000;

/// Whether commits are pushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GitMode {
    /// Straight to the branch, fast-forward only.
    #[default]
    Push,
    /// Each commit is a pull request, for people to merge or to close.
    PullRequest,
    /// Clamp only; write nothing.
    Off,
}

/// What signs commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SigningFormat {
    /// An SSH private key.
    #[default]
    Ssh,
    /// An exported OpenPGP secret key.
    OpenPgp,
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
    /// With mode `pull_request`: how they are made.
    pub pull_request: Option<PullRequestSettings>,
    /// Default `Coalmine`.
    pub author_name: String,
    /// Default `coalmine@localhost`.
    pub author_email: String,
    /// Private key for a remote over ssh.
    pub ssh_key: Option<PathBuf>,
    /// Host keys for a remote over ssh; with `host_key`, the only ones that are trusted.
    pub known_hosts: Option<PathBuf>,
    /// The host's key, such as `ssh-ed25519 AAAA...`.
    pub host_key: Option<String>,
    /// Options for ssh, such as a `ProxyJump`.
    pub ssh_config: Option<PathBuf>,
    /// Token (or password) for a remote over https.
    pub token_file: Option<PathBuf>,
    /// User name that goes with the token, and that a credential helper is asked for. Default: `coalmine` with a token, and
    /// whichever the helper knows.
    pub username: Option<String>,
    /// A git credential helper for a remote over https.
    pub credential_helper: Option<String>,
    /// Who vouches for a remote over https. Default: the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// The proxy to a remote over https, and to the API of its host. Default: what the environment says.
    pub proxy: Option<String>,
    /// Private key that signs commits.
    pub signing_key: Option<PathBuf>,
    /// What opens that key; missing: it has no passphrase.
    pub signing_passphrase_file: Option<PathBuf>,
    /// What kind of key that is. Default: SSH.
    pub signing_format: SigningFormat,
    /// Longest time one git command may take. Default 30 s.
    pub timeout: Duration,
    /// How many commits of the branch are looked at. Default 200.
    pub history: u32,
    /// Largest clone, bytes. Default 1 GiB.
    pub clone_max: u64,
    /// Where people may look at a commit, `{commit}` in place of its name. Default: what follows from the remote.
    pub commit_url: Option<String>,
    /// How often the branch is looked at where routes come from it (`source: git`), and pull requests that wait. Default 10 s.
    pub poll: Duration,
}

pub(super) fn read(field: &Field<'_>) -> Option<GitSettings> {
    let map = field.map()?;
    let remote =
        map.need("remote", "such as git@git.example.com:ml/models.git").and_then(|field| field.parse(without_secret));
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
    let formats = [("ssh", SigningFormat::Ssh), ("openpgp", SigningFormat::OpenPgp)];
    let settings = GitSettings {
        branch: map.or("branch", "main".to_owned(), branch),
        path: map.or("path", "routes.yaml".to_owned(), relative),
        mode: map.get("mode").and_then(|field| field.word(&MODES)).unwrap_or_default(),
        pull_request: None,
        commit_url: None,
        author_name: map.or("author_name", "Coalmine".to_owned(), plain),
        author_email: map.or("author_email", "coalmine@localhost".to_owned(), plain),
        ssh_key: path_of(&map, "ssh_key"),
        known_hosts: path_of(&map, "known_hosts"),
        host_key: map.get("host_key").and_then(|field| field.parse(host_key)),
        ssh_config: path_of(&map, "ssh_config"),
        token_file: path_of(&map, "token_file"),
        username: map.get("username").and_then(|field| field.parse(plain)),
        credential_helper: text_of(&map, "credential_helper"),
        ca_file: path_of(&map, "ca_file"),
        proxy: map.get("proxy").and_then(|field| field.parse(without_secret)),
        signing_key: path_of(&map, "signing_key"),
        signing_passphrase_file: path_of(&map, "signing_passphrase_file"),
        signing_format: map.get("signing_format").and_then(|field| field.word(&formats)).unwrap_or_default(),
        timeout: map.or("timeout", Duration::from_secs(30), positive),
        history: u32::try_from(map.or("history", 200, at_least_one(HISTORY_MAX))).unwrap_or(200),
        clone_max: map.or("clone_max", 1 << 30, units::size),
        poll: map.or("poll", Duration::from_secs(10), positive),
        remote: remote.unwrap_or_default(),
    };
    let settings = GitSettings { pull_request: pull_request::of(&map, &settings), ..settings };
    let settings = GitSettings { commit_url: commit_url::of(&map, &settings), ..settings };
    map.done();
    Some(settings).filter(|settings| !settings.remote.is_empty())
}

/// One line as in a public host key file: the kind of key and the key, not a fingerprint and not a host's name before it.
fn host_key(text: &str) -> Result<String, String> {
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(key))
            if (kind.starts_with("ssh-") || kind.starts_with("ecdsa-")) && key.starts_with("AAAA") =>
        {
            Ok(format!("{kind} {key}"))
        }
        _ => Err(format!("`{text}` is not a host key; write `ssh-ed25519 AAAA...`, such as `ssh-keyscan` prints it")),
    }
}

/// A remote or a proxy without a secret in it.
fn without_secret(text: &str) -> Result<String, String> {
    if text.starts_with('-') || text.chars().any(char::is_whitespace) {
        return Err(format!("`{text}` is not an address"));
    }
    let user = text.split_once("://").and_then(|(_, rest)| Some(rest.split('/').next()?.rsplit_once('@')?.0));
    if user.is_some_and(|user| user.contains(':')) {
        return Err("a password stands in it; put it in a file and name that as `token_file`".to_owned());
    }
    Ok(text.to_owned())
}
