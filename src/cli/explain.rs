//! `coalmine explain ROUTE`: why the judge says what it says, from the API's own record.

use super::{forecast, paint::Paint, people::There, words};
use http::Method;
use serde_json::Value;
use std::process::ExitCode;

/// Tells why the judge says what it says of a route: each signal with both values, the difference with an interval that holds
/// however often one looks, margin, samples, and the evidence for and against the canary beside their bounds (as odds: at 250 to 1
/// of 250 to 1 it is rolled back); the tests it comes from, the guards, and what would change the verdict.
#[derive(clap::Args, Debug)]
pub(super) struct Explain {
    /// The route.
    route: String,
    #[command(flatten)]
    there: There,
}

impl Explain {
    /// Exit codes: 0 told, 1 there is no such route, or nobody answers.
    pub(super) fn run(self) -> ExitCode {
        super::people::finish(self.tell())
    }

    fn tell(&self) -> anyhow::Result<()> {
        let answer = self.there.call(Method::GET, &format!("/v1/verdict/{}", self.route), String::new())?;
        self.there.print(&answer, |answer| account(answer, Paint::of_stdout()));
        Ok(())
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or("")
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(0.0)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Evidence as odds: `12 to 1`.
fn odds(log_e: f64) -> String {
    if log_e > 13.8 { "over a million".to_owned() } else { words::short(log_e.exp()) }
}

fn account(answer: &Value, paint: Paint) -> String {
    let mut lines = vec![headline(answer, paint)];
    let mode = text(answer, "mode");
    if !mode.is_empty() {
        lines.push(format!("  judged by {mode}: {}", text(answer, "mode_why")));
    }
    if answer["policy_changed"] == true {
        lines.push("  the routes file says other margins by now; this attempt keeps to those it began with".to_owned());
    }
    let header = ["signal", "canary", "stable", "difference", "margin", "canary n", "stable n", "against", "for"];
    let mut rows = vec![(header.map(str::to_owned), [false; 2])];
    for signal in list(&answer["signals"]) {
        rows.push(signal_row(signal));
        // One part says nothing that the signal does not.
        let parts: Vec<&Value> = list(&signal["parts"]).collect();
        rows.extend(parts.iter().filter(|_| parts.len() > 1).map(|part| (part_row(part), [false; 2])));
    }
    lines.push(String::new());
    lines.extend(columns(&rows, paint));
    for signal in list(&answer["signals"]).filter(|signal| signal["test"] != "requests") {
        lines.push(format!(
            "  {}: most of the evidence against comes from {}",
            text(signal, "signal"),
            text(signal, "test")
        ));
    }
    let guards: Vec<&Value> = list(&answer["guards"]).filter(|guard| guard["state"] != "good").collect();
    if !guards.is_empty() {
        lines.push("\nguards".to_owned());
        lines.extend(guards.into_iter().map(|guard| guard_line(guard, paint)));
    }
    let guardrails: Vec<&Value> = list(&answer["guardrails"]).collect();
    if !guardrails.is_empty() {
        lines.push(
            "\nguardrails: beyond one for long enough the canary is rolled back; within all it is not passed by them"
                .to_owned(),
        );
        lines.extend(guardrails.into_iter().map(|of| format!("  {}", text(of, "text"))));
    }
    let endpoints: Vec<&Value> = list(&answer["endpoints"]).collect();
    if !endpoints.is_empty() {
        lines.push("\nendpoints of the canary that are not like its others".to_owned());
        lines.extend(endpoints.into_iter().map(|of| format!("  {}", text(of, "text"))));
    }
    if let Some(pass) = forecast::pass(&answer["forecast"]) {
        lines.push(format!("\nforecast, at the pace so far\n  {pass}"));
        lines.extend(forecast::signals(&answer["forecast"]).into_iter().map(|line| format!("  {line}")));
    }
    lines.push("\nwhat would change it".to_owned());
    lines.extend(list(&answer["would_change"]).filter_map(Value::as_str).map(|change| format!("  - {change}")));
    lines.join("\n")
}

fn headline(answer: &Value, paint: Paint) -> String {
    let verdict = text(answer, "verdict");
    let coloured = match verdict {
        "pass" => paint.good(verdict),
        "fail" => paint.bad(verdict),
        _ => paint.warn(verdict),
    };
    let reason = answer["reason"].as_str().map_or(String::new(), |reason| format!(" ({reason})"));
    let (against, at) = (number(answer, "log_e_rollback"), number(answer, "log_e_rollback_at"));
    format!(
        "route {}, attempt {}: {coloured}{reason}\n  evidence against the canary {}, rolled back at {}",
        text(answer, "route"),
        answer["attempt"],
        odds(against),
        odds(at)
    )
}

/// A row, and whether its evidence against, and for, has reached the bound.
fn signal_row(signal: &Value) -> ([String; 9], [bool; 2]) {
    let name = text(signal, "signal");
    let show = |value: f64| match name {
        "latency" => format!("p99 {} ms", words::short(value)),
        _ => words::per_cent(value),
    };
    let of = |is: &str, at: &str| {
        (
            format!("{} of {}", odds(number(signal, is)), odds(number(signal, at))),
            number(signal, is) >= number(signal, at),
        )
    };
    let (against, fails) = of("log_e_rollback", "log_e_rollback_at");
    let (pro, passes) = of("log_e_promote", "log_e_promote_at");
    let margin = match name {
        "latency" => format!("x{}", words::short(number(signal, "margin"))),
        _ => words::per_cent(number(signal, "margin")),
    };
    let row = [
        name.to_owned(),
        show(number(signal, "canary")),
        show(number(signal, "stable")),
        difference(&signal["difference"], name == "latency"),
        margin,
        words::count(number(signal, "canary_n")),
        words::count(number(signal, "stable_n")),
        against,
        pro,
    ];
    (row, [fails, passes])
}

fn difference(difference: &Value, factor: bool) -> String {
    if difference.is_null() {
        return "-".to_owned();
    }
    let show = |key: &str| {
        let value = difference[key].as_f64();
        match (value, factor) {
            (None, _) => "?".to_owned(),
            (Some(value), true) => format!("x{}", words::short(value)),
            (Some(value), false) => format!("{}{}", if value > 0.0 { "+" } else { "" }, words::short(value * 100.0)),
        }
    };
    let unit = if factor { "" } else { " %" };
    let between = match (&difference["low"], &difference["high"]) {
        (Value::Null, Value::Null) => String::new(),
        _ => format!(" ({} to {})", show("low"), show("high")),
    };
    format!("{}{unit}{between}", show("value"))
}

fn part_row(part: &Value) -> [String; 9] {
    let name = text(part, "part");
    let timed = name.starts_with("answer") || name.starts_with("first_token") || name.starts_with("token_gap");
    let show = |value: f64| if timed { format!("{} ms", words::short(value)) } else { words::per_cent(value) };
    let odds_of = |key: &str| part[key].as_f64().map_or("-".to_owned(), odds);
    [
        format!("  {name}, {}", text(part, "test")),
        show(number(part, "canary")),
        show(number(part, "stable")),
        difference(&part["difference"], timed),
        part["weight"].as_f64().map_or("times".to_owned(), |weight| format!("weight {}", words::short(weight))),
        words::count(number(part, "canary_n")),
        words::count(number(part, "stable_n")),
        odds_of("log_e_rollback"),
        odds_of("log_e_promote"),
    ]
}

/// The rows in columns; numbers to the right.
fn columns(rows: &[([String; 9], [bool; 2])], paint: Paint) -> Vec<String> {
    let mut widths = [0; 9];
    for (row, _) in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |(row, [fails, passes]): &([String; 9], [bool; 2])| {
        let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
            let cell = if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            match at {
                7 if *fails => paint.bad(&cell),
                8 if *passes => paint.good(&cell),
                _ => cell,
            }
        });
        format!("  {}", cells.collect::<Vec<_>>().join("  "))
    };
    rows.iter().map(line).collect()
}

fn guard_line(guard: &Value, paint: Paint) -> String {
    let (state, name) = (text(guard, "state"), text(guard, "guard"));
    let state = if state == "holds" { paint.bad(state) } else { paint.warn(state) };
    format!(
        "  {name} {state}: {}, from {} on",
        words::short(number(guard, "value")),
        words::short(number(guard, "limit"))
    )
}
