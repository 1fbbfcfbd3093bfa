//! Callers that stop taking what they asked for over HTTP/2. Such a caller leaves its window closed; hyper then waits for ever and
//! does not even ask for more of the answer, so that the answer's own limits never strike. The sweep looks for those.

use bytes::{Buf, Bytes};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    rc::{Rc, Weak},
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
    cut: Notify,
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
        Rc::new(Self { handed: Cell::default(), cut: Notify::new(), over: Cell::default(), connection })
    }

    /// The flow of the stream that is being worked on; HTTP/1.1 has none, its socket tells.
    pub(super) fn current() -> Option<Rc<Self>> {
        FLOW.try_with(Rc::clone).ok()
    }

    /// Runs the task of a stream, to its end or until its caller has been waited for too long.
    pub(super) async fn run(self: Rc<Self>, stream: impl Future) {
        tokio::select! {
            biased;
            _ = FLOW.scope(self.clone(), stream) => {}
            () = self.cut.notified() => {}
        }
        self.over.set(true);
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
                    flow.cut.notify_one()
                }
                cut += 1;
            }
            !stalled
        });
        cut
    }
}
