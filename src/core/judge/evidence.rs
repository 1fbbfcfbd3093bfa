//! The numbers behind a verdict, as plain data: what `explain`, the forecast, the commit and the metrics are made from.

use super::{EndpointEvidence, GuardrailEvidence, Mode, Signal};
use crate::core::stats::histogram::Histogram;
use std::sync::Arc;

/// The numbers behind a verdict.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Evidence {
    /// Canary requests that counted.
    pub canary_requests: u64,
    /// Stable requests that counted.
    pub stable_requests: u64,
    /// Canary labels that counted, those of pairs among them.
    pub canary_labels: u64,
    /// Stable labels that counted, those of pairs among them.
    pub stable_labels: u64,
    /// Labels that judged both variants' answers to the same request.
    pub paired_labels: u64,
    /// What one observation of errors and latency is.
    pub mode: Mode,
    /// Why that, in words.
    pub mode_why: &'static str,
    /// Natural log of the combined e-value against the canary.
    pub log_e_rollback: f64,
    /// Where it rolls back: `ln(1/alpha)`.
    pub log_e_rollback_at: f64,
    /// Natural log of the sample-ratio e-value; see [`Guard::SampleRatio`].
    pub log_e_split: f64,
    /// One entry per signal that is on, in the order of [`Signal`].
    pub signals: Vec<SignalEvidence>,
    /// Every guard, in the order of [`Guard`].
    pub guards: Vec<GuardEvidence>,
    /// Every guardrail of the route, in the order of the file.
    pub guardrails: Vec<GuardrailEvidence>,
    /// Endpoints of the canary that are not like its others, in endpoint mode.
    pub endpoints: Vec<EndpointEvidence>,
    /// Whether the routes file says another policy by now. A trial keeps to the one it began with: a chance of error holds
    /// for weights and margins that were fixed before the first number was seen.
    pub policy_changed: bool,
}

/// Rollback evidence beyond this share of the threshold stops a raise.
pub(super) const NO_SMOKE: f64 = 0.1;

impl Evidence {
    /// Whether hardly anything speaks against the canary: less than a tenth of what a rollback takes.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.log_e_rollback < self.log_e_clear_below()
    }

    /// Where evidence against the canary begins to stop a raise.
    #[must_use]
    pub fn log_e_clear_below(&self) -> f64 {
        self.log_e_rollback_at + NO_SMOKE.ln()
    }
}

/// The numbers of one signal.
#[derive(Clone, PartialEq, Debug)]
pub struct SignalEvidence {
    /// Which.
    pub signal: Signal,
    /// The canary's value: error rate, p99 in milliseconds (of the part that weighs most), accuracy, or the share of copies that
    /// disagree. Of a canary that only pairs tell of: the share of pairs in which it alone was worse (accuracy: was not).
    pub canary: f64,
    /// Stable's value; of disagreement the limit.
    pub stable: f64,
    /// Canary observations.
    pub canary_n: u64,
    /// Stable observations; of disagreement 0.
    pub stable_n: u64,
    /// Bad events among the canary's: errors, wrong labels (scores: what they lack), disagreements; 0 for latency.
    pub canary_events: f64,
    /// The same of stable.
    pub stable_events: f64,
    /// The rollback margin, in the value's unit (latency: the tolerated factor).
    pub margin: f64,
    /// Promotion: the canary's bad rate may be this multiple of stable's (latency: the factor allowed at p50 and p90) ...
    pub pass_ratio: f64,
    /// ... plus this much (latency: the factor allowed at p99).
    pub pass_margin: f64,
    /// Weight in the combination.
    pub weight: f64,
    /// Natural log of the e-value against "not worse than the margin".
    pub log_e_rollback: f64,
    /// Where it rolls back alone: `ln(1/(alpha weight))`.
    pub log_e_rollback_at: f64,
    /// Natural log of the (smallest) e-value against "worse than the margin".
    pub log_e_promote: f64,
    /// Where it passes: `ln(1/alpha_promote)`.
    pub log_e_promote_at: f64,
    /// The test that most of the evidence against the canary comes from.
    pub test: Test,
    /// What the evidence is made of.
    pub parts: Vec<PartEvidence>,
}

/// A way to compare the two variants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Test {
    /// The canary's requests with stable's.
    Requests,
    /// Windows of the canary's endpoints with stable's.
    Endpoints,
    /// Users who failed for the first time.
    Users,
    /// Both variants' answers to the same request.
    Pairs,
}

impl Test {
    /// The word in messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Endpoints => "endpoints",
            Self::Users => "users",
            Self::Pairs => "pairs",
        }
    }
}

/// One part of a signal's evidence.
#[derive(Clone, PartialEq, Debug)]
pub struct PartEvidence {
    /// What is looked at.
    pub part: Part,
    /// How.
    pub test: Test,
    /// The canary's value: a rate, or milliseconds at the part's quantile (ranks: the median). Of pairs: the share in which it
    /// alone was worse; of [`Part::Copy`] the share in which it took longer than tolerated.
    pub canary: f64,
    /// Stable's value.
    pub stable: f64,
    /// Canary observations; of pairs, pairs.
    pub canary_n: f64,
    /// Stable observations; of pairs, pairs.
    pub stable_n: f64,
    /// Bad events of the canary; of pairs, those in which only the canary was worse.
    pub canary_events: f64,
    /// The same of stable.
    pub stable_events: f64,
    /// Share of the signal's evidence; `None` of a part whose evidence multiplies the others', as it is from other requests.
    pub weight: Option<f64>,
    /// Natural log of its e-value against the canary, if it is asked about that.
    pub log_e_rollback: Option<f64>,
    /// Natural log of its e-value for the canary, if promotion asks for it.
    pub log_e_promote: Option<f64>,
    /// Of latencies: what both variants took since the canary is warm. All parts of one kind share it.
    pub took: Option<Arc<Took>>,
}

/// Latencies of both variants.
#[derive(Clone, PartialEq, Debug)]
pub struct Took {
    /// The canary's.
    pub canary: Histogram,
    /// Stable's.
    pub stable: Histogram,
}

/// What a part of a signal's evidence looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Part {
    /// The rate of bad events.
    Rate,
    /// Latency of whole answers, anywhere in the distribution.
    Answer(Quantile),
    /// Time to the first token.
    FirstToken(Quantile),
    /// Mean time between two tokens of an answer.
    TokenGap(Quantile),
    /// Latency of both answers to one request.
    Copy,
}

impl Part {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Answer(q) => q.of(["answer_ranks", "answer_p50", "answer_p90", "answer_p99", "answer_p999"]),
            Self::FirstToken(q) => {
                q.of(["first_token_ranks", "first_token_p50", "first_token_p90", "first_token_p99", "first_token_p999"])
            }
            Self::TokenGap(q) => {
                q.of(["token_gap_ranks", "token_gap_p50", "token_gap_p90", "token_gap_p99", "token_gap_p999"])
            }
            Self::Copy => "copy",
        }
    }

    /// Where in a latency's distribution it looks, if that is what it does.
    #[must_use]
    pub fn quantile(self) -> Option<Quantile> {
        match self {
            Self::Answer(q) | Self::FirstToken(q) | Self::TokenGap(q) => Some(q),
            Self::Rate | Self::Copy => None,
        }
    }
}

/// Where in a latency's distribution.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Quantile {
    /// Everywhere: the ranks.
    Ranks,
    /// The median.
    P50,
    /// 90 %.
    P90,
    /// 99 %.
    P99,
    /// 99.9 %.
    P999,
}

impl Quantile {
    fn of(self, words: [&'static str; 5]) -> &'static str {
        let [ranks, p50, p90, p99, p999] = words;
        match self {
            Self::Ranks => ranks,
            Self::P50 => p50,
            Self::P90 => p90,
            Self::P99 => p99,
            Self::P999 => p999,
        }
    }

    /// Where that is; the ranks are shown by their median.
    #[must_use]
    pub fn share(self) -> f64 {
        match self {
            Self::Ranks | Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
        }
    }
}

/// What keeps a verdict from resting on sand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Guard {
    /// The canary's first requests are left out of latency: value and limit in requests.
    WarmUp,
    /// No verdict before so many canary requests.
    Samples,
    /// Draws must fall as configured: log e-value and its bound.
    SampleRatio,
    /// Both variants' requests must be labelled alike, within a factor of 1.5 of the odds: log e-value and its bound.
    LabelCoverage,
    /// A stable that fails itself is nothing to compare with: its error rate and the limit.
    StableHealth,
    /// Labels must come: canary labels seen; the limit is 1.
    LabelsMissing,
    /// Labels wait until their request is so old: milliseconds.
    LabelDelay,
    /// The canary's endpoints should be alike, in endpoint mode: most log e-value against that, and where it names one.
    Endpoints,
}

impl Guard {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WarmUp => "warm_up",
            Self::Samples => "samples",
            Self::SampleRatio => "sample_ratio",
            Self::LabelCoverage => "label_coverage",
            Self::StableHealth => "stable_health",
            Self::LabelsMissing => "labels_missing",
            Self::LabelDelay => "label_delay",
            Self::Endpoints => "endpoints_alike",
        }
    }
}

/// What a guard does now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GuardState {
    /// Nothing.
    Good,
    /// Nothing yet, but look at it.
    Warns,
    /// No pass while it is so.
    Holds,
}

impl GuardState {
    /// The word in messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warns => "warns",
            Self::Holds => "holds",
        }
    }
}

/// A guard and what it looks at.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GuardEvidence {
    /// Which.
    pub guard: Guard,
    /// What it does.
    pub state: GuardState,
    /// What it looks at ...
    pub value: f64,
    /// ... and where that begins to hold.
    pub limit: f64,
}
