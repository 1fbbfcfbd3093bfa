//! Real clients and servers written in Python: started, read, and ended.

use super::{stage::real, support::wait};
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

/// The Python with grpcio and MLServer in it.
pub(super) fn mlserver() -> PathBuf {
    installed("target/real/mlserver/venv/bin/python")
}

/// The Python with the other clients and servers.
pub(super) fn clients() -> PathBuf {
    installed("target/real/clients/venv/bin/python")
}

/// Something that `make real` installs.
pub(super) fn installed(path: &str) -> PathBuf {
    let path = real(path);
    assert!(
        path.exists(),
        "{} is not installed for the tests; run `make real`, or `make test`, which does",
        path.display()
    );
    path
}

fn command(python: &Path, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.arg(real("tests/real/clients").join(script)).args(arguments);
    command
}

/// A server that says its port; ends with this.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn start(python: &Path, script: &str, arguments: &[&str]) -> Self {
        let mut child = command(python, script, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let (said, keep) = (BufReader::new(child.stdout.take().unwrap()).lines(), lines.clone());
        thread::spawn(move || said.map_while(Result::ok).for_each(|line| keep.lock().unwrap().push(line)));
        let port = wait(script, || {
            assert!(child.try_wait().unwrap().is_none(), "{script} ended; run it by hand to see why");
            lines.lock().unwrap().iter().find_map(|line| line.strip_prefix("port ")?.parse().ok())
        });
        Self { child, port, lines }
    }

    /// How many lines are this one.
    pub(super) fn said(&self, line: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|said| *said == line).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end, which must be a good one; what it printed.
#[track_caller]
pub(super) fn run(python: &Path, script: &str, arguments: &[&str]) -> String {
    let output = command(python, script, arguments).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} {arguments:?}: {out}{error}");
    out.into_owned()
}
