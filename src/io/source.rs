//! Where routes come from: exactly one source per process.

pub mod file;
pub mod git_poll;
pub mod kubernetes;

use crate::core::name::Revision;
use sha2::{Digest as _, Sha256};
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

/// The same text has the same revision, wherever it came from: so replicas can be compared.
fn revision(bytes: &[u8]) -> Revision {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Revision::new(&format!("sha256:{hex}"))
}

/// Tells of what was read, if that is news.
fn publish(documents: &Documents, read: Result<Document, String>) {
    documents.send_if_modified(|newest| {
        let new = newest.as_deref() != Some(&read);
        if new {
            *newest = Some(Arc::new(read));
        }
        new
    });
}
