//! Document or clamps changed -> compile -> swap. The only writer of the snapshot.

use crate::{
    config::{self, Problem, diff::diff},
    core::{
        clamp::Clamps,
        name::Generation,
        snapshot::{Live, Snapshot},
        status::ConfigStatus,
    },
    io::{
        clock,
        source::{Document, Newest},
    },
};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// Problems of one document that are kept for people.
const PROBLEMS_MAX: usize = 50;

/// The loop and its channels.
#[derive(Debug)]
pub struct ConfigLoop {
    /// The source writes; closing means that the process is ending.
    pub documents: watch::Receiver<Newest>,
    /// The release loop writes.
    pub clamps: watch::Receiver<Arc<Clamps>>,
    /// Everybody reads.
    pub live: Arc<ArcSwap<Live>>,
    /// Admin and metrics read.
    pub status: watch::Sender<Arc<ConfigStatus>>,
    /// Data threads, one cell each in every tally.
    pub threads: usize,
}

impl ConfigLoop {
    /// Runs until the source or the release loop is gone.
    pub async fn run(mut self) {
        let (mut good, mut seen) = (None, None);
        loop {
            self.look(&mut good, &mut seen);
            let more = tokio::select! {
                changed = self.documents.changed() => changed,
                changed = self.clamps.changed() => changed,
            };
            if more.is_err() {
                return;
            }
        }
    }

    /// Compiles the newest document; if that fails, the last good one under today's clamps.
    fn look(&mut self, good: &mut Option<Document>, seen: &mut Newest) {
        let clamps = self.clamps.borrow_and_update().clone();
        let newest = self.documents.borrow_and_update().clone();
        if let Some(delivered) = newest.filter(|newest| seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, newest))) {
            *seen = Some(delivered.clone());
            match delivered.as_ref() {
                Ok(document) => match config::read(&document.text, &clamps) {
                    Ok((snapshot, warnings)) => {
                        warn(&warnings);
                        self.accept(document);
                        self.swap(snapshot, document);
                        *good = Some(document.clone());
                        return;
                    }
                    Err(problems) => self.refuse(problems.iter().map(|p| p.one_line("routes.yaml")).collect()),
                },
                Err(why) => self.refuse(vec![why.clone()]),
            }
        }
        if let Some(document) = good
            && let Ok((snapshot, _)) = config::read(&document.text, &clamps)
        {
            self.swap(snapshot, document);
        }
    }

    /// The newest document is a good one. Only this clears problems: recompiling the last good one does not.
    fn accept(&self, document: &Document) {
        let mut status = (**self.status.borrow()).clone();
        if !status.problems.is_empty() {
            tracing::info!(revision = %document.revision, "routes file is good again");
        }
        status.problems.clear();
        status.revision = Some(document.revision.clone());
        self.status.send_replace(Arc::new(status));
    }

    fn swap(&self, snapshot: Snapshot, document: &Document) {
        let old = self.live.load();
        let changes = diff(&old.snapshot, &snapshot);
        if old.snapshot.routes == snapshot.routes && old.snapshot.generation > Generation(0) {
            // A comment changed, or a bad file was taken back: nothing for traffic to notice.
            return;
        }
        let generation = Generation(old.snapshot.generation.0 + 1);
        let snapshot = Snapshot { generation, revision: Some(document.revision.clone()), ..snapshot };
        let board = old.board.next(&snapshot, self.threads);
        self.live.store(Arc::new(Live { snapshot, board }));
        let mut status = (**self.status.borrow()).clone();
        status.generation = generation;
        status.loaded_ms = clock::now().wall_ms;
        status.reloads += 1;
        self.status.send_replace(Arc::new(status));
        tracing::info!(%generation, revision = %document.revision, changes = changes.join("; "), "routes swapped");
    }

    fn refuse(&self, mut problems: Vec<String>) {
        let count = problems.len();
        problems.truncate(PROBLEMS_MAX);
        let first = problems.first().map_or("", String::as_str);
        tracing::error!(problems = count, first, "routes file refused, the last good one stays in force");
        let mut status = (**self.status.borrow()).clone();
        status.problems = problems;
        status.refusals += 1;
        self.status.send_replace(Arc::new(status));
    }
}

fn warn(warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!("{}", warning.one_line("routes.yaml"));
    }
}
