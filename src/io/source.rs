//! Where routes come from: exactly one source per process.

pub mod file;

use crate::core::name::Revision;

/// Text and revision, as they came from a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// The text, not looked into.
    pub text: String,
    /// Identity of the text: its hash, or the commit it came with.
    pub revision: Revision,
}
