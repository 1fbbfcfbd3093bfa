//! An answer's body on its way to the caller: streams, and knows whose fault it is when it ends early.

use super::{
    admission::CallerPlace,
    endpoints::InUse,
    events::Scanner,
    flow::{Flow, Piece},
    headers::GRPC_STATUS,
    observe::Observation,
    strict,
    upload::RequestBody,
};
use crate::{
    core::{grpc, tally::Outcome},
    io::pool::Sender,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    fmt,
    future::Future as _,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::time::{Duration, Instant, Sleep, sleep_until};

/// A body that ended before its end.
#[derive(Debug)]
pub(super) struct Cut(pub(super) &'static str);

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Cut {}

/// An answer's body on its way to the caller.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// All of it at once, and then trailers.
    Trailed(Option<Bytes>, Option<Box<HeaderMap>>),
    /// As it comes.
    Stream(Box<Streaming>),
}

/// What the end of a streaming answer tells about the variant.
#[derive(Debug)]
pub(super) enum Reading {
    /// Nothing but that it came.
    Plain,
    /// A stream of events, whose length is the caller's business: what counts is when its first byte came.
    Events(Duration),
    /// A stream of tokens: what counts is when the first one came, and the gaps between them.
    Tokens(Box<Scanner>),
    /// gRPC: the status in the trailers decides.
    Grpc(Option<grpc::Status>),
}

/// A streaming answer and everything that must happen when it ends.
#[derive(Debug)]
pub(super) struct Streaming {
    /// What was read before it began to stream.
    pub(super) ahead: Option<Bytes>,
    pub(super) incoming: Incoming,
    /// Goes back to the pool once the answer was read to its end.
    pub(super) sender: Option<Sender<RequestBody>>,
    pub(super) in_use: InUse,
    pub(super) observation: Option<Observation>,
    pub(super) reading: Reading,
    pub(super) clock: Clock,
    pub(super) flow: Option<Rc<Flow>>,
    /// Until it ends, it is one of its caller's requests in flight.
    pub(super) _caller_place: Option<CallerPlace>,
}

/// Time limits of a streaming answer, and the time that the caller took.
#[derive(Debug)]
pub(super) struct Clock {
    idle: Duration,
    until: Instant,
    moved: Instant,
    /// Made once the backend is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// When the last piece was handed on; until the next one is asked for, it is the caller who takes the time.
    handed: Option<Instant>,
    caller_took: Duration,
}

impl Clock {
    pub(super) fn new(idle: Duration, until: Instant, caller_took: Duration) -> Self {
        Self { idle, until, moved: Instant::now(), timer: None, handed: None, caller_took }
    }

    fn asked(&mut self) {
        if let Some(handed) = self.handed.take() {
            let took = handed.elapsed();
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
        let limit = |moved: Instant, idle, until: Instant| until.min(moved + idle);
        let first = limit(self.moved, self.idle, self.until);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(first)));
        while timer.as_mut().poll(cx).is_ready() {
            let limit = limit(self.moved, self.idle, self.until);
            if limit <= Instant::now() {
                return true;
            }
            timer.as_mut().reset(limit);
        }
        false
    }
}

impl Streaming {
    /// The answer is complete.
    fn complete(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.in_use.put(sender);
        }
        let Some(observation) = self.observation.take() else { return };
        let whole = observation.elapsed().saturating_sub(self.clock.caller_took);
        let (outcome, stream) = match &self.reading {
            Reading::Plain => (Outcome::Ok, None),
            Reading::Events(first_byte) => (Outcome::Ok, Some((*first_byte, None))),
            Reading::Tokens(scanner) => {
                let summary = scanner.summary();
                observation.tokens(&summary);
                let stream = (summary.first_token.unwrap_or(whole), summary.mean_gap);
                (summary.fault().unwrap_or(Outcome::Ok), Some(stream))
            }
            Reading::Grpc(status) => (grpc_outcome(*status), None),
        };
        let status = match &self.reading {
            Reading::Grpc(status) => status.map(grpc::http_equivalent),
            Reading::Plain | Reading::Events(_) | Reading::Tokens(_) => None,
        };
        self.in_use.observe(outcome, status);
        match stream {
            None => observation.end(outcome, whole),
            Some((first_token, mean_gap)) => observation.end_stream(outcome, first_token, mean_gap),
        }
    }

    fn fail(&mut self, outcome: Outcome, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.sender = None;
        self.in_use.observe(outcome, None);
        if let Some(observation) = self.observation.take() {
            observation.end(outcome, Duration::ZERO);
        }
        Poll::Ready(Some(Err(Cut(why))))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.clock.asked();
        if let Some(flow) = &self.flow {
            flow.asked();
        }
        let polled = match self.ahead.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match polled {
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
                self.passed(&mut frame);
                if self.incoming.is_end_stream() {
                    self.complete();
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_over(&self) -> bool {
        self.ahead.is_none() && self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, ahead) = (self.incoming.size_hint(), self.ahead.as_ref().map_or(0, Bytes::len) as u64);
        rest.exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + ahead))
    }

    fn passed(&mut self, frame: &mut Frame<Bytes>) {
        let now = Instant::now();
        self.clock.moved(now);
        if let Some(flow) = &self.flow {
            flow.handed(now);
        }
        if let (Some(data), Some(observation)) = (frame.data_ref(), &self.observation) {
            observation.bytes_out(data.len() as u64);
            if let Reading::Tokens(scanner) = &mut self.reading {
                let elapsed = observation.elapsed().saturating_sub(self.clock.caller_took);
                scanner.feed(data, elapsed, &mut |gap| observation.gap(gap));
            }
        }
        if let Some(trailers) = frame.trailers_mut() {
            if let Reading::Grpc(status) = &mut self.reading {
                *status = trailers.get(GRPC_STATUS).map(|value| grpc::Status::of(value.as_bytes()));
            }
            strict::clean_trailers(trailers);
        }
    }
}

/// How the backend did, by the status of a gRPC call; one without a status is not a gRPC answer.
fn grpc_outcome(status: Option<grpc::Status>) -> Outcome {
    match status {
        None => Outcome::BackendMalformed,
        Some(status) if grpc::is_backend_fault(status) => Outcome::BackendStatus,
        Some(_) => Outcome::Ok,
    }
}

impl Body for ResponseBody {
    type Data = Piece;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Cut>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(Piece::new(bytes))))),
            Self::Trailed(bytes, trailers) => Poll::Ready(match bytes.take() {
                Some(bytes) => Some(Ok(Frame::data(Piece::new(bytes)))),
                None => trailers.take().map(|trailers| Ok(Frame::trailers(*trailers))),
            }),
            Self::Stream(streaming) => streaming.poll(cx).map_ok(|frame| frame.map_data(Piece::new)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Trailed(bytes, trailers) => bytes.is_none() && trailers.is_none(),
            Self::Stream(streaming) => streaming.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            // After a length that is said there is no place for trailers in HTTP/1.1.
            Self::Trailed(..) => SizeHint::default(),
            Self::Stream(streaming) => streaming.size_hint(),
        }
    }
}
