//! Latency of successes: of whole answers, and of streams to the first token and between tokens; times what shadow copies showed
//! before the canary had callers.
//!
//! Which of the three there are is seen while the canary warms up, and fixed then: a weight that followed the data would be a bet
//! on what is known already.

use super::{
    channel::{Channel, Timed},
    copies::Copies,
    errors::test,
};
use crate::core::{
    judge::{EndpointBlock, LatencyPolicy, Mode, PartEvidence, RequestBlock, Unit},
    stats::{
        Numbers,
        histogram::{Histogram, bucket_bound_ms},
        logs::log_mix,
        window::Window,
    },
};

/// What makes up less than this share of stable's successes while the canary warms up is not judged: it would never be decided.
const SHARE_MIN: f64 = 0.05;

/// The tests of the latency signal.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Latency {
    mode: Mode,
    channels: [Channel; 3],
    /// In endpoint mode: whether the canary was warm when the present window began. 0 or 1.
    window_warm: f64,
    pub(super) copies: Copies,
}

impl Latency {
    pub(super) fn new(policy: LatencyPolicy, mode: Mode) -> Self {
        Self {
            mode,
            channels: Timed::ALL.map(|timed| Channel::new(timed, policy, mode)),
            window_warm: 0.0,
            copies: Copies::new(policy),
        }
    }

    /// With what copies have told already.
    pub(super) fn with_copies_of(self, other: &Self) -> Self {
        Self { copies: other.copies.clone(), ..self }
    }

    /// Takes finished requests. `warm`: whether the canary is; until then stable's latency is learnt all the same.
    pub(super) fn take_requests(&mut self, block: &RequestBlock, warm: bool) {
        if warm {
            self.fix_weights();
        }
        let by_request = self.mode != Mode::Endpoints;
        for channel in &mut self.channels {
            let (canary, stable) = (channel.timed.of_arm(&block.canary), channel.timed.of_arm(&block.stable));
            if let (true, Some(canary), Some(stable)) = (warm && by_request, canary, stable) {
                channel.judge(canary, stable);
            }
            if let (true, false, Some(canary), Some(stable)) = (warm, by_request, canary, stable) {
                channel.judge_requests(canary, stable);
            }
            if warm {
                canary.into_iter().for_each(|latency| channel.canary.merge(latency));
                stable.into_iter().for_each(|latency| channel.stable.merge(latency));
            }
            // Learnt after it was judged by. Endpoints learn from windows: none may be judged by its own requests.
            if let (true, Some(stable)) = (by_request, stable) {
                channel.reference.learn(stable);
            }
        }
    }

    /// Takes a window of endpoints, after its last requests: they are held against what was known before it. `warm`: whether the
    /// canary was before those.
    pub(super) fn take_window(&mut self, block: &EndpointBlock, warm: bool) {
        let began_warm = self.window_warm > 0.5;
        self.window_warm = f64::from(u8::from(warm));
        if began_warm {
            self.fix_weights();
        }
        for channel in &mut self.channels {
            let (canary, stable) = (of(channel.timed, &block.canary), of(channel.timed, &block.stable));
            if let Some(window) = Window::new(&canary, &stable).filter(|_| began_warm) {
                channel.judge_window(&window);
            }
            if !stable.is_empty() {
                let mut all = Histogram::default();
                stable.iter().for_each(|latency| all.merge(latency));
                channel.reference.learn(&all);
            }
        }
    }

    /// The numbers of the tests that evidence of version 2 has not.
    pub(super) fn numbers_of_requests(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.channels.iter_mut().for_each(|channel| channel.numbers_of_requests(visit));
    }

    /// Which of the three there are, once and for all: all of the weight to whole answers or to streams, or half to each if there
    /// are both; of a stream's weight half to the first token, half to the gaps between tokens.
    fn fix_weights(&mut self) {
        let [answers, first_token, token_gap] = &mut self.channels;
        let weighs = |channel: &Channel| channel.reference.weight();
        let all = weighs(answers) + weighs(first_token);
        if all <= 0.0 || answers.weight + first_token.weight > 0.0 {
            return;
        }
        let there = |channel: &Channel| weighs(channel) >= SHARE_MIN * all;
        let streams = match (there(answers), there(first_token)) {
            (true, true) => 0.5,
            (true, false) => 0.0,
            (false, _) => 1.0,
        };
        let gaps = if there(token_gap) { 0.5 } else { 0.0 };
        answers.weight = 1.0 - streams;
        first_token.weight = streams * (1.0 - gaps);
        token_gap.weight = streams * gaps;
    }

    fn judged(&self) -> impl Iterator<Item = &Channel> {
        self.channels.iter().filter(|channel| channel.weight > 0.0)
    }

    /// Natural log of the e-value against the canary, without the copies'.
    pub(super) fn log_e_own(&self) -> f64 {
        let terms: Vec<_> = self.judged().map(|channel| (channel.weight, channel.log_e_against())).collect();
        if terms.is_empty() { 0.0 } else { log_mix(&terms) }
    }

    pub(super) fn log_e_against(&self) -> f64 {
        self.log_e_own() + self.copies.log_e_against()
    }

    /// Natural log of the e-value for the canary. Copies tell only of the middle: they count while there is nothing else.
    pub(super) fn log_e_for(&self, copies_only: bool) -> f64 {
        if copies_only {
            return self.copies.log_e_for();
        }
        let least = self.judged().map(Channel::log_e_for).fold(f64::INFINITY, f64::min);
        if least.is_finite() { least } else { 0.0 }
    }

    /// p99 in milliseconds and how many there are, of the canary and of stable, for the part that weighs most.
    pub(super) fn values(&self) -> [(f64, u64); 2] {
        let [answers, first_token, _] = &self.channels;
        let main = if first_token.weight > answers.weight { first_token } else { answers };
        let of = |latency: &Histogram| (latency.quantile(0.99).map_or(0.0, bucket_bound_ms), latency.total());
        [of(&main.canary), of(&main.stable)]
    }

    pub(super) fn parts(&self) -> Vec<PartEvidence> {
        self.judged().flat_map(|channel| channel.parts(test(self.mode))).chain(self.copies.part()).collect()
    }
}

fn of(timed: Timed, units: &[Unit]) -> Vec<&Histogram> {
    units.iter().filter_map(|unit| timed.of_unit(unit)).collect()
}

impl Numbers for Latency {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.channels.iter_mut().for_each(|channel| channel.numbers(visit));
        visit(&mut self.window_warm);
        self.copies.numbers(visit);
    }
}
