//! `coalmine demo`: the main job on an embedded default.

use crate::demo::{Act, Options, run};
use std::{path::PathBuf, process::ExitCode};

/// What to show.
#[derive(clap::Args, Debug)]
pub(super) struct Demo {
    /// Play only one release: a sound candidate, one with train/serve skew, a slow one, or one that fails on some images.
    #[arg(long, value_enum)]
    act: Option<Which>,
    /// Which rows are held out, in which order callers send them, and when labels come.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests a second.
    #[arg(long, default_value_t = 1500, value_parser = clap::value_parser!(u32).range(100..=20_000))]
    rate: u32,
    /// Keep the repository, the mounted files and the state in this directory (it must be empty or new).
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Go on serving after the last act, until ctrl-c.
    #[arg(long)]
    serve: bool,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Which {
    Good,
    Bad,
    Slow,
    Broken,
}

impl Demo {
    /// Exit codes: 0 as told, 1 if a release ended as it should not, 2 if the story could not be told.
    pub(super) fn run(self) -> ExitCode {
        let act = self.act.map(|which| match which {
            Which::Good => Act::Good,
            Which::Bad => Act::Bad,
            Which::Slow => Act::Slow,
            Which::Broken => Act::Broken,
        });
        let options = Options { act, seed: self.seed, rate: self.rate, home: self.home, serve: self.serve };
        match run(&options) {
            Ok(summary) => {
                println!("{summary}");
                ExitCode::from(u8::from(!summary.as_told()))
            }
            Err(error) => {
                eprintln!("coalmine demo: {error:#}");
                ExitCode::from(2)
            }
        }
    }
}
