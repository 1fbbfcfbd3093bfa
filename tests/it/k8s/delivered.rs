//! Git -> a real Argo CD with self-heal and prune -> ConfigMap -> Coalmine: a rollback arrives by the only door, soon after the push
//! because Argo CD is told of it; what a person edits by hand is put back; nobody but Argo CD writes the ConfigMap.

use super::bed::{Bed, await_state};
use crate::{
    repo::Repo,
    stage::metric,
    support::{Caller, model, routes, settings, start_with, stop},
};
use serde_json::Value;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

const NAMESPACE: &str = "delivered";
const VALUES: &str = "source: kubernetes\nroutes: { existingConfigMap: routes }\nargocd: { application: digits }\n";
/// Argo CD's polling of Git in these tests; its own default is three minutes.
pub(super) const POLLING: &str = "20s";

fn manifest(text: &str) -> String {
    let block: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: routes\ndata:\n  routes.yaml: |\n{block}")
}

fn canary(admin: SocketAddr) -> Value {
    let shown: Value = serde_json::from_str(&Caller::new(admin).call("GET", "/v1/routes", "", "").body).unwrap();
    shown["routes"][0]["variants"][1].clone()
}

fn application(bed: &Bed) -> Value {
    serde_json::from_str(&bed.kubectl(&["-n", "argocd", "get", "application", "digits", "-o", "json"], "")).unwrap()
}

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn a_rollback_arrives_through_argo_cd() {
    let bed = Bed::new();
    bed.script("argocd-up.sh", &[&bed.path("argocd")]);
    let text = routes(model(200, 1), model(500, 2), 30);
    let repo = Repo::new(&manifest(&text));
    bed.namespace(NAMESPACE);
    bed.chart("coalmine", NAMESPACE, VALUES);
    let bare = repo.path("bare.git").display().to_string();
    bed.apply(&format!(
        "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{ name: digits, namespace: argocd }}
spec:
  project: default
  source: {{ repoURL: 'file://{bare}', path: prod, targetRevision: main }}
  destination: {{ server: https://kubernetes.default.svc, namespace: {NAMESPACE} }}
  syncPolicy: {{ automated: {{ selfHeal: true, prune: true }} }}
"
    ));
    let account = bed.account(NAMESPACE, "coalmine").display().to_string();
    let (none, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    await_state("the first sync", || {
        bed.try_kubectl(&["-n", NAMESPACE, "get", "cm", "routes"], "").status.success().then_some(())
    });
    let app = start_with(settings(
        &format!(
            "source: kubernetes
kubernetes: {{ kubeconfig: '{account}', config_map: routes }}
argocd: {{ application: digits }}
git: {{ remote: '{bare}', path: prod/routes.yaml }}
"
        ),
        none.path(),
        state.path(),
    ));
    assert_eq!(canary(app.admin)["weight"]["said"], "30");

    let mut caller = Caller::new(app.data);
    await_state("the rollback's commit", || {
        (0..20).for_each(|_| drop(caller.infer()));
        (repo.commits() == 2).then_some(())
    });
    let pushed = Instant::now();
    await_state("the rollback through Argo CD", || (canary(app.admin)["role"] == "rejected").then_some(()));
    println!("from the pushed commit to the table in force, Argo CD told: {:?}", pushed.elapsed());
    assert!(pushed.elapsed() < Duration::from_secs(15), "its polling would take as long");
    assert!(metric(app.admin, &["coalmine_refresh_total", "asked"]) > 0.5);

    let map = ["-n", NAMESPACE, "get", "cm", "routes", "-o", "json", "--show-managed-fields"];
    let written: Value = serde_json::from_str(&bed.kubectl(&map, "")).unwrap();
    let managers: Vec<&Value> =
        written["metadata"]["managedFields"].as_array().unwrap().iter().map(|entry| &entry["manager"]).collect();
    assert!(managers.iter().all(|manager| **manager == "argocd-controller"), "{managers:?}");
    let synced = await_state("the end of the sync", || {
        let status = application(&bed)["status"].clone();
        let revisions: Vec<String> =
            status["history"].as_array()?.iter().map(|entry| entry["revision"].to_string()).collect();
        (status["sync"]["status"] == "Synced" && revisions.len() > 1).then_some(revisions)
    });
    assert_eq!(synced.len(), 2, "each commit once, nothing was ever healed: {synced:?}");

    by_hand(&bed, &repo, app.admin);
    stop(app);
}

/// A hand edit that brings the rejected model back is loaded, gives it nothing, and is healed; then a person's commit, of which
/// nobody tells Argo CD, comes by its polling.
fn by_hand(bed: &Bed, repo: &Repo, admin: SocketAddr) {
    let tip = repo.tip();
    let edited = tip.replace("weight: 100", "weight: 60").replace("rejected, weight: 0", "canary, weight: 40");
    let edited: serde_yaml::Value = serde_yaml::from_str(&edited).unwrap();
    let patch = serde_json::json!({ "data": edited["data"] }).to_string();
    bed.kubectl(&["-n", NAMESPACE, "patch", "cm", "routes", "--type", "merge", "-p", &patch], "");
    let at = Instant::now();
    await_state("the hand edit to be healed", || {
        assert_eq!(canary(admin)["weight"]["effective"], "0", "what was rejected gets nothing");
        let map = bed.kubectl(&["-n", NAMESPACE, "get", "cm", "routes", "-o", "jsonpath={.data}"], "");
        (map.contains("rejected") && canary(admin)["role"] == "rejected").then_some(())
    });
    println!("a hand edit was put back after {:?}", at.elapsed());
    assert_eq!(repo.commits(), 2, "nobody commits because of it");

    repo.person(&tip.replace("protocol: v2", "protocol: v1"), "by a person");
    let before = metric(admin, &["coalmine_config_reloads_total"]);
    let at = Instant::now();
    await_state("a person's commit by polling", || {
        (metric(admin, &["coalmine_config_reloads_total"]) > before).then_some(())
    });
    println!("from a pushed commit to the table in force, by Argo CD's polling every {POLLING}: {:?}", at.elapsed());
}
