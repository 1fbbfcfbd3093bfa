//! One request, top to bottom: check, find, pick, forward, observe. `proxy.rs` has the chart.

use super::{
    admission::CallerPlace,
    answer::{self, Ready, SMALL_ANSWER_BYTES, Told},
    body::ResponseBody,
    connections::Closing,
    endpoints::InUse,
    error::Error,
    forward::{Answer, Attempt, Failed, Message, Replay},
    headers::{self, Caller, GRPC_STATUS},
    observe::Observation,
    predict, shadow, strict,
    thread::{Counted, Thread, World},
    upload::{RequestBody, Upload},
};
use crate::{
    core::{
        fallback::{Failure, needs_replay, to_stable},
        grpc,
        name::{Generation, ReleaseKey},
        route::Route,
        split::{Draw, sticky_bits},
        tally::Outcome,
    },
    io::meters::Refusal,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    upgrade::{self, OnUpgrade},
};
use rand::RngExt as _;
use std::{
    cell::{Cell, OnceCell},
    rc::Rc,
};
use tokio::time::{Duration, Instant};

impl Thread {
    /// Answers one request; whatever goes wrong becomes an answer too.
    pub(super) async fn serve(
        self: &Rc<Self>,
        mut request: Request<Incoming>,
        caller: &Caller,
        closing: &Closing,
    ) -> Response<ResponseBody> {
        let started = Instant::now();
        let head = match strict::request(&mut request) {
            Ok(head) => head,
            Err(what) => {
                let grpc = headers::is_grpc(request.headers());
                return self.refuse(Refusal::Invalid, Error::invalid(what), grpc);
            }
        };
        let grpc = head.grpc;
        let world = self.world();
        let snapshot = &world.live.snapshot;
        if snapshot.generation == Generation(0) {
            return self.refuse(Refusal::NoTable, Error::NO_TABLE, grpc);
        }
        let found = snapshot.routes.find(head.name(), request.uri().path(), request.headers());
        let Some((position, route)) = found else {
            return self.refuse(Refusal::NoRoute, Error::NO_ROUTE, grpc);
        };
        let origin = || self.settings.headers.origin(request.headers(), caller);
        let Ok(caller_place) = self.callers.enter(route, request.headers(), origin) else {
            return self.refuse(Refusal::CallerLimit, Error::CALLER_LIMIT, grpc);
        };
        let tells = grpc && predict::is_wanted(route) && predict::tells(&route.protocol, request.uri().path());
        let (variant, pinned, user) = pick(route, request.headers(), head.pin.as_ref());
        let version = request.version();
        self.settings.headers.request(request.headers_mut(), head.known, caller, &head.host, version);
        let observation = Observation::begin(world.clone(), (position, variant), self.index, started, (pinned, user));
        let exchange = Exchange {
            thread: self,
            world: &world,
            position,
            route,
            variant,
            pinned,
            until: started + route.timeouts.total,
            grpc,
            tells,
            upgrade: head.upgrade,
            caller_place: Cell::new(caller_place),
            closing,
            nonce: OnceCell::new(),
        };
        let _active = Counted::new(&self.active);
        exchange.run(request, observation, started).await
    }

    fn refuse(&self, refusal: Refusal, error: Error, grpc: bool) -> Response<ResponseBody> {
        self.meters.refuse(refusal);
        answer::own(error, grpc)
    }
}

/// The variant of a request, whether the caller forced it, and who they are where users keep their variant.
fn pick(route: &Route, headers: &HeaderMap, pin: Option<&HeaderValue>) -> (usize, bool, Option<u64>) {
    if let Some(name) = pin.filter(|_| route.pin)
        && let Some(variant) = name.to_str().ok().and_then(|name| route.position(name))
    {
        return (variant, true, None);
    }
    let key = route.sticky.as_ref().and_then(|sticky| headers.get(&sticky.header));
    let user = key.map(|key| {
        let release = route.release.as_ref().map_or(ReleaseKey::default(), |view| view.key);
        sticky_bits(&route.name, release, key.as_bytes())
    });
    let draw = Draw::from_bits(user.unwrap_or_else(|| rand::rng().random()));
    (route.split.pick(draw), false, user)
}

/// A request between its draw and its answer.
pub(super) struct Exchange<'a> {
    pub(super) thread: &'a Rc<Thread>,
    pub(super) world: &'a Rc<World>,
    pub(super) position: usize,
    pub(super) route: &'a Route,
    pub(super) variant: usize,
    pub(super) pinned: bool,
    pub(super) until: Instant,
    /// Whether it is a gRPC call.
    pub(super) grpc: bool,
    /// ... whose answer tells the prediction.
    pub(super) tells: bool,
    /// What the caller wants to change to.
    pub(super) upgrade: Option<HeaderValue>,
    /// Goes on to what outlives this: a streaming answer, a tunnel.
    pub(super) caller_place: Cell<Option<CallerPlace>>,
    pub(super) closing: &'a Closing,
    /// Of the ticket, once anybody asks.
    pub(super) nonce: OnceCell<u64>,
}

/// A request that is ready to be sent.
struct Prepared {
    /// In a box: it goes through many hands.
    request: Box<Request<RequestBody>>,
    upload: Rc<Upload>,
    replay: Option<Replay>,
    shadows: Vec<usize>,
    change: Option<OnUpgrade>,
    post: bool,
}

/// What comes after the first attempt.
enum Decision {
    Answer(Box<Ready>),
    Fail(Error),
    Stable(Box<Request<RequestBody>>, Outcome),
}

impl Exchange<'_> {
    async fn run(
        &self,
        request: Request<Incoming>,
        mut observation: Observation,
        started: Instant,
    ) -> Response<ResponseBody> {
        let Prepared { request, upload, replay, shadows, change, post } = self.prepare(request, started);
        if upload.is_too_large() {
            self.thread.meters.refuse(Refusal::TooLarge);
            return answer::fail(observation, Error::TOO_LARGE, self.grpc);
        }
        // A copy's time begins as late: when a place at the backend is waited for.
        let asked = (!shadows.is_empty()).then(Instant::now);
        let took = || asked.map_or(Duration::ZERO, |asked| asked.elapsed().saturating_sub(upload.starved()));
        let first = self.attempt(self.variant, request, &upload, replay.as_ref(), post).await;
        observation.at(first.as_ref().map_or_else(|failed| failed.slot, |ready| Some(ready.in_use.slot())));
        let ready = match self.second_chance(first, &upload, replay.as_ref()) {
            Decision::Answer(ready) => Ok(*ready),
            Decision::Fail(error) => Err(error),
            Decision::Stable(request, outcome) => {
                observation.saved_by(self.route.stable, outcome);
                // In a box, as whatever is rare: every request would carry its room with it.
                let second = Box::pin(self.attempt(self.route.stable, request, &upload, None, post)).await;
                second.map_err(|failed| failed.error)
            }
        };
        if upload.is_lost() {
            self.thread.meters.replays_lost.up();
        }
        match ready {
            Ok(ready) => {
                if let Some(replay) = replay.filter(|_| !shadows.is_empty()) {
                    let ours = shadow::Seen::ready(&ready, self.route, took());
                    shadow::start(self, &shadows, &replay, &upload, &ours);
                }
                self.respond(ready, observation, &upload, change)
            }
            Err(error) => {
                if let Some(replay) = replay.filter(|_| !shadows.is_empty() && error.outcome.is_backend_fault()) {
                    // Without those that stable fails, a canary could never be the better one.
                    shadow::start(self, &shadows, &replay, &upload, &shadow::Seen::failed(error));
                }
                if error == Error::TOO_LARGE {
                    self.thread.meters.refuse(Refusal::TooLarge);
                }
                answer::fail(observation, error, self.grpc)
            }
        }
    }

    /// The request as it goes to the backend, and its head once more if it may be needed again.
    fn prepare(&self, mut request: Request<Incoming>, started: Instant) -> Prepared {
        let shadows = shadow::draw(self.route, self.variant, self.pinned);
        let change = self.upgrade.is_some().then(|| upgrade::on(&mut request));
        let post = *request.method() == Method::POST;
        let (head, incoming) = request.into_parts();
        let policy = self.route.fallback.as_ref();
        let again = (self.variant != self.route.stable && needs_replay(policy))
            || policy.is_some_and(|policy| policy.reset)
            || !shadows.is_empty();
        let keep_max = again.then(|| policy.map_or(shadow::REPLAY_BYTES, |policy| policy.replay_bytes_max) as u64);
        let upload = Upload::new(incoming, self.route.limits.request_body_bytes, keep_max, started);
        let bare = upload.is_empty() && [Method::GET, Method::HEAD].contains(&head.method);
        let replay = (again || bare).then(|| Replay(head.clone()));
        let request = Box::new(Request::from_parts(head, upload.body()));
        Prepared { request, upload, replay, shadows, change, post }
    }

    /// One attempt against one variant, up to an answer that is ready to go on.
    async fn attempt(
        &self,
        variant: usize,
        request: Box<Request<RequestBody>>,
        upload: &Rc<Upload>,
        replay: Option<&Replay>,
        post: bool,
    ) -> Result<Ready, Failed> {
        let Some(peer) = self.world.peer(self.position, variant) else {
            return Err(Failed::new(Error::NO_ROUTE));
        };
        let Some(place) = peer.gate.enter().await else {
            self.thread.meters.refuse(Refusal::Overload);
            return Err(Failed::new(Error::OVERLOAD));
        };
        let attempt = Attempt {
            thread: self.thread,
            peer,
            timeouts: &self.route.timeouts,
            upload: Some(upload),
            until: self.until,
            replay,
            resend_any: self.route.fallback.as_ref().is_some_and(|policy| policy.reset),
            upgrade: self.upgrade.as_ref(),
        };
        let Answer { response, sender, in_use } = attempt.send(request, place).await?;
        let (head, mut incoming) = response.into_parts();
        let status = self.grpc.then(|| head.headers.get(GRPC_STATUS)).flatten();
        let status = status.map(|value| grpc::Status::of(value.as_bytes()));
        let mut ready = Ready { variant, in_use, status, told: Told::Nothing, body: answer::Body::Empty, head };
        let failed = |in_use: &InUse, error: Error| {
            in_use.observe(error.outcome, None);
            Failed { slot: Some(in_use.slot()), ..Failed::new(error) }
        };
        match self.small(&ready.head, &incoming) {
            None => {
                let mut ahead = None;
                if self.tells && ready.head.status == StatusCode::OK {
                    let message = attempt.message(&mut incoming, SMALL_ANSWER_BYTES).await;
                    match message.map_err(|error| failed(&ready.in_use, error))? {
                        Message::Whole(whole, trailers) => {
                            ready.whole_call(whole, trailers);
                            return Ok(ready);
                        }
                        Message::Part(part) => ahead = Some(part),
                    }
                }
                ready.body = answer::Body::Stream(Box::new(answer::Rest { ahead, incoming, sender }));
            }
            Some(bytes) => {
                let (whole, trailers) =
                    attempt.collect(incoming, bytes).await.map_err(|error| failed(&ready.in_use, error))?;
                ready.in_use.put(sender);
                // Only answers to predictions are expected to be JSON; a page or a metric under the same prefix may be anything.
                if ready.head.status.is_success() && post {
                    ready.told = predict::find(&self.route.protocol, &whole);
                }
                ready.body = answer::Body::Whole(whole, trailers.map(Box::new));
            }
        }
        Ok(ready)
    }

    /// Stable's own places and queue bound what falls back to it; it carried all of the traffic before the canary came.
    fn second_chance(&self, first: Result<Ready, Failed>, upload: &Rc<Upload>, replay: Option<&Replay>) -> Decision {
        let (outcome, status, unsent) = match &first {
            Ok(ready) => (ready.outcome(), Some(ready.status()), false),
            Err(failed) => (failed.error.outcome, None, failed.unsent.is_some()),
        };
        let replayable = unsent || (replay.is_some() && upload.is_replayable());
        let failure = Failure { outcome, status, replayable };
        let wanted = self.variant != self.route.stable
            && !self.pinned
            && upload.failed().is_none()
            && to_stable(self.route.fallback.as_ref(), failure);
        match first {
            Err(Failed { unsent: Some(request), .. }) if wanted => Decision::Stable(request, outcome),
            first if wanted => match (replay.and_then(|replay| replay.request(upload)), first) {
                (Some(request), _) => Decision::Stable(request, outcome),
                (None, Ok(ready)) => Decision::Answer(Box::new(ready)),
                (None, Err(failed)) => Decision::Fail(failed.error),
            },
            Ok(ready) => Decision::Answer(Box::new(ready)),
            Err(failed) => Decision::Fail(failed.error),
        }
    }
}
