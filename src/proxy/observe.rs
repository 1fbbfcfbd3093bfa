//! One request's entry in the books: begun once, ended once, however it ends.

use super::{events::Summary, thread::World};
use crate::core::tally::{HistogramCells, Outcome, StreamCells, VariantCells};
use http::StatusCode;
use std::rc::Rc;
use tokio::time::{Duration, Instant};

/// Where a request is counted. Dropped without an end, it was the caller who left.
#[derive(Debug)]
pub(super) struct Observation {
    world: Rc<World>,
    route: usize,
    variant: usize,
    thread: usize,
    started: Instant,
    pinned: bool,
    /// On a sticky route: the hash of the user's key.
    user: Option<u64>,
    /// The endpoint that its own attempt went to.
    slot: Option<u8>,
    /// How the drawn variant failed, if stable answered for it.
    failed: Option<Outcome>,
    ended: bool,
}

impl Observation {
    /// Counts a request that was drawn for (or pinned to) a variant.
    pub(super) fn begin(
        world: Rc<World>,
        (route, variant): (usize, usize),
        thread: usize,
        started: Instant,
        (pinned, user): (bool, Option<u64>),
    ) -> Self {
        let observation =
            Self { world, route, variant, thread, started, pinned, user, slot: None, failed: None, ended: false };
        if let Some(cells) = observation.cells(variant) {
            cells.begun.add(1);
            if pinned { cells.pinned.add(1) } else { cells.assigned.add(1) }
        }
        observation
    }

    fn cells(&self, variant: usize) -> Option<&VariantCells> {
        self.world.live.board.cells(self.route, variant, self.thread)
    }

    /// Which endpoint the drawn variant's attempt went to.
    pub(super) fn at(&mut self, slot: Option<u8>) {
        self.slot = slot;
    }

    /// What a stream of tokens told.
    pub(super) fn tokens(&self, summary: &Summary) {
        let Some(cells) = self.cells(self.variant).filter(|_| !self.pinned && self.failed.is_none()) else { return };
        cells.tokens.add(summary.tokens);
        cells.finish(summary.finish).add(1);
        if summary.empty {
            cells.empty_answers.add(1);
        }
    }

    /// Time between two tokens.
    pub(super) fn gap(&self, gap: Duration) {
        if let Some(cells) = self.cells(self.variant).filter(|_| !self.pinned && self.failed.is_none()) {
            cells.token_gap.observe_us(micros(gap));
        }
    }

    /// The drawn variant failed, and `stable` answers instead.
    pub(super) fn saved_by(&mut self, stable: usize, outcome: Outcome) {
        self.failed = Some(outcome);
        if self.pinned {
            return;
        }
        if let Some(cells) = self.cells(self.variant) {
            cells.saved_by_fallback.add(1);
        }
        if let Some(cells) = self.cells(stable) {
            cells.fallbacks_served.add(1);
        }
    }

    /// The head of the answer is there.
    pub(super) fn first_byte(&self) {
        if !self.pinned
            && self.failed.is_none()
            && let Some(cells) = self.cells(self.variant)
        {
            cells.first_byte.observe_us(micros(self.started.elapsed()));
        }
    }

    /// The status that the caller gets.
    pub(super) fn status(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(cell) = self.cells(self.variant).and_then(|cells| cells.status_classes.get(class)) {
            cell.add(1);
        }
    }

    /// Bytes of the request that went to the backend.
    pub(super) fn bytes_in(&self, bytes: u64) {
        if let Some(cells) = self.cells(self.variant) {
            cells.bytes_in.add(bytes);
        }
    }

    /// Bytes of the answer that went to the caller.
    pub(super) fn bytes_out(&self, bytes: u64) {
        if let Some(cells) = self.cells(self.variant) {
            cells.bytes_out.add(bytes);
        }
    }

    /// Remembers on a sticky route whom the variant has failed.
    #[cold]
    fn user_failed(&self) {
        let live = &self.world.live;
        let sticky = live.snapshot.routes.get(self.route).is_some_and(|route| route.sticky.is_some());
        if let Some(tally) = live.board.tally(self.route, self.variant).filter(|_| sticky) {
            tally.user_failed(self.thread, self.user);
        }
    }

    /// Time since the request's head was there.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// It is over. `latency` is what a success took, without the caller's own slowness.
    pub(super) fn end(mut self, outcome: Outcome, latency: Duration) {
        self.close(self.failed.unwrap_or(outcome), &Took::Whole(latency));
    }

    /// A stream is over.
    pub(super) fn end_stream(mut self, outcome: Outcome, first_token: Duration, mean_gap: Option<Duration>) {
        self.close(self.failed.unwrap_or(outcome), &Took::Stream(first_token, mean_gap));
    }

    fn close(&mut self, outcome: Outcome, took: &Took) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Some(cells) = self.cells(self.variant) else {
            return;
        };
        cells.ended.add(1);
        if self.pinned {
            return;
        }
        cells.outcome(outcome).add(1);
        if outcome == Outcome::Ok {
            took.count(&cells.latency, &cells.streams);
        } else if outcome.is_backend_fault() {
            self.user_failed();
        }
        if let Some(slot) = self.slot.filter(|_| outcome == Outcome::Ok || outcome.is_backend_fault()) {
            let endpoint = cells.endpoint(slot);
            endpoint.completed.add(1);
            if outcome == Outcome::Ok {
                took.count(&endpoint.latency, &endpoint.streams);
            } else {
                endpoint.errors.add(1);
            }
        }
    }
}

/// What a success took.
enum Took {
    Whole(Duration),
    /// To its first token, and between two of them.
    Stream(Duration, Option<Duration>),
}

impl Took {
    fn count(&self, whole: &HistogramCells, streams: &StreamCells) {
        match self {
            Self::Whole(latency) => whole.observe_us(micros(*latency)),
            Self::Stream(first_token, mean_gap) => {
                streams.first_token.observe_us(micros(*first_token));
                if let Some(gap) = mean_gap {
                    streams.mean_gap.observe_us(micros(*gap));
                }
            }
        }
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let outcome = self.failed.unwrap_or(Outcome::ClientGone);
        self.close(outcome, &Took::Whole(Duration::ZERO));
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
