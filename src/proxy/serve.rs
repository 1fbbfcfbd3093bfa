//! One request, top to bottom: check, find, pick, forward, observe.

use super::{
    body::{Clock, RequestBody, ResponseBody, Streaming, Upload, client_fault},
    connections::{Thread, World},
    error::Error,
    forward::{Answer, Attempt, Failed, Kept},
    observe::Observation,
    predict::{self, Told},
    strict,
};
use crate::{
    core::{
        fallback::{Failure, needs_replay, to_stable},
        name::{Generation, ReleaseKey},
        route::Route,
        split::Draw,
        tally::Outcome,
        ticket::{Prediction, Ticket},
    },
    io::{clock, meters::Refusal},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use rand::RngExt as _;
use std::{net::IpAddr, rc::Rc};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Duration, Instant, timeout_at},
};

const VARIANT: HeaderName = HeaderName::from_static("x-coalmine-variant");
const TICKET: HeaderName = HeaderName::from_static("x-coalmine-ticket");
/// Largest answer that is read whole before it goes on, so that its ticket can carry the prediction.
const SMALL_ANSWER_BYTES: u64 = 16 * 1024;

impl Thread {
    /// Answers one request; whatever goes wrong becomes an answer too.
    pub(super) async fn serve(&self, mut request: Request<Incoming>, peer: IpAddr) -> Response<ResponseBody> {
        let started = Instant::now();
        let pin = request.headers().get(strict::PIN).cloned();
        let host = match strict::request(&mut request, peer) {
            Ok(host) => host,
            Err(what) => return self.refuse(Refusal::Invalid, Error::invalid(what)),
        };
        let world = self.world();
        let snapshot = &world.live.snapshot;
        if snapshot.generation == Generation(0) {
            return self.refuse(Refusal::NoTable, Error::NO_TABLE);
        }
        let Some((position, route)) = snapshot.routes.find(&host, request.uri().path(), request.headers()) else {
            return self.refuse(Refusal::NoRoute, Error::NO_ROUTE);
        };
        let (variant, pinned) = pick(route, &request, pin.as_ref());
        let observation = Observation::begin(world.clone(), (position, variant), self.index, started, pinned);
        let exchange = Exchange {
            thread: self,
            world: &world,
            position,
            route,
            variant,
            pinned,
            until: started + route.timeouts.total,
            upload: Upload::new(started),
        };
        let _active = self.active();
        exchange.run(request, observation).await
    }

    fn refuse(&self, refusal: Refusal, error: Error) -> Response<ResponseBody> {
        self.meters.refuse(refusal);
        own(error)
    }
}

fn own(error: Error) -> Response<ResponseBody> {
    error.response().map(|bytes| ResponseBody::Whole(Some(bytes)))
}

/// The variant of a request, and whether the caller forced it.
fn pick(route: &Route, request: &Request<Incoming>, pin: Option<&HeaderValue>) -> (usize, bool) {
    if let Some(name) = pin.filter(|_| route.pin)
        && let Some(variant) = name.to_str().ok().and_then(|name| route.position(name))
    {
        return (variant, true);
    }
    let key = route.sticky.as_ref().and_then(|sticky| request.headers().get(&sticky.header));
    let draw = match key {
        Some(key) => {
            let release = route.release.as_ref().map_or(ReleaseKey::default(), |view| view.key);
            Draw::sticky(&route.name, release, key.as_bytes())
        }
        None => Draw::from_bits(rand::rng().random()),
    };
    (route.split.pick(draw), false)
}

/// A request between its draw and its answer.
struct Exchange<'a> {
    thread: &'a Thread,
    world: &'a Rc<World>,
    position: usize,
    route: &'a Route,
    variant: usize,
    pinned: bool,
    until: Instant,
    upload: Rc<Upload>,
}

/// An answer that is ready to go on.
struct Ready {
    head: http::response::Parts,
    body: AnswerBody,
    variant: usize,
    place: OwnedSemaphorePermit,
    told: Told,
}

enum AnswerBody {
    Whole(Bytes),
    Stream(Box<Rest>),
}

/// The rest of an answer that streams.
struct Rest {
    incoming: Incoming,
    sender: hyper::client::conn::http1::SendRequest<RequestBody>,
}

impl Exchange<'_> {
    async fn run(&self, request: Request<Incoming>, mut observation: Observation) -> Response<ResponseBody> {
        let (request, kept) = match self.prepare(request).await {
            Ok(prepared) => prepared,
            Err(error) => {
                if error == Error::TOO_LARGE {
                    self.thread.meters.refuse(Refusal::TooLarge);
                }
                return fail(observation, error);
            }
        };
        let first = self.attempt(self.variant, request, kept.as_ref()).await;
        match self.second_chance(first, kept.as_ref()) {
            Decision::Answer(ready) => self.respond(*ready, observation),
            Decision::Fail(error) => fail(observation, error),
            Decision::Stable(request, outcome) => {
                observation.saved_by(self.route.stable, outcome);
                match self.attempt(self.route.stable, *request, None).await {
                    Ok(ready) => self.respond(ready, observation),
                    Err(failed) => fail(observation, failed.error),
                }
            }
        }
    }

    /// The request as it goes to the backend, and a copy if it may be needed again.
    async fn prepare(&self, request: Request<Incoming>) -> Result<(Request<RequestBody>, Option<Kept>), Error> {
        let bytes_max = self.route.limits.request_body_bytes;
        let length = request.body().size_hint().exact();
        if length.is_some_and(|length| length > bytes_max) {
            return Err(Error::TOO_LARGE);
        }
        let (head, incoming) = request.into_parts();
        let policy = self.route.fallback.as_ref();
        let wanted = (self.variant != self.route.stable && needs_replay(policy))
            || policy.is_some_and(|policy| policy.reset)
            || (length == Some(0) && [Method::GET, Method::HEAD].contains(&head.method));
        let keep_max = policy.map_or(0, |policy| policy.replay_bytes_max);
        match length.and_then(|length| usize::try_from(length).ok()) {
            Some(length) if wanted && length <= keep_max => {
                let body = self.read_whole(incoming, length).await?;
                let kept = Kept::new(head, body);
                Ok((kept.request(), Some(kept)))
            }
            _ => {
                let body = RequestBody::Stream { incoming, upload: self.upload.clone(), bytes_max };
                Ok((Request::from_parts(head, body), None))
            }
        }
    }

    async fn read_whole(&self, incoming: Incoming, length: usize) -> Result<Bytes, Error> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        let limit = (Instant::now() + self.route.timeouts.idle).min(self.until);
        match timeout_at(limit, Limited::new(incoming, length).collect()).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) => Err(error.downcast_ref::<hyper::Error>().map_or(Error::BAD_BODY, client_fault)),
            Err(_) => Err(Error::SLOW_BODY),
        }
    }

    /// One attempt against one variant, up to an answer that is ready to go on.
    async fn attempt(
        &self,
        variant: usize,
        request: Request<RequestBody>,
        kept: Option<&Kept>,
    ) -> Result<Ready, Failed> {
        let Some(peer) = self.world.peer(self.position, variant) else {
            return Err(Failed { error: Error::NO_ROUTE, unsent: None });
        };
        let Some(place) = peer.gate.enter().await else {
            self.thread.meters.refuse(Refusal::Overload);
            return Err(Failed { error: Error::OVERLOAD, unsent: None });
        };
        let post = request.method() == Method::POST;
        let attempt = Attempt {
            thread: self.thread,
            peer,
            timeouts: &self.route.timeouts,
            upload: &self.upload,
            until: self.until,
            kept,
            resend_any: self.route.fallback.as_ref().is_some_and(|policy| policy.reset),
        };
        let Answer { response, sender } = attempt.send(request).await?;
        let (head, incoming) = response.into_parts();
        let small = self.small(&head, &incoming);
        let (body, told) = match small {
            None => (AnswerBody::Stream(Box::new(Rest { incoming, sender })), Told::Nothing),
            Some(length) => {
                let whole = attempt.collect(incoming, length).await?;
                peer.pool.put(sender);
                let told =
                    if head.status.is_success() { predict::find(&self.route.protocol, &whole) } else { Told::Nothing };
                (AnswerBody::Whole(whole), told)
            }
        };
        // Only answers to predictions are expected to be JSON; a page or a metric under the same prefix may be anything.
        let told = if post { told } else { Told::Nothing };
        Ok(Ready { head, body, variant, place, told })
    }

    /// The length of an answer that is small enough to be read whole.
    fn small(&self, head: &http::response::Parts, incoming: &Incoming) -> Option<usize> {
        let length = incoming.size_hint().exact().filter(|length| *length <= SMALL_ANSWER_BYTES)?;
        let json =
            head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let wanted = json && self.route.expose.ticket && predict::knows_where(&self.route.protocol);
        (wanted || length == 0).then(|| usize::try_from(length).ok()).flatten()
    }

    /// Stable's own places and queue bound what falls back to it; it carried all of the traffic before the canary came.
    fn second_chance(&self, first: Result<Ready, Failed>, kept: Option<&Kept>) -> Decision {
        let (outcome, status, unsent) = match &first {
            Ok(ready) if !ready.head.status.is_server_error() => (Outcome::Ok, None, false),
            Ok(ready) => (Outcome::BackendStatus, Some(ready.head.status), false),
            Err(failed) => (failed.error.outcome, None, failed.unsent.is_some()),
        };
        let failure = Failure { outcome, status, replayable: unsent || kept.is_some() };
        let wanted =
            self.variant != self.route.stable && !self.pinned && to_stable(self.route.fallback.as_ref(), failure);
        match (first, kept) {
            (Err(Failed { unsent: Some(request), .. }), _) if wanted => Decision::Stable(request, outcome),
            (_, Some(kept)) if wanted => Decision::Stable(Box::new(kept.request()), outcome),
            (Ok(ready), _) => Decision::Answer(Box::new(ready)),
            (Err(failed), _) => Decision::Fail(failed.error),
        }
    }

    fn respond(&self, ready: Ready, observation: Observation) -> Response<ResponseBody> {
        let Ready { mut head, body, variant, place, told } = ready;
        strict::remove_hop_by_hop(&mut head.headers);
        self.expose(&mut head.headers, variant, &told);
        observation.first_byte();
        observation.status(head.status);
        observation.bytes_in(self.upload.bytes());
        let outcome = outcome(head.status, &told, &body);
        let caller_took = self.upload.starved();
        let took = observation.elapsed().saturating_sub(caller_took);
        let body = match body {
            AnswerBody::Whole(bytes) => {
                observation.bytes_out(bytes.len() as u64);
                observation.end(outcome, took);
                ResponseBody::Whole(Some(bytes))
            }
            AnswerBody::Stream(rest) => {
                let events = is_event_stream(&head.headers);
                let Some(peer) = self.world.peer(self.position, variant).cloned() else {
                    return own(Error::NO_ROUTE);
                };
                let observation = if outcome == Outcome::Ok {
                    Some(observation)
                } else {
                    observation.end(outcome, took);
                    None
                };
                ResponseBody::Stream(Box::new(Streaming {
                    incoming: rest.incoming,
                    sender: Some(rest.sender),
                    peer,
                    _place: place,
                    observation,
                    latency: events.then_some(took),
                    clock: Clock::new(self.route.timeouts.idle, self.until, caller_took),
                }))
            }
        };
        Response::from_parts(head, body)
    }

    /// Says which variant answered, and hands out the ticket for a later label.
    fn expose(&self, headers: &mut http::HeaderMap, variant: usize, told: &Told) {
        headers.remove(VARIANT);
        headers.remove(TICKET);
        let Some(answered) = self.route.variant(variant) else {
            return;
        };
        if self.route.expose.variant
            && let Ok(name) = HeaderValue::from_str(answered.name.as_str())
        {
            headers.insert(VARIANT, name);
        }
        if !self.route.expose.ticket || self.pinned {
            return;
        }
        let prediction = match told {
            Told::Prediction(prediction) => prediction.clone(),
            Told::Nothing | Told::Malformed => Prediction::Unknown,
        };
        let ticket = Ticket {
            at_ms: clock::now().wall_ms,
            nonce: rand::rng().random(),
            release: self.route.release.as_ref().map_or(ReleaseKey::default(), |view| view.key),
            route: self.route.name.clone(),
            variant: answered.name.clone(),
            prediction,
        };
        if let Ok(sealed) = HeaderValue::try_from(ticket.seal(&self.thread.key)) {
            headers.insert(TICKET, sealed);
        }
    }
}

/// What comes after the first attempt.
enum Decision {
    Answer(Box<Ready>),
    Fail(Error),
    Stable(Box<Request<RequestBody>>, Outcome),
}

fn fail(observation: Observation, error: Error) -> Response<ResponseBody> {
    observation.status(error.status);
    observation.end(error.outcome, Duration::ZERO);
    own(error)
}

/// How the backend did, as far as the head (and a small body) tells.
fn outcome(status: StatusCode, told: &Told, body: &AnswerBody) -> Outcome {
    if status.is_server_error() {
        return Outcome::BackendStatus;
    }
    let empty = matches!(body, AnswerBody::Whole(bytes) if bytes.is_empty());
    match told {
        Told::Malformed if !empty => Outcome::BackendMalformed,
        Told::Prediction(_) | Told::Nothing | Told::Malformed => Outcome::Ok,
    }
}

fn is_event_stream(headers: &http::HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}
