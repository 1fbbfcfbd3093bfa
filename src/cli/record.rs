//! What stands on the branch: `history`, `diff`, and `commit --dry-run`. They read a clone of their own, by the settings of `serve`.

use super::people::{There, finish};
use crate::{
    app::rehearsal::{Said, Thought, branch, rehearse},
    config::{self, settings::Settings},
    core::{clamp::Clamps, route::Route},
    io::git::Recorded,
};
use anyhow::{Context as _, anyhow};
use http::Method;
use serde_json::{Value, json};
use std::{fs, io::Write as _, path::PathBuf, process::ExitCode};

/// Where the branch is.
#[derive(clap::Args, Debug)]
struct Branch {
    /// The settings file of `serve`; its `git` says where the branch is.
    #[arg(long, env = "COALMINE_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
}

/// Commits of releases.
#[derive(clap::Args, Debug)]
pub(super) struct History {
    /// Only this route.
    route: Option<String>,
    #[command(flatten)]
    branch: Branch,
    /// So many commits of the branch are looked at, anybody's.
    #[arg(long, value_name = "COMMITS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// How to tell.
    #[arg(long, value_enum, default_value_t = super::check::Output::Text)]
    output: super::check::Output,
}

/// The branch beside what is in force.
#[derive(clap::Args, Debug)]
pub(super) struct Diff {
    #[command(flatten)]
    branch: Branch,
    #[command(flatten)]
    there: There,
}

/// A commit that is only shown.
#[derive(clap::Args, Debug)]
pub(super) struct Commit {
    /// The route.
    route: String,
    /// Which move.
    #[arg(value_enum)]
    to: To,
    /// Show the commit and push nothing. Commits are made by `promote`, `rollback` and the judge, through a running Coalmine.
    #[arg(long, required = true)]
    dry_run: bool,
    /// Why; it would stand in the commit.
    #[arg(long, default_value = "no reason given")]
    reason: String,
    #[command(flatten)]
    branch: Branch,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum To {
    /// The plan's next step, or past the last one the promotion.
    Next,
    /// The candidate is rejected.
    Rollback,
    /// The watch is over.
    Done,
}

impl Branch {
    fn settings(&self) -> anyhow::Result<Settings> {
        let name = self.settings.display();
        let text = fs::read_to_string(&self.settings).with_context(|| format!("cannot read settings {name}"))?;
        Settings::read(&text, &[]).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(|problem| problem.one_line(&name.to_string())).collect();
            anyhow!("settings refused\n{}", lines.join("\n"))
        })
    }
}

impl History {
    pub(super) fn run(self) -> ExitCode {
        finish(self.show())
    }

    fn show(&self) -> anyhow::Result<()> {
        let mut settings = self.branch.settings()?;
        settings.git.iter_mut().for_each(|git| git.history = self.limit);
        let Said { record, more, .. } = branch(&settings)?;
        let of_route = |commit: &&Recorded| {
            self.route.as_deref().is_none_or(|route| commit.trailer("Coalmine-Route") == Some(route))
        };
        let record: Vec<&Recorded> = record.iter().filter(of_route).collect();
        match self.output {
            super::check::Output::Json => say(&Value::from_iter(record.into_iter().map(entry)).to_string()),
            super::check::Output::Text if record.is_empty() => say("no commits of releases yet"),
            super::check::Output::Text => record.into_iter().for_each(|commit| say(&line(commit))),
        }
        if more {
            // Not among what a program reads.
            eprintln!("the branch has more commits than the {} that were looked at; --limit looks at more", self.limit);
        }
        Ok(())
    }
}

impl Diff {
    pub(super) fn run(self) -> ExitCode {
        finish(self.show())
    }

    fn show(&self) -> anyhow::Result<()> {
        let Said { tip, .. } = branch(&self.branch.settings()?)?;
        let (snapshot, _) = config::read(&tip.text, &Clamps::default()).map_err(|problems| {
            let first = problems.first().map_or(String::new(), |problem| problem.one_line("routes.yaml"));
            anyhow!("the file on the branch is not valid: {first}")
        })?;
        let answer = self.there.call(Method::GET, "/v1/routes", String::new())?;
        let live: Vec<&Value> = answer.get("routes").and_then(Value::as_array).into_iter().flatten().collect();
        let find = |name: &str| live.iter().copied().find(|route| route["name"] == name);
        let mut lines: Vec<String> = Vec::new();
        for route in snapshot.routes.iter() {
            match find(route.name.as_str()) {
                None => lines.push(format!("route {}: on the branch only", route.name)),
                Some(live) => lines.extend(differences(route, live)),
            }
        }
        let gone = live.iter().filter_map(|route| route["name"].as_str());
        let gone = gone.filter(|name| snapshot.routes.named(name).is_none());
        lines.extend(gone.map(|name| format!("route {name}: in force, and not on the branch any more")));
        let commit = tip.commit.get(..12).unwrap_or(&tip.commit);
        let text = match lines.as_slice() {
            [] => format!("what is in force is what the branch says at {commit}"),
            lines => format!("the branch at {commit}, and what is in force:\n{}", lines.join("\n")),
        };
        self.there.print(&json!({ "commit": tip.commit, "differences": lines }), |_| text);
        Ok(())
    }
}

impl Commit {
    pub(super) fn run(self) -> ExitCode {
        finish(self.show())
    }

    fn show(&self) -> anyhow::Result<()> {
        debug_assert!(self.dry_run, "the parser asks for it");
        let thought = match self.to {
            To::Next => Thought::Next,
            To::Rollback => Thought::RollBack,
            To::Done => Thought::Finish,
        };
        let rehearsal = rehearse(&self.branch.settings()?, &self.route, thought, &self.reason)?;
        say(&format!("{}\n{}", rehearsal.message, rehearsal.patch.trim_end()));
        Ok(())
    }
}

/// Variant by variant, in words.
fn differences(route: &Route, live: &Value) -> Vec<String> {
    let name = &route.name;
    let variants: Vec<&Value> = live["variants"].as_array().into_iter().flatten().collect();
    let mut lines = Vec::new();
    for variant in &route.variants {
        let (v, role, said) = (&variant.name, variant.role.as_str(), variant.said.to_string());
        let Some(there) = variants.iter().find(|there| there["name"] == v.as_str()) else {
            lines.push(format!("route {name}: {v} ({role}, {said} %) is on the branch only"));
            continue;
        };
        let text = |pointer| there.pointer(pointer).and_then(Value::as_str).unwrap_or("").to_owned();
        let (now, delivered, effective) = (text("/role"), text("/weight/said"), text("/weight/effective"));
        if (role, &said) != (now.as_str(), &delivered) {
            lines.push(format!(
                "route {name}: {v} is {role} at {said} % on the branch, {now} at {delivered} % as delivered: not here yet"
            ));
        }
        if delivered != effective {
            lines.push(format!("route {name}: {v} gets {effective} % instead of the {delivered} % delivered: clamped"));
        }
    }
    let known = |there: &&&Value| route.variants.iter().all(|v| there["name"] != v.name.as_str());
    lines.extend(variants.iter().filter(known).map(|there| {
        format!("route {name}: {} is in force, and not on the branch any more", there["name"].as_str().unwrap_or(""))
    }));
    lines
}

fn time(commit: &Recorded) -> String {
    jiff::Timestamp::from_second(commit.time_s)
        .map_or(String::new(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn line(commit: &Recorded) -> String {
    let of = |name: &str| commit.trailer(name).unwrap_or("?");
    let (short, when) = (commit.commit.get(..12).unwrap_or(""), time(commit));
    let (by, verdict) = (of("Coalmine-Requested-By"), of("Coalmine-Verdict"));
    format!("{when}  {short}  {}\n    attempt {}, by {by}, verdict {verdict}", commit.subject(), of("Coalmine-Attempt"))
}

fn entry(commit: &Recorded) -> Value {
    let of = |name: &str| Value::from(commit.trailer(name));
    json!({
        "commit": commit.commit, "time": time(commit), "author": commit.author, "subject": commit.subject(),
        "route": of("Coalmine-Route"), "action": of("Coalmine-Action"), "artefact": of("Coalmine-Artefact"),
        "attempt": of("Coalmine-Attempt"), "weights": of("Coalmine-Weights"), "verdict": of("Coalmine-Verdict"),
        "by": of("Coalmine-Requested-By"),
    })
}

fn say(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = writeln!(std::io::stdout(), "{text}");
}
