//! `coalmine plan`, and the page that shows what it says.

use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const PAGE: &str = "docs/how-long.md";

fn plan(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coalmine")).arg("plan").args(arguments).output().unwrap()
}

#[track_caller]
fn told(arguments: &[&str]) -> Value {
    let output = plan(&[arguments, &["--output", "json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Seconds of half of the releases, for the first row of this kind.
fn half(told: &Value, signal: &str, question: &str, unit: &str) -> f64 {
    let rows = told["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| [&row["signal"], &row["question"], &row["unit"]] == [signal, question, unit]);
    row.unwrap_or_else(|| panic!("no {signal} {question} {unit}"))["seconds"]["half"].as_f64().unwrap()
}

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap()
}

/// The arguments of the page's commands.
fn commands(page: &str) -> Vec<Vec<&str>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("coalmine plan "));
    lines.map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn the_page_shows_what_the_command_says() {
    let page = page();
    let output = plan(&commands(&page)[0]);
    let said = String::from_utf8(output.stdout).unwrap();
    let block = format!("```text\n{said}```\n");
    assert!(page.contains(&block), "{PAGE} is not current; the command says\n{said}");
}

#[test]
fn the_plot_is_what_its_command_writes() {
    let page = page();
    let arguments = &commands(&page)[1];
    let (file, others) = arguments.split_last().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let written = dir.path().join("plot.svg");
    let output = plan(&[others, &[written.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    assert!(
        fs::read(&written).unwrap() == fs::read(&kept).unwrap_or_default(),
        "{file} is not current: run `coalmine plan {}`",
        arguments.join(" ")
    );
}

#[test]
fn a_larger_share_is_quicker_and_a_shadow_passes_accuracy_sooner() {
    let [small, large] = ["5", "50"].map(|split| told(&["--split", split, "--shadow", split]));
    for (signal, unit) in [("errors", "requests"), ("accuracy", "labels"), ("latency", "requests")] {
        let [at_5, at_50] = [&small, &large].map(|told| half(told, signal, "seen", unit));
        assert!(at_50 < at_5, "{signal}: {at_50} s at 50 %, {at_5} s at 5 %");
    }
    assert!(half(&small, "accuracy", "passed", "pairs") < 0.7 * half(&small, "accuracy", "passed", "labels"));
    let all = small["passed_seconds"]["labels"]["half"].as_f64().unwrap();
    assert!(all >= half(&small, "errors", "passed", "requests").max(half(&small, "accuracy", "passed", "labels")));
}

#[test]
fn it_takes_the_margins_of_a_route_and_single_ones() {
    let default = told(&[]);
    let wide = told(&["--may-drop", "4%"]);
    assert!(half(&wide, "accuracy", "passed", "labels") < 0.5 * half(&default, "accuracy", "passed", "labels"));
    let without = told(&["--set", "accuracy=off"]);
    assert!(without["rows"].as_array().unwrap().iter().all(|row| row["signal"] != "accuracy"));
    let of_route = told(&["--routes", "config/example.yaml", "--route", "digits"]);
    assert_eq!(of_route["service"]["share"], 0.1, "the split that the file says");
    let bad = plan(&["--rate", "0"]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn without_labels_accuracy_never_passes() {
    let none = told(&["--label-rate", "0"]);
    let rows = none["rows"].as_array().unwrap();
    let accuracy = rows.iter().find(|row| row["signal"] == "accuracy" && row["question"] == "passed").unwrap();
    assert!(accuracy["seconds"]["half"].is_null() && accuracy["needs"]["half"].as_f64().unwrap() > 100.0);
    assert!(none["passed_seconds"]["labels"]["half"].is_null());
}
