//! A whole release through a real Argo CD, by commits over ssh, with traffic and labels: once with the ConfigMap watched, once with
//! the directory that the kubelet's own writer mounts. And what people do to it meanwhile.

use super::bed::{Bed, await_state};
use crate::{
    githost::SshHost,
    repo::Repo,
    support::{Caller, model, routes, settings, start_with, stop},
};
use coalmine::app::App;
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

/// A pushed commit should be in force sooner, where Argo CD is told of it.
const TOLD_MAX: Duration = Duration::from_secs(5);
const PLAN: &str = "    plan:
      steps: [{ weight: 10, hold: 1s, requests: 50 }, { weight: 50, hold: 1s, labels: 100 }, { weight: 100 }]
      watch: { hold: 1s, holdback: 5 }
    judge: { warmup: 0s, errors: { may_rise: 0.05 }, latency: off, accuracy: { may_drop: 0.1, label_delay: 0s } }
";

fn manifest(text: &str) -> String {
    let block: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: routes\ndata:\n  routes.yaml: |\n{block}")
}

/// One Coalmine with its branch, its Application and its namespace, all of one name.
struct Journey<'a> {
    bed: &'a Bed,
    name: &'static str,
    repo: Repo,
    host: SshHost,
    app: App,
    account: PathBuf,
    /// From a pushed commit to the table in force.
    told: Vec<Duration>,
    _dirs: [tempfile::TempDir; 2],
}

impl<'a> Journey<'a> {
    fn begin(bed: &'a Bed, name: &'static str, source: &str, text: &str) -> Self {
        let (repo, host) = (Repo::new(&manifest(text)), SshHost::new());
        bed.namespace(name);
        // Its name is in the role that lies in Argo CD's namespace.
        let release = format!("coalmine-{name}");
        let values =
            format!("source: {source}\nroutes: {{ existingConfigMap: routes }}\nargocd: {{ application: {name} }}\n");
        bed.chart(&release, name, &values);
        let account = bed.account(name, &release);
        let url = host.url(&repo.path("bare.git"));
        let known = format!("[127.0.0.1]:{} {}\n", host.door.address.port(), host.host_key());
        fs::write(bed.path("argocd/ssh/ssh_known_hosts"), known).unwrap();
        let key: String = fs::read_to_string(&host.key).unwrap().lines().map(|line| format!("    {line}\n")).collect();
        bed.apply(&format!(
            "apiVersion: v1
kind: Secret
metadata: {{ name: {name}, namespace: argocd, labels: {{ argocd.argoproj.io/secret-type: repository }} }}
stringData:
  type: git
  url: '{url}'
  sshPrivateKey: |
{key}---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {{ name: {name}, namespace: argocd }}
spec:
  project: default
  source: {{ repoURL: '{url}', path: prod, targetRevision: main }}
  destination: {{ server: https://kubernetes.default.svc, namespace: {name} }}
  syncPolicy: {{ automated: {{ selfHeal: true, prune: true }} }}
"
        ));
        await_state("the first sync", || {
            bed.try_kubectl(&["-n", name, "get", "cm", "routes"], "").status.success().then_some(())
        });
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        if source == "file" {
            bed.mount(name, "routes", dirs[0].path());
        }
        let more = format!(
            "kubernetes: {{ kubeconfig: '{}', config_map: routes }}
argocd: {{ application: {name} }}
git: {{ remote: '{url}', path: prod/routes.yaml, ssh_key: '{}', host_key: {} }}
",
            account.display(),
            host.key.display(),
            host.host_key()
        );
        let app = start_with(settings(&format!("source: {source}\n{more}"), dirs[0].path(), dirs[1].path()));
        Self { bed, name, repo, host, app, account, told: Vec::new(), _dirs: dirs }
    }

    fn variant(&self, at: usize) -> Value {
        shown(self.app.admin)["routes"][0]["variants"][at].clone()
    }

    /// Traffic, and the truth about each answer, until the branch has so many commits and what the last one says is in force.
    fn go(&mut self, commits: usize, what: &str, there: impl Fn(&Value) -> bool) {
        let (mut caller, mut labeler) = (Caller::new(self.app.data), Caller::new(self.app.admin));
        let mut pushed = None;
        await_state(what, || {
            let labels = (0..40).filter_map(|_| {
                let ticket = caller.infer().headers.remove("x-coalmine-ticket")?;
                Some(format!("{{\"ticket\": \"{ticket}\", \"label\": 1}}\n"))
            });
            let labels: String = labels.collect();
            labeler.call("POST", "/v1/feedback", "", &labels);
            let now = self.repo.commits();
            assert!(now <= commits, "a commit too many: {}", self.repo.message());
            if now == commits && pushed.is_none() {
                pushed = Some(Instant::now());
            }
            (pushed.is_some() && there(&shown(self.app.admin)["routes"][0])).then_some(())
        });
        let took = pushed.unwrap().elapsed();
        println!("{}: {what}: in force {took:?} after it was pushed", self.name);
        self.told.push(took);
    }

    fn application(&self) -> Value {
        let get = ["-n", "argocd", "get", "application", self.name, "-o", "json"];
        serde_json::from_str(&self.bed.kubectl(&get, "")).unwrap()
    }

    /// Synced, each commit once, nothing ever healed, and written by nobody but Argo CD.
    fn is_clean(&self, commits: usize) {
        let synced = await_state("the end of the syncs", || {
            let status = self.application()["status"].clone();
            let history = status["history"].as_array()?.len();
            (status["sync"]["status"] == "Synced" && history >= commits).then_some(history)
        });
        assert_eq!(synced, commits, "each commit once, nothing was ever healed");
        let get = ["-n", self.name, "get", "cm", "routes", "-o", "json", "--show-managed-fields"];
        let map: Value = serde_json::from_str(&self.bed.kubectl(&get, "")).unwrap();
        let fields = map["metadata"]["managedFields"].as_array().unwrap();
        assert!(fields.iter().all(|entry| entry["manager"] == "argocd-controller"), "{fields:?}");
    }

    /// What `coalmine doctor` says with a person's rights, or with those of the chart.
    fn doctor(&self, kubeconfig: &str) -> Vec<(String, String, String)> {
        let file = self.repo.path("doctor.yaml");
        let text = format!(
            "source: kubernetes
kubernetes: {{ kubeconfig: '{kubeconfig}', namespace: {}, config_map: routes }}
argocd: {{ application: {} }}
state: {{ dir: '{}' }}
git: {{ remote: '{}', path: prod/routes.yaml, ssh_key: '{}', host_key: {} }}
",
            self.name,
            self.name,
            self.repo.path("doctor").display(),
            self.host.url(&self.repo.path("bare.git")),
            self.host.key.display(),
            self.host.host_key()
        );
        fs::write(&file, text).unwrap();
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_coalmine"));
        doctor.arg("doctor").arg("--settings").arg(file).args([
            "--admin",
            &self.app.admin.to_string(),
            "--output",
            "json",
        ]);
        let findings: Vec<Value> = serde_json::from_slice(&doctor.output().unwrap().stdout).unwrap();
        let of = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        findings.iter().map(|one| (of(one, "check"), of(one, "level"), of(one, "what"))).collect()
    }
}

fn shown(admin: SocketAddr) -> Value {
    serde_json::from_str(&Caller::new(admin).call("GET", "/v1/routes", "", "").body).unwrap()
}

fn said(route: &Value, at: usize) -> (&str, &str) {
    let variant = &route["variants"][at];
    (variant["role"].as_str().unwrap_or(""), variant["weight"]["said"].as_str().unwrap_or(""))
}

/// Up by commits to the promotion and the end of its watch; then a bad one, and down.
fn up_and_down(bed: &Bed, name: &'static str, source: &str) {
    let text = routes(model(200, 1), model(200, 1), 10).replace("    variants:\n", &format!("{PLAN}    variants:\n"));
    let mut journey = Journey::begin(bed, name, source, &text);
    journey.go(2, "the step to 50 %", |route| said(route, 1) == ("canary", "50"));
    journey.go(3, "the promotion", |route| said(route, 1) == ("stable", "95"));
    journey.go(4, "the end of the watch", |route| said(route, 1) == ("stable", "100"));
    journey.is_clean(4);

    let promoted = journey.repo.tip();
    let third = format!(
        "      - {{ name: v3, role: canary, weight: 10, url: 'http://{}', model: {{ version: '3', uri: m/3 }} }}\n",
        model(500, 1)
    );
    let bad =
        promoted.replace("role: stable, weight: 100", "role: stable, weight: 90").trim_end().to_owned() + "\n    ";
    journey.repo.person(&(bad + &third), "a candidate that fails");
    let pushed = Instant::now();
    await_state("the candidate, by Argo CD's polling", || (journey.variant(2)["weight"]["said"] == "10").then_some(()));
    println!("{name}: a person's commit, of which nobody tells Argo CD: in force after {:?}", pushed.elapsed());
    journey.go(6, "the rollback", |route| said(route, 2) == ("rejected", "0"));
    journey.is_clean(6);
    // The mounted directory is the kubelet's business; here its writer does not wait for a sync period.
    journey.told.sort_unstable();
    let median = journey.told[journey.told.len() / 2];
    println!(
        "{name}: from a pushed commit to the table in force, Argo CD told: median {median:?} of {}",
        journey.told.len()
    );
    assert!(median < TOLD_MAX, "{:?}", journey.told);
    if source == "kubernetes" {
        meanwhile(&journey, &promoted);
    }
    stop(journey.app);
}

/// What people do to it: they look, revert, and delete the Application.
fn meanwhile(journey: &Journey<'_>, promoted: &str) {
    let wrong = |found: &[(String, String, String)]| {
        found.iter().filter(|(_, level, _)| level != "ok").cloned().collect::<Vec<_>>()
    };
    let found = journey.doctor(&journey.bed.kubeconfig().display().to_string());
    assert_eq!(wrong(&found), [], "{found:?}");
    assert!(found.iter().any(|(check, ..)| check == "argo sync"), "{found:?}");
    // The chart's rights are enough to serve, and too few to read the Application.
    let found = wrong(&journey.doctor(&journey.account.display().to_string()));
    assert!(matches!(&found[..], [(check, level, _)] if check == "argo app" && level == "warn"), "{found:?}");

    // A revert of the rollback is a person's newer decision: it comes in, and is judged afresh.
    journey.repo.git("person", &["pull", "--quiet", "--ff-only"]);
    journey.repo.git("person", &["revert", "--no-edit", "HEAD"]);
    journey.repo.git("person", &["push", "--quiet", "origin", "HEAD:main"]);
    await_state("another attempt", || (shown(journey.app.admin)["routes"][0]["release"]["attempt"] == 2).then_some(()));
    let mut caller = Caller::new(journey.app.data);
    await_state("it to be rolled back again", || {
        (0..20).for_each(|_| drop(caller.infer()));
        (journey.repo.commits() == 8 && journey.variant(2)["role"] == "rejected").then_some(())
    });

    // Without its Application nothing is delivered any more; what is in force stays, and is told.
    journey.bed.kubectl(&["-n", "argocd", "delete", "application", journey.name], "");
    journey.repo.person(promoted, "it is taken out");
    let found = journey.doctor(&journey.bed.kubeconfig().display().to_string());
    assert!(found.iter().any(|(check, level, what)| {
        (check.as_str(), level.as_str()) == ("argo app", "fail") && what.contains("there is no Application")
    }));
    assert_eq!(Caller::new(journey.app.data).infer().status, 200);
    assert_eq!(journey.variant(2)["role"], json!("rejected"), "the last table stays");
}

#[test]
#[ignore = "wants a cluster: make test-k8s"]
fn a_release_goes_up_and_down_through_argo_cd_over_ssh() {
    let bed = Bed::new();
    bed.script("argocd-up.sh", &[&bed.path("argocd")]);
    up_and_down(&bed, "up-watched", "kubernetes");
    up_and_down(&bed, "up-mounted", "file");
}
