//! Commits over ssh and https to real Git servers, by the real binary: who is believed, what is shown to nobody, races, outages.

use super::{
    git::{failing, load_until, show},
    githost::{HttpsHost, SshHost, Watch, key},
    raw::process::Process,
    repo::Repo,
    support::{Caller, wait},
};
use serde_json::Value;
use std::{fs, process::Command, thread};

/// Coalmine with its state beside the repository; `git` is lines of the settings' `git`.
pub(super) fn serve(repo: &Repo, routes: &str, git: &str, path: &str) -> Process {
    let state = repo.path("state");
    let settings = format!(
        "judge: {{ interval: 50ms }}\ndrain: {{ lame_duck: 0s }}\nstate: {{ dir: '{}' }}\ngit:\n  path: prod/routes.yaml\n{git}\n",
        state.display()
    );
    Process::start(&format!("PATH='{path}'; export PATH"), routes, &settings)
}

pub(super) fn path() -> String {
    std::env::var("PATH").unwrap()
}

pub(super) fn over_ssh(repo: &Repo, host: &SshHost, trust: &str) -> String {
    let (url, key) = (host.url(&repo.path("bare.git")), host.key.display());
    format!("  remote: '{url}'\n  ssh_key: '{key}'\n  {trust}")
}

/// The lines of a private key: any of them would be a leak.
fn secret_lines(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with("-----")).collect()
}

fn trouble(admin: &mut Caller) -> String {
    show(admin)["release"]["trouble"].as_str().unwrap_or("").to_owned()
}

pub(super) fn load_until_trouble(process: &Process, admin: &mut Caller, part: &str) -> String {
    load_until(process.data, part, || trouble(admin).contains(part));
    let shown = show(admin);
    assert_eq!(shown["variants"][1]["weight"]["effective"], "0", "the clamp holds: {shown}");
    let metrics = admin.call("GET", "/metrics", "", "").body;
    assert!(metrics.contains(r#"coalmine_git_write_blocked{route="digits"} 1"#), "{metrics}");
    trouble(admin)
}

/// The seconds between two lines of the log.
fn between(process: &Process, from: &str, to: &str) -> f64 {
    let log = process.log.lock().unwrap().clone();
    let at = |message: &str| {
        let line = log.lines().find(|line| line.contains(message)).unwrap_or_else(|| panic!("{message:?}: {log}"));
        let line: Value = serde_json::from_str(line).unwrap();
        line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
    };
    (at(to) - at(from)).as_secs_f64()
}

#[test]
fn over_ssh_to_a_pinned_host_a_signed_commit_arrives_in_seconds_and_no_secret_is_seen() {
    let (repo, host) = (Repo::new(&failing(30)), SshHost::new());
    let signing = key(&repo.path("."), "signing");
    let secrets = [&signing, &host.key].map(|file| fs::read_to_string(file).unwrap());
    let secrets: Vec<&str> = secrets.iter().flat_map(|text| secret_lines(text)).collect();
    let watch = Watch::over(&secrets);
    let git = over_ssh(&repo, &host, &format!("host_key: {}", host.host_key()));
    let process = serve(&repo, &failing(30), &format!("{git}\n  signing_key: '{}'", signing.display()), &path());
    load_until(process.data, "the commit", || repo.commits() == 2);
    wait("the loop to say so", || process.log.lock().unwrap().contains("\"committed\"").then_some(()));
    let seconds = between(&process, "\"clamped to 0\"", "\"committed\"");
    println!("over ssh on loopback: verdict to pushed and read back {seconds:.2} s");
    assert!(seconds < 10.0, "{seconds} s");
    assert!(watch.end() > 0, "nobody was seen at work");
    let public = fs::read_to_string(repo.path("signing.pub")).unwrap();
    fs::write(repo.path("signers"), format!("* {public}")).unwrap();
    let signers = format!("gpg.ssh.allowedSignersFile={}", repo.path("signers").display());
    repo.git("bare.git", &["-c", &signers, "verify-commit", "main"]);
    let log = process.log.lock().unwrap().clone();
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
}

#[test]
fn a_host_with_another_key_gets_nothing_and_the_clamp_holds() {
    let (repo, host) = (Repo::new(&failing(30)), SshHost::new());
    key(&repo.path("."), "stranger");
    let other = fs::read_to_string(repo.path("stranger.pub")).unwrap();
    let process = serve(&repo, &failing(30), &over_ssh(&repo, &host, &format!("host_key: {other}")), &path());
    let mut admin = Caller::new(process.admin);
    let why = load_until_trouble(&process, &mut admin, "not let in by the remote");
    assert!(why.contains("HOST IDENTIFICATION HAS CHANGED"), "{why}");
    assert_eq!(repo.commits(), 1);
}

#[test]
fn a_known_hosts_file_is_enough_and_an_outage_and_a_withdrawn_key_end_in_a_commit() {
    let (repo, host) = (Repo::new(&failing(30)), SshHost::new());
    let port = host.door.address.port();
    fs::write(repo.path("known hosts"), format!("[127.0.0.1]:{port} {}\n", host.host_key())).unwrap();
    let git = over_ssh(&repo, &host, &format!("known_hosts: '{}'", repo.path("known hosts").display()));
    host.door.shut(true);
    let process = serve(&repo, &failing(30), &git, &path());
    let mut admin = Caller::new(process.admin);
    load_until_trouble(&process, &mut admin, "the remote cannot be reached");
    host.lock(true);
    host.door.shut(false);
    load_until_trouble(&process, &mut admin, "Permission denied");
    host.lock(false);
    wait("the commit", || (repo.commits() == 2).then_some(()));
}

#[test]
fn over_https_an_expired_token_is_told_and_a_renewed_one_is_used_without_a_restart() {
    let repo = Repo::new(&failing(30));
    let (old, new) = ("0ld-t0ken-93b1", "n3w-t0ken-51c7");
    let host = HttpsHost::new(&repo.path("."), old);
    fs::write(repo.path("token"), format!("{old}\n")).unwrap();
    // What we have has expired.
    host.password(new);
    let git = |ca: &str| {
        let (url, token) = (host.url("bare.git"), repo.path("token").display().to_string());
        format!("  remote: '{url}'\n  token_file: '{token}'\n  username: robot\n{ca}")
    };
    let watch = Watch::over(&[old, new]);
    let strict = serve(&repo, &failing(30), &git(""), &path());
    let mut admin = Caller::new(strict.admin);
    let why = load_until_trouble(&strict, &mut admin, "not let in by the remote");
    assert!(why.contains("certificate"), "nobody vouches for it here: {why}");
    drop(strict);

    let process = serve(&repo, &failing(30), &git(&format!("  ca_file: '{}'", host.ca.display())), &path());
    let mut admin = Caller::new(process.admin);
    let why = load_until_trouble(&process, &mut admin, "Authentication failed");
    assert!(why.contains("is the key or token still valid"), "{why}");
    assert_eq!(repo.commits(), 1);
    fs::write(repo.path("token"), format!("{new}\n")).unwrap();
    wait("the commit", || (repo.commits() == 2).then_some(()));
    assert!(repo.message().starts_with("rollback(digits)"));
    assert!(watch.end() > 0, "nobody was seen at work");
    let log = process.log.lock().unwrap().clone();
    assert!(!log.contains(old) && !log.contains(new), "{log}");
}

const PEOPLE: usize = 4;
const COMMITS_EACH: usize = 25;

#[test]
fn a_hundred_commits_of_people_meanwhile_are_all_there_and_ours_is_there_once() {
    let repo = Repo::new(&failing(30));
    repo.git("bare.git", &["config", "receive.denyNonFastForwards", "true"]);
    let host = HttpsHost::new(&repo.path("."), "t0ken");
    fs::write(repo.path("token"), "t0ken").unwrap();
    let (token, ca) = (repo.path("token"), host.ca.display().to_string());
    let git = format!(
        "  remote: '{}'\n  token_file: '{}'\n  username: robot\n  ca_file: '{ca}'",
        host.url("bare.git"),
        token.display()
    );
    let process = serve(&repo, &failing(30), &git, &path());
    thread::scope(|scope| {
        for person in 0..PEOPLE {
            let repo = &repo;
            scope.spawn(move || commit_often(repo, person));
        }
        wait("the first of them", || (repo.commits() > 1).then_some(()));
        load_until(process.data, "the clamp", || {
            show(&mut Caller::new(process.admin))["variants"][1]["weight"]["effective"] == "0"
        });
    });
    let ours = || repo.git("bare.git", &["log", "--format=%h", "--grep=^Coalmine-Intent: ", "main"]).lines().count();
    wait("our commit", || (ours() == 1).then_some(()));
    assert_eq!(repo.commits(), 1 + PEOPLE * COMMITS_EACH + 1);
    let files = repo.git("bare.git", &["ls-tree", "-r", "--name-only", "main", "people/"]);
    assert_eq!(files.lines().count(), PEOPLE * COMMITS_EACH);
    let position = repo.git("bare.git", &["log", "--format=%an", "main"]).lines().position(|name| name == "Coalmine");
    println!("ours landed below {} of {} commits of people", position.unwrap(), PEOPLE * COMMITS_EACH);
}

fn commit_often(repo: &Repo, person: usize) {
    let clone = format!("clone-{person}");
    repo.git(".", &["clone", "--quiet", "bare.git", &clone]);
    fs::create_dir(repo.path(&clone).join("people")).unwrap();
    for n in 0..COMMITS_EACH {
        fs::write(repo.path(&clone).join(format!("people/{person}-{n}")), "work").unwrap();
        repo.git(&clone, &["add", "--all"]);
        repo.git(&clone, &["commit", "--quiet", "-m", "work"]);
        let push = || {
            let mut push = Command::new("git");
            push.current_dir(repo.path(&clone)).args(["push", "--quiet", "origin", "HEAD:main"]);
            push.output().unwrap().status.success()
        };
        while !push() {
            repo.git(&clone, &["pull", "--quiet", "--rebase", "origin", "main"]);
        }
    }
}
