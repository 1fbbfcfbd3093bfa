//! The `plan` and the `judge` of a route.

use super::{PlanSpec, guardrail::guardrails};
use crate::{
    config::{
        fields::{Field, Map, whole, yes_or_no},
        units,
    },
    core::{
        judge::{
            AccuracyPolicy, DisagreementPolicy, ErrorsPolicy, LatencyPolicy, Mode, ModeChoice, OnInconclusive, Policy,
        },
        plan::{FileEdit, Plan, Step, Watch},
    },
};
use std::time::Duration;

/// Most requests or labels a step may ask for.
const COUNT_MAX: u64 = 1_000_000_000;
/// Most steps.
const STEPS_MAX: usize = 50;

pub(super) fn millis(text: &str) -> Result<u64, String> {
    units::duration(text).map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

pub(super) fn plan(field: &Field<'_>) -> Option<PlanSpec> {
    let map = field.map()?;
    let steps = map.need("steps", "list the weights, such as `- { weight: 10, hold: 1h }`");
    let items = steps.map(|steps| steps.items()).unwrap_or_default();
    if items.is_empty() || items.len() > STEPS_MAX {
        field.wrong(format!("a plan has 1 to {STEPS_MAX} steps"), "");
    }
    let read: Vec<_> = items.iter().filter_map(|item| Some((step(item)?, item.place()))).collect();
    let (steps, places) = read.into_iter().unzip();
    let watch = map.get("watch").and_then(|field| watch(&field)).unwrap_or_default();
    let deadline = map.get("deadline").and_then(|field| field.parse(units::duration));
    map.done();
    Some(PlanSpec { plan: Plan { steps, watch, deadline }, steps: places })
}

fn step(field: &Field<'_>) -> Option<Step> {
    let map = field.map()?;
    let weight = map.need("weight", "the canary's share at this step").and_then(|field| field.parse(units::weight));
    let hold = map.or("hold", Duration::ZERO, units::duration);
    let requests = map.or("requests", 0, whole(COUNT_MAX));
    let labels = map.or("labels", 0, whole(COUNT_MAX));
    let pass = map.or("pass", false, yes_or_no);
    let approve = map.or("approve", false, yes_or_no);
    let set = set(&map);
    map.done();
    Some(Step { weight: weight?, hold, requests, labels, pass, approve, set })
}

/// What else a commit sets, of the same repository.
pub(super) fn set(map: &Map<'_>) -> Vec<FileEdit> {
    let items = map.get("set").map(|field| field.items()).unwrap_or_default();
    items.iter().filter_map(file_edit).collect()
}

fn file_edit(field: &Field<'_>) -> Option<FileEdit> {
    let map = field.map()?;
    let file = map.need("file", "such as `models/digits/canary.yaml`, from the repository's root");
    let path = map.need("path", "such as `spec.replicas`");
    let value = map.need("value", "what it is to say");
    map.done();
    let (file, path, value) = (file?.text()?, path?.text()?, value?.text()?);
    FileEdit::new(file, path, value).map_err(|what| field.wrong(what, "")).ok()
}

fn watch(field: &Field<'_>) -> Option<Watch> {
    let map = field.map()?;
    let hold = map.or("hold", Duration::ZERO, units::duration);
    let holdback = map.get("holdback");
    let share = holdback.as_ref().and_then(|field| field.parse(units::weight)).unwrap_or_default();
    if let Some(field) = holdback.filter(|_| share.basis_points() > 5_000) {
        field.wrong("the old model keeps more than half", "a holdback is at most 50");
    }
    map.done();
    Some(Watch { hold, holdback: share })
}

/// A probability that may be neither 0 nor above a half.
fn alpha(text: &str) -> Result<f64, String> {
    match units::fraction(text) {
        Ok(value) if value > 0.0 && value <= 0.5 => Ok(value),
        Ok(_) => Err(format!("`{text}` must be above 0 and at most 0.5")),
        Err(what) => Err(what),
    }
}

/// A window of endpoints: no shorter than a few looks, no longer than anybody would wait for one observation.
fn window(text: &str) -> Result<u64, String> {
    match millis(text)? {
        ms @ 1_000..=600_000 => Ok(ms),
        _ => Err(format!("`{text}` is not from 1s to 10m")),
    }
}

/// A tolerated slow-down as whole histogram buckets of 2^(1/16): 4.4 % is one, 19 % are four, 100 % are sixteen.
fn buckets(text: &str) -> Result<i32, String> {
    let share = units::fraction(text)?;
    #[allow(clippy::cast_possible_truncation, reason = "between 0 and 16")]
    Ok(((1.0 + share).log2() * 16.0).round() as i32)
}

/// A `judge` section; what it leaves out is as `base` has it.
pub(in crate::config) fn policy(field: &Field<'_>, base: &Policy) -> Option<Policy> {
    let map = field.map()?;
    let policy = Policy {
        alpha: map.or("alpha", base.alpha, alpha),
        alpha_promote: map.or("alpha_promote", base.alpha_promote, alpha),
        warmup_ms: map.or("warmup", base.warmup_ms, millis),
        warmup_requests: map.or("warmup_requests", base.warmup_requests, whole(COUNT_MAX)),
        requests_min: map.or("requests_min", base.requests_min, whole(COUNT_MAX)),
        errors: signal(&map, "errors", base.errors, errors),
        latency: signal(&map, "latency", base.latency, latency),
        accuracy: signal(&map, "accuracy", base.accuracy, accuracy),
        disagreement: map.get("disagreement").filter(|field| !field.is_off()).and_then(|field| disagreement(&field)),
        guardrails: guardrails(&map),
        mode: map.get("mode").and_then(|field| mode(&field)).unwrap_or_default(),
        window_ms: map.or("window", base.window_ms, window),
        on_inconclusive: map
            .get("on_inconclusive")
            .and_then(|field| {
                field.word(&[
                    ("hold", OnInconclusive::Hold),
                    ("rollback", OnInconclusive::Rollback),
                    ("rollback_on_stall", OnInconclusive::RollbackOnStall),
                ])
            })
            .unwrap_or(base.on_inconclusive),
    };
    if policy.errors.is_none() && policy.latency.is_none() && policy.accuracy.is_none() {
        field.wrong("every signal is off", "leave at least one on, or remove `judge`");
    }
    map.done();
    Some(policy)
}

/// A signal: as it stands by default if it is missing, off if it says so, else what it says.
fn signal<T: Copy>(
    map: &Map<'_>,
    key: &'static str,
    base: Option<T>,
    read: impl FnOnce(&Map<'_>, T) -> T,
) -> Option<T> {
    let Some(field) = map.get(key) else {
        return base;
    };
    if field.is_off() {
        return None;
    }
    let inner = field.map()?;
    let value = read(&inner, base?);
    inner.done();
    Some(value)
}

fn errors(map: &Map<'_>, base: ErrorsPolicy) -> ErrorsPolicy {
    let ratio = |text: &str| match units::decimal(text) {
        Some(value) if (1.0..=10.0).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is not a number from 1 to 10")),
    };
    ErrorsPolicy {
        may_rise: map.or("may_rise", base.may_rise, units::fraction),
        pass_ratio: map.or("pass_ratio", base.pass_ratio, ratio),
        pass_margin: map.or("pass_margin", base.pass_margin, units::fraction),
    }
}

fn disagreement(field: &Field<'_>) -> Option<DisagreementPolicy> {
    let map = field.map()?;
    let max = map.need("max", "the share of copies that may say something else, such as `0.05`");
    let max = max.and_then(|field| field.parse(alpha));
    map.done();
    Some(DisagreementPolicy { max: max? })
}

fn mode(field: &Field<'_>) -> Option<ModeChoice> {
    field.word(&[
        ("auto", ModeChoice::Auto),
        ("requests", ModeChoice::Fixed(Mode::Requests)),
        ("endpoints", ModeChoice::Fixed(Mode::Endpoints)),
        ("users", ModeChoice::Fixed(Mode::Users)),
    ])
}

fn latency(map: &Map<'_>, base: LatencyPolicy) -> LatencyPolicy {
    LatencyPolicy {
        tolerate_buckets: map.or("tolerate", base.tolerate_buckets, buckets),
        pass_buckets: map.or("pass", base.pass_buckets, buckets),
        pass_tail_buckets: map.or("pass_tail", base.pass_tail_buckets, buckets),
    }
}

fn accuracy(map: &Map<'_>, base: AccuracyPolicy) -> AccuracyPolicy {
    let number = |text: &str| units::decimal(text).ok_or_else(|| format!("`{text}` is not a number of 0 or more"));
    AccuracyPolicy {
        may_drop: map.or("may_drop", base.may_drop, units::fraction),
        tolerate: map.or("tolerate", base.tolerate, units::fraction),
        label_delay_ms: map.or("label_delay", base.label_delay_ms, millis),
        label_tolerance: map.or("label_tolerance", base.label_tolerance, number),
    }
}
