//! sshd, one process for each connection, as whoever runs the test: a host key of its own, one user key, git commands only.

use super::{Door, key, program};
use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

pub(in super::super) struct SshHost {
    pub(in super::super) door: Door,
    /// The user's private key.
    pub(in super::super) key: PathBuf,
    dir: tempfile::TempDir,
    user: String,
}

impl SshHost {
    pub(in super::super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (host, user_key) = (key(dir.path(), "host"), key(dir.path(), "user"));
        let public = fs::read_to_string(dir.path().join("user.pub")).unwrap();
        // Nothing but git: what the user asks for is run by git's own shell.
        let only = "restrict,command=\"git-shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\"";
        fs::write(dir.path().join("authorized"), format!("{only} {public}")).unwrap();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAcceptEnv GIT_PROTOCOL\nPidFile none\n",
            host.display(),
            dir.path().join("authorized").display()
        );
        let file = dir.path().join("sshd_config");
        fs::write(&file, config).unwrap();
        let sshd = program("sshd");
        let checked = Command::new(&sshd).arg("-t").arg("-f").arg(&file).output().unwrap();
        let why = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "sshd: {why}; tests/real/git/setup.sh sets it up");
        let door = Door::new(move |stream| {
            let (read, write) = (OwnedFd::from(stream.try_clone().unwrap()), OwnedFd::from(stream));
            let mut command = Command::new(&sshd);
            command.arg("-i").arg("-e").arg("-f").arg(&file).env_remove("SSH_AUTH_SOCK");
            let child = command.stdin(Stdio::from(read)).stdout(Stdio::from(write)).stderr(Stdio::null()).spawn();
            let mut child = child.unwrap();
            thread::spawn(move || child.wait());
        });
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        Self { door, key: user_key, dir, user: String::from_utf8(user).unwrap().trim().to_owned() }
    }

    pub(in super::super) fn url(&self, repository: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.door.address.port(), repository.display())
    }

    /// `ssh-ed25519 AAAA...`
    pub(in super::super) fn host_key(&self) -> String {
        let public = fs::read_to_string(self.dir.path().join("host.pub")).unwrap();
        public.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// From now on the user may fetch, and not push: in the words of one of the large hosts.
    pub(in super::super) fn read_only(&self) {
        let no = "echo 'ERROR: The key you are authenticating with has been marked as read only.' >&2; exit 1";
        let only = format!(
            "restrict,command=\"case \\\"$SSH_ORIGINAL_COMMAND\\\" in git-receive-pack*) {no};; esac; \
             git-shell -c \\\"$SSH_ORIGINAL_COMMAND\\\"\""
        );
        let public = fs::read_to_string(self.dir.path().join("user.pub")).unwrap();
        fs::write(self.dir.path().join("authorized"), format!("{only} {public}")).unwrap();
    }

    /// Nobody is let in from now on, or the user is again.
    pub(in super::super) fn lock(&self, locked: bool) {
        let (from, to) = if locked { ("authorized", "away") } else { ("away", "authorized") };
        fs::rename(self.dir.path().join(from), self.dir.path().join(to)).unwrap();
    }
}
