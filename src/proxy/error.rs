//! What goes wrong with a request: whose doing it is, and what the caller is told.

use super::headers::{GRPC_MESSAGE, GRPC_STATUS};
use crate::core::{grpc, tally::Outcome};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// A failed attempt, or a refusal of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Error {
    /// Whose doing, and what.
    pub(super) outcome: Outcome,
    pub(super) status: StatusCode,
    /// For the caller.
    pub(super) what: &'static str,
    pub(super) help: &'static str,
}

impl Error {
    pub(super) const CONNECT: Self = Self {
        outcome: Outcome::BackendConnect,
        status: StatusCode::BAD_GATEWAY,
        what: "the model server cannot be reached",
        help: "is it running, and is its url in the routes file right?",
    };
    pub(super) const NO_ADDRESS: Self = Self {
        outcome: Outcome::BackendConnect,
        status: StatusCode::BAD_GATEWAY,
        what: "the model server's name has no address",
        help: "does its name resolve here? is its url in the routes file right?",
    };
    pub(super) const RESET: Self = Self {
        outcome: Outcome::BackendReset,
        status: StatusCode::BAD_GATEWAY,
        what: "the model server broke the connection before it answered",
        help: "look at its log",
    };
    pub(super) const MALFORMED: Self = Self {
        outcome: Outcome::BackendMalformed,
        status: StatusCode::BAD_GATEWAY,
        what: "the model server's answer is not valid HTTP",
        help: "look at its log",
    };
    pub(super) const TIMEOUT: Self = Self {
        outcome: Outcome::BackendTimeout,
        status: StatusCode::GATEWAY_TIMEOUT,
        what: "the model server did not answer in time",
        help: "the route's `timeouts` say how long that is",
    };
    pub(super) const SLOW_BODY: Self = Self {
        outcome: Outcome::ClientBad,
        status: StatusCode::REQUEST_TIMEOUT,
        what: "the request's body came too slowly",
        help: "the route's `timeouts.idle` says how long is waited for the next bytes",
    };
    pub(super) const BAD_BODY: Self = Self {
        outcome: Outcome::ClientBad,
        status: StatusCode::BAD_REQUEST,
        what: "the request's body is not valid",
        help: "its length or its chunks are not what the head announced",
    };
    pub(super) const TOO_LARGE: Self = Self {
        outcome: Outcome::ClientBad,
        status: StatusCode::PAYLOAD_TOO_LARGE,
        what: "the request's body is too large",
        help: "the route's `limits.request_body` says how large it may be",
    };
    pub(super) const OVERLOAD: Self = Self {
        outcome: Outcome::Proxy,
        status: StatusCode::SERVICE_UNAVAILABLE,
        what: "the model server has no free place, and the queue is full",
        help: "try again later; the route's `limits` say how many places there are",
    };
    pub(super) const CALLER_LIMIT: Self = Self {
        outcome: Outcome::Proxy,
        status: StatusCode::TOO_MANY_REQUESTS,
        what: "this caller has too many requests in flight",
        help: "wait for answers; the route's `limits.per_caller` says how many are allowed",
    };
    pub(super) const TUNNELS: Self = Self {
        outcome: Outcome::Proxy,
        status: StatusCode::SERVICE_UNAVAILABLE,
        what: "too many connections have changed their protocol",
        help: "try again later; the setting `connections.tunnels` says how many may",
    };
    pub(super) const NO_ROUTE: Self = Self {
        outcome: Outcome::Proxy,
        status: StatusCode::NOT_FOUND,
        what: "no route catches this request",
        help: "look at `match` in the routes file",
    };
    pub(super) const NO_TABLE: Self = Self {
        outcome: Outcome::Proxy,
        status: StatusCode::SERVICE_UNAVAILABLE,
        what: "no routes file is in force yet",
        help: "/readyz on the admin listener says why",
    };

    /// A request that is not sent on.
    pub(super) const fn invalid(what: &'static str) -> Self {
        Self {
            outcome: Outcome::ClientBad,
            status: StatusCode::BAD_REQUEST,
            what,
            help: "send one valid HTTP/1.1 request",
        }
    }

    /// The answer, and `close` if nothing more can be read from this connection.
    pub(super) fn response(self) -> Response<Bytes> {
        #[derive(Serialize)]
        struct Body {
            error: &'static str,
            help: &'static str,
        }
        let body = Body { error: self.what, help: self.help };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&self.status) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.outcome == Outcome::ClientBad {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The same to a gRPC caller: a status in a head without a body.
    pub(super) fn grpc_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(grpc::Status::from_http(self.status).code())));
        headers.insert(GRPC_MESSAGE, grpc::message(&format!("{}; {}", self.what, self.help)));
        response
    }
}
