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
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};
use tokio::{
    sync::Notify,
    task::spawn_local,
    time::{Duration, Instant, sleep, sleep_until},
};

/// When an HTTP/2 connection is to end: all connections do, or nobody has used it for `idle`.
pub(super) async fn ending(mut closing: Closing, used: Rc<Used>, idle: Duration) {
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = used.unused_for(idle) => {}
    }
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

    /// Returns once there has been none for so long and nothing else is under way.
    pub(super) async fn quiet(&self, idle: Duration, busy: impl Fn() -> bool) {
        loop {
            self.unused_for(idle).await;
            if !busy() {
                return;
            }
            sleep(idle).await;
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

impl<F: Future + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (one, flow) = (self.0.one(), Flow::new(self.0.stuck.clone()));
        spawn_local(async move {
            flow.run(stream).await;
            drop(one);
        });
    }
}
