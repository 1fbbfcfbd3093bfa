//! A socket for HTTP/2 that gathers what one poll of a connection writes and sends it once when the poll ends, and that reads
//! a lot at a time.
//!
//! The h2 crate writes every DATA frame with a system call of its own and reads little at a time; most of what a gRPC call costs is
//! those calls. So [`Gather`] takes every write at once and says "flushed"; whoever polls the connection calls
//! [`Gather::poll_send`] right after, or what was written stays here for ever. [`flushing`] does both.

use send_wrapper::SendWrapper;
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are read at a time.
const READ_BYTES: usize = 64 * 1024;
/// Bytes that may be gathered; from there on a write waits for the socket.
pub const GATHER_BYTES_MAX: usize = 64 * 1024;
/// What a gathering begins with, at least.
const GATHER_BYTES: usize = 4 * 1024;

thread_local! {
    /// Where every gathering socket of this thread reads into: what the connection does not take at once is kept, and that is little.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// The socket. Clones are handles to the same one. It never leaves its thread; hyper asks for `Send` of whatever may be
/// upgraded, and the wrapper answers for that by a check.
#[derive(Debug)]
pub struct Gather<S>(SendWrapper<Rc<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    stream: RefCell<S>,
    /// Written by the connection and not sent yet, from `sent` on.
    out: RefCell<Vec<u8>>,
    sent: Cell<usize>,
    /// How much the last gathering came to: room for as much is made at once, as moving it while it grows costs more.
    usual: Cell<usize>,
    /// Read from the socket and not taken by the connection yet, from `taken` on.
    ahead: RefCell<Vec<u8>>,
    taken: Cell<usize>,
    /// A TLS handshake waits for what it wrote: gathering starts after it.
    gathering: Cell<bool>,
}

impl<S> Clone for Gather<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gather<S> {
    /// A socket that passes everything on until [`Self::start`].
    #[must_use]
    pub fn new(stream: S) -> Self {
        Self(SendWrapper::new(Rc::new(Inner {
            stream: RefCell::new(stream),
            out: RefCell::default(),
            sent: Cell::new(0),
            usual: Cell::new(GATHER_BYTES),
            ahead: RefCell::default(),
            taken: Cell::new(0),
            gathering: Cell::new(false),
        })))
    }

    /// Gathers from now on.
    pub fn start(&self) {
        self.0.gathering.set(true);
    }

    /// Sends what was gathered. Whoever polls the connection calls this after every poll, with the same context.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.0.out.borrow_mut();
        let mut stream = self.0.stream.borrow_mut();
        while let Some(rest) = out.get(self.0.sent.get()..).filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut *stream).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.0.sent.set(self.0.sent.get() + n);
        }
        if out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.0.sent.set(0);
        self.0.usual.set(out.len().clamp(GATHER_BYTES, GATHER_BYTES_MAX));
        // An idle connection keeps no buffer.
        *out = Vec::new();
        Poll::Ready(Ok(()))
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.out.borrow().len() - self.0.sent.get() < GATHER_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(cx)
    }

    fn gather(&self, slices: &[io::IoSlice<'_>]) -> usize {
        let mut out = self.0.out.borrow_mut();
        if out.capacity() == 0 {
            out.reserve(self.0.usual.get());
        }
        let before = out.len();
        for slice in slices {
            out.extend_from_slice(slice);
        }
        out.len() - before
    }

    /// What was read ahead, if there is any.
    fn take_ahead(&self, buffer: &mut ReadBuf<'_>) -> bool {
        let mut ahead = self.0.ahead.borrow_mut();
        let Some(rest) = ahead.get(self.0.taken.get()..).filter(|rest| !rest.is_empty()) else { return false };
        let n = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..n).unwrap_or_default());
        self.0.taken.set(self.0.taken.get() + n);
        if self.0.taken.get() == ahead.len() {
            self.0.taken.set(0);
            *ahead = Vec::new();
        }
        true
    }
}

/// Polls `connection`, and sends what each poll wrote.
///
/// # Errors
/// If the socket fails while the connection is not over.
pub async fn flushing<F: Future, S>(connection: F, gather: Gather<S>) -> io::Result<F::Output>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        match gather.poll_send(cx) {
            Poll::Ready(Err(error)) if polled.is_pending() => Poll::Ready(Err(error)),
            Poll::Ready(_) | Poll::Pending => polled.map(Ok),
        }
    })
    .await
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gather<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.take_ahead(buffer) {
            return Poll::Ready(Ok(()));
        }
        let mut stream = self.0.stream.borrow_mut();
        if !self.0.gathering.get() || buffer.remaining() >= READ_BYTES {
            return Pin::new(&mut *stream).poll_read(cx, buffer);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            let filled = read.filled();
            let (now, later) = filled.split_at(filled.len().min(buffer.remaining()));
            buffer.put_slice(now);
            if !later.is_empty() {
                self.0.ahead.replace(later.to_vec());
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gather<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.0.gathering.get() {
            return Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, slices);
        }
        ready!(self.poll_room(cx))?;
        Poll::Ready(Ok(self.gather(slices)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.0.gathering.get() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    #[tokio::test(flavor = "current_thread")]
    async fn writes_of_one_poll_leave_together_and_reads_lose_nothing() {
        let (ours, mut theirs) = duplex(1 << 20);
        let gather = Gather::new(ours);
        gather.start();
        let mut writer = gather.clone();
        let work = async {
            for piece in [&b"one "[..], b"two ", b"three"] {
                writer.write_all(piece).await.unwrap();
                writer.flush().await.unwrap();
            }
        };
        flushing(work, gather.clone()).await.unwrap();
        let mut seen = [0; 64];
        let n = theirs.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..n], b"one two three");

        theirs.write_all(b"abcdefgh").await.unwrap();
        let mut reader = gather;
        let mut all = Vec::new();
        while all.len() < 8 {
            let mut three = [0; 3];
            let n = reader.read(&mut three).await.unwrap();
            all.extend_from_slice(&three[..n]);
        }
        assert_eq!(all, b"abcdefgh");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_reader_that_does_not_read_is_waited_for() {
        let (ours, theirs) = duplex(16);
        let gather = Gather::new(ours);
        gather.start();
        let mut writer = gather.clone();
        let block = vec![7; 48 * 1024];
        poll_fn(|cx| {
            let first = Pin::new(&mut writer).poll_write(cx, &block);
            assert!(matches!(first, Poll::Ready(Ok(n)) if n == block.len()));
            let second = Pin::new(&mut writer).poll_write(cx, &block);
            assert!(matches!(second, Poll::Ready(Ok(_))), "still below the bound");
            assert!(Pin::new(&mut writer).poll_write(cx, &block).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(theirs);
    }
}
