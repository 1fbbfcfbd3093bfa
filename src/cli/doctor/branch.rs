//! The branch: whether it can be read, whether its host is believed for a reason, whether a commit could be signed and pushed.

use super::{Finding, places::compiled};
use crate::{
    app::aside,
    config::settings::{GitMode, GitSettings, Settings},
    io::{
        clock,
        git::{Git, GitError, Tip},
    },
};

/// A commit from so far in the future was made by another clock than ours.
const AHEAD_MS_MAX: i64 = 60_000;

/// The tip, if it could be read.
pub(super) async fn examine(settings: &Settings, findings: &mut Vec<Finding>) -> Option<Tip> {
    let (Some(of), Some(git)) = (&settings.git, aside(settings)) else {
        let what = "none: a worse canary is clamped to 0 here, and nothing is raised or written";
        findings.push(Finding::warn("git remote", what, "set `git: { remote: ... }`"));
        return None;
    };
    let tip = git.tip().await;
    findings.extend(trust(of, tip.as_ref().err()));
    match tip {
        Err(error) => {
            findings.push(Finding::fail("git remote", error.to_string(), next_step(&error)));
            None
        }
        Ok(tip) => {
            let commit = tip.commit.get(..12).unwrap_or(&tip.commit);
            findings.push(Finding::ok("git remote", format!("{} is at {commit}, with {}", of.branch, of.path)));
            findings.push(compiled("git file", &of.path, &tip.text));
            findings.push(clocks(&git, &tip).await);
            push(of, &git, &tip, findings).await;
            Some(tip)
        }
    }
}

fn next_step(error: &GitError) -> &'static str {
    match error {
        GitError::Auth(_) => "give that key or token the right to read and to push, or renew it",
        GitError::Network(_) => "can this machine reach the host; is `git.proxy` needed?",
        GitError::Missing(_) => "set `git.branch` and `git.path` to what is there",
        GitError::Protected(_) | GitError::Hook(_) => "let this key push to the branch",
        GitError::Signing(_) | GitError::Stale(_) | GitError::Failed(_) => {
            "try the same with the system's git, as this user"
        }
    }
}

/// Why the host is believed to be the one it says.
fn trust(of: &GitSettings, error: Option<&GitError>) -> Option<Finding> {
    const CHECK: &str = "git host";
    let remote = of.remote.as_str();
    let scp = !remote.contains("://") && remote.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
    let strange = ["Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"];
    if error.is_some_and(|error| strange.iter().any(|words| error.to_string().contains(words))) {
        let next = "put the key that the host's owners publish into `git.host_key`";
        return Some(Finding::fail(CHECK, "it does not have the key that is believed", next));
    }
    if remote.starts_with("http://") && of.token_file.is_some() {
        return Some(Finding::fail(CHECK, "the token would go over the network in the clear", "use https"));
    }
    if !scp && !remote.starts_with("ssh://") {
        return None;
    }
    Some(match (&of.host_key, &of.known_hosts) {
        (Some(_), _) => Finding::ok(CHECK, "its key is pinned by `git.host_key`"),
        (None, Some(file)) => Finding::ok(CHECK, format!("its key is one of {}", file.display())),
        (None, None) => Finding::warn(
            CHECK,
            "its key is looked for in the lists of this machine, which another one may not have",
            "pin it as `git.host_key`",
        ),
    })
}

async fn clocks(git: &Git, tip: &Tip) -> Finding {
    let made = git.made_ms(&tip.commit).await;
    let ours = i64::try_from(clock::now().wall_ms).unwrap_or(i64::MAX);
    match made {
        Ok(made_ms) if made_ms > ours.saturating_add(AHEAD_MS_MAX) => {
            let what = format!("the newest commit is {} s in the future", (made_ms - ours) / 1000);
            Finding::warn("clock", what, "set this machine's clock, or the committer's, by NTP")
        }
        Ok(_) => Finding::ok("clock", "the newest commit is not in the future"),
        Err(error) => Finding::warn("clock", error.to_string(), "look at the branch with the system's git"),
    }
}

async fn push(of: &GitSettings, git: &Git, tip: &Tip, findings: &mut Vec<Finding>) {
    // Only here: nothing but a dry run is ever done with it.
    let commit = match git.record(tip, &[], "a commit that is pushed nowhere").await {
        Ok(commit) => commit,
        Err(error) => {
            let next = "try the same key with ssh-keygen or gpg, as this user; gpg must be installed for `openpgp`";
            findings.push(Finding::fail("git signing", error.to_string(), next));
            return;
        }
    };
    findings.push(match &of.signing_key {
        Some(key) => Finding::ok("git signing", format!("{} signs commits", key.display())),
        None => Finding::ok("git signing", "commits are not signed"),
    });
    // With pull requests it is a branch of our own that is pushed.
    let branch = if of.mode == GitMode::PullRequest { "coalmine/doctor" } else { &of.branch };
    findings.push(match (of.mode, git.would_take(&commit, branch).await) {
        (GitMode::Off, _) => Finding::ok("git push", "`mode: off`: nothing is pushed"),
        // Somebody has committed meanwhile: so it is with us, too, and then we take their tip.
        (GitMode::Push, Ok(()) | Err(GitError::Stale(_))) => {
            Finding::ok("git push", format!("{} would take a push; hooks and rules only tell at a real one", of.branch))
        }
        (GitMode::PullRequest, Ok(()) | Err(GitError::Stale(_))) => {
            Finding::ok("git push", "a branch of ours would be taken; pull requests are only tried at a real one")
        }
        (GitMode::Push | GitMode::PullRequest, Err(error)) => {
            Finding::fail("git push", error.to_string(), next_step(&error))
        }
    });
}
