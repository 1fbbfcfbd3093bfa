//! What the settings say of Git, as the clone that reads and commits.

use crate::{
    config::settings::{GitMode, GitSettings, Provider, Settings, SigningFormat},
    control::pull_requests::{PullRequests, Way},
    io::{
        forge::{Forge, Host},
        git::{Access, Git, KeyKind, Limits, Remote, Signing},
        meters::Meters,
        outbound::Outbound,
        store::Store,
    },
};
use anyhow::Context as _;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where commits go, and how people are asked to merge them: nowhere and nobody if the settings say so.
pub(super) fn committing(
    settings: &Settings,
    store: &Store,
    meters: &Arc<Meters>,
) -> anyhow::Result<(Option<Git>, Option<PullRequests>)> {
    let Some(git) = settings.git.as_ref().filter(|git| git.mode != GitMode::Off) else { return Ok((None, None)) };
    let requests = way(git)?.map(|way| PullRequests::new(way, git.poll, store.clone(), meters.clone()));
    Ok((clone(settings, "git"), requests))
}

fn way(git: &GitSettings) -> anyhow::Result<Option<Way>> {
    if git.mode != GitMode::PullRequest {
        return Ok(None);
    }
    let request = git.pull_request.as_ref().context("git.pull_request is missing")?;
    let host = match request.provider {
        Provider::GitHub => Host::GitHub,
        Provider::GitLab => Host::GitLab,
        Provider::Gitea => Host::Gitea,
        Provider::GitLabPushOptions => return Ok(Some(Way::PushOptions)),
    };
    let outbound = Outbound::new(request.ca_file.clone(), git.timeout).context("git.pull_request")?;
    Ok(Some(Way::Api(Forge {
        host,
        api: request.api.clone(),
        project: request.project.clone(),
        token_file: request.token_file.clone().context("git.pull_request.token_file is missing")?,
        outbound: match &git.proxy {
            Some(proxy) => outbound.through(proxy),
            None => outbound,
        },
    })))
}

/// A clone lives in the state directory, or else where temporary files do; it is disposable.
pub(super) fn clone(settings: &Settings, name: &str) -> Option<Git> {
    let dir = settings.state_dir.as_ref().map_or_else(|| temporary(name), |dir| dir.join(name));
    Some(Git::new(remote(settings.git.as_ref()?), absolute(&dir)))
}

/// A clone that has nothing to do with those of a running Coalmine; `None` without `git:` in the settings.
#[must_use]
pub fn aside(settings: &Settings) -> Option<Git> {
    Some(Git::new(remote(settings.git.as_ref()?), temporary("aside")))
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("coalmine-{name}-{}", std::process::id()))
}

/// Git works in its clone, and paths of the settings are seen from where we were started.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn remote(git: &GitSettings) -> Remote {
    let at = |path: Option<&PathBuf>| path.map(|path| absolute(path));
    let access = Access {
        ssh_key: at(git.ssh_key.as_ref()),
        known_hosts: at(git.known_hosts.as_ref()),
        host_key: git.host_key.clone(),
        ssh_config: at(git.ssh_config.as_ref()),
        token_file: at(git.token_file.as_ref()),
        username: git.username.clone(),
        helper: git.credential_helper.clone(),
        ca_file: at(git.ca_file.as_ref()),
        proxy: git.proxy.clone(),
    };
    let kind = match git.signing_format {
        SigningFormat::Ssh => KeyKind::Ssh,
        SigningFormat::OpenPgp => KeyKind::OpenPgp,
    };
    let passphrase_file = at(git.signing_passphrase_file.as_ref());
    let signing = at(git.signing_key.as_ref()).map(|key| Signing { kind, key, passphrase_file });
    Remote {
        url: git.remote.clone(),
        branch: git.branch.clone(),
        path: git.path.clone(),
        author: (git.author_name.clone(), git.author_email.clone()),
        access,
        signing,
        limits: Limits { command: git.timeout, history: git.history, clone_bytes: git.clone_max },
    }
}
