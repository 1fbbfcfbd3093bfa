//! The real binary, and what the system says of it: memory, descriptors, processor time, the way it ends.

use super::unjudged;
use crate::support::{Caller, wait};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

/// A process of its own; ended when dropped.
pub(in super::super) struct Process {
    child: Child,
    pub(in super::super) data: SocketAddr,
    pub(in super::super) admin: SocketAddr,
    pub(in super::super) dir: tempfile::TempDir,
    pub(in super::super) log: Arc<Mutex<String>>,
}

impl Process {
    /// `more` is lines of the route, `settings` is text of the settings file.
    pub(in super::super) fn new(stable: SocketAddr, canary: SocketAddr, more: &str, settings: &str) -> Self {
        Self::under("", &unjudged(stable, canary, 0, more), settings)
    }

    /// Runs below a shell that does `first`, such as setting a limit; waits until it is ready.
    pub(in super::super) fn under(first: &str, routes: &str, settings: &str) -> Self {
        let process = Self::start(first, routes, settings);
        let mut admin = Caller::new(process.admin);
        wait("the process to be ready", || (admin.call("GET", "/readyz", "", "").status == 200).then_some(()));
        process
    }

    pub(in super::super) fn start(first: &str, routes: &str, settings: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("routes")).unwrap();
        fs::write(dir.path().join("routes/routes.yaml"), routes).unwrap();
        fs::write(dir.path().join("settings.yaml"), format!("log: {{ format: json }}\nthreads: 2\n{settings}"))
            .unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{first}\nexec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_coalmine"), "serve"])
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--routes", "routes", "--settings", "settings.yaml"])
            .current_dir(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, keep) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = keep.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let (data, admin) = wait("the process to say where it listens", || {
            let log = log.lock().unwrap().clone();
            assert!(child.try_wait().unwrap().is_none(), "it ended: {log}");
            let of = |name: &str| log.split(&format!("\"{name}\":\"")).nth(1)?.split('"').next()?.parse().ok();
            Some((of("data")?, of("admin")?))
        });
        Self { child, data, admin, dir, log }
    }

    pub(in super::super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap()
    }

    fn status_kb(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Resident memory now, in bytes.
    pub(in super::super) fn memory(&self) -> u64 {
        self.status_kb("VmRSS:") * 1024
    }

    /// Most resident memory since the last call of this.
    pub(in super::super) fn peak(&self) -> u64 {
        let peak = self.status_kb("VmHWM:") * 1024;
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
        peak
    }

    /// Processor time so far.
    pub(in super::super) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        // utime and stime, in ticks of 10 ms on every Linux there is.
        let ticks = |n: usize| fields[n].parse::<u64>().unwrap();
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }

    pub(in super::super) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    pub(in super::super) fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap().count()
    }

    /// As Kubernetes asks for the end.
    pub(in super::super) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Its end, and how long that took.
    pub(in super::super) fn end(&mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        let status = wait("the process to end", || self.child.try_wait().unwrap());
        (status, begin.elapsed())
    }

    /// Puts a routes file in place as an editor does.
    pub(in super::super) fn routes(&self, text: &[u8]) {
        let dir = self.dir.path().join("routes");
        replace(&dir, text);
    }
}

/// Written beside, renamed over.
pub(in super::super) fn replace(dir: &Path, text: &[u8]) {
    fs::write(dir.join(".next"), text).unwrap();
    fs::rename(dir.join(".next"), dir.join("routes.yaml")).unwrap();
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
