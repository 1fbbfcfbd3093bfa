//! Coalmine over any two backends, in this process, with what its metrics say.

use super::support::{Caller, settings, start_with, stop};
use coalmine::app::App;
use std::{fs, net::SocketAddr, path::PathBuf};

/// A path of this repository.
pub(super) fn real(path: &str) -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A routes file of one route, `digits`, over these two urls; `more` is lines of the route. Nothing is judged, so that the canary
/// keeps its weight.
pub(super) fn routes(stable: &str, canary: &str, weight: u32, more: &str) -> String {
    let rest = 100 - weight;
    format!(
        "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: {{ path: / }}
    judge: {{ errors: off, latency: off }}
{more}    variants:
      - {{ name: v1, role: stable, weight: {rest}, url: '{stable}', model: {{ version: '1', uri: m/1 }} }}
      - {{ name: v2, role: canary, weight: {weight}, url: '{canary}', model: {{ version: '2', uri: m/2 }} }}
"
    )
}

/// Coalmine in this process.
pub(super) struct Stage {
    pub(super) app: App,
    _dirs: [tempfile::TempDir; 2],
}

impl Stage {
    /// Everything goes to `stable`; `canary` takes what `weight` says.
    pub(super) fn new(stable: &str, canary: &str, weight: u32, more: &str, settings_text: &str) -> Self {
        Self::over(&routes(stable, canary, weight, more), settings_text)
    }

    /// One backend, on one thread, so that what a thread does is what all do.
    pub(super) fn one(backend: &str, more: &str, settings_text: &str) -> Self {
        Self::new(backend, backend, 0, more, &format!("threads: 1\n{settings_text}"))
    }

    /// These routes.
    pub(super) fn over(routes: &str, settings_text: &str) -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fs::write(dirs[0].path().join("routes.yaml"), routes).unwrap();
        let mut all = settings(settings_text, dirs[0].path(), dirs[1].path());
        if settings_text.contains("threads: 1\n") {
            all.threads = Some(1);
        }
        Self { app: start_with(all), _dirs: dirs }
    }

    pub(super) fn data(&self) -> SocketAddr {
        self.app.data
    }

    pub(super) fn caller(&self) -> Caller {
        Caller::new(self.app.data)
    }

    /// The sum of the metrics whose line has all these parts.
    pub(super) fn metric(&self, parts: &[&str]) -> f64 {
        metric(self.app.admin, parts)
    }

    /// Requests of a variant that ended so.
    pub(super) fn outcome(&self, variant: &str, outcome: &str) -> u64 {
        let parts = ["coalmine_requests_total{", &format!("\"{variant}\""), &format!("\"{outcome}\"")];
        count(self.metric(&parts))
    }

    /// A counter.
    pub(super) fn count(&self, parts: &[&str]) -> u64 {
        count(self.metric(parts))
    }

    pub(super) fn stop(self) {
        stop(self.app);
    }
}

#[allow(clippy::cast_sign_loss, reason = "counters are whole and never below zero")]
fn count(value: f64) -> u64 {
    value.round() as u64
}

/// The sum of the metrics of the admin listener whose line has all these parts.
pub(super) fn metric(admin: SocketAddr, parts: &[&str]) -> f64 {
    let page = Caller::new(admin).call("GET", "/metrics", "", "").body;
    let lines = page.lines().filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
