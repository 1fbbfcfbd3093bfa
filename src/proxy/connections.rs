//! A data thread: accepts connections, keeps what its requests share, and ends politely.

use super::{
    ProxySettings,
    admission::{Gate, Gates},
    body::RequestBody,
};
use crate::{
    core::{fallback::resend_allowed, snapshot::Live, ticket::TicketKey, variant::Backend},
    io::{
        listener::{Guarded, accept_pause},
        meters::Meters,
        pool::Pool,
    },
};
use arc_swap::ArcSwap;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
    time::{interval, sleep, sleep_until, timeout},
};

/// How often idle connections are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Everything a data thread is given.
#[derive(Debug)]
pub struct DataThread {
    /// Its number: which cells of the tallies it writes.
    pub index: usize,
    /// The config loop writes.
    pub live: Arc<ArcSwap<Live>>,
    /// Seals tickets.
    pub key: TicketKey,
    /// Limits that no route says.
    pub settings: ProxySettings,
    /// `app` writes `true` once.
    pub drain: watch::Receiver<bool>,
    /// Shared by all threads.
    pub meters: Arc<Meters>,
    /// Shared by all threads.
    pub gates: Arc<Gates>,
}

/// What the requests of a thread share.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) index: usize,
    pub(super) key: TicketKey,
    pub(super) meters: Arc<Meters>,
    settings: ProxySettings,
    live: Arc<ArcSwap<Live>>,
    gates: Arc<Gates>,
    world: RefCell<Rc<World>>,
    active: Cell<usize>,
    resending: Cell<usize>,
    connections: Cell<usize>,
}

/// A backend as one thread sees it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) pool: Pool<RequestBody>,
    pub(super) gate: Arc<Gate>,
    backend: Backend,
    in_flight: u32,
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

/// Counts a request as active, or as being sent again, for as long as its head is being worked on.
pub(super) struct Active<'a>(&'a Cell<usize>);

impl Drop for Active<'_> {
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
        next
    }

    /// Peers of backends that are still there keep their connections.
    fn next_world(&self, live: Arc<Live>) -> World {
        let old = self.world.borrow();
        let mut known: HashMap<(Backend, u32), Rc<Peer>> = HashMap::new();
        for peer in old.peers.iter().flatten() {
            known.insert((peer.backend.clone(), peer.in_flight), peer.clone());
        }
        let mut peers = Vec::with_capacity(live.snapshot.routes.len());
        for route in live.snapshot.routes.iter() {
            let peer = |backend: &Backend| {
                let key = (backend.clone(), route.limits.in_flight);
                let new = || {
                    Rc::new(Peer {
                        pool: Pool::new(&backend.host, backend.port, self.settings.backend_idle),
                        gate: self.gates.of(backend, route.limits),
                        backend: backend.clone(),
                        in_flight: route.limits.in_flight,
                    })
                };
                known.entry(key).or_insert_with(new).clone()
            };
            let mut peer = peer;
            peers.push(route.variants.iter().map(|variant| peer(&variant.backend)).collect());
        }
        World { live, peers }
    }

    pub(super) fn active(&self) -> Active<'_> {
        self.active.set(self.active.get() + 1);
        Active(&self.active)
    }

    /// A place for one more resend, if there is one within the budget.
    pub(super) fn resend(&self) -> Option<Active<'_>> {
        if !resend_allowed(self.active.get(), self.resending.get()) {
            self.meters.resends_denied.up();
            return None;
        }
        self.meters.resends.up();
        self.resending.set(self.resending.get() + 1);
        Some(Active(&self.resending))
    }

    fn sweep(&self) {
        for peer in self.world.borrow().peers.iter().flatten() {
            peer.pool.sweep();
        }
    }
}

impl DataThread {
    /// Serves until it is told to drain and everything in flight is done, or the drain limit is over. Must run inside a
    /// `LocalSet` of a single-threaded runtime.
    ///
    /// # Errors
    /// If the listener cannot be registered with the runtime.
    pub async fn run(self, listener: std::net::TcpListener) -> std::io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let thread = Rc::new(Thread {
            index: self.index,
            key: self.key,
            meters: self.meters,
            settings: self.settings,
            live: self.live,
            gates: self.gates,
            world: RefCell::default(),
            active: Cell::new(0),
            resending: Cell::new(0),
            connections: Cell::new(0),
        });
        let (close, closing) = watch::channel(false);
        let mut drain = self.drain;
        tokio::select! {
            () = accept(&thread, &listener, &closing) => {}
            () = sweep(&thread) => {}
            () = lame_duck(&mut drain, self.settings.lame_duck) => {}
        }
        drop(listener);
        close.send_replace(true);
        drop(closing);
        // Every connection holds a receiver: when the last one is gone, all are closed.
        let _ = timeout(self.settings.drain_limit, close.closed()).await;
        Ok(())
    }
}

async fn lame_duck(drain: &mut watch::Receiver<bool>, pause: Duration) {
    // A lost sender means that the process is ending as well.
    let _ = drain.wait_for(|drain| *drain).await;
    sleep(pause).await;
}

async fn sweep(thread: &Thread) {
    let mut beat = interval(SWEEP_EVERY);
    loop {
        beat.tick().await;
        thread.sweep();
    }
}

async fn accept(thread: &Rc<Thread>, listener: &TcpListener, closing: &watch::Receiver<bool>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(thread, stream, peer, closing),
            Err(error) => {
                thread.meters.accept_errors.up();
                if let Some(again) = accept_pause(&error) {
                    sleep_until(again).await;
                }
            }
        }
    }
}

/// Starts serving a connection; closes it at once if there are too many.
fn admit(thread: &Rc<Thread>, stream: TcpStream, peer: SocketAddr, closing: &watch::Receiver<bool>) {
    let meters = &thread.meters;
    if meters.connections_open.get() >= thread.settings.connections_max {
        meters.connections_refused.up();
        return;
    }
    meters.connections_accepted.up();
    meters.connections_open.up();
    thread.connections.set(thread.connections.get() + 1);
    let _ = stream.set_nodelay(true);
    let guarded = Guarded::new(stream, thread.settings.write_stall);
    let (thread, closing) = (thread.clone(), closing.clone());
    spawn_local(async move {
        // An error here is the caller's connection breaking; the request on it has been counted where it belongs.
        let _ = connection(&thread, guarded, peer.ip(), closing).await;
        thread.meters.connections_open.down();
        thread.connections.set(thread.connections.get() - 1);
    });
}

async fn connection(
    thread: &Rc<Thread>,
    stream: Guarded,
    peer: IpAddr,
    mut closing: watch::Receiver<bool>,
) -> Result<(), hyper::Error> {
    let service = service_fn(|request| async move { Ok::<_, Infallible>(thread.serve(request, peer).await) });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(thread.settings.header_read)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
