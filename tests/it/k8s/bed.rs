//! A cluster: etcd and kube-apiserver on loopback, or the one that KUBECONFIG names.

use std::{
    cell::RefCell,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// How long anything of the cluster may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `state` gives something, asking now and then: what is asked is another process.
#[track_caller]
pub(super) fn await_state<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = state() {
            return found;
        }
        assert!(Instant::now() < until, "waited {DEADLINE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A part that `tests/real/k8s/setup.sh` installs.
#[track_caller]
pub(super) fn part(name: &str) -> PathBuf {
    let path = root().join("target/real/bin").join(name);
    assert!(path.exists(), "{name} is not there for the tests; run `make test-k8s`, which builds it");
    path
}

/// The cluster. What it started ends with it.
#[derive(Debug)]
pub(super) struct Bed {
    home: tempfile::TempDir,
    own: bool,
    kubeconfig: PathBuf,
    /// Writers of mounted directories.
    mounts: RefCell<Vec<Child>>,
}

impl Bed {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let given = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let kubeconfig = given.clone().unwrap_or_else(|| home.path().join("kube/kubeconfig"));
        let bed = Self { home, own: given.is_none(), kubeconfig, mounts: RefCell::default() };
        if bed.own {
            ["kube-apiserver", "etcd"].into_iter().for_each(|name| drop(part(name)));
            bed.up();
        }
        bed.kubectl(&["version"], "");
        bed
    }

    /// Whether the API server is ours to stop.
    pub(super) fn own(&self) -> bool {
        self.own
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// With all rights.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Keeps a directory equal to a ConfigMap by the kubelet's own writer, and waits until it is there.
    pub(super) fn mount(&self, namespace: &str, config_map: &str, dir: &Path) {
        let mut writer = Command::new(part("kubelet-mount"));
        writer.args(["-namespace", namespace, "-configmap", config_map, "-dir"]).arg(dir);
        let log = fs::File::create(self.path("kubelet-mount.log")).unwrap();
        let writer = writer.env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null()).stderr(log).spawn().unwrap();
        self.mounts.borrow_mut().push(writer);
        await_state("the mounted directory", || dir.join("..data").exists().then_some(()));
    }

    /// Starts what does not run.
    pub(super) fn up(&self) {
        self.script("kube-up.sh", &[&self.path("kube")]);
    }

    /// Runs one of the scripts beside `setup.sh` with `target/real/bin` as its first argument.
    pub(super) fn script(&self, name: &str, arguments: &[&Path]) {
        let mut script = Command::new(root().join("tests/real/k8s").join(name));
        script.arg(root().join("target/real/bin")).args(arguments).env("KUBECONFIG", &self.kubeconfig);
        script.env("RECONCILE", super::delivered::POLLING).stdin(Stdio::null());
        // What it leaves running must not hold our pipes.
        let log = self.path(&format!("{name}.log"));
        let file = fs::File::create(&log).unwrap();
        let status = script.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        assert!(status.success(), "{name}: {}", fs::read_to_string(log).unwrap());
    }

    /// Stops the API server; waits for its end.
    pub(super) fn stop_api(&self) {
        assert!(self.own, "a cluster that was given is not ours to stop");
        end(&self.path("kube/apiserver.pid"));
    }

    #[track_caller]
    pub(super) fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let output = self.try_kubectl(arguments, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {error}\n{input}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = Command::new(part("kubectl"));
        kubectl.args(arguments).env("KUBECONFIG", &self.kubeconfig);
        let mut child = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    pub(super) fn apply(&self, manifest: &str) {
        self.kubectl(&["apply", "-f", "-"], manifest);
    }

    /// A namespace, made anew.
    pub(super) fn namespace(&self, name: &str) {
        self.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {name} }}\n"));
    }

    /// What the chart makes with these values, applied: all of it that an API server without nodes can hold.
    pub(super) fn chart(&self, release: &str, namespace: &str, values: &str) {
        let file = self.path(&format!("{release}.yaml"));
        fs::write(&file, values).unwrap();
        let mut helm = Command::new(part("helm"));
        helm.args(["template", release, "--kube-version", "1.34.0", "--namespace", namespace])
            .arg(root().join("charts/coalmine"))
            .arg("--values")
            .arg(file);
        let output = helm.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for document in String::from_utf8(output.stdout).unwrap().split("\n---") {
            let mut object: serde_yaml::Value = serde_yaml::from_str(document).unwrap();
            let Some(metadata) = object.get_mut("metadata").and_then(|metadata| metadata.as_mapping_mut()) else {
                continue;
            };
            // As `helm install` does.
            metadata.entry("namespace".into()).or_insert_with(|| namespace.into());
            self.apply(&serde_yaml::to_string(&object).unwrap());
        }
    }

    /// A kubeconfig of a service account: its token, and nobody else's rights.
    pub(super) fn account(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.kubectl(&["-n", namespace, "create", "token", account], "");
        let given: serde_yaml::Value = serde_yaml::from_str(&fs::read_to_string(&self.kubeconfig).unwrap()).unwrap();
        let cluster = serde_json::to_string(&given["clusters"][0]["cluster"]).unwrap();
        let path = self.path(&format!("{namespace}-{account}.kubeconfig"));
        let token = token.trim();
        let text = format!(
            "apiVersion: v1
kind: Config
clusters: [{{ name: c, cluster: {cluster} }}]
users: [{{ name: u, user: {{ token: '{token}' }} }}]
contexts: [{{ name: x, context: {{ cluster: c, user: u, namespace: {namespace} }} }}]
current-context: x
"
        );
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for writer in self.mounts.get_mut() {
            let _ = writer.kill();
            let _ = writer.wait();
        }
        // Argo CD first: it would complain about an API server that has gone.
        let parts = [
            "argocd/controller",
            "argocd/applicationset",
            "argocd/repo-server",
            "argocd/redis",
            "kube/apiserver",
            "kube/etcd",
        ];
        parts.iter().for_each(|part| end(&self.path(&format!("{part}.pid"))));
    }
}

/// Ends the process whose id stands in a file, and waits until it has ended.
fn end(file: &Path) {
    let Ok(pid) = fs::read_to_string(file) else { return };
    let pid = pid.trim();
    let _ = Command::new("kill").arg(pid).stderr(Stdio::null()).status();
    let there = PathBuf::from("/proc").join(pid);
    await_state("a process to end", || (!there.exists()).then_some(()));
    let _ = fs::remove_file(file);
}
