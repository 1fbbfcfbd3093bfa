//! What the requests of one data thread share: the newest snapshot with this thread's peers beside it, and its counts of what is
//! under way.

use super::{
    ProxySettings,
    admission::{Callers, Gates},
    endpoints::{Parts, Peer},
    flow::Flows,
};
use crate::{
    core::{fallback::resend_allowed, outlier, snapshot::Live, ticket::TicketKey, variant::Backend},
    io::{directory::Directory, meters::Meters, pairs::Copies, tls::ClientTls},
};
use arc_swap::ArcSwap;
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

/// More than the allocator keeps ready: asking for so much has it look at what is free.
const NUDGE_BYTES: usize = 1 << 20;

/// What the requests of a thread share.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) index: usize,
    pub(super) key: TicketKey,
    pub(super) meters: Arc<Meters>,
    pub(super) settings: ProxySettings,
    pub(super) callers: Arc<Callers>,
    pub(super) live: Arc<ArcSwap<Live>>,
    pub(super) gates: Arc<Gates>,
    pub(super) directory: Arc<Directory>,
    pub(super) backend_tls: Option<ClientTls>,
    /// Where the predictions of copies go.
    pub(super) copies: Copies,
    pub(super) flows: Flows,
    pub(super) world: RefCell<Rc<World>>,
    pub(super) active: Cell<usize>,
    pub(super) resending: Cell<usize>,
    /// Shadow copies under way.
    pub(super) shadowing: Cell<usize>,
}

/// A snapshot with this thread's peers beside it, in the same order.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) live: Arc<Live>,
    peers: Vec<Vec<Rc<Peer>>>,
}

impl World {
    pub(super) fn peer(&self, route: usize, variant: usize) -> Option<&Rc<Peer>> {
        self.peers.get(route)?.get(variant)
    }
}

/// One more of something, for as long as this lives.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a Cell<usize>);

impl<'a> Counted<'a> {
    pub(super) fn new(cell: &'a Cell<usize>) -> Self {
        cell.set(cell.get() + 1);
        Self(cell)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Thread {
    /// The newest snapshot. Loaded once per request; costs one pointer comparison when nothing has changed.
    pub(super) fn world(&self) -> Rc<World> {
        let live = self.live.load();
        if Arc::ptr_eq(&live, &self.world.borrow().live) {
            return self.world.borrow().clone();
        }
        let next = Rc::new(self.next_world(Arc::clone(&live)));
        self.world.replace(next.clone());
        self.gates.sweep();
        self.directory.sweep();
        next
    }

    /// Peers of backends that are still there keep their connections.
    fn next_world(&self, live: Arc<Live>) -> World {
        let old = self.world.borrow();
        let mut known: HashMap<(Backend, u32, Option<outlier::Policy>), Rc<Peer>> = HashMap::new();
        for peer in old.peers.iter().flatten() {
            known.insert(peer.key(), peer.clone());
        }
        let mut peers = Vec::with_capacity(live.snapshot.routes.len());
        for route in live.snapshot.routes.iter() {
            let mut peer = |backend: &Backend| {
                let new = || {
                    let parts = Parts {
                        gate: self.gates.of(backend, route.limits),
                        in_flight_max: route.limits.in_flight,
                        entry: self.directory.entry(backend),
                        outlier: route.outlier,
                        tls: self.backend_tls.clone(),
                        settings: &self.settings,
                    };
                    Rc::new(Peer::new(backend, parts))
                };
                known.entry((backend.clone(), route.limits.in_flight, route.outlier)).or_insert_with(new).clone()
            };
            peers.push(route.variants.iter().map(|variant| peer(&variant.backend)).collect());
        }
        World { live, peers }
    }

    /// A place for one more resend, if there is one within the budget.
    pub(super) fn resend(&self) -> Option<Counted<'_>> {
        if !resend_allowed(self.active.get(), self.resending.get()) {
            self.meters.resends_denied.up();
            return None;
        }
        self.meters.resends.up();
        Some(Counted::new(&self.resending))
    }

    pub(super) fn sweep(&self) {
        for peer in self.world.borrow().peers.iter().flatten() {
            peer.sweep();
        }
        // The allocator gives free memory back to the system only while it is asked for more; an idle process asks for nothing.
        drop(std::hint::black_box(Vec::<u8>::with_capacity(NUDGE_BYTES)));
        self.meters.callers_cut.add(self.flows.cut(self.settings.write_stall));
    }
}
