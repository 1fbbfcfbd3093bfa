//! Places at a backend, shared by all threads: so many requests in flight, so many waiting, the rest is refused at once. And
//! places for one caller, where a route limits those.

use crate::core::{
    name::RouteName,
    route::{CallerKey, Limits, Route},
    split::siphash,
    variant::Backend,
};
use http::HeaderMap;
use std::{
    collections::HashMap,
    net::IpAddr,
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

/// Requests in flight by route and caller; only of routes that limit them.
#[derive(Debug, Default)]
pub struct Callers {
    by_key: Mutex<HashMap<u64, u32>>,
}

/// One caller's place; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct CallerPlace {
    callers: Arc<Callers>,
    key: u64,
}

/// A caller that has as many requests in flight as it may.
#[derive(Debug)]
pub(super) struct TooMany;

impl Callers {
    /// A place for one more request of this caller; `None` where the route does not limit them.
    pub(super) fn enter(
        self: &Arc<Self>,
        route: &Route,
        headers: &HeaderMap,
        origin: impl FnOnce() -> IpAddr,
    ) -> Result<Option<CallerPlace>, TooMany> {
        let Some(limit) = &route.caller_limit else { return Ok(None) };
        let key = key(&route.name, &limit.key, headers, origin());
        let mut counts = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= limit.in_flight {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(CallerPlace { callers: self.clone(), key }))
    }
}

/// Callers without the header are told apart by their address.
fn key(route: &RouteName, by: &CallerKey, headers: &HeaderMap, origin: IpAddr) -> u64 {
    let named = match by {
        CallerKey::Header(name) => headers.get(name),
        CallerKey::Address => None,
    };
    let route = route.as_str().as_bytes();
    match named {
        Some(value) => siphash(&[route, b"header", value.as_bytes()]),
        None => siphash(&[route, b"address", origin.to_string().as_bytes()]),
    }
}

impl Drop for CallerPlace {
    fn drop(&mut self) {
        let mut counts = self.callers.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
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
    /// A place, if there is one now.
    pub(super) fn try_enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

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
        // In a box: most need not wait, and would carry its room with them.
        Box::pin(timeout(self.limits.queue_wait, place)).await.ok()?.ok()
    }
}
