//! What the weights were, one after the other.

use crate::support::Caller;
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// `GET /v1/routes`.
pub(super) fn shown(admin: SocketAddr) -> Value {
    serde_json::from_str(&Caller::new(admin).call("GET", "/v1/routes", "", "").body).unwrap()
}

/// Looks at one variant of the route, many times a second. What it saw is complete only if it saw as many changes as there were
/// tables: see `coalmine_config_reloads_total`.
pub(super) struct Weights {
    over: Arc<AtomicBool>,
    looker: JoinHandle<Vec<[String; 2]>>,
}

impl Weights {
    pub(super) fn of(admin: SocketAddr, variant: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ends = over.clone();
        let looker = thread::spawn(move || {
            let mut caller = Caller::new(admin);
            let mut seen: Vec<[String; 2]> = Vec::new();
            while !ends.load(SeqCst) {
                let shown: Value = serde_json::from_str(&caller.call("GET", "/v1/routes", "", "").body).unwrap();
                let weight = &shown["routes"][0]["variants"][variant]["weight"];
                let now = ["said", "effective"].map(|key| weight[key].as_str().unwrap_or("none").to_owned());
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
                thread::park_timeout(Duration::from_millis(10));
            }
            seen
        });
        Self { over, looker }
    }

    /// What the file said, and what was in force; each only when it became another.
    pub(super) fn end(self) -> [Vec<String>; 2] {
        self.over.store(true, SeqCst);
        let seen = self.looker.join().unwrap();
        [0, 1].map(|of| {
            let mut all: Vec<String> = seen.iter().map(|both| both[of].clone()).collect();
            all.dedup();
            all
        })
    }
}
