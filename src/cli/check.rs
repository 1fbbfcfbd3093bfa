//! `coalmine check`: compiles routes files and shows every problem with its place.

use crate::{
    config::{self, Problem},
    core::clamp::Clamps,
};
use serde::Serialize;
use std::{fs, io::IsTerminal as _, path::PathBuf, process::ExitCode};

/// Bytes that are read at most of a file.
const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Which files, and how to tell.
#[derive(clap::Args, Debug)]
pub(super) struct Check {
    /// Routes files: plain, or ConfigMap manifests with `routes.yaml` under `data`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to tell.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Serialize)]
struct Report {
    file: String,
    ok: bool,
    routes: usize,
    problems: Vec<Entry>,
    warnings: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    path: String,
    line: usize,
    column: usize,
    what: String,
    help: String,
}

struct Checked {
    file: String,
    text: String,
    result: Result<(usize, Vec<Problem>), Vec<Problem>>,
}

impl Check {
    /// Exit codes: 0 all good, 1 a file has problems, 2 a file cannot be read.
    pub(super) fn run(self) -> ExitCode {
        let mut unreadable = false;
        let mut checked = Vec::new();
        for path in &self.files {
            match check(path) {
                Ok(one) => checked.push(one),
                Err(error) => {
                    eprintln!("coalmine check: {}: {error}", path.display());
                    unreadable = true;
                }
            }
        }
        match self.output {
            Output::Text => checked.iter().for_each(Checked::tell),
            Output::Json => tell_json(&checked),
        }
        let bad = checked.iter().any(|one| one.result.is_err());
        ExitCode::from(if unreadable { 2 } else { u8::from(bad) })
    }
}

fn check(path: &PathBuf) -> std::io::Result<Checked> {
    let size = fs::metadata(path)?.len();
    if size > READ_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "{size} bytes are more than {READ_BYTES_MAX}; is this the right file?"
        )));
    }
    let text = String::from_utf8(fs::read(path)?).map_err(|_| std::io::Error::other("this is not UTF-8 text"))?;
    let read = config::read(&text, &Clamps::default());
    let result = read.map(|(snapshot, warnings)| (snapshot.routes.len(), warnings));
    Ok(Checked { file: path.display().to_string(), text, result })
}

impl Checked {
    fn tell(&self) {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let (problems, what) = match &self.result {
            Ok((routes, warnings)) => (warnings, format!("{}: good, {routes} route(s)", self.file)),
            Err(problems) => (problems, format!("{}: {} problem(s)", self.file, problems.len())),
        };
        for problem in problems {
            println!("{}\n", problem.render(&self.file, &self.text, colour));
        }
        println!("{what}");
    }
}

fn tell_json(checked: &[Checked]) {
    let entries = |list: &[Problem]| -> Vec<Entry> {
        let entry = |p: &Problem| Entry {
            path: p.path.clone(),
            line: p.line,
            column: p.column,
            what: p.what.clone(),
            help: p.help.clone(),
        };
        list.iter().map(entry).collect()
    };
    let report = |one: &Checked| match &one.result {
        Ok((routes, warnings)) => Report {
            file: one.file.clone(),
            ok: true,
            routes: *routes,
            problems: Vec::new(),
            warnings: entries(warnings),
        },
        Err(problems) => {
            Report { file: one.file.clone(), ok: false, routes: 0, problems: entries(problems), warnings: Vec::new() }
        }
    };
    let reports: Vec<Report> = checked.iter().map(report).collect();
    println!("{}", serde_json::to_string_pretty(&reports).unwrap_or_default());
}
