//! A connection that changes its protocol, such as to WebSocket: from then on bytes, both ways, within limits.

use super::{admission::CallerPlace, connections::Closing, endpoints::InUse, observe::Observation};
use crate::{core::tally::Outcome, io::meters::Meters};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional_with_sizes},
    time::{Duration, Instant, sleep_until, timeout},
};

/// What each direction of a tunnel may hold.
const BUFFER_BYTES: usize = 16 * 1024;
/// The two sides must have changed their protocol after so long.
const CHANGE_LIMIT: Duration = Duration::from_secs(10);

/// One of the tunnels that may be open at a time, over all threads.
pub(super) struct Place(Arc<Meters>);

impl Place {
    /// A place, if one is free. It is taken before the answer goes out: a burst gets no more than there are.
    pub(super) fn take(meters: &Arc<Meters>, max: u64) -> Option<Self> {
        meters.tunnels_open.up_within(max).then(|| Self(meters.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.tunnels_open.down();
    }
}

/// Both ends of a tunnel, and what it holds on to.
pub(super) struct Tunnel {
    pub(super) caller: OnUpgrade,
    pub(super) backend: OnUpgrade,
    pub(super) idle: Duration,
    pub(super) in_use: InUse,
    pub(super) caller_place: Option<CallerPlace>,
    pub(super) observation: Observation,
    /// How long the handshake took: what a tunnel is judged by.
    pub(super) took: Duration,
    pub(super) place: Place,
    /// While this is held, the drain waits for us, up to its limit.
    pub(super) closing: Closing,
}

impl Tunnel {
    /// Carries bytes until one side ends, both are silent for too long, or the drain limit is over.
    pub(super) async fn run(self) {
        let Self { caller, backend, idle, in_use, caller_place, observation, took, place, closing } = self;
        in_use.observe(Outcome::Ok, None);
        observation.end(Outcome::Ok, took);
        let changed = timeout(CHANGE_LIMIT, async { tokio::try_join!(caller, backend) }).await;
        if let Ok(Ok((caller, backend))) = changed {
            carry(caller, backend, idle).await;
        }
        drop((in_use, caller_place, place, closing));
    }
}

async fn carry(caller: Upgraded, backend: Upgraded, idle: Duration) {
    let moved = Rc::new(Cell::new(Instant::now()));
    let mut caller = Moved { stream: TokioIo::new(caller), moved: moved.clone() };
    let mut backend = Moved { stream: TokioIo::new(backend), moved: moved.clone() };
    let silent = async {
        while moved.get().elapsed() < idle {
            sleep_until(moved.get() + idle).await;
        }
    };
    tokio::select! {
        // Either way both connections are closed.
        _ = copy_bidirectional_with_sizes(&mut caller, &mut backend, BUFFER_BYTES, BUFFER_BYTES) => {}
        () = silent => {}
    }
}

/// One end, noting when bytes last came from it.
struct Moved {
    stream: TokioIo<Upgraded>,
    moved: Rc<Cell<Instant>>,
}

impl AsyncRead for Moved {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() {
            self.moved.set(Instant::now());
        }
        polled
    }
}

impl AsyncWrite for Moved {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
