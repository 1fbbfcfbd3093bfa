//! What reaches a backend and what comes back, byte by byte: bad requests, hostile backends, limits, the real process.
//! `parse` and `recorder` judge every byte that a backend was sent; `table` runs cases; the others hold one behaviour each.

pub(super) mod caller;
mod chunks;
mod ending;
mod files;
mod framing;
mod heads;
mod hostile;
mod hosts;
mod memory;
mod mutate;
mod once;
pub(super) mod parse;
pub(super) mod process;
pub(super) mod recorder;
mod sending;
mod shares;
mod sizes;
mod table;
mod upgrades;
mod waits;

use super::support::{Caller, routes, settings, start_with, stop};
use coalmine::{app::App, config::settings::Settings};
use std::{fs, net::SocketAddr};

/// Coalmine over two backends, in this process.
struct Stage {
    app: App,
    dirs: [tempfile::TempDir; 2],
}

impl Stage {
    /// `more` is lines of the route.
    fn new(stable: SocketAddr, canary: SocketAddr, weight: u32, more: &str) -> Self {
        Self::with(stable, canary, weight, more, |_| {})
    }

    fn with(
        stable: SocketAddr,
        canary: SocketAddr,
        weight: u32,
        more: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fs::write(dirs[0].path().join("routes.yaml"), unjudged(stable, canary, weight, more)).unwrap();
        let mut settings = settings("", dirs[0].path(), dirs[1].path());
        change(&mut settings);
        Self { app: start_with(settings), dirs }
    }

    /// The sum of the metrics whose line has all these parts.
    fn metric(&self, parts: &[&str]) -> f64 {
        metric(self.app.admin, parts)
    }

    fn stop(self) {
        stop(self.app);
    }
}

/// A routes file whose canary keeps its weight: nothing is judged.
fn unjudged(stable: SocketAddr, canary: SocketAddr, weight: u32, more: &str) -> String {
    let more = format!("    judge: {{ errors: off, latency: off }}\n{more}    variants:\n");
    routes(stable, canary, weight).replace("    variants:\n", &more)
}

/// The sum of the metrics of the admin listener whose line has all these parts.
fn metric(admin: SocketAddr, parts: &[&str]) -> f64 {
    let page = Caller::new(admin).call("GET", "/metrics", "", "").body;
    let lines = page.lines().filter(|line| !line.starts_with('#') && parts.iter().all(|part| line.contains(part)));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
