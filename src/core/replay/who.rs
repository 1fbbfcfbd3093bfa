//! Who answered and who asked in a recording: windows of endpoints, first failures of users, and the mode that follows from both.

use super::Event;
use crate::core::{
    judge::{Chosen, EndpointBlock, Mode, ModeChoice, Streams, Unit, UserBlock},
    tally::FailedUsers,
};
use std::collections::BTreeMap;

/// What one observation is: by the rule that holds live, from whom the recording names. A mode that the policy asks for needs its
/// column; without it the recording's own traits choose.
#[must_use]
pub fn chosen(events: &[Event], choice: ModeChoice) -> Chosen {
    let sticky = events.iter().any(|event| event.user.is_some());
    let mut endpoints = [vec![false; usize::from(u16::MAX) + 1], vec![false; usize::from(u16::MAX) + 1]];
    for (event, endpoint) in events.iter().filter_map(|event| Some((event, event.endpoint?))) {
        let [canary, stable] = &mut endpoints;
        let seen = if event.canary { canary } else { stable };
        seen.get_mut(usize::from(endpoint)).into_iter().for_each(|seen| *seen = true);
    }
    let endpoints = endpoints.map(|seen| seen.into_iter().filter(|seen| *seen).count());
    let possible = match choice {
        ModeChoice::Fixed(Mode::Endpoints) => endpoints.iter().all(|n| *n > 0),
        ModeChoice::Fixed(Mode::Users) => sticky,
        ModeChoice::Fixed(Mode::Requests) | ModeChoice::Auto => true,
    };
    Chosen::new(if possible { choice } else { ModeChoice::Auto }, sticky, endpoints)
}

/// Endpoints since the window opened, which is counted in looks. As live, a window ends at the first look after its time.
#[derive(Debug)]
pub(super) struct Windows {
    canary: BTreeMap<u16, Unit>,
    stable: BTreeMap<u16, Unit>,
    since_look: f64,
    lasts_looks: f64,
}

impl Windows {
    pub(super) fn new(window_ms: f64, interval_ms: f64) -> Self {
        let lasts_looks = (window_ms / interval_ms).ceil().max(1.0);
        Self { canary: BTreeMap::new(), stable: BTreeMap::new(), since_look: 0.0, lasts_looks }
    }

    pub(super) fn take(&mut self, event: &Event) {
        let Some(endpoint) = event.endpoint else { return };
        let units = if event.canary { &mut self.canary } else { &mut self.stable };
        let unit = units.entry(endpoint).or_insert_with(|| Unit { endpoint, ..Unit::default() });
        unit.completed += 1;
        match (event.ok, event.first_token) {
            (false, _) => unit.errors += 1,
            (true, None) => unit.latency.add(event.bucket, 1),
            (true, Some(bucket)) => {
                let streams = unit.streams.get_or_insert_with(Box::<Streams>::default);
                streams.first_token.add(bucket, 1);
            }
        }
    }

    /// The look at which the window ends.
    pub(super) fn due_look(&self) -> f64 {
        self.since_look + self.lasts_looks
    }

    /// Ends it at its look, if that comes before `next`, the look that has something new. Windows in which nothing came are left out.
    pub(super) fn end_before(&mut self, next: f64) -> Option<(f64, EndpointBlock)> {
        let due = self.due_look();
        if due >= next {
            return None;
        }
        let ended = self.end(due);
        let empty = ((next - 1.0 - due) / self.lasts_looks).floor();
        self.since_look += empty * self.lasts_looks;
        ended.map(|block| (due, block))
    }

    /// Ends it at this look. One in which only one variant answered has nothing to compare.
    pub(super) fn end(&mut self, look: f64) -> Option<EndpointBlock> {
        self.since_look = look;
        let [canary, stable] =
            [&mut self.canary, &mut self.stable].map(|units| std::mem::take(units).into_values().collect::<Vec<_>>());
        (!canary.is_empty() && !stable.is_empty()).then_some(EndpointBlock { canary, stable })
    }
}

/// Users who have failed, and those of the open block.
#[derive(Debug, Default)]
pub(super) struct Users {
    before: FailedUsers,
    canary: Vec<Option<u64>>,
    stable: Vec<Option<u64>>,
}

impl Users {
    pub(super) fn take(&mut self, event: &Event) {
        if !event.ok {
            if event.canary { &mut self.canary } else { &mut self.stable }.push(event.user);
        }
    }

    /// Who failed for the first time. One who failed with both variants counts for stable, as live. Who is not named was drawn on
    /// their own, and counts on their own.
    pub(super) fn end(&mut self) -> UserBlock {
        let mut first = |users: &mut Vec<Option<u64>>| {
            let count = users.drain(..).filter(|user| user.is_none_or(|user| self.before.insert(user))).count();
            u64::try_from(count).unwrap_or(u64::MAX)
        };
        let stable = first(&mut self.stable);
        UserBlock { canary: first(&mut self.canary), stable }
    }
}
