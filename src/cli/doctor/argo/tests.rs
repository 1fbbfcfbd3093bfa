//! Applications as the API gives them, each with one thing wrong.

use super::*;
use crate::{cli::doctor::Level, config::settings::Settings};
use serde_json::json;

const NOW: &str = "2026-11-28T12:00:00Z";

fn good() -> Value {
    json!({
        "metadata": { "annotations": {} },
        "spec": {
            "source": { "repoURL": "git@git.example:ml/models.git", "path": "prod", "targetRevision": "main" },
            "syncPolicy": { "automated": { "selfHeal": true } },
        },
        "status": {
            "sync": { "status": "Synced", "revision": "abc" },
            "health": { "status": "Healthy", "lastTransitionTime": "2026-11-28T11:00:00Z" },
            "operationState": {
                "phase": "Succeeded", "startedAt": "2026-11-28T11:00:00Z", "finishedAt": "2026-11-28T11:00:01Z",
            },
        },
    })
}

fn examined(app: &Value, branch: &str) -> Vec<Finding> {
    let text =
        format!("git: {{ remote: 'ssh://git@git.example:22/ml/models', branch: {branch}, path: prod/routes.yaml }}");
    let settings = Settings::read(&text, &[]).unwrap();
    let now: jiff::Timestamp = NOW.parse().unwrap();
    let ours =
        Ours { git: settings.git.as_ref(), config_map: Some("routes"), tip: Some("abc"), now_ms: now.as_millisecond() };
    examine(app, &ours)
}

/// With this at this place, just that check is not ok, and says this.
#[track_caller]
fn check(pointer: &str, value: Value, wanted: (&str, Level, &str)) {
    let mut app = good();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    app.pointer_mut(parent).unwrap()[key] = value;
    let found: Vec<Finding> = examined(&app, "main").into_iter().filter(|one| one.level != Level::Ok).collect();
    let (name, level, part) = wanted;
    let told = found.iter().find(|one| one.check == name).unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!((found.len(), told.level), (1, level), "{found:?}");
    assert!(told.what.contains(part) && !told.next.is_empty(), "{told:?}");
}

#[test]
fn an_application_that_delivers_our_branch_is_good() {
    let found = examined(&good(), "main");
    assert!(found.iter().all(|one| one.level == Level::Ok), "{found:?}");
    let several =
        json!({ "sources": [{ "repoURL": "https://charts.example/x", "chart": "x" }, good()["spec"]["source"]] });
    let mut app = good();
    app["spec"]["source"] = Value::Null;
    app["spec"]["sources"] = several["sources"].clone();
    assert_eq!(examined(&app, "main")[0].level, Level::Ok);
}

#[test]
fn one_that_delivers_something_else_is_told_by_what() {
    let of = |key: &str| format!("/spec/source/{key}");
    check(&of("repoURL"), json!("https://git.example/ml/other.git"), ("argo source", Level::Warn, "ml/other"));
    check(&of("targetRevision"), json!("v1.2"), ("argo source", Level::Fail, "it follows `v1.2`"));
    check(&of("path"), json!("staging"), ("argo source", Level::Fail, "it delivers `staging`"));
    check("/spec/syncPolicy", json!({}), ("argo policy", Level::Warn, "not automated"));
    check(
        "/spec/syncPolicy",
        json!({ "automated": { "enabled": false } }),
        ("argo policy", Level::Warn, "not automated"),
    );
}

#[test]
fn a_branch_that_argo_cd_writes_itself_is_no_branch_to_commit_to() {
    let mut app = good();
    app["spec"]["source"] = Value::Null;
    app["spec"]["sourceHydrator"] = json!({
        "drySource": { "repoURL": "x", "path": "prod", "targetRevision": "main" },
        "syncSource": { "targetBranch": "env/prod", "path": "prod" },
    });
    assert_eq!(examined(&app, "main")[0].level, Level::Ok);
    let written = &examined(&app, "env/prod")[0];
    assert_eq!((written.check, written.level), ("argo source", Level::Fail));
    assert!(
        written.what.contains("writes the branch env/prod itself") && written.next.contains("`main`"),
        "{written:?}"
    );
    assert!(examined(&app, "other")[0].what.contains("hydrated from `main`, and we commit to other"));
}

#[test]
fn what_is_stuck_is_told_and_what_has_just_begun_is_not() {
    let operation =
        |phase: &str, started: &str| json!({ "phase": phase, "startedAt": started, "message": "waiting for hook" });
    let at = "/status/operationState";
    check(at, operation("Running", "2026-11-28T11:40:00Z"), ("argo operation", Level::Fail, "running for 20 min"));
    check(at, operation("Failed", "2026-11-28T11:59:00Z"), ("argo operation", Level::Fail, "waiting for hook"));
    let mut app = good();
    app["status"]["operationState"] = operation("Running", "2026-11-28T11:59:00Z");
    assert!(examined(&app, "main").iter().all(|one| one.level == Level::Ok));
    let sync = json!({ "status": "OutOfSync", "revision": "abc" });
    check("/status/sync", sync.clone(), ("argo sync", Level::Fail, "OutOfSync since the last sync, 59 min ago"));
    app = good();
    (app["status"]["sync"], app["status"]["operationState"]["finishedAt"]) = (sync, json!("2026-11-28T11:59:00Z"));
    assert!(examined(&app, "main").iter().any(|one| (one.check, one.level) == ("argo sync", Level::Warn)));
    check("/status/sync/revision", json!("def"), ("argo sync", Level::Warn, "synced with def, which is not the tip"));
    let refresh = json!({ "argocd.argoproj.io/refresh": "normal" });
    check("/metadata/annotations", refresh, ("argo sync", Level::Warn, "a refresh"));
    check("/status/health/status", json!("Degraded"), ("argo health", Level::Fail, "Degraded for 60 min"));
    let error = json!([{ "type": "ComparisonError", "message": "no such path" }]);
    check("/status/conditions", error, ("argo condition", Level::Fail, "no such path"));
    let warning = json!([{ "type": "SharedResourceWarning", "message": "of another, too" }]);
    check("/status/conditions", warning, ("argo condition", Level::Warn, "of another"));
}

#[test]
fn differences_that_are_ignored_in_our_config_map_are_told() {
    let ignore = |entry: Value| json!([{ "kind": "Deployment", "jsonPointers": ["/spec/replicas"] }, entry]);
    let fails = ("argo ignores", Level::Fail, "ignoreDifferences");
    for hides in [
        json!({ "kind": "ConfigMap", "jsonPointers": ["/data"] }),
        json!({ "kind": "ConfigMap", "name": "routes", "jqPathExpressions": [".data[\"routes.yaml\"]"] }),
        json!({ "group": "*", "kind": "*", "managedFieldsManagers": ["kubectl"] }),
    ] {
        check("/spec/ignoreDifferences", ignore(hides), fails);
    }
    for other in [
        json!({ "kind": "ConfigMap", "name": "other", "jsonPointers": ["/data"] }),
        json!({ "kind": "ConfigMap", "jsonPointers": ["/metadata/labels"] }),
    ] {
        let mut app = good();
        app["spec"]["ignoreDifferences"] = ignore(other);
        assert!(examined(&app, "main").iter().all(|one| one.level == Level::Ok));
    }
}

#[test]
fn a_repository_is_the_same_however_its_address_is_spelled() {
    for url in [
        "git@git.example:ml/models.git",
        "ssh://git@git.example:22/ml/models.git",
        "https://robot@Git.example/ml/models/",
        "https://git.example:8443/ml/models",
    ] {
        assert_eq!(repository(url), "git.example/ml/models");
    }
    assert_eq!(repository("file:///srv/models.git"), repository("/srv/models.git"));
}
