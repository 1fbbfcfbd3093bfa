//! What is counted: one writer, sums, differences.
//!
//! Each data thread writes its own cells with a relaxed load and store: no locked instruction, no channel, no allocation.
//! The judge and `/metrics` read the very same cells, so the dashboard and the verdict can never disagree.

pub mod blocks;
mod outcome;
mod reading;
mod users;

pub use outcome::{Finish, Outcome};
pub use reading::{EndpointReading, PairedReading, Reading, ShadowReading, Timed};
pub use users::{FailedUsers, USER_BITS, UserCells};

use super::{
    name::{Artefact, RouteName, VariantName},
    route::Route,
    snapshot::Snapshot,
    stats::histogram::{BUCKETS, bucket_of_ms, slot},
    variant::Variant,
};
use std::sync::{
    Arc, OnceLock,
    atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// Endpoints of a variant that are counted apart; whatever comes after them shares the last place.
pub const ENDPOINTS: usize = 64;

/// A counter with one writer and many readers.
#[derive(Debug, Default)]
pub struct Cell(AtomicU64);

impl Cell {
    /// Adds `n`. Only the owning thread may call it: two writers would lose counts.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Makes it `n`, and lets whoever sees that by [`Self::published`] see all that was written before. As for [`Self::add`],
    /// there is one writer.
    fn publish(&self, n: u64) {
        self.0.store(n, Release);
    }

    /// What was published last.
    fn published(&self) -> u64 {
        self.0.load(Acquire)
    }
}

/// A histogram that one data thread writes.
#[derive(Debug)]
pub struct HistogramCells {
    counts: Box<[Cell]>,
    /// Sum of what was observed, in microseconds.
    sum_us: Cell,
}

impl Default for HistogramCells {
    fn default() -> Self {
        Self { counts: (0..BUCKETS).map(|_| Cell::default()).collect(), sum_us: Cell::default() }
    }
}

impl HistogramCells {
    /// Counts one latency in microseconds.
    #[allow(clippy::cast_precision_loss, reason = "microseconds stay far below 2^53")]
    pub fn observe_us(&self, us: u64) {
        if let Some(count) = self.counts.get(slot(bucket_of_ms(us as f64 / 1000.0))) {
            count.add(1);
        }
        self.sum_us.add(us);
    }
}

/// A histogram that takes no memory before its first observation: most routes never stream a token.
#[derive(Debug, Default)]
pub struct LazyHistogram(OnceLock<Box<HistogramCells>>);

impl LazyHistogram {
    /// Counts one duration in microseconds.
    pub fn observe_us(&self, us: u64) {
        self.0.get_or_init(Box::default).observe_us(us);
    }

    /// Counts a number as if it were milliseconds; it is in no sum.
    pub fn observe_ms(&self, ms: f64) {
        if let Some(count) = self.0.get_or_init(Box::default).counts.get(slot(bucket_of_ms(ms))) {
            count.add(1);
        }
    }

    fn made(&self) -> Option<&HistogramCells> {
        self.0.get().map(|cells| &**cells)
    }
}

/// Streamed successes, each counted once when it has ended: the gaps of one stream are anything but independent.
#[derive(Debug, Default)]
pub struct StreamCells {
    /// To the first piece that has content: not its head, not the chunk that only names the role. Where its content is not read,
    /// to its first byte.
    pub first_token: LazyHistogram,
    /// Mean time between two pieces with content; a stream of a single piece has none.
    pub mean_gap: LazyHistogram,
}

/// What one endpoint of a variant did, on one data thread. The judge reads endpoints apart when their failures are shared by
/// all of their requests, so that requests are not independent.
#[derive(Debug, Default)]
pub struct EndpointCells {
    /// Requests whose outcome is the endpoint's own doing: successes and backend faults.
    pub completed: Cell,
    /// Backend faults among them.
    pub errors: Cell,
    /// As [`VariantCells::latency`].
    pub latency: HistogramCells,
    /// As [`VariantCells::streams`].
    pub streams: StreamCells,
}

/// Cells of endpoints, made when an endpoint answers for the first time.
#[derive(Debug)]
pub struct Endpoints([OnceLock<Box<EndpointCells>>; ENDPOINTS]);

impl Default for Endpoints {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }
}

impl Endpoints {
    fn made(&self, slot: usize) -> Option<&EndpointCells> {
        self.0.get(slot)?.get().map(|cells| &**cells)
    }
}

/// What became of copies of requests sent to a shadow. They are no exposure and count nowhere else.
#[derive(Debug, Default)]
pub struct ShadowCells {
    /// Copies sent.
    pub sent: Cell,
    /// Copies not sent: the side pool was full, or the request too large to be kept.
    pub dropped: Cell,
    /// Copies sent whose answer failed, by whatever cause.
    pub failed: Cell,
    /// Copies of requests that stable answered, both with an outcome of their own.
    pub paired: Cell,
    /// Those among them in which only the copy failed ...
    pub worse: Cell,
    /// ... and those in which only the caller's answer did.
    pub better: Cell,
    /// Pairs of successes by the bucket of the copy's time over the caller's, as if that were milliseconds.
    pub ratio: LazyHistogram,
    /// Answers that say what the caller's answer said.
    pub agreed: Cell,
    /// Answers that say something else.
    pub disagreed: Cell,
}

/// One variant's counts of one data thread.
#[derive(Debug, Default)]
pub struct VariantCells {
    /// Draws that fell on it (sticky or random; pinned and shadow requests count nowhere but in `pinned`).
    pub assigned: Cell,
    /// Requests forced here by `x-coalmine-pin`; left out of everything else.
    pub pinned: Cell,
    /// Requests drawn for it, by how its own attempt ended. A canary request saved by stable counts here as the canary's failure.
    pub outcomes: [Cell; Outcome::ALL.len()],
    /// Requests drawn for it that stable answered after its failure.
    pub saved_by_fallback: Cell,
    /// Requests of other variants that it answered as their fallback; no exposure.
    pub fallbacks_served: Cell,
    /// Status sent to the caller by class: 1xx to 5xx.
    pub status_classes: [Cell; 5],
    /// From the request's head received to the last byte of a successful answer handed on, without the caller's own slowness.
    /// Streams of tokens or events are in `streams` instead.
    pub latency: HistogramCells,
    /// To the first byte of the answer's head.
    pub first_byte: HistogramCells,
    /// Streamed successes.
    pub streams: StreamCells,
    /// Between two pieces of a stream that have content, as they came from the backend.
    pub token_gap: LazyHistogram,
    /// Tokens generated: as the backend says, else the pieces that had content.
    pub tokens: Cell,
    /// Generated answers, streamed or not, by why they ended.
    pub finishes: [Cell; Finish::ALL.len()],
    /// Generated answers without any content.
    pub empty_answers: Cell,
    /// Copies that it got as a shadow.
    pub shadow: ShadowCells,
    /// Users who failed, on sticky routes.
    pub users: UserCells,
    /// By endpoint; see [`VariantCells::endpoint`].
    endpoints: Endpoints,
    /// Request body bytes sent to the backend.
    pub bytes_in: Cell,
    /// Response body bytes sent to the caller.
    pub bytes_out: Cell,
    /// Requests begun and not ended: `begun - ended`.
    pub begun: Cell,
    /// See `begun`.
    pub ended: Cell,
}

impl VariantCells {
    /// The cell of an outcome.
    #[must_use]
    pub fn outcome(&self, outcome: Outcome) -> &Cell {
        // The array has one cell per member of the enum, so the position always exists.
        self.outcomes.get(outcome as usize).unwrap_or(&self.ended)
    }

    /// The cell of a reason to stop.
    #[must_use]
    pub fn finish(&self, finish: Finish) -> &Cell {
        // As above.
        self.finishes.get(finish as usize).unwrap_or(&self.ended)
    }

    /// The cells of an endpoint, made on first use by the one thread that writes them. A slot is one endpoint on every thread;
    /// slots past [`ENDPOINTS`] share the last place.
    pub fn endpoint(&self, slot: u8) -> &EndpointCells {
        let [.., last] = &self.endpoints.0;
        self.endpoints.0.get(usize::from(slot)).unwrap_or(last).get_or_init(Box::default)
    }
}

/// Label counts of one variant. The feedback door is the only writer.
#[derive(Debug, Default)]
pub struct LabelCells {
    /// Labels that counted for this answer alone.
    pub labelled: Cell,
    /// Millionths of wrong among them: 1,000,000 for a wrong label, what a score lacks to 1.
    pub wrong_micro: Cell,
    /// Labels that judged its copy's answer and stable's to the same request.
    pub paired: Cell,
    /// Millionths by which its copy was worse than stable, over those in which it was.
    pub worse_micro: Cell,
    /// Millionths by which its copy was better.
    pub better_micro: Cell,
}

/// Everything counted about one variant, over all data threads.
#[derive(Debug)]
pub struct VariantTally {
    /// The route it is counted under.
    pub route: RouteName,
    /// The variant.
    pub variant: VariantName,
    /// What it serves: a new artefact under the old name counts afresh.
    pub artefact: Artefact,
    /// One entry per data thread.
    pub threads: Box<[VariantCells]>,
    /// Labels.
    pub labels: LabelCells,
    /// Which attempt's failed users are remembered: when it moves on, those of before are forgotten. The judge loop writes.
    users_epoch: Cell,
}

impl VariantTally {
    fn new(route: &RouteName, variant: &VariantName, artefact: &Artefact, threads: usize) -> Self {
        Self {
            route: route.clone(),
            variant: variant.clone(),
            artefact: artefact.clone(),
            threads: (0..threads).map(|_| VariantCells::default()).collect(),
            labels: LabelCells::default(),
            users_epoch: Cell::default(),
        }
    }

    /// A user of a sticky route failed, as data thread `thread` saw it. `user`: the hash their draw was made from; `None`: the
    /// request named nobody.
    pub fn user_failed(&self, thread: usize, user: Option<u64>) {
        if let Some(cells) = self.threads.get(thread) {
            cells.users.failed(user, self.users_epoch.published());
        }
    }

    /// Forgets which users have failed. Only the judge loop may call it.
    pub fn forget_users(&self) {
        self.users_epoch.publish(self.users_epoch.get() + 1);
    }
}

/// The tallies of one snapshot's variants: one list per route, in the table's order.
#[derive(Debug, Default, Clone)]
pub struct Board {
    routes: Vec<Vec<Arc<VariantTally>>>,
}

impl Board {
    /// The board of `snapshot`: tallies of variants that are still there go on, new ones start at zero.
    #[must_use]
    pub fn next(&self, snapshot: &Snapshot, threads: usize) -> Self {
        let kept = |route: &RouteName, variant: &VariantName, artefact: &Artefact| {
            self.routes
                .iter()
                .flatten()
                .find(|tally| tally.route == *route && tally.variant == *variant && tally.artefact == *artefact)
        };
        let tallies = |route: &Route| {
            let one = |v: &Variant| {
                kept(&route.name, &v.name, &v.artefact)
                    .cloned()
                    .unwrap_or_else(|| Arc::new(VariantTally::new(&route.name, &v.name, &v.artefact, threads)))
            };
            route.variants.iter().map(one).collect()
        };
        Self { routes: snapshot.routes.iter().map(|route| tallies(route)).collect() }
    }

    /// The tally of a variant by the positions of its route and itself.
    #[must_use]
    pub fn tally(&self, route: usize, variant: usize) -> Option<&Arc<VariantTally>> {
        self.routes.get(route)?.get(variant)
    }

    /// The cells that data thread `thread` writes for a variant.
    #[must_use]
    pub fn cells(&self, route: usize, variant: usize, thread: usize) -> Option<&VariantCells> {
        self.tally(route, variant)?.threads.get(thread)
    }

    /// All tallies, route by route.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<VariantTally>> {
        self.routes.iter().flatten()
    }
}

#[cfg(test)]
mod tests;
