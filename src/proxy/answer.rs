//! From a backend's answer to the caller's: what it tells about the variant, and what we add to it.

use super::{
    body::{Clock, Reading, ResponseBody, Streaming},
    endpoints::InUse,
    error::Error,
    events::{self, Scanner},
    flow::Flow,
    headers::GRPC_STATUS,
    observe::Observation,
    predict,
    serve::Exchange,
    strict,
    tunnel::{Place, Tunnel},
    upload::{RequestBody, Upload},
};
use crate::{
    core::{
        grpc,
        name::ReleaseKey,
        route::Protocol,
        tally::Outcome,
        ticket::{Prediction, Ticket},
    },
    io::{clock, meters::Refusal, pool::Sender},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header, response};
use hyper::{
    body::{Body as _, Incoming},
    upgrade::{self, OnUpgrade},
};
use rand::RngExt as _;
use tokio::{task::spawn_local, time::Duration};

pub(super) use super::predict::Told;

const VARIANT: HeaderName = HeaderName::from_static("x-coalmine-variant");
const TICKET: HeaderName = HeaderName::from_static("x-coalmine-ticket");
/// Largest answer that is read whole before it goes on, so that its ticket can carry the prediction.
pub(super) const SMALL_ANSWER_BYTES: u64 = 16 * 1024;

/// An answer that is ready to go on.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) head: response::Parts,
    pub(super) body: Body,
    pub(super) variant: usize,
    pub(super) in_use: InUse,
    /// The status of a gRPC call, if it stands in the head already.
    pub(super) status: Option<grpc::Status>,
    pub(super) told: Told,
}

/// The rest of an answer.
#[derive(Debug)]
pub(super) enum Body {
    Empty,
    /// All of it, and what may follow it over HTTP/2.
    Whole(Bytes, Option<Box<HeaderMap>>),
    Stream(Box<Rest>),
}

/// The rest of an answer that streams.
#[derive(Debug)]
pub(super) struct Rest {
    /// What was read of it already.
    pub(super) ahead: Option<Bytes>,
    pub(super) incoming: Incoming,
    pub(super) sender: Sender<RequestBody>,
}

impl Ready {
    /// How the backend did, as far as the head (and a small body) tells.
    pub(super) fn outcome(&self) -> Outcome {
        if self.head.status.is_server_error() {
            return Outcome::BackendStatus;
        }
        if self.status.is_some_and(grpc::is_backend_fault) {
            return Outcome::BackendStatus;
        }
        let empty = matches!(&self.body, Body::Whole(bytes, _) if bytes.is_empty());
        match self.told {
            Told::Malformed if !empty => Outcome::BackendMalformed,
            Told::Prediction(_) | Told::Nothing | Told::Malformed => Outcome::Ok,
        }
    }

    /// All of a call's answer is there.
    pub(super) fn whole_call(&mut self, bytes: Bytes, trailers: Option<HeaderMap>) {
        let (status, told) = call(&bytes, trailers.as_ref());
        (self.status, self.told) = (Some(status), told);
        self.body = Body::Whole(bytes, trailers.map(Box::new));
    }

    /// Its status, in the words of HTTP.
    pub(super) fn status(&self) -> StatusCode {
        self.status.map_or(self.head.status, grpc::http_equivalent)
    }
}

/// How a call ended, and what its answer told. One that does not say how it ended is read as clients read it.
pub(super) fn call(bytes: &[u8], trailers: Option<&HeaderMap>) -> (grpc::Status, Told) {
    let said = trailers.and_then(|trailers| trailers.get(GRPC_STATUS));
    let status = said.map_or(grpc::Status::Unknown, |value| grpc::Status::of(value.as_bytes()));
    (status, if status == grpc::Status::Ok { predict::in_message(bytes) } else { Told::Nothing })
}

/// An answer of our own.
pub(super) fn own(error: Error, grpc: bool) -> Response<ResponseBody> {
    let response = if grpc { error.grpc_response() } else { error.response() };
    response.map(|bytes| ResponseBody::Whole(Some(bytes)))
}

pub(super) fn fail(observation: Observation, error: Error, grpc: bool) -> Response<ResponseBody> {
    observation.status(error.status);
    observation.end(error.outcome, Duration::ZERO);
    own(error, grpc)
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

impl Exchange<'_> {
    /// The length of an answer that is small enough to be read whole.
    pub(super) fn small(&self, head: &response::Parts, incoming: &Incoming) -> Option<usize> {
        // How a gRPC call ended stands in its trailers, which may still be to come.
        if head.status == StatusCode::SWITCHING_PROTOCOLS || (self.grpc && !incoming.is_end_stream()) {
            return None;
        }
        let bytes = incoming.size_hint().exact().filter(|bytes| *bytes <= SMALL_ANSWER_BYTES)?;
        let json =
            head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let wanted = json && predict::is_wanted(self.route) && predict::knows_where(&self.route.protocol);
        (wanted || bytes == 0).then(|| usize::try_from(bytes).ok()).flatten()
    }

    /// Passes an answer on, and sees to it that its end is observed.
    pub(super) fn respond(
        &self,
        ready: Ready,
        observation: Observation,
        upload: &Upload,
        change: Option<OnUpgrade>,
    ) -> Response<ResponseBody> {
        let (mut outcome, status, final_status) = (ready.outcome(), ready.status(), ready.status.is_some());
        let Ready { mut head, body, variant, in_use, told, .. } = ready;
        let protocol = head.headers.get(header::UPGRADE).cloned();
        strict::remove_hop_by_hop(&mut head.headers);
        // What goes on is our own message, whatever version the backend speaks.
        head.version = Version::HTTP_11;
        self.expose(&mut head.headers, variant, &told);
        observation.first_byte();
        observation.status(head.status);
        observation.bytes_in(upload.bytes());
        let caller_took = upload.starved();
        let took = observation.elapsed().saturating_sub(caller_took);
        let body = match body {
            Body::Stream(rest) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                return self.change(head, *rest, in_use, observation, took, (protocol, change));
            }
            Body::Empty => ResponseBody::Whole(None),
            Body::Whole(bytes, trailers) => {
                observation.bytes_out(bytes.len() as u64);
                if outcome == Outcome::Ok
                    && self.route.protocol == Protocol::OpenAi
                    && head.status.is_success()
                    && let Some(summary) = events::unary(&self.route.protocol, &bytes)
                {
                    observation.tokens(&summary);
                    outcome = summary.fault().unwrap_or(outcome);
                }
                in_use.observe(outcome, Some(status));
                observation.end(outcome, took);
                match trailers {
                    None => ResponseBody::Whole(Some(bytes)),
                    Some(mut trailers) => {
                        strict::clean_trailers(&mut trailers);
                        ResponseBody::Trailed(Some(bytes), Some(trailers))
                    }
                }
            }
            Body::Stream(rest) => {
                let reading = self.reading(&head, took);
                let decided = outcome != Outcome::Ok || final_status;
                let observation = if decided {
                    in_use.observe(outcome, Some(status));
                    observation.end(outcome, took);
                    None
                } else {
                    Some(observation)
                };
                let flow = Flow::current();
                if let Some(flow) = &flow {
                    self.thread.flows.watch(flow);
                }
                ResponseBody::Stream(Box::new(Streaming {
                    ahead: rest.ahead,
                    incoming: rest.incoming,
                    sender: Some(rest.sender),
                    in_use,
                    observation,
                    reading,
                    clock: Clock::new(self.route.timeouts.idle, self.until, caller_took),
                    flow,
                    _caller_place: self.caller_place.take(),
                }))
            }
        };
        Response::from_parts(head, body)
    }

    /// What the rest of an answer is to be read for.
    fn reading(&self, head: &response::Parts, took: Duration) -> Reading {
        if self.grpc {
            return Reading::Grpc(None);
        }
        if !is_event_stream(&head.headers) {
            return Reading::Plain;
        }
        match Scanner::new(&self.route.protocol).filter(|_| head.status.is_success()) {
            Some(scanner) => Reading::Tokens(Box::new(scanner)),
            None => Reading::Events(took),
        }
    }

    /// The two sides agree on another protocol: from now on it is bytes.
    fn change(
        &self,
        mut head: response::Parts,
        rest: Rest,
        in_use: InUse,
        observation: Observation,
        took: Duration,
        (protocol, caller): (Option<HeaderValue>, Option<OnUpgrade>),
    ) -> Response<ResponseBody> {
        let (Some(protocol), Some(caller)) = (protocol, caller) else {
            return fail(observation, Error::MALFORMED, self.grpc);
        };
        let Some(place) = Place::take(&self.thread.meters, self.thread.settings.tunnels_max) else {
            self.thread.meters.refuse(Refusal::Tunnels);
            return fail(observation, Error::TUNNELS, self.grpc);
        };
        head.headers.insert(header::UPGRADE, protocol);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        let backend = upgrade::on(Response::from_parts(head.clone(), rest.incoming));
        let tunnel = Tunnel {
            caller,
            backend,
            idle: self.route.timeouts.idle,
            in_use,
            caller_place: self.caller_place.take(),
            observation,
            took,
            place,
            closing: self.closing.clone(),
        };
        head.extensions.clear();
        spawn_local(async move {
            let _sender = rest.sender;
            tunnel.run().await;
        });
        Response::from_parts(head, ResponseBody::Whole(None))
    }

    /// What tells this request's ticket from all others.
    pub(super) fn nonce(&self) -> u64 {
        *self.nonce.get_or_init(|| rand::rng().random())
    }

    /// Says which variant answered, and hands out the ticket for a later label.
    fn expose(&self, headers: &mut HeaderMap, variant: usize, told: &Told) {
        let Some(answered) = self.route.variant(variant) else {
            return;
        };
        // A backend that says such a thing itself is not believed.
        if self.route.expose.variant {
            headers.insert(VARIANT, answered.label.clone());
        } else {
            headers.remove(VARIANT);
        }
        if !self.route.expose.ticket || self.pinned {
            headers.remove(TICKET);
            return;
        }
        let prediction = match told {
            Told::Prediction(prediction) => prediction.clone(),
            Told::Nothing | Told::Malformed => Prediction::Unknown,
        };
        let ticket = Ticket {
            at_ms: clock::wall_ms(),
            nonce: self.nonce(),
            release: self.route.release.as_ref().map_or(ReleaseKey::default(), |view| view.key),
            route: self.route.name.clone(),
            variant: answered.name.clone(),
            prediction,
        };
        if let Ok(mut sealed) = HeaderValue::try_from(ticket.seal(&self.thread.key)) {
            // Whoever holds it may label once: it belongs into no compression table.
            sealed.set_sensitive(true);
            headers.insert(TICKET, sealed);
        }
    }
}
