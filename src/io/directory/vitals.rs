//! The health of one endpoint, where all data threads meet: a dead one is found by the first few failures anywhere.
//!
//! The one thing on the way of a request that is shared and written - by failures only. While an endpoint is good, its successes
//! read one flag that nobody writes, so its cache line stays with every core.

use super::{EndpointAddress, lock};
use crate::{
    core::{
        outlier::{Health, Policy},
        tally::Outcome,
    },
    io::meters::Meters,
};
use http::StatusCode;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// Health, shared.
#[derive(Debug)]
pub struct Vitals {
    /// Whether `health` is anything but the default: only then do successes matter.
    ailing: AtomicBool,
    /// Up to when it is ejected, on the monotonic clock; 0: it is not.
    until_ms: AtomicU64,
    health: Mutex<Health>,
    backend: Arc<str>,
    address: EndpointAddress,
    meters: Arc<Meters>,
}

impl Vitals {
    pub(super) fn new(backend: Arc<str>, address: EndpointAddress, meters: Arc<Meters>) -> Self {
        Self {
            ailing: AtomicBool::new(false),
            until_ms: AtomicU64::new(0),
            health: Mutex::default(),
            backend,
            address,
            meters,
        }
    }

    /// Whether it is to be left out at `now_ms` of the monotonic clock. One load.
    #[must_use]
    pub fn is_ejected(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms.load(Relaxed)
    }

    /// Its health as it stands.
    #[must_use]
    pub fn health(&self) -> Health {
        *lock(&self.health)
    }

    /// Takes in how a request to it ended. Ejections are counted and logged here.
    pub fn on_outcome(&self, outcome: Outcome, status: Option<StatusCode>, now_ms: u64, policy: &Policy) {
        let step = |health: Health| health.on_outcome(outcome, status, now_ms, policy);
        if !self.ailing.load(Relaxed) && step(Health::default()) == Health::default() {
            return;
        }
        let mut health = lock(&self.health);
        let (before, after) = (*health, step(*health));
        if before == after {
            return;
        }
        *health = after;
        self.ailing.store(after != Health::default(), Relaxed);
        let until_ms = match after {
            Health::Ejected { until_ms, .. } => until_ms,
            Health::Good { .. } | Health::Trial { .. } => 0,
        };
        self.until_ms.store(until_ms, Relaxed);
        drop(health);
        if let Health::Ejected { until_ms, ejections } = after {
            let (backend, address, millis) = (&*self.backend, &self.address, until_ms.saturating_sub(now_ms));
            self.meters.ejections.up();
            tracing::warn!(backend, %address, millis, ejections, last = outcome.as_str(), "endpoint ejected");
        } else if after == Health::default() && !matches!(before, Health::Good { .. }) {
            tracing::info!(backend = &*self.backend, address = %self.address, "endpoint is good again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn failures_of_any_thread_add_up_and_ejections_are_counted() {
        let meters = Arc::new(Meters::default());
        let vitals = Vitals::new("b".into(), EndpointAddress::Unix("/s".into()), meters.clone());
        let policy = Policy { failures: 8, eject: Duration::from_millis(100), eject_max: Duration::from_secs(1) };
        let end = |outcome, now_ms| vitals.on_outcome(outcome, None, now_ms, &policy);
        std::thread::scope(|scope| {
            for _ in 0..7 {
                scope.spawn(|| end(Outcome::BackendReset, 0));
            }
        });
        assert_eq!(vitals.health(), Health::Good { failures: 7 });
        end(Outcome::Ok, 0);
        assert_eq!(vitals.health(), Health::default(), "a success is seen while the endpoint is ailing");
        for _ in 0..8 {
            end(Outcome::BackendConnect, 10);
        }
        assert!(vitals.is_ejected(109) && !vitals.is_ejected(110));
        end(Outcome::Ok, 110);
        assert!(!vitals.is_ejected(0) && meters.ejections.get() == 1);
        end(Outcome::BackendTimeout, 120);
        assert!(vitals.is_ejected(319) && !vitals.is_ejected(320));
        assert_eq!(meters.ejections.get(), 2);
    }
}
