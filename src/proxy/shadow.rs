//! Copies of requests for a shadow variant. They never delay the caller, are never sent twice, and are dropped and counted when the side pool is full.
//!
//! A copy of a request that stable answered is one half of a pair, which the judge compares: who failed, how long each took, what
//! each said. Both halves are looked at equally far, or one would fail more often for being looked at closer.

use super::{
    answer::{self, Ready},
    error::Error,
    events,
    forward::{Attempt, Message, Replay},
    headers::{self, GRPC_STATUS},
    predict::{self, Told},
    serve::Exchange,
    thread::{Counted, Thread, World},
    upload::{RequestBody, Upload},
};
use crate::{
    core::{
        grpc,
        pair_book::CopyTold,
        route::{Protocol, Route},
        tally::{Outcome, ShadowCells},
    },
    io::{clock, meters::PairEvent},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use hyper::body::Body as _;
use rand::RngExt as _;
use std::rc::Rc;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::spawn_local,
    time::{Duration, Instant},
};

/// Largest request that is copied on a route whose fallback keeps none.
pub(super) const REPLAY_BYTES: usize = 64 * 1024;
/// Largest answer that is compared.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Tells the model server that nobody waits for its answer.
const SHADOW: HeaderName = HeaderName::from_static("x-coalmine-shadow");

/// Positions of the variants that get a copy of this request, which `variant` answers. A canary gets copies of stable's only, so
/// that the two can be compared; and what a caller pinned is judged by nobody.
pub(super) fn draw(route: &Route, variant: usize, pinned: bool) -> Vec<usize> {
    let canary = route.release.as_ref().map(|view| view.candidate);
    let wanted = |position: usize| Some(position) != canary || (variant == route.stable && !pinned);
    let drawn = |share: f64| rand::rng().random::<f64>() < share;
    let shadows = route.shadows.iter().filter(|(position, share)| wanted(*position) && drawn(share.fraction()));
    shadows.map(|(position, _)| *position).collect()
}

/// What was seen of an answer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    told: Told,
    /// How it looked by its head, and when that came.
    head: (Outcome, Option<Duration>),
    /// All of it, if all of it was read.
    whole: Option<(Outcome, Duration)>,
}

impl Seen {
    /// The answer that goes to the caller; `took`: since it was asked for, without the caller's own slowness.
    pub(super) fn ready(ready: &Ready, route: &Route, took: Duration) -> Self {
        let outcome = ready.outcome();
        let (head, whole) = match &ready.body {
            answer::Body::Whole(bytes, _) => {
                let fault = unary_fault(route, ready.head.status.is_success(), bytes);
                ((outcome, None), Some((fault.filter(|_| outcome == Outcome::Ok).unwrap_or(outcome), took)))
            }
            answer::Body::Empty => ((outcome, None), Some((outcome, took))),
            answer::Body::Stream(_) => ((outcome, Some(took)), None),
        };
        Self { told: ready.told.clone(), head, whole }
    }

    pub(super) fn failed(error: Error) -> Self {
        Self { told: Told::Nothing, head: (error.outcome, None), whole: None }
    }

    /// Whether the backend failed, as far as was seen.
    fn is_fault(&self) -> bool {
        self.whole.map_or(self.head.0, |(outcome, _)| outcome).is_backend_fault()
    }
}

/// What is wrong with a generated answer that is a success as far as HTTP goes.
fn unary_fault(route: &Route, success: bool, bytes: &[u8]) -> Option<Outcome> {
    (success && route.protocol == Protocol::OpenAi)
        .then(|| events::unary(&route.protocol, bytes))
        .flatten()
        .and_then(|summary| summary.fault())
}

/// Counts a pair, if how both ended is their own doing.
fn compare(ours: &Seen, theirs: &Seen, cells: &ShadowCells) {
    let (ours, theirs) = match (ours.whole, theirs.whole) {
        (Some((a, a_took)), Some((b, b_took))) => ((a, Some(a_took)), (b, Some(b_took))),
        _ => (ours.head, theirs.head),
    };
    let own = |outcome: Outcome| outcome == Outcome::Ok || outcome.is_backend_fault();
    if !own(ours.0) || !own(theirs.0) {
        return;
    }
    cells.paired.add(1);
    match (ours.0 == Outcome::Ok, theirs.0 == Outcome::Ok) {
        (true, false) => cells.worse.add(1),
        (false, true) => cells.better.add(1),
        (false, false) => {}
        (true, true) => {
            if let (Some(ours), Some(theirs)) = (ours.1, theirs.1) {
                cells.ratio.observe_ms(theirs.as_secs_f64() / ours.as_secs_f64().max(1e-6));
            }
        }
    }
}

/// One copy on its way.
struct Copy {
    thread: Rc<Thread>,
    world: Rc<World>,
    position: usize,
    variant: usize,
    /// What the caller's answer was like.
    ours: Seen,
    /// Whether stable gave it, on a draw.
    paired: bool,
    /// The nonce of the caller's ticket, if a label may come for both.
    ticket: Option<u64>,
}

/// Sends copies to the shadows. The caller's own answer is ready by then.
pub(super) fn start(exchange: &Exchange<'_>, shadows: &[usize], replay: &Replay, upload: &Upload, ours: &Seen) {
    let whole = upload.whole();
    let paired = exchange.variant == exchange.route.stable && !exchange.pinned;
    for &variant in shadows {
        let canary = exchange.route.release.as_ref().is_some_and(|view| view.candidate == variant);
        let labelled = paired && canary && exchange.route.expose.ticket;
        let copy = Copy {
            thread: exchange.thread.clone(),
            world: exchange.world.clone(),
            position: exchange.position,
            variant,
            ours: ours.clone(),
            paired,
            ticket: labelled.then(|| exchange.nonce()),
        };
        let Some(cells) = copy.cells() else { continue };
        let room = copy.thread.shadowing.get() < copy.thread.settings.shadows_max;
        let place = exchange.world.peer(exchange.position, variant).and_then(|peer| peer.gate.try_enter());
        let (Some(pieces), Some(place), true) = (&whole, place, room) else {
            cells.dropped.add(1);
            continue;
        };
        let mut head = replay.0.clone();
        head.headers.insert(SHADOW, HeaderValue::from_static("1"));
        let request = Box::new(Request::from_parts(head, RequestBody::whole(pieces.clone())));
        cells.sent.add(1);
        spawn_local(async move {
            let _counted = Counted::new(&copy.thread.shadowing);
            copy.send(request, place).await;
        });
    }
}

impl Copy {
    fn cells(&self) -> Option<&ShadowCells> {
        self.world.live.board.cells(self.position, self.variant, self.thread.index).map(|cells| &cells.shadow)
    }

    async fn send(&self, request: Box<Request<RequestBody>>, place: OwnedSemaphorePermit) {
        let Some(cells) = self.cells() else { return };
        let theirs = self.answer(request, place).await.unwrap_or_else(Seen::failed);
        if self.paired {
            compare(&self.ours, &theirs, cells);
        }
        if theirs.is_fault() {
            return cells.failed.add(1);
        }
        // Else one of the two did not tell: nothing to compare.
        if let (Told::Prediction(ours), Told::Prediction(theirs)) = (&self.ours.told, theirs.told) {
            if *ours == theirs {
                cells.agreed.add(1)
            } else {
                cells.disagreed.add(1)
            }
            if let Some(nonce) = self.ticket {
                let told = CopyTold { nonce, at_ms: clock::wall_ms(), prediction: theirs };
                if self.thread.copies.try_send(told).is_err() {
                    self.thread.meters.pair(PairEvent::Lost, 1);
                }
            }
        }
    }

    async fn answer(&self, request: Box<Request<RequestBody>>, place: OwnedSemaphorePermit) -> Result<Seen, Error> {
        let snapshot = &self.world.live.snapshot;
        let (peer, route) = self
            .world
            .peer(self.position, self.variant)
            .zip(snapshot.routes.get(self.position))
            .ok_or(Error::NO_ROUTE)?;
        let begin = Instant::now();
        let attempt = Attempt {
            thread: &self.thread,
            peer,
            timeouts: &route.timeouts,
            upload: None,
            until: begin + route.timeouts.total,
            replay: None,
            resend_any: false,
            upgrade: None,
        };
        let post = *request.method() == Method::POST;
        let tells = headers::is_grpc(request.headers()) && predict::tells(&route.protocol, request.uri().path());
        let answer = attempt.send(request, place).await.map_err(|failed| failed.error)?;
        let (head, mut incoming) = answer.response.into_parts();
        let call_failed = head
            .headers
            .get(GRPC_STATUS)
            .is_some_and(|status| grpc::is_backend_fault(grpc::Status::of(status.as_bytes())));
        let outcome = if head.status.is_server_error() || call_failed { Outcome::BackendStatus } else { Outcome::Ok };
        let mut seen = Seen { told: Told::Nothing, head: (outcome, Some(begin.elapsed())), whole: None };
        if tells && outcome == Outcome::Ok && head.status.is_success() {
            // As much of it as is read of the caller's own.
            seen.whole = match attempt.message(&mut incoming, answer::SMALL_ANSWER_BYTES).await {
                Ok(Message::Part(_)) => None,
                Ok(Message::Whole(bytes, trailers)) => {
                    let (status, told) = answer::call(&bytes, trailers.as_ref());
                    let malformed = told == Told::Malformed && !bytes.is_empty();
                    let fault = grpc::is_backend_fault(status).then_some(Outcome::BackendStatus);
                    seen.told = told;
                    let otherwise = if malformed { Outcome::BackendMalformed } else { Outcome::Ok };
                    Some((fault.unwrap_or(otherwise), begin.elapsed()))
                }
                Err(error) => Some((error.outcome, begin.elapsed())),
            };
            return Ok(seen);
        }
        let bytes = incoming.size_hint().exact().filter(|bytes| *bytes <= ANSWER_BYTES_MAX);
        let Some(bytes) = bytes.filter(|_| outcome == Outcome::Ok) else {
            // A stream, or too large to be looked at: its end is not waited for.
            return Ok(seen);
        };
        match attempt.collect(incoming, usize::try_from(bytes).unwrap_or(0)).await {
            Ok((whole, _)) => {
                answer.in_use.put(answer.sender);
                if post && head.status.is_success() {
                    seen.told = predict::find(&route.protocol, &whole);
                }
                seen.whole =
                    Some((whole_outcome(route, head.status.is_success(), &seen.told, &whole), begin.elapsed()));
            }
            Err(error) => seen.whole = Some((error.outcome, begin.elapsed())),
        }
        Ok(seen)
    }
}

fn whole_outcome(route: &Route, success: bool, told: &Told, whole: &Bytes) -> Outcome {
    match told {
        Told::Malformed if !whole.is_empty() => Outcome::BackendMalformed,
        Told::Prediction(_) | Told::Nothing | Told::Malformed => {
            unary_fault(route, success, whole).unwrap_or(Outcome::Ok)
        }
    }
}
