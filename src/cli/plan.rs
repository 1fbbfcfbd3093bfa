//! `coalmine plan`: before a release, how long it takes to see which effect, and to pass a canary like stable.

mod plot;

use super::{
    check::Output,
    margins::{self, Margins},
    words,
};
use crate::{
    config,
    core::{
        forecast::plan::{Question, Row, Service, Unit, passed, plan},
        judge::{Policy, Signal},
    },
};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::{fs, io::Write as _, path::PathBuf, process::ExitCode};

/// Shares of the releases that are decided by the times shown.
const CHANCES: [f64; 2] = [0.5, 0.9];

/// Tells how long the judge will need: for effects of one, two and five times what promotion would just not let pass until the
/// canary is rolled back, and for a canary like stable until it passes. Half of the releases take longer than the first time,
/// one in ten longer than the second.
///
/// A labelled pair is a request that a shadow answered too: its label judges both answers, which takes about half as many.
#[derive(clap::Args, Debug)]
pub(super) struct Plan {
    /// The canary's share of the requests, in per cent [default: 10, or as the routes file says].
    #[arg(long, value_name = "PER_CENT", value_parser = margins::per_cent)]
    split: Option<f64>,
    /// Requests a second, of both variants.
    #[arg(long, value_name = "NUMBER", default_value = "50", value_parser = positive)]
    rate: f64,
    /// Share of the requests that get a label sooner or later.
    #[arg(long, value_name = "SHARE", default_value = "0.2", value_parser = config::fraction)]
    label_rate: f64,
    /// Share of the requests that a shadow answers too, in per cent [default: as the canary's].
    #[arg(long, value_name = "PER_CENT", value_parser = margins::per_cent)]
    shadow: Option<f64>,
    /// Stable's error rate.
    #[arg(long, value_name = "SHARE", default_value = "0.1%", value_parser = config::fraction)]
    errors: f64,
    /// Stable's accuracy.
    #[arg(long, value_name = "SHARE", default_value = "95%", value_parser = config::fraction)]
    accuracy: f64,
    /// Share of the requests that only one of two equal variants gets wrong [default: half of those that are wrong].
    #[arg(long, value_name = "SHARE", value_parser = config::fraction)]
    disagree: Option<f64>,
    /// Stable's p99 over its median latency.
    #[arg(long, value_name = "FACTOR", default_value = "3", value_parser = positive)]
    spread: f64,
    /// Write a plot of time against effect, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// How to tell.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    margins: Margins,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("write a number above 0".to_owned()),
    }
}

impl Plan {
    /// Exit codes: 0 told, 2 wrong arguments or a file that cannot be read or written.
    pub(super) fn run(self) -> ExitCode {
        match self.tell() {
            Ok(text) => {
                // The reader of our output may have had enough.
                let _ = writeln!(std::io::stdout(), "{text}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("coalmine plan: {error:#}");
                ExitCode::from(2)
            }
        }
    }

    fn tell(&self) -> anyhow::Result<String> {
        let (policy, share) = self.margins.read(Policy::default())?;
        let share = self.split.or(share).unwrap_or(0.1);
        let service = Service {
            share,
            rate: self.rate,
            labelled: self.label_rate,
            shadowed: self.shadow.unwrap_or(share),
            errors: self.errors,
            accuracy: self.accuracy,
            disagree: self.disagree.unwrap_or((1.0 - self.accuracy) / 2.0),
            spread: self.spread,
        };
        if let Some(path) = &self.plot {
            fs::write(path, plot::svg(&policy, &service))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        let rows = plan(&policy, &service);
        Ok(match self.output {
            Output::Text => table(&service, &rows),
            Output::Json => json(&service, &rows).to_string(),
        })
    }
}

fn json(service: &Service, rows: &[Row]) -> Value {
    let both = |of: &dyn Fn(f64) -> Option<f64>| {
        let [half, most] = CHANCES.map(of);
        json!({ "half": half, "nine_in_ten": most })
    };
    let row = |row: &Row| {
        let value = match row.question {
            Question::Seen(value) => Some(value),
            Question::Passed => None,
        };
        json!({
            "signal": row.signal.as_str(),
            "question": if value.is_some() { "seen" } else { "passed" },
            "canary": value,
            "unit": row.unit.as_str(),
            "needs": both(&|chance| row.needs(chance)),
            "seconds": both(&|chance| row.seconds(chance)),
        })
    };
    let all = |unit: Unit| both(&|chance| passed(rows, unit, chance));
    json!({
        "service": {
            "share": service.share, "rate": service.rate, "labelled": service.labelled, "shadowed": service.shadowed,
            "errors": service.errors, "accuracy": service.accuracy, "disagree": service.disagree, "spread": service.spread,
        },
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "passed_seconds": { "labels": all(Unit::Labels), "pairs": all(Unit::Pairs) },
    })
}

fn table(service: &Service, rows: &[Row]) -> String {
    let Service { share, rate, labelled, shadowed, .. } = *service;
    let a_second = |number: f64| format!("{} a second", words::short(number));
    let mut lines = vec![
        format!(
            "canary   {} of {} requests a second: {}, {} labelled",
            words::per_cent(share),
            words::short(rate),
            a_second(rate * share),
            words::short(rate * share * labelled)
        ),
        format!(
            "shadow   {} of the requests: {} in pairs, labelled",
            words::per_cent(shadowed),
            a_second(rate * shadowed * labelled)
        ),
        format!(
            "stable   errors {}, accuracy {}, p99 {} times the median; only one of two equal variants is wrong in {}",
            words::per_cent(service.errors),
            words::per_cent(service.accuracy),
            words::short(service.spread),
            words::per_cent(service.disagree)
        ),
        String::new(),
        format!("{:<38}{:>17}{:>14}{:>22}{:>14}", "", "half of them need", "that is", "nine in ten need", "that is"),
    ];
    let cells = |of: [(Option<f64>, Option<f64>); 2], unit: &str| {
        let [half, most] = of.map(|(needs, seconds)| {
            let needs = needs.map_or("never".to_owned(), |n| format!("{} {unit}", words::count(n)));
            (needs, seconds.map_or("-".to_owned(), words::span))
        });
        format!("{:>17}{:>14}{:>22}{:>14}", half.0, half.1, most.0, most.1)
    };
    let mut last = None;
    for row in rows {
        let passes = row.question == Question::Passed;
        if last != Some(passes) {
            lines.push(if passes { "passed, if it is like stable" } else { "rolled back, if it shows" }.to_owned());
            last = Some(passes);
        }
        let of = CHANCES.map(|chance| (row.needs(chance), row.seconds(chance)));
        lines.push(format!("  {:<36}{}", what(service, row), cells(of, row.unit.as_str())));
    }
    for (unit, text) in [(Unit::Labels, "all of it, by labels"), (Unit::Pairs, "all of it, by pairs")] {
        let asked = rows.iter().any(|row| row.question == Question::Passed && row.unit == unit);
        if asked {
            let [half, most] = CHANCES.map(|chance| passed(rows, unit, chance).map_or("-".to_owned(), words::span));
            lines.push(format!("  {text:<36}{half:>31}{most:>36}"));
        }
    }
    lines.extend(sooner(rows));
    lines.join("\n")
}

/// A row's question in words.
fn what(service: &Service, row: &Row) -> String {
    let by = if row.unit == Unit::Pairs { " (pairs)" } else { "" };
    let from_to = |from: f64, to: f64| format!("{} -> {}", words::per_cent(from), words::per_cent(to));
    let value = match (row.question, row.signal) {
        (Question::Passed, _) => String::new(),
        (Question::Seen(value), Signal::Errors) => from_to(service.errors, value),
        (Question::Seen(value), Signal::Accuracy) => from_to(service.accuracy, value),
        (Question::Seen(value), Signal::Latency | Signal::Disagreement | Signal::Guardrail) => {
            format!("{} slower", words::per_cent(value - 1.0))
        }
    };
    format!("{:<10}{value}{by}", row.signal.as_str())
}

/// What a shadow saves, of accuracy.
fn sooner(rows: &[Row]) -> Option<String> {
    let seconds = |unit: Unit| {
        let row = rows
            .iter()
            .find(|row| row.question == Question::Passed && row.signal == Signal::Accuracy && row.unit == unit);
        row.and_then(|row| row.seconds(0.5))
    };
    let (labels, pairs) = (seconds(Unit::Labels)?, seconds(Unit::Pairs)?);
    let times = |more: f64, less: f64| words::short((more / less * 10.0).round() / 10.0);
    Some(if pairs < labels {
        format!(
            "\nA shadow would tell {} times as soon that accuracy is good, and serve nobody a bad answer.",
            times(labels, pairs)
        )
    } else {
        format!("\nWith so small a shadow pairs take {} times as long as labels.", times(pairs, labels))
    })
}
