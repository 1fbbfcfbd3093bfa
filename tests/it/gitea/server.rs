//! The Gitea of one test.

use super::{Hosted, installed, real, wait};
use coalmine::io::outbound::{Answer, Outbound};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// The server; it ends with this value.
pub(super) struct Gitea {
    pub(super) home: tempfile::TempDir,
    pub(super) address: SocketAddr,
    pub(super) token: String,
}

impl Gitea {
    pub(super) fn start() -> Self {
        installed("target/real/bin/gitea-static");
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("said");
        // What it leaves running must not hold our pipes.
        let status = Command::new(real("tests/real/gitea/gitea-up.sh"))
            .arg(installed("target/real/bin"))
            .arg(home.path().join("gitea"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(&out).unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        let said = fs::read_to_string(out).unwrap();
        let (url, token) = said.trim().split_once(' ').unwrap();
        Self { home, address: url.strip_prefix("http://").unwrap().parse().unwrap(), token: token.to_owned() }
    }

    /// What a person does over the API.
    #[track_caller]
    pub(super) fn api(&self, method: Method, path: &str, body: &Value) -> Value {
        self.asked(method, path, body).unwrap()
    }

    pub(super) fn asked(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("http://{}/api/v1/{path}", self.address).parse().unwrap();
        let headers =
            [("authorization", format!("token {}", self.token)), ("content-type", "application/json".to_owned())];
        let headers: HeaderMap = headers
            .map(|(name, text)| (name.parse().unwrap(), HeaderValue::from_str(&text).unwrap()))
            .into_iter()
            .collect();
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let outbound = Outbound::new(None, Duration::from_secs(20)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let Answer { status, body, .. } = runtime.block_on(outbound.call(method.clone(), &url, headers, text)).unwrap();
        if !status.is_success() {
            return Err(format!("{method} {path}: {status} {body}"));
        }
        Ok(serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// A repository with `text` as its routes file on `main`.
    pub(super) fn repo(&self, name: &str, text: &str) -> Hosted<'_> {
        let new = json!({ "name": name, "default_branch": "main", "auto_init": true });
        self.api(Method::POST, "user/repos", &new);
        let hosted = Hosted { gitea: self, name: name.to_owned() };
        for dir in ["mount", "state", "other"] {
            fs::create_dir_all(hosted.path(dir)).unwrap();
        }
        fs::write(hosted.path("token"), &self.token).unwrap();
        let remote = format!("http://ops:{}@{}/ops/{name}.git", self.token, self.address);
        hosted.git(".", &["clone", "--quiet", &remote, "person"]);
        fs::create_dir(hosted.path("person/prod")).unwrap();
        hosted.person(text);
        hosted.deliver();
        hosted
    }
}

impl Drop for Gitea {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.home.path().join("gitea/gitea.pid")).unwrap();
        let _ = Command::new("kill").arg(pid.trim()).status();
        let there = PathBuf::from("/proc").join(pid.trim());
        wait("the end of Gitea", || (!there.exists()).then_some(()));
    }
}
