//! Reading the cells: sums over the data threads, taken while they are being written.

use super::{Cell, ENDPOINTS, FailedUsers, Finish, HistogramCells, LazyHistogram, Outcome, VariantTally};
use crate::core::{judge::Pairs, stats::histogram::Histogram};

/// Observations read out of histogram cells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Timed {
    /// How many in each bucket.
    pub counts: Histogram,
    /// Their sum in microseconds.
    pub sum_us: u64,
}

impl Timed {
    fn add(&mut self, cells: &HistogramCells) {
        self.sum_us += cells.sum_us.get();
        self.counts.add_slots(cells.counts.iter().map(Cell::get));
    }

    fn add_lazy(&mut self, cells: &LazyHistogram) {
        cells.made().into_iter().for_each(|cells| self.add(cells));
    }
}

/// A reading of one variant's cells, summed over the threads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reading {
    /// See [`VariantCells::assigned`](super::VariantCells::assigned).
    pub assigned: u64,
    /// See [`VariantCells::pinned`](super::VariantCells::pinned).
    pub pinned: u64,
    /// By outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// See [`VariantCells::saved_by_fallback`](super::VariantCells::saved_by_fallback).
    pub saved_by_fallback: u64,
    /// See [`VariantCells::fallbacks_served`](super::VariantCells::fallbacks_served).
    pub fallbacks_served: u64,
    /// See [`VariantCells::status_classes`](super::VariantCells::status_classes).
    pub status_classes: [u64; 5],
    /// See [`VariantCells::latency`](super::VariantCells::latency).
    pub latency: Histogram,
    /// Sum of `latency` in microseconds.
    pub latency_sum_us: u64,
    /// See [`VariantCells::first_byte`](super::VariantCells::first_byte).
    pub first_byte: Histogram,
    /// Sum of `first_byte` in microseconds.
    pub first_byte_sum_us: u64,
    /// See [`StreamCells::first_token`](super::StreamCells::first_token).
    pub first_token: Timed,
    /// See [`StreamCells::mean_gap`](super::StreamCells::mean_gap).
    pub mean_gap: Timed,
    /// See [`VariantCells::token_gap`](super::VariantCells::token_gap).
    pub token_gap: Timed,
    /// See [`VariantCells::tokens`](super::VariantCells::tokens).
    pub tokens: u64,
    /// By reason, in the order of [`Finish::ALL`].
    pub finishes: [u64; Finish::ALL.len()],
    /// See [`VariantCells::empty_answers`](super::VariantCells::empty_answers).
    pub empty_answers: u64,
    /// See [`VariantCells::shadow`](super::VariantCells::shadow).
    pub shadow: ShadowReading,
    /// See [`ShadowCells::ratio`](super::ShadowCells::ratio).
    pub shadow_ratio: Histogram,
    /// Labels of pairs.
    pub paired: PairedReading,
    /// See [`VariantCells::bytes_in`](super::VariantCells::bytes_in).
    pub bytes_in: u64,
    /// See [`VariantCells::bytes_out`](super::VariantCells::bytes_out).
    pub bytes_out: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// See [`LabelCells::labelled`](super::LabelCells::labelled).
    pub labelled: u64,
    /// See [`LabelCells::wrong_micro`](super::LabelCells::wrong_micro).
    pub wrong_micro: u64,
}

/// A reading of [`ShadowCells`](super::ShadowCells), field by field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the cells' own words hold")]
pub struct ShadowReading {
    pub sent: u64,
    pub dropped: u64,
    pub failed: u64,
    pub paired: u64,
    pub worse: u64,
    pub better: u64,
    pub agreed: u64,
    pub disagreed: u64,
}

impl ShadowReading {
    /// Every count with its metric label.
    #[must_use]
    pub fn labelled(&self) -> [(&'static str, u64); 8] {
        [
            ("sent", self.sent),
            ("dropped", self.dropped),
            ("failed", self.failed),
            ("paired", self.paired),
            ("worse", self.worse),
            ("better", self.better),
            ("agreed", self.agreed),
            ("disagreed", self.disagreed),
        ]
    }
}

/// A reading of the labels of pairs; see [`LabelCells`](super::LabelCells).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "the cells' own words hold")]
pub struct PairedReading {
    pub labels: u64,
    pub worse_micro: u64,
    pub better_micro: u64,
}

impl PairedReading {
    /// What came since `then`.
    #[must_use]
    pub fn since(&self, then: &Self) -> Pairs {
        Pairs {
            n: self.labels - then.labels,
            canary_worse_micro: self.worse_micro - then.worse_micro,
            stable_worse_micro: self.better_micro - then.better_micro,
        }
    }
}

/// A reading of one endpoint's cells, summed over the threads.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EndpointReading {
    /// See [`EndpointCells::completed`](super::EndpointCells::completed).
    pub completed: u64,
    /// See [`EndpointCells::errors`](super::EndpointCells::errors).
    pub errors: u64,
    /// See [`EndpointCells::latency`](super::EndpointCells::latency).
    pub latency: Timed,
    /// See [`StreamCells::first_token`](super::StreamCells::first_token).
    pub first_token: Timed,
    /// See [`StreamCells::mean_gap`](super::StreamCells::mean_gap).
    pub mean_gap: Timed,
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
    /// Sums the cells of all threads. Counts that are being written meanwhile come with the next reading.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut sum = Reading {
            labelled: self.labels.labelled.get(),
            wrong_micro: self.labels.wrong_micro.get(),
            paired: PairedReading {
                labels: self.labels.paired.get(),
                worse_micro: self.labels.worse_micro.get(),
                better_micro: self.labels.better_micro.get(),
            },
            ..Reading::default()
        };
        let (mut latency, mut first_byte, mut ratio) = (Timed::default(), Timed::default(), Timed::default());
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
            sum.tokens += cells.tokens.get();
            sum.empty_answers += cells.empty_answers.get();
            sum.shadow.sent += cells.shadow.sent.get();
            sum.shadow.dropped += cells.shadow.dropped.get();
            sum.shadow.failed += cells.shadow.failed.get();
            sum.shadow.paired += cells.shadow.paired.get();
            sum.shadow.worse += cells.shadow.worse.get();
            sum.shadow.better += cells.shadow.better.get();
            ratio.add_lazy(&cells.shadow.ratio);
            sum.shadow.agreed += cells.shadow.agreed.get();
            sum.shadow.disagreed += cells.shadow.disagreed.get();
            add_all(&mut sum.outcomes, &cells.outcomes);
            add_all(&mut sum.status_classes, &cells.status_classes);
            add_all(&mut sum.finishes, &cells.finishes);
            latency.add(&cells.latency);
            first_byte.add(&cells.first_byte);
            sum.first_token.add_lazy(&cells.streams.first_token);
            sum.mean_gap.add_lazy(&cells.streams.mean_gap);
            sum.token_gap.add_lazy(&cells.token_gap);
        }
        sum.shadow_ratio = ratio.counts;
        (sum.latency, sum.latency_sum_us) = (latency.counts, latency.sum_us);
        (sum.first_byte, sum.first_byte_sum_us) = (first_byte.counts, first_byte.sum_us);
        sum
    }

    /// Sums the cells of every endpoint that was ever used, by its slot, rising.
    #[must_use]
    pub fn read_endpoints(&self) -> Vec<(u8, EndpointReading)> {
        let one = |slot: usize| {
            let threads = self.threads.iter().filter_map(|cells| cells.endpoints.made(slot));
            threads.fold(None, |sum: Option<EndpointReading>, cells| {
                let mut sum = sum.unwrap_or_default();
                sum.completed += cells.completed.get();
                sum.errors += cells.errors.get();
                sum.latency.add(&cells.latency);
                sum.first_token.add_lazy(&cells.streams.first_token);
                sum.mean_gap.add_lazy(&cells.streams.mean_gap);
                Some(sum)
            })
        };
        (0..ENDPOINTS).filter_map(|slot| Some((u8::try_from(slot).ok()?, one(slot)?))).collect()
    }

    /// Users who have failed, over all threads, since they were last forgotten.
    #[must_use]
    pub fn failed_users(&self) -> FailedUsers {
        let mut users = FailedUsers::default();
        let epoch = self.users_epoch.get();
        self.threads.iter().for_each(|cells| cells.users.add_to(&mut users, epoch));
        users
    }
}

fn add_all(totals: &mut [u64], cells: &[Cell]) {
    for (total, cell) in totals.iter_mut().zip(cells) {
        *total += cell.get();
    }
}
