//! Mutants of a crate that cargo-mutants lists, all in one build: `woven CRATE SCRATCH LIST [SKIP...]`.
//!
//! A build for each mutant takes hours. Here each stands behind a switch that the test program reads from its environment, so that a mutant
//! costs the run of the tests that come by it. What cannot be written so (SCRATCH/left-out.txt, by cargo-mutants' names) is cargo-mutants' own work.

mod build;
mod mutant;
mod run;
mod weave;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    path::Path,
};

use mutant::Mutant;
use run::Fate;

fn main() -> io::Result<()> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [from, scratch, list, skip @ ..] = &args[..] else {
        return Err(io::Error::other("usage: woven CRATE SCRATCH LIST [SKIP...]"));
    };
    let mutants: Vec<Mutant> = serde_json::from_slice(&fs::read(list)?)?;
    let scratch = Path::new(scratch);
    // What did not compile the last time is not tried again: without the file everything is.
    let known = fs::read_to_string(scratch.join("left-out.txt")).unwrap_or_default();
    let known: BTreeSet<&str> = known.lines().collect();
    let known = (0..mutants.len()).filter(|number| known.contains(&*mutants[*number].name)).collect();
    let built = build::build(Path::new(from), &scratch.join("crate"), &mutants, known)?;
    let left_out = built.left_out.iter().map(|number| format!("{}\n", mutants[*number].name));
    fs::write(scratch.join("left-out.txt"), left_out.collect::<String>())?;
    let woven: Vec<usize> = (0..mutants.len()).filter(|number| !built.left_out.contains(number)).collect();
    eprintln!("{} mutants woven, {} left out", woven.len(), built.left_out.len());
    let told = |number: usize, fate: Fate| {
        if matches!(fate, Fate::Missed | Fate::Unseen) {
            eprintln!("{fate:?}: {}", mutants[number].name);
        }
    };
    let fates = run::run(&built.program, scratch, &woven, skip, told)?;
    let mut files: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (number, fate) in &fates {
        files.entry(&mutants[*number].file).or_default()[*fate as usize] += 1;
    }
    let names = |fate: Fate| {
        let of = fates.iter().filter(|(_, of)| **of == fate).map(|(number, _)| format!("{}\n", mutants[*number].name));
        of.collect::<String>()
    };
    for (fate, file) in
        [(Fate::Caught, "caught"), (Fate::Timeout, "timeout"), (Fate::Missed, "missed"), (Fate::Unseen, "unseen")]
    {
        fs::write(scratch.join(file).with_extension("txt"), names(fate))?;
    }
    println!("{:50} {:>7} {:>7} {:>7} {:>7}", "file", "caught", "timeout", "missed", "unseen");
    for (file, [caught, timeout, missed, unseen]) in &files {
        println!("{file:50} {caught:>7} {timeout:>7} {missed:>7} {unseen:>7}");
    }
    Ok(())
}
