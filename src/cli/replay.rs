//! `coalmine replay`: the judge on recorded requests, one JSON line a file.

mod read;
mod rows;
mod show;

use super::margins::{self, Margins};
use crate::{
    config,
    core::{
        judge::{Mode, Policy},
        replay::{Setup, chosen, replay},
    },
};
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
/// optionally `split` (the configured canary per cent at that moment), `endpoint` (which one answered: with several of each variant an
/// endpoint during a window is one observation), `user` (on a route where users keep their variant: a user's first failure is one
/// observation; needs the split) and `first_token_ms` (of a streamed answer: judged instead of its latency). Others are left alone.
/// Guardrails of a routes file are not asked.
///
/// Exit codes: 0 every file was judged, whatever the verdict; 1 a file has problems; 2 a file cannot be read, or the arguments are wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Replay {
    /// Recorded requests.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The canary's configured share, in per cent, where the recording has no `split`. Without either the split is not checked.
    #[arg(long, value_name = "PER_CENT", value_parser = margins::per_cent)]
    split: Option<f64>,
    /// How often the judge looks.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = every)]
    every: Duration,
    #[command(flatten)]
    margins: Margins,
}

/// What is wrong with a file.
enum Trouble {
    Unreadable(String),
    Problems(Vec<String>),
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
        // A recording may begin anywhere in the life of its pods: only the first requests are a warm-up.
        let (policy, share) = self.margins.read(Policy { warmup_ms: 0, ..Policy::default() })?;
        Ok(Setup { policy, interval_ms: self.every.as_secs_f64() * 1000.0, share: self.split.or(share) })
    }
}

fn judge(path: &Path, setup: &Setup, bar: &ProgressBar) -> Result<String, Trouble> {
    let labels = setup.policy.accuracy.is_some();
    let mut events = read::events(path, labels, bar)?;
    let unknown = setup.share.is_none() && events.iter().all(|event| event.share.is_none());
    if unknown && chosen(&events, setup.policy.mode).mode == Mode::Users {
        let what = "1: user: whom a first failure befalls is drawn with the configured split; add the column `split`, or --split";
        return Err(Trouble::Problems(vec![what.to_owned()]));
    }
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
