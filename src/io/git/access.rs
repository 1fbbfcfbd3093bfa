//! How we are let in, and how we know who we talk to: host keys, authorities, keys, tokens, helpers, proxies.
//!
//! Secrets are files that git or ssh read themselves: they are never arguments, never in the environment, never in messages.

use super::error::GitError;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Seconds without an answer after which ssh gives a connection up.
const SSH_SILENCE_SECS: u64 = 15;

/// Goes with a token that nobody has named a user for: hosts that take tokens take any.
const USERNAME: &str = "coalmine";

/// Answers git's question with the token, at the time of the question: a token that was renewed is the one that is used.
const TOKEN_HELPER: &str = r#"!f() { test "$1" = get || exit 0; printf 'username=%s\npassword=%s\n' "$COALMINE_USERNAME" "$(cat "$COALMINE_TOKEN_FILE")"; }; f"#;

/// How we are let in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// Private key for ssh.
    pub ssh_key: Option<PathBuf>,
    /// Keys of ssh hosts that are believed. Only the machine's and the user's own lists if this and `host_key` are missing, and
    /// there is no way to believe any.
    pub known_hosts: Option<PathBuf>,
    /// The key of the ssh host, such as `ssh-ed25519 AAAA...`.
    pub host_key: Option<String>,
    /// Options for ssh, such as a `ProxyJump`; those about trust and prompts stay ours.
    pub ssh_config: Option<PathBuf>,
    /// Token for http and https; offered to the remote's own host only.
    pub token_file: Option<PathBuf>,
    /// User name that goes with the token, and that a helper is asked for; missing: ours with the token, and whichever the helper
    /// knows.
    pub username: Option<String>,
    /// A git credential helper; asked for the remote's own host only.
    pub helper: Option<String>,
    /// Who vouches for an https remote, instead of the platform's roots.
    pub ca_file: Option<PathBuf>,
    /// The proxy to an http or https remote; missing: what the environment says.
    pub proxy: Option<String>,
}

impl Access {
    /// What can be known to be wrong without asking anybody.
    pub(super) fn check(&self) -> Result<(), GitError> {
        let Some(file) = &self.token_file else { return Ok(()) };
        match fs::read(file) {
            Ok(text) if text.trim_ascii().is_empty() => {
                Err(GitError::Auth(format!("the token file {} is empty", file.display())))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(GitError::Auth(format!("the token file {}: {error}", file.display()))),
        }
    }

    /// Git's options.
    pub(super) fn config(&self, url: &str, timeout: Duration) -> Vec<(String, String)> {
        let mut config: Vec<(String, String)> = vec![
            // A redirected request would carry the token to somebody else.
            ("http.followRedirects".into(), "false".into()),
            ("http.lowSpeedLimit".into(), "1".into()),
            ("http.lowSpeedTime".into(), timeout.as_secs().max(1).to_string()),
        ];
        if let Some(host) = http_host(url) {
            let token = self.token_file.as_ref().map(|_| TOKEN_HELPER);
            let helpers = token.into_iter().chain(self.helper.as_deref());
            config.extend(helpers.map(|helper| (format!("credential.{host}.helper"), helper.to_owned())));
            let username = self.username.iter().map(|name| (format!("credential.{host}.username"), name.clone()));
            config.extend(username);
        }
        config.extend(self.ca_file.as_ref().map(|file| ("http.sslCAInfo".into(), file.display().to_string())));
        config.extend(self.proxy.as_ref().map(|proxy| ("http.proxy".into(), proxy.clone())));
        config
    }

    /// Git's environment. `pinned` is the file that [`Self::pin`] has written.
    pub(super) fn environment(&self, pinned: &Path, timeout: Duration) -> Vec<(&'static str, String)> {
        let mut environment = vec![("GIT_SSH_COMMAND", self.ssh(pinned, timeout)), ("GIT_SSH_VARIANT", "ssh".into())];
        if let Some(token) = &self.token_file {
            environment.push(("COALMINE_TOKEN_FILE", token.display().to_string()));
            environment.push(("COALMINE_USERNAME", self.username.clone().unwrap_or_else(|| USERNAME.into())));
        }
        environment
    }

    /// Writes the pinned host key where ssh looks for it.
    pub(super) fn pin(&self, file: &Path) -> std::io::Result<()> {
        self.host_key.as_ref().map_or(Ok(()), |key| fs::write(file, format!("* {key}\n")))
    }

    fn ssh(&self, pinned: &Path, timeout: Duration) -> String {
        let connect = timeout.as_secs().clamp(1, SSH_SILENCE_SECS);
        let mut ssh = format!("ssh -F {}", self.ssh_config.as_deref().map_or("none".into(), quoted));
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            "ClearAllForwardings=yes",
            "ServerAliveCountMax=1",
        ] {
            ssh.push_str(" -o ");
            ssh.push_str(option);
        }
        ssh.push_str(&format!(" -o ConnectTimeout={connect} -o ServerAliveInterval={connect}"));
        let pinned = self.host_key.as_ref().map(|_| pinned);
        let known: Vec<String> = self.known_hosts.as_deref().into_iter().chain(pinned).map(double_quoted).collect();
        if !known.is_empty() {
            let value = quoted(Path::new(&format!("UserKnownHostsFile={}", known.join(" "))));
            ssh.push_str(&format!(" -o GlobalKnownHostsFile=/dev/null -o {value}"));
        }
        if let Some(key) = &self.ssh_key {
            ssh.push_str(&format!(" -o IdentitiesOnly=yes -i {}", quoted(key)));
        }
        ssh
    }

    /// The message without the token, should a server have sent it back.
    pub(super) fn redact(&self, text: String) -> String {
        let token = self.token_file.as_ref().and_then(|file| fs::read(file).ok()).unwrap_or_default();
        match String::from_utf8_lossy(&token).trim() {
            "" => text,
            token => text.replace(token, "[token]"),
        }
    }
}

/// `https://host:port` of an http or https remote.
fn http_host(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
    let authority = rest.split('/').next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(format!("{scheme}://{host}"))
}

/// For ssh, which splits the value of an option at spaces.
fn double_quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn no_ssh_host_is_believed_unseen() {
        let ssh = |access: Access| access.ssh(Path::new("/pin"), TIMEOUT);
        let known_hosts = Some(PathBuf::from("/k n"));
        let host_key = Some("ssh-ed25519 AAAA".to_owned());
        let all = ssh(Access {
            ssh_config: Some("/c".into()),
            known_hosts: known_hosts.clone(),
            host_key: host_key.clone(),
            ..Access::default()
        });
        assert!(all.starts_with("ssh -F '/c' -o BatchMode=yes -o StrictHostKeyChecking=yes "), "{all}");
        let known = " -o GlobalKnownHostsFile=/dev/null -o 'UserKnownHostsFile=\"/k n\" \"/pin\"'";
        assert!(all.ends_with(known), "{all}");
        let file = ssh(Access { known_hosts, ..Access::default() });
        assert!(file.ends_with("'UserKnownHostsFile=\"/k n\"'"), "{file}");
        let pinned = ssh(Access { host_key, ..Access::default() });
        assert!(pinned.ends_with("'UserKnownHostsFile=\"/pin\"'"), "{pinned}");
        assert!(ssh(Access::default()).starts_with("ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes "));
    }

    #[test]
    fn a_token_is_for_its_own_host() {
        let access = Access { token_file: Some("/t".into()), username: Some("me".into()), ..Access::default() };
        let keys = |url: &str| {
            let config = access.config(url, TIMEOUT);
            config.into_iter().map(|(key, _)| key).filter(|key| key.starts_with("credential")).collect::<Vec<_>>()
        };
        let wanted = ["credential.https://git.example:8443.helper", "credential.https://git.example:8443.username"];
        assert_eq!(keys("https://me@git.example:8443/a/b.git"), wanted);
        assert_eq!(keys("git@git.example:a/b.git"), Vec::<String>::new());
    }
}
