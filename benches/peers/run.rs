//! Runs one kind of work: all its proxies up at once, rounds in turn, one figure per metric, proxy and round.

use super::{
    Done, grpc,
    process::{LOAD_CORE, Process, free_ports, helper, output, pinned},
    proxies::{self, Kind, Site},
    work::{Metric, Work},
};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// As many as a limit of 20,000 open files allows: each may need another one to a backend.
const IDLE_CONNECTIONS: u16 = 9_900;
/// TLS connections opened a second: below what the slowest peer can do on one core.
const HANDSHAKES: u64 = 400;
/// Before the memory of idle connections is looked at.
const SETTLE: Duration = Duration::from_secs(5);
const PATH: &str = "/v2/models/digits/infer";

/// What was seen of one metric: per proxy, a value a round.
pub(super) struct Result {
    pub(super) metric: &'static Metric,
    pub(super) values: Vec<(Kind, Vec<f64>)>,
}

/// A proxy under measurement.
struct Peer {
    process: Process,
    port: u16,
}

/// The backends' process.
pub(super) struct Backend {
    child: Child,
    pub(super) stable: u16,
    pub(super) canary: u16,
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the backends have counted.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub(super) stable: f64,
    pub(super) canary: f64,
    events: f64,
}

impl Backend {
    pub(super) fn start() -> Done<Self> {
        let mut child = helper(&["backend"])?.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
        let ports: Vec<u16> = line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [stable, canary] = ports[..] else { return Err(format!("the backend said {line:?}").into()) };
        Ok(Self { child, stable, canary })
    }

    pub(super) fn counts(&self) -> Done<Counts> {
        let text = proxies::get(self.stable, "/counts")?;
        let numbers = text.rsplit("\r\n\r\n").next().unwrap_or_default().split(' ');
        let numbers: Vec<f64> = numbers.map(str::parse).collect::<std::result::Result<_, _>>()?;
        let [stable, canary, events] = numbers[..] else { return Err(format!("the backend said {text:?}").into()) };
        Ok(Counts { stable, canary, events })
    }
}

/// Does this work with these proxies.
pub(super) fn work(dir: &Path, work: Work, kinds: &[Kind], seconds: u64, rounds: u64) -> Done<Vec<Result>> {
    if work.tls() {
        proxies::certificate(dir)?;
    }
    let backend = Backend::start()?;
    let start = |kind: &Kind| -> Done<Peer> {
        let [port, admin] = free_ports()?;
        let site = Site { dir, work, port, admin, stable: backend.stable, canary: backend.canary, under: &[] };
        let process = proxies::start(*kind, &site).map_err(|error| format!("{}: {error}", kind.name()))?;
        Ok(Peer { process, port })
    };
    let metrics = work.metrics();
    let mut results: Vec<Result> = metrics
        .iter()
        .map(|metric| Result { metric, values: kinds.iter().map(|kind| (*kind, Vec::new())).collect() })
        .collect();
    // Memory is that of a fresh process, so idle connections are looked at once, one proxy at a time.
    let (rounds, mut peers) =
        if work == Work::Idle { (1, Vec::new()) } else { (rounds, kinds.iter().map(start).collect::<Done<Vec<_>>>()?) };
    for peer in &peers {
        one(dir, work, peer, &backend, 1)?;
    }
    for round in 1..=rounds {
        let direct = if work == Work::Latency { latency(backend.stable, seconds)? } else { [0.0; 2] };
        for (at, kind) in kinds.iter().enumerate() {
            if work == Work::Idle {
                peers = vec![start(kind)?];
            }
            let peer = peers.get(if work == Work::Idle { 0 } else { at }).ok_or("no peer")?;
            let mut figures =
                one(dir, work, peer, &backend, seconds).map_err(|error| format!("{}: {error}", kind.name()))?;
            if work == Work::Latency {
                figures.iter_mut().zip(direct).for_each(|(figure, direct)| *figure -= direct);
            }
            let shown: Vec<String> =
                metrics.iter().zip(&figures).map(|(m, figure)| format!("{} {figure:.2} {}", m.what, m.unit)).collect();
            println!("{:<11} round {round}  {:<9} {}", work.name(), kind.name(), shown.join(", "));
            for (result, figure) in results.iter_mut().zip(figures) {
                result.values.get_mut(at).ok_or("no column")?.1.push(figure);
            }
        }
    }
    Ok(results)
}

/// One run against one proxy: the figures, in the order of the work's metrics.
fn one(dir: &Path, work: Work, peer: &Peer, backend: &Backend, seconds: u64) -> Done<Vec<f64>> {
    if work.grpc() {
        grpc::check(peer.port, if work == Work::Grpc { grpc::CALL } else { grpc::STREAM })?;
    }
    if work == Work::Idle {
        return idle(peer);
    }
    let before = (peer.process.cpu_us()?, backend.counts()?);
    let own = load(dir, work, peer.port, seconds, HANDSHAKES)?;
    let after = (peer.process.cpu_us()?, backend.counts()?);
    let [stable, canary] = [after.1.stable - before.1.stable, after.1.canary - before.1.canary];
    let (asked, events) = (stable + canary, after.1.events - before.1.events);
    let share = canary / asked;
    // Four and a half deviations of fair dice, or what a sticky split of 5,000 users may be off.
    let width = (4.5 * (0.09 / asked).sqrt()).max(0.02);
    if !((0.1 - width)..(0.1 + width)).contains(&share) {
        return Err(format!("the canary got {share:.3} of {asked} requests, not 0.1").into());
    }
    let cpu = after.0 - before.0;
    Ok(match work {
        Work::Latency => own,
        Work::Events => vec![cpu / events, own.get(1).copied().unwrap_or(f64::NAN)],
        Work::GrpcStream => vec![cpu / events],
        _ => vec![cpu / asked],
    })
}

/// Callers do this work for so long, with so many new connections a second where it is about those: what the callers themselves saw.
pub(super) fn load(dir: &Path, work: Work, port: u16, seconds: u64, handshakes: u64) -> Done<Vec<f64>> {
    match work {
        Work::Small => wrk(dir, &format!("http://127.0.0.1:{port}{PATH}"), 32, 0, seconds),
        Work::Tls => wrk(dir, &format!("https://127.0.0.1:{port}{PATH}"), 32, 0, seconds),
        Work::Mib => wrk(dir, &format!("http://127.0.0.1:{port}{PATH}"), 8, 1 << 20, seconds),
        Work::Events => numbers(&output(helper(&["streams", &port.to_string(), &seconds.to_string()])?)?),
        Work::Latency => latency(port, seconds).map(Vec::from),
        Work::Idle => Err("what does nothing makes no load".into()),
        Work::Handshake => shake(dir, port, handshakes * seconds, handshakes),
        Work::H2 => h2load(dir, port, PATH, &["-c8", "-m32"], seconds),
        Work::Grpc => h2load(dir, port, grpc::CALL, &["-c8", "-m32"], seconds),
        Work::GrpcStream => h2load(dir, port, grpc::STREAM, &["-c8", "-m12"], seconds),
    }
}

fn numbers(text: &str) -> Done<Vec<f64>> {
    Ok(text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?)
}

/// What callers at a fixed rate waited, p50 and p99 in microseconds.
fn latency(port: u16, seconds: u64) -> Done<[f64; 2]> {
    let text = output(helper(&["latency", &port.to_string(), &seconds.to_string()])?)?;
    numbers(&text)?.try_into().map_err(|_| format!("latency said {text:?}").into())
}

/// Memory at rest in MiB, and KiB for each of many idle connections.
fn idle(peer: &Peer) -> Done<Vec<f64>> {
    let rest = peer.process.memory_kib()?;
    let mut child = helper(&["idle", &peer.port.to_string(), &IDLE_CONNECTIONS.to_string()])?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    // Idle is who has been for a while.
    std::thread::sleep(SETTLE);
    let held = peer.process.memory_kib()?;
    drop(child.stdin.take());
    child.wait()?;
    if line != "open\n" {
        return Err("not all connections could be opened".into());
    }
    Ok(vec![rest / 1024.0, (held - rest) / f64::from(IDLE_CONNECTIONS)])
}

fn wrk(dir: &Path, url: &str, connections: u32, bytes: u32, seconds: u64) -> Done<Vec<f64>> {
    let script = dir.join("post.lua");
    fs::write(&script, include_str!("post.lua"))?;
    let mut command = pinned(LOAD_CORE, "wrk");
    command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"]).arg(&script).arg(url);
    let text = output({
        command.args(["--", &bytes.to_string()]);
        command
    })?;
    let line = text.lines().find_map(|line| line.strip_prefix("counts ")).ok_or_else(|| format!("wrk: {text}"))?;
    let counts = numbers(line)?;
    match counts[..] {
        [requests, 0.0] if requests > 0.0 => Ok(counts),
        _ => Err(format!("wrk saw failures: {text}").into()),
    }
}

fn h2load(dir: &Path, port: u16, path: &str, shape: &[&str], seconds: u64) -> Done<Vec<f64>> {
    let body = dir.join("message");
    fs::write(&body, grpc::message(200))?;
    let mut command = pinned(LOAD_CORE, "h2load");
    command.args(shape).args(["-t1", "-w20", "-W24", "-D", &seconds.to_string(), "-d"]).arg(body);
    command.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    command.arg(format!("http://127.0.0.1:{port}{path}"));
    all_good(command)
}

fn shake(dir: &Path, port: u16, count: u64, a_second: u64) -> Done<Vec<f64>> {
    let body = dir.join("message");
    fs::write(&body, "{}")?;
    let count = count.to_string();
    let mut command = pinned(LOAD_CORE, "h2load");
    command.args(["--h1", "-t1", "-c", &count, "-n", &count, "-r", &a_second.to_string(), "-d"]).arg(body);
    command.arg(format!("https://127.0.0.1:{port}{PATH}"));
    all_good(command)
}

/// Runs h2load; every answer must be a 200. In timed runs what is in flight at the end counts as nothing.
fn all_good(command: Command) -> Done<Vec<f64>> {
    let text = output(command)?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("status codes: ")).ok_or_else(|| format!("h2load: {text}"))?;
    let codes: Vec<f64> = line.split(", ").filter_map(|part| part.split(' ').next()?.parse().ok()).collect();
    match codes[..] {
        [good, 0.0, 0.0, 0.0] if good > 0.0 => Ok(codes),
        _ => Err(format!("h2load saw failures: {text}").into()),
    }
}
