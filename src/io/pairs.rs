//! How the predictions of copies reach the feedback door.
//!
//! Senders: the data threads, which never wait: what does not fit is lost and counted. Listener: `admin::feedback`, the only one. When
//! it is gone the process is ending and nobody will label anything any more.

use crate::core::pair_book::CopyTold;
use tokio::sync::mpsc;

/// Predictions that may wait for the door, which looks every second and with every label.
pub const WAITING_MAX: usize = 8_192;

/// The sending half, one for each data thread.
pub type Copies = mpsc::Sender<CopyTold>;
/// The listening half.
pub type Copied = mpsc::Receiver<CopyTold>;

/// A new channel of at most [`WAITING_MAX`] waiting predictions.
#[must_use]
pub fn channel() -> (Copies, Copied) {
    mpsc::channel(WAITING_MAX)
}
