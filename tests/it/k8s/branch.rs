//! What people do to the branch in mid-release: they commit beside us, take back what we have committed, and rewrite its history.

use super::{
    bed::{Bed, await_state},
    journey::{Journey, PLAN, WATCHED, manifest, said},
};
use crate::{
    githost::SshHost,
    repo::Repo,
    support::{Caller, model, routes},
};
use serde_json::json;
use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

const TRAILER: &str = "Coalmine-Intent: ";
/// A busy monorepo. One that moves each time while we fetch, commit and push over ssh is refused as too fast.
const EVERY: Duration = Duration::from_millis(1500);

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn a_release_and_other_writers_of_the_branch_lose_no_commit_of_each_other() {
    let text = routes(model(200, 1), model(200, 1), 10).replace("    variants:\n", &format!("{PLAN}    variants:\n"));
    let (repo, host) = (Repo::new(&manifest(&text)), SshHost::new());
    repo.git("bare.git", &["config", "core.logAllRefUpdates", "true"]);
    let mut journey = Journey::begin(Bed::with_argo_cd(), "busy-branch", WATCHED, &repo, &host);
    let over = AtomicBool::new(false);
    let theirs = thread::scope(|scope| {
        let writer = scope.spawn(|| write_until(&repo, &over));
        journey.up();
        over.store(true, SeqCst);
        writer.join().unwrap()
    });
    println!("{} commits of another writer during one release", theirs.len());
    assert!(theirs.len() >= 3, "{theirs:?}");
    let log = repo.git("bare.git", &["log", "--format=%H", "main"]);
    let lost: Vec<&String> = theirs.iter().filter(|commit| !log.contains(commit.trim())).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(repo.commits(), 1 + 3 + theirs.len());
    journey.is_synced();
    nothing_was_forced(&repo);
    journey.end();
}

/// Commits to the branch until it is over, to the routes file and beside it, once in [`EVERY`]; the commits.
fn write_until(repo: &Repo, over: &AtomicBool) -> Vec<String> {
    repo.git(".", &["clone", "--quiet", "bare.git", "writer"]);
    let dir = repo.path("writer");
    let mut pushed = Vec::new();
    while !over.load(SeqCst) {
        let file = dir.join(if pushed.len() % 2 == 0 { "prod/routes.yaml" } else { "notes.md" });
        let old = fs::read_to_string(&file).unwrap_or_default();
        fs::write(&file, format!("# note {}\n{old}", pushed.len())).unwrap();
        repo.git("writer", &["add", "--all"]);
        repo.git("writer", &["commit", "--quiet", "-m", "a note"]);
        while !push(&dir) {
            repo.git("writer", &["pull", "--quiet", "--rebase"]);
        }
        pushed.push(repo.git("writer", &["rev-parse", "HEAD"]));
        thread::park_timeout(EVERY);
    }
    pushed
}

/// Whether the remote took it: somebody may have been faster.
fn push(dir: &Path) -> bool {
    let mut git = Command::new("git");
    git.current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null").args(["push", "--quiet", "origin", "HEAD:main"]);
    git.output().unwrap().status.success()
}

/// Each commit of ours has moved the branch from its parent, by the log that the server keeps.
fn nothing_was_forced(repo: &Repo) {
    let log = fs::read_to_string(repo.path("bare.git/logs/refs/heads/main")).unwrap();
    let mut ours = 0;
    for line in log.lines() {
        let [from, to, ..] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        if repo.git("bare.git", &["log", "-1", "--format=%B", to]).contains(TRAILER) {
            assert_eq!(repo.git("bare.git", &["rev-parse", &format!("{to}^")]).trim(), from, "{line}");
            ours += 1;
        }
    }
    assert!(ours > 2, "{log}");
}

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn steps_and_rollbacks_that_people_take_back_or_write_out_of_history_are_theirs_to_decide() {
    let text = routes(model(200, 1), model(200, 1), 10).replace("    variants:\n", &format!("{PLAN}    variants:\n"));
    let (repo, host) = (Repo::new(&manifest(&text)), SshHost::new());
    repo.git("bare.git", &["config", "core.logAllRefUpdates", "true"]);
    let mut journey = Journey::begin(Bed::with_argo_cd(), "taken-back", WATCHED, &repo, &host);
    journey.go("step(digits)", 1, |route| said(route, 1) == ("canary", "50"));

    // History without it: nobody has said no, and the judge says yes again.
    forget_the_last(&journey);
    await_state("the old weight", || (said(&journey.route(), 1) == ("canary", "10")).then_some(()));
    journey.go("step(digits)", 1, |route| said(route, 1) == ("canary", "50"));

    // A revert is a no: the plan does not go on from there, until somebody says so.
    revert_the_last(&journey);
    await_state("the old weight", || (said(&journey.route(), 1) == ("canary", "10")).then_some(()));
    await_state("the no to be heard", || {
        journey.traffic();
        (journey.route()["release"]["reason"] == "taken_back").then_some(())
    });
    assert_eq!(journey.said("step(digits)"), 1);
    let go_on = json!({ "route": "digits", "command": "promote", "reason": "we were wrong" });
    let answer = Caller::new(journey.app.admin).call("POST", "/v1/commands", "", &go_on.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
    journey.go("step(digits)", 2, |route| said(route, 1) == ("canary", "50"));
    journey.go("promote(digits)", 1, |route| said(route, 1) == ("stable", "95"));
    journey.go("done(digits)", 1, |route| said(route, 1) == ("stable", "100"));

    // A rollback that is written out of history is not undone: the model gets nothing, and the branch is told once more.
    journey.bring_a_bad_one(model(500, 1));
    journey.refresh();
    await_state("the candidate", || (said(&journey.route(), 2) == ("canary", "10")).then_some(()));
    journey.go("rollback(digits)", 1, |route| said(route, 2) == ("rejected", "0"));
    let weights = super::weights::Weights::of(journey.app.admin, 2);
    forget_the_last(&journey);
    await_state("the rollback, once more", || {
        journey.traffic();
        (journey.said("rollback(digits)") == 1).then_some(())
    });
    await_state("its delivery", || (said(&journey.route(), 2) == ("rejected", "0")).then_some(()));
    let [_, effective] = weights.end();
    assert_eq!(effective, ["0"], "what was rejected got nothing meanwhile");

    // A revert of it is a newer decision: the model is let in, judged afresh, and rolled back again.
    revert_the_last(&journey);
    await_state("another attempt", || (journey.route()["release"]["attempt"] == 2).then_some(()));
    journey.go("rollback(digits)", 2, |route| said(route, 2) == ("rejected", "0"));
    journey.is_synced();
    nothing_was_forced(&repo);
    journey.end();
}

/// A person forces the branch to where it was before its last commit.
fn forget_the_last(journey: &Journey<'_>) {
    let repo = journey.repo;
    repo.git("person", &["fetch", "--quiet", "origin"]);
    repo.git("person", &["push", "--quiet", "--force", "origin", "origin/main^:refs/heads/main"]);
    repo.git("person", &["fetch", "--quiet", "origin"]);
    repo.git("person", &["reset", "--quiet", "--hard", "origin/main"]);
    journey.refresh();
}

fn revert_the_last(journey: &Journey<'_>) {
    let repo = journey.repo;
    repo.git("person", &["pull", "--quiet", "--ff-only"]);
    repo.git("person", &["revert", "--no-edit", "HEAD"]);
    repo.git("person", &["push", "--quiet", "origin", "HEAD:main"]);
    journey.refresh();
}
