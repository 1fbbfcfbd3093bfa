//! The whole loop before two real MLServer processes: labels come in, and the worse model is rolled back by a commit.

use super::{
    repo::Repo,
    stage::real,
    support::{Caller, routes, stop, wait},
};
use serde_json::json;
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where `tests/real/mlserver/setup.sh` has put it.
fn home() -> PathBuf {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/real/mlserver");
    let there = home.join("venv/bin/mlserver").exists() && home.join("models/held-out.csv").exists();
    assert!(there, "MLServer is not installed for the tests; run `make real`, or `make test`, which does");
    home
}

/// A process with one model; it ends with this value.
pub(super) struct Server {
    child: Child,
    address: SocketAddr,
    pub(super) grpc: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(super) fn start(model: &str) -> Self {
        let (home, dir) = (home(), tempfile::tempdir().unwrap());
        for file in ["model.joblib", "model-settings.json"] {
            fs::copy(home.join("models").join(model).join(file), dir.path().join(file)).unwrap();
        }
        // Beside it one that streams.
        fs::create_dir(dir.path().join("tok")).unwrap();
        fs::copy(real("tests/real/clients/token_model.py"), dir.path().join("tok/token_model.py")).unwrap();
        let tok = json!({ "name": "tok", "implementation": "token_model.TokenModel" });
        fs::write(dir.path().join("tok/model-settings.json"), tok.to_string()).unwrap();
        // MLServer takes no port 0: free ones are found for it, all at once so that they differ.
        let free: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let [http, grpc, metrics] = [0, 1, 2].map(|i: usize| free[i].local_addr().unwrap());
        drop(free);
        let settings = json!({
            "host": "127.0.0.1", "http_port": http.port(), "grpc_port": grpc.port(), "metrics_port": metrics.port(),
            "parallel_workers": 0, "debug": false, "gzip_enabled": false, "metrics_endpoint": null,
        });
        fs::write(dir.path().join("settings.json"), settings.to_string()).unwrap();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(home.join("venv/bin/mlserver"))
            .arg("start")
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, address: http, grpc, _dir: dir }
    }

    pub(super) fn wait(&mut self) {
        wait("MLServer", || {
            let gone = self.child.try_wait().unwrap();
            assert!(gone.is_none(), "MLServer ended: {gone:?}");
            TcpStream::connect(self.address).ok()?;
            (Caller::new(self.address).call("GET", "/v2/models/digits/ready", "", "").status == 200).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_weaker_of_two_real_models_is_rolled_back_by_a_commit() {
    let (mut good, mut weak) = (Server::start("good"), Server::start("weak"));
    good.wait();
    weak.wait();
    let repo = Repo::new(&routes(good.address, weak.address, 10));
    let app = repo.start("");
    let (mut caller, mut admin) = (Caller::new(app.data), Caller::new(app.admin));
    let held_out = fs::read_to_string(home().join("models/held-out.csv")).unwrap();
    let mut rows = held_out.lines().cycle();
    wait("the rollback", || {
        let mut labels = String::new();
        for row in rows.by_ref().take(50) {
            let mut numbers: Vec<f64> = row.split(',').map(|n| n.parse().unwrap()).collect();
            let digit = numbers.pop().unwrap();
            let data: Vec<f64> = numbers.iter().map(|pixel| pixel / 16.0).collect();
            let input = json!({ "name": "pixels", "shape": [1, 64], "datatype": "FP64", "data": data });
            let body = json!({ "inputs": [input] }).to_string();
            let headers = "content-type: application/json\r\n";
            let mut answer = caller.call("POST", "/v2/models/digits/infer", headers, &body);
            assert_eq!(answer.status, 200, "{answer:?}");
            let ticket = answer.headers.remove("x-coalmine-ticket").expect("a ticket");
            labels += &format!("{}\n", json!({ "ticket": ticket, "label": digit }));
        }
        let answer = admin.call("POST", "/v1/feedback", "", &labels);
        assert!(answer.status == 200 && !answer.body.contains("error"), "{answer:?}");
        (repo.commits() == 2).then_some(())
    });
    let message = repo.message();
    assert!(message.starts_with("rollback(digits): v2 10 % -> 0 %, rejected"), "{message}");
    assert!(message.contains("\nCoalmine-Verdict: fail accuracy\n"), "{message}");
    for _ in 0..50 {
        let answer = caller.call("GET", "/v2/models/digits/ready", "", "");
        assert_eq!(answer.headers.get("x-coalmine-variant").map(String::as_str), Some("v1"));
    }
    stop(app);
}
