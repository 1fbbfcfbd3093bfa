//! Time to safety, in one run: a real process at 1,000 requests a second, a canary that turns bad, Git over ssh.

use super::{
    backend::Backend,
    git_servers::{over_ssh, path, serve},
    githost::{SshHost, key},
    repo::Repo,
    support::{Caller, model, routes, wait},
};
use serde_json::Value;
use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// Requests a second, over all callers.
const RATE: u64 = 1_000;
const CALLERS: u64 = 8;
/// What the issue promises, from the verdict on.
const LAST_REQUEST_MS_MAX: i64 = 1_000;
const PUSHED_MS_MAX: i64 = 10_000;

/// Sends at its share of the rate until it is over, whether or not answers come in time; counts the answers.
fn call(data: SocketAddr, over: &AtomicBool, answers: &AtomicU64) {
    let (mut caller, begun) = (Caller::new(data), Instant::now());
    for n in 1.. {
        if over.load(Relaxed) {
            return;
        }
        caller.infer();
        answers.fetch_add(1, Relaxed);
        // The callers' own time: this is a load, not a wait for something.
        let due = Duration::from_micros(n * 1_000_000 * CALLERS / RATE);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

/// When the log has a line with these words, milliseconds since 1970 UTC.
fn told(log: &str, words: &str) -> Option<i64> {
    let line: Value = serde_json::from_str(log.lines().find(|line| line.contains(words))?).unwrap();
    let at: jiff::Timestamp = line["timestamp"].as_str().unwrap().parse().unwrap();
    Some(at.as_millisecond())
}

#[test]
fn from_the_verdict_the_canary_is_out_of_traffic_within_a_second_and_the_commit_is_pushed_within_ten() {
    let (bad, last) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (turns, seen) = (bad.clone(), last.clone());
    let canary = Backend::new(move |_, stream| {
        seen.store(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap(), Relaxed);
        let status = if turns.load(Relaxed) { 500 } else { 200 };
        stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes()).ok()
    });
    let text = routes(model(200, 1), canary.address, 30);
    let (repo, host) = (Repo::new(&text), SshHost::new());
    let signing = key(&repo.path("."), "signing");
    let git = over_ssh(&repo, &host, &format!("host_key: {}\n  signing_key: '{}'", host.host_key(), signing.display()));
    let process = serve(&repo, &text, &git, &path());
    let (over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let log = || process.log.lock().unwrap().clone();
    thread::scope(|scope| {
        let begun = Instant::now();
        (0..CALLERS).for_each(|_| drop(scope.spawn(|| call(process.data, &over, &answers))));
        wait("two seconds of a good canary", || (answers.load(Relaxed) >= 2 * RATE).then_some(()));
        bad.store(true, Relaxed);
        let verdict = wait("the verdict", || told(&log(), "\"Fail("));
        // More than another second of requests, of which the canary gets none.
        let more = answers.load(Relaxed) + 2 * RATE;
        wait("two more seconds of requests", || (answers.load(Relaxed) >= more).then_some(()));
        let rate = answers.load(Relaxed) as f64 / begun.elapsed().as_secs_f64();
        over.store(true, Relaxed);
        let last = i64::try_from(last.load(Relaxed)).unwrap();
        let pushed = wait("the commit to be pushed and read back", || told(&log(), "\"committed\""));
        println!(
            "at {rate:.0} requests/s: verdict to last canary request {} ms, verdict to pushed over ssh {} ms",
            last - verdict,
            pushed - verdict
        );
        assert!(rate > 0.9 * RATE as f64, "{rate} requests/s are not what was promised for");
        assert!(last - verdict < LAST_REQUEST_MS_MAX && pushed - verdict < PUSHED_MS_MAX);
    });
    assert_eq!(repo.commits(), 2);
    assert!(repo.message().starts_with("rollback(digits): v2 30 % -> 0 %, rejected"), "{}", repo.message());
}
