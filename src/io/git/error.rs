//! Why there is no commit, told apart by what helps: recomputing, waiting, or a person.

/// Longest message that is kept of what git or a server says: a server may say anything.
const MESSAGE_CHARS_MAX: usize = 600;

/// Why there is no commit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GitError {
    /// Somebody else was faster: read the tip again.
    #[error("the branch has moved on: {0}")]
    Stale(String),
    /// A hook of the server said no.
    #[error("the remote refuses the push: {0}; may this key push to the branch?")]
    Hook(String),
    /// The branch is protected: only a pull request, or another key, gets through.
    #[error("the branch is protected: {0}; may this key push to the branch?")]
    Protected(String),
    /// The server does not know us, or we do not know the server.
    #[error("not let in by the remote: {0}; is the key or token still valid, and the host's key the expected one?")]
    Auth(String),
    /// Nobody answers.
    #[error("the remote cannot be reached: {0}")]
    Network(String),
    /// The remote has no such branch, or the branch no such file.
    #[error("{0}; are `branch` and `path` right?")]
    Missing(String),
    /// The key cannot sign.
    #[error(
        "the commit cannot be signed: {0}; is `git.signing_key` a private key of the kind that `git.signing_format` names, still \
         valid, and opened by `git.signing_passphrase_file` if it has a passphrase?"
    )]
    Signing(String),
    /// Anything else.
    #[error("git: {0}")]
    Failed(String),
}

impl GitError {
    /// The word in metrics and messages.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Stale(_) => "stale",
            Self::Hook(_) => "hook",
            Self::Protected(_) => "protected",
            Self::Auth(_) => "auth",
            Self::Network(_) => "network",
            Self::Missing(_) => "missing",
            Self::Signing(_) => "signing",
            Self::Failed(_) => "failed",
        }
    }

    /// What was said, without what we add to it.
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Stale(said) | Self::Hook(said) | Self::Protected(said) | Self::Auth(said) => said,
            Self::Network(said) | Self::Missing(said) | Self::Signing(said) | Self::Failed(said) => said,
        }
    }

    /// Whether only a person can help, so that asking again soon would be hammering.
    #[must_use]
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Hook(_) | Self::Protected(_) | Self::Auth(_) | Self::Missing(_) | Self::Signing(_) => true,
            Self::Stale(_) | Self::Network(_) | Self::Failed(_) => false,
        }
    }

    /// What a git command that failed has said on standard error. The C locale is set for this.
    pub(super) fn of(said: &str) -> Self {
        const AUTH: [&str; 12] = [
            "Permission denied",
            "Host key verification failed",
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "returned error: 401",
            "returned error: 403",
            "Too many authentication failures",
            "invalid credentials",
            "marked as read only", // GitHub, of a deploy key
            "certificate verif",   // curl by GnuTLS and by OpenSSL: `server certificate verification failed`
            "SSL certificate problem",
        ];
        const NETWORK: [&str; 15] = [
            "Could not resolve",
            "Connection refused",
            "Connection reset",
            "Connection closed",
            "Connection timed out",
            "Operation timed out",
            "Network is unreachable",
            "No route to host",
            "Failed to connect",
            "kex_exchange_identification",
            "early EOF",
            "hung up unexpectedly",
            "Operation too slow",
            "returned error: 5",
            "Empty reply from server",
        ];
        let text = scrub(said);
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        // A door that is closed on us also hangs up; the reason is the earlier word.
        if says(&AUTH) {
            Self::Auth(text)
        } else if says(&NETWORK) {
            Self::Network(text)
        } else if says(&["couldn't find remote ref"]) {
            Self::Missing(text)
        } else {
            Self::Failed(text)
        }
    }

    /// What a push that failed has said: its porcelain lines, and standard error.
    pub(super) fn of_push(porcelain: &str, said: &str) -> Self {
        const STALE: [&str; 5] =
            ["[rejected]", "cannot lock ref", "incorrect old value", "failed to update ref", "fetch first"];
        let Some(line) = porcelain.lines().find(|line| line.starts_with('!')) else { return Self::of(said) };
        if STALE.iter().any(|word| line.contains(word)) {
            return Self::Stale(scrub(line));
        }
        let both = format!("{line} {said}");
        let lower = both.to_ascii_lowercase();
        // GitHub: GH006 and GH013 (rules); GitLab, Gitea, Forgejo and Bitbucket say `protected` in words of their own.
        if ["protected", "gh006", "gh013"].iter().any(|word| lower.contains(word)) {
            Self::Protected(scrub(&both))
        } else {
            Self::Hook(scrub(&both))
        }
    }
}

/// On one line, short, without ssh's frames, and without user or password of any URL.
pub(super) fn scrub(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| word.chars().any(|c| c != '@')).map(|word| {
        match (word.find("://"), word.rfind('@')) {
            (Some(scheme), Some(at)) if scheme < at => {
                format!("{}://{}", word.get(..scheme).unwrap_or(""), word.get(at + 1..).unwrap_or(""))
            }
            _ => word.to_owned(),
        }
    });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{} ...", line.get(..end).unwrap_or("")),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_no_password_and_end() {
        let text = "fatal: unable to access\n 'https://me:s3cret@git.example/x.git/': nope";
        assert_eq!(scrub(text), "fatal: unable to access 'https://git.example/x.git/': nope");
        assert_eq!(scrub(&"é".repeat(10_000)).chars().count(), MESSAGE_CHARS_MAX + 4);
    }

    #[test]
    fn a_failure_is_told_by_what_helps() {
        let line = |why: &str| format!("To x\n!\tabc:refs/heads/main\t{why}\nDone\n");
        for (porcelain, said, wanted) in [
            (line("[rejected] (fetch first)"), "", "stale"),
            (line("[rejected] (non-fast-forward)"), "", "stale"),
            (line("[remote rejected] (cannot lock ref 'refs/heads/main': is at 1 but expected 2)"), "", "stale"),
            (line("[remote rejected] (incorrect old value provided)"), "", "stale"),
            (line("[remote rejected] (pre-receive hook declined)"), "remote: ask the team first", "hook"),
            (line("[remote rejected] (hook declined)"), "", "hook"),
            (line("[remote rejected] (protected branch hook declined)"), "remote: error: GH006", "protected"),
            (
                line("[remote rejected] (pre-receive hook declined)"),
                "remote: Gitea: Not allowed to push to protected branch main",
                "protected",
            ),
            (String::new(), "git@h: Permission denied (publickey).\nConnection closed by 1.2.3.4 port 22", "auth"),
            (String::new(), "Host key verification failed.\nfatal: Could not read from remote repository.", "auth"),
            (String::new(), "fatal: Authentication failed for 'https://h/x.git/'", "auth"),
            (String::new(), "The requested URL returned error: 403", "auth"),
            (String::new(), "fatal: unable to access 'https://h/': The requested URL returned error: 503", "network"),
            (String::new(), "ssh: connect to host h port 22: Connection refused", "network"),
            (String::new(), "ssh: Could not resolve hostname h: Name or service not known", "network"),
            (String::new(), "fatal: couldn't find remote ref refs/heads/main", "missing"),
            (String::new(), "fatal: not a git repository", "failed"),
        ] {
            assert_eq!(GitError::of_push(&porcelain, said).as_str(), wanted, "{porcelain} {said}");
        }
    }
}
