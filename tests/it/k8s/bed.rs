//! A cluster: etcd and kube-apiserver on loopback, or the one that KUBECONFIG names; and an Argo CD over it.

use serde::Deserialize as _;
use serde_yaml::Value;
use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

/// How long anything of the cluster may take, on a busy machine with cold caches.
const DEADLINE: Duration = Duration::from_secs(300);
/// Argo CD's polling of Git (`timeout.reconciliation`); its own default is three minutes.
pub(super) const POLLING: Duration = Duration::from_secs(10);
/// What is made in a cluster that was given bears this label, and goes away again.
const LABEL: &str = "coalmine.dev/test";

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

/// The cluster. What was started for it ends with it, or with this process.
#[derive(Debug)]
pub(super) struct Bed {
    home: PathBuf,
    own: bool,
    kubeconfig: PathBuf,
    /// Of this process.
    run: String,
    /// Cleans up when its standard input ends.
    keeper: Child,
}

impl Bed {
    pub(super) fn new() -> Self {
        let home = tempfile::tempdir().unwrap().keep();
        let given = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let kubeconfig = given.clone().unwrap_or_else(|| home.join("kube/kubeconfig"));
        let run = home.file_name().unwrap().to_string_lossy().trim_start_matches('.').to_lowercase();
        let mut keeper = Command::new(root().join("tests/real/k8s/keep.sh"));
        keeper.arg(root().join("target/real/bin")).arg(&home).args(given.is_some().then_some(&run));
        let keeper = keeper.env("KUBECONFIG", &kubeconfig).stdin(Stdio::piped()).spawn().unwrap();
        let bed = Self { home, own: given.is_none(), kubeconfig, run, keeper };
        if bed.own {
            ["kube-apiserver", "etcd"].into_iter().for_each(|name| drop(part(name)));
            bed.up();
        }
        bed.kubectl(&["version"], "");
        bed
    }

    /// With an Argo CD over it, for all tests of this process.
    pub(super) fn with_argo_cd() -> &'static Self {
        static BED: OnceLock<Bed> = OnceLock::new();
        BED.get_or_init(|| {
            let bed = Self::new();
            bed.script("argocd-up.sh", &[&bed.path("argocd")]);
            bed
        })
    }

    /// Whether the API server is ours to stop.
    pub(super) fn own(&self) -> bool {
        self.own
    }

    /// A name that is free in this cluster.
    pub(super) fn name(&self, name: &str) -> String {
        if self.own { name.to_owned() } else { format!("{name}-{}", self.run) }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    /// With all rights.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Where etcd listens for whoever knows it.
    pub(super) fn etcd(&self) -> SocketAddr {
        let ports = fs::read_to_string(self.path("kube/ports")).unwrap();
        format!("127.0.0.1:{}", ports.split_whitespace().next().unwrap()).parse().unwrap()
    }

    /// Keeps a directory equal to a ConfigMap by the kubelet's own writer, and waits until it is there.
    pub(super) fn mount(&self, namespace: &str, config_map: &str, dir: &Path) {
        let mut writer = Command::new("sh");
        writer.args(["-c", "timeout -k 5 3600 \"$@\" & echo $! > \"$KEPT\"", "sh"]);
        writer.arg(part("kubelet-mount")).args(["-namespace", namespace, "-configmap", config_map, "-dir"]).arg(dir);
        let log = fs::File::create(self.path(&format!("{namespace}-mount.log"))).unwrap();
        let kept = self.path(&format!("{namespace}-mount.pid"));
        writer.env("KEPT", kept).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null()).stderr(log);
        assert!(writer.stdout(Stdio::null()).status().unwrap().success());
        await_state("the mounted directory", || dir.join("..data").exists().then_some(()));
    }

    /// Starts what does not run.
    pub(super) fn up(&self) {
        self.script("kube-up.sh", &[&self.path("kube")]);
    }

    /// Runs one of the scripts beside `setup.sh` with `target/real/bin` as its first argument.
    fn script(&self, name: &str, arguments: &[&Path]) {
        let mut script = Command::new(root().join("tests/real/k8s").join(name));
        script.arg(root().join("target/real/bin")).args(arguments).env("KUBECONFIG", &self.kubeconfig);
        script.env("RECONCILE", format!("{}s", POLLING.as_secs())).stdin(Stdio::null());
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

    /// Applies objects.
    pub(super) fn apply(&self, manifest: &str) {
        for document in serde_yaml::Deserializer::from_str(manifest) {
            let mut object = Value::deserialize(document).unwrap();
            let Some(metadata) = object.get_mut("metadata").and_then(Value::as_mapping_mut) else { continue };
            let labels = metadata.entry("labels".into()).or_insert_with(|| Value::Mapping(serde_yaml::Mapping::new()));
            labels[LABEL] = self.run.as_str().into();
            self.kubectl(&["apply", "-f", "-"], &serde_yaml::to_string(&object).unwrap());
        }
    }

    /// A namespace, if it is not there.
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
            let mut object: Value = serde_yaml::from_str(document).unwrap();
            let Some(metadata) = object.get_mut("metadata").and_then(Value::as_mapping_mut) else { continue };
            // As `helm install` does.
            metadata.entry("namespace".into()).or_insert_with(|| namespace.into());
            self.apply(&serde_yaml::to_string(&object).unwrap());
        }
    }

    /// A kubeconfig of a service account: its token, and nobody else's rights.
    pub(super) fn account(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.kubectl(&["-n", namespace, "create", "token", account], "");
        let given = self.kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"], "");
        let given: Value = serde_yaml::from_str(&given).unwrap();
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
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Ends the process whose id stands in a file, and waits until it has ended.
fn end(file: &Path) {
    let pid = fs::read_to_string(file).unwrap();
    let pid = pid.trim();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    // Nobody may care for what is left of it.
    let stat = Path::new("/proc").join(pid).join("stat");
    await_state("a process to end", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z ")).then_some(())
    });
    fs::remove_file(file).unwrap();
}
