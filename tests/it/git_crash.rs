//! The process is killed at each step of a commit, by a `git` on its path that kills whoever calls it; the server is a real one
//! whose hooks refuse, dawdle, and drop what they took. Afterwards: one commit, or none and an alert; and no request to the canary.

use super::{
    git::{failing, load_until, show},
    git_servers::serve,
    githost::{SshHost, program},
    raw::process::Process,
    repo::Repo,
    support::{Caller, wait},
};
use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

/// What a commit makes git do, in order; the push and what follows are stories of their own.
const STEPS_BEFORE_THE_PUSH: [&str; 12] = [
    "init",
    "config",
    "fetch",
    "rev-parse",
    "ls-tree",
    "cat-file",
    "log",
    "hash-object",
    "read-tree",
    "update-index",
    "write-tree",
    "commit-tree",
];

/// A release that fails, its repository behind sshd, and a `git` that kills.
struct Story {
    repo: Repo,
    host: SshHost,
    /// The routes file.
    text: String,
    process: Option<Process>,
}

impl Story {
    fn new() -> Self {
        let text = failing(30);
        let (repo, host) = (Repo::new(&text), SshHost::new());
        let (dir, git) = (repo.path("bin"), program("git"));
        fs::create_dir(&dir).unwrap();
        let script = format!(
            r#"#!/bin/sh
# The first word that is no option is what git is to do.
skip= verb=
for word; do
    if [ -n "$skip" ]; then skip=; elif [ "$word" = -c ]; then skip=1; else verb=$word; break; fi
done
at() {{ [ -e "{dir}/$1-$verb" ] && rm "{dir}/$1-$verb"; }}
if at before; then kill -9 $PPID; exit 1; fi
if at meanwhile; then kill -9 $PPID; fi
if at after; then "{git}" "$@"; kill -9 $PPID; exit; fi
exec "{git}" "$@"
"#,
            dir = dir.display(),
            git = git.display()
        );
        fs::write(dir.join("git"), script).unwrap();
        fs::set_permissions(dir.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { repo, host, text, process: None }
    }

    fn start(&mut self) -> &Process {
        let (url, key) = (self.host.url(&self.repo.path("bare.git")), self.host.key.display());
        let git = format!("  remote: '{url}'\n  ssh_key: '{key}'\n  host_key: {}", self.host.host_key());
        let path = format!("{}:{}", self.repo.path("bin").display(), std::env::var("PATH").unwrap());
        self.process.insert(serve(&self.repo, &self.text, &git, &path))
    }

    /// Whoever runs `verb` next is killed `when`.
    fn plant(&self, when: &str, verb: &str) {
        fs::write(self.repo.path("bin").join(format!("{when}-{verb}")), "").unwrap();
    }

    fn wait_for_death(&mut self, when: &str, verb: &str) {
        let mut process = self.process.take().unwrap();
        let (status, _) = process.end();
        assert!(!status.success() && status.code().is_none(), "killed {when} {verb}: {status}");
        assert!(!self.repo.path("bin").join(format!("{when}-{verb}")).exists(), "it died of something else");
    }

    /// As people end it: what git was doing for it ends with it.
    fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        process.terminate();
        process.end();
    }

    /// The clamp is there from the first request on.
    fn restart(&mut self) {
        let process = self.start();
        let mut caller = Caller::new(process.data);
        wait("the process to be ready", || (caller.infer().status == 200).then_some(()));
        for _ in 0..50 {
            let answer = caller.infer();
            let variant = answer.headers.get("x-coalmine-variant").map(String::as_str);
            assert_eq!(variant, Some("v1"), "the rejected one is back");
        }
    }

    fn ours(&self) -> usize {
        self.repo.git("bare.git", &["log", "--format=%h", "--grep=^Coalmine-Intent: ", "main"]).lines().count()
    }

    /// Until the loop has nothing to do any more.
    fn settle(&self) {
        let process = self.process.as_ref().unwrap();
        let mut admin = Caller::new(process.admin);
        wait("the branch to show it", || {
            let log = process.log.lock().unwrap().clone();
            (log.contains("\"the branch shows the rollback\"") && show(&mut admin)["release"]["trouble"].is_null())
                .then_some(())
        });
        assert_eq!(self.ours(), 1);
        assert_eq!(self.repo.tip(), rolled_back(&self.text));
    }
}

/// The rolled-back file.
fn rolled_back(text: &str) -> String {
    text.replace("weight: 70", "weight: 100").replace("canary, weight: 30", "rejected, weight: 0")
}

#[test]
fn killed_at_every_step_before_the_push_one_commit_comes_of_it() {
    let mut story = Story::new();
    let mut first = true;
    for verb in STEPS_BEFORE_THE_PUSH {
        for when in ["before", "after"] {
            story.plant(when, verb);
            if first {
                let data = story.start().data;
                let armed = story.repo.path("bin").join("before-init");
                load_until_dead(data, || !armed.exists());
            } else {
                story.start();
            }
            first = false;
            story.wait_for_death(when, verb);
            assert_eq!(story.ours(), 0);
        }
        // Between two deaths it lives long enough to be asked.
        story.host.door.shut(true);
        story.restart();
        story.stop();
        story.host.door.shut(false);
    }
    story.restart();
    story.settle();
}

#[test]
fn killed_at_the_push_or_after_it_there_is_still_one_commit() {
    for (when, verb) in
        [("before", "push"), ("meanwhile", "push"), ("after", "push"), ("before", "ls-remote"), ("after", "ls-remote")]
    {
        let mut story = Story::new();
        story.plant(when, verb);
        let data = story.start().data;
        let armed = story.repo.path("bin").join(format!("{when}-{verb}"));
        load_until_dead(data, || !armed.exists());
        story.wait_for_death(when, verb);
        story.restart();
        story.settle();
    }
}

#[test]
fn whatever_the_servers_hooks_do_there_is_one_commit_or_none_and_an_alert() {
    let once = |script: &str| format!("[ -e ../once ] && exit 0; touch ../once; {script}");
    for (hook, script) in [
        // The process dies while the server makes up its mind.
        ("pre-receive", once("sleep 2")),
        // Taken, and dropped.
        ("post-receive", once("read old new ref; git update-ref $ref $old")),
        // Taken, and the line goes dead before anybody is told.
        ("post-receive", once("kill -9 $PPID")),
    ] {
        let mut story = Story::new();
        story.repo.hook(hook, &script);
        if hook == "pre-receive" {
            story.plant("meanwhile", "push");
            let data = story.start().data;
            let armed = story.repo.path("bin/meanwhile-push");
            load_until_dead(data, || !armed.exists());
            story.wait_for_death("meanwhile", "push");
            story.restart();
        } else {
            let data = story.start().data;
            let once = story.repo.path("once");
            load_until(data, "the push", || once.exists());
        }
        story.settle();
    }

    let mut story = Story::new();
    story.repo.hook("pre-receive", "echo 'not today' >&2; exit 1");
    story.plant("after", "push");
    let data = story.start().data;
    let armed = story.repo.path("bin/after-push");
    load_until_dead(data, || !armed.exists());
    story.wait_for_death("after", "push");
    story.restart();
    let mut admin = Caller::new(story.process.as_ref().unwrap().admin);
    let told = wait("the alert", || {
        let trouble = show(&mut admin)["release"]["trouble"].as_str().map(str::to_owned);
        let metrics = admin.call("GET", "/metrics", "", "").body;
        trouble.filter(|_| metrics.contains(r#"coalmine_git_write_blocked{route="digits"} 1"#))
    });
    assert!(told.contains("not today"), "{told}");
    assert_eq!(story.ours(), 0);
}

#[test]
fn killed_between_the_clamp_and_its_first_save_it_is_clamped_again_at_once_and_one_commit_comes_of_it() {
    let mut story = Story::new();
    // A step whose hold lasts: from its warm-up on there is no news but the verdict.
    let plan =
        "    plan: { steps: [{ weight: 30, hold: 1h }, { weight: 100 }] }\n    judge: { warmup: 0s }\n    variants:\n";
    let text = failing(30).replace("    variants:\n", plan);
    story.repo.person(&text, "a plan");
    story.text = text;
    let state = story.repo.path("state");
    let process = story.start();
    let mut admin = Caller::new(process.admin);
    wait("the judge to begin", || (show(&mut admin)["release"]["state"] == "judging").then_some(()));
    // From now on whoever saves what is rejected waits for the disk, for ever.
    let disk = state.join(".quarantine.new");
    let made = Command::new("mkfifo").arg(&disk).status().expect("mkfifo must be installed");
    assert!(
        made.success() && !String::from_utf8(fs::read(state.join("quarantine")).unwrap()).unwrap().contains("m/2@2")
    );
    let mut caller = Caller::new(process.data);
    let mut served = || {
        let answers: Vec<String> = (0..100).map(|_| caller.infer().headers["x-coalmine-variant"].clone()).collect();
        answers.iter().filter(|variant| *variant == "v2").count()
    };
    wait("the clamp, while the disk takes nothing", || (served() == 0).then_some(()));
    assert_eq!((0..20).map(|_| served()).sum::<usize>(), 0, "it holds");
    drop(story.process.take());
    assert!(!String::from_utf8(fs::read(state.join("quarantine")).unwrap()).unwrap().contains("m/2@2"));
    assert_eq!(story.ours(), 0);
    fs::remove_file(disk).unwrap();

    let process = story.start();
    let mut admin = Caller::new(process.admin);
    // Nobody has sent a request since: the evidence was saved, and is enough.
    wait("the clamp", || (show(&mut admin)["variants"][1]["weight"]["effective"] == "0").then_some(()));
    assert_eq!(show(&mut admin)["variants"][1]["requests"], 0);
    story.settle();
}

/// Sends requests until `there`; the process may die at any of them.
fn load_until_dead(data: std::net::SocketAddr, there: impl Fn() -> bool) {
    use std::io::{Read as _, Write as _};
    wait("its death", || {
        if let Ok(mut stream) = std::net::TcpStream::connect(data) {
            let request = "POST /v2/models/digits/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
            let _ = stream.write_all(request.as_bytes());
            let _ = stream.read_to_end(&mut Vec::new());
        }
        there().then_some(())
    });
}
