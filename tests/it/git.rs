//! What reaches the branch: rollbacks and raises as commits, over the system's git, whatever happens there meanwhile.

use super::{
    repo::Repo,
    support::{Caller, model, routes, settings, start_with, stop, wait},
};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, process::Command};

pub(super) fn show(admin: &mut Caller) -> Value {
    serde_json::from_str(&admin.call("GET", "/v1/routes/digits", "", "").body).unwrap()
}

fn state(admin: &mut Caller) -> String {
    show(admin)["release"]["state"].as_str().unwrap_or("none").to_owned()
}

/// Sends requests until `there` is true.
pub(super) fn load_until(data: SocketAddr, what: &str, mut there: impl FnMut() -> bool) {
    let mut caller = Caller::new(data);
    wait(what, || {
        (0..20).for_each(|_| drop(caller.infer()));
        there().then_some(())
    });
}

pub(super) fn failing(weight: u32) -> String {
    routes(model(200, 1), model(500, 2), weight)
}

#[test]
fn a_failing_canary_is_rolled_back_by_a_commit_with_its_evidence() {
    let text = failing(30).replace("routes:\n", "# the team's own words\nroutes:\n");
    let repo = Repo::new(&text);
    let app = repo.start("");
    let mut admin = Caller::new(app.admin);
    load_until(app.data, "the commit", || repo.commits() == 2);
    let wanted = text.replace("weight: 70", "weight: 100").replace("canary, weight: 30", "rejected, weight: 0");
    assert_eq!(repo.tip(), wanted, "nothing else may change");
    let message = repo.message();
    for part in [
        "rollback(digits): v2 30 % -> 0 %, rejected; v1 70 % -> 100 %\n",
        "worse in errors",
        "errors: canary 1.0000 of ",
        "\nCoalmine-Route: digits\n",
        "\nCoalmine-Action: rollback\n",
        "\nCoalmine-Artefact: m/2@2\n",
        "\nCoalmine-Weights: v2=30,v1=70 -> v2=0,v1=100\n",
        "\nCoalmine-Verdict: fail errors\n",
        "\nCoalmine-Requested-By: judge\n",
        "\nCoalmine-Intent: ",
        "\nCoalmine-Window: 20",
    ] {
        assert!(message.contains(part), "{part:?} is missing in\n{message}");
    }
    // The same record as the API's, as it was then.
    let line = message.lines().find_map(|line| line.strip_prefix("Coalmine-Evidence: ")).expect("the record");
    let record: Value = serde_json::from_str(line).unwrap();
    let now = admin.call("GET", "/v1/verdict/digits", "", "").body;
    let now: Value = serde_json::from_str(&now).unwrap();
    assert_eq!((&record["verdict"], &record["reason"]), (&"fail".into(), &"errors".into()), "{record}");
    assert_eq!(record["log_e_rollback_at"], now["log_e_rollback_at"]);
    assert!(record["log_e_rollback"].as_f64() >= record["log_e_rollback_at"].as_f64(), "{record}");
    let keys = |of: &Value| of.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert!(keys(&record).iter().all(|key| now.get(key).is_some()), "{record}");
    for (then, now) in record["signals"].as_array().unwrap().iter().zip(now["signals"].as_array().unwrap()) {
        assert!(keys(then).iter().all(|key| now.get(key).is_some()), "{then}");
        for key in ["signal", "margin", "weight", "log_e_rollback_at", "log_e_promote_at"] {
            assert_eq!(then[key], now[key], "{key}");
        }
    }
    assert_eq!(record["signals"].as_array().unwrap().len(), now["signals"].as_array().unwrap().len());
    let errors = &record["signals"][0];
    assert!(errors["canary"] == 1.0 && errors["canary_n"].as_u64() >= Some(1), "{errors}");
    assert!(errors["difference"]["low"].as_f64() > Some(0.0), "{errors}");
    assert_eq!(state(&mut admin), "rolling_back");
    repo.deliver();
    wait("the delivery", || (state(&mut admin) == "rolled_back").then_some(()));

    // A replayed old file does not bring it back; a person's commit does, with a fresh trial.
    fs::write(repo.path("mount/routes.yaml"), &text).unwrap();
    wait("the old file", || (show(&mut admin)["variants"][1]["weight"]["said"] == "30").then_some(()));
    for _ in 0..100 {
        assert_eq!(show(&mut admin)["variants"][1]["weight"]["effective"], "0");
    }
    repo.person(&text.replace("path: /v2/models/digits", "path: /v2/models"), "we know better");
    repo.deliver();
    wait("the clamp to be lifted", || (show(&mut admin)["release"]["attempt"] == 2).then_some(()));
    stop(app);
}

#[test]
fn a_config_map_is_edited_where_it_stands() {
    let block: String = failing(30).lines().map(|line| format!("    {line}\n")).collect();
    let map = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: routes\ndata:\n  routes.yaml: |\n{block}");
    let repo = Repo::new(&map);
    let app = repo.start("");
    load_until(app.data, "the commit", || repo.commits() == 2);
    let wanted = map.replace("weight: 70", "weight: 100").replace("canary, weight: 30", "rejected, weight: 0");
    assert_eq!(repo.tip(), wanted);
    stop(app);
}

#[test]
fn a_race_is_recomputed_and_nothing_of_the_other_is_lost() {
    let text = failing(30);
    let repo = Repo::new(&text);
    repo.git("person", &["checkout", "--quiet", "-b", "other"]);
    fs::write(repo.path("person/OTHER"), "somebody else's work").unwrap();
    repo.git("person", &["add", "--all"]);
    repo.git("person", &["commit", "--quiet", "-m", "in between"]);
    repo.git("person", &["push", "--quiet", "origin", "other"]);
    // The first push finds that the branch has just moved.
    repo.hook("update", "[ -e ../raced ] && exit 0; touch ../raced; git update-ref refs/heads/main refs/heads/other");
    let app = repo.start("");
    load_until(app.data, "the commit", || repo.message().starts_with("rollback"));
    assert!(repo.path("raced").exists());
    assert_eq!(repo.git("bare.git", &["show", "main:OTHER"]), "somebody else's work");
    assert_eq!(repo.git("bare.git", &["log", "--format=%s", "main"]).lines().count(), 3);
    stop(app);
}

#[test]
fn a_refused_push_is_told_and_tried_again_while_the_clamp_holds() {
    let repo = Repo::new(&failing(30));
    repo.hook("pre-receive", "echo 'main is protected' >&2; exit 1");
    let app = repo.start("");
    let mut admin = Caller::new(app.admin);
    load_until(app.data, "the trouble", || show(&mut admin)["release"]["trouble"].is_string());
    let shown = show(&mut admin);
    assert_eq!(shown["variants"][1]["weight"]["effective"], "0");
    let trouble = shown["release"]["trouble"].as_str().unwrap();
    assert!(trouble.contains("main is protected") && trouble.contains("may this key push"), "{trouble}");
    let metrics = admin.call("GET", "/metrics", "", "").body;
    assert!(metrics.contains(r#"coalmine_git_write_blocked{route="digits"} 1"#), "{metrics}");
    fs::remove_file(repo.path("bare.git/hooks/pre-receive")).unwrap();
    // And then the whole remote is away for a moment.
    fs::rename(repo.path("bare.git"), repo.path("away.git")).unwrap();
    wait("another failure", || {
        let shown = show(&mut admin);
        let trouble = shown["release"]["trouble"].as_str()?.to_owned();
        (!trouble.contains("protected")).then_some(())
    });
    fs::rename(repo.path("away.git"), repo.path("bare.git")).unwrap();
    wait("the commit", || (repo.commits() == 2).then_some(()));
    stop(app);
}

#[test]
fn commits_are_signed_when_there_is_a_key() {
    let repo = Repo::new(&failing(30));
    let made = Command::new("ssh-keygen")
        .current_dir(repo.path("."))
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "coalmine", "-f", "key"])
        .status()
        .expect("ssh-keygen must be installed");
    assert!(made.success());
    let app = repo.start(&format!(", signing_key: '{}'", repo.path("key").display()));
    load_until(app.data, "the commit", || repo.commits() == 2);
    let public = fs::read_to_string(repo.path("key.pub")).unwrap();
    fs::write(repo.path("signers"), format!("* {public}")).unwrap();
    let signers = format!("gpg.ssh.allowedSignersFile={}", repo.path("signers").display());
    repo.git("bare.git", &["-c", &signers, "verify-commit", "main"]);
    stop(app);
}

#[test]
fn people_promote_pause_and_roll_back_over_the_api() {
    let text = routes(model(200, 1), model(200, 1), 10).replace(
        "    variants:\n",
        "    plan: { steps: [{ weight: 10, hold: 1h }, { weight: 50, hold: 1h }, { weight: 100 }], watch: { hold: 1h, holdback: 5 } }\n    variants:\n",
    );
    let repo = Repo::new(&text);
    let app = repo.start("");
    let mut admin = Caller::new(app.admin);
    let mut order = |body: Value| {
        let answer = admin.call("POST", "/v1/commands", "", &body.to_string());
        (answer.status, answer.body)
    };
    load_until(app.data, "the first verdict", || {
        !show(&mut Caller::new(app.admin))["judgement"]["signals"].as_array().unwrap().is_empty()
    });
    assert_eq!(order(json!({ "route": "nowhere", "command": "pause" })).0, 404);
    assert_eq!(order(json!({ "route": "digits", "command": "halt" })).0, 400);
    assert_eq!(order(json!({ "route": "digits", "command": "pause", "by": "ann" })).0, 200);
    let (status, why) = order(json!({ "route": "digits", "command": "promote" }));
    assert!(status == 409 && why.contains("paused"), "{status} {why}");
    assert_eq!(order(json!({ "route": "digits", "command": "resume" })).0, 200);
    assert_eq!(order(json!({ "route": "digits", "command": "pause", "generation": 77 })).0, 409);
    assert_eq!(order(json!({ "route": "digits", "command": "promote", "by": "ann", "reason": "go on" })).0, 200);
    wait("the step", || (repo.commits() == 2).then_some(()));
    assert!(repo.message().starts_with("step(digits): v2 10 % -> 50 %; v1 90 % -> 50 %"), "{}", repo.message());
    assert!(repo.message().contains("Coalmine-Requested-By: ann\n") && repo.message().contains("\ngo on\n"));
    repo.deliver();
    let mut other = Caller::new(app.admin);
    wait("the delivery", || (show(&mut other)["release"]["weight"] == "50").then_some(()));
    let (status, why) = order(json!({ "route": "digits", "command": "promote" }));
    assert!(status == 409 && why.contains("override"), "{status} {why}");
    let forced = json!({ "route": "digits", "command": "promote", "override_judge": true, "reason": "a demo" });
    assert_eq!(order(forced).0, 200);
    wait("the promotion", || (repo.commits() == 3).then_some(()));
    repo.deliver();
    wait("the watch", || (state(&mut other) == "watching").then_some(()));
    let shown = show(&mut other);
    assert_eq!(shown["variants"][0]["role"], "previous");
    assert_eq!(shown["variants"][1]["weight"]["said"], "95");
    assert_eq!(order(json!({ "route": "digits", "command": "rollback", "reason": "no" })).0, 200);
    wait("the rollback", || (repo.commits() == 4).then_some(()));
    assert!(repo.message().starts_with("rollback(digits): v2 95 % -> 0 %, rejected; v1 5 % -> 100 %"));
    repo.deliver();
    wait("the end", || (state(&mut other) == "rolled_back").then_some(()));
    stop(app);
}

#[test]
fn without_a_branch_nothing_is_raised_and_a_person_is_told_why() {
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(mount.path().join("routes.yaml"), routes(model(200, 1), model(200, 1), 10)).unwrap();
    let app = start_with(settings("", mount.path(), state.path()));
    let mut admin = Caller::new(app.admin);
    wait("the release", || show(&mut admin)["release"]["state"].is_string().then_some(()));
    let answer = admin.call("POST", "/v1/commands", "", r#"{"route":"digits","command":"promote"}"#);
    assert!(answer.status == 409 && answer.body.contains("no Git remote"), "{answer:?}");
    stop(app);
}
