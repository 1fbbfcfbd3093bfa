//! Processes under measurement: pinned to a core, ended with their value, read from `/proc`.

use super::Done;
use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const START_LIMIT: Duration = Duration::from_secs(20);
const END_LIMIT: Duration = Duration::from_secs(3);
/// Idle connections need a descriptor each, at both ends.
const DESCRIPTORS: &str = "--nofile=20000:20000";
/// The proxy's core, and that of load and backends.
pub(super) const PROXY_CORE: &str = "0";
pub(super) const LOAD_CORE: &str = "1";

/// A process that ends with this value.
pub(super) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master ends its workers when it is asked to, not when it is killed.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let until = Instant::now() + END_LIMIT;
        while self.0.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > until {
                let _ = self.0.kill();
            }
            std::thread::yield_now();
        }
    }
}

impl Process {
    /// Starts a command and waits until it listens.
    pub(super) fn start(mut command: Command, port: u16) -> Done<Self> {
        let mut process = Self(command.spawn().map_err(|error| format!("{command:?}: {error}"))?);
        let until = Instant::now() + START_LIMIT;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = process.0.try_wait()? {
                return Err(format!("{command:?} ended at its start: {status}").into());
            }
            if Instant::now() > until {
                return Err(format!("{command:?} does not listen on {port}").into());
            }
            std::thread::yield_now();
        }
        Ok(process)
    }

    /// Its id.
    pub(super) fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// The process and its children: nginx works in one.
    pub(super) fn family(&self) -> Vec<String> {
        let pid = self.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned)).collect()
    }

    /// Microseconds on a core since the start, over all threads.
    pub(super) fn cpu_us(&self) -> Done<f64> {
        let mut sum = 0.0;
        for pid in self.family() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread may end between the listing and the reading; its time is a helper's, not the traffic's.
                let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
                sum += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
            }
        }
        Ok(sum / 1e3)
    }

    /// KiB of memory, each shared page in equal parts.
    pub(super) fn memory_kib(&self) -> Done<f64> {
        let mut sum = 0.0;
        for pid in self.family() {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss in smaps_rollup")?;
            sum += line.trim().trim_end_matches(" kB").parse::<f64>()?;
        }
        Ok(sum)
    }
}

/// A command on one core, with enough descriptors.
pub(super) fn pinned(core: &str, program: &str) -> Command {
    let mut command = Command::new("prlimit");
    command.args([DESCRIPTORS, "taskset", "-c", core, program]);
    command
}

/// This binary as one of its helpers, on the load's core.
pub(super) fn helper(words: &[&str]) -> Done<Command> {
    let program = env::current_exe()?;
    let mut command = pinned(LOAD_CORE, program.to_str().ok_or("an odd path")?);
    command.args(words);
    Ok(command)
}

/// What a command printed, which must have gone well.
pub(super) fn output(mut command: Command) -> Done<String> {
    let output = command.stderr(Stdio::piped()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{command:?}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}

pub(super) fn free_ports<const N: usize>() -> Done<[u16; N]> {
    let sockets: Vec<TcpListener> = (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = sockets.iter().map(|s| Ok(s.local_addr()?.port())).collect::<std::io::Result<_>>()?;
    ports.try_into().map_err(|_| "no free ports".into())
}
