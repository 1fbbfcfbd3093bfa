//! What else a commit sets and a rollback takes back; reverts, and the last good block; and what `history`, `diff` and
//! `commit --dry-run` tell of the branch.

use super::{
    git::{load_until, show},
    repo::Repo,
    support::{Caller, model, routes, settings, start_with, stop, wait},
};
use serde_json::{Value, json};
use std::{fs, process::Command};

fn order(app: &coalmine::app::App, body: &Value) {
    let answer = Caller::new(app.admin).call("POST", "/v1/commands", "", &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn with(text: &str, lines: &str) -> String {
    text.replace("    variants:\n", &format!("{lines}    variants:\n"))
}

#[test]
fn a_step_scales_the_canary_by_the_same_commit_and_the_rollback_takes_that_back() {
    let plan = "    plan: { steps: [{ weight: 10, hold: 1h }, { weight: 50, hold: 1h, set: [{ file: models/canary.yaml, path: spec.replicas, value: 4 }] }, { weight: 100 }] }\n";
    let repo = Repo::new(&with(&routes(model(200, 1), model(200, 1), 10), plan));
    let scale = "spec:\n  replicas: 1   # by the release\n";
    repo.file("models/canary.yaml", scale);
    let app = repo.start("");
    load_until(app.data, "the first verdict", || {
        !show(&mut Caller::new(app.admin))["judgement"]["signals"].as_array().is_none_or(Vec::is_empty)
    });
    let before = repo.commits();
    order(&app, &json!({ "route": "digits", "command": "promote", "reason": "go on" }));
    wait("the step", || (repo.commits() == before + 1).then_some(()));
    let canary = || repo.git("bare.git", &["show", "main:models/canary.yaml"]);
    assert_eq!(canary(), scale.replace("replicas: 1", "replicas: 4"));
    assert!(repo.tip().contains("canary, weight: 50"), "{}", repo.tip());
    let set = r#"Coalmine-Set: {"file":"models/canary.yaml","path":"spec.replicas","from":"1","to":"4"}"#;
    assert!(repo.message().contains(set), "{}", repo.message());
    repo.deliver();
    wait("the delivery", || (show(&mut Caller::new(app.admin))["release"]["weight"] == "50").then_some(()));
    order(&app, &json!({ "route": "digits", "command": "rollback", "reason": "no" }));
    wait("the rollback", || (repo.commits() == before + 2).then_some(()));
    assert_eq!(canary(), scale);
    assert!(repo.tip().contains("rejected, weight: 0"), "{}", repo.tip());
    stop(app);
}

/// A route with its old model only, and with the failing new one at 30 %.
fn before_and_after(kind: &str) -> (String, String) {
    let after = with(&routes(model(200, 1), model(500, 2), 30), &format!("    rollback: {{ kind: {kind} }}\n"));
    let lines: Vec<&str> = after.lines().filter(|line| !line.contains("name: v2")).collect();
    let before = lines.join("\n").replace("weight: 70", "weight: 100") + "\n";
    (before, after)
}

#[test]
fn a_rollback_by_revert_takes_the_commit_back_that_brought_the_model_with_its_folder() {
    let (before, after) = before_and_after("revert");
    let repo = Repo::new(&before);
    fs::create_dir(repo.path("person/m")).unwrap();
    fs::write(repo.path("person/m/2"), "weights").unwrap();
    repo.person(&after, "a new model");
    let brought = repo.git("bare.git", &["rev-parse", "main"]);
    repo.file("elsewhere/notes.txt", "nobody's release");
    repo.deliver();
    let app = repo.start("");
    load_until(app.data, "the revert", || repo.message().starts_with("rollback(digits)"));
    assert_eq!(repo.tip(), before);
    let files = repo.git("bare.git", &["ls-tree", "-r", "--name-only", "main"]);
    assert_eq!(files, "elsewhere/notes.txt\nprod/routes.yaml\n");
    let message = repo.message();
    assert!(message.contains(&format!("This reverts commit {}.", brought.trim())), "{message}");
    assert!(message.contains(&format!("\nCoalmine-Reverts: {}\n", brought.trim())), "{message}");
    stop(app);
}

#[test]
fn a_rollback_by_revert_takes_back_all_that_the_merge_of_a_pull_request_has_brought_as_git_does() {
    let (before, after) = before_and_after("revert");
    let repo = Repo::new(&before);
    // Two commits of a person's branch; the branch that they are merged into has moved meanwhile.
    repo.git("person", &["checkout", "--quiet", "-b", "new-model"]);
    fs::create_dir(repo.path("person/m")).unwrap();
    for (path, text, subject) in [("m/2", "weights", "the weights"), ("prod/routes.yaml", after.as_str(), "the route")]
    {
        fs::write(repo.path("person").join(path), text).unwrap();
        repo.git("person", &["add", "--all"]);
        repo.git("person", &["commit", "--quiet", "-m", subject]);
    }
    repo.git("person", &["checkout", "--quiet", "main"]);
    repo.file("elsewhere/notes.txt", "nobody's release");
    // As the host does it.
    repo.git("person", &["merge", "--quiet", "--no-ff", "-m", "Merge pull request #7", "new-model"]);
    repo.git("person", &["push", "--quiet", "origin", "HEAD:main"]);
    let [merge, into] = ["main", "main^1"].map(|name| repo.git("bare.git", &["rev-parse", name]).trim().to_owned());
    repo.file("elsewhere/more.txt", "nor this");
    repo.deliver();
    let app = repo.start("");
    load_until(app.data, "the revert", || repo.message().starts_with("rollback(digits)"));
    assert_eq!(repo.tip(), before);
    let message = repo.message();
    assert!(message.contains(&format!("This reverts commit {merge}, reversing changes made to {into}.")), "{message}");
    assert!(message.contains(&format!("\nCoalmine-Reverts: {merge}\n")), "{message}");
    repo.git("person", &["revert", "--no-edit", "-m", "1", &merge]);
    let tree = |dir: &str, name: &str| repo.git(dir, &["rev-parse", &format!("{name}^{{tree}}")]);
    assert_eq!(tree("bare.git", "main"), tree("person", "HEAD"), "the very files that git's own revert leaves");
    stop(app);
}

#[test]
fn a_rollback_by_revert_takes_back_steps_that_the_host_has_merged_too() {
    let (before, after) = before_and_after("revert");
    let plan = "    plan: { steps: [{ weight: 30, hold: 1h }, { weight: 50, hold: 1h }, { weight: 100 }] }\n";
    // Both models are good: a person decides.
    let both = model(200, 1);
    let good = |text: &str| -> String {
        let url = |line: &str| line.split("url: '").nth(1).map(|rest| rest.split('\'').next().unwrap().to_owned());
        let urls: Vec<String> = text.lines().filter_map(url).collect();
        urls.iter().fold(text.to_owned(), |text, url| text.replace(url, &format!("http://{both}")))
    };
    let (before, after) = (with(&good(&before), plan), with(&good(&after), plan));
    let repo = Repo::new(&before);
    repo.git("bare.git", &["config", "receive.advertisePushOptions", "true"]);
    repo.person(&after, "a new model");
    let brought = repo.git("bare.git", &["rev-parse", "main"]).trim().to_owned();
    repo.deliver();
    let mode = "mode: pull_request, poll: 200ms, pull_request: { provider: gitlab_push_options }";
    let remote = repo.path("bare.git").display().to_string();
    let git = format!("git: {{ remote: '{remote}', path: prod/routes.yaml, {mode} }}\n");
    let app = start_with(settings(&git, &repo.path("mount"), &repo.path("state")));
    let release = || show(&mut Caller::new(app.admin))["release"].clone();
    let merged = || {
        let place = wait("the question", || release()["waits_for"].as_str().map(str::to_owned));
        let branch = place.strip_prefix("the merge request of branch ").expect(&place).to_owned();
        repo.git("person", &["pull", "--quiet", "--ff-only"]);
        repo.git("person", &["fetch", "--quiet", "origin", &branch]);
        repo.git("person", &["merge", "--quiet", "--no-ff", "-m", "by the host", "FETCH_HEAD"]);
        repo.git("person", &["push", "--quiet", "origin", "HEAD:main", &format!(":{branch}")]);
        repo.git("bare.git", &["rev-parse", "main"]).trim().to_owned()
    };
    load_until(app.data, "the first verdict", || {
        !show(&mut Caller::new(app.admin))["judgement"]["signals"].as_array().is_none_or(Vec::is_empty)
    });
    order(&app, &json!({ "route": "digits", "command": "promote", "override_judge": true, "reason": "go on" }));
    let step = merged();
    repo.deliver();
    wait("the delivery", || (release()["weight"] == "50").then_some(()));
    order(&app, &json!({ "route": "digits", "command": "rollback", "reason": "no" }));
    merged();
    assert_eq!(repo.tip(), before);
    let message = repo.git("bare.git", &["log", "-1", "--format=%B", "main^2"]);
    assert!(message.contains(&format!("\nCoalmine-Reverts: {step} {brought}\n")), "{message}");
    stop(app);
}

#[test]
fn a_revert_that_would_reach_further_sets_weights_instead_and_says_so() {
    let (before, after) = before_and_after("revert");
    let repo = Repo::new(&before);
    fs::write(repo.path("person/UNRELATED"), "in the same commit").unwrap();
    repo.person(&after, "a new model, and more");
    repo.deliver();
    let app = repo.start("");
    load_until(app.data, "the rollback", || repo.message().starts_with("rollback(digits)"));
    assert_eq!(
        repo.tip(),
        after.replace("weight: 70", "weight: 100").replace("canary, weight: 30", "rejected, weight: 0")
    );
    assert!(repo.message().contains("`revert` is not possible cleanly here"), "{}", repo.message());
    stop(app);
}

#[test]
fn the_last_good_block_comes_back_from_the_commit_that_passed() {
    let (good, after) = before_and_after("last_good");
    let repo = Repo::new(&good.replace("path: /v2/models/digits", "path: /v2"));
    let passed = "promote(digits): v1\n\nCoalmine-Route: digits\nCoalmine-Action: promote\nCoalmine-Artefact: m/1@1\nCoalmine-Intent: 1\nCoalmine-Verdict: pass";
    repo.person(&good, passed);
    let commit = repo.git("bare.git", &["rev-parse", "main"]);
    // Two bad commits in a row; a comment outside of the route stays.
    repo.person(&format!("# theirs\n{}", good.replace("protocol: v2", "protocol: raw")), "a mistake");
    repo.person(&format!("# theirs\n{}", after.replace("protocol: v2", "protocol: raw")), "a new model");
    repo.deliver();
    let app = repo.start("");
    load_until(app.data, "the rollback", || repo.message().starts_with("rollback(digits)"));
    assert_eq!(repo.tip(), format!("# theirs\n{good}"));
    assert!(repo.message().contains(&format!("as commit {} has it", commit.trim())), "{}", repo.message());
    stop(app);
}

#[test]
fn the_branch_is_told_by_history_diff_and_a_dry_run() {
    let text = routes(model(200, 1), model(500, 2), 30);
    let repo = Repo::new(&text);
    let settings = repo.path("settings.yaml");
    fs::write(&settings, format!("git: {{ remote: '{}', path: prod/routes.yaml }}\n", repo.path("bare.git").display()))
        .unwrap();
    let app = repo.start("");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coalmine"));
        let output = command
            .args(arguments)
            .arg("--settings")
            .arg(&settings)
            .env("COALMINE_ADMIN", app.admin.to_string())
            .output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    assert_eq!(run(&["history"]), (true, "no commits of releases yet\n".to_owned()));
    let (good, said) = run(&["commit", "digits", "rollback", "--dry-run", "--reason", "what if"]);
    assert!(good, "{said}");
    for part in [
        "rollback(digits): v2 30 % -> 0 %, rejected; v1 70 % -> 100 %\n",
        "\nwhat if\n",
        "\nCoalmine-Verdict: none\n",
        "\n-      - { name: v2, role: canary, weight: 30,",
        "\n+      - { name: v2, role: rejected, weight: 0,",
    ] {
        assert!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    assert_eq!(repo.commits(), 1, "nothing is pushed");
    assert!(!run(&["commit", "digits", "rollback"]).0, "only a dry run");
    let (good, said) = run(&["diff"]);
    assert!(good && said.starts_with("what is in force is what the branch says at "), "{said}");
    load_until(app.data, "the commit", || repo.commits() == 2);
    let (good, said) = run(&["diff"]);
    assert!(good, "{said}");
    assert!(said.contains("v2 is rejected at 0 % on the branch, canary at 30 % as delivered: not here yet"), "{said}");
    assert!(said.contains("v2 gets 0 % instead of the 30 % delivered: clamped"), "{said}");
    let (good, said) = run(&["history", "digits"]);
    assert!(
        good && said.contains("rollback(digits): v2 30 % -> 0 %") && said.contains("verdict fail errors"),
        "{said}"
    );
    assert_eq!(run(&["history", "letters"]).1, "no commits of releases yet\n");
    assert!(!said.contains("--limit"), "all of it was looked at: {said}");
    let (_, said) = run(&["history", "--limit", "1"]);
    assert!(
        said.contains("rollback(digits)") && said.contains("more commits than the 1 that were looked at"),
        "{said}"
    );
    let (_, said) = run(&["history", "--output", "json"]);
    let told: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&told[0]["route"], &told[0]["action"], &told[0]["by"]),
        (&json!("digits"), &json!("rollback"), &json!("judge"))
    );
    stop(app);
}
