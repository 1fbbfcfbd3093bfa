//! What is worth telling -> each hook's own bounded queue -> the hook, with retries.
//!
//! Nothing waits for it: it only reads what the other loops have published, and a full queue drops. What waits when the process
//! ends is lost; after a restart what is still open is told again, under the same ids.

use super::{commit_loop::Outcomes, judge_loop::Judgements, release_loop::Releases};
use crate::{
    core::{
        notice::{Kind, Notice, Sight, Told},
        release::{intent::Wanted, made::Made},
        split::siphash,
    },
    io::{clock, meters::Meters, notify::Hook},
};
use futures_util::future::join_all;
use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// The pause before the second attempt; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A hook and what it wants.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where it is.
    pub hook: Hook,
    /// These; everything if empty.
    pub kinds: BTreeSet<Kind>,
}

/// The loop and its channels.
#[derive(Debug)]
pub struct NotifyLoop {
    /// The judge loop writes.
    pub judgements: watch::Receiver<Judgements>,
    /// The release loop writes.
    pub releases: watch::Receiver<Releases>,
    /// The release loop writes.
    pub wanted: watch::Receiver<Arc<Vec<Wanted>>>,
    /// The commit loop writes.
    pub outcomes: watch::Receiver<Outcomes>,
    /// The commit loop writes.
    pub made: watch::Receiver<Arc<Vec<Made>>>,
    /// Who wants to know.
    pub listeners: Vec<Listener>,
    /// Notices that may wait for one hook.
    pub queue: usize,
    /// How often one is tried.
    pub attempts: u32,
    /// Sent, failed, dropped.
    pub meters: Arc<Meters>,
}

impl NotifyLoop {
    /// Runs until the release loop is gone; without listeners it never ends.
    pub async fn run(mut self) {
        if self.listeners.is_empty() {
            return pending().await;
        }
        let (mut queues, mut senders) = (Vec::new(), Vec::new());
        for listener in &self.listeners {
            let (queue, waiting) = mpsc::channel(self.queue.max(1));
            queues.push((listener.kinds.clone(), queue));
            senders.push(send_all(listener.hook.clone(), waiting, self.attempts, self.meters.clone()));
        }
        let finding = async {
            let queues = queues;
            let mut told = Told::default();
            loop {
                let changed = tokio::select! {
                    changed = self.releases.changed() => changed,
                    changed = self.judgements.changed() => changed,
                    changed = self.outcomes.changed() => changed,
                    changed = self.made.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                for notice in self.look(&mut told).into_iter().map(Arc::new) {
                    self.offer(&queues, &notice);
                }
            }
        };
        tokio::join!(finding, join_all(senders));
    }

    fn look(&mut self, told: &mut Told) -> Vec<Notice> {
        let judgements = self.judgements.borrow_and_update().clone();
        let releases = self.releases.borrow_and_update().clone();
        let outcomes = self.outcomes.borrow_and_update().clone();
        let wanted = self.wanted.borrow().clone();
        let made = self.made.borrow_and_update().clone();
        told.look(&Sight {
            judgements: &judgements,
            releases: &releases,
            wanted: &wanted,
            outcomes: &outcomes,
            made: &made,
            now: clock::now(),
        })
    }

    fn offer(&self, queues: &[(BTreeSet<Kind>, mpsc::Sender<Arc<Notice>>)], notice: &Arc<Notice>) {
        for (kinds, queue) in queues {
            if !(kinds.is_empty() || kinds.contains(&notice.kind)) {
                continue;
            }
            if queue.try_send(notice.clone()).is_err() {
                self.meters.notices_dropped.up();
                tracing::warn!(kind = notice.kind.as_str(), id = notice.id, "a hook's queue is full: not told");
            }
        }
    }
}

/// One at a time, in order, until there is nobody to wait for.
async fn send_all(hook: Hook, mut waiting: mpsc::Receiver<Arc<Notice>>, attempts: u32, meters: Arc<Meters>) {
    while let Some(notice) = waiting.recv().await {
        let mut attempt = 1;
        loop {
            let Err(not) = hook.send(&notice, clock::wall_ms() / 1000).await else {
                meters.notices_sent.up();
                break;
            };
            let (why, id, name) = (&not.why, &notice.id, hook.name());
            if attempt >= attempts || not.gone {
                meters.notices_failed.up();
                tracing::error!(hook = name, id, why, attempt, "a notification is given up");
                break;
            }
            tracing::debug!(hook = name, id, why, attempt, "a notification was not taken: it is tried again");
            sleep(not.pause.unwrap_or_else(|| pause(id, attempt))).await;
            attempt += 1;
        }
    }
}

/// Doubles, and lies between half of itself and all of it: hooks that failed together are not tried in step.
fn pause(id: &str, attempt: u32) -> Duration {
    let whole = PAUSE_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(PAUSE_MAX);
    let draw = siphash(&[id.as_bytes(), &attempt.to_le_bytes(), &std::process::id().to_le_bytes()]) % 512;
    let share = u32::try_from(draw).unwrap_or(0);
    whole / 2 + whole * share / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_stay_within_bounds() {
        for attempt in 1..40 {
            let whole = PAUSE_MIN * 2_u32.saturating_pow(attempt - 1).min(60);
            let pause = pause("id", attempt);
            assert!(pause >= whole / 2 && pause <= whole, "{attempt}: {pause:?}");
        }
    }
}
