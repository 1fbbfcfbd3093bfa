//! Kept connections to one endpoint, of one thread: HTTP/1.1 ones on a stack (the newest goes out first, so that the rest can
//! grow old and close), or the HTTP/2 connection that everybody shares, and another one when that is full.

use super::{
    dial::{Dial, Socket},
    gather::{Gather, flushing},
};
use http::{HeaderValue, Method, Request, Response, header::TRANSFER_ENCODING};
use hyper::{
    body::{Body, Incoming},
    client::conn::{TrySendError, http1, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::Rc,
    time::Duration,
};
use tokio::{
    sync::Mutex,
    task::spawn_local,
    time::{Instant, timeout},
};

/// Idle connections that are kept per endpoint and thread.
pub const IDLE_MAX: usize = 256;
/// Largest head of an answer.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Requests on one HTTP/2 connection at a time; as many as RFC 9113 wants a server to allow at least.
pub const STREAMS_MAX: usize = 100;
/// What one answer over HTTP/2 may have on its way to us: three full frames. Each may sit in a buffer twice its size, and two hundred
/// callers that do not read must stay below 32 MB together.
const STREAM_WINDOW_BYTES: u32 = 48 * 1024;
/// ... and all of a connection together: a share for each, so that callers that do not read never hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * 100;
/// A silent HTTP/2 connection with requests on it is asked whether it lives.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_LIMIT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, no such socket, a certificate that is not trusted.
    #[error("{0}")]
    Failed(#[from] std::io::Error),
    /// Took too long.
    #[error("no connection in time")]
    Timeout,
    /// The connection stood and broke at once.
    #[error("{0}")]
    Handshake(#[from] hyper::Error),
}

/// Where requests go in.
#[derive(Debug)]
pub enum Sender<B> {
    /// One request at a time.
    Http1(http1::SendRequest<B>),
    /// Many at a time; every request has a clone.
    Http2(Shared<B>),
}

impl<B: Body + 'static> Sender<B> {
    /// Whether requests must be in the form of HTTP/2: absolute, without Host.
    #[must_use]
    pub fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// With the request, if nothing of it was sent.
    pub async fn send(&mut self, mut request: Request<B>) -> Result<Response<Incoming>, TrySendError<Request<B>>> {
        match self {
            Self::Http1(sender) => {
                // To hyper a GET or HEAD without a length is one without a body, unless it is told otherwise.
                let bare = matches!(*request.method(), Method::GET | Method::HEAD);
                if bare && request.body().size_hint().exact().is_none() {
                    request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
                sender.try_send_request(request).await
            }
            Self::Http2(shared) => shared.sender.try_send_request(request).await,
        }
    }
}

/// An HTTP/2 connection, and how many hold on to it: the pool and each of its requests.
#[derive(Debug)]
pub struct Shared<B> {
    sender: http2::SendRequest<B>,
    held: Rc<()>,
}

impl<B> Clone for Shared<B> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), held: self.held.clone() }
    }
}

impl<B> Shared<B> {
    fn streams(&self) -> usize {
        Rc::strong_count(&self.held) - 1
    }
}

/// A connection, and whether it carried a request before.
#[derive(Debug)]
pub struct Connection<B> {
    /// Where requests go in.
    pub sender: Sender<B>,
    /// Such a connection may have been closed by the backend while it was idle.
    pub reused: bool,
}

struct Idle<B> {
    sender: http1::SendRequest<B>,
    since: Instant,
}

/// The pool. Not `Sync` on purpose: connections never change threads.
pub struct Pool<B> {
    dial: Dial,
    /// Plain HTTP/2, known beforehand.
    http2: bool,
    /// Under TLS the endpoint chose HTTP/1.1: then connections need not wait for one another.
    chose_http1: Cell<bool>,
    idle_for: Duration,
    idle: RefCell<Vec<Idle<B>>>,
    shared: RefCell<Vec<Shared<B>>>,
    /// One connection that may turn out to be shared is opened at a time: a burst must not open a hundred of them.
    opening: Mutex<()>,
}

impl<B> Pool<B>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool.
    #[must_use]
    pub fn new(dial: Dial, http2: bool, idle_for: Duration) -> Self {
        Self {
            dial,
            http2,
            chose_http1: Cell::new(false),
            idle_for,
            idle: RefCell::default(),
            shared: RefCell::default(),
            opening: Mutex::new(()),
        }
    }

    /// A kept connection that looks alive.
    pub fn take(&self) -> Option<Connection<B>> {
        if let Some(sender) = self.shared() {
            return Some(Connection { sender, reused: true });
        }
        let mut idle = self.idle.borrow_mut();
        while idle.pop_if(|newest| newest.sender.is_closed()).is_some() {}
        // A connection whose task has not noticed the end of the last answer yet is not ready; it stays for the next request.
        let newest = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        // Those below it are older, or busy; looking through them is left to the sweep.
        let Idle { sender, since } = idle.remove(newest);
        (since.elapsed() < self.idle_for).then_some(Connection { sender: Sender::Http1(sender), reused: true })
    }

    /// The first one with room: those behind it empty out once they are not needed.
    fn shared(&self) -> Option<Sender<B>> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|shared| !shared.sender.is_closed());
        shared.iter().find(|shared| shared.streams() < STREAMS_MAX).cloned().map(Sender::Http2)
    }

    /// A fresh connection, or the shared one as soon as it stands. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// [`ConnectError`] says why there is none.
    pub async fn connect(&self, limit: Duration) -> Result<Connection<B>, ConnectError> {
        timeout(limit, self.open()).await.map_err(|_| ConnectError::Timeout)?
    }

    /// A connection of one's own that speaks HTTP/1.1, for what cannot share.
    ///
    /// # Errors
    /// [`ConnectError`] says why there is none.
    pub async fn connect_http1(&self, limit: Duration) -> Result<Connection<B>, ConnectError> {
        let open = async { Ok(Connection { sender: http1(self.dial.open(true).await?.0).await?, reused: false }) };
        timeout(limit, open).await.map_err(|_| ConnectError::Timeout)?
    }

    async fn open(&self) -> Result<Connection<B>, ConnectError> {
        let alone = self.chose_http1.get() || (self.dial.tls.is_none() && !self.http2);
        let _turn = if alone { None } else { Some(self.opening.lock().await) };
        if !alone && let Some(sender) = self.shared() {
            return Ok(Connection { sender, reused: false });
        }
        let (socket, chose_http2) = self.dial.open(false).await?;
        let sender = if chose_http2 || self.http2 {
            let shared = Shared { sender: http2(socket).await?, held: Rc::default() };
            self.shared.borrow_mut().push(shared.clone());
            Sender::Http2(shared)
        } else {
            self.chose_http1.set(self.dial.tls.is_some());
            http1(socket).await?
        };
        Ok(Connection { sender, reused: false })
    }

    /// Takes back a connection whose answer was read to the end.
    pub fn put(&self, sender: Sender<B>) {
        let Sender::Http1(sender) = sender else { return };
        let mut idle = self.idle.borrow_mut();
        if idle.len() == IDLE_MAX {
            idle.retain(|idle| !idle.sender.is_closed());
        }
        if !sender.is_closed() && idle.len() < IDLE_MAX {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.idle
            .borrow_mut()
            .retain(|idle| now.duration_since(idle.since) < self.idle_for && !idle.sender.is_closed());
        let mut first = true;
        self.shared
            .borrow_mut()
            .retain(|shared| !shared.sender.is_closed() && (std::mem::take(&mut first) || shared.streams() > 0));
    }
}

async fn http1<B>(socket: Socket) -> Result<Sender<B>, hyper::Error>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let handshake = http1::Builder::new().max_header_size(HEAD_BYTES_MAX).handshake(TokioIo::new(socket));
    let (sender, connection) = handshake.await?;
    // Ends when the sender is dropped or the backend closes; what went wrong reaches the request that was under way.
    spawn_local(connection.with_upgrades());
    Ok(Sender::Http1(sender))
}

async fn http2<B>(socket: Socket) -> Result<http2::SendRequest<B>, hyper::Error>
where
    B: Body + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let gather = Gather::new(socket);
    gather.start();
    let tasks = Tasks { gather: gather.clone(), connection: Rc::new(Cell::new(true)) };
    let (sender, connection) = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_LIMIT)
        .handshake(TokioIo::new(gather))
        .await?;
    spawn_local(connection);
    Ok(sender)
}

/// Runs the tasks of an HTTP/2 connection. The first one it is given is the connection itself, the only one that writes.
#[derive(Clone)]
struct Tasks {
    gather: Gather<Socket>,
    connection: Rc<Cell<bool>>,
}

impl<F: Future + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        if self.connection.replace(false) {
            spawn_local(flushing(task, self.gather.clone()));
        } else {
            spawn_local(task);
        }
    }
}

impl<B> std::fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({:?})", self.dial.address)
    }
}
