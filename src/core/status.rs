//! What the control plane tells people: what is in force, where each release stands, and what is wrong.
//!
//! `ConfigStatus` is written by the config loop, judgements by the judge loop: one writer each. The admin plane puts them
//! together with the snapshot.

use super::name::{Generation, Revision};

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
