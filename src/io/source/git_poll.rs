//! A branch, polled: for machines without Kubernetes. A commit of our own is looked for at once.

use super::{Document, Documents, publish};
use crate::{core::name::Revision, io::git::Git};
use std::time::Duration;
use tokio::{sync::watch, time::timeout};

/// The source. Its clone is its own: it never waits for a commit that is being pushed.
#[derive(Debug)]
pub struct GitSource {
    /// The branch and the file in it.
    pub git: Git,
    /// How often it is looked at.
    pub every: Duration,
    /// Moves when a commit of ours has been pushed; it closes with the process.
    pub pushed: watch::Receiver<u64>,
}

impl GitSource {
    /// Looks now, and then as often as it should; ends when nobody listens any more.
    pub async fn run(mut self, documents: Documents) {
        loop {
            self.pushed.mark_unchanged();
            let look = async {
                let tip = self.git.tip().await.map_err(|error| format!("the branch cannot be read: {error}"))?;
                Ok(Document { text: tip.text, revision: Revision::new(&tip.commit) })
            };
            tokio::select! {
                () = documents.closed() => return,
                read = look => publish(&documents, read),
            }
            tokio::select! {
                () = documents.closed() => return,
                _ = timeout(self.every, self.pushed.changed()) => {}
            }
        }
    }
}
