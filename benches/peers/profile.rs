//! Where the time of one kind of work goes: user instructions by crate and module (callgrind), and the shares of kernel and user time
//! with the system calls of a request (perf), of Coalmine or of a peer.
//!
//! Callgrind's figures are repeatable; perf samples a clock, as virtual machines have no hardware counters. Lines of the standard
//! library count as those of the function that they were inlined into.

use super::{
    Done,
    process::{Process, free_ports, output},
    proxies::{self, Kind, Site},
    run::{Backend, load},
    work::Work,
};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
};

/// New connections a second under callgrind, which is some fifty times slower.
const SLOW_HANDSHAKES: u64 = 15;
const HANDSHAKES: u64 = 400;
/// Rows of a table.
const ROWS: usize = 24;
/// What the profiled system calls are called; others are hardly ever used per request.
const CALLS: [&str; 11] = [
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "write",
    "writev",
    "sendto",
    "sendmsg",
    "epoll_wait",
    "epoll_ctl",
    "splice",
];
const WARM_UP_S: u64 = 1;

/// A proxy that does a kind of work, and who stands behind it.
struct Subject<'a> {
    dir: &'a Path,
    work: Work,
    backend: Backend,
    process: Process,
    port: u16,
}

impl<'a> Subject<'a> {
    fn start(dir: &'a Path, work: Work, kind: Kind, under: &[String]) -> Done<Self> {
        let backend = Backend::start()?;
        let [port, admin] = free_ports()?;
        let site = Site { dir, work, port, admin, stable: backend.stable, canary: backend.canary, under };
        let process = proxies::start(kind, &site)?;
        Ok(Self { dir, work, backend, process, port })
    }

    /// Does the work; how many requests that were.
    fn load(&self, seconds: u64, handshakes: u64) -> Done<f64> {
        let asked = |counts: super::run::Counts| counts.stable + counts.canary;
        let before = asked(self.backend.counts()?);
        load(self.dir, self.work, self.port, seconds, handshakes)?;
        Ok(asked(self.backend.counts()?) - before)
    }
}

/// Prints both profiles.
pub(super) fn profile(dir: &Path, work: Work, kind: Kind, seconds: u64) -> Done<()> {
    if work.tls() {
        proxies::certificate(dir)?;
    }
    println!("{}, {}", kind.name(), work.name());
    sampled(dir, work, kind, seconds)?;
    if kind == Kind::Coalmine { counted(dir, work, seconds) } else { Ok(()) }
}

/// By perf: what the system does for it, and who of the process takes the rest.
fn sampled(dir: &Path, work: Work, kind: Kind, seconds: u64) -> Done<()> {
    let subject = Subject::start(dir, work, kind, &[])?;
    subject.load(WARM_UP_S, HANDSHAKES)?;
    let ids = subject.process.family().join(",");
    let data = dir.join("perf.data");
    let mut perf = Command::new("perf");
    let mut perf = perf.args(["record", "-q", "-F", "2000", "-e", "cpu-clock", "-p", &ids, "-o"]).arg(&data).spawn()?;
    let before = subject.process.cpu_us()?;
    let asked = subject.load(seconds, HANDSHAKES)?;
    let cpu = (subject.process.cpu_us()? - before) / asked;
    Command::new("kill").args(["-INT", &perf.id().to_string()]).status()?;
    perf.wait()?;
    let report = |sort: &str| {
        let mut perf = Command::new("perf");
        perf.args(["report", "--stdio", "-q", "--sort", sort, "-i"]).arg(&data);
        output(perf)
    };
    println!("\nperf, {asked:.0} requests, {cpu:.2} us each; shares of the time by object, then by function:");
    for line in
        report("dso")?.lines().chain(report("dso,sym")?.lines()).filter(|line| !line.trim().is_empty()).take(ROWS + 6)
    {
        println!("  {}", line.trim());
    }
    let counts = dir.join("perf.stat");
    let events = CALLS.map(|call| format!("syscalls:sys_enter_{call}")).join(",");
    let mut perf = Command::new("perf");
    let mut perf = perf.args(["stat", "-x", ",", "-e", &events, "-p", &ids, "-o"]).arg(&counts).spawn()?;
    let asked = subject.load(seconds, HANDSHAKES)?;
    Command::new("kill").args(["-INT", &perf.id().to_string()]).status()?;
    perf.wait()?;
    println!("\nsystem calls a request:");
    for line in fs::read_to_string(&counts)?.lines() {
        let mut fields = line.split(',');
        let (count, name) = (fields.next().and_then(|count| count.parse::<f64>().ok()), fields.nth(1));
        if let (Some(count @ 1.0..), Some(name)) = (count, name) {
            println!("  {:8.2}  {}", count / asked, name.trim_start_matches("syscalls:sys_enter_"));
        }
    }
    Ok(())
}

/// By callgrind: user instructions, by whose lines they are.
fn counted(dir: &Path, work: Work, seconds: u64) -> Done<()> {
    let out = dir.join("callgrind.out");
    let valgrind = ["valgrind", "--tool=callgrind", "--quiet", "--instr-atstart=no"].map(str::to_owned);
    let under = [valgrind.as_slice(), &[format!("--callgrind-out-file={}", out.display())]].concat();
    let subject = Subject::start(dir, work, Kind::Coalmine, &under)?;
    subject.load(seconds, SLOW_HANDSHAKES)?;
    let control = |word: &str| -> Done<()> {
        let mut command = Command::new("callgrind_control");
        command.args(["-i", word, &subject.process.id()]);
        output(command).map(drop)
    };
    control("on")?;
    let asked = subject.load(seconds, SLOW_HANDSHAKES)?;
    control("off")?;
    drop(subject);
    let costs = Costs::read(&fs::read_to_string(&out)?);
    let all: f64 = costs.crates.values().sum();
    println!(
        "\ncallgrind, {asked:.0} requests, {:.0} user instructions each; by crate, by module of ours, by function:",
        all / asked
    );
    for table in [&costs.crates, &costs.modules, &costs.functions] {
        let mut rows: Vec<(&String, &f64)> = table.iter().collect();
        rows.sort_by(|a, b| b.1.total_cmp(a.1));
        println!();
        for (name, cost) in rows.into_iter().take(ROWS) {
            println!("  {:8.0}  {:5.1} %  {name}", cost / asked, cost / all * 100.0);
        }
    }
    Ok(())
}

/// Self cost, by whose lines it is.
#[derive(Default)]
struct Costs {
    crates: BTreeMap<String, f64>,
    modules: BTreeMap<String, f64>,
    functions: BTreeMap<String, f64>,
}

impl Costs {
    /// Of what callgrind wrote (its manual, "Callgrind Format Specification"). Names stand there once, numbers after that.
    fn read(text: &str) -> Self {
        let (mut costs, mut names) = (Self::default(), HashMap::<(&str, &str), &str>::new());
        let (mut object, mut home, mut file, mut function, mut call) = ("", "", "", "", false);
        for line in text.lines() {
            if let Some((key, value)) = line.split_once('=').filter(|(key, _)| key.len() < 6 && !key.starts_with('*')) {
                let kind = if key.ends_with("fn") {
                    "fn"
                } else if key.ends_with("ob") {
                    "ob"
                } else {
                    "fl"
                };
                let (number, said) = value.split_once(' ').unwrap_or((value, ""));
                let name = if said.is_empty() {
                    names.get(&(kind, number)).copied().unwrap_or(value)
                } else {
                    names.insert((kind, number), said);
                    said
                };
                match key {
                    "ob" => object = name,
                    "fl" => (home, file) = (name, name),
                    "fi" | "fe" => file = name,
                    "fn" => function = name,
                    "calls" => call = true,
                    _ => {}
                }
            } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
                // The line after a call is what the callee took.
                if std::mem::take(&mut call) {
                    continue;
                }
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<f64>().ok()).unwrap_or(0.0);
                costs.add(object, [home, file], function, cost);
            }
        }
        costs
    }

    fn add(&mut self, object: &str, [home, file]: [&str; 2], function: &str, cost: f64) {
        let owner = owner(file).or_else(|| owner(home));
        let name = match owner {
            Some((name, module)) => {
                if name == "coalmine" {
                    *self.modules.entry(module.to_owned()).or_default() += cost;
                }
                name.to_owned()
            }
            None if file.contains("library/") || file.contains("/rustc/") => "std".to_owned(),
            None => object.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        *self.crates.entry(name.clone()).or_default() += cost;
        *self.functions.entry(format!("{name}: {}", function.chars().take(110).collect::<String>())).or_default() +=
            cost;
    }
}

/// The crate that a file belongs to, without its version, and which file of it; nobody for the standard library's.
fn owner(file: &str) -> Option<(&str, &str)> {
    if let Some((_, path)) = file.split_once("/registry/src/") {
        let (package, rest) = path.split_once('/')?.1.split_once('/')?;
        let name = package.rsplit_once('-').map_or(package, |(name, _)| name);
        return Some((name, rest));
    }
    let ours = file.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/")).unwrap_or(file);
    ours.strip_prefix("src/").map(|module| ("coalmine", module))
}
