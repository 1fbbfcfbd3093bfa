//! Signed commits by a real gpg and ssh-keygen, to a remote that takes no other ones: keys that are open and locked, missing,
//! public only, expired, a stranger's.

use super::{
    git::{failing, load_until, show},
    git_servers::{load_until_trouble, path, serve},
    githost::Watch,
    raw::process::Process,
    repo::Repo,
    support::{Caller, wait},
};
use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path, process::Command};

const PASSPHRASE: &str = "c0rrect-h0rse";

/// A team with a key ring of its own.
struct Team {
    repo: Repo,
}

impl Team {
    fn new() -> Self {
        let repo = Repo::new(&failing(30));
        fs::DirBuilder::new().mode(0o700).create(repo.path("ring")).unwrap();
        Self { repo }
    }

    /// What gpg says on standard output.
    #[track_caller]
    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.current_dir(self.repo.path(".")).env("GNUPGHOME", self.repo.path("ring"));
        gpg.args(["--batch", "--quiet", "--no-tty", "--yes", "--pinentry-mode", "loopback"]).args(arguments);
        let said = gpg.output().expect("gpg must be installed; tests/real/git/setup.sh does");
        assert!(said.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&said.stderr));
        said.stdout
    }

    /// A new key, exported as a file of this name.
    fn key(&self, name: &str, passphrase: &str, more: &[&str], until: &str) {
        let user = format!("{name} <{name}@localhost>");
        let made = ["--passphrase", passphrase, "--quick-gen-key", &user, "ed25519", "sign", until];
        self.gpg(&[more, &made].concat());
        let user = format!("{name}@localhost");
        fs::write(
            self.repo.path(name),
            self.gpg(&["--passphrase", passphrase, "--armor", "--export-secret-keys", &user]),
        )
        .unwrap();
    }

    /// Signed with this file.
    fn serve(&self, key: &str, more: &str) -> Process {
        let remote = self.repo.path("bare.git").display().to_string();
        let git = format!("  remote: '{remote}'\n  signing_key: '{}'\n{more}", self.repo.path(key).display());
        serve(&self.repo, &failing(30), &git, &path())
    }

    /// What git says of the signature at the tip, as somebody does who has the team's keys.
    fn signature(&self) -> String {
        let mut git = Command::new("git");
        git.current_dir(self.repo.path("bare.git")).env("GNUPGHOME", self.repo.path("ring"));
        let said = git.args(["verify-commit", "main"]).output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{text}");
        text
    }

    /// From now on the remote takes only what one of these has signed: the ids of keys in the ring.
    fn demand(&self, name: &str) {
        self.repo.hook(
            "update",
            &format!(
                "GNUPGHOME='{}' git verify-commit --raw \"$3\" 2>&1 | grep -q 'GOODSIG .* {name} <' && exit 0\n\
                 echo 'commits must be signed by {name}' >&2; exit 1",
                self.repo.path("ring").display()
            ),
        );
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        // An agent serves the ring until it is told.
        let _ = Command::new("gpgconf").env("GNUPGHOME", self.repo.path("ring")).args(["--kill", "all"]).status();
    }
}

/// Agents whose ring is in `dir`.
fn agents(dir: &Path) -> usize {
    let of = |entry: &fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
    let ours = |said: &[u8]| {
        let said = String::from_utf8_lossy(said);
        said.starts_with("gpg-agent") && said.contains(&dir.display().to_string())
    };
    fs::read_dir("/proc").unwrap().flatten().filter(|entry| ours(&of(entry))).count()
}

#[test]
fn a_rollback_that_gpg_has_signed_is_verified_and_nothing_of_the_key_is_seen_or_left_behind() {
    let team = Team::new();
    team.key("robot", "", &[], "never");
    team.demand("robot");
    let key = fs::read_to_string(team.repo.path("robot")).unwrap();
    let lines: Vec<&str> = key.lines().filter(|line| line.len() > 20 && !line.starts_with('-')).collect();
    let watch = Watch::over(&lines);
    let mut process = team.serve("robot", "  signing_format: openpgp");
    load_until(process.data, "the commit", || team.repo.commits() == 2);
    assert!(team.repo.message().starts_with("rollback(digits): v2 30 % -> 0 %, rejected"));
    let told = team.signature();
    assert!(told.contains("Good signature from \"robot <robot@localhost>\""), "{told}");
    assert!(watch.end() > 0, "nobody was seen at work");
    let log = process.log.lock().unwrap().clone();
    assert!(lines.iter().all(|line| !log.contains(line)), "{log}");
    let state = team.repo.path("state");
    assert_eq!(agents(&state), 1, "our own ring has an agent while we work");
    process.terminate();
    process.end();
    wait("the agent to end with us", || (agents(&state) == 0).then_some(()));
    assert!(!state.join("git").exists(), "nothing is left of the ring");
}

#[test]
fn a_key_that_cannot_sign_is_told_with_what_helps_while_the_clamp_holds() {
    let team = Team::new();
    team.key("robot", "", &[], "never");
    team.key("stranger", "", &[], "never");
    team.key("old", "", &["--faked-system-time", "20200101T000000"], "1d");
    fs::write(team.repo.path("public"), team.gpg(&["--export", "robot@localhost"])).unwrap();
    fs::write(team.repo.path("words"), "no key at all").unwrap();
    team.demand("robot");
    for (key, why) in [
        ("nowhere", "nowhere: No such file"),
        ("words", "words holds no OpenPGP secret key: gpg: no valid OpenPGP data found"),
        ("public", "public holds no OpenPGP secret key: it is a public key"),
        ("old", "the key has expired"),
        ("stranger", "commits must be signed by robot"),
    ] {
        let process = team.serve(key, "  signing_format: openpgp");
        let mut admin = Caller::new(process.admin);
        let told = load_until_trouble(&process, &mut admin, why);
        let helps =
            if key == "stranger" { "may this key push" } else { "is `git.signing_key` a private key of the kind" };
        assert!(told.contains(helps), "{key}: {told}");
        assert_eq!(team.repo.commits(), 1, "{key}");
    }
    // Of the wrong kind; and then the right one is put in its place.
    fs::copy(team.repo.path("robot"), team.repo.path("renewed")).unwrap();
    let process = team.serve("renewed", "");
    load_until_trouble(&process, &mut Caller::new(process.admin), "the commit cannot be signed");
    drop(process);
    fs::copy(team.repo.path("stranger"), team.repo.path("renewed")).unwrap();
    let process = team.serve("renewed", "  signing_format: openpgp");
    load_until_trouble(&process, &mut Caller::new(process.admin), "commits must be signed by robot");
    fs::copy(team.repo.path("robot"), team.repo.path("renewed")).unwrap();
    wait("the commit, without a restart", || (team.repo.commits() == 2).then_some(()));
    assert!(team.signature().contains("Good signature from \"robot"));
}

#[test]
fn a_locked_key_is_opened_by_a_file_and_by_nobody_else() {
    let team = Team::new();
    team.key("robot", PASSPHRASE, &[], "never");
    let locked = ["-q", "-t", "ed25519", "-N", PASSPHRASE, "-C", "coalmine", "-f", "ssh"];
    let made = Command::new("ssh-keygen").current_dir(team.repo.path(".")).args(locked).status();
    assert!(made.expect("ssh-keygen must be installed").success());
    let watch = Watch::over(&[PASSPHRASE]);
    for (key, format, commits) in [("robot", "openpgp", 2), ("ssh", "ssh", 4)] {
        let of = format!("  signing_format: {format}");
        let process = team.serve(key, &of);
        load_until_trouble(&process, &mut Caller::new(process.admin), "the commit cannot be signed");
        drop(process);
        let file = team.repo.path("passphrase");
        fs::write(&file, "wr0ng\n").unwrap();
        let process = team.serve(key, &format!("{of}\n  signing_passphrase_file: '{}'", file.display()));
        let told = load_until_trouble(&process, &mut Caller::new(process.admin), "the commit cannot be signed");
        assert!(told.contains("opened by `git.signing_passphrase_file`"), "{told}");
        fs::write(&file, format!("{PASSPHRASE}\n")).unwrap();
        wait("the commit, without a restart", || (team.repo.commits() == commits).then_some(()));
        assert_eq!(show(&mut Caller::new(process.admin))["variants"][1]["weight"]["effective"], "0");
        let log = process.log.lock().unwrap().clone();
        assert!(!log.contains(PASSPHRASE), "{log}");
        drop(process);
        if format == "openpgp" {
            assert!(team.signature().contains("Good signature"));
            // The same story once more.
            team.repo.person(&failing(30), "again");
        }
    }
    let public = fs::read_to_string(team.repo.path("ssh.pub")).unwrap();
    fs::write(team.repo.path("signers"), format!("* {public}")).unwrap();
    let signers = format!("gpg.ssh.allowedSignersFile={}", team.repo.path("signers").display());
    team.repo.git("bare.git", &["-c", &signers, "verify-commit", "main"]);
    assert!(watch.end() > 0, "nobody was seen at work");
}
