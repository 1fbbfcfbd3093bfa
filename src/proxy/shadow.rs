//! Copies of requests for a shadow variant. They never delay the caller, are never sent twice, and are dropped and counted when the side pool is full.

use super::{
    error::Error,
    forward::{Attempt, Replay},
    predict::{self, Told},
    serve::Exchange,
    thread::{Counted, Thread, World},
    upload::{RequestBody, Upload},
};
use crate::core::{route::Route, tally::ShadowCells};
use http::{HeaderName, HeaderValue, Method, Request};
use hyper::body::Body as _;
use rand::RngExt as _;
use std::rc::Rc;
use tokio::{sync::OwnedSemaphorePermit, task::spawn_local, time::Instant};

/// Largest request that is copied on a route whose fallback keeps none.
pub(super) const REPLAY_BYTES: usize = 64 * 1024;
/// Largest answer that is compared.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Tells the model server that nobody waits for its answer.
const SHADOW: HeaderName = HeaderName::from_static("x-coalmine-shadow");

/// Positions of the shadow variants that get a copy of this request.
pub(super) fn draw(route: &Route) -> Vec<usize> {
    let drawn = |share: f64| rand::rng().random::<f64>() < share;
    route.shadows.iter().filter(|(_, share)| drawn(share.fraction())).map(|(position, _)| *position).collect()
}

/// One copy on its way.
struct Copy {
    thread: Rc<Thread>,
    world: Rc<World>,
    position: usize,
    variant: usize,
    told: Told,
}

/// Sends copies to the shadows. The caller's own answer is ready by then.
pub(super) fn start(exchange: &Exchange<'_>, shadows: &[usize], replay: &Replay, upload: &Upload, told: &Told) {
    let whole = upload.whole();
    for &variant in shadows {
        let copy = Copy {
            thread: exchange.thread.clone(),
            world: exchange.world.clone(),
            position: exchange.position,
            variant,
            told: told.clone(),
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
        let answered = self.answer(request, place).await;
        match (&self.told, answered) {
            (_, Err(_)) => cells.failed.add(1),
            (Told::Prediction(ours), Ok(Told::Prediction(theirs))) if *ours == theirs => cells.agreed.add(1),
            (Told::Prediction(_), Ok(Told::Prediction(_))) => cells.disagreed.add(1),
            // One of the two did not tell: nothing to compare.
            (_, Ok(_)) => {}
        }
    }

    async fn answer(&self, request: Box<Request<RequestBody>>, place: OwnedSemaphorePermit) -> Result<Told, Error> {
        let snapshot = &self.world.live.snapshot;
        let (peer, route) = self
            .world
            .peer(self.position, self.variant)
            .zip(snapshot.routes.get(self.position))
            .ok_or(Error::NO_ROUTE)?;
        let attempt = Attempt {
            thread: &self.thread,
            peer,
            timeouts: &route.timeouts,
            upload: None,
            until: Instant::now() + route.timeouts.total,
            replay: None,
            resend_any: false,
            upgrade: None,
        };
        let post = *request.method() == Method::POST;
        let answer = attempt.send(request, place).await.map_err(|failed| failed.error)?;
        let (head, incoming) = answer.response.into_parts();
        if head.status.is_server_error() {
            return Err(Error::RESET);
        }
        let Some(bytes) = incoming.size_hint().exact().filter(|bytes| *bytes <= ANSWER_BYTES_MAX) else {
            // A stream, or too large to be looked at: its end is not waited for.
            return Ok(Told::Nothing);
        };
        let (whole, _) = attempt.collect(incoming, usize::try_from(bytes).unwrap_or(0)).await?;
        answer.in_use.put(answer.sender);
        Ok(if post && head.status.is_success() { predict::find(&route.protocol, &whole) } else { Told::Nothing })
    }
}
