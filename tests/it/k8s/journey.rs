//! One Coalmine with its branch over ssh, its Argo CD Application and its namespace, all of one name.

use super::{
    bed::{Bed, await_state},
    weights::shown,
};
use crate::{
    githost::SshHost,
    repo::Repo,
    support::{Caller, settings, start_with, stop},
};
use coalmine::app::App;
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// How a commit comes to Coalmine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// `kubernetes`, or `file` for what the kubelet's own writer mounts.
    pub(super) source: &'static str,
    /// Whether the chart gives the right to tell Argo CD.
    pub(super) told: bool,
}

pub(super) const WATCHED: Way = Way { source: "kubernetes", told: true };
pub(super) const MOUNTED: Way = Way { source: "file", told: true };
pub(super) const UNTOLD: Way = Way { source: "kubernetes", told: false };

/// Up in three steps, on labels, and watched after the promotion.
pub(super) const PLAN: &str = "    plan:
      steps: [{ weight: 10, hold: 1s, requests: 50, labels: 60 }, { weight: 50, hold: 1s, labels: 100 }, { weight: 100 }]
      watch: { hold: 1s, holdback: 5 }
    judge: { warmup: 0s, errors: { may_rise: 0.05 }, latency: off, accuracy: { may_drop: 0.1, label_delay: 0s } }
";

/// The ConfigMap with this text, as it is in Git.
pub(super) fn manifest(text: &str) -> String {
    let block: String = text.lines().map(|line| format!("    {line}\n")).collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: routes\ndata:\n  routes.yaml: |\n{block}")
}

pub(super) struct Journey<'a> {
    pub(super) bed: &'a Bed,
    /// Of the Application.
    pub(super) name: String,
    namespace: String,
    pub(super) repo: &'a Repo,
    host: &'a SshHost,
    path: String,
    pub(super) app: App,
    /// A kubeconfig with the chart's rights.
    pub(super) account: PathBuf,
    /// From a pushed commit to the table in force.
    pub(super) took: Vec<Duration>,
    _dirs: [tempfile::TempDir; 2],
}

/// Argo CD may read what the branch of `repo` has.
pub(super) fn let_argo_cd_in(bed: &Bed, name: &str, repo: &Repo, host: &SshHost) -> String {
    let url = host.url(&repo.path("bare.git"));
    let mut known = OpenOptions::new().create(true).append(true).open(bed.path("argocd/ssh/ssh_known_hosts")).unwrap();
    writeln!(known, "[127.0.0.1]:{} {}", host.door.address.port(), host.host_key()).unwrap();
    let key: String = fs::read_to_string(&host.key).unwrap().lines().map(|line| format!("    {line}\n")).collect();
    bed.apply(&format!(
        "apiVersion: v1
kind: Secret
metadata: {{ name: {name}, namespace: argocd, labels: {{ argocd.argoproj.io/secret-type: repository }} }}
stringData:
  type: git
  url: '{url}'
  sshPrivateKey: |
{key}"
    ));
    url
}

impl<'a> Journey<'a> {
    /// With an Application of its own, which delivers `prod`.
    pub(super) fn begin(bed: &'a Bed, name: &str, way: Way, repo: &'a Repo, host: &'a SshHost) -> Self {
        let name = bed.name(name);
        bed.namespace(&name);
        let_argo_cd_in(bed, &name, repo, host);
        bed.apply(&application(&name, &host.url(&repo.path("bare.git"))));
        Self::join(bed, &name, &name, way, (repo, host, "prod/routes.yaml"))
    }

    /// Beside an Application that somebody else makes, over this file of the branch.
    pub(super) fn join(
        bed: &'a Bed,
        name: &str,
        namespace: &str,
        way: Way,
        (repo, host, path): (&'a Repo, &'a SshHost, &str),
    ) -> Self {
        // Its name is in the role that lies in Argo CD's namespace.
        let release = format!("coalmine-{name}");
        let right = if way.told { format!("argocd: {{ application: {name} }}\n") } else { String::new() };
        let values = format!("source: {}\nroutes: {{ existingConfigMap: routes }}\n{right}", way.source);
        bed.chart(&release, namespace, &values);
        let account = bed.account(namespace, &release);
        await_state("the first sync", || {
            bed.try_kubectl(&["-n", namespace, "get", "cm", "routes"], "").status.success().then_some(())
        });
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        if way.source == "file" {
            bed.mount(namespace, "routes", dirs[0].path());
        }
        let text = format!(
            "source: {}
kubernetes: {{ kubeconfig: '{}', config_map: routes }}
argocd: {{ application: {name} }}
git: {{ remote: '{}', path: {path}, ssh_key: '{}', host_key: {} }}
",
            way.source,
            account.display(),
            host.url(&repo.path("bare.git")),
            host.key.display(),
            host.host_key()
        );
        let app = start_with(settings(&text, dirs[0].path(), dirs[1].path()));
        let (name, namespace, path) = (name.to_owned(), namespace.to_owned(), path.to_owned());
        Self { bed, name, namespace, repo, host, path, app, account, took: Vec::new(), _dirs: dirs }
    }

    /// The route as it is seen.
    pub(super) fn route(&self) -> Value {
        shown(self.app.admin)["routes"][0].clone()
    }

    pub(super) fn variant(&self, at: usize) -> Value {
        self.route()["variants"][at].clone()
    }

    /// Some traffic, and the truth about each answer.
    pub(super) fn traffic(&self) {
        let mut caller = Caller::new(self.app.data);
        let labels = (0..40).filter_map(|_| {
            let ticket = caller.infer().headers.remove("x-coalmine-ticket")?;
            Some(format!("{{\"ticket\": \"{ticket}\", \"label\": 1}}\n"))
        });
        let labels: String = labels.collect();
        Caller::new(self.app.admin).call("POST", "/v1/feedback", "", &labels);
    }

    /// Traffic until the branch has so many commits that say `subject`, and what the last one says is in force.
    pub(super) fn go(&mut self, subject: &str, times: usize, there: impl Fn(&Value) -> bool) {
        let mut pushed = None;
        await_state(subject, || {
            self.traffic();
            let now = self.said(subject);
            assert!(now <= times, "a commit too many: {}", self.repo.message());
            if now == times && pushed.is_none() {
                pushed = Some(Instant::now());
            }
            (pushed.is_some() && there(&self.route())).then_some(())
        });
        let took = pushed.unwrap().elapsed();
        println!("{}: {subject}: in force {took:?} after it was pushed", self.name);
        self.took.push(took);
    }

    /// Commits of the branch whose subject begins like this.
    pub(super) fn said(&self, subject: &str) -> usize {
        let log = self.repo.git("bare.git", &["log", "--format=%s", "main", "--", &self.path]);
        log.lines().filter(|line| line.starts_with(subject)).count()
    }

    /// A release by commits, from its first step to the end of its watch.
    pub(super) fn up(&mut self) {
        self.go("step(digits)", 1, |route| said(route, 1) == ("canary", "50"));
        self.go("promote(digits)", 1, |route| said(route, 1) == ("stable", "95"));
        self.go("done(digits)", 1, |route| said(route, 1) == ("stable", "100"));
    }

    /// A person looks for new commits by hand.
    pub(super) fn refresh(&self) {
        let annotation = "argocd.argoproj.io/refresh=normal";
        self.bed.kubectl(&["-n", "argocd", "annotate", "--overwrite", "application", &self.name, annotation], "");
    }

    pub(super) fn application(&self) -> Value {
        let get = ["-n", "argocd", "get", "application", &self.name, "-o", "json"];
        serde_json::from_str(&self.bed.kubectl(&get, "")).unwrap()
    }

    /// How often Argo CD has synced it, for whatever reason, as its own metrics count.
    pub(super) fn syncs(&self) -> f64 {
        let address = fs::read_to_string(self.bed.path("argocd/metrics")).unwrap();
        let page = Command::new("curl").args(["-sf", &format!("http://{}/metrics", address.trim())]).output().unwrap();
        assert!(page.status.success(), "curl: {}", page.status);
        let page = String::from_utf8(page.stdout).unwrap();
        let name = format!("name=\"{}\"", self.name);
        let lines = page.lines().filter(|line| line.starts_with("argocd_app_sync_total{") && line.contains(&name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until Argo CD has brought what the tip has. Nobody but it has written the ConfigMap.
    pub(super) fn is_synced(&self) {
        let tip = self.repo.git("bare.git", &["rev-parse", "main"]);
        await_state("the tip to be synced", || {
            let sync = self.application()["status"]["sync"].clone();
            (sync["status"] == "Synced" && sync["revision"] == tip.trim()).then_some(())
        });
        let fields = self.config_map()["metadata"]["managedFields"].clone();
        let fields = fields.as_array().unwrap();
        assert!(fields.iter().all(|entry| entry["manager"] == "argocd-controller"), "{fields:?}");
    }

    pub(super) fn config_map(&self) -> Value {
        let get = ["-n", &self.namespace, "get", "cm", "routes", "-o", "json", "--show-managed-fields"];
        serde_json::from_str(&self.bed.kubectl(&get, "")).unwrap()
    }

    /// Somebody writes into the ConfigMap that belongs to Git.
    pub(super) fn edit_by_hand(&self, change: impl Fn(&str) -> String) {
        let map = self.config_map();
        let old = map["data"]["routes.yaml"].as_str().unwrap();
        let new = change(old);
        assert_ne!(old, new, "an edit that edits something");
        let patch = json!({ "data": { "routes.yaml": new } }).to_string();
        self.bed.kubectl(&["-n", &self.namespace, "patch", "cm", "routes", "--type", "merge", "-p", &patch], "");
    }

    /// A person brings a candidate at 10 % that always fails, beside what is promoted.
    pub(super) fn bring_a_bad_one(&self, address: std::net::SocketAddr) {
        let third = format!(
            "      - {{ name: v3, role: canary, weight: 10, url: 'http://{address}', model: {{ version: '3', uri: m/3 }} }}\n"
        );
        let good = self.repo.tip().replace("role: stable, weight: 100", "role: stable, weight: 90");
        self.repo.person(&format!("{}\n    {third}", good.trim_end()), "a candidate that fails");
    }

    /// What `coalmine doctor` says with these rights: check, level, and what.
    pub(super) fn doctor(&self, kubeconfig: &Path) -> Vec<(String, String, String)> {
        let file = self.repo.path("doctor.yaml");
        let text = format!(
            "source: kubernetes
kubernetes: {{ kubeconfig: '{}', namespace: {}, config_map: routes }}
argocd: {{ application: {} }}
state: {{ dir: '{}' }}
git: {{ remote: '{}', path: {}, ssh_key: '{}', host_key: {} }}
",
            kubeconfig.display(),
            self.namespace,
            self.name,
            self.repo.path("doctor").display(),
            self.host.url(&self.repo.path("bare.git")),
            self.path,
            self.host.key.display(),
            self.host.host_key()
        );
        fs::write(&file, text).unwrap();
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_coalmine"));
        doctor.args(["doctor", "--output", "json", "--admin", &self.app.admin.to_string(), "--settings"]).arg(file);
        let findings: Vec<Value> = serde_json::from_slice(&doctor.output().unwrap().stdout).unwrap();
        let of = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
        findings.iter().map(|one| (of(one, "check"), of(one, "level"), of(one, "what"))).collect()
    }

    /// Ends it, and its Application.
    pub(super) fn end(self) {
        stop(self.app);
        self.bed.kubectl(&["-n", "argocd", "delete", "--timeout=120s", "application,secret", &self.name], "");
    }
}

pub(super) fn application(name: &str, url: &str) -> String {
    example("application")
        .replace("coalmine-routes", name)
        .replace(URL, url)
        .replace("namespace: models", &format!("namespace: {name}"))
}

/// The remote of the examples.
pub(super) const URL: &str = "ssh://git@git.example.com/models.git";

/// One of the examples for Argo CD.
pub(super) fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/argocd/{name}.yaml"));
    fs::read_to_string(path).unwrap()
}

/// Role and weight of a variant in the delivered file.
pub(super) fn said(route: &Value, at: usize) -> (&str, &str) {
    let variant = &route["variants"][at];
    (variant["role"].as_str().unwrap_or(""), variant["weight"]["said"].as_str().unwrap_or(""))
}
