//! What the terminal shows while it runs: events one after the other, and under them the two models side by side.

use super::traffic::Seen;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use std::time::Instant;

/// Without a terminal the live lines are written so often, seconds.
const LINE_EVERY_S: u64 = 5;

/// The live view.
#[derive(Debug)]
pub(super) struct View {
    began: Instant,
    bars: MultiProgress,
    weight: ProgressBar,
    models: ProgressBar,
    judge: ProgressBar,
    lines: u64,
}

impl View {
    pub(super) fn new() -> Self {
        let bars = MultiProgress::new();
        let style =
            |template: &str| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let weight = bars.add(ProgressBar::new(10_000).with_style(style("  canary  [{bar:40.cyan/dim}] {msg}")));
        let models = bars.add(ProgressBar::new_spinner().with_style(style("  models  {msg}")));
        let judge = bars.add(ProgressBar::new_spinner().with_style(style("  judge   {msg}")));
        Self { began: Instant::now(), bars, weight, models, judge, lines: 0 }
    }

    /// Something happened.
    pub(super) fn say(&self, text: &str) {
        let line = format!("{:6.1} s  {text}", self.began.elapsed().as_secs_f64());
        if self.bars.is_hidden() {
            println!("{line}");
        } else {
            // A terminal that is gone has nobody to tell.
            let _ = self.bars.println(line);
        }
    }

    /// How it stands: the route as the admin listener shows it, and what callers saw of the two.
    pub(super) fn show(&mut self, route: &Value, stable: (&str, Seen), candidate: (&str, Seen)) {
        let effective = variant(route, candidate.0)
            .map_or("0", |v| v.pointer("/weight/effective").and_then(Value::as_str).unwrap_or("0"));
        let state = route.pointer("/release/state").and_then(Value::as_str).unwrap_or("-");
        let basis_points = effective.parse::<f64>().unwrap_or(0.0) * 100.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=10,000")]
        self.weight.set_position(basis_points as u64);
        let weight = format!("{effective} %, {state}");
        let models = format!("{}, {}", one(stable), one(candidate));
        let number = |key: &str| route.pointer(&format!("/judgement/{key}")).and_then(Value::as_f64).unwrap_or(0.0);
        let word = |key: &str| route.pointer(&format!("/judgement/{key}")).and_then(Value::as_str).unwrap_or("");
        let judge = format!(
            "{} {}, evidence against the canary {:.1} of {:.1}{}",
            word("verdict"),
            word("reason"),
            number("log_e_rollback"),
            number("log_e_rollback_at"),
            lacking(route)
        );
        self.weight.set_message(weight.clone());
        self.models.set_message(models.clone());
        self.judge.set_message(judge.clone());
        let due = self.began.elapsed().as_secs() / LINE_EVERY_S;
        if self.bars.is_hidden() && due > self.lines {
            self.lines = due;
            self.say(&format!("canary {weight}; {models}; {judge}"));
        }
    }

    /// Takes the live lines away.
    pub(super) fn end(&self) {
        self.weight.finish_and_clear();
        self.models.finish_and_clear();
        self.judge.finish_and_clear();
    }
}

/// What a pass still lacks.
fn lacking(route: &Value) -> String {
    let signals = route.pointer("/judgement/signals").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |signal: &Value| {
        let number = |key: &str| signal.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        let (is, need) = (number("log_e_promote"), number("log_e_promote_at"));
        let name = signal.get("signal").and_then(Value::as_str).unwrap_or("");
        (is < need).then(|| format!(" {name} {is:.1} of {need:.1}"))
    };
    let lacking: Vec<String> = signals.iter().filter_map(text).collect();
    if lacking.is_empty() { String::new() } else { format!("; to pass:{}", lacking.join(",")) }
}

fn one((name, seen): (&str, Seen)) -> String {
    format!(
        "{name}: {} answers, {} right, {} failed",
        seen.answers,
        percent(seen.answers - seen.wrong, seen.answers),
        seen.failed
    )
}

/// A share for people.
#[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

fn variant<'a>(route: &'a Value, name: &str) -> Option<&'a Value> {
    route.get("variants")?.as_array()?.iter().find(|v| v.get("name").and_then(Value::as_str) == Some(name))
}
