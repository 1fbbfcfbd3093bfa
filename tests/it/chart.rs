//! The chart, rendered by a real helm: what comes out is what the binary reads, and nothing in it is looser than it must be.

use coalmine::app::Settings;
use serde_json::json;
use serde_yaml::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Everything set that can be set.
const FULL: &str = "
replicas: 3
git:
  remote: git@git.example.com:ml/models.git
  path: prod/routes.yaml
  sshKey: { secret: deploy-key, key: id }
  knownHosts: { secret: deploy-key, key: known_hosts }
  token: { secret: token, key: token }
  ca: { secret: git-ca, key: ca.crt }
  signingKey: { secret: signing, key: id }
  signingPassphrase: { secret: signing, key: passphrase }
  pullRequestToken: { secret: token, key: api }
ticketKey: { secret: tickets, key: key }
tokens:
  viewer: { secret: tokens, key: viewer }
  labeler: { secret: tokens, key: labeler }
  operator: { secret: tokens, key: operator }
notify:
  hooks:
    - { url: 'https://ops.example/hook', signing: { secret: hooks, key: ops }, events: [rollback] }
    - { urlSecret: { secret: hooks, key: slack }, format: slack }
state: { existingClaim: coalmine-state }
settings:
  drain: { limit: 20s }
  git: { mode: pull_request, pull_request: { provider: gitea } }
podAnnotations: { team: ml }
";

fn helm(arguments: &[&str], values: &str) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/real/bin/helm");
    assert!(program.exists(), "helm is not there for the tests; run `make real`, or `make test`, which does");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("values.yaml");
    fs::write(&file, values).unwrap();
    let mut helm = Command::new(program);
    helm.args(arguments).arg(root.join("charts/coalmine")).args(["--kube-version", "1.30.0", "--values"]).arg(file);
    helm.output().unwrap()
}

#[track_caller]
fn render(values: &str) -> Vec<Value> {
    let output = helm(&["template", "digits"], values);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("subPath"), "the kubelet does not update a subPath mount");
    let documents = text.split("\n---").map(|document| serde_yaml::from_str(document).unwrap());
    documents.filter(|document: &Value| !document.is_null()).collect()
}

fn named<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let wanted = |d: &&Value| d["kind"] == kind && d["metadata"]["name"] == name;
    documents.iter().find(wanted).unwrap_or_else(|| panic!("no {kind} {name}"))
}

#[test]
fn what_it_renders_is_what_the_binary_reads() {
    for values in ["", FULL] {
        let documents = render(values);
        let settings =
            named(&documents, "ConfigMap", "digits-coalmine-settings")["data"]["settings.yaml"].as_str().unwrap();
        let read = Settings::read(settings, &[]).unwrap_or_else(|problems| panic!("{problems:?}\n{settings}"));
        let git = read.git.as_ref().map(|git| {
            let requests = git.pull_request.as_ref().unwrap();
            let files = [&git.ssh_key, &git.token_file, &git.ca_file, &git.signing_key, &git.signing_passphrase_file];
            files.map(|file| file.clone().unwrap()).into_iter().chain(requests.token_file.clone()).collect::<Vec<_>>()
        });
        let under = |parts: &[&str]| parts.iter().map(|part| Path::new("/etc/coalmine/secrets").join(part)).collect();
        let mounted: Vec<PathBuf> = under(&[
            "ssh-key/id",
            "git-token/token",
            "git-ca/ca.crt",
            "signing-key/id",
            "signing-passphrase/passphrase",
            "pull-request-token/api",
        ]);
        assert_eq!(git, (values == FULL).then_some(mounted));
        assert_eq!(read.notify.hooks.len(), if values == FULL { 2 } else { 0 });
        assert_eq!(read.replicas, if values == FULL { 3 } else { 1 });
        let routes = serde_yaml::to_string(named(&documents, "ConfigMap", "digits-coalmine-routes")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("routes.yaml"), routes).unwrap();
        let check =
            Command::new(env!("CARGO_BIN_EXE_coalmine")).arg("check").arg(dir.path().join("routes.yaml")).output();
        let check = check.unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
    let own = render("routes: { existingConfigMap: from-argo }");
    assert!(own.iter().all(|d| d["metadata"]["name"] != "digits-coalmine-routes"));
    assert_eq!(volume(&own, "routes")["configMap"]["name"], "from-argo");
}

fn volume<'a>(documents: &'a [Value], name: &str) -> &'a Value {
    let pod = &named(documents, "Deployment", "digits-coalmine")["spec"]["template"]["spec"];
    pod["volumes"].as_sequence().unwrap().iter().find(|volume| volume["name"] == name).unwrap()
}

#[test]
fn the_pod_can_do_no_more_than_it_must() {
    let documents = render(FULL);
    let kinds: BTreeSet<&str> = documents.iter().map(|d| d["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, BTreeSet::from(["ConfigMap", "Deployment", "Service", "ServiceAccount"]), "no role, no secret");
    let pod = &named(&documents, "Deployment", "digits-coalmine")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
    let mounts = container["volumeMounts"].as_sequence().unwrap();
    let read_only = |mount: &&Value| mount["readOnly"] == true;
    assert_eq!(mounts.iter().filter(|mount| !read_only(mount)).count(), 2, "only the state and /tmp are written");
    for (name, secret) in [
        ("ssh-key", "deploy-key"),
        ("signing-passphrase", "signing"),
        ("pull-request-token", "token"),
        ("ticket-key", "tickets"),
        ("operator", "tokens"),
        ("hook-0", "hooks"),
        ("hook-1-url", "hooks"),
    ] {
        assert_eq!(volume(&documents, name)["secret"]["secretName"], secret);
    }
    assert_eq!(volume(&documents, "state")["persistentVolumeClaim"]["claimName"], "coalmine-state");
}

#[test]
fn the_api_is_reached_only_where_it_is_needed_and_then_with_two_rights() {
    for quiet in ["", FULL, "{ source: git, git: { remote: 'ssh://git.example/x' } }"] {
        let documents = render(quiet);
        let api = documents.iter().filter(|d| d["kind"].as_str().unwrap().starts_with("Role")).count();
        assert_eq!(api, 0, "{quiet}");
    }
    let documents = render("{ source: kubernetes, argocd: { application: digits-app, namespace: gitops } }");
    let roles: Vec<&Value> = documents.iter().filter(|d| d["kind"] == "Role").collect();
    let rules = |role: &Value| serde_json::to_value(&role["rules"]).unwrap();
    assert_eq!(roles.len(), 2);
    let follow = json!([{ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["digits-coalmine-routes"],
        "verbs": ["get", "watch"] }]);
    assert_eq!(rules(roles[0]), follow);
    let tell = json!([{ "apiGroups": ["argoproj.io"], "resources": ["applications"], "resourceNames": ["digits-app"],
        "verbs": ["patch"] }]);
    assert_eq!((rules(roles[1]), &roles[1]["metadata"]["namespace"]), (tell, &Value::from("gitops")));
    let bindings = documents.iter().filter(|d| d["kind"] == "RoleBinding");
    for (binding, role) in bindings.zip(&roles) {
        assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
        assert_eq!(binding["metadata"]["namespace"], role["metadata"]["namespace"], "where its role is");
        assert_eq!(binding["subjects"][0]["name"], "digits-coalmine");
    }
    let pod = &named(&documents, "Deployment", "digits-coalmine")["spec"]["template"]["spec"];
    assert_eq!(pod["automountServiceAccountToken"], true);
    assert!(pod["volumes"].as_sequence().unwrap().iter().all(|volume| volume["name"] != "routes"));
    let settings =
        named(&documents, "ConfigMap", "digits-coalmine-settings")["data"]["settings.yaml"].as_str().unwrap();
    let read = Settings::read(settings, &[]).unwrap();
    assert_eq!(read.kubernetes.config_map.as_deref(), Some("digits-coalmine-routes"));
    assert_eq!(read.argo.unwrap().application, "digits-app");
}

#[test]
fn it_lints_and_refuses_values_that_mean_nothing() {
    let lint = helm(&["lint", "--strict"], FULL);
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    for bad in ["replicas: 0", "replica: 2", "service: { type: Public }", "ticketKey: { name: x }", "source: files"] {
        let output = helm(&["template", "digits"], bad);
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && why.contains("values don't meet"), "{bad}: {why}");
    }
}

#[test]
fn the_dashboard_shows_only_what_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dashboard = fs::read_to_string(root.join("charts/coalmine/dashboards/coalmine.json")).unwrap();
    let metrics = ["src/io/metrics.rs", "src/io/metrics/judge.rs", "src/io/metrics/delivery.rs"]
        .map(|file| fs::read_to_string(root.join(file)).unwrap())
        .concat();
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let mut seen = 0;
    for name in dashboard.split(word).filter(|name| name.starts_with("coalmine_")) {
        let name = name.trim_end_matches("_bucket");
        assert!(metrics.contains(&format!("\"{name}\"")), "{name} is no metric of ours");
        seen += 1;
    }
    assert!(seen > 10);
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
}
