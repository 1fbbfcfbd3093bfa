//! `coalmine doctor`: looks at everything that a release needs before it needs it, and says what to do about what is wrong.
//!
//! It changes nothing: what it would push is pushed dry, and what it asks of the cluster are reads.

mod argo;
mod backends;
mod branch;
mod cluster;
mod places;
mod running;

use super::{check::Output, paint::Paint};
use crate::config::settings::Settings;
use serde::Serialize;
use std::{fs, io::Write as _, path::PathBuf, process::ExitCode};

/// Looks at the settings, the routes, their backends, the branch and the right to push to it, signing, the running replicas and
/// whether they have the same routes, the state directory, clocks, the Kubernetes API and the Argo CD Application: a line for each,
/// with what to do next.
#[derive(clap::Args, Debug)]
pub(super) struct Doctor {
    /// The settings file of `serve`.
    #[arg(long, env = "COALMINE_SETTINGS", value_name = "FILE")]
    settings: PathBuf,
    /// The admin listeners of the running replicas, with commas between; of a name, all addresses are asked [default: the `admin`
    /// of the settings].
    #[arg(long, env = "COALMINE_ADMIN", value_name = "ADDR", value_delimiter = ',')]
    admin: Vec<String>,
    /// A file with a bearer token for it; `COALMINE_TOKEN` holds one otherwise.
    #[arg(long, env = "COALMINE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How to tell.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// It works now, and will not always.
    Warn,
    /// A release would not get through.
    Fail,
}

/// What one check came to.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
struct Finding {
    check: &'static str,
    level: Level,
    what: String,
    /// What to do about it; empty if nothing is wrong.
    next: String,
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, what: what.into(), next: String::new() }
    }

    fn warn(check: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, level: Level::Warn, what: what.into(), next: next.into() }
    }

    fn fail(check: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { check, level: Level::Fail, what: what.into(), next: next.into() }
    }

    fn line(&self, paint: Paint) -> String {
        let level = match self.level {
            Level::Ok => paint.good("ok  "),
            Level::Warn => paint.warn("warn"),
            Level::Fail => paint.bad("fail"),
        };
        let next = if self.next.is_empty() { String::new() } else { format!("; next: {}", self.next) };
        format!("{level}  {:<16} {}{next}", self.check, self.what)
    }
}

impl Doctor {
    /// Exit codes: 0 nothing fails, 1 something does.
    pub(super) fn run(self) -> ExitCode {
        let findings = self.examine();
        let text = match self.output {
            Output::Text => {
                let paint = Paint::of_stdout();
                findings.iter().map(|finding| finding.line(paint)).collect::<Vec<_>>().join("\n")
            }
            Output::Json => serde_json::to_string_pretty(&findings).unwrap_or_default(),
        };
        // A closed pipe is the reader's choice.
        let _ = writeln!(std::io::stdout(), "{text}");
        ExitCode::from(u8::from(findings.iter().any(|finding| finding.level == Level::Fail)))
    }

    fn examine(&self) -> Vec<Finding> {
        let name = self.settings.display().to_string();
        let text = match fs::read_to_string(&self.settings) {
            Ok(text) => text,
            Err(error) => {
                return vec![Finding::fail("settings", format!("{name}: {error}"), "name the file of `serve`")];
            }
        };
        let settings = match Settings::read(&text, &[]) {
            Ok(settings) => settings,
            Err(problems) => {
                let refused = |problem: &crate::config::Problem| {
                    Finding::fail("settings", problem.one_line(&name), "compare with config/settings.yaml")
                };
                return problems.iter().map(refused).collect();
            }
        };
        let mut findings = vec![Finding::ok("settings", format!("{name} can be read"))];
        findings.extend(places::examine(&settings));
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Err(error) => findings.push(Finding::fail("network", error.to_string(), "free some file descriptors")),
            Ok(runtime) => runtime.block_on(async {
                let tip = branch::examine(&settings, &mut findings).await;
                let (commit, text) = (tip.as_ref().map(|tip| &*tip.commit), tip.as_ref().map(|tip| &*tip.text));
                findings.extend(backends::examine(&settings, text).await);
                cluster::examine(&settings, commit, &mut findings).await;
                findings.extend(running::examine(&settings, &self.admin, self.token()).await);
            }),
        }
        findings
    }

    fn token(&self) -> Option<String> {
        let file = self.token_file.as_ref().and_then(|path| fs::read_to_string(path).ok());
        file.map(|text| text.trim().to_owned()).or_else(|| std::env::var("COALMINE_TOKEN").ok())
    }
}
