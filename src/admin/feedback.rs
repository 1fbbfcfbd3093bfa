//! The door for labels: opens the ticket, checks age and once-only, and counts. The only writer of label cells.

mod held;

use crate::{
    core::{
        judge::AccuracyPolicy,
        now::Now,
        pair_book::PairBook,
        snapshot::Live,
        ticket::{Prediction, Ticket, TicketError, TicketKey, digest},
    },
    io::{
        meters::{Meters, PairEvent},
        pairs::Copied,
        store::Store,
    },
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{HashSet, VecDeque};

/// Tickets that are remembered as spent; beyond that labels are refused rather than counted twice.
pub const SPENT_MAX: usize = 1_000_000;
/// Labels that may wait until their request is old enough.
pub const HELD_MAX: usize = 100_000;
/// A ticket is good for so long. Spent ones are remembered as long.
pub const TICKET_AGE_MAX_MS: u64 = 7 * 24 * 3_600_000;
/// Labels that wait are written down at most so often, and less often the more there are: a hundred thousand every eleven seconds.
const HELD_SAVE_MS: u64 = 1_000;
/// How far another replica's clock may be ahead.
const SKEW_MS: u64 = 60_000;
const MICRO: f64 = 1e6;
/// The store's log of spent tickets: records of [`RECORD_BYTES`].
const SPENT: &str = "spent";
/// When it was spent, milliseconds since 1970 UTC, and its nonce; both little-endian.
const RECORD_BYTES: usize = 16;

/// One line of feedback: the truth, or how good the answer was.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub struct Line {
    ticket: String,
    /// What the right answer would have been, as JSON.
    label: Option<Box<RawValue>>,
    /// 0 (wrong) to 1 (right), instead of a label.
    score: Option<f64>,
}

#[derive(Debug)]
struct Waiting {
    due_ms: u64,
    ticket: Ticket,
    wrong: Wrong,
}

/// What a label says, in millionths of wrong.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    /// Of the answer that the ticket is about.
    answer_micro: u64,
    /// Of the copy's answer to the same request, if there is one.
    copy_micro: Option<u64>,
}

/// The door.
#[derive(Debug)]
pub struct Door {
    key: TicketKey,
    spent: HashSet<u64>,
    spent_in_order: VecDeque<(u64, u64)>,
    held: VecDeque<Waiting>,
    /// Whether `held` is another than was saved, and when that was.
    held_changed: bool,
    held_saved_ms: u64,
    /// What copies of requests were answered.
    pairs: PairBook,
    /// The data threads tell of them.
    copied: Copied,
    store: Store,
    /// Records that the store does not have yet.
    fresh: Vec<u8>,
}

impl Door {
    /// A door that opens tickets sealed with `key`, hears on `copied` what copies were answered, and remembers in `store` which
    /// tickets were spent.
    #[must_use]
    pub fn new(key: TicketKey, store: Store, copied: Copied, now: Now) -> Self {
        let mut door = Self {
            key,
            spent: HashSet::new(),
            spent_in_order: VecDeque::new(),
            held: VecDeque::new(),
            held_changed: false,
            held_saved_ms: 0,
            pairs: PairBook::default(),
            copied,
            store,
            fresh: Vec::new(),
        };
        door.remember(now);
        door
    }

    /// Brings back what was spent and what waits, and drops from the log what is too old to matter.
    fn remember(&mut self, now: Now) {
        let log = match self.store.get(SPENT) {
            Ok(log) => log.unwrap_or_default(),
            Err(error) => {
                tracing::error!(%error, "spent tickets cannot be read: a label of before may count once more");
                return;
            }
        };
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let records = log.chunks_exact(RECORD_BYTES).map(|record| record.split_at(RECORD_BYTES / 2));
        let young = records.map(|(at, nonce)| (number(at), number(nonce)));
        self.spent_in_order =
            young.filter(|(at_ms, _)| now.wall_ms.saturating_sub(*at_ms) <= TICKET_AGE_MAX_MS).collect();
        self.spent = self.spent_in_order.iter().map(|(_, nonce)| *nonce).collect();
        // What waits is spent for whoever sends it again, and stands in the log once it has counted.
        self.held = held::load(&self.store, &self.key);
        self.held.retain(|waiting| !self.spent.contains(&waiting.ticket.nonce));
        for waiting in &self.held {
            self.spent.insert(waiting.ticket.nonce);
        }
        if self.spent_in_order.len() * RECORD_BYTES < log.len() {
            let kept: Vec<u8> = self.spent_in_order.iter().flat_map(|(at, nonce)| record(*at, *nonce)).collect();
            if let Err(error) = self.store.put(SPENT, &kept) {
                tracing::warn!(%error, "log of spent tickets not shortened");
            }
        }
    }

    /// Writes down what was spent since the last time. To be called before the results are told.
    pub fn keep(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        if !fresh.is_empty()
            && let Err(error) = self.store.append(SPENT, &fresh)
        {
            tracing::error!(%error, "spent tickets not written down: after a restart they could be sent again");
        }
    }

    /// Takes one line; its result is a metric label, with what to do about it.
    pub fn take(&mut self, line: &str, live: &Live, now: Now, meters: &Meters) -> (&'static str, String) {
        self.hear(meters);
        let (result, help) = match self.redeem(line, live, now, meters) {
            Ok(result) => (result, String::new()),
            Err((result, help)) => (result, help),
        };
        meters.feedback(result);
        (result, help)
    }

    /// Writes down what copies were answered meanwhile.
    fn hear(&mut self, meters: &Meters) {
        while let Ok(told) = self.copied.try_recv() {
            let evicted = self.pairs.keep(told);
            meters.pair(PairEvent::Kept, 1);
            meters.pair(PairEvent::Evicted, u64::from(evicted));
        }
    }

    fn redeem(
        &mut self,
        line: &str,
        live: &Live,
        now: Now,
        meters: &Meters,
    ) -> Result<&'static str, (&'static str, String)> {
        let line: Line = serde_json::from_str(line)
            .map_err(|error| ("malformed", format!("{error}; send {{\"ticket\": \"...\", \"label\": ...}}")))?;
        let ticket = Ticket::open(&line.ticket, &self.key).map_err(|error| match error {
            TicketError::Malformed => ("malformed", error.to_string()),
            TicketError::Forged => ("forged", error.to_string()),
        })?;
        if now.wall_ms.saturating_sub(ticket.at_ms) > TICKET_AGE_MAX_MS || ticket.at_ms > now.wall_ms + SKEW_MS {
            return Err(("expired", "the ticket is older than seven days, or from the future".into()));
        }
        let Some((position, route)) = live.snapshot.routes.named(ticket.route.as_str()) else {
            return Err(("unknown_route", format!("route `{}` is gone", ticket.route)));
        };
        let tally = route.position(ticket.variant.as_str()).and_then(|variant| live.board.tally(position, variant));
        if tally.is_none() {
            return Err(("unknown_variant", format!("variant `{}` is gone", ticket.variant)));
        }
        if route.release.as_ref().is_some_and(|view| view.key != ticket.release) {
            return Err(("other_release", "the request was answered before this release began".into()));
        }
        let policy = route.policy.accuracy.or(crate::core::judge::Policy::default().accuracy);
        let answer_micro = wrong_micro(&line, &ticket.prediction, policy)?;
        self.forget(now);
        if self.spent.len() >= SPENT_MAX || self.held.len() >= HELD_MAX {
            return Err(("full", "too many labels at once; send this one again later".into()));
        }
        if !self.spent.insert(ticket.nonce) {
            return Err(("duplicate", "this ticket has been used; one label a ticket".into()));
        }
        // A score is about one answer: it says nothing of the copy's.
        let copy = if line.label.is_some() { self.pairs.take(ticket.nonce) } else { None };
        let copy_micro = copy.and_then(|prediction| wrong_micro(&line, &prediction, policy).ok());
        meters.pair(PairEvent::Labelled, u64::from(copy_micro.is_some()));
        let wrong = Wrong { answer_micro, copy_micro };
        let due_ms = ticket.at_ms + policy.map_or(0, |policy| policy.label_delay_ms);
        if due_ms > now.wall_ms {
            self.held.push_back(Waiting { due_ms, ticket, wrong });
            self.held_changed = true;
            return Ok("held");
        }
        self.spend(ticket.nonce, now);
        count(live, &ticket, wrong);
        Ok("counted")
    }

    /// Counts the labels whose requests have become old enough, and forgets what is too old for one. Labels of a release that is
    /// over are dropped.
    pub fn mature(&mut self, live: &Live, now: Now, meters: &Meters) {
        self.hear(meters);
        meters.pair(PairEvent::Expired, self.pairs.expire(now.wall_ms.saturating_sub(TICKET_AGE_MAX_MS)));
        meters.pairs_waiting.set(self.pairs.len() as u64);
        let (due, held): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|waiting| waiting.due_ms <= now.wall_ms);
        self.held = held;
        self.held_changed |= !due.is_empty();
        for waiting in due {
            self.spend(waiting.ticket.nonce, now);
            count(live, &waiting.ticket, waiting.wrong);
        }
        self.keep();
        if self.held_changed && now.mono_ms >= self.held_saved_ms + HELD_SAVE_MS + self.held.len() as u64 / 10 {
            self.save_held(now);
        }
    }

    /// Writes down what waits. To be called once nothing comes in any more, so that a restart loses nothing.
    pub fn save_held(&mut self, now: Now) {
        if std::mem::take(&mut self.held_changed) {
            self.held_saved_ms = now.mono_ms;
            held::save(&self.store, &self.key, &self.held);
        }
    }

    /// Writes down that this ticket has counted, at the next [`Self::keep`]. One that only waits is not: if it were lost with the
    /// process, it may be sent again.
    fn spend(&mut self, nonce: u64, now: Now) {
        self.spent_in_order.push_back((now.wall_ms, nonce));
        self.fresh.extend(record(now.wall_ms, nonce));
    }

    fn forget(&mut self, now: Now) {
        while let Some((at_ms, nonce)) = self.spent_in_order.front().copied() {
            if now.wall_ms.saturating_sub(at_ms) <= TICKET_AGE_MAX_MS + SKEW_MS {
                return;
            }
            self.spent_in_order.pop_front();
            self.spent.remove(&nonce);
        }
    }
}

fn record(at_ms: u64, nonce: u64) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    let (at, rest) = record.split_at_mut(RECORD_BYTES / 2);
    at.copy_from_slice(&at_ms.to_le_bytes());
    rest.copy_from_slice(&nonce.to_le_bytes());
    record
}

fn count(live: &Live, ticket: &Ticket, wrong: Wrong) {
    let Some((position, route)) = live.snapshot.routes.named(ticket.route.as_str()) else { return };
    if route.release.as_ref().is_some_and(|view| view.key != ticket.release) {
        return;
    }
    let Some(variant) = route.position(ticket.variant.as_str()) else { return };
    let pair = route.release.as_ref().filter(|view| view.reference == variant).zip(wrong.copy_micro);
    if let Some((view, copy_micro)) = pair
        && let Some(canary) = live.board.tally(position, view.candidate)
    {
        // About both answers at once: counted here, and nowhere else.
        canary.labels.paired.add(1);
        canary.labels.worse_micro.add(copy_micro.saturating_sub(wrong.answer_micro));
        canary.labels.better_micro.add(wrong.answer_micro.saturating_sub(copy_micro));
    } else if let Some(tally) = live.board.tally(position, variant) {
        tally.labels.labelled.add(1);
        tally.labels.wrong_micro.add(wrong.answer_micro);
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a score is checked to be in 0..=1")]
fn wrong_micro(
    line: &Line,
    prediction: &Prediction,
    policy: Option<AccuracyPolicy>,
) -> Result<u64, (&'static str, String)> {
    let label = match (&line.label, line.score) {
        (None, Some(score)) if (0.0..=1.0).contains(&score) => return Ok(((1.0 - score) * MICRO).round() as u64),
        (Some(label), None) => label.get(),
        _ => return Err(("malformed", "say either `label`, or `score` between 0 and 1".into())),
    };
    let right = match prediction {
        Prediction::Unknown => {
            let help = "the ticket carries no prediction; send a `score`, or set the route's `protocol`";
            return Err(("no_prediction", help.into()));
        }
        Prediction::Value(value) => same(value, label, policy.map_or(0.0, |policy| policy.label_tolerance)),
        Prediction::Digest(told) => digest(label) == *told,
    };
    Ok(if right { 0 } else { 1_000_000 })
}

fn same(prediction: &str, label: &str, tolerance: f64) -> bool {
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    match (parse(prediction), parse(label)) {
        (Some(a), Some(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= tolerance,
            _ => a == b,
        },
        _ => prediction == label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_compared_as_json_within_the_tolerance() {
        for (prediction, label, tolerance, wanted) in [
            ("7", "7", 0.0, true),
            ("7", "7.0", 0.0, true),
            ("7", "8", 0.0, false),
            ("0.50", "0.52", 0.05, true),
            ("0.50", "0.6", 0.05, false),
            (r#""cat""#, r#""cat""#, 0.0, true),
            (r#"[1,2]"#, r#"[1, 2]"#, 0.0, true),
            (r#""7""#, "7", 0.0, false),
        ] {
            assert_eq!(same(prediction, label, tolerance), wanted, "{prediction} against {label}");
        }
    }
}
