//! Real Git servers on loopback: sshd, and git's http-backend behind nginx; tinyproxy before them. Each connection comes through a door of ours, so that
//! ports are free ones and the door can be shut.

mod https;
mod ssh;
mod tinyproxy;

pub(super) use https::HttpsHost;
pub(super) use ssh::SshHost;
pub(super) use tinyproxy::Tinyproxy;

use super::support::wait;
use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

/// Accepts on a free port and hands every connection on, unless it is shut.
pub(super) struct Door {
    pub(super) address: SocketAddr,
    shut: Arc<AtomicBool>,
}

impl Door {
    pub(super) fn new(each: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shut = Arc::new(AtomicBool::new(false));
        let closed = shut.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if !closed.load(SeqCst) {
                    each(stream);
                }
            }
        });
        Self { address, shut }
    }

    /// Who comes from now on is hung up on, or let in again.
    pub(super) fn shut(&self, shut: bool) {
        self.shut.store(shut, SeqCst);
    }
}

/// A program that may stand outside of PATH, as servers do.
pub(super) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")]);
    let found = dirs.find_map(|dir| Some(dir.join(name)).filter(|file| file.is_file()));
    found.unwrap_or_else(|| panic!("{name} is missing; tests/real/git/setup.sh installs it"))
}

/// A new key pair without a passphrase; the path of the private key.
pub(super) fn key(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status();
    assert!(made.expect("ssh-keygen must be installed").success());
    path
}

/// Looks, while it lives, at the command line and the environment of every process on this machine.
pub(super) struct Watch {
    over: Arc<AtomicBool>,
    looker: Option<JoinHandle<(u64, Vec<String>)>>,
}

impl Watch {
    pub(super) fn over(secrets: &[&str]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (ends, secrets) = (over.clone(), secrets.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>());
        let looker = thread::spawn(move || {
            let (mut looks, mut found) = (0, Vec::new());
            while !ends.load(SeqCst) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    for file in ["cmdline", "environ"] {
                        let said = fs::read(entry.path().join(file)).unwrap_or_default();
                        let git = said.starts_with(b"git\0") || said.starts_with(b"ssh\0");
                        looks += u64::from(git && file == "cmdline");
                        let told = |secret: &Vec<u8>| said.windows(secret.len()).any(|part| part == secret);
                        if secrets.iter().any(told) {
                            found.push(format!("{file}: {}", String::from_utf8_lossy(&said).replace('\0', " ")));
                        }
                    }
                }
            }
            (looks, found)
        });
        Self { over, looker: Some(looker) }
    }

    /// How often git or ssh was seen at work; fails if a secret was seen.
    #[track_caller]
    pub(super) fn end(mut self) -> u64 {
        self.over.store(true, SeqCst);
        let (looks, found) = self.looker.take().unwrap().join().unwrap();
        assert!(found.is_empty(), "a secret is for everybody to see: {found:?}");
        looks
    }
}

fn wait_for_socket(path: &Path) {
    wait(&format!("{}", path.display()), || std::os::unix::net::UnixStream::connect(path).ok().map(drop));
}
