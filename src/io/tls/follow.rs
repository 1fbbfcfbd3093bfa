//! Waiting for files to change. Events only say "look", as for the routes file: the *directories* are watched, because a watch
//! on a file sees the kubelet's first swap of `..data` and nothing ever again; a slow look catches what no event told.

use super::{
    TlsError,
    part::{SETTLE, Seen},
};
use crate::io::meters::Meters;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// How long a change that no event told may go unseen.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// The same while a directory cannot be watched.
const LOOK_EVERY_UNWATCHED: Duration = Duration::from_millis(300);
/// One swap is several events: they are let past before the look.
const BURST: Duration = Duration::from_millis(20);

/// Whether what was found can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    /// Yes.
    Settled,
    /// Something is bad that may be half written.
    Doubtful,
}

/// Looks now, and whenever one of `paths` may have changed. Never ends.
pub(super) async fn follow(paths: &[PathBuf], mut look: impl FnMut() -> Look) {
    let directories = directories(paths);
    let (tell, mut told) = mpsc::channel(1);
    let (mut watcher, mut watched) = (None, Vec::new());
    loop {
        // A directory may come late, or be replaced by another of the same name: then the old watch sees nothing.
        let now: Vec<_> = directories.iter().map(|directory| place(directory)).collect();
        if watcher.is_none() || now != watched {
            watcher = watch(&directories, tell.clone());
            watched = now;
        }
        let pause = match look() {
            Look::Doubtful => SETTLE,
            Look::Settled if watcher.is_some() => LOOK_EVERY,
            Look::Settled => LOOK_EVERY_UNWATCHED,
        };
        if timeout(pause, told.recv()).await.is_ok() {
            sleep(BURST).await;
            let _ = told.try_recv();
        }
    }
}

/// Swaps if something is new, and tells and counts what came of it.
pub(super) fn take(meters: &Meters, seen: Vec<Seen>, swap: impl FnOnce() -> Result<(), TlsError>) -> Look {
    let refused = |error: &TlsError| {
        meters.tls_reload_failures.up();
        tracing::error!(%error, "TLS files refused; the last good ones stay in force");
    };
    let (mut new, mut look) = (false, Look::Settled);
    for one in seen {
        match one {
            Seen::Same => {}
            Seen::New => new = true,
            Seen::Doubtful => look = Look::Doubtful,
            Seen::Bad(error) => refused(&error),
        }
    }
    if new {
        match swap() {
            Ok(()) => {
                meters.tls_reloads.up();
                tracing::info!("TLS files changed; new connections meet the new ones");
            }
            Err(error) => refused(&error),
        }
    }
    look
}

fn directories(paths: &[PathBuf]) -> Vec<PathBuf> {
    let parent = |path: &PathBuf| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut all: Vec<PathBuf> = paths.iter().map(parent).collect();
    all.sort();
    all.dedup();
    all
}

/// Which directory this is, whatever its name.
fn place(directory: &Path) -> Option<(u64, u64)> {
    let about = directory.metadata().ok()?;
    Some((about.dev(), about.ino()))
}

fn watch(directories: &[PathBuf], tell: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let tell = move |event: notify::Result<notify::Event>| {
        // Our own reads are accesses; a full channel already says "look".
        if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
            let _ = tell.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(tell).ok()?;
    for directory in directories {
        watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    }
    Some(watcher)
}
