//! `coalmine replay`: the judge on recorded requests, one JSON line a file.

mod read;
mod rows;
mod show;

use crate::{
    config,
    core::{
        clamp::Clamps,
        judge::Policy,
        replay::{Setup, replay},
        route::Route,
        snapshot::Snapshot,
    },
};
use anyhow::{Context as _, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

/// Judges recorded requests as they would have been judged live, and prints one JSON line a file.
///
/// A file is CSV with a header, or NDJSON (named `.ndjson` or `.jsonl`). Columns are found by name: `t_ms`, `variant` (`stable` or
/// `canary`), `latency_ms`, `ok` (0 or 1), `correct` (0, 1 or a score between; empty: never labelled), `label_t_ms` (empty: known at once), and
/// optionally `split` (the configured canary per cent at that moment). Others are left alone.
///
/// Exit codes: 0 every file was judged, whatever the verdict; 1 a file has problems; 2 a file cannot be read, or the arguments are wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Replay {
    /// Recorded requests.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The canary's configured share, in per cent, where the recording has no `split`. Without either the split is not checked.
    #[arg(long, value_name = "PER_CENT", value_parser = per_cent)]
    split: Option<f64>,
    /// How often the judge looks.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = every)]
    every: Duration,
    /// Chance of ever rolling back a healthy canary.
    #[arg(long, value_name = "SHARE")]
    alpha: Option<String>,
    /// Rollback: errors may rise by this much above stable's [default: 0.05%].
    #[arg(long, value_name = "SHARE")]
    may_rise: Option<String>,
    /// Rollback: latency may rise by this much [default: 4.4%].
    #[arg(long, value_name = "SHARE")]
    tolerate: Option<String>,
    /// Promotion: accuracy may be lower by this much [default: 2%].
    #[arg(long, value_name = "SHARE")]
    may_drop: Option<String>,
    /// Leave latency out for so long after the first request [default: 0s, or as the route says].
    #[arg(long, value_name = "TIME")]
    warmup: Option<String>,
    /// Any other key of a route's `judge` section, such as `errors.pass_ratio=1.5` or `accuracy=off`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Take margins and split from a routes file.
    #[arg(long, value_name = "FILE")]
    routes: Option<PathBuf>,
    /// Which of its routes, if there are several.
    #[arg(long, value_name = "NAME", requires = "routes")]
    route: Option<String>,
}

/// What is wrong with a file.
enum Trouble {
    Unreadable(String),
    Problems(Vec<String>),
}

fn per_cent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(share) if share > 0.0 && share < 100.0 => Ok(share / 100.0),
        _ => Err("write a number of per cent between 0 and 100, such as 10".to_owned()),
    }
}

fn every(text: &str) -> Result<Duration, String> {
    config::duration(text).and_then(
        |every| {
            if every.is_zero() { Err("write a time such as 2s".to_owned()) } else { Ok(every) }
        },
    )
}

impl Replay {
    pub(super) fn run(self) -> ExitCode {
        let setup = match self.setup() {
            Ok(setup) => setup,
            Err(error) => {
                eprintln!("coalmine replay: {error:#}");
                return ExitCode::from(2);
            }
        };
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |meta| meta.len());
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {eta}");
            ProgressBar::new(self.files.iter().map(size).sum())
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        let code = self.side_by_side(&setup, &bar);
        bar.finish_and_clear();
        ExitCode::from(code)
    }

    /// Judges the files on as many threads as there are cores; tells in the order in which they were named.
    fn side_by_side(&self, setup: &Setup, bar: &ProgressBar) -> u8 {
        let next = AtomicUsize::new(0);
        let threads = thread::available_parallelism().map_or(1, usize::from).min(self.files.len());
        let (done, results) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..threads {
                let (next, done) = (&next, done.clone());
                scope.spawn(move || {
                    while let Some((position, path)) = self.file(next) {
                        // Nobody listens any more once the reader of our output has gone.
                        if done.send((position, judge(path, setup, bar))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(done);
            self.tell(&results, bar)
        })
    }

    fn file(&self, next: &AtomicUsize) -> Option<(usize, &PathBuf)> {
        let position = next.fetch_add(1, Ordering::Relaxed);
        Some((position, self.files.get(position)?))
    }

    fn tell(&self, results: &mpsc::Receiver<(usize, Result<String, Trouble>)>, bar: &ProgressBar) -> u8 {
        let mut waiting = std::collections::BTreeMap::new();
        let (mut told, mut code) = (0, 0);
        for (position, result) in results {
            waiting.insert(position, result);
            while let Some(result) = waiting.remove(&told) {
                let name = self.files.get(told).map_or_else(String::new, |path| path.display().to_string());
                told += 1;
                let (line, bad) = match result {
                    Ok(line) => (line, 0),
                    Err(trouble) => (String::new(), say(&name, trouble, bar)),
                };
                code = code.max(bad);
                // The reader of our output may have had enough.
                if !line.is_empty() && bar.suspend(|| writeln!(std::io::stdout(), "{line}")).is_err() {
                    return code;
                }
            }
        }
        code
    }

    fn setup(&self) -> anyhow::Result<Setup> {
        let (base, share) = match &self.routes {
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                let read = config::read(&text, &Clamps::default());
                let (snapshot, _) = read.map_err(|problems| {
                    let lines: Vec<String> = problems.iter().map(|p| p.one_line(&path.display().to_string())).collect();
                    anyhow!("{}", lines.join("\n"))
                })?;
                let route = self.pick(&snapshot, path)?;
                (route.policy.clone(), share(route))
            }
            // A recording may begin anywhere in the life of its pods: only the first requests are a warm-up.
            None => (Policy { warmup_ms: 0, ..Policy::default() }, None),
        };
        let pairs: Vec<(&str, &str)> = self
            .set
            .iter()
            .map(|pair| {
                pair.split_once('=').ok_or_else(|| anyhow!("--set {pair}: write KEY=VALUE, such as alpha=0.01"))
            })
            .collect::<anyhow::Result<_>>()?;
        let flags = [
            ("alpha", &self.alpha),
            ("errors.may_rise", &self.may_rise),
            ("latency.tolerate", &self.tolerate),
            ("accuracy.may_drop", &self.may_drop),
            ("warmup", &self.warmup),
        ];
        let flags = flags.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?)));
        let said: Vec<(&str, &str)> = flags.chain(pairs).collect();
        let policy = config::judge(&said, &base).map_err(|problems| {
            let line = |p: &config::Problem| {
                let help = if p.help.is_empty() { String::new() } else { format!("; {}", p.help) };
                format!("margins: {}: {}{help}", p.path, p.what)
            };
            anyhow!("{}", problems.iter().map(line).collect::<Vec<_>>().join("\n"))
        })?;
        Ok(Setup { policy, interval_ms: self.every.as_secs_f64() * 1000.0, share: self.split.or(share) })
    }

    fn pick<'a>(&self, snapshot: &'a Snapshot, path: &Path) -> anyhow::Result<&'a Route> {
        let mut routes = snapshot.routes.iter();
        let names = || snapshot.routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>().join(", ");
        match (&self.route, routes.next(), routes.next()) {
            (Some(name), ..) => snapshot
                .routes
                .named(name)
                .map(|(_, route)| &**route)
                .ok_or_else(|| anyhow!("{} has no route {name}: its routes are {}", path.display(), names())),
            (None, Some(route), None) => Ok(route),
            _ => bail!("{} has several routes: pick one with --route, of {}", path.display(), names()),
        }
    }
}

/// The canary's share of the draws in the file, if a release is under way in it.
fn share(route: &Route) -> Option<f64> {
    let view = route.release.as_ref()?;
    let weight = |position| route.variant(position).map_or(0.0, |variant| variant.said.fraction());
    let (canary, stable) = (weight(view.candidate), weight(view.reference));
    (canary > 0.0 && stable > 0.0).then(|| canary / (canary + stable))
}

fn judge(path: &Path, setup: &Setup, bar: &ProgressBar) -> Result<String, Trouble> {
    let labels = setup.policy.accuracy.is_some();
    let mut events = read::events(path, labels, bar)?;
    Ok(show::line(&name(path), &replay(&mut events, setup)))
}

/// The file's name without its ending.
fn name(path: &Path) -> String {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let cut = [".csv", ".ndjson", ".jsonl"].iter().find_map(|ending| name.strip_suffix(ending));
    cut.map_or(name.clone(), str::to_owned)
}

/// Tells what is wrong; the exit code that goes with it.
fn say(file: &str, trouble: Trouble, bar: &ProgressBar) -> u8 {
    bar.suspend(|| match trouble {
        Trouble::Unreadable(what) => {
            eprintln!("coalmine replay: {file}: {what}");
            2
        }
        Trouble::Problems(problems) => {
            problems.iter().for_each(|problem| eprintln!("coalmine replay: {file}:{problem}"));
            1
        }
    })
}
