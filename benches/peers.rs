//! Coalmine beside its peers: the same job, the same 90/10 split, the proxy on core 0, load and backends on core 1, rounds in turn.
//!
//! - `cargo bench --bench peers -- SECONDS ROUNDS`: CPU per small request beside nginx (`make bench`).
//! - `cargo bench --bench peers -- all SECONDS ROUNDS [WORK...]`: every peer, every kind of work or those named; the table, and with
//!   `write` among the words also `benches/RESULTS.md` (`make bench-peers`).
//! - `cargo bench --bench peers -- profile WORK [PEER] SECONDS`: where the time of one kind of work goes (`make profile WORK=h2`).
//!
//! On-CPU time is the process's own, in nanoseconds, from `/proc/PID/task/*/schedstat`, and every figure is paired with the one of
//! the same round. The canary's share is checked in every run, by the backends' own counts: it proves that the right server answered.
//! Words `backend`, `latency`, `streams`, `idle` make this binary one of its own helpers, in a process (and on a core) of its own.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench starts processes and prints a table")]

#[path = "peers/backend.rs"]
mod backend;
#[path = "peers/callers.rs"]
mod callers;
#[path = "peers/configs.rs"]
mod configs;
#[path = "peers/envoy.rs"]
mod envoy;
#[path = "peers/grpc.rs"]
mod grpc;
#[path = "peers/process.rs"]
mod process;
#[path = "peers/profile.rs"]
mod profile;
#[path = "peers/proxies.rs"]
mod proxies;
#[path = "peers/report.rs"]
mod report;
#[path = "peers/run.rs"]
mod run;
#[path = "peers/work.rs"]
mod work;

use proxies::Kind;
use std::{env, fs, path::Path};
use work::Work;

type Done<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much to do.
struct Plan {
    seconds: u64,
    rounds: u64,
    kinds: Vec<Kind>,
    works: Vec<Work>,
    write: bool,
}

fn main() -> Done<()> {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize, or: u64| numbers.get(at).copied().unwrap_or(or);
    let port = || u16::try_from(number(0, 0));
    match words.first().map(String::as_str) {
        Some("backend") => backend::serve(),
        Some("latency") => callers::latency(port()?, number(1, 4)),
        Some("streams") => callers::streams(port()?, number(1, 4)),
        Some("idle") => callers::idle(port()?, number(1, 10_000)),
        Some("profile") => profile(&words, number(0, 4)),
        Some("all") => compare(&Plan {
            seconds: number(0, 4),
            rounds: number(1, 5),
            kinds: Kind::ALL.to_vec(),
            works: named(&words)?,
            write: words.iter().any(|word| word == "write"),
        }),
        _ => compare(&Plan {
            seconds: number(0, 4),
            rounds: number(1, 5),
            kinds: vec![Kind::Nginx, Kind::Coalmine],
            works: vec![Work::Small],
            write: false,
        }),
    }
}

/// The kinds of work among the words; all if none is named.
fn named(words: &[String]) -> Done<Vec<Work>> {
    let names = words.iter().skip(1).filter(|word| word.parse::<u64>().is_err() && *word != "write");
    let works: Vec<Work> = names
        .map(|word| {
            let known = || Work::ALL.map(Work::name).join(", ");
            Work::ALL
                .into_iter()
                .find(|work| work.name() == word)
                .ok_or_else(|| format!("`{word}` is none of {}", known()))
        })
        .collect::<Result<_, _>>()?;
    Ok(if works.is_empty() { Work::ALL.to_vec() } else { works })
}

/// The first kind of work among the words, by the peer that is named, or by Coalmine.
fn profile(words: &[String], seconds: u64) -> Done<()> {
    let peer = |word: &String| Kind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(word));
    let kind = words.iter().find_map(peer).unwrap_or(Kind::Coalmine);
    let rest: Vec<String> = words.iter().filter(|word| peer(word).is_none()).cloned().collect();
    let work = *named(&rest)?.first().ok_or("no kind of work")?;
    in_a_folder(|dir| profile::profile(dir, work, kind, seconds))
}

/// Does something with a folder of its own, which is gone afterwards.
fn in_a_folder<T>(work: impl FnOnce(&Path) -> Done<T>) -> Done<T> {
    let dir = env::temp_dir().join(format!("coalmine-peers-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let done = work(&dir);
    let _ = fs::remove_dir_all(&dir);
    done
}

fn compare(plan: &Plan) -> Done<()> {
    let results = in_a_folder(|dir| results(plan, dir))?;
    let table = report::table(plan.seconds, plan.rounds, &results);
    println!("\n{table}");
    if plan.write {
        fs::write("benches/RESULTS.md", report::page(&table))?;
    }
    Ok(())
}

fn results(plan: &Plan, dir: &Path) -> Done<Vec<run::Result>> {
    let mut results = Vec::new();
    for work in &plan.works {
        let kinds: Vec<Kind> = plan.kinds.iter().copied().filter(|kind| kind.takes_part(*work)).collect();
        let result = run::work(dir, *work, &kinds, plan.seconds, plan.rounds);
        results.extend(result.map_err(|error| format!("{}: {error}", work.name()))?);
    }
    Ok(results)
}
