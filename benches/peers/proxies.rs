//! The proxies: who takes part in what, and how each is started.

use super::{
    Done, configs, envoy,
    process::{PROXY_CORE, Process, pinned},
    work::Work,
};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

const READY_LIMIT: Duration = Duration::from_secs(20);
/// Where `setup.sh` puts what is not a package of the system.
const ENVOY: &str = "target/real/envoy/envoy";
const PINGORA: &str = "target/pingora/release/pingora-split";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Nginx,
    Haproxy,
    Envoy,
    Pingora,
    Coalmine,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Nginx, Self::Haproxy, Self::Envoy, Self::Pingora, Self::Coalmine];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
            Self::Pingora => "Pingora",
            Self::Coalmine => "Coalmine",
        }
    }

    /// The capability table: which proxies can do which work.
    pub(super) fn takes_part(self, work: Work) -> bool {
        let [tls, h2, grpc] = match self {
            Self::Nginx | Self::Haproxy | Self::Envoy | Self::Coalmine => [true, true, true],
            // The minimal split is HTTP/1.1 only: that is what it is a yardstick for.
            Self::Pingora => [false, false, false],
        };
        (tls || !work.tls()) && (h2 || !work.h2()) && (grpc || !work.grpc())
    }
}

/// Where a proxy stands, and what it is to do.
pub(super) struct Site<'a> {
    pub(super) dir: &'a Path,
    pub(super) work: Work,
    pub(super) port: u16,
    pub(super) admin: u16,
    pub(super) stable: u16,
    pub(super) canary: u16,
    /// Words of a command that runs Coalmine.
    pub(super) under: &'a [String],
}

/// Starts a proxy on its core; it listens when this returns.
pub(super) fn start(kind: Kind, site: &Site<'_>) -> Done<Process> {
    let home = site.dir.join(kind.name().to_lowercase());
    fs::create_dir_all(&home)?;
    let write = |name: &str, text: String| -> Done<PathBuf> {
        let path = home.join(name);
        fs::write(&path, text)?;
        Ok(path)
    };
    let mut command;
    match kind {
        Kind::Nginx => {
            let conf = write("conf", configs::nginx(site))?;
            command = pinned(PROXY_CORE, "nginx");
            command.args(["-e", "stderr", "-p"]).arg(&home).arg("-c").arg(conf);
        }
        Kind::Haproxy => {
            let conf = write("conf", configs::haproxy(site))?;
            command = pinned(PROXY_CORE, "haproxy");
            command.args(["-q", "-db", "-f"]).arg(conf);
        }
        Kind::Envoy => {
            let conf = write("envoy.yaml", envoy::bootstrap(site))?;
            command = pinned(PROXY_CORE, ENVOY);
            command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]).arg(conf);
        }
        Kind::Pingora => {
            command = pinned(PROXY_CORE, PINGORA);
            command.args([site.port, site.stable, site.canary].map(|port| port.to_string()));
        }
        Kind::Coalmine => {
            let [routes, settings] = configs::coalmine(site);
            let (routes, settings) = (write("routes.yaml", routes)?, write("settings.yaml", settings)?);
            let words: Vec<&str> =
                site.under.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_coalmine")]).collect();
            command = pinned(PROXY_CORE, words.first().copied().unwrap_or_default());
            command.args(words.iter().skip(1)).arg("serve").arg("--routes").arg(routes).arg("--settings").arg(settings);
        }
    }
    let process = Process::start(command, site.port)?;
    if kind == Kind::Coalmine {
        ready(site.admin)?;
    }
    Ok(process)
}

fn ready(admin: u16) -> Done<()> {
    let until = Instant::now() + READY_LIMIT;
    while get(admin, "/readyz").map_or(true, |text| !text.starts_with("HTTP/1.1 200")) {
        if Instant::now() > until {
            return Err("coalmine does not become ready".into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// A whole answer as text.
pub(super) fn get(port: u16, path: &str) -> Done<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(READY_LIMIT))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())?;
    // The benches' backend keeps connections; its answers fit one read of the half-closed stream.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// A key and a certificate (P-256) for the TLS works.
pub(super) fn certificate(dir: &Path) -> Done<()> {
    let (key, cert) = (dir.join("key.pem"), dir.join("cert.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"]);
    super::process::output({
        command.arg(&key).arg("-out").arg(&cert);
        command
    })?;
    fs::write(dir.join("both.pem"), fs::read_to_string(cert)? + &fs::read_to_string(key)?)?;
    Ok(())
}
