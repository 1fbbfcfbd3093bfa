//! A data thread: accepts connections, sweeps what is idle, and ends politely.

use super::{
    ProxySettings,
    admission::{Callers, Gates},
    connections::{Closing, Connection},
    headers::Caller,
    thread::Thread,
};
use crate::{
    core::{snapshot::Live, ticket::TicketKey},
    io::{
        directory::Directory,
        listener::{Guarded, accept_pause},
        meters::Meters,
        pairs::Copies,
        tls::{ClientTls, ServerTls},
    },
};
use arc_swap::ArcSwap;
use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
    time::{Duration, interval, sleep, sleep_until, timeout},
};

/// How often idle connections and stalled callers are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// What a caller is told past the most connections; under TLS there is nobody to tell before a handshake.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

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
    /// Shared by all threads.
    pub callers: Arc<Callers>,
    /// Shared by all threads.
    pub directory: Arc<Directory>,
    /// Where the predictions of copies go.
    pub copies: Copies,
    /// Certificates of the listener; `None`: plain.
    pub tls: Option<ServerTls>,
    /// Whom backends under TLS are to be.
    pub backend_tls: Option<ClientTls>,
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
            callers: self.callers,
            live: self.live,
            gates: self.gates,
            directory: self.directory,
            backend_tls: self.backend_tls,
            copies: self.copies,
            flows: Default::default(),
            world: Default::default(),
            active: Cell::default(),
            resending: Cell::default(),
            shadowing: Cell::default(),
        });
        let (close, closing) = watch::channel(false);
        let mut drain = self.drain;
        tokio::select! {
            () = accept(&thread, &listener, self.tls.as_ref(), &closing) => {}
            () = sweep(&thread) => {}
            () = lame_duck(&mut drain, self.settings.lame_duck) => {}
        }
        drop(listener);
        close.send_replace(true);
        drop(closing);
        // Every connection holds a receiver: when the last one is gone, all are closed.
        let ending = async {
            tokio::select! {
                () = close.closed() => {}
                () = sweep(&thread) => {}
            }
        };
        let _ = timeout(self.settings.drain_limit, ending).await;
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

async fn accept(thread: &Rc<Thread>, listener: &TcpListener, tls: Option<&ServerTls>, closing: &Closing) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(thread, stream, peer, tls, closing),
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
fn admit(thread: &Rc<Thread>, stream: TcpStream, peer: SocketAddr, tls: Option<&ServerTls>, closing: &Closing) {
    let meters = &thread.meters;
    if meters.connections_open.get() >= thread.settings.connections_max {
        meters.connections_refused.up();
        if tls.is_none() {
            // A fresh socket takes so little at once, and nobody is waited for.
            let _ = stream.try_write(BUSY);
        }
        return;
    }
    meters.connections_accepted.up();
    meters.connections_open.up();
    let _ = stream.set_nodelay(true);
    let guarded = Guarded::new(stream, thread.settings.write_stall);
    let caller = Caller::new(peer.ip(), tls.is_some());
    let mut connection = Connection { thread: thread.clone(), caller, closing: closing.clone() };
    let tls = tls.cloned();
    spawn_local(async move {
        // An error here is the caller's connection breaking; the request on it has been counted where it belongs.
        match tls {
            None => connection.plain(guarded).await,
            Some(tls) => Box::pin(connection.tls(guarded, &tls)).await,
        }
        connection.thread.meters.connections_open.down();
    });
}
