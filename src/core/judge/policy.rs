//! What a route says about judging: margins, chances of error, and what an undecided judge leads to.

use super::{Guardrail, ModeChoice};

/// What the route says about judging. Rates and margins are fractions of one.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    /// Chance of ever rolling back a healthy canary, over the whole release. Default 0.01.
    pub alpha: f64,
    /// Chance of passing a canary that is worse than the margins, per step. Default 0.05.
    pub alpha_promote: f64,
    /// Latency of canary requests is left out for this long after the release started, milliseconds. Default 60 s.
    pub warmup_ms: u64,
    /// ... and for at least so many canary requests. Default 200.
    pub warmup_requests: u64,
    /// No verdict before so many canary requests. Default 50.
    pub requests_min: u64,
    /// Errors: `None` turns the signal off.
    pub errors: Option<ErrorsPolicy>,
    /// Latency: `None` turns the signal off.
    pub latency: Option<LatencyPolicy>,
    /// Accuracy: `None` turns the signal off.
    pub accuracy: Option<AccuracyPolicy>,
    /// What a shadow copy says against what the caller was told: `None`, as it is by default, turns the signal off.
    pub disagreement: Option<DisagreementPolicy>,
    /// Bounds on numbers from outside. Default: none.
    pub guardrails: Vec<Guardrail>,
    /// What is one independent observation of errors and latency.
    pub mode: ModeChoice,
    /// In endpoint mode one observation of an endpoint lasts so long, milliseconds: longer than the pauses of a pod that is none
    /// the worse for them. Default 10 s.
    pub window_ms: u64,
    /// What an undecided judge leads to at the end of a step.
    pub on_inconclusive: OnInconclusive,
}

/// Margins of the error signal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ErrorsPolicy {
    /// Rollback: the canary's error rate may rise by this much above stable's. Default 0.0005.
    pub may_rise: f64,
    /// Promotion: at most this multiple of stable's rate ... Default 1.25.
    pub pass_ratio: f64,
    /// ... plus this much. Default 0.002.
    pub pass_margin: f64,
}

impl Default for ErrorsPolicy {
    fn default() -> Self {
        Self { may_rise: 0.0005, pass_ratio: 1.25, pass_margin: 0.002 }
    }
}

/// Margins of the latency signal, in histogram buckets of 2^(1/16).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LatencyPolicy {
    /// Rollback: the canary may be slower by so many buckets; 1 is 4.4 %. Default 1.
    pub tolerate_buckets: i32,
    /// Promotion: slower by at most so many buckets at p50 and p90; 4 is 19 %. Default 4.
    pub pass_buckets: i32,
    /// Promotion: the same at p99; 6 is 30 %. Default 6.
    pub pass_tail_buckets: i32,
}

impl Default for LatencyPolicy {
    fn default() -> Self {
        Self { tolerate_buckets: 1, pass_buckets: 4, pass_tail_buckets: 6 }
    }
}

/// Margins of the accuracy signal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AccuracyPolicy {
    /// Promotion: the canary's accuracy may be lower by this much. Default 0.02.
    pub may_drop: f64,
    /// Rollback: a drop up to this is never blamed. Default 0.002.
    pub tolerate: f64,
    /// A label counts only once its request is this old, so that quick labels do not bias the look; milliseconds.
    pub label_delay_ms: u64,
    /// Numeric labels this close to the prediction are right.
    pub label_tolerance: f64,
}

impl Default for AccuracyPolicy {
    fn default() -> Self {
        Self { may_drop: 0.02, tolerate: 0.002, label_delay_ms: 0, label_tolerance: 0.0 }
    }
}

/// Limit of the disagreement signal.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct DisagreementPolicy {
    /// Rollback beyond this share of copies that say something else; promotion below it.
    pub max: f64,
}

/// What an undecided judge leads to at the end of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnInconclusive {
    /// Stay at this weight and say why.
    #[default]
    Hold,
    /// Roll back.
    Rollback,
    /// Roll back once the plan's deadline has passed.
    RollbackOnStall,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            alpha_promote: 0.05,
            warmup_ms: 60_000,
            warmup_requests: 200,
            requests_min: 50,
            errors: Some(ErrorsPolicy::default()),
            latency: Some(LatencyPolicy::default()),
            accuracy: Some(AccuracyPolicy::default()),
            disagreement: None,
            guardrails: Vec::new(),
            mode: ModeChoice::Auto,
            window_ms: 10_000,
            on_inconclusive: OnInconclusive::Hold,
        }
    }
}
