//! From the tallies to blocks: what came in since the last look, each count once, in the block in which it became known.
//!
//! A block of requests closes when both variants have finished one; until then counts wait. When it closes depends on exposures
//! and time, never on outcomes. While the canary has no weight nothing is counted: stable's requests of that time have none of the
//! canary's to be compared with. Pairs know no weight. Source: judge.md sections 5.1, 5.6, 5.7.

use super::{EndpointReading, FailedUsers, Reading, VariantTally};
use crate::core::{
    judge::{Arm, Block, EndpointBlock, LabelBlock, PairBlock, Pairs, RequestBlock, Streams, Unit, UserBlock},
    stats::histogram::Histogram,
};
use std::sync::Arc;

const MICRO: u64 = 1_000_000;

/// The world at a look.
#[derive(Clone, Debug)]
pub struct Look {
    /// The canary's tally, then stable's.
    pub tallies: [Arc<VariantTally>; 2],
    /// The canary's share of the draws that fall on one of the two; 0 while it has no weight.
    pub share: f64,
    /// Whether users keep their variant.
    pub sticky: bool,
    /// Whether the release is younger than its warm-up time.
    pub warming_up: bool,
    /// How long a window of endpoints lasts, milliseconds.
    pub window_ms: u64,
    /// On the process's own clock, milliseconds.
    pub now_ms: u64,
}

/// Up to where the counts of one attempt have been told.
#[derive(Debug)]
pub struct Blocks {
    tallies: [Arc<VariantTally>; 2],
    requests: [Reading; 2],
    labels: [Reading; 2],
    pairs: Reading,
    share: f64,
    /// Who has failed before.
    users: FailedUsers,
    unnamed: [u64; 2],
    window: Window,
}

/// Endpoints as they stood when the window opened.
#[derive(Debug, Default)]
struct Window {
    since_ms: u64,
    endpoints: [Vec<(u8, EndpointReading)>; 2],
}

impl Blocks {
    /// From now on: what was counted before is not this attempt's.
    #[must_use]
    pub fn from_now(look: &Look) -> Self {
        look.tallies.iter().for_each(|tally| tally.forget_users());
        let mut blocks = Self::from_zero(look, FailedUsers::default());
        let readings = blocks.read();
        blocks.requests.clone_from(&readings);
        let [canary, _] = &readings;
        blocks.pairs.clone_from(canary);
        blocks.labels = readings;
        blocks.window.endpoints = blocks.read_endpoints();
        blocks.unnamed = blocks.tallies.each_ref().map(|tally| tally.failed_users().unnamed);
        blocks
    }

    /// From the start of the process, for an attempt that began in an earlier one and in which these `users` had failed.
    #[must_use]
    pub fn from_zero(look: &Look, users: FailedUsers) -> Self {
        Self {
            tallies: look.tallies.clone(),
            requests: Default::default(),
            labels: Default::default(),
            pairs: Reading::default(),
            share: look.share,
            users,
            unnamed: [0; 2],
            window: Window { since_ms: look.now_ms, ..Window::default() },
        }
    }

    /// Whether these are the cells that are counted into.
    #[must_use]
    pub fn are_of(&self, tallies: &[Arc<VariantTally>; 2]) -> bool {
        self.tallies.iter().zip(tallies).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Users who have failed so far, to be saved.
    #[must_use]
    pub fn users(&self) -> &FailedUsers {
        &self.users
    }

    fn read(&self) -> [Reading; 2] {
        self.tallies.each_ref().map(|tally| tally.read())
    }

    fn read_endpoints(&self) -> [Vec<(u8, EndpointReading)>; 2] {
        self.tallies.each_ref().map(|tally| tally.read_endpoints())
    }

    /// What came in since the last block.
    pub fn next(&mut self, look: &Look) -> Block {
        let readings = self.read();
        let [canary_now, _] = &readings;
        let paused = look.share <= 0.0 && self.share <= 0.0;
        let mut block = Block { pairs: self.pairs(canary_now), ..Block::default() };
        let ([canary, stable], [canary_then, stable_then]) = (&readings, &self.requests);
        let (canary, stable) = (arm(canary, canary_then), arm(stable, stable_then));
        if paused {
            self.requests.clone_from(&readings);
            self.failed_users();
        } else if canary.completed > 0 && stable.completed > 0 {
            let kept = (self.share - look.share).abs() < 1e-9;
            let share = kept.then_some(look.share);
            block.requests = Some(RequestBlock { canary, stable, share, warming_up: look.warming_up });
            let users = self.failed_users();
            block.users = look.sticky.then_some(users);
            self.requests.clone_from(&readings);
            self.share = look.share;
        } else if look.share <= 0.0 {
            // The weight is gone, and there is nothing to close.
            self.share = look.share;
        }
        block.endpoints = self.window(look, paused);
        block.labels = self.labels(readings, paused);
        block
    }

    fn labels(&mut self, readings: [Reading; 2], paused: bool) -> Option<LabelBlock> {
        let [canary, stable] = &readings;
        let [canary_then, stable_then] = &self.labels;
        let labels = LabelBlock {
            canary: canary.labelled - canary_then.labelled,
            stable: stable.labelled - stable_then.labelled,
            canary_wrong_micro: canary.wrong_micro - canary_then.wrong_micro,
            stable_wrong_micro: stable.wrong_micro - stable_then.wrong_micro,
        };
        let both = labels.canary > 0 && labels.stable > 0;
        // Labels are late: those of the canary's requests of before a pause still have stable's to stand beside.
        if both || (paused && labels.canary == 0) {
            self.labels = readings;
        }
        both.then_some(labels)
    }

    fn pairs(&mut self, canary: &Reading) -> Option<PairBlock> {
        let (now, then) = (&canary.shadow, &self.pairs.shadow);
        let labels = canary.paired.since(&self.pairs.paired);
        let errors = Pairs {
            n: now.paired - then.paired,
            canary_worse_micro: (now.worse - then.worse) * MICRO,
            stable_worse_micro: (now.better - then.better) * MICRO,
        };
        let disagreed = now.disagreed - then.disagreed;
        let compared = now.agreed - then.agreed + disagreed;
        if labels.n + errors.n + compared == 0 {
            return None;
        }
        let latency = canary.shadow_ratio.minus(&self.pairs.shadow_ratio);
        self.pairs.clone_from(canary);
        Some(PairBlock { labels, errors, latency, compared, disagreed })
    }

    /// Users who failed for the first time since this was asked last. One who failed with both variants counts for stable: it is not
    /// known with which one first, and nobody is to be blamed for it.
    fn failed_users(&mut self) -> UserBlock {
        let [canary, stable] = self.tallies.each_ref().map(|tally| tally.failed_users());
        let [canary_then, stable_then] = std::mem::replace(&mut self.unnamed, [canary.unnamed, stable.unnamed]);
        let stable_users = self.users.meet(&stable) + stable.unnamed - stable_then;
        UserBlock { canary: self.users.meet(&canary) + canary.unnamed - canary_then, stable: stable_users }
    }

    fn window(&mut self, look: &Look, paused: bool) -> Option<EndpointBlock> {
        if !paused && look.now_ms < self.window.since_ms + look.window_ms {
            return None;
        }
        let endpoints = self.read_endpoints();
        let ([canary, stable], [canary_then, stable_then]) = (&endpoints, &self.window.endpoints);
        let (canary, stable) = (units(canary, canary_then), units(stable, stable_then));
        self.window = Window { since_ms: look.now_ms, endpoints };
        // A window in which only one of the two answered has nothing to compare.
        (!paused && !canary.is_empty() && !stable.is_empty()).then_some(EndpointBlock { canary, stable })
    }
}

fn arm(now: &Reading, then: &Reading) -> Arm {
    Arm {
        completed: now.completed().saturating_sub(then.completed()),
        assigned: now.assigned.saturating_sub(then.assigned),
        errors: now.errors().saturating_sub(then.errors()),
        latency: now.latency.minus(&then.latency),
        streams: streams(
            [&now.first_token.counts, &now.mean_gap.counts],
            [&then.first_token.counts, &then.mean_gap.counts],
        ),
    }
}

fn streams(now: [&Histogram; 2], then: [&Histogram; 2]) -> Option<Box<Streams>> {
    let streams = Streams { first_token: now[0].minus(then[0]), token_gap: now[1].minus(then[1]) };
    (streams.first_token.total() > 0).then(|| Box::new(streams))
}

/// Those that answered between the two readings.
fn units(now: &[(u8, EndpointReading)], then: &[(u8, EndpointReading)]) -> Vec<Unit> {
    let unit = |(slot, now): &(u8, EndpointReading)| {
        let before = then.iter().find(|(known, _)| known == slot).map(|(_, then)| then.clone()).unwrap_or_default();
        let unit = Unit {
            endpoint: u16::from(*slot),
            completed: now.completed - before.completed,
            errors: now.errors - before.errors,
            latency: now.latency.counts.minus(&before.latency.counts),
            streams: streams(
                [&now.first_token.counts, &now.mean_gap.counts],
                [&before.first_token.counts, &before.mean_gap.counts],
            ),
        };
        (unit.completed > 0).then_some(unit)
    };
    now.iter().filter_map(unit).collect()
}

#[cfg(test)]
mod tests;
