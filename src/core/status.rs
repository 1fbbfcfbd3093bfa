//! What the control plane tells people: what is in force, where each release stands, and what is wrong.
//!
//! `ConfigStatus` is written by the config loop, `ReleaseStatus` by the release loop, judgements by the judge loop: one
//! writer each. The admin plane puts them together with the snapshot.

use super::{
    name::{Generation, Revision},
    release::Release,
};

/// How the routes file is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ConfigStatus {
    /// The generation in force; 0 before the first good file.
    pub generation: Generation,
    /// What it was compiled from.
    pub revision: Option<Revision>,
    /// When it came into force, milliseconds since 1970 UTC.
    pub loaded_ms: u64,
    /// Problems of the newest document, one a piece, if it was refused; the last good table stays.
    pub problems: Vec<String>,
    /// Documents that became the table in force, so far.
    pub reloads: u64,
    /// Documents that were refused, so far.
    pub refusals: u64,
}

/// How one route's release is doing.
#[derive(Clone, PartialEq, Debug)]
pub struct ReleaseStatus {
    /// Where it stands.
    pub release: Release,
    /// Which attempt at this release: judge and tickets of an earlier one do not count.
    pub attempt: u32,
    /// Since when the attempt runs, milliseconds since 1970 UTC: labels of earlier requests do not count.
    pub since_ms: u64,
    /// Whether a person has paused raises.
    pub paused: bool,
    /// What keeps us from writing to Git, if anything, and what to do about it.
    pub write_blocked: Option<String>,
    /// The newest commit of ours that the remote has taken.
    pub commit: Option<String>,
}
