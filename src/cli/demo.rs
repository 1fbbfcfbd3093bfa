//! `coalmine demo`: the main job, on data and models that come with the program.

use crate::demo::{self, Act, Options};
use std::{path::PathBuf, process::ExitCode};

/// Exit codes: 0 every candidate ended as it should, 1 one did not, 2 it could not be played.
#[derive(clap::Args, Debug)]
pub(super) struct Demo {
    /// Only this act; otherwise a good candidate and then a bad one.
    #[arg(long, value_enum)]
    act: Option<ActName>,
    /// Seed of the callers' dice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests a second.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(50..=5000))]
    rate: u32,
    /// Keep the repository and the state in this directory, which must not be in use; otherwise they are temporary.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Go on serving after the last act, until Ctrl-C.
    #[arg(long)]
    serve: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum ActName {
    /// A better model: promoted.
    Good,
    /// A model with a training bug: caught by its accuracy.
    Bad,
    /// A slow model.
    Slow,
    /// A model that fails one request in twenty.
    Broken,
}

impl Demo {
    pub(super) fn run(self) -> ExitCode {
        let acts = match self.act {
            None => vec![Act::Good, Act::Bad],
            Some(ActName::Good) => vec![Act::Good],
            Some(ActName::Bad) => vec![Act::Bad],
            Some(ActName::Slow) => vec![Act::Slow],
            Some(ActName::Broken) => vec![Act::Broken],
        };
        let temporary = std::env::temp_dir().join(format!("coalmine-demo-{}", std::process::id()));
        let home = self.home.clone().unwrap_or_else(|| temporary.clone());
        let options = Options { acts, seed: self.seed, rate: self.rate, home, serve: self.serve };
        let played = demo::run(&options);
        if self.home.is_none() {
            let _ = std::fs::remove_dir_all(&temporary);
        }
        match played {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => {
                eprintln!("coalmine: a candidate did not end as it should");
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("coalmine: {error:#}");
                ExitCode::from(2)
            }
        }
    }
}
