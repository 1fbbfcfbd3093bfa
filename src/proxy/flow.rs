//! Callers that stop taking what they asked for over HTTP/2. Such a caller leaves its window closed; hyper then waits for ever and
//! does not even ask for more of the answer, so that the answer's own limits never strike. The sweep looks for those.

use bytes::{Buf, Bytes};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll, Waker},
};
use tokio::{
    sync::Notify,
    task_local,
    time::{Duration, Instant},
};

task_local! {
    static FLOW: Rc<Flow>;
}

/// The flow of one stream's answer.
#[derive(Debug)]
pub(super) struct Flow {
    /// Since when a piece has been waiting to be taken.
    handed: Cell<Option<Instant>>,
    cut: Cell<bool>,
    /// Wakes the stream's task.
    waker: RefCell<Option<Waker>>,
    /// The stream's task is over; what is left of its answer can only be cut with its connection.
    over: Cell<bool>,
    connection: Rc<Notify>,
}

/// A piece of an answer, which keeps its flow in sight until it has left.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    _flow: Option<Rc<Flow>>,
}

impl Piece {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, _flow: Flow::current() }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, n: usize) {
        self.bytes.advance(n);
    }

    fn copy_to_bytes(&mut self, n: usize) -> Bytes {
        self.bytes.copy_to_bytes(n)
    }
}

impl Flow {
    /// The flow of a stream on a connection that ends when it is told so.
    pub(super) fn new(connection: Rc<Notify>) -> Rc<Self> {
        Rc::new(Self {
            handed: Cell::default(),
            cut: Cell::default(),
            waker: RefCell::default(),
            over: Cell::default(),
            connection,
        })
    }

    /// The flow of the stream that is being worked on; HTTP/1.1 has none, its socket tells.
    pub(super) fn current() -> Option<Rc<Self>> {
        FLOW.try_with(Rc::clone).ok()
    }

    /// Polls the task of a stream; it is over at its end, or when its caller has been waited for too long.
    pub(super) fn poll<F: Future + Unpin>(self: &Rc<Self>, stream: &mut F, cx: &mut Context<'_>) -> Poll<()> {
        if !self.cut.get() && FLOW.sync_scope(self.clone(), || Pin::new(stream).poll(cx)).is_pending() {
            let mut waker = self.waker.borrow_mut();
            if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        self.over.set(true);
        Poll::Ready(())
    }

    fn cut(&self) {
        self.cut.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// A piece went on to the caller.
    pub(super) fn handed(&self, now: Instant) {
        self.handed.set(Some(now));
    }

    /// The next piece is asked for.
    pub(super) fn asked(&self) {
        self.handed.set(None);
    }
}

/// The flows of one thread that may have to be cut.
#[derive(Debug, Default)]
pub(super) struct Flows(RefCell<Vec<Weak<Flow>>>);

impl Flows {
    pub(super) fn watch(&self, flow: &Rc<Flow>) {
        self.0.borrow_mut().push(Rc::downgrade(flow));
    }

    /// Ends streams whose caller has taken nothing for `limit`; how many.
    pub(super) fn cut(&self, limit: Duration) -> u64 {
        let mut cut = 0;
        self.0.borrow_mut().retain(|flow| {
            let Some(flow) = flow.upgrade() else { return false };
            let stalled = flow.handed.get().is_some_and(|since| since.elapsed() >= limit);
            if stalled {
                if flow.over.get() {
                    flow.connection.notify_one()
                } else {
                    flow.cut()
                }
                cut += 1;
            }
            !stalled
        });
        cut
    }
}
