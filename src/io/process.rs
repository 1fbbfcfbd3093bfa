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
