//! How people's orders reach the release loop.
//!
//! Sender: the admin plane, one per request. Listener: `control::release_loop`, the only one. When the listener is gone the
//! process is draining and senders answer 503.

use crate::core::command::{Order, Refused};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait; a full inbox is answered with 503.
pub const ORDERS_MAX: usize = 64;

/// An order and where its answer goes.
#[derive(Debug)]
pub struct Asked {
    /// The order.
    pub order: Order,
    /// Told once: in words what was done, or why not.
    pub answer: oneshot::Sender<Result<String, Refused>>,
}

/// The sending half, cloned into every admin handler.
pub type Orders = mpsc::Sender<Asked>;
/// The listening half.
pub type Inbox = mpsc::Receiver<Asked>;

/// A new channel of at most [`ORDERS_MAX`] waiting orders.
#[must_use]
pub fn channel() -> (Orders, Inbox) {
    mpsc::channel(ORDERS_MAX)
}
