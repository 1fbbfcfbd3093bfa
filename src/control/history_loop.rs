//! Verdicts, releases and weights -> what has happened so far, for people who come later. Nothing waits for it.

use super::{commit_loop::Outcomes, judge_loop::Judgements, release_loop::Releases};
use crate::{
    core::{
        history::History,
        notice::Sight,
        release::{intent::Wanted, made::Made},
        snapshot::Live,
    },
    io::clock,
};
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

pub use crate::core::history::Histories;

/// The loop and its channels.
#[derive(Debug)]
pub struct HistoryLoop {
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// The judge loop writes.
    pub judgements: watch::Receiver<Judgements>,
    /// The release loop writes, at every step: that is the tick.
    pub releases: watch::Receiver<Releases>,
    /// The release loop writes.
    pub wanted: watch::Receiver<Arc<Vec<Wanted>>>,
    /// The commit loop writes.
    pub outcomes: watch::Receiver<Outcomes>,
    /// The commit loop writes.
    pub made: watch::Receiver<Arc<Vec<Made>>>,
    /// The admin plane reads.
    pub histories: watch::Sender<Histories>,
    /// So much is kept of each route.
    pub happened_max: usize,
}

impl HistoryLoop {
    /// Runs until the release loop is gone.
    pub async fn run(mut self) {
        let mut history = History::new(self.happened_max);
        loop {
            let changed = tokio::select! {
                changed = self.releases.changed() => changed,
                changed = self.outcomes.changed() => changed,
                changed = self.made.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
            let live = self.live.load_full();
            let (judgements, releases) =
                (self.judgements.borrow_and_update().clone(), self.releases.borrow_and_update().clone());
            let (wanted, outcomes) = (self.wanted.borrow().clone(), self.outcomes.borrow_and_update().clone());
            let made = self.made.borrow_and_update().clone();
            let sight = Sight {
                judgements: &judgements,
                releases: &releases,
                wanted: &wanted,
                outcomes: &outcomes,
                made: &made,
                now: clock::now(),
            };
            history.look(&live.snapshot, &sight);
            self.histories.send_modify(|told| told.by_route = Arc::new(history.routes.clone()));
        }
    }
}
