//! What this process asks of the system for itself.

/// Descriptors that are kept for everything but callers and backends: listeners, probes, state, Git.
const DESCRIPTORS_RESERVED: u64 = 48;

/// How many callers the descriptors allow, each with a connection to a backend: the system's limit is first raised as far as it
/// goes. So accepting never takes the last ones away from probes and commits.
#[must_use]
pub fn connections_allowed() -> u64 {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024);
    (limit.saturating_sub(DESCRIPTORS_RESERVED) / 2).max(1)
}

/// Memory in small pages only. Huge ones are filled up by the kernel around the little that an idle connection touches: with them
/// it takes nearly twice as much, and the process at rest ten megabytes more.
pub fn small_pages() {
    // A kernel that does not know huge pages gives none.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// What a service manager wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// A routes file is in force, and the listeners are open.
    Ready,
    /// The drain has begun.
    Stopping,
}

/// Tells systemd, or whoever else speaks its protocol (`sd_notify(3)`, `Type=notify`); nobody, if nobody has asked.
pub fn tell_manager(moment: Moment) {
    let state = match moment {
        Moment::Ready => sd_notify::NotifyState::Ready,
        Moment::Stopping => sd_notify::NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told; is NOTIFY_SOCKET right?");
    }
}
