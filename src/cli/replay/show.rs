//! The line that is printed of a file.

use crate::{
    admin::view,
    core::{
        judge::Reason,
        replay::{Replayed, Said},
    },
};
use serde::Serialize;
use serde_json::{Map, Value};

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    verdict: &'a str,
    at_request: u64,
    at_canary: u64,
    /// The blamed one, of a rollback.
    signal: Option<&'a str>,
    /// Why nothing was decided.
    reason: Option<&'a str>,
    at_ms: f64,
    evidence: Map<String, Value>,
}

/// One JSON object.
pub(super) fn line(name: &str, replayed: &Replayed) -> String {
    let (signal, reason) = match replayed.said {
        Said::Rollback(signal) => (Some(signal.as_str()), None),
        Said::Promote => (None, None),
        Said::Keep(reason) => (None, Some(reason.as_str())),
        Said::HoldSrm => (None, Some(Reason::SplitMismatch.as_str())),
    };
    let line = Line {
        name,
        verdict: replayed.said.as_str(),
        at_request: replayed.at_request,
        at_canary: replayed.at_canary,
        signal,
        reason,
        at_ms: replayed.at_ms,
        evidence: view::evidence(&replayed.evidence),
    };
    serde_json::to_string(&line).unwrap_or_default()
}
