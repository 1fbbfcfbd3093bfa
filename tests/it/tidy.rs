//! The floor plan, as a test: arrows between top-level modules only point down.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Who may import whom. A module absent from its own row's list is forbidden to it.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("config", &["core"]),
    ("io", &["core"]),
    ("proxy", &["core", "io"]),
    ("control", &["core", "config", "io"]),
    ("admin", &["core", "io"]),
    ("app", &["core", "config", "io", "proxy", "control", "admin"]),
    ("demo", &["core", "app"]),
    ("cli", &["core", "config", "io", "admin", "app", "demo"]),
];

/// Words that may not appear in non-test code of a module: its purity, spelled out.
const MAY_NOT_SAY: &[(&str, &[&str])] = &[
    (
        "core",
        &[
            "tokio",
            "hyper",
            "serde",
            "prometheus",
            "tracing",
            "rand::",
            "async fn",
            "std::fs",
            "std::net",
            "std::env",
            "Instant",
            "SystemTime",
            "Mutex",
            "Atomic",
        ],
    ),
    ("io", &["rand::"]),
    ("config", &["tokio", "hyper", "std::fs", "async fn"]),
    ("proxy", &["serde_yaml"]),
    ("control", &["hyper", "rand::"]),
    ("admin", &["serde_yaml", "rand::"]),
];

/// The one exception: the counting cells have one writer, many readers and relaxed atomics. A reason stands in the file.
const MAY_SAY: &[(&str, &str)] = &[("src/core/tally.rs", "Atomic")];

const LINES_MAX: usize = 400;

#[test]
fn arrows_point_down_and_files_stay_small() {
    let mut problems = Vec::new();
    for path in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        problems.extend(check(&path, code));
        if text.lines().count() > LINES_MAX {
            problems.push(format!("{}: over {LINES_MAX} lines", path.display()));
        }
        if !text.starts_with("//!") {
            problems.push(format!("{}: no module doc", path.display()));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_forbidden_arrow_is_caught() {
    let path = Path::new("src/core/route.rs");
    assert_eq!(check(path, "use crate::io::clock;").len(), 1);
    assert_eq!(check(path, "let x = crate::proxy::serve();").len(), 1);
    assert_eq!(check(path, "use crate::{core::split, control::judge_loop};").len(), 1);
    assert_eq!(check(path, "use tokio::time;").len(), 1);
    assert_eq!(check(path, "use crate::core::split;").len(), 0);
    assert_eq!(check(Path::new("src/proxy/serve.rs"), "use crate::control::X;").len(), 1);
}

fn check(path: &Path, code: &str) -> Vec<String> {
    let here = top_module(path);
    let code: String =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
    let mut problems = Vec::new();
    if let Some((_, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == here) {
        for there in crate_paths(&code) {
            if there != here && !allowed.contains(&there.as_str()) {
                problems.push(format!("{}: `{here}` may not import `{there}`", path.display()));
            }
        }
    }
    if let Some((_, words)) = MAY_NOT_SAY.iter().find(|(module, _)| *module == here) {
        let excused = |word: &str| MAY_SAY.iter().any(|(file, w)| path == Path::new(file) && *w == word);
        for word in words.iter().filter(|word| code.contains(**word) && !excused(word)) {
            problems.push(format!("{}: `{here}` may not say `{word}`", path.display()));
        }
    }
    problems
}

/// First segments after every `crate::`, including inside one brace group.
fn crate_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for tail in code.split("crate::").skip(1) {
        let group = tail.strip_prefix('{').map(|t| t.split(';').next().unwrap_or(t));
        let mut depth = 0;
        let mut word = String::new();
        let mut at_start = true;
        for c in group.unwrap_or(tail).chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if c.is_alphanumeric() || c == '_' => {
                    if at_start {
                        word.push(c);
                    }
                    continue;
                }
                _ => {}
            }
            if !word.is_empty() {
                found.push(std::mem::take(&mut word));
                at_start = c == ',' && depth == 0;
                if group.is_none() {
                    break;
                }
            }
        }
        if !word.is_empty() {
            found.push(word);
        }
    }
    found
}

fn top_module(path: &Path) -> String {
    let relative = path.strip_prefix("src").unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}
