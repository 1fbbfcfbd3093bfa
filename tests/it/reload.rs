//! A ConfigMap directory that is swapped twenty times a second under load, as the kubelet does it.

use super::support::{Caller, model, routes, start, stop, wait};
use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

const SWAPS: u32 = 400;
const EVERY: Duration = Duration::from_millis(50);

/// A new timestamped directory, `..data` renamed over to it, the old directory removed.
fn swap(dir: &Path, number: u32, text: &str) {
    let fresh = format!("..{number}");
    fs::create_dir(dir.join(&fresh)).unwrap();
    fs::write(dir.join(&fresh).join("routes.yaml"), text).unwrap();
    symlink(&fresh, dir.join("..data_tmp")).unwrap();
    fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    if let Some(old) = number.checked_sub(1) {
        fs::remove_dir_all(dir.join(format!("..{old}"))).unwrap();
    }
}

#[test]
fn twenty_swaps_a_second_for_twenty_seconds_fail_no_request_and_cut_no_connection() {
    let (mount, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = mount.path();
    let (stable, canary) = (model(200, 1), model(200, 2));
    swap(dir, 0, &routes(stable, canary, 1));
    symlink("..data/routes.yaml", dir.join("routes.yaml")).unwrap();
    let app = start(dir, state.path());
    let (over, requests) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // One connection for all its requests: if it is cut, `infer` panics.
                let mut caller = Caller::new(app.data);
                while !over.load(Relaxed) {
                    let answer = caller.infer();
                    assert_eq!(answer.status, 200, "{answer:?}");
                    requests.fetch_add(1, Relaxed);
                }
            });
        }
        let begin = Instant::now();
        for number in 1..=SWAPS {
            swap(dir, number, &routes(stable, canary, 1 + number % 90));
            wait("the next swap's time", || (begin.elapsed() >= EVERY * number).then_some(()));
        }
        over.store(true, Relaxed);
    });
    assert!(requests.load(Relaxed) > u64::from(SWAPS), "hardly any load: {requests:?}");
    let mut admin = Caller::new(app.admin);
    let last = format!(" 0.{:02}", 1 + SWAPS % 90);
    wait("the last file", || {
        let text = admin.call("GET", "/metrics", "", "").body;
        let weight =
            text.lines().find(|line| ["weight_ratio{", "v2", "effective"].iter().all(|part| line.contains(part)))?;
        weight.ends_with(&last).then_some(())
    });
    stop(app);
}
