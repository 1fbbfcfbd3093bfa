//! Builds the woven crate; what does not compile with a mutant in it is left out, until it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Error},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{mutant::Mutant, weave};

/// The test program, and the mutants that are not in it.
pub struct Built {
    pub program: PathBuf,
    pub left_out: BTreeSet<usize>,
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    spans: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    file_name: PathBuf,
    line_start: usize,
    is_primary: bool,
    expansion: Option<Expansion>,
}

#[derive(Deserialize)]
struct Expansion {
    span: Box<Place>,
}

impl Place {
    /// Where it was written: what a macro made of it does not count.
    fn written(&self) -> &Self {
        self.expansion.as_ref().map_or(self, |expansion| expansion.span.written())
    }
}

/// Weaves the sources of `from` into `to`, a copy of the crate, and builds its tests there; `left_out` is known not to compile.
///
/// # Errors
/// Files that cannot be read or written, or a compiler that complains of what is no mutant.
pub fn build(from: &Path, to: &Path, mutants: &[Mutant], mut left_out: BTreeSet<usize>) -> io::Result<Built> {
    let mut by_file: BTreeMap<&str, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in mutants.iter().enumerate() {
        by_file.entry(&mutant.file).or_default().push((number, mutant));
    }
    let mut woven = BTreeMap::new();
    loop {
        for (file, mutants) in &by_file {
            let mutants: Vec<_> = mutants.iter().filter(|(number, _)| !left_out.contains(number)).copied().collect();
            let text = weave::weave(&fs::read_to_string(from.join(file))?, &mutants).map_err(Error::other)?;
            if woven.get(*file) != Some(&text) {
                fs::write(to.join(file), &text)?;
                woven.insert(*file, text);
            }
        }
        let complaints = cargo(to, &["check", "--lib", "--profile", "test"])?;
        let errors =
            complaints.iter().filter_map(|line| line.message.as_ref()).filter(|message| message.level == "error");
        let errors: Vec<&Message> = errors.collect();
        let before = left_out.len();
        let places =
            errors.iter().flat_map(|message| &message.spans).filter(|place| place.is_primary).map(Place::written);
        for place in places {
            if let Some(text) = woven.get(&*place.file_name.to_string_lossy()) {
                left_out.extend(culprits(text, place.line_start));
            }
        }
        match (errors.len(), left_out.len() - before) {
            (0, _) => break,
            (errors, 0) => {
                return Err(Error::other(format!(
                    "{errors} errors that no mutant explains: cargo check in {}",
                    to.display()
                )));
            }
            (errors, more) => eprintln!("{errors} errors: {more} mutants left out"),
        }
    }
    // Those for which there was no place are not in it either.
    let woven: BTreeSet<usize> = woven.values().flat_map(|text| text.lines().filter_map(weave::marked)).collect();
    left_out.extend((0..mutants.len()).filter(|number| !woven.contains(number)));
    let built = cargo(to, &["test", "--lib", "--no-run"])?;
    let program = built
        .into_iter()
        .filter_map(|line| line.executable)
        .next_back()
        .ok_or_else(|| Error::other("no test program"))?;
    Ok(Built { program, left_out })
}

/// The mutant that this line belongs to, or the next ones on both sides.
fn culprits(text: &str, line: usize) -> Vec<usize> {
    const EACH_SIDE: usize = 3;
    let lines: Vec<&str> = text.lines().collect();
    let above = lines[..line].iter().rev().filter_map(|line| weave::marked(line));
    let below = lines[line..].iter().filter_map(|line| weave::marked(line));
    match weave::marked(lines[line - 1]) {
        Some(number) => vec![number],
        None => above.take(EACH_SIDE).chain(below.take(EACH_SIDE)).collect(),
    }
}

fn cargo(dir: &Path, args: &[&str]) -> io::Result<Vec<Line>> {
    let out = Command::new("cargo")
        .args(args)
        .arg("--message-format=json")
        .current_dir(dir)
        .stderr(Stdio::null())
        .env("RUSTFLAGS", "-A warnings")
        .output()?;
    let lines = out.stdout.split(|byte| *byte == b'\n');
    Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
