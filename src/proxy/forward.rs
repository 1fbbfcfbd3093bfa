//! One attempt against one backend, under all time limits.

use super::{
    body::{RequestBody, Upload},
    connections::{Peer, Thread},
    error::Error,
};
use crate::{core::route::Timeouts, io::pool::Connection};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use std::{pin::pin, rc::Rc};
use tokio::time::{Instant, timeout_at};

/// An answer's head, and where its body comes from.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) sender: SendRequest<RequestBody>,
}

/// Why there is no answer, and the request if nothing of it was sent.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) unsent: Option<Box<Request<RequestBody>>>,
}

impl Failed {
    fn new(error: Error) -> Self {
        Self { error, unsent: None }
    }
}

/// A request that can be sent again.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    head: http::request::Parts,
    body: Bytes,
}

impl Kept {
    pub(super) fn new(head: http::request::Parts, body: Bytes) -> Self {
        Self { head, body }
    }

    pub(super) fn request(&self) -> Request<RequestBody> {
        let body = Some(self.body.clone()).filter(|bytes| !bytes.is_empty());
        Request::from_parts(self.head.clone(), RequestBody::Whole(body))
    }

    /// Whether doing it twice is doing it once (RFC 9110 section 9.2.2).
    fn is_idempotent(&self) -> bool {
        [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE]
            .contains(&self.head.method)
    }
}

/// The limits of one attempt.
#[derive(Clone, Debug)]
pub(super) struct Attempt<'a> {
    pub(super) thread: &'a Thread,
    pub(super) peer: &'a Rc<Peer>,
    pub(super) timeouts: &'a Timeouts,
    pub(super) upload: &'a Upload,
    /// The end of the whole exchange.
    pub(super) until: Instant,
    /// The request once more, if it may be sent again after a reused connection died unanswered.
    pub(super) kept: Option<&'a Kept>,
    /// The route allows that for requests that are not idempotent, too.
    pub(super) resend_any: bool,
}

impl Attempt<'_> {
    /// Sends the request and waits for the head of the answer.
    pub(super) async fn send(&self, mut request: Request<RequestBody>) -> Result<Answer, Failed> {
        let mut resend = None;
        loop {
            let connection = match self.peer.pool.take().filter(|_| resend.is_none()) {
                Some(kept_alive) => kept_alive,
                None => match self.connect().await {
                    Ok(fresh) => fresh,
                    Err(error) => {
                        return Err(Failed { error, unsent: Some(Box::new(request)) });
                    }
                },
            };
            let reused = connection.reused;
            match self.exchange(connection, request).await {
                Ok(answer) => return Ok(answer),
                // Nothing was written: no matter what the request is, it goes out on another connection.
                Err(Failed { unsent: Some(back), .. }) if reused => request = *back,
                Err(failed) => {
                    let kept =
                        self.kept.filter(|kept| reused && resend.is_none() && self.may_repeat(kept, &failed.error));
                    let place = kept.and_then(|_| self.thread.resend());
                    request = kept.filter(|_| place.is_some()).ok_or(failed)?.request();
                    resend = place;
                }
            }
        }
    }

    async fn connect(&self) -> Result<Connection<RequestBody>, Error> {
        let limit = self.timeouts.connect.min(self.until.saturating_duration_since(Instant::now()));
        self.peer.pool.connect(limit).await.map_err(|_| Error::CONNECT)
    }

    /// Whether the request may be sent once more, after a reused connection broke without a byte of answer.
    fn may_repeat(&self, kept: &Kept, error: &Error) -> bool {
        *error == Error::RESET && (self.resend_any || kept.is_idempotent())
    }

    async fn exchange(
        &self,
        connection: Connection<RequestBody>,
        request: Request<RequestBody>,
    ) -> Result<Answer, Failed> {
        let mut sender = connection.sender;
        let begin = Instant::now();
        let mut answer = pin!(sender.try_send_request(request));
        let answered = loop {
            let limit = self.head_limit(begin);
            match timeout_at(limit, answer.as_mut()).await {
                Ok(answered) => break answered,
                Err(_) if limit < self.head_limit(begin) => {}
                Err(_) => return Err(Failed::new(self.late())),
            }
        };
        match answered {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Err(Failed::new(Error::MALFORMED)),
            Ok(response) => Ok(Answer { response, sender }),
            Err(mut error) => Err(Failed {
                unsent: error.take_message().map(Box::new),
                error: self.upload.failed().unwrap_or_else(|| backend_fault(error.error())),
            }),
        }
    }

    /// Until when the head of the answer may be waited for, as things stand: the body may still be on its way, or may have
    /// come long before this attempt.
    fn head_limit(&self, begin: Instant) -> Instant {
        let next = match self.upload.starving() {
            Some(since) => since + self.timeouts.idle,
            None => self.upload.moved().max(begin) + self.timeouts.first_byte,
        };
        next.min(self.until)
    }

    /// Who was too slow.
    fn late(&self) -> Error {
        if self.upload.starving().is_some() { Error::SLOW_BODY } else { Error::TIMEOUT }
    }

    /// Reads a small answer to its end.
    pub(super) async fn collect(&self, mut incoming: Incoming, length: usize) -> Result<Bytes, Failed> {
        let mut body = BytesMut::new();
        loop {
            let limit = (Instant::now() + self.timeouts.idle).min(self.until);
            match timeout_at(limit, incoming.frame()).await {
                Err(_) => return Err(Failed::new(Error::TIMEOUT)),
                Ok(Some(Err(_))) => return Err(Failed::new(Error::RESET)),
                Ok(None) => return Ok(body.freeze()),
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if body.is_empty() && data.len() >= length {
                        return Ok(data);
                    }
                    body.extend_from_slice(&data);
                }
            }
        }
    }
}

fn backend_fault(error: &hyper::Error) -> Error {
    if error.is_parse() { Error::MALFORMED } else { Error::RESET }
}
