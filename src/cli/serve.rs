//! `coalmine serve`: settings from flags, environment and file; then everything until SIGTERM or Ctrl-C.

use crate::{
    app::{self, App},
    config::settings::Settings,
    io::{process, telemetry},
};
use anyhow::{Context as _, anyhow};
use std::{fs, future::pending, path::PathBuf, process::ExitCode, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

/// How often we look whether there is a routes file yet, to tell the service manager.
const READY_EVERY: Duration = Duration::from_millis(50);

#[derive(clap::Args, Debug)]
pub(super) struct Serve {
    /// The routes file, or a directory with `routes.yaml` in it (a mounted ConfigMap).
    #[arg(long, env = "COALMINE_ROUTES", value_name = "PATH")]
    routes: Option<PathBuf>,
    /// Where traffic comes in [default: 0.0.0.0:8080].
    #[arg(long, env = "COALMINE_LISTEN", value_name = "ADDR")]
    listen: Option<String>,
    /// Where people, labels and Prometheus come in [default: 127.0.0.1:9090].
    #[arg(long, env = "COALMINE_ADMIN", value_name = "ADDR")]
    admin: Option<String>,
    /// A settings file, for everything else. Flags stand over it.
    #[arg(long, env = "COALMINE_SETTINGS", value_name = "FILE")]
    settings: Option<PathBuf>,
}

impl Serve {
    pub(super) fn run(self) -> ExitCode {
        match self.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("coalmine: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn serve(self) -> anyhow::Result<()> {
        let settings = self.settings()?;
        telemetry::start(&settings.log.level, settings.log.json).map_err(|error| anyhow!(error))?;
        let app = app::start(&settings)?;
        wait_for_the_end(&app)?;
        process::tell_manager(process::Moment::Stopping);
        app.drain();
        app.join();
        Ok(())
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let (name, text) = match &self.settings {
            Some(path) => {
                let text =
                    fs::read_to_string(path).with_context(|| format!("cannot read settings {}", path.display()))?;
                (path.display().to_string(), text)
            }
            None => ("flags".to_owned(), String::new()),
        };
        let mut overlay = Vec::new();
        let mut over = |path, value: Option<String>| overlay.extend(value.map(|value| (path, value)));
        over("routes", self.routes.as_ref().map(|path| path.display().to_string()));
        over("listen", self.listen.clone());
        over("admin", self.admin.clone());
        Settings::read(&text, &overlay).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(|problem| problem.one_line(&name)).collect();
            anyhow!("settings refused\n{}", lines.join("\n"))
        })
    }
}

/// SIGTERM is how Kubernetes and systemd ask, Ctrl-C is how people do. Meanwhile whoever manages us is told once we are ready.
fn wait_for_the_end(app: &App) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let ready = async {
            let mut beat = interval(READY_EVERY);
            while !app.is_ready() {
                beat.tick().await;
            }
            process::tell_manager(process::Moment::Ready);
            pending::<()>().await;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
            () = ready => {}
        }
        Ok(())
    })
}
