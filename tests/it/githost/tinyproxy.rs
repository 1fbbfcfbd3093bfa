//! tinyproxy as the proxy that everything must go through, with the log of what did.

use super::{Door, program};
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

pub(in super::super) struct Tinyproxy {
    pub(in super::super) address: SocketAddr,
    child: Child,
    dir: tempfile::TempDir,
}

impl Tinyproxy {
    /// `more` is lines of its configuration.
    pub(in super::super) fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, log) = (dir.path().join("tinyproxy.conf"), dir.path().join("log"));
        // It takes no port 0: another one may have been faster.
        loop {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let text = format!(
                "Port {}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n{more}\n",
                address.port(),
                log.display()
            );
            fs::write(&config, text).unwrap();
            let mut proxy = Command::new(program("tinyproxy"));
            let proxy = proxy.arg("-d").arg("-c").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
            let mut child = proxy.stderr(Stdio::null()).spawn().unwrap();
            while child.try_wait().unwrap().is_none() {
                if TcpStream::connect(address).is_ok() {
                    return Self { address, child, dir };
                }
                std::thread::yield_now();
            }
        }
    }

    pub(in super::super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked of it: `CONNECT host:port HTTP/1.1`, `GET http://host/path HTTP/1.1`.
    pub(in super::super) fn asked(&self) -> Vec<String> {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let asked = log.lines().filter_map(|line| line.split_once("Request (file descriptor"));
        asked.filter_map(|(_, rest)| Some(rest.split_once("): ")?.1.to_owned())).collect()
    }

    /// How often it was asked for a tunnel to this door.
    pub(in super::super) fn tunnels(&self, host: &str, door: &Door) -> usize {
        let line = format!("CONNECT {host}:{} ", door.address.port());
        self.asked().iter().filter(|asked| asked.starts_with(&line)).count()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
