//! Bodies that stream both ways and know whose fault it is when they end early.

use super::{connections::Peer, error::Error, observe::Observation, strict};
use crate::core::tally::Outcome;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use std::{
    cell::Cell,
    fmt,
    future::Future as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Duration, Instant, Sleep, sleep_until},
};

/// A body that ended before its end.
#[derive(Debug)]
pub(super) struct Cut(&'static str);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Cut {}

/// What is known of a request's body while it is sent on.
#[derive(Debug)]
pub(super) struct Upload {
    bytes: Cell<u64>,
    /// When bytes last went on to the backend.
    moved: Cell<Instant>,
    /// Since when the backend would take bytes that the caller has not sent.
    starving: Cell<Option<Instant>>,
    starved: Cell<Duration>,
    failed: Cell<Option<Error>>,
}

impl Upload {
    pub(super) fn new(now: Instant) -> Rc<Self> {
        Rc::new(Self {
            bytes: Cell::new(0),
            moved: Cell::new(now),
            starving: Cell::new(None),
            starved: Cell::new(Duration::ZERO),
            failed: Cell::new(None),
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

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

    fn fed(&self, bytes: usize) {
        let now = Instant::now();
        if let Some(since) = self.starving.take() {
            self.starved.set(self.starved.get() + now.duration_since(since));
        }
        self.moved.set(now);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }
}

/// A request's body on its way to a backend.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// As it comes.
    Stream { incoming: Incoming, upload: Rc<Upload>, bytes_max: u64 },
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let (incoming, upload, bytes_max) = match self.get_mut() {
            Self::Whole(bytes) => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            Self::Stream { incoming, upload, bytes_max } => (incoming, upload, *bytes_max),
        };
        let fail = |error: Error| {
            upload.failed.set(Some(error));
            Poll::Ready(Some(Err(Cut(error.what))))
        };
        match Pin::new(incoming).poll_frame(cx) {
            Poll::Pending => {
                if upload.starving.get().is_none() {
                    upload.starving.set(Some(Instant::now()));
                }
                Poll::Pending
            }
            Poll::Ready(None) => {
                upload.fed(0);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => fail(client_fault(&error)),
            Poll::Ready(Some(Ok(mut frame))) => {
                upload.fed(frame.data_ref().map_or(0, Bytes::len));
                if upload.bytes() > bytes_max {
                    return fail(Error::TOO_LARGE);
                }
                if let Some(trailers) = frame.trailers_mut() {
                    strict::clean_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream { incoming, .. } => incoming.size_hint(),
        }
    }
}

/// What a caller did whose body broke: left, or sent something that is not a body.
pub(super) fn client_fault(error: &hyper::Error) -> Error {
    if error.is_incomplete_message() || error.is_canceled() {
        Error { outcome: Outcome::ClientGone, ..Error::BAD_BODY }
    } else {
        Error::BAD_BODY
    }
}

/// An answer's body on its way to the caller.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// As it comes.
    Stream(Box<Streaming>),
}

/// A streaming answer and everything that must happen when it ends.
#[derive(Debug)]
pub(super) struct Streaming {
    pub(super) incoming: Incoming,
    /// Goes back to the pool once the answer was read to its end.
    pub(super) sender: Option<SendRequest<RequestBody>>,
    pub(super) peer: Rc<Peer>,
    /// The place at the backend.
    pub(super) _place: OwnedSemaphorePermit,
    pub(super) observation: Option<Observation>,
    /// An event stream's latency is that of its first byte; its length is the caller's business.
    pub(super) latency: Option<Duration>,
    pub(super) clock: Clock,
}

/// Time limits of a streaming answer, and the time that the caller took.
#[derive(Debug)]
pub(super) struct Clock {
    idle: Duration,
    until: Instant,
    moved: Instant,
    timer: Pin<Box<Sleep>>,
    /// When the last piece was handed on; until the next one is asked for, it is the caller who takes the time.
    handed: Option<Instant>,
    caller_took: Duration,
}

impl Clock {
    pub(super) fn new(idle: Duration, until: Instant, caller_took: Duration) -> Self {
        let now = Instant::now();
        let timer = Box::pin(sleep_until((now + idle).min(until)));
        Self { idle, until, moved: now, timer, handed: None, caller_took }
    }

    fn asked(&mut self, now: Instant) {
        if let Some(handed) = self.handed.take() {
            let took = now.duration_since(handed);
            self.caller_took += took;
            // The backend may not have been read meanwhile: silence in this time is not its own.
            self.moved += took;
        }
    }

    fn moved(&mut self, now: Instant) {
        self.moved = now;
        self.handed = Some(now);
    }

    /// Whether the backend has kept us waiting for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let limit = (self.moved + self.idle).min(self.until);
            if limit <= Instant::now() {
                return true;
            }
            self.timer.as_mut().reset(limit);
        }
        false
    }
}

impl Streaming {
    /// The answer is complete.
    fn complete(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.peer.pool.put(sender);
        }
        if let Some(observation) = self.observation.take() {
            let whole = observation.elapsed().saturating_sub(self.clock.caller_took);
            observation.end(Outcome::Ok, self.latency.unwrap_or(whole));
        }
    }

    fn fail(&mut self, outcome: Outcome, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.sender = None;
        if let Some(observation) = self.observation.take() {
            observation.end(outcome, Duration::ZERO);
        }
        Poll::Ready(Some(Err(Cut(why))))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.clock.asked(Instant::now());
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Pending if self.clock.poll_late(cx) => {
                self.fail(Outcome::BackendTimeout, "the model server fell silent")
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Err(_))) => self.fail(Outcome::BackendReset, "the model server cut its answer off"),
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                self.clock.moved(Instant::now());
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                if let Some(observation) = &self.observation {
                    observation.bytes_out(bytes as u64);
                }
                if let Some(trailers) = frame.trailers_mut() {
                    strict::clean_trailers(trailers);
                }
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(streaming) => streaming.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Stream(streaming) => streaming.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(streaming) => streaming.incoming.size_hint(),
        }
    }
}
