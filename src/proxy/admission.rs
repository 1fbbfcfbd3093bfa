//! Places at a backend, shared by all threads: so many requests in flight, so many waiting, the rest is refused at once.

use crate::core::{route::Limits, variant::Backend};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// The places of one backend.
#[derive(Debug)]
pub(super) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicU32,
    limits: Limits,
}

/// Every gate of the process; looked up once per thread and backend.
#[derive(Debug, Default)]
pub struct Gates {
    by_backend: Mutex<HashMap<(Backend, u32), Arc<Gate>>>,
}

impl Gates {
    /// The gate of `backend`. Other limits make another gate: while requests of the old one end, there may be more in flight.
    pub(super) fn of(&self, backend: &Backend, limits: Limits) -> Arc<Gate> {
        let mut gates = self.by_backend.lock().unwrap_or_else(PoisonError::into_inner);
        let gate = || {
            let places = usize::try_from(limits.in_flight).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
            Arc::new(Gate { places: Arc::new(Semaphore::new(places)), waiting: AtomicU32::new(0), limits })
        };
        gates.entry((backend.clone(), limits.in_flight)).or_insert_with(gate).clone()
    }

    /// Forgets gates that no thread holds any more.
    pub(super) fn sweep(&self) {
        let mut gates = self.by_backend.lock().unwrap_or_else(PoisonError::into_inner);
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
    }
}

/// Leaves the queue however the wait ends.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Gate {
    /// A place, after a wait in the queue if need be; `None` if the queue is full or the wait too long.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let waiting = self.waiting.fetch_add(1, Relaxed);
        let _leaves = Waiting(&self.waiting);
        if waiting >= self.limits.queue {
            return None;
        }
        let place = self.places.clone().acquire_owned();
        timeout(self.limits.queue_wait, place).await.ok()?.ok()
    }
}
