//! The process's own settings: listeners, where routes come from, where state goes, Git, tokens. Secrets are only ever
//! paths, never values.

mod git;
mod kubernetes;
mod mlflow;
mod notify;
mod prometheus;
mod tls;
mod traffic;

pub use git::{GitMode, GitSettings, Provider, PullRequestSettings, SigningFormat};
pub use kubernetes::{ArgoSettings, KubernetesSettings, SourceKind};
pub use mlflow::MlflowSettings;
pub use notify::{HookFormat, HookPlace, HookSettings, NotifySettings};
pub use prometheus::PrometheusSettings;
pub use tls::{BackendTlsSettings, ClientAuth, PairFiles, TlsSettings};
pub use traffic::{ConnectionSettings, HeaderSettings};

use super::{
    fields::{Field, Map, Problems, whole},
    problem::Problem,
    tree::{self, Entry, Node, Value},
    units,
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// A name server is asked no more often than this about one backend.
const RESOLVE_EVERY_MIN: Duration = Duration::from_millis(100);
/// More of what has happened is nothing for a page.
const PAGE_HISTORY_MAX: u64 = 10_000;

/// Settings with every default filled in.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Where traffic comes in. Default `0.0.0.0:8080`.
    pub listen: SocketAddr,
    /// Where people, labels and Prometheus come in. Default `127.0.0.1:9090`.
    pub admin: SocketAddr,
    /// Where routes come from. Default: the file.
    pub source: SourceKind,
    /// The routes file, or a directory with `routes.yaml` in it.
    pub routes: Option<PathBuf>,
    /// Data threads. Default: one per core.
    pub threads: Option<usize>,
    /// What must outlive the process is kept here; in memory only if missing.
    pub state_dir: Option<PathBuf>,
    /// Key of the tickets, shared by the replicas; random per process if missing.
    pub ticket_key_file: Option<PathBuf>,
    /// Bearer tokens by role.
    pub tokens: TokenFiles,
    /// Where commits go; no Git if missing.
    pub git: Option<GitSettings>,
    /// The Kubernetes API, and the ConfigMap of the routes in it.
    pub kubernetes: KubernetesSettings,
    /// The Argo CD Application that is told of our commits; nobody is if missing.
    pub argo: Option<ArgoSettings>,
    /// The model registry that is told of promotions and rollbacks; none if missing.
    pub mlflow: Option<MlflowSettings>,
    /// Who is told of what.
    pub notify: NotifySettings,
    /// Whom the guardrails of routes are asked from; they cannot be told if missing.
    pub prometheus: Option<PrometheusSettings>,
    /// How the process ends.
    pub drain: DrainSettings,
    /// How often the judge looks. Default 2 s.
    pub judge_interval: Duration,
    /// Replicas that judge on their own: each at `alpha / replicas`. Default 1.
    pub replicas: u32,
    /// Logs.
    pub log: LogSettings,
    /// Limits of the data listener.
    pub connections: ConnectionSettings,
    /// What is added to requests.
    pub headers: HeaderSettings,
    /// What callers meet; plain text if missing.
    pub tls: Option<TlsSettings>,
    /// What backends meet whose URL begins with `https`.
    pub backend_tls: BackendTlsSettings,
    /// How backends are found.
    pub backends: BackendSettings,
    /// Of what has happened to a route the page and the API keep so much. Default 200.
    pub page_history: usize,
}

/// One file per role, each with one token a line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TokenFiles {
    /// May read.
    pub viewer: Option<PathBuf>,
    /// May send labels.
    pub labeler: Option<PathBuf>,
    /// May do everything.
    pub operator: Option<PathBuf>,
}

/// How the process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainSettings {
    /// Not ready, and still accepting, for so long: the time endpoints need to forget us. Default 5 s.
    pub lame_duck: Duration,
    /// What is in flight may take so long after that. Default 30 s.
    pub limit: Duration,
}

/// Logs go to standard error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// JSON lines, or lines for people. Default: people.
    pub json: bool,
    /// A filter such as `info` or `coalmine=debug`. Default `info`.
    pub level: String,
}

/// How backends are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackendSettings {
    /// Names are looked up again after so long: the resolver does not say for how long its answer holds. Default 5 s.
    pub resolve_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9090)),
            source: SourceKind::default(),
            routes: None,
            threads: None,
            state_dir: None,
            ticket_key_file: None,
            tokens: TokenFiles::default(),
            git: None,
            kubernetes: KubernetesSettings::default(),
            argo: None,
            mlflow: None,
            notify: NotifySettings::default(),
            prometheus: None,
            drain: DrainSettings { lame_duck: Duration::from_secs(5), limit: Duration::from_secs(30) },
            judge_interval: Duration::from_secs(2),
            replicas: 1,
            log: LogSettings { json: false, level: "info".into() },
            connections: ConnectionSettings::default(),
            headers: HeaderSettings::default(),
            tls: None,
            backend_tls: BackendTlsSettings::default(),
            backends: BackendSettings { resolve_every: Duration::from_secs(5) },
            page_history: 200,
        }
    }
}

/// A value from outside the file: its dotted path and its text. Stands over the file.
pub type Overlay = [(&'static str, String)];

impl Settings {
    /// Reads a settings file (may be empty) with values from flags and the environment on top.
    ///
    /// # Errors
    /// Every problem there is, in the order of the text.
    pub fn read(text: &str, overlay: &Overlay) -> Result<Self, Vec<Problem>> {
        let root = tree::parse(text).map_err(|problem| vec![problem.locate(text)])?;
        let mut root = root.unwrap_or_else(empty);
        for (path, value) in overlay {
            set(&mut root, path, value);
        }
        let list = Problems::default();
        let settings = read(&Field::root(&root, &list));
        let (problems, _) = list.finish();
        match settings {
            Some(settings) if problems.is_empty() => Ok(settings),
            _ => Err(problems.into_iter().map(|problem| problem.locate(text)).collect()),
        }
    }
}

fn empty() -> Node {
    Node { span: 0..0, value: Value::Map(Vec::new()) }
}

/// Sets one scalar of the tree, making maps on the way.
fn set(node: &mut Node, path: &str, text: &str) {
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    if !matches!(node.value, Value::Map(_)) {
        node.value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = &mut node.value else {
        return;
    };
    if !entries.iter().any(|entry| entry.key == key) {
        entries.push(Entry { key: key.to_owned(), key_span: 0..0, value: empty() });
    }
    let Some(entry) = entries.iter_mut().find(|entry| entry.key == key) else {
        return;
    };
    if rest.is_empty() {
        let style = granit_parser::ScalarStyle::Plain;
        entry.value.value = Value::Scalar { text: text.to_owned(), style };
    } else {
        set(&mut entry.value, rest, text);
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address; write ip:port, such as 0.0.0.0:8080"))
}

fn positive(text: &str) -> Result<Duration, String> {
    match units::duration(text)? {
        Duration::ZERO => Err("zero is too short".to_owned()),
        some => Ok(some),
    }
}

fn at_least_one(max: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match whole(max)(text)? {
        0 => Err("at least 1 is needed".to_owned()),
        some => Ok(some),
    }
}

fn text_of(map: &Map<'_>, key: &'static str) -> Option<String> {
    map.get(key).and_then(|field| field.text().map(str::to_owned))
}

fn path_of(map: &Map<'_>, key: &'static str) -> Option<PathBuf> {
    text_of(map, key).map(PathBuf::from)
}

fn read(root: &Field<'_>) -> Option<Settings> {
    let map = root.map()?;
    let base = Settings::default();
    let small = |n: u64| usize::try_from(n).unwrap_or(1);
    let cluster = map.get("kubernetes").and_then(|field| kubernetes::read(&field)).unwrap_or_default();
    let git = map.get("git").and_then(|field| git::read(&field));
    let settings = Settings {
        source: kubernetes::source(&map, cluster.config_map.is_some(), git.is_some()),
        listen: map.or("listen", base.listen, address),
        admin: map.or("admin", base.admin, address),
        routes: path_of(&map, "routes"),
        threads: map.get("threads").and_then(|field| field.parse(at_least_one(512))).map(small),
        state_dir: map.get("state").and_then(|field| state(&field)),
        ticket_key_file: path_of(&map, "ticket_key_file"),
        tokens: map.get("tokens").and_then(|field| tokens(&field)).unwrap_or_default(),
        git,
        kubernetes: cluster,
        argo: map.get("argocd").and_then(|field| kubernetes::argo(&field)),
        mlflow: map.get("mlflow").and_then(|field| mlflow::read(&field)),
        notify: map.get("notify").and_then(|field| notify::read(&field)).unwrap_or(base.notify),
        prometheus: map.get("prometheus").and_then(|field| prometheus::read(&field)),
        drain: map.get("drain").and_then(|field| drain(&field, base.drain)).unwrap_or(base.drain),
        judge_interval: map.get("judge").and_then(|field| judge(&field)).unwrap_or(base.judge_interval),
        replicas: u32::try_from(map.or("replicas", 1, at_least_one(1_000))).unwrap_or(1),
        log: map.get("log").and_then(|field| log(&field, &base.log)).unwrap_or(base.log),
        connections: map.get("connections").and_then(|field| traffic::connections(&field)).unwrap_or(base.connections),
        headers: map.get("headers").and_then(|field| traffic::headers(&field)).unwrap_or(base.headers),
        tls: map.get("tls").and_then(|field| tls::server(&field)),
        backend_tls: map.get("backend_tls").and_then(|field| tls::backend(&field)).unwrap_or_default(),
        page_history: map.get("page").and_then(|field| page(&field)).unwrap_or(base.page_history),
        backends: map.get("backends").and_then(|field| backends(&field, base.backends)).unwrap_or(base.backends),
    };
    map.done();
    Some(settings)
}

fn state(field: &Field<'_>) -> Option<PathBuf> {
    let map = field.map()?;
    let dir =
        map.need("dir", "a directory that outlives the process").and_then(|field| field.text().map(PathBuf::from));
    map.done();
    dir
}

fn tokens(field: &Field<'_>) -> Option<TokenFiles> {
    let map = field.map()?;
    let files = TokenFiles {
        viewer: path_of(&map, "viewer_file"),
        labeler: path_of(&map, "labeler_file"),
        operator: path_of(&map, "operator_file"),
    };
    map.done();
    Some(files)
}

fn drain(field: &Field<'_>, base: DrainSettings) -> Option<DrainSettings> {
    let map = field.map()?;
    let settings = DrainSettings {
        lame_duck: map.or("lame_duck", base.lame_duck, units::duration),
        limit: map.or("limit", base.limit, units::duration),
    };
    map.done();
    Some(settings)
}

fn judge(field: &Field<'_>) -> Option<Duration> {
    let map = field.map()?;
    let interval = map.or("interval", Settings::default().judge_interval, positive);
    map.done();
    Some(interval)
}

fn page(field: &Field<'_>) -> Option<usize> {
    let map = field.map()?;
    let base = Settings::default().page_history;
    let history = map.get("history").and_then(|field| field.parse(at_least_one(PAGE_HISTORY_MAX)));
    map.done();
    Some(history.and_then(|n| usize::try_from(n).ok()).unwrap_or(base))
}

fn log(field: &Field<'_>, base: &LogSettings) -> Option<LogSettings> {
    let map = field.map()?;
    let json = map.get("format").and_then(|field| field.word(&[("json", true), ("pretty", false)]));
    let settings = LogSettings {
        json: json.unwrap_or(base.json),
        level: text_of(&map, "level").unwrap_or_else(|| base.level.clone()),
    };
    map.done();
    Some(settings)
}

fn backends(field: &Field<'_>, base: BackendSettings) -> Option<BackendSettings> {
    let map = field.map()?;
    let pause = |text: &str| match units::duration(text)? {
        often if often < RESOLVE_EVERY_MIN => {
            Err(format!("`{text}` is too often; wait at least {RESOLVE_EVERY_MIN:?} between two look-ups"))
        }
        some => Ok(some),
    };
    let settings = BackendSettings { resolve_every: map.or("resolve_every", base.resolve_every, pause) };
    map.done();
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_again_after_a_pause_that_can_be_set() {
        let read = |text: &str| Settings::read(text, &[]).map(|settings| settings.backends.resolve_every.as_millis());
        assert_eq!(read(""), Ok(5_000));
        assert_eq!(read("backends: { resolve_every: 30s }"), Ok(30_000));
        let problems = read("backends: { resolve_every: 10ms, resolve: 1s }").unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| problem.one_line("s")).collect();
        assert!(lines[0].starts_with("s:1:28: backends.resolve_every: `10ms` is too often"), "{lines:?}");
        assert!(lines[1].starts_with("s:1:34: backends.resolve: unknown key"), "{lines:?}");
        assert_eq!(lines.len(), 2);
    }
}
