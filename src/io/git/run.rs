//! One git command in a world of its own: nobody's configuration, no prompts, no hooks, the C locale, an end.

use super::{Remote, error::GitError, sign};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{io, path::Path, process::Stdio};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};

/// More bytes of an answer are refused: a routes file has at most 2 MiB, the log of a clone less.
const OUTPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What is taken over from our own environment: where programs are, and how the network is reached.
const TAKEN_OVER: [&str; 12] = [
    "PATH",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "TZ",
];

/// What a command has said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) good: bool,
    pub(super) out: Vec<u8>,
    pub(super) error: String,
}

/// A command and whatever it starts (ssh, helpers): none of them outlives our interest in it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing is left once it has been waited for.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs git in `dir`.
pub(super) async fn run(remote: &Remote, dir: &Path, arguments: &[&str], input: &[u8]) -> Result<Said, GitError> {
    let failed = |error: io::Error| GitError::Failed(format!("cannot run git: {error}; is it installed?"));
    let mut running = Running(command(remote, dir, arguments).spawn().map_err(failed)?);
    let work = async {
        let child = &mut running.0;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // A command that ends without reading says why on standard error.
                let _ = stdin.write_all(input).await;
            }
        };
        let ((), out, error) = tokio::join!(write, read(stdout), read(stderr));
        let status = child.wait().await?;
        Ok((status.success(), out?, error?))
    };
    let slow = || GitError::Network(format!("no answer within {:?}", remote.limits.command));
    let (good, out, error) = timeout(remote.limits.command, work).await.map_err(|_| slow())?.map_err(failed)?;
    Ok(Said { good, out, error: remote.access.redact(String::from_utf8_lossy(&error).into_owned()) })
}

async fn read(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(pipe) = pipe else { return Ok(bytes) };
    pipe.take(OUTPUT_BYTES_MAX + 1).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 > OUTPUT_BYTES_MAX {
        return Err(io::Error::other(format!("it says more than {OUTPUT_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

fn command(remote: &Remote, dir: &Path, arguments: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.env_clear().current_dir(dir).kill_on_drop(true).process_group(0);
    git.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    git.envs(TAKEN_OVER.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    for (name, value) in [
        ("GIT_DIR", "."),
        ("GIT_INDEX_FILE", "coalmine.index"),
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", "file:ssh:http:https"),
        ("GIT_AUTHOR_NAME", &remote.author.0),
        ("GIT_AUTHOR_EMAIL", &remote.author.1),
        ("GIT_COMMITTER_NAME", &remote.author.0),
        ("GIT_COMMITTER_EMAIL", &remote.author.1),
    ] {
        git.env(name, value);
    }
    git.env("HOME", dir).envs(remote.access.environment(&dir.join(super::PINNED), remote.limits.command));
    git.env("GNUPGHOME", sign::gpg_home(dir));
    git.envs(remote.signing.iter().flat_map(|signing| signing.environment(dir)));
    let mut config = vec![("core.hooksPath".to_owned(), "/dev/null".to_owned()), ("gc.auto".into(), "0".into())];
    config.extend(remote.access.config(&remote.url, remote.limits.command));
    config.extend(remote.signing.iter().map(|signing| ("gpg.format".into(), signing.format().into())));
    for (key, value) in config {
        git.arg("-c").arg(format!("{key}={value}"));
    }
    git.args(arguments);
    git
}
