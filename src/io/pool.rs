//! Kept-alive connections to one backend, of one thread. The newest goes out first, so that the rest can grow old and close.

use hyper::{body::Body, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{cell::RefCell, time::Duration};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

/// Idle connections that are kept per backend and thread.
const IDLE_MAX: usize = 256;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Refused, unreachable, no such name.
    #[error("{0}")]
    Failed(#[from] std::io::Error),
    /// Took too long.
    #[error("no connection in time")]
    Timeout,
    /// The connection stood and broke at once.
    #[error("{0}")]
    Handshake(#[from] hyper::Error),
}

/// A connection, and whether it carried a request before.
#[derive(Debug)]
pub struct Connection<B> {
    /// Where requests go in.
    pub sender: http1::SendRequest<B>,
    /// Such a connection may have been closed by the backend while it was idle.
    pub reused: bool,
}

struct Idle<B> {
    sender: http1::SendRequest<B>,
    since: Instant,
}

/// The pool. Not `Sync` on purpose: connections never change threads.
pub struct Pool<B> {
    host: Box<str>,
    port: u16,
    idle_for: Duration,
    idle: RefCell<Vec<Idle<B>>>,
}

impl<B> Pool<B>
where
    B: Body + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// An empty pool for `host:port`.
    #[must_use]
    pub fn new(host: &str, port: u16, idle_for: Duration) -> Self {
        Self { host: host.into(), port, idle_for, idle: RefCell::default() }
    }

    /// A kept connection that looks alive.
    pub fn take(&self) -> Option<Connection<B>> {
        let mut idle = self.idle.borrow_mut();
        let now = Instant::now();
        idle.retain(|idle| now.duration_since(idle.since) < self.idle_for && !idle.sender.is_closed());
        // A connection whose task has not noticed the end of the last answer yet is not ready; it stays for the next request.
        let newest = idle.iter().rposition(|idle| idle.sender.is_ready())?;
        let sender = idle.remove(newest).sender;
        Some(Connection { sender, reused: true })
    }

    /// A fresh connection; names are resolved anew every time. Must run inside a `LocalSet`.
    ///
    /// # Errors
    /// [`ConnectError`] says why there is none.
    pub async fn connect(&self, limit: Duration) -> Result<Connection<B>, ConnectError> {
        let connecting = TcpStream::connect((&*self.host, self.port));
        let stream = timeout(limit, connecting).await.map_err(|_| ConnectError::Timeout)??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends when the sender is dropped or the backend closes; what went wrong reaches the request that was under way.
        tokio::task::spawn_local(connection);
        Ok(Connection { sender, reused: false })
    }

    /// Takes back a connection whose answer was read to the end.
    pub fn put(&self, sender: http1::SendRequest<B>) {
        let mut idle = self.idle.borrow_mut();
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
    }
}

impl<B> std::fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({}:{})", self.host, self.port)
    }
}
