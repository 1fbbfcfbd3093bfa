//! One attempt against one endpoint, under all time limits.

use super::{
    endpoints::{InUse, Peer},
    error::Error,
    headers,
    thread::Thread,
    upload::{RequestBody, Upload},
};
use crate::{
    core::{fallback::to_another_endpoint, infer::framed_bytes, route::Timeouts},
    io::pool::{Connection, Sender},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use std::{pin::pin, rc::Rc};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Duration, Instant, timeout_at},
};

/// An answer's head, and where its body comes from.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) sender: Sender<RequestBody>,
    pub(super) in_use: InUse,
}

/// Why there is no answer, and the request if nothing of it was sent.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
    /// The backend says that it did nothing with it.
    pub(super) refused: bool,
    /// Which endpoint it was.
    pub(super) slot: Option<u8>,
}

impl Failed {
    pub(super) fn new(error: Error) -> Self {
        Self { error, unsent: None, refused: false, slot: None }
    }
}

/// The head of a request that may be sent again.
#[derive(Clone, Debug)]
pub(super) struct Replay(pub(super) http::request::Parts);

impl Replay {
    /// The request once more, if its body can still be had.
    pub(super) fn request(&self, upload: &Rc<Upload>) -> Option<Box<Request<RequestBody>>> {
        upload.is_replayable().then(|| Box::new(Request::from_parts(self.0.clone(), upload.body())))
    }

    /// Whether doing it twice is doing it once (RFC 9110 section 9.2.2).
    fn is_idempotent(&self) -> bool {
        [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE]
            .contains(&self.0.method)
    }
}

/// One attempt and its limits.
#[derive(Clone, Debug)]
pub(super) struct Attempt<'a> {
    pub(super) thread: &'a Thread,
    pub(super) peer: &'a Rc<Peer>,
    pub(super) timeouts: &'a Timeouts,
    pub(super) upload: Option<&'a Rc<Upload>>,
    /// The end of the whole exchange.
    pub(super) until: Instant,
    /// The request once more, if it may be sent again after a reused connection died unanswered.
    pub(super) replay: Option<&'a Replay>,
    /// The route allows that for requests that are not idempotent, too.
    pub(super) resend_any: bool,
    /// The protocol that the connection is to change to.
    pub(super) upgrade: Option<&'a HeaderValue>,
}

impl Attempt<'_> {
    /// Sends the request to an endpoint and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        request: Box<Request<RequestBody>>,
        place: OwnedSemaphorePermit,
    ) -> Result<Answer, Failed> {
        let mut in_use = match self.peer.pick(place, self.connect_limit()).await {
            Ok(in_use) => in_use,
            Err(error) => return Err(Failed { unsent: Some(request), ..Failed::new(error) }),
        };
        let (mut request, mut tried) = (request, Vec::new());
        loop {
            let mut failed = match self.send_to(&in_use, request).await {
                Ok((response, sender)) => return Ok(Answer { response, sender, in_use }),
                Err(failed) => failed,
            };
            in_use.observe(failed.error.outcome, None);
            failed.slot = Some(in_use.slot());
            tried.push(in_use.endpoint.clone());
            let in_time = Instant::now() < self.until;
            let next = to_another_endpoint(tried.len(), failed.unsent.is_some(), in_time) && in_use.next(&tried);
            request = match failed.unsent.take() {
                Some(back) if next => back,
                back => return Err(Failed { unsent: back, ..failed }),
            };
        }
    }

    async fn send_to(
        &self,
        in_use: &InUse,
        mut request: Box<Request<RequestBody>>,
    ) -> Result<(Response<Incoming>, Sender<RequestBody>), Failed> {
        let mut resend = None;
        loop {
            let kept_alive = match (&resend, self.upgrade) {
                (None, None) => in_use.endpoint.pool.take(),
                _ => None,
            };
            let connection = match kept_alive {
                Some(kept_alive) => kept_alive,
                // In a box: it is rare, and its room would be part of every request.
                None => match Box::pin(self.connect(in_use)).await {
                    Ok(fresh) => fresh,
                    Err(error) => return Err(Failed { unsent: Some(request), ..Failed::new(error) }),
                },
            };
            let reused = connection.reused;
            match self.exchange(connection, request).await {
                Ok(answer) => return Ok(answer),
                // Nothing was written: no matter what the request is, it goes out on another connection.
                Err(Failed { unsent: Some(back), .. }) if reused => request = back,
                Err(failed) => {
                    let may = reused && resend.is_none() && failed.error == Error::RESET;
                    let safe = |replay: &&Replay| failed.refused || self.resend_any || replay.is_idempotent();
                    let replay = self.replay.filter(|replay| may && safe(replay));
                    let once_more = replay.zip(self.upload).and_then(|(replay, upload)| replay.request(upload));
                    let place = once_more.as_ref().and_then(|_| self.thread.resend());
                    request = once_more.filter(|_| place.is_some()).ok_or(failed)?;
                    resend = place;
                }
            }
        }
    }

    fn connect_limit(&self) -> Duration {
        self.timeouts.connect.min(self.until.saturating_duration_since(Instant::now()))
    }

    async fn connect(&self, in_use: &InUse) -> Result<Connection<RequestBody>, Error> {
        let pool = &in_use.endpoint.pool;
        let connected = match self.upgrade {
            None => pool.connect(self.connect_limit()).await,
            Some(_) => pool.connect_http1(self.connect_limit()).await,
        };
        connected.map_err(|error| {
            tracing::debug!(backend = %self.peer.backend, %error, "no connection");
            Error::CONNECT
        })
    }

    async fn exchange(
        &self,
        connection: Connection<RequestBody>,
        mut request: Box<Request<RequestBody>>,
    ) -> Result<(Response<Incoming>, Sender<RequestBody>), Failed> {
        let mut sender = connection.sender;
        if sender.is_http2() {
            headers::to_http2(&mut request, self.peer.is_tls());
        } else {
            headers::to_http1(&mut request);
        }
        if let Some(protocol) = self.upgrade {
            request.headers_mut().insert(header::UPGRADE, protocol.clone());
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        }
        let begin = Instant::now();
        let mut now = begin;
        let answered = {
            let mut answer = pin!(sender.send(*request));
            loop {
                // Looked at again while the body is on its way: the caller may begin to keep us waiting, or stop.
                match timeout_at(self.head_limit(begin).min(now + self.timeouts.idle), answer.as_mut()).await {
                    Ok(answered) => break answered,
                    Err(_) => now = Instant::now(),
                }
                if now >= self.head_limit(begin) {
                    return Err(Failed::new(self.late()));
                }
            }
        };
        match answered {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && self.upgrade.is_none() => {
                Err(Failed::new(Error::MALFORMED))
            }
            Ok(response) => Ok((response, sender)),
            Err(mut error) => Err(Failed {
                unsent: error.take_message().map(Box::new),
                refused: is_refused(error.error()),
                error: self.upload.and_then(|upload| upload.failed()).unwrap_or_else(|| backend_fault(error.error())),
                slot: None,
            }),
        }
    }

    /// Until when the head of the answer may be waited for, as things stand: the body may still be on its way, or may have
    /// come long before this attempt.
    fn head_limit(&self, begin: Instant) -> Instant {
        let next = match self.upload.and_then(|upload| upload.starving()) {
            Some(since) => since + self.timeouts.idle,
            None => self.upload.map_or(begin, |upload| upload.moved().max(begin)) + self.timeouts.first_byte,
        };
        next.min(self.until)
    }

    /// Who was too slow.
    fn late(&self) -> Error {
        if self.upload.is_some_and(|upload| upload.starving().is_some()) { Error::SLOW_BODY } else { Error::TIMEOUT }
    }

    /// Reads the answer to a unary gRPC call to its end, if it has at most `bytes_max` bytes. Its length stands before its message.
    pub(super) async fn message(&self, incoming: &mut Incoming, bytes_max: u64) -> Result<Message, Error> {
        let mut body = Bytes::new();
        loop {
            if framed_bytes(&body).unwrap_or(0).max(body.len() as u64) > bytes_max {
                return Ok(Message::Part(body));
            }
            let limit = (Instant::now() + self.timeouts.idle).min(self.until);
            match timeout_at(limit, incoming.frame()).await {
                Err(_) => return Err(Error::TIMEOUT),
                Ok(Some(Err(_))) => return Err(Error::RESET),
                Ok(None) => return Ok(Message::Whole(body, None)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if body.is_empty() => body = data,
                    Ok(data) => body = [body, data].concat().into(),
                    Err(frame) => return Ok(Message::Whole(body, frame.into_trailers().ok())),
                },
            }
        }
    }

    /// Reads a small answer to its end: its bytes, and the trailers that may follow them over HTTP/2.
    pub(super) async fn collect(
        &self,
        mut incoming: Incoming,
        bytes: usize,
    ) -> Result<(Bytes, Option<HeaderMap>), Error> {
        let (mut body, mut trailers) = (BytesMut::new(), None);
        loop {
            let limit = (Instant::now() + self.timeouts.idle).min(self.until);
            match timeout_at(limit, incoming.frame()).await {
                Err(_) => return Err(Error::TIMEOUT),
                Ok(Some(Err(_))) => return Err(Error::RESET),
                Ok(None) => return Ok((body.freeze(), trailers)),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if body.is_empty() && data.len() >= bytes && incoming.is_end_stream() => {
                        return Ok((data, None));
                    }
                    Ok(data) => body.extend_from_slice(&data),
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
            }
        }
    }
}

/// What was read of the answer to a call.
#[derive(Debug)]
pub(super) enum Message {
    /// All of it, and the trailers that say how the call ended.
    Whole(Bytes, Option<HeaderMap>),
    /// The beginning of one that is too large to be held, or of more than one.
    Part(Bytes),
}

fn backend_fault(error: &hyper::Error) -> Error {
    if error.is_parse() { Error::MALFORMED } else { Error::RESET }
}

/// Whether an HTTP/2 backend says that it has not begun with this stream (RFC 9113 section 8.7).
fn is_refused(error: &hyper::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<h2::Error>());
    cause.is_some_and(|cause| {
        let reason = cause.reason();
        cause.is_remote()
            && (reason == Some(h2::Reason::REFUSED_STREAM)
                || (cause.is_go_away() && reason == Some(h2::Reason::NO_ERROR)))
    })
}
