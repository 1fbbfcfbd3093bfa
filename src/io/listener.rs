//! Listening sockets, and the guarded stream of an accepted connection.

use socket2::{Domain, Protocol, Socket, Type};
use std::{
    future::Future as _,
    io,
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// Connections that may wait for `accept`.
const BACKLOG: i32 = 4096;

/// Binds a listening socket that is ready for a runtime. With `reuse_port` several threads may each bind one of their own, and the
/// kernel spreads connections over them.
///
/// # Errors
/// What the system says, such as that the port is taken.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A caller's connection whose peer must keep reading: a write that waits longer than the limit fails.
#[derive(Debug)]
pub struct Guarded {
    stream: TcpStream,
    limit: Duration,
    /// Armed while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Looked at by [`Self::begins_with`], and still to be read.
    seen: Vec<u8>,
    /// Whether a write waits, for whoever has lent the stream away.
    unsent: Arc<AtomicBool>,
}

impl Guarded {
    /// Guards `stream`.
    #[must_use]
    pub fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, limit, waiting: None, seen: Vec::new(), unsent: Arc::default() }
    }

    /// Whether a write waits for the caller, as it stands whenever this is looked at.
    #[must_use]
    pub fn unsent(&self) -> Arc<AtomicBool> {
        self.unsent.clone()
    }

    /// Waits until there is something to be read, if only the end.
    ///
    /// # Errors
    /// What the system says.
    pub async fn readable(&self) -> io::Result<()> {
        if self.seen.is_empty() { self.stream.readable().await } else { Ok(()) }
    }

    /// Whether the caller's first bytes are these; waits until that is sure. They stay to be read.
    ///
    /// # Errors
    /// What the system says.
    pub async fn begins_with(&mut self, wanted: &[u8]) -> io::Result<bool> {
        while wanted.starts_with(&self.seen) && self.seen.len() < wanted.len() {
            // No more than is looked for: the rest is read where it belongs.
            let missing = wanted.len() - self.seen.len();
            if (&mut self.stream).take(missing as u64).read_buf(&mut self.seen).await? == 0 {
                return Ok(false);
            }
        }
        Ok(self.seen == wanted)
    }

    /// Passes on what a write said, and turns too long a wait into an error.
    fn guard<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.waiting.take().is_some() {
                self.unsent.store(false, Relaxed);
            }
            return written;
        }
        self.unsent.store(true, Relaxed);
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the caller does not read")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let n = self.seen.len().min(buffer.remaining());
        buffer.put_slice(self.seen.get(..n).unwrap_or_default());
        self.seen.drain(..n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.guard(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.guard(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.guard(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The next moment at which `accept` is tried after it failed: at once after a lost connection, later at a limit.
#[must_use]
pub fn accept_pause(error: &io::Error) -> Option<Instant> {
    let lost = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    );
    // At the descriptor limit `accept` fails at once and for ever: without a pause it would spin a core.
    (!lost).then(|| Instant::now() + Duration::from_millis(100))
}
