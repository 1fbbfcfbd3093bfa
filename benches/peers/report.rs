//! The table and the page: medians, ratios paired by round, and what was aimed at.

use super::{
    proxies::Kind,
    run::Result,
    work::{Metric, Target},
};
use std::{fmt::Write as _, fs, process::Command};

/// A Markdown table of everything that was seen.
pub(super) fn table(seconds: u64, rounds: u64, results: &[Result]) -> String {
    let mut text = format!(
        "Medians of {rounds} rounds of {seconds} s; in brackets the ratio to nginx of the same round.\n\n| work |"
    );
    for kind in Kind::ALL {
        let _ = write!(text, " {} |", kind.name());
    }
    text += " targets for Coalmine |\n|---|---|---|---|---|---|---|\n";
    for result in results {
        let Metric { what, unit, targets } = result.metric;
        let _ = write!(text, "| {what}, {unit} |");
        for kind in Kind::ALL {
            let cell = result.values(kind).map(|values| {
                let ratio = result.ratio(kind, &[Kind::Nginx]).filter(|_| kind != Kind::Nginx);
                format!(
                    "{:.2}{}",
                    median(values.to_vec()),
                    ratio.map(|ratio| format!(" ({ratio:.2})")).unwrap_or_default()
                )
            });
            let _ = write!(text, " {} |", cell.unwrap_or_else(|| "-".to_owned()));
        }
        let aims: Vec<String> = targets.iter().map(|target| aim(result, target)).collect();
        let _ = writeln!(text, " {} |", if aims.is_empty() { "-".to_owned() } else { aims.join("; ") });
    }
    text
}

/// What was aimed at, what was seen, and whether that will do.
fn aim(result: &Result, target: &Target) -> String {
    let (words, seen, limit) = match target {
        Target::Ratio(to, limit) => (to.name().to_owned(), result.ratio(Kind::Coalmine, &[*to]), *limit),
        Target::RatioToBest(to, limit) => {
            (format!("best of {}", to.map(Kind::name).join(", ")), result.ratio(Kind::Coalmine, to), *limit)
        }
        Target::Absolute(limit) => {
            ("itself".to_owned(), result.values(Kind::Coalmine).map(|v| median(v.to_vec())), *limit)
        }
    };
    match seen {
        Some(seen) => format!("{words} {seen:.2} of {limit:.2}{}", if seen <= limit { "" } else { " **missed**" }),
        None => format!("{words} {limit:.2}"),
    }
}

impl Result {
    fn values(&self, kind: Kind) -> Option<&[f64]> {
        self.values.iter().find(|(k, values)| *k == kind && !values.is_empty()).map(|(_, values)| values.as_slice())
    }

    /// Median over the rounds of what `kind` took against the best of `to` in the same round.
    fn ratio(&self, kind: Kind, to: &[Kind]) -> Option<f64> {
        let ours = self.values(kind)?;
        let theirs: Vec<&[f64]> = to.iter().filter_map(|kind| self.values(*kind)).collect();
        if theirs.len() < to.len() {
            return None;
        }
        let best =
            |round: usize| theirs.iter().filter_map(|values| values.get(round)).copied().fold(f64::INFINITY, f64::min);
        Some(median(ours.iter().enumerate().map(|(round, ours)| ours / best(round)).collect()))
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// `benches/RESULTS.md`.
pub(super) fn page(table: &str) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown")
        .trim_start_matches(['\t', ':', ' ']);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo").lines().next().unwrap_or_default().replace("MemTotal:", "").trim().to_owned();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let congestion = read("/proc/sys/net/ipv4/tcp_congestion_control").trim().to_owned();
    let versions: Vec<String> = [
        ("nginx", "nginx", "-v"),
        ("HAProxy", "haproxy", "-v"),
        ("Envoy", "target/real/envoy/envoy", "--version"),
        ("wrk", "wrk", "-v"),
        ("h2load", "h2load", "--version"),
    ]
    .iter()
    .map(|(name, program, flag)| format!("{name}: {}", version(program, flag)))
    .collect();
    format!(
        "# Coalmine beside its peers\n\nWritten by `make bench-peers`; `make bench-peers BENCH_SECONDS=10 BENCH_ROUNDS=9 WORK='small mib'` for more of less. \
         One kind of work by hand:\n`cargo bench --bench peers -- all 4 5 small`.\n\n\
         - Machine: {cores} cores, {model}, {memory}, Linux {kernel}, {congestion}.\n- {}\n- Pingora: 0.9.1, the minimal split in `peers/pingora`.\n\n\
         Every proxy has one thread on core 0; load and backends are on core 1. Same job, same 90/10 split, connections kept on both\n\
         sides; Coalmine with split, sticky key, tallies, tickets and metrics on. CPU is user and system time of the process\n\
         (`/proc/PID/task/*/schedstat`). The canary's share was checked in every run, gRPC trailers before each.\n\
         Absolute figures drift with the machine by tens of per cent; the ratios are what counts.\n\n{table}",
        versions.join("\n- ")
    )
}

/// The first line with a digit in it that a program says about itself; nginx says it on standard error.
fn version(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "not there".to_owned() };
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    text.lines().map(str::trim).find(|line| line.contains(|c: char| c.is_ascii_digit())).unwrap_or("unknown").to_owned()
}
