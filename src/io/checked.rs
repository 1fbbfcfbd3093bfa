//! A caller's HTTP/1 connection that hyper reads, checked byte by byte before hyper sees it ([`Wire`] decides, in `core`).
//!
//! In the place of the first byte that is in doubt, hyper reads something that it refuses wherever a message stands, and then the end:
//! in a head that is its own 400 and the end of the connection, in chunks a body that has failed. Bytes after a head that asks for
//! another protocol are kept back until that head is answered: only then is it known whether they are HTTP.

use crate::core::wire::Wire;
use send_wrapper::SendWrapper;
use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// No name, value, target, size or end of a line has a NUL in it, whatever came before. The empty line has hyper look at once: it
/// does not read a head whose end it has not seen.
const REFUSED: &[u8] = b"\0\r\n\r\n";

/// What a connection and those who answer on it tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// Requests that were answered.
    answered: Cell<u64>,
    /// The last answer changed the protocol.
    changed: Cell<bool>,
    /// A head has begun and not ended.
    in_head: Cell<bool>,
    /// Whoever waits for an answer.
    waiting: RefCell<Option<Waker>>,
}

/// Told of every answer on a connection. It never leaves its thread; hyper asks for `Send` of whatever may be upgraded, and the
/// wrapper answers for that by a check.
#[derive(Clone, Debug)]
pub struct Answers(SendWrapper<Rc<Shared>>);

impl Answers {
    /// The next request in line is answered; `changed`: from now on the other protocol is spoken. Before a byte of the answer is sent.
    pub fn answer(&self, changed: bool) {
        self.0.answered.set(self.0.answered.get() + 1);
        self.0.changed.set(changed);
        if let Some(waiting) = self.0.waiting.take() {
            waiting.wake();
        }
    }

    /// Whether a head has begun to come and has not ended.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        self.0.in_head.get()
    }
}

/// The stream.
#[derive(Debug)]
pub struct Checked<S> {
    stream: S,
    wire: Wire,
    answers: Answers,
    /// Came after a head that asks for another protocol; at most what was read at once.
    kept: Vec<u8>,
    /// After a doubt: what hyper has still to read.
    refusal: Option<&'static [u8]>,
}

impl<S> Checked<S> {
    /// Checks what is read from `stream`, and takes word of the answers to it.
    #[must_use]
    pub fn new(stream: S) -> (Self, Answers) {
        let answers = Answers(SendWrapper::new(Rc::default()));
        let checked = Self { stream, wire: Wire::default(), answers: answers.clone(), kept: Vec::new(), refusal: None };
        (checked, answers)
    }

    /// The stream under it.
    #[must_use]
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Whether nothing but whole messages has been read, as far as messages are told apart.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.wire.is_between() && self.refusal.is_none()
    }

    /// The stream under it, as it is.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Whether nothing may be used before an answer.
    fn is_waiting(&mut self) -> bool {
        if self.wire.is_waiting() && self.answers.0.answered.get() >= self.wire.heads() {
            self.wire.answered(self.answers.0.changed.get());
        }
        self.wire.is_waiting()
    }

    fn wait(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.answers.0.waiting.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn refuse(&mut self, rest: &'static [u8], buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, later) = rest.split_at(rest.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.refusal = Some(later);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Checked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(rest) = this.refusal {
            return this.refuse(rest, buffer);
        }
        let before = buffer.filled().len();
        let waiting = this.is_waiting();
        if this.kept.is_empty() {
            // Also while an answer is waited for: that the caller has left shows here.
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        } else if waiting {
            return this.wait(cx);
        } else {
            let n = this.kept.len().min(buffer.remaining());
            buffer.put_slice(this.kept.get(..n).unwrap_or_default());
            this.kept.drain(..n);
        }
        let read = buffer.filled().get(before..).unwrap_or_default();
        let (checked, all) = (this.wire.check(read), read.len());
        this.answers.0.in_head.set(this.wire.is_in_head());
        match checked {
            Ok(n) if n == all => Poll::Ready(Ok(())),
            Ok(n) => {
                this.kept.splice(..0, read.get(n..).unwrap_or_default().iter().copied());
                buffer.set_filled(before + n);
                // Nothing at all would be the end.
                if n == 0 { this.wait(cx) } else { Poll::Ready(Ok(())) }
            }
            Err(n) => {
                buffer.set_filled(before + n);
                this.refuse(REFUSED, buffer)
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Checked<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        task::unconstrained,
    };

    const CHANGE: &[u8] = b"GET / HTTP/1.1\r\nupgrade: x\r\n\r\n";
    const NEXT: &[u8] = b"GET /2 HTTP/1.1\r\n\r\n";

    fn pair() -> (DuplexStream, Checked<DuplexStream>, Answers) {
        let (caller, stream) = duplex(1024);
        let (checked, answers) = Checked::new(stream);
        (caller, checked, answers)
    }

    /// What can be read now, at most `at_once` bytes at a time, and whether that was the end.
    async fn read(checked: &mut Checked<DuplexStream>, at_once: usize) -> (Vec<u8>, bool) {
        let mut got = Vec::new();
        loop {
            let mut bytes = vec![0; at_once];
            let mut buffer = ReadBuf::new(&mut bytes);
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *checked).poll_read(cx, &mut buffer)));
            // A task that reads for long is told to wait, although there is more.
            let polled = unconstrained(polled).await;
            match polled {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return (got, true),
                Poll::Ready(Ok(())) => got.extend_from_slice(buffer.filled()),
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => return (got, false),
            }
        }
    }

    #[tokio::test]
    async fn what_is_in_doubt_is_never_read() {
        for at_once in [1, 3, 1024] {
            let (mut caller, mut checked, answers) = pair();
            caller.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
            assert_eq!(read(&mut checked, at_once).await, (b"GET / HTTP/1.1\r\nhost".to_vec(), false));
            assert!(answers.is_in_head());
            caller.write_all(b": a\nx: y\r\n\r\n").await.unwrap();
            assert_eq!(read(&mut checked, at_once).await, ([b": a", REFUSED].concat(), true));
            assert_eq!(read(&mut checked, at_once).await, (Vec::new(), true));
        }
    }

    #[tokio::test]
    async fn bytes_after_a_wish_for_another_protocol_wait() {
        for at_once in [1, 20, 1024] {
            for changed in [true, false] {
                let (mut caller, mut checked, answers) = pair();
                // One request before it: its answer is not the one that is waited for.
                caller.write_all(&[NEXT, CHANGE, NEXT, b"\n"].concat()).await.unwrap();
                assert_eq!(read(&mut checked, at_once).await, ([NEXT, CHANGE].concat(), false));
                answers.answer(false);
                assert_eq!(read(&mut checked, at_once).await, (Vec::new(), false));
                answers.answer(changed);
                let rest = if changed { ([NEXT, b"\n"].concat(), false) } else { ([NEXT, REFUSED].concat(), true) };
                assert_eq!(read(&mut checked, at_once).await, rest);
            }
        }
    }

    #[tokio::test]
    async fn an_answer_wakes_whoever_waits_and_the_end_shows_before_it() {
        let (mut caller, mut checked, answers) = pair();
        caller.write_all(&[CHANGE, b"\0\n"].concat()).await.unwrap();
        assert_eq!(read(&mut checked, 1024).await, (CHANGE.to_vec(), false));
        let mut bytes = [0; 2];
        let (got, ()) = tokio::join!(checked.read_exact(&mut bytes), async { answers.answer(true) });
        assert_eq!((got.unwrap(), &bytes), (2, b"\0\n"));
        let (mut caller, mut checked, _answers) = pair();
        caller.write_all(CHANGE).await.unwrap();
        drop(caller);
        assert_eq!(read(&mut checked, 1024).await, (CHANGE.to_vec(), true));
    }
}
