//! Where routes come from: exactly one source per process.

pub mod file;

use crate::core::name::Revision;
use std::sync::Arc;
use tokio::sync::watch;

/// Text and revision, as they came from a source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// The text, not looked into.
    pub text: String,
    /// Identity of the text: its hash, or the commit it came with.
    pub revision: Revision,
}

/// The newest document, or why there is none to be had; `None` before the first look.
pub type Newest = Option<Arc<Result<Document, String>>>;
/// The source's end of the channel: it is the only writer, and the newest document wins.
pub type Documents = watch::Sender<Newest>;
