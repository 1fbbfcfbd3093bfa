//! A data thread: accepts connections, finds out what they speak, serves them, and ends politely.

use super::{
    ProxySettings,
    admission::{Callers, Gates},
    body::ResponseBody,
    flow::Flow,
    headers::Caller,
    thread::Thread,
    used::{Held, Streams, Used, ending},
};
use crate::{
    core::{snapshot::Live, ticket::TicketKey},
    io::{
        directory::Directory,
        gather::Gather,
        listener::{Guarded, accept_pause},
        meters::Meters,
        tls::{ClientTls, ServerTls},
    },
};
use arc_swap::ArcSwap;
use http::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Poll,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
    time::{Duration, Instant, interval, sleep, sleep_until, timeout},
};

/// How often idle connections and stalled callers are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// What a client that speaks HTTP/2 without asking first begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest head of a request; a larger one is answered with 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long a head that is not complete may hold a connection that is to end.
const HALF_A_HEAD: Duration = Duration::from_secs(1);
/// What a caller is told past the most connections; under TLS there is nobody to tell before a handshake.
const BUSY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// Bytes that a connection reads ahead of what is passed on.
const READ_BYTES_MAX: usize = HEAD_BYTES_MAX;
/// Requests on one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 256;
/// What one request body over HTTP/2 may have on its way to us, and all of a connection together.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What of one answer over HTTP/2 may wait for its caller.
const SEND_BYTES_MAX: usize = 128 * 1024;
/// Streams that a client opened and reset at once, before the connection is ended (CVE-2023-44487).
const RESETS_MAX: usize = 64;
/// Streams that we had to reset for the client's faults, before the connection is ended (CVE-2025-8671).
const FAULTS_MAX: usize = 256;
/// A silent HTTP/2 caller is asked so often whether it lives.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(20);
/// Once it was told that we close, an HTTP/2 caller without streams may take so long to say that it has heard.
const LAST_WORDS: Duration = Duration::from_secs(3);

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
    /// Certificates of the listener; `None`: plain.
    pub tls: Option<ServerTls>,
    /// Whom backends under TLS are to be.
    pub backend_tls: Option<ClientTls>,
}

/// Becomes `true` when connections are to end.
pub(super) type Closing = watch::Receiver<bool>;

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

/// One connection of a caller.
struct Connection {
    thread: Rc<Thread>,
    caller: Caller,
    closing: Closing,
}

impl Connection {
    /// HTTP/1.1, or HTTP/2 if the caller begins with its preface.
    async fn plain(&mut self, mut stream: Guarded) {
        let begins = {
            let sniff = timeout(self.thread.settings.header_read, stream.begins_with(PREFACE));
            tokio::select! {
                begins = sniff => begins,
                _ = self.closing.wait_for(|closing| *closing) => return,
            }
        };
        match begins {
            Ok(Ok(true)) => Box::pin(self.http2(Gather::new(stream))).await,
            Ok(Ok(false)) => {
                let unsent = stream.unsent();
                self.http1(stream, &unsent).await;
            }
            // It broke, or said nothing in time.
            Ok(Err(_)) | Err(_) => {}
        }
    }

    async fn tls(&mut self, stream: Guarded, tls: &ServerTls) {
        let unsent = stream.unsent();
        let gather = Gather::new(stream);
        let handshake = timeout(self.thread.settings.handshake, tls.acceptor().accept(gather.clone()));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            _ = self.closing.wait_for(|closing| *closing) => return,
        };
        let Ok(Ok(stream)) = shaken else {
            self.thread.meters.tls_handshake_failures.up();
            return;
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2_over(stream, gather).await;
        } else {
            self.http1(stream, &unsent).await;
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&mut self, stream: S, unsent: &AtomicBool) {
        let (thread, caller, closing) = (&self.thread, &self.caller, &self.closing);
        let used = Rc::new(Used::default());
        let service = service_fn(|request: Request<Incoming>| {
            let one = used.one();
            async move {
                let answer = thread.serve(request, caller, closing).await;
                Ok::<_, Infallible>(answer.map(|body| Held { body, _one: one }))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(thread.settings.header_read)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(READ_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = pin!(connection);
        let mut closing = closing.clone();
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = closing.wait_for(|closing| *closing) => connection.as_mut().graceful_shutdown(),
        }
        // What is being answered is finished; half a head is not waited for.
        loop {
            tokio::select! {
                _ = connection.as_mut() => return,
                () = sleep(HALF_A_HEAD) => {}
            }
            if used.active.get() == 0 && !unsent.load(Relaxed) {
                return;
            }
        }
    }

    async fn http2(&mut self, gather: Gather<Guarded>) {
        self.http2_over(gather.clone(), gather).await;
    }

    /// HTTP/2 over `stream`, which ends in `gather`.
    async fn http2_over<S: AsyncRead + AsyncWrite + Unpin + 'static>(&mut self, stream: S, gather: Gather<Guarded>) {
        gather.start();
        let used = Rc::new(Used::default());
        let (thread, caller, closing) = (self.thread.clone(), self.caller.clone(), self.closing.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (thread, caller, closing) = (thread.clone(), caller.clone(), closing.clone());
            async move {
                let response = thread.serve(request, &caller, &closing).await;
                if let (ResponseBody::Whole(Some(_)), Some(flow)) = (response.body(), Flow::current()) {
                    // It leaves in one piece, if its caller lets it.
                    flow.handed(Instant::now());
                    thread.flows.watch(&flow);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http2::Builder::new(Streams(used.clone()))
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BYTES_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(FAULTS_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut ending = pin!(ending(self.closing.clone(), used.clone(), self.thread.settings.http2_idle));
        let mut last_words = pin!(async {
            sleep(LAST_WORDS).await;
            used.unused_for(LAST_WORDS).await;
        });
        let mut stuck = pin!(used.stuck.notified());
        let mut told = false;
        poll_fn(|cx| {
            if !told && ending.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            // A caller must not keep what it does not take, and a silent one must not hold the exit.
            if stuck.as_mut().poll(cx).is_ready() || (told && last_words.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(());
            }
            let polled = connection.as_mut().poll(cx).map(drop);
            match gather.poll_send(cx) {
                // The caller does not read, or is gone.
                Poll::Ready(Err(_)) => Poll::Ready(()),
                Poll::Ready(Ok(())) | Poll::Pending => polled,
            }
        })
        .await;
    }
}
