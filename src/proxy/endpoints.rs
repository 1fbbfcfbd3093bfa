//! A backend as one thread sees it: its endpoints, each with its own connections, and how they have been doing.

use super::{ProxySettings, admission::Gate, error::Error, upload::RequestBody};
use crate::{
    core::{
        balance::{self, Candidate},
        outlier,
        tally::Outcome,
        variant::{Backend, Wire},
    },
    io::{
        clock,
        dial::Dial,
        directory::{EndpointAddress, Endpoints, Entry, Vitals},
        pool::{Pool, Sender},
        tls::ClientTls,
    },
};
use http::StatusCode;
use rand::RngExt as _;
use rustls::pki_types::ServerName;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Duration, timeout},
};

/// A backend as one thread sees it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) backend: Backend,
    pub(super) gate: Arc<Gate>,
    in_flight_max: u32,
    entry: Arc<Entry>,
    outlier: Option<outlier::Policy>,
    tls: Option<ClientTls>,
    idle_for: Duration,
    /// As of the list that was looked at last.
    known: RefCell<Known>,
}

/// A list, and our endpoints in its order.
#[derive(Debug, Default)]
struct Known {
    list: Option<Arc<Endpoints>>,
    ours: Rc<[Rc<Endpoint>]>,
}

/// An address of a backend.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) pool: Pool<RequestBody>,
    pub(super) slot: u8,
    /// What its readiness checks say.
    ready: Cell<bool>,
    in_flight: Cell<u32>,
    vitals: Arc<Vitals>,
}

/// What a peer is made of, besides its backend.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) gate: Arc<Gate>,
    pub(super) in_flight_max: u32,
    pub(super) entry: Arc<Entry>,
    pub(super) outlier: Option<outlier::Policy>,
    pub(super) tls: Option<ClientTls>,
    pub(super) settings: &'a ProxySettings,
}

impl Peer {
    pub(super) fn new(backend: &Backend, parts: Parts<'_>) -> Self {
        Self {
            backend: backend.clone(),
            gate: parts.gate,
            in_flight_max: parts.in_flight_max,
            entry: parts.entry,
            outlier: parts.outlier,
            tls: parts.tls,
            idle_for: parts.settings.backend_idle,
            known: RefCell::default(),
        }
    }

    /// What makes two peers the same one.
    pub(super) fn key(&self) -> (Backend, u32, Option<outlier::Policy>) {
        (self.backend.clone(), self.in_flight_max, self.outlier)
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self.backend.wire, Wire::Tls { .. })
    }

    /// The endpoint for one more request, the less busy one of two. A name that has never been resolved is waited for.
    ///
    /// # Errors
    /// If there is no address.
    pub(super) async fn pick(self: &Rc<Self>, place: OwnedSemaphorePermit, limit: Duration) -> Result<InUse, Error> {
        let mut endpoints = self.endpoints();
        if endpoints.is_empty() {
            let _ = Box::pin(timeout(limit, self.entry.resolved())).await;
            endpoints = self.endpoints();
        }
        let at = match endpoints.len() {
            0 => return Err(Error::NO_ADDRESS),
            1 => 0,
            _ => self.choose(&endpoints, &[]).unwrap_or(0),
        };
        let endpoint = endpoints.get(at).ok_or(Error::NO_ADDRESS)?.clone();
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        Ok(InUse { endpoint, peer: self.clone(), _place: place })
    }

    /// One that is none of those `tried`.
    fn choose(&self, endpoints: &[Rc<Endpoint>], tried: &[Rc<Endpoint>]) -> Option<usize> {
        let now_ms = clock::now().mono_ms;
        let look = |endpoint: &Rc<Endpoint>| Candidate {
            in_flight: endpoint.in_flight.get(),
            ready: endpoint.ready.get(),
            ejected: self.outlier.is_some() && endpoint.vitals.is_ejected(now_ms),
        };
        if tried.is_empty() {
            return balance::pick(endpoints, look, rand::rng().random());
        }
        let was_tried = |endpoint: &Rc<Endpoint>| tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint));
        balance::pick_other(endpoints, look, was_tried, rand::rng().random())
    }

    /// Our endpoints in the order of the newest list; those that are still in it keep their connections and their history.
    fn endpoints(&self) -> Rc<[Rc<Endpoint>]> {
        let newest = self.entry.endpoints();
        {
            let known = self.known.borrow();
            if known.list.as_ref().is_some_and(|known| Arc::ptr_eq(known, &newest)) {
                return known.ours.clone();
            }
        }
        let newest = Arc::clone(&newest);
        let Known { list, ours } = self.known.take();
        let old = list.iter().flat_map(|list| &list.list);
        let kept = |address: &EndpointAddress| old.clone().zip(&*ours).find(|(said, _)| said.address == *address);
        let next: Rc<[Rc<Endpoint>]> = newest
            .list
            .iter()
            .map(|said| {
                let ours = kept(&said.address).map_or_else(|| Rc::new(self.endpoint(said)), |(_, ours)| ours.clone());
                ours.ready.set(said.ready);
                ours
            })
            .collect();
        self.known.replace(Known { list: Some(newest), ours: next.clone() });
        next
    }

    fn endpoint(&self, said: &crate::io::directory::Endpoint) -> Endpoint {
        let name = self.backend.server_name().and_then(|name| ServerName::try_from(name.to_owned()).ok());
        let tls = self.tls.clone().zip(name);
        let dial = Dial { address: said.address.clone(), tls };
        let http2 = self.backend.wire == Wire::Http2;
        Endpoint {
            pool: Pool::new(dial, http2, self.idle_for),
            slot: said.slot,
            ready: Cell::new(said.ready),
            in_flight: Cell::default(),
            vitals: said.vitals.clone(),
        }
    }

    pub(super) fn sweep(&self) {
        for endpoint in &*self.known.borrow().ours {
            endpoint.pool.sweep();
        }
    }
}

/// One request's hold on an endpoint, and on a place at its backend.
#[derive(Debug)]
pub(super) struct InUse {
    pub(super) endpoint: Rc<Endpoint>,
    peer: Rc<Peer>,
    _place: OwnedSemaphorePermit,
}

impl InUse {
    pub(super) fn slot(&self) -> u8 {
        self.endpoint.slot
    }

    /// Takes back a connection whose answer was read to the end.
    pub(super) fn put(&self, sender: Sender<RequestBody>) {
        self.endpoint.pool.put(sender);
    }

    /// Moves on to an endpoint that was not `tried`; whether there is one.
    pub(super) fn next(&mut self, tried: &[Rc<Endpoint>]) -> bool {
        let endpoints = self.peer.endpoints();
        let Some(other) = self.peer.choose(&endpoints, tried).and_then(|at| endpoints.get(at)) else { return false };
        self.endpoint.in_flight.set(self.endpoint.in_flight.get().saturating_sub(1));
        other.in_flight.set(other.in_flight.get() + 1);
        self.endpoint = other.clone();
        true
    }

    /// How the endpoint did.
    pub(super) fn observe(&self, outcome: Outcome, status: Option<StatusCode>) {
        if let Some(policy) = &self.peer.outlier {
            self.endpoint.vitals.on_outcome(outcome, status, clock::now().mono_ms, policy);
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.endpoint.in_flight.set(self.endpoint.in_flight.get().saturating_sub(1));
    }
}
