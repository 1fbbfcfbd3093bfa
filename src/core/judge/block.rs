//! What the judge sees: counts that became known between two evaluations, per variant. Plain numbers, so that the counts of
//! several data threads and replicas may be added first.

use crate::core::stats::histogram::Histogram;

/// Counts that became known between two evaluations, per variant.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Block {
    /// When it was looked at, milliseconds on a clock that outlives the process: which requests are old enough to be labelled.
    pub at_ms: u64,
    /// Finished requests; `None` while one of the two variants has none in it.
    pub requests: Option<RequestBlock>,
    /// Labels that arrived and are in no pair; `None` while one of the two variants has none in it.
    pub labels: Option<LabelBlock>,
    /// Requests that both variants answered.
    pub pairs: Option<PairBlock>,
    /// Windows of endpoints that ended, in endpoint mode.
    pub endpoints: Option<EndpointBlock>,
    /// Users who failed for the first time, in user mode; in step with `requests`.
    pub users: Option<UserBlock>,
}

/// Finished requests of a block.
#[derive(Clone, PartialEq, Debug)]
pub struct RequestBlock {
    /// The canary's.
    pub canary: Arm,
    /// Stable's.
    pub stable: Arm,
    /// The canary's configured share of the two while the block was gathered: what the draws were made with.
    /// `None` if it changed meanwhile: then the sample ratio of this block cannot be checked.
    pub share: Option<f64>,
    /// Whether the release is younger than its warm-up time: latency is left out.
    pub warming_up: bool,
}

/// One variant's part of a block.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Arm {
    /// Requests whose outcome is the variant's own doing (a client's fault is no exposure).
    pub completed: u64,
    /// Draws that fell on it.
    pub assigned: u64,
    /// Failures whose cause is the backend.
    pub errors: u64,
    /// Latencies of its successes: of whole answers; a streamed answer is in `streams` instead.
    pub latency: Histogram,
    /// Its streamed successes; `None` if there is none.
    pub streams: Option<Box<Streams>>,
}

/// Streamed answers, each once in both (one of a single piece has no gap): gaps of one stream are anything but independent.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Streams {
    /// Time to the first token.
    pub first_token: Histogram,
    /// Mean time between two tokens.
    pub token_gap: Histogram,
}

/// Labels of a block that are about one answer each: labels of pairs are in [`PairBlock`] and not in here. A wrong label counts 1,000,000; a score in 0..1 counts the millionths it lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LabelBlock {
    /// Labels about the canary.
    pub canary: u64,
    /// Labels about stable.
    pub stable: u64,
    /// Millionths of wrong among the canary's.
    pub canary_wrong_micro: u64,
    /// Millionths of wrong among stable's.
    pub stable_wrong_micro: u64,
}

/// Requests that both variants answered: one the caller, the other a copy. A copy is no exposure of [`RequestBlock`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PairBlock {
    /// Pairs with a label, which is about both answers.
    pub labels: Pairs,
    /// Copies sent: worse is the one that failed while the other did not.
    pub errors: Pairs,
    /// Pairs of successes, by how many times as long the canary took as stable: the bucket of canary / stable, as if that were
    /// milliseconds. From it any tolerance can be asked about.
    pub latency: Histogram,
    /// Pairs of answers whose predictions were compared.
    pub compared: u64,
    /// Those among them that said different things.
    pub disagreed: u64,
}

/// Pairs and in how many of them one of the two was worse, in millionths: with right and wrong 1,000,000 a pair, with scores
/// what the worse one lacks to the better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pairs {
    /// How many.
    pub n: u64,
    /// The canary worse than stable.
    pub canary_worse_micro: u64,
    /// Stable worse than the canary.
    pub stable_worse_micro: u64,
}

/// One window of every endpoint that answered in it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct EndpointBlock {
    /// The canary's endpoints.
    pub canary: Vec<Unit>,
    /// Stable's.
    pub stable: Vec<Unit>,
}

/// One endpoint during one window.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Unit {
    /// Which of its variant's endpoints: the same number in each window.
    pub endpoint: u16,
    /// Requests whose outcome is the endpoint's own doing.
    pub completed: u64,
    /// Failures among them.
    pub errors: u64,
    /// Latencies of its successes: of whole answers; a streamed answer is in `streams` instead.
    pub latency: Histogram,
    /// Its streamed successes; `None` if there is none.
    pub streams: Option<Box<Streams>>,
}

/// Users whose first failure in this release fell in the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UserBlock {
    /// While the canary answered them.
    pub canary: u64,
    /// While stable did.
    pub stable: u64,
}
