//! What people ask of a running Coalmine: `status`, orders about releases (`people/orders`), `feedback`.

mod orders;

pub(super) use orders::{Freeze, Order, Promote, Readmit, SetWeight};

use crate::io::client::Client;
use anyhow::{Context as _, anyhow, bail};
use http::{Method, StatusCode};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    path::PathBuf,
    process::ExitCode,
};

/// Bytes of labels in one request.
const BATCH_BYTES: usize = 1024 * 1024;

/// Where Coalmine's admin listener is, and who asks.
#[derive(clap::Args, Debug)]
pub(super) struct There {
    /// Coalmine's admin listener.
    #[arg(long, env = "COALMINE_ADMIN", value_name = "ADDR", default_value = "127.0.0.1:9090")]
    admin: String,
    /// A file with a bearer token; `COALMINE_TOKEN` holds one otherwise.
    #[arg(long, env = "COALMINE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How to tell.
    #[arg(long, value_enum, default_value_t = super::check::Output::Text)]
    output: super::check::Output,
}

/// Where every route's release stands.
#[derive(clap::Args, Debug)]
pub(super) struct Status {
    /// Only this route.
    route: Option<String>,
    #[command(flatten)]
    there: There,
}

/// Labels.
#[derive(clap::Args, Debug)]
pub(super) struct Feedback {
    /// A file of labels, one JSON object a line (`{"ticket": "...", "label": 7}`); `-` reads standard input.
    file: PathBuf,
    #[command(flatten)]
    there: There,
}

impl Status {
    pub(super) fn run(self) -> ExitCode {
        finish(self.there.show(self.route.as_deref()))
    }
}

impl Feedback {
    /// Exit code 1 if a label was neither counted nor held.
    pub(super) fn run(self) -> ExitCode {
        match self.send() {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => finish(Err(error)),
        }
    }

    fn send(&self) -> anyhow::Result<bool> {
        let reader: Box<dyn BufRead> = if self.file.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let file = fs::File::open(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
            Box::new(BufReader::new(file))
        };
        let (mut batch, mut first, mut good) = (String::new(), 1, true);
        for line in reader.lines() {
            let line = line.with_context(|| format!("cannot read {}", self.file.display()))?;
            if line.trim().is_empty() {
                continue;
            }
            if batch.len() + line.len() > BATCH_BYTES && !batch.is_empty() {
                good &= self.post(&mut batch, &mut first)?;
            }
            batch.push_str(&line);
            batch.push('\n');
        }
        Ok(self.post(&mut batch, &mut first)? && good)
    }

    fn post(&self, batch: &mut String, first: &mut usize) -> anyhow::Result<bool> {
        if batch.is_empty() {
            return Ok(true);
        }
        let answer = self.there.call(Method::POST, "/v1/feedback", std::mem::take(batch))?;
        let results = answer.get("results").and_then(Value::as_array).cloned().unwrap_or_default();
        let taken = |result: &&Value| matches!(result["result"].as_str(), Some("counted" | "held"));
        let good = results.iter().filter(taken).count();
        self.there.print(&answer, |_| {
            let bad = results.iter().enumerate().filter(|(_, result)| !taken(result)).map(|(at, result)| {
                let text = |key: &str| result[key].as_str().unwrap_or("").to_owned();
                format!("label {}: {}: {}\n", *first + at, text("result"), text("error"))
            });
            format!("{}{good} of {} labels taken", bad.collect::<String>(), results.len())
        });
        *first += results.len();
        Ok(good == results.len())
    }
}

impl There {
    fn show(&self, route: Option<&str>) -> anyhow::Result<()> {
        let path = route.map_or("/v1/routes".to_owned(), |route| format!("/v1/routes/{route}"));
        let answer = self.call(Method::GET, &path, String::new())?;
        self.print(&answer, |answer| match answer["routes"].as_array() {
            Some(routes) => refused(answer) + &routes.iter().map(table).collect::<Vec<_>>().join("\n"),
            None => table(answer),
        });
        Ok(())
    }

    pub(super) fn call(&self, method: Method, path: &str, body: String) -> anyhow::Result<Value> {
        let token = match &self.token_file {
            Some(path) => {
                let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(text.trim().to_owned())
            }
            None => std::env::var("COALMINE_TOKEN").ok(),
        };
        let client = Client { address: self.admin.clone(), token: token.map(Into::into) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, text) = runtime.block_on(client.call(method, path, body)).map_err(|why| anyhow!(why))?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status == StatusCode::OK {
            return Ok(answer);
        }
        let why = answer.get("error").and_then(Value::as_str).or(status.canonical_reason());
        bail!("{}", why.unwrap_or("refused"))
    }

    pub(super) fn print(&self, answer: &Value, words: impl FnOnce(&Value) -> String) {
        let text = match self.output {
            super::check::Output::Text => words(answer),
            super::check::Output::Json => answer.to_string(),
        };
        // A closed pipe is the reader's choice.
        let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
    }
}

pub(super) fn finish(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coalmine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with the newest routes file, if it was refused.
fn refused(answer: &Value) -> String {
    let problems: Vec<&str> = answer["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (problems.as_slice(), answer["generation"].as_u64()) {
        ([], Some(0)) => "no routes file has been read yet\n".to_owned(),
        ([], _) => String::new(),
        (_, generation) => {
            let lines: String = problems.iter().map(|problem| format!("  {problem}\n")).collect();
            let now = if generation == Some(0) { "nothing is served yet" } else { "the last good one stays in force" };
            format!("the newest routes file is refused; {now}\n{lines}\n")
        }
    }
}

/// A route for people: the release, the variants side by side, the evidence.
fn table(route: &Value) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut lines = vec![format!("route {}", text(&route["name"]))];
    if let Some(release) = route["release"].as_object() {
        let of =
            |key: &str| release.get(key).filter(|value| !value.is_null()).map(text).filter(|text| !text.is_empty());
        let mut line =
            format!("  release    {}, attempt {}", of("state").unwrap_or_default(), of("attempt").unwrap_or_default());
        for (key, word) in [
            ("reason", ""),
            ("paused_by", "paused by "),
            ("frozen_by", "frozen by "),
            ("commit", "commit "),
            ("trouble", "trouble: "),
            ("waits_for", "waits for the merge of "),
        ] {
            line += &of(key).map_or(String::new(), |value| format!(", {word}{value}"));
        }
        lines.push(line);
        let alerts: Vec<String> =
            release.get("alerts").and_then(Value::as_array).into_iter().flatten().map(text).collect();
        if !alerts.is_empty() {
            lines.push(format!("  alerts     {}", alerts.join(", ")));
        }
        if let Some(one) = release.get("by_hand").filter(|one| one.is_object()) {
            let until =
                one["until_ms"].as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
            let (weight, by) = (text(&one["weight"]), text(&one["by"]));
            lines.push(format!("  by hand    {weight} % until {}, by {by}", until.strftime("%Y-%m-%dT%H:%M:%SZ")));
        }
    }
    lines.push(format!(
        "  {:<16} {:<9} {:>6} {:>10} {:>10} {:>8} {:>8}",
        "variant", "role", "said", "effective", "requests", "errors", "labels"
    ));
    for v in route["variants"].as_array().into_iter().flatten() {
        let weight = &v["weight"];
        let row =
            [&v["name"], &v["role"], &weight["said"], &weight["effective"], &v["requests"], &v["errors"], &v["labels"]]
                .map(text);
        let [name, role, said, effective, requests, errors, labels] = row;
        lines.push(format!(
            "  {name:<16} {role:<9} {said:>4} % {effective:>8} % {requests:>10} {errors:>8} {labels:>8}"
        ));
    }
    let judgement = &route["judgement"];
    if judgement.is_object() {
        let reason = judgement["reason"].as_str().map_or(String::new(), |reason| format!(" ({reason})"));
        let number = |value: &Value| value.as_f64().unwrap_or(0.0);
        let (log_e, at) = (number(&judgement["log_e_rollback"]), number(&judgement["log_e_rollback_at"]));
        lines.push(format!(
            "  verdict    {}{reason}; evidence against {log_e:.2} of {at:.2}",
            text(&judgement["verdict"])
        ));
        lines.extend(super::forecast::pass(&judgement["forecast"]).map(|pass| format!("  forecast   {pass}")));
        for signal in judgement["signals"].as_array().into_iter().flatten() {
            let [canary, stable, against, pass, need] =
                ["canary", "stable", "log_e_rollback", "log_e_promote", "log_e_promote_at"]
                    .map(|key| number(&signal[key]));
            let name = text(&signal["signal"]);
            lines.push(format!(
                "    {name:<9} canary {canary:.4}, stable {stable:.4}; against {against:.2}, for {pass:.2} of {need:.2}"
            ));
        }
        let guardrails = judgement["guardrails"].as_array().into_iter().flatten();
        let endpoints = judgement["endpoints"].as_array().into_iter().flatten();
        lines.extend(guardrails.chain(endpoints).map(|of| format!("    {}", text(&of["text"]))));
    }
    lines.join("\n") + "\n"
}
