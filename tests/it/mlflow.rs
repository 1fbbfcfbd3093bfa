//! A real MLflow server: the alias follows the stable version, a rejected version is tagged, a person's word stays.

use super::{
    python::installed,
    support::{Caller, model, routes, settings, start_with, stop, wait},
};
use coalmine::app::App;
use serde_json::{Value, json};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Starting it loads much Python.
const START: Duration = Duration::from_secs(180);

/// The server with its workers; they end with this value.
struct Mlflow {
    child: Child,
    address: SocketAddr,
    _home: tempfile::TempDir,
}

impl Mlflow {
    fn start() -> Self {
        let python = installed("target/real/mlflow/venv/bin/python");
        let home = tempfile::tempdir().unwrap();
        // It takes no port 0.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let database = format!("sqlite:///{}", home.path().join("db").display());
        // Its own script names the place that it was installed to; the directory may have moved since.
        let child = Command::new(python)
            .args([
                "-m",
                "mlflow",
                "server",
                "--host",
                "127.0.0.1",
                "--workers",
                "1",
                "--port",
                &address.port().to_string(),
            ])
            .args(["--backend-store-uri", &database, "--artifacts-destination"])
            .arg(home.path().join("artifacts"))
            .current_dir(home.path())
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(home.path().join("log")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut server = Self { child, address, _home: home };
        let until = Instant::now() + START;
        while TcpStream::connect(address).is_err() || Caller::new(address).call("GET", "/health", "", "").status != 200
        {
            assert!(server.child.try_wait().unwrap().is_none(), "MLflow ended; run it by hand to see why");
            assert!(Instant::now() < until, "MLflow did not answer");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        server
    }

    fn api(&self, method: &str, path: &str, body: &str) -> Value {
        let path = format!("/api/2.0/mlflow/{path}");
        let answer = Caller::new(self.address).call(method, &path, "content-type: application/json\r\n", body);
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    fn champion(&self) -> String {
        let found = self.api("GET", "registered-models/alias?name=digits&alias=champion", "");
        found["model_version"]["version"].as_str().unwrap().to_owned()
    }

    fn tag(&self, version: &str) -> Option<String> {
        let found = self.api("GET", &format!("model-versions/get?name=digits&version={version}"), "");
        let tags = found["model_version"]["tags"].as_array()?.clone();
        let ours = tags.iter().find(|tag| tag["key"] == "coalmine.rejected")?;
        Some(ours["value"].as_str().unwrap().to_owned())
    }

    fn set_champion(&self, version: &str) {
        let body = json!({ "name": "digits", "alias": "champion", "version": version }).to_string();
        self.api("POST", "registered-models/alias", &body);
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.child.wait();
    }
}

fn start(server: &Mlflow, mount: &Path, state: &Path) -> App {
    start_with(settings(&format!("mlflow: {{ url: 'http://{}' }}\n", server.address), mount, state))
}

#[test]
fn the_registry_follows_promotions_and_rollbacks() {
    let server = Mlflow::start();
    server.api("POST", "registered-models/create", r#"{"name":"digits"}"#);
    for version in 1..4 {
        let body = json!({ "name": "digits", "source": format!("s3://models/{version}") }).to_string();
        server.api("POST", "model-versions/create", &body);
    }
    server.set_champion("1");
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let deliver = |text: &str| {
        fs::write(mount.path().join(".new"), text).unwrap();
        fs::rename(mount.path().join(".new"), mount.path().join("routes.yaml")).unwrap();
    };
    let (one, two) = (model(200, 1), model(200, 2));
    let text = routes(one, two, 10)
        .replace("uri: m/1", "uri: 'models:/digits'")
        .replace("uri: m/2", "uri: 'models:/digits/2'");
    deliver(&text);
    let app = start(&server, mount.path(), state.path());
    // A promotion is one of a release that has been seen to begin.
    let mut admin = Caller::new(app.admin);
    wait("the release", || {
        let told: Value = serde_json::from_str(&admin.call("GET", "/v1/routes", "", "").body).unwrap();
        told["routes"][0]["release"]["state"].is_string().then_some(())
    });

    // The promotion, as the branch delivers it.
    let promoted = text
        .replace("role: stable, weight: 90", "role: previous, weight: 5")
        .replace("role: canary, weight: 10", "role: stable, weight: 95");
    deliver(&promoted);
    wait("the promotion in the registry", || (server.champion() == "2").then_some(()));

    // What a person sets afterwards is not undone, not even by a restart.
    server.set_champion("3");
    stop(app);
    let app = start(&server, mount.path(), state.path());
    let next =
        promoted.replace("role: previous, weight: 5", "role: rejected, weight: 0").replace("weight: 95", "weight: 100");
    deliver(&next);
    wait("the tag", || server.tag("1").is_some().then_some(()));
    assert_eq!(server.tag("1").as_deref(), Some("digits"));
    assert_eq!(server.champion(), "3");
    stop(app);
}

#[test]
fn a_rollback_by_the_judge_is_tagged_with_its_reason() {
    let server = Mlflow::start();
    server.api("POST", "registered-models/create", r#"{"name":"digits"}"#);
    for version in 1..3 {
        let body = json!({ "name": "digits", "source": format!("s3://models/{version}") }).to_string();
        server.api("POST", "model-versions/create", &body);
    }
    let text = routes(model(200, 1), model(500, 2), 30).replace("uri: m/2", "uri: 'models:/digits/2'");
    let repo = super::repo::Repo::new(&text);
    let app = repo.start_with("", &format!("mlflow: {{ url: 'http://{}' }}\n", server.address));
    let mut caller = Caller::new(app.data);
    wait("the commit", || {
        (0..20).for_each(|_| drop(caller.infer()));
        (repo.commits() == 2).then_some(())
    });
    assert_eq!(server.tag("2"), None, "not before it is delivered");
    repo.deliver();
    wait("the tag", || server.tag("2").is_some().then_some(()));
    assert_eq!(server.tag("2").as_deref(), Some("digits: worse in errors (judge)"));
    stop(app);
}
