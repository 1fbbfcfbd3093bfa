//! What is counted: one writer, sums, differences.
//!
//! Each data thread writes its own cells with a relaxed load and store: no locked instruction, no channel, no allocation.
//! The judge and `/metrics` read the very same cells, so the dashboard and the verdict can never disagree.

use super::{
    name::{Artefact, RouteName, VariantName},
    route::Route,
    snapshot::Snapshot,
    stats::histogram::{BUCKETS, Histogram, bucket_of_ms, slot},
    variant::Variant,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

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

    fn read_into(&self, sum: &mut Histogram) {
        sum.add_slots(self.counts.iter().map(Cell::get));
    }
}

/// How a request ended, by whose doing. Only the variants whose name starts with `Backend` count against a variant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// The whole answer went to the caller, and its status is below 500.
    Ok,
    /// The backend answered with a 5xx status.
    BackendStatus,
    /// No connection to the backend.
    BackendConnect,
    /// The backend broke the connection, or cut its answer off.
    BackendReset,
    /// The backend kept a time limit waiting.
    BackendTimeout,
    /// The backend's answer is not valid HTTP, or empty where it must not be.
    BackendMalformed,
    /// The caller went away, or stopped reading.
    ClientGone,
    /// The caller's request is not valid, too large or too slow.
    ClientBad,
    /// We refused: a limit of ours, or draining.
    Proxy,
}

impl Outcome {
    /// Every outcome, in the order of their cells.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::BackendStatus,
        Self::BackendConnect,
        Self::BackendReset,
        Self::BackendTimeout,
        Self::BackendMalformed,
        Self::ClientGone,
        Self::ClientBad,
        Self::Proxy,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BackendStatus => "backend_status",
            Self::BackendConnect => "backend_connect",
            Self::BackendReset => "backend_reset",
            Self::BackendTimeout => "backend_timeout",
            Self::BackendMalformed => "backend_malformed",
            Self::ClientGone => "client_gone",
            Self::ClientBad => "client_bad",
            Self::Proxy => "proxy",
        }
    }

    /// Whether the backend is to blame.
    #[must_use]
    pub fn is_backend_fault(self) -> bool {
        matches!(
            self,
            Self::BackendStatus
                | Self::BackendConnect
                | Self::BackendReset
                | Self::BackendTimeout
                | Self::BackendMalformed
        )
    }
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
    pub latency: HistogramCells,
    /// To the first byte of the answer's head.
    pub first_byte: HistogramCells,
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
}

/// Label counts of one variant. The feedback door is the only writer.
#[derive(Debug, Default)]
pub struct LabelCells {
    /// Labels that counted.
    pub labelled: Cell,
    /// Millionths of wrong among them: 1,000,000 for a wrong label, what a score lacks to 1.
    pub wrong_micro: Cell,
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
}

/// A reading of one variant's cells, summed over the threads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// See [`VariantCells::assigned`].
    pub assigned: u64,
    /// See [`VariantCells::pinned`].
    pub pinned: u64,
    /// By outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// See [`VariantCells::saved_by_fallback`].
    pub saved_by_fallback: u64,
    /// See [`VariantCells::fallbacks_served`].
    pub fallbacks_served: u64,
    /// See [`VariantCells::status_classes`].
    pub status_classes: [u64; 5],
    /// See [`VariantCells::latency`].
    pub latency: Histogram,
    /// Sum of `latency` in microseconds.
    pub latency_sum_us: u64,
    /// See [`VariantCells::first_byte`].
    pub first_byte: Histogram,
    /// Sum of `first_byte` in microseconds.
    pub first_byte_sum_us: u64,
    /// See [`VariantCells::bytes_in`].
    pub bytes_in: u64,
    /// See [`VariantCells::bytes_out`].
    pub bytes_out: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// See [`LabelCells::labelled`].
    pub labelled: u64,
    /// See [`LabelCells::wrong_micro`].
    pub wrong_micro: u64,
}

impl Reading {
    /// Requests whose outcome is the variant's own doing: successes and backend faults.
    #[must_use]
    pub fn completed(&self) -> u64 {
        let counts = |o: &Outcome| *o == Outcome::Ok || o.is_backend_fault();
        Outcome::ALL.iter().zip(&self.outcomes).filter(|(o, _)| counts(o)).map(|(_, n)| n).sum()
    }

    /// Failures whose cause is the backend.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let pairs = Outcome::ALL.iter().zip(&self.outcomes);
        pairs.filter(|(o, _)| o.is_backend_fault()).map(|(_, n)| n).sum()
    }
}

impl VariantTally {
    fn new(route: &RouteName, variant: &VariantName, artefact: &Artefact, threads: usize) -> Self {
        Self {
            route: route.clone(),
            variant: variant.clone(),
            artefact: artefact.clone(),
            threads: (0..threads).map(|_| VariantCells::default()).collect(),
            labels: LabelCells::default(),
        }
    }

    /// Sums the cells of all threads. Counts that are being written meanwhile come with the next reading.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut sum = Reading {
            labelled: self.labels.labelled.get(),
            wrong_micro: self.labels.wrong_micro.get(),
            ..Reading::default()
        };
        for cells in &self.threads {
            // `ended` before `begun`: a request that ends in between is counted in flight, never negative.
            let ended = cells.ended.get();
            sum.in_flight += cells.begun.get().saturating_sub(ended);
            sum.assigned += cells.assigned.get();
            sum.pinned += cells.pinned.get();
            sum.saved_by_fallback += cells.saved_by_fallback.get();
            sum.fallbacks_served += cells.fallbacks_served.get();
            sum.bytes_in += cells.bytes_in.get();
            sum.bytes_out += cells.bytes_out.get();
            sum.latency_sum_us += cells.latency.sum_us.get();
            sum.first_byte_sum_us += cells.first_byte.sum_us.get();
            for (total, cell) in sum.outcomes.iter_mut().zip(&cells.outcomes) {
                *total += cell.get();
            }
            for (total, cell) in sum.status_classes.iter_mut().zip(&cells.status_classes) {
                *total += cell.get();
            }
            cells.latency.read_into(&mut sum.latency);
            cells.first_byte.read_into(&mut sum.first_byte);
        }
        sum
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
