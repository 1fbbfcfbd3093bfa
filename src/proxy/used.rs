//! Whether a connection of a caller is used: what of it must be finished, and since when nobody has wanted anything.

use super::{
    body::{Cut, ResponseBody},
    connections::Closing,
    flow::{Flow, Piece},
};
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Duration, Instant, sleep_until},
};

/// When an HTTP/2 connection is to end: all connections do, or nobody has used it for `idle`.
pub(super) async fn ending(mut closing: Closing, used: Rc<Used>, idle: Duration) {
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = used.unused_for(idle) => {}
    }
}

/// What has become of waiting for a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum NoHead {
    /// Nobody has wanted anything for a while.
    Quiet,
    /// It did not come in time; whether it had begun.
    Late { begun: bool },
}

/// The requests on a connection.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) active: Cell<u32>,
    /// Told when what is left of an answer is not taken.
    pub(super) stuck: Rc<Notify>,
    /// Since when there has been none.
    since: Cell<Option<Instant>>,
}

impl Default for Used {
    fn default() -> Self {
        Self { active: Cell::default(), stuck: Rc::default(), since: Cell::new(Some(Instant::now())) }
    }
}

impl Used {
    /// Returns once there has been none for so long.
    pub(super) async fn unused_for(&self, idle: Duration) {
        loop {
            let now = Instant::now();
            match self.since.get() {
                Some(since) if since + idle <= now => return,
                Some(since) => sleep_until(since + idle).await,
                None => sleep_until(now + idle).await,
            }
        }
    }

    /// Waits until a connection without a request is quiet, or its next head has not come within `late`. One timer for all of its
    /// requests: it is looked at when it fires, not set for each of them.
    pub(super) async fn wait_for_head(
        &self,
        quiet: Option<Duration>,
        late: Duration,
        in_head: impl Fn() -> bool,
        unsent: impl Fn() -> bool,
    ) -> NoHead {
        let (step, mut sent) = (quiet.unwrap_or(late).min(late), None);
        loop {
            let now = Instant::now();
            // The last answer may still be on its way.
            sent = if unsent() { Some(now) } else { sent };
            let Some(since) = self.since.get().max(sent).filter(|_| self.active.get() == 0) else {
                sleep_until(now + step).await;
                continue;
            };
            let head = in_head();
            if since + late <= now {
                return NoHead::Late { begun: head };
            }
            if !head && quiet.is_some_and(|quiet| since + quiet <= now) {
                return NoHead::Quiet;
            }
            let next = if since + step > now { since + step } else { now + step };
            sleep_until(next.min(since + late)).await;
        }
    }

    pub(super) fn one(self: &Rc<Self>) -> One {
        self.active.set(self.active.get() + 1);
        self.since.set(None);
        One(self.clone())
    }
}

/// One request on a connection.
#[derive(Debug)]
pub(super) struct One(Rc<Used>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        if self.0.active.get() == 0 {
            self.0.since.set(Some(Instant::now()));
        }
    }
}

/// An answer's body, which holds its request open until it is gone.
pub(super) struct Held {
    pub(super) body: ResponseBody,
    pub(super) _one: One,
}

impl Body for Held {
    type Data = Piece;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Cut>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Runs the streams of an HTTP/2 connection, each with its own flow.
#[derive(Clone)]
pub(super) struct Streams(pub(super) Rc<Used>);

impl<F: Future + Unpin + 'static> Executor<F> for Streams {
    fn execute(&self, mut stream: F) {
        let (one, flow) = (self.0.one(), Flow::new(self.0.stuck.clone()));
        // Not an async block: that would hold the stream twice, as what it captured and as what it polls.
        spawn_local(poll_fn(move |cx| {
            let _held = &one;
            flow.poll(&mut stream, cx)
        }));
    }
}
