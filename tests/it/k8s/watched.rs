//! `source: kubernetes`: reloads at once, with the chart's rights and no more; the API server's restart, a history that is gone, a
//! ConfigMap that vanishes.

use super::{
    bed::{Bed, await_state, part},
    weights::shown,
};
use crate::{
    stage::metric,
    support::{Caller, model, routes, settings, start_with, stop},
};
use coalmine::{
    app,
    io::kube::{Access, Application, Cluster, KubeError},
};
use serde_json::json;
use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

/// The Application of the right that the chart gives.
const APPLICATION: &str = "watched";

fn source(kubeconfig: &Path) -> String {
    format!(
        "source: kubernetes\nkubernetes: {{ kubeconfig: '{}', config_map: routes }}\nthreads: 1\n",
        kubeconfig.display()
    )
}

fn problem(admin: SocketAddr, part: &str) {
    await_state(part, || {
        let problems = shown(admin)["problems"].as_array().unwrap().clone();
        problems.iter().any(|problem| problem.as_str().unwrap().contains(part)).then_some(())
    });
}

fn said(admin: SocketAddr) -> String {
    shown(admin)["routes"][0]["variants"][1]["weight"]["said"].as_str().unwrap_or("none").to_owned()
}

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn a_config_map_is_followed_through_everything() {
    let bed = Bed::new();
    let (stable, canary) = (model(200, 1), model(200, 2));
    let namespace = bed.name("watched");
    bed.namespace(&namespace);
    // What a cluster that was given has of it is its own.
    bed.try_kubectl(&["create", "namespace", "argocd"], "");
    if !bed.try_kubectl(&["get", "crd", "applications.argoproj.io"], "").status.success() {
        let crds = part("argocd-manifests").join("crds");
        bed.kubectl(&["apply", "--server-side", "-k", &crds.display().to_string()], "");
    }
    let put = |weight: u32| {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "routes", "namespace": namespace },
            "data": { "routes.yaml": routes(stable, canary, weight) } });
        bed.apply(&map.to_string());
    };
    put(1);
    let values = format!(
        "source: kubernetes\nroutes: {{ existingConfigMap: routes }}\nargocd: {{ application: {APPLICATION} }}\n"
    );
    bed.chart("coalmine", &namespace, &values);
    let account = bed.account(&namespace, "coalmine");
    let (none, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let app = start_with(settings(&source(&account), none.path(), state.path()));
    let admin = app.admin;
    assert_eq!(said(admin), "1");

    // From the API server's answer to the table in force.
    let mut took: Vec<Duration> = (2..12)
        .map(|weight: u32| {
            put(weight);
            let put_at = Instant::now();
            await_state("the reload", || (said(admin) == weight.to_string()).then_some(()));
            put_at.elapsed()
        })
        .collect();
    took.sort_unstable();
    println!("from a changed ConfigMap to the table in force: median {:?}, longest {:?}", took[5], took[9]);
    assert!(took[5] < Duration::from_secs(1), "{took:?}");

    bed.kubectl(&["-n", &namespace, "delete", "configmap", "routes"], "");
    problem(admin, &format!("ConfigMap {namespace}/routes is not there"));
    assert_eq!(said(admin), "11", "the last good one stays");
    assert!(metric(admin, &["coalmine_config_valid"]) < 0.5);
    assert_eq!(Caller::new(app.data).infer().status, 200);
    put(12);
    await_state("a new ConfigMap of that name", || (said(admin) == "12").then_some(()));
    assert!(metric(admin, &["coalmine_config_valid"]) > 0.5);
    bed.kubectl(
        &["-n", &namespace, "patch", "configmap", "routes", "-p", r#"{"data":{"routes.yaml":null,"other":"x"}}"#],
        "",
    );
    problem(admin, "has no key `routes.yaml`; it has other");
    put(13);
    await_state("the key again", || (said(admin) == "13").then_some(()));

    if bed.own() {
        restart(&bed, &put, admin, app.data);
    } else {
        println!("the API server was given by KUBECONFIG: it is not restarted");
    }
    denied(&bed, &namespace);
    stop(app);
}

/// While the API server is away the store's clock moves on: what its new process knows begins after what we have seen. That is a
/// real `410 Gone`, each time.
fn restart(bed: &Bed, put: &dyn Fn(u32), admin: SocketAddr, data: SocketAddr) {
    let count = |kind: &str| metric(admin, &["coalmine_watch_failures_total", kind]);
    for (times, weight) in [(1.0, 14), (2.0, 15)] {
        let failed = count("failed");
        bed.stop_api();
        await_state("the watch to break", || (count("failed") > failed).then_some(()));
        assert_eq!(Caller::new(data).infer().status, 200);
        let moved = Caller::new(bed.etcd()).call("POST", "/v3/kv/put", "", r#"{"key":"eA==","value":"eA=="}"#);
        assert_eq!(moved.status, 200, "{}", moved.body);
        bed.up();
        await_state("it to be gone", || (count("gone") > times - 0.5).then_some(()));
        put(weight);
        let put_at = Instant::now();
        await_state("a reload after the restart", || (said(admin) == weight.to_string()).then_some(()));
        println!(
            "from a changed ConfigMap to the table in force, the API server just restarted, 410 Gone: {:?}",
            put_at.elapsed()
        );
        assert!(metric(admin, &["coalmine_config_valid"]) > 0.5, "a short absence is no problem of the routes");
        // A watch that begins in the wrong place would see them again and again.
        assert!(count("gone") < times + 0.5, "once a restart");
    }
}

/// The rights that the chart gives, and what happens without them.
fn denied(bed: &Bed, namespace: &str) {
    let may = |verb: &str, what: &str, there: &str| {
        let who = format!("--as=system:serviceaccount:{namespace}:coalmine");
        let output = bed.try_kubectl(&["-n", there, "auth", "can-i", verb, what, &who], "");
        String::from_utf8(output.stdout).unwrap().trim() == "yes"
    };
    for (verb, what, there, wanted) in [
        ("get", "configmaps/routes", namespace, true),
        ("watch", "configmaps/routes", namespace, true),
        ("list", "configmaps", namespace, false),
        ("get", "configmaps/other", namespace, false),
        ("patch", "configmaps/routes", namespace, false),
        ("update", "configmaps/routes", namespace, false),
        ("get", "secrets", namespace, false),
        ("get", "configmaps/routes", "default", false),
        ("patch", "applications.argoproj.io/watched", "argocd", true),
        ("patch", "applications.argoproj.io/other", "argocd", false),
        ("update", "applications.argoproj.io/watched", "argocd", false),
        ("get", "secrets", "argocd", false),
    ] {
        assert_eq!(may(verb, what, there), wanted, "{verb} {what} in {there}");
    }
    bed.kubectl(&["-n", namespace, "create", "serviceaccount", "nobody"], "");
    refresh(bed, namespace);
    let (none, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let app = app::start(&settings(&source(&bed.account(namespace, "nobody")), none.path(), state.path())).unwrap();
    problem(app.admin, "not allowed");
    problem(app.admin, "its role needs `get` and `watch` on this one ConfigMap");
    assert_ne!(Caller::new(app.admin).call("GET", "/readyz", "", "").status, 200);
    stop(app);
}

/// The annotation, with the chart's right and without it.
fn refresh(bed: &Bed, namespace: &str) {
    bed.apply(&format!(
        "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{ name: {APPLICATION}, namespace: argocd, annotations: {{ argocd.argoproj.io/skip-reconcile: 'true' }} }}
spec:
  project: default
  source: {{ repoURL: https://git.example/models.git, path: prod, targetRevision: main }}
  destination: {{ server: https://kubernetes.default.svc, namespace: {namespace} }}
"
    ));
    let ask = |account: &str| {
        let access = Access { kubeconfig: Some(bed.account(namespace, account)), namespace: None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let application = Application { namespace: "argocd".into(), name: APPLICATION.into() };
        runtime.block_on(async { Cluster::connect(&access).await?.refresh(&application).await })
    };
    let shown = || {
        let path = r"jsonpath={.metadata.annotations.argocd\.argoproj\.io/refresh}";
        bed.kubectl(&["-n", "argocd", "get", "application", APPLICATION, "-o", path], "")
    };
    let refused = ask("nobody").unwrap_err();
    assert!(matches!(&refused, KubeError::Denied(why) if why.contains("cannot patch")), "{refused}");
    assert_eq!(shown(), "");
    ask("coalmine").unwrap();
    assert_eq!(shown(), "normal");
}
