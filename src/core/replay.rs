//! The judge on recorded events: the very trial that runs live, block for block.
//!
//! Events are looked at every interval, as the judge's loop looks at the tallies: a block of requests closes at the first look at which
//! both variants have finished one since the last block, a block of labels likewise, and what does not close is carried over. When
//! a block closes depends on exposures and time, never on outcomes. A label is taken at the look after it came, of requests that
//! had been served by then. Source: judge.md section 5.1.

mod who;

pub use who::chosen;

use super::{
    judge::{
        Arm, Block, Chosen, Evidence, LabelBlock, Mode, Policy, Reason, RequestBlock, Signal, Streams, Verdict,
        trial::Trial,
    },
    stats::histogram::bucket_of_ms,
};

use who::{Users, Windows};

/// How often the judge looks, milliseconds.
pub const INTERVAL_MS: f64 = 2_000.0;

/// One finished request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Event {
    /// When it was finished, milliseconds on any clock.
    pub at_ms: f64,
    /// Whether the canary answered; else stable did.
    pub canary: bool,
    /// Whether the answer was good; else it is an error, and its latency does not count.
    pub ok: bool,
    /// The bucket of its latency.
    pub bucket: i32,
    /// The canary's configured share of the draws at that moment, if it is known.
    pub share: Option<f64>,
    /// What became known of its answer later.
    pub label: Option<Label>,
    /// Which endpoint of its variant answered, if that is known.
    pub endpoint: Option<u16>,
    /// Whose request it was, on a route where a user keeps their variant.
    pub user: Option<u64>,
    /// Of a streamed answer the bucket of the time to its first token, which counts instead of the latency.
    pub first_token: Option<i32>,
}

impl Event {
    /// A request of which nothing else is known.
    #[must_use]
    pub fn new(at_ms: f64, canary: bool, ok: bool, latency_ms: f64) -> Self {
        Self {
            at_ms,
            canary,
            ok,
            bucket: bucket_of_ms(latency_ms),
            share: None,
            label: None,
            endpoint: None,
            user: None,
            first_token: None,
        }
    }
}

/// The truth about one answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Label {
    /// When it came, on the clock of the events.
    pub at_ms: f64,
    /// Millionths that it was wrong by: 0 or 1,000,000, or what a score lacks to 1.
    pub wrong_micro: u32,
}

/// How to judge.
#[derive(Clone, PartialEq, Debug)]
pub struct Setup {
    /// The margins.
    pub policy: Policy,
    /// How often to look, milliseconds.
    pub interval_ms: f64,
    /// The canary's configured share of the draws where an event does not say it. `None`: the split is not checked there.
    pub share: Option<f64>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { policy: Policy::default(), interval_ms: INTERVAL_MS, share: None }
    }
}

/// What came in until one look.
#[derive(Clone, PartialEq, Debug)]
pub struct Look {
    /// When, on the clock of the events.
    pub at_ms: f64,
    /// What closed at it.
    pub block: Block,
    /// Requests finished before it, of both variants.
    pub requests: u64,
    /// The canary's among them.
    pub canary: u64,
}

/// The looks at a recording, one after the other; looks at which nothing has come are left out.
#[derive(Debug)]
pub struct Looks<'a> {
    events: std::iter::Peekable<std::slice::Iter<'a, Event>>,
    labels: std::iter::Peekable<std::vec::IntoIter<(f64, bool, u32)>>,
    start_ms: f64,
    setup: &'a Setup,
    open: RequestBlock,
    /// Whether all events of the open block name the same share.
    share_kept: bool,
    open_labels: LabelBlock,
    chosen: Chosen,
    windows: Windows,
    users: Users,
    requests: u64,
    canary: u64,
}

fn empty() -> RequestBlock {
    RequestBlock { canary: Arm::default(), stable: Arm::default(), share: None, warming_up: false }
}

impl<'a> Looks<'a> {
    /// Brings `events` into the order of time (those of one moment stay as they are) and begins at the first one.
    #[must_use]
    pub fn new(events: &'a mut [Event], setup: &'a Setup) -> Self {
        if !events.is_sorted_by(|a, b| a.at_ms <= b.at_ms) {
            events.sort_by(|a, b| a.at_ms.total_cmp(&b.at_ms));
        }
        let events: &'a [Event] = events;
        let accuracy = setup.policy.accuracy;
        let delay_ms = accuracy.map_or(0, |accuracy| accuracy.label_delay_ms);
        #[allow(clippy::cast_precision_loss, reason = "a delay in milliseconds stays far below 2^53")]
        let delay_ms = delay_ms as f64;
        // A label is about a request that was served; and it counts once its request is old enough.
        let due = |event: &Event| {
            let label = event.label?;
            Some((label.at_ms.max(event.at_ms + delay_ms), event.canary, label.wrong_micro))
        };
        let mut labels: Vec<_> = events.iter().filter_map(due).collect();
        if !labels.is_sorted_by(|a, b| a.0 <= b.0) {
            labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        #[allow(clippy::cast_precision_loss, reason = "a window in milliseconds stays far below 2^53")]
        let window_ms = setup.policy.window_ms as f64;
        Self {
            chosen: chosen(events, setup.policy.mode),
            windows: Windows::new(window_ms, setup.interval_ms),
            users: Users::default(),
            start_ms: events.first().map_or(0.0, |event| event.at_ms),
            events: events.iter().peekable(),
            labels: labels.into_iter().peekable(),
            setup,
            open: empty(),
            share_kept: true,
            open_labels: LabelBlock::default(),
            requests: 0,
            canary: 0,
        }
    }

    /// What one observation of errors and latency is in this recording.
    #[must_use]
    pub fn chosen(&self) -> Chosen {
        self.chosen
    }

    /// The interval in which a moment lies.
    fn interval(&self, at_ms: f64) -> f64 {
        ((at_ms - self.start_ms) / self.setup.interval_ms).floor()
    }

    fn take(&mut self, event: &Event) {
        let share = event.share.or(self.setup.share);
        if self.open.canary.completed + self.open.stable.completed == 0 {
            (self.open.share, self.share_kept) = (share, true);
        }
        self.share_kept &= same(self.open.share, share);
        let arm = if event.canary { &mut self.open.canary } else { &mut self.open.stable };
        arm.completed += 1;
        arm.assigned += 1;
        match (event.ok, event.first_token) {
            (false, _) => arm.errors += 1,
            (true, None) => arm.latency.add(event.bucket, 1),
            (true, Some(bucket)) => {
                arm.streams.get_or_insert_with(Box::<Streams>::default).first_token.add(bucket, 1);
            }
        }
        match self.chosen.mode {
            Mode::Requests => {}
            Mode::Endpoints => self.windows.take(event),
            Mode::Users => self.users.take(event),
        }
        self.requests += 1;
        self.canary += u64::from(event.canary);
    }

    fn take_label(&mut self, canary: bool, wrong_micro: u32) {
        let labels = &mut self.open_labels;
        let (n, wrong) = if canary {
            (&mut labels.canary, &mut labels.canary_wrong_micro)
        } else {
            (&mut labels.stable, &mut labels.stable_wrong_micro)
        };
        *n += 1;
        *wrong += u64::from(wrong_micro);
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "milliseconds since the first event")]
    fn empty_block(&self, at_ms: f64) -> Block {
        Block { at_ms: (at_ms - self.start_ms) as u64, ..Block::default() }
    }

    #[allow(clippy::cast_precision_loss, reason = "a warm-up in milliseconds stays far below 2^53")]
    fn close(&mut self, at_ms: f64) -> Block {
        let mut block = self.empty_block(at_ms);
        if self.open.canary.completed > 0 && self.open.stable.completed > 0 {
            let mut requests = std::mem::replace(&mut self.open, empty());
            requests.share = requests.share.filter(|_| self.share_kept);
            requests.warming_up = at_ms - self.start_ms < self.setup.policy.warmup_ms as f64;
            block.requests = Some(requests);
            block.users = (self.chosen.mode == Mode::Users).then(|| self.users.end());
        }
        if self.open_labels.canary > 0 && self.open_labels.stable > 0 {
            block.labels = Some(std::mem::take(&mut self.open_labels));
        }
        block
    }
}

fn same(a: Option<f64>, b: Option<f64>) -> bool {
    a.zip(b).is_some_and(|(a, b)| (a - b).abs() < 1e-9)
}

impl Iterator for Looks<'_> {
    type Item = Look;

    fn next(&mut self) -> Option<Look> {
        let event = self.events.peek().map(|event| event.at_ms);
        let label = self.labels.peek().map(|label| label.0);
        let first = [event, label].into_iter().flatten().reduce(f64::min)?;
        let interval = self.interval(first);
        let by_windows = self.chosen.mode == Mode::Endpoints;
        if let Some((look, endpoints)) = by_windows.then(|| self.windows.end_before(interval + 1.0)).flatten() {
            let at_ms = self.start_ms + look * self.setup.interval_ms;
            let block = Block { endpoints: Some(endpoints), ..self.empty_block(at_ms) };
            return Some(Look { at_ms, block, requests: self.requests, canary: self.canary });
        }
        while let Some(event) = self.events.peek().copied().filter(|event| self.interval(event.at_ms) <= interval) {
            self.take(event);
            self.events.next();
        }
        while let Some((_, canary, wrong)) =
            self.labels.peek().copied().filter(|(at, ..)| self.interval(*at) <= interval)
        {
            self.take_label(canary, wrong);
            self.labels.next();
        }
        let at_ms = self.start_ms + (interval + 1.0) * self.setup.interval_ms;
        let mut block = self.close(at_ms);
        if by_windows && self.windows.due_look() <= interval + 1.0 {
            block.endpoints = self.windows.end(interval + 1.0);
        }
        Some(Look { at_ms, block, requests: self.requests, canary: self.canary })
    }
}

/// What is said of a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// The canary is worse; this signal carries most of the evidence.
    Rollback(Signal),
    /// Not worse than the margins, on every signal.
    Promote,
    /// Neither, to the end, and why.
    Keep(Reason),
    /// Neither, and at the end the split that was seen is not the configured one.
    HoldSrm,
}

impl Said {
    /// The word in the output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollback(_) => "rollback",
            Self::Promote => "promote",
            Self::Keep(_) => "keep",
            Self::HoldSrm => "hold_srm",
        }
    }
}

/// The outcome of a replay.
#[derive(Clone, PartialEq, Debug)]
pub struct Replayed {
    /// The first verdict, or how it stood at the end.
    pub said: Said,
    /// Requests finished when it fell. `Keep`: all of them. `HoldSrm`: those when the hold that lasted to the end began.
    pub at_request: u64,
    /// The canary's among them.
    pub at_canary: u64,
    /// When that was.
    pub at_ms: f64,
    /// The numbers behind it.
    pub evidence: Evidence,
}

/// Judges a recording. The first verdict counts.
#[must_use]
pub fn replay(events: &mut [Event], setup: &Setup) -> Replayed {
    let looks = Looks::new(events, setup);
    let mut trial = Trial::in_mode(&setup.policy, looks.chosen());
    let mut verdict = trial.verdict();
    let mut held: Option<(u64, u64, f64)> = None;
    let mut last = (0, 0, 0.0);
    for look in looks {
        last = (look.requests, look.canary, look.at_ms);
        verdict = trial.observe(&look.block);
        match verdict {
            Verdict::Fail(_) | Verdict::Pass => break,
            Verdict::Undecided(Reason::SplitMismatch) => held = held.or(Some(last)),
            Verdict::Undecided(_) => held = None,
        }
    }
    let said = match verdict {
        Verdict::Fail(signal) => Said::Rollback(signal),
        Verdict::Pass => Said::Promote,
        Verdict::Undecided(Reason::SplitMismatch) => Said::HoldSrm,
        Verdict::Undecided(reason) => Said::Keep(reason),
    };
    let (at_request, at_canary, at_ms) = held.filter(|_| said == Said::HoldSrm).unwrap_or(last);
    Replayed { said, at_request, at_canary, at_ms, evidence: trial.evidence() }
}

#[cfg(test)]
mod tests;
