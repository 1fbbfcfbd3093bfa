//! What the settings say of Git, as the clone that reads and commits.

use crate::{
    config::settings::{GitSettings, Settings, SigningFormat},
    io::git::{Access, Git, Limits, Remote, Signing},
};
use std::path::PathBuf;

/// A clone lives in the state directory, or else where temporary files do; it is disposable.
pub(super) fn clone(settings: &Settings, name: &str) -> Option<Git> {
    let dir = settings.state_dir.as_ref().map_or_else(|| temporary(name), |dir| dir.join(name));
    Some(Git::new(remote(settings.git.as_ref()?), dir))
}

/// A clone that has nothing to do with those of a running Coalmine; `None` without `git:` in the settings.
#[must_use]
pub fn aside(settings: &Settings) -> Option<Git> {
    Some(Git::new(remote(settings.git.as_ref()?), temporary("aside")))
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("coalmine-{name}-{}", std::process::id()))
}

fn remote(git: &GitSettings) -> Remote {
    let access = Access {
        ssh_key: git.ssh_key.clone(),
        known_hosts: git.known_hosts.clone(),
        host_key: git.host_key.clone(),
        ssh_config: git.ssh_config.clone(),
        token_file: git.token_file.clone(),
        username: git.username.clone(),
        helper: git.credential_helper.clone(),
        ca_file: git.ca_file.clone(),
        proxy: git.proxy.clone(),
    };
    let signing = git.signing_key.clone().map(match git.signing_format {
        SigningFormat::Ssh => Signing::Ssh,
        SigningFormat::OpenPgp => Signing::Gpg,
    });
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
