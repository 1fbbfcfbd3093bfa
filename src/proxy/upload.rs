//! A request's body on its way to a backend: streams, knows whose fault it is when it ends early, and keeps what may have to be
//! sent again within a bound.

use super::{body::Cut, error::Error, strict};
use crate::core::tally::Outcome;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::time::{Duration, Instant};

/// What of the body is kept for sending again.
#[derive(Debug)]
enum Kept {
    /// Nothing: nobody would send it again.
    Off,
    /// Everything so far, at most so many bytes.
    All { pieces: Vec<Bytes>, bytes_max: u64 },
    /// It has become larger than may be kept.
    Lost,
}

/// The body of one request, read by one attempt at a time.
#[derive(Debug)]
pub(super) struct Upload {
    incoming: RefCell<Incoming>,
    hint: SizeHint,
    bytes_max: u64,
    kept: RefCell<Kept>,
    trailers: RefCell<Option<HeaderMap>>,
    ended: Cell<bool>,
    /// The attempt that may read; an older one must not take bytes away.
    turn: Cell<u32>,
    bytes: Cell<u64>,
    /// When bytes last went on to the backend.
    moved: Cell<Instant>,
    /// Since when the backend would take bytes that the caller has not sent.
    starving: Cell<Option<Instant>>,
    starved: Cell<Duration>,
    failed: Cell<Option<Error>>,
}

impl Upload {
    /// A body of at most `bytes_max` bytes; with `keep_max` as much is kept for sending again.
    pub(super) fn new(incoming: Incoming, bytes_max: u64, keep_max: Option<u64>, now: Instant) -> Rc<Self> {
        let (hint, ended) = (incoming.size_hint(), incoming.is_end_stream());
        let kept = match keep_max {
            Some(bytes_max) if hint.lower() <= bytes_max => Kept::All { pieces: Vec::new(), bytes_max },
            Some(_) => Kept::Lost,
            None => Kept::Off,
        };
        Rc::new(Self {
            incoming: RefCell::new(incoming),
            hint,
            bytes_max,
            kept: RefCell::new(kept),
            trailers: RefCell::default(),
            ended: Cell::new(ended),
            turn: Cell::new(0),
            bytes: Cell::new(0),
            moved: Cell::new(now),
            starving: Cell::default(),
            starved: Cell::default(),
            failed: Cell::default(),
        })
    }

    /// Whether there is no body at all.
    pub(super) fn is_empty(&self) -> bool {
        self.ended.get() && self.bytes.get() == 0
    }

    /// Whether it is larger than it may be, as far as its head says.
    pub(super) fn is_too_large(&self) -> bool {
        self.hint.lower() > self.bytes_max
    }

    /// Whether all that was read is still there to be sent again.
    pub(super) fn is_replayable(&self) -> bool {
        self.bytes.get() == 0 || matches!(*self.kept.borrow(), Kept::All { .. })
    }

    /// Whether it was wanted for sending again and had become too large for that.
    pub(super) fn is_lost(&self) -> bool {
        matches!(*self.kept.borrow(), Kept::Lost)
    }

    /// The whole body, if it has come to its end and was kept.
    pub(super) fn whole(&self) -> Option<Vec<Bytes>> {
        match &*self.kept.borrow() {
            Kept::All { pieces, .. } if self.ended.get() => Some(pieces.clone()),
            Kept::Off if self.is_empty() => Some(Vec::new()),
            Kept::All { .. } | Kept::Off | Kept::Lost => None,
        }
    }

    /// The body from its beginning; an attempt that read it before reads no more.
    pub(super) fn body(self: &Rc<Self>) -> RequestBody {
        self.turn.set(self.turn.get() + 1);
        RequestBody(if self.is_empty() {
            Kind::Whole(Vec::new().into_iter())
        } else {
            Kind::Upload { upload: self.clone(), turn: self.turn.get(), next: 0 }
        })
    }

    /// Bytes that were read from the caller.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// When bytes last went on to the backend.
    pub(super) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Since when the caller has kept the backend waiting.
    pub(super) fn starving(&self) -> Option<Instant> {
        self.starving.get()
    }

    /// How long the caller has kept the backend waiting, all in all.
    pub(super) fn starved(&self) -> Duration {
        self.starved.get()
    }

    /// What the caller did wrong, if anything.
    pub(super) fn failed(&self) -> Option<Error> {
        self.failed.get()
    }

    fn fed(&self, piece: Option<&Bytes>) {
        let now = Instant::now();
        if let Some(since) = self.starving.take() {
            self.starved.set(self.starved.get() + now.duration_since(since));
        }
        self.moved.set(now);
        let Some(piece) = piece else { return };
        self.bytes.set(self.bytes.get() + piece.len() as u64);
        let mut kept = self.kept.borrow_mut();
        match &mut *kept {
            Kept::All { pieces, bytes_max } if self.bytes.get() <= *bytes_max => pieces.push(piece.clone()),
            Kept::All { .. } => *kept = Kept::Lost,
            Kept::Off | Kept::Lost => {}
        }
    }

    fn again(&self, position: usize) -> Option<Bytes> {
        match &*self.kept.borrow() {
            Kept::All { pieces, .. } => pieces.get(position).cloned(),
            Kept::Off | Kept::Lost => None,
        }
    }

    fn fail(&self, error: Error) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.failed.set(Some(error));
        Poll::Ready(Some(Err(Cut(error.what))))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.ended.get() {
            return Poll::Ready(self.trailers.borrow().clone().map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let polled = Pin::new(&mut *self.incoming.borrow_mut()).poll_frame(cx);
        match polled {
            Poll::Pending => {
                if self.starving.get().is_none() {
                    self.starving.set(Some(Instant::now()));
                }
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.fed(None);
                self.ended.set(true);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => self.fail(client_fault(&error)),
            Poll::Ready(Some(Ok(mut frame))) => {
                self.fed(frame.data_ref());
                self.ended.set(frame.is_trailers() || self.incoming.borrow().is_end_stream());
                if self.bytes() > self.bytes_max {
                    return self.fail(Error::TOO_LARGE);
                }
                if let Some(trailers) = frame.trailers_mut() {
                    strict::clean_trailers(trailers);
                    self.trailers.replace(Some(trailers.clone()));
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

/// What a caller did whose body broke: left, or sent something that is not a body.
fn client_fault(error: &hyper::Error) -> Error {
    if error.is_incomplete_message() || error.is_canceled() || is_reset(error) {
        Error { outcome: Outcome::ClientGone, ..Error::BAD_BODY }
    } else {
        Error::BAD_BODY
    }
}

/// Whether an HTTP/2 stream, or the connection under a body, was broken off.
fn is_reset(error: &hyper::Error) -> bool {
    use std::io::ErrorKind;
    let broken = |error: &std::io::Error| {
        let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        kinds.contains(&error.kind()) || matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::TimedOut)
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.downcast_ref::<std::io::Error>().is_some_and(broken)
            || cause.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_reset)
        {
            return true;
        }
        source = cause.source();
    }
    false
}

/// A body as an attempt sends it.
#[derive(Debug)]
pub(super) struct RequestBody(Kind);

#[derive(Debug)]
enum Kind {
    /// All of it is there.
    Whole(std::vec::IntoIter<Bytes>),
    /// As it comes, after what was kept of it.
    Upload { upload: Rc<Upload>, turn: u32, next: usize },
}

impl RequestBody {
    /// A body of these pieces.
    pub(super) fn whole(pieces: Vec<Bytes>) -> Self {
        Self(Kind::Whole(pieces.into_iter()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.get_mut().0 {
            Kind::Whole(pieces) => Poll::Ready(pieces.next().map(|piece| Ok(Frame::data(piece)))),
            Kind::Upload { upload, turn, .. } if *turn != upload.turn.get() => {
                Poll::Ready(Some(Err(Cut("the request is being sent elsewhere"))))
            }
            Kind::Upload { upload, next, .. } => {
                if let Some(piece) = upload.again(*next) {
                    *next += 1;
                    upload.moved.set(Instant::now());
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                let polled = upload.poll(cx);
                *next += usize::from(matches!(&polled, Poll::Ready(Some(Ok(frame))) if frame.is_data()));
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(pieces) => pieces.len() == 0,
            Kind::Upload { upload, next, .. } => {
                upload.ended.get() && upload.trailers.borrow().is_none() && upload.again(*next).is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(pieces) => SizeHint::with_exact(pieces.as_slice().iter().map(|piece| piece.len() as u64).sum()),
            Kind::Upload { upload, .. } => upload.hint,
        }
    }
}
