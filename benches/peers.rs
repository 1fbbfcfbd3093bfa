//! CPU per request beside nginx: the same 90/10 split of small JSON posts, one proxy thread pinned to one core, rounds in turn.
//!
//! `make bench`, or `cargo bench --bench peers -- SECONDS ROUNDS`. On-CPU time is the process's own, from `/proc`; the canary's
//! share is checked in every round, which proves that the right server answered.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench starts processes and prints a table")]

use std::{
    env, fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

type Done<T> = Result<T, Box<dyn std::error::Error>>;

/// Connections that ask at the same time.
const CONNECTIONS: &str = "32";
/// Clock ticks a second, as `/proc/PID/stat` counts on Linux.
const TICKS: f64 = 100.0;
const START_LIMIT: Duration = Duration::from_secs(20);

/// A process that ends with this value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master ends its workers when it is asked to, not when it is killed.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A proxy under measurement.
struct Peer {
    name: &'static str,
    process: Process,
    port: u16,
    /// Microseconds of CPU per request, a value a round.
    rounds: Vec<f64>,
}

/// What a round of load saw.
struct Load {
    requests: f64,
    canary: f64,
}

fn main() -> Done<()> {
    let numbers: Vec<u64> = env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let seconds = numbers.first().copied().unwrap_or(4);
    let rounds = numbers.get(1).copied().unwrap_or(5);
    for program in ["nginx", "wrk", "taskset"] {
        let there = Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        there.map_err(|_| format!("{program} is missing; `make bench` installs it"))?;
    }
    let dir = env::temp_dir().join(format!("coalmine-peers-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let result = run(&dir, seconds, rounds);
    let _ = fs::remove_dir_all(&dir);
    result
}

fn run(dir: &Path, seconds: u64, rounds: u64) -> Done<()> {
    let [stable, canary, through_nginx, through_us, admin] = free_ports()?;
    let _backend = nginx(dir, "backend", &backend(stable, canary), "1", stable)?;
    let proxy = nginx(dir, "proxy", &proxy(through_nginx, stable, canary), "0", through_nginx)?;
    let ours = coalmine(dir, through_us, admin, stable, canary)?;
    let mut peers = [
        Peer { name: "nginx", process: proxy, port: through_nginx, rounds: Vec::new() },
        Peer { name: "coalmine", process: ours, port: through_us, rounds: Vec::new() },
    ];
    for peer in &peers {
        load(dir, peer.port, 1)?;
    }
    for round in 1..=rounds {
        for peer in &mut peers {
            let before = cpu_s(peer.process.0.id())?;
            let seen = load(dir, peer.port, seconds)?;
            let spent = cpu_s(peer.process.0.id())? - before;
            let share = seen.canary / seen.requests;
            if !(0.08..0.12).contains(&share) {
                return Err(format!("{}: the canary got {share:.3} of the requests, not 0.1", peer.name).into());
            }
            peer.rounds.push(spent * 1e6 / seen.requests);
            println!(
                "round {round}  {:<9} {:>8.0} requests, canary {share:.4}, {:.2} us",
                peer.name,
                seen.requests,
                spent * 1e6 / seen.requests
            );
        }
    }
    let [nginx, ours] = peers.map(|peer| peer.rounds);
    let ratio: Vec<f64> = ours.iter().zip(&nginx).map(|(ours, nginx)| ours / nginx).collect();
    let [nginx, ours, ratio] = [nginx, ours, ratio].map(median);
    println!("\nCPU per request, median of {rounds} rounds of {seconds} s");
    println!("  nginx     {nginx:>6.2} us   1.00");
    println!("  coalmine  {ours:>6.2} us   {ratio:.2}");
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn free_ports() -> Done<[u16; 5]> {
    let sockets: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = sockets.iter().map(|s| Ok(s.local_addr()?.port())).collect::<std::io::Result<_>>()?;
    ports.try_into().map_err(|_| "no free ports".into())
}

/// On-CPU seconds of a process and its children.
fn cpu_s(pid: u32) -> Done<f64> {
    let own = |pid: u32| -> Done<f64> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).ok_or("odd /proc/PID/stat");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    };
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let mut sum = own(pid)?;
    for child in children.split_whitespace() {
        sum += own(child.parse()?)?;
    }
    Ok(sum)
}

fn started(mut child: Child, port: u16) -> Done<Process> {
    let until = Instant::now() + START_LIMIT;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("a server ended at its start: {status}").into());
        }
        if Instant::now() > until {
            let _ = child.kill();
            return Err("a server does not listen".into());
        }
        std::thread::yield_now();
    }
    Ok(Process(child))
}

fn nginx(dir: &Path, name: &str, http: &str, core: &str, port: u16) -> Done<Process> {
    let home = dir.join(name);
    fs::create_dir_all(&home)?;
    let text = format!(
        "daemon off; worker_processes 1; pid {0}/pid; error_log stderr warn;\nevents {{ worker_connections 1024; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {0}/b; proxy_temp_path {0}/p; \
         fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n{http}\n}}\n",
        home.display()
    );
    fs::write(home.join("conf"), text)?;
    let child = Command::new("taskset")
        .args(["-c", core, "nginx", "-e", "stderr", "-p"])
        .arg(&home)
        .arg("-c")
        .arg(home.join("conf"))
        .spawn()?;
    started(child, port)
}

fn backend(stable: u16, canary: u16) -> String {
    let padding = "x".repeat(200);
    let one = |port: u16, model: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} reuseport; location / {{ default_type application/json; add_header x-model {model}; \
             return 200 '{{\"model_name\":\"digits\",\"id\":\"{padding}\",\"outputs\":[{{\"name\":\"p\",\"shape\":[1],\"datatype\":\"INT64\",\"data\":[7]}}]}}'; }} }}"
        )
    };
    one(stable, "stable") + "\n" + &one(canary, "canary")
}

fn proxy(port: u16, stable: u16, canary: u16) -> String {
    format!(
        "upstream stable {{ server 127.0.0.1:{stable}; keepalive 64; keepalive_requests 1000000000; }}\n\
         upstream canary {{ server 127.0.0.1:{canary}; keepalive 64; keepalive_requests 1000000000; }}\n\
         split_clients $request_id $model {{ 10% canary; * stable; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://$model; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}"
    )
}

fn coalmine(dir: &Path, port: u16, admin: u16, stable: u16, canary: u16) -> Done<Process> {
    let (routes, settings) = (dir.join("routes.yaml"), dir.join("settings.yaml"));
    fs::write(
        &routes,
        format!(
            "apiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n  - name: digits\n    match: {{ path: /v2/models/digits }}\n    \
             protocol: v2\n    variants:\n      - {{ name: v1, role: stable, weight: 90, url: 'http://127.0.0.1:{stable}' }}\n      \
             - {{ name: v2, role: canary, weight: 10, url: 'http://127.0.0.1:{canary}' }}\n"
        ),
    )?;
    fs::write(
        &settings,
        format!("threads: 1\nlisten: 127.0.0.1:{port}\nadmin: 127.0.0.1:{admin}\nlog: {{ level: error }}\n"),
    )?;
    let program = PathBuf::from(env!("CARGO_BIN_EXE_coalmine"));
    let mut ours = Command::new("taskset");
    ours.args(["-c", "0"]).arg(program).arg("serve").arg("--routes").arg(routes).arg("--settings").arg(settings);
    let process = started(ours.spawn()?, port)?;
    let until = Instant::now() + START_LIMIT;
    while !ready(admin) {
        if Instant::now() > until {
            return Err("coalmine does not become ready".into());
        }
        std::thread::yield_now();
    }
    Ok(process)
}

fn ready(admin: u16) -> bool {
    use std::io::{Read as _, Write as _};
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", admin))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn load(dir: &Path, port: u16, seconds: u64) -> Done<Load> {
    let script = dir.join("post.lua");
    fs::write(&script, include_str!("peers/post.lua"))?;
    let output = Command::new("taskset")
        .args(["-c", "1", "wrk", "-t1", "-c", CONNECTIONS, "-d"])
        .arg(format!("{seconds}s"))
        .arg("-s")
        .arg(&script)
        .arg(format!("http://127.0.0.1:{port}/v2/models/digits/infer"))
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("counts ")).ok_or_else(|| format!("wrk: {text}"))?;
    let counts: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    match counts.as_slice() {
        [requests, canary, bad] if *bad == 0.0 && *requests > 0.0 => Ok(Load { requests: *requests, canary: *canary }),
        _ => Err(format!("wrk: {text}").into()),
    }
}
