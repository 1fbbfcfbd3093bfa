//! Runs a table of inputs: each on a connection of its own, with the backend's record read strictly after each.

use super::{
    Stage,
    caller::{Answer, End, Raw},
    recorder::Recorder,
};
use crate::support::wait;
use std::time::{Duration, Instant};

/// What has to become of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expect {
    /// One answer with this status, then the end; the backend saw nothing.
    Refused(u16),
    /// So many answers of 200; the connection goes on.
    Passed(usize),
    /// So many answers of 200, then the end.
    PassedLast(usize),
    /// So many answers of 200, then one with this status, then the end.
    PassedThen(usize, u16),
    /// The body is broken: this status and the end; the backend saw at most the beginning of one request, and then the end.
    Broken(u16),
    /// The end, after an answer of 4xx or none; the backend saw nothing.
    Closed,
}

/// A connection that must end does so within this time, not only when it has been idle for too long.
const SOON: Duration = Duration::from_secs(2);

/// One input.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) send: Vec<u8>,
    pub(super) expect: Expect,
}

pub(super) fn case(name: &str, send: impl AsRef<[u8]>, expect: Expect) -> Case {
    Case { name: name.to_owned(), send: send.as_ref().to_vec(), expect }
}

/// A path that the route catches.
pub(super) const PATH: &str = "/v2/models/digits";
/// What must never become a request of its own.
pub(super) const SMUGGLED: &str = "GET /v2/models/digits/smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// A GET with these lines.
pub(super) fn get(lines: &str) -> String {
    format!("GET {PATH} HTTP/1.1\r\n{lines}\r\n")
}

/// A POST to host `a` with these lines, and whatever comes after the head.
pub(super) fn post(lines: &str, rest: &str) -> String {
    format!("POST {PATH} HTTP/1.1\r\nhost: a\r\n{lines}\r\n{rest}")
}

/// A POST of chunks.
pub(super) fn chunked(rest: &str) -> String {
    post("transfer-encoding: chunked\r\n", rest)
}

/// Runs all cases, and panics with every one that did not end as it has to.
pub(super) fn check(cases: &[Case]) {
    // What stalls runs under short limits, which a busy machine would make others feel. What may leave the beginning of a
    // request behind keeps to itself: the backend may read that only after the next case has begun.
    let stalls = |case: &&Case| case.expect == Expect::Broken(408);
    let broken = |case: &&Case| matches!(case.expect, Expect::Broken(_));
    let mut problems = check_under("    timeouts: { idle: 500ms, first_byte: 500ms }\n", cases.iter().filter(stalls));
    problems.extend(check_under("", cases.iter().filter(|case| broken(case) && !stalls(case))));
    problems.extend(check_under("", cases.iter().filter(|case| !broken(case))));
    println!("{} inputs", cases.len());
    assert!(problems.is_empty(), "{} of {} inputs:\n{}", problems.len(), cases.len(), problems.join("\n"));
}

/// Runs cases against one Coalmine; `more` is lines of its route.
fn check_under<'a>(more: &str, cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let backend = Recorder::echo();
    let stage = Stage::with(backend.address, backend.address, 0, more, |settings| {
        settings.connections.header_read = SOON * 2;
    });
    let mut problems = Vec::new();
    for case in cases {
        backend.forget();
        if let Err(why) = run(case, &stage, &backend) {
            let sent: String = String::from_utf8_lossy(&case.send).chars().take(300).collect();
            problems.push(format!("{} ({:?}): {why}\n    {sent:?}", case.name, case.expect));
        }
        // Whatever that was, the next caller is served.
        let mut next = Raw::sent(stage.app.data, get("host: a\r\n"));
        match next.answer(false) {
            Ok(answer) if answer.status == 200 => {}
            other => problems.push(format!("{}: the next caller got {other:?}", case.name)),
        }
    }
    let blamed = stage.metric(&["coalmine_requests_total{", "\"backend_"]);
    if blamed > 0.0 {
        problems.push(format!("{blamed} of these were counted against the backend"));
    }
    stage.stop();
    problems
}

fn run(case: &Case, stage: &Stage, backend: &Recorder) -> Result<(), String> {
    let mut raw = Raw::sent(stage.app.data, &case.send);
    let head = case.send.starts_with(b"HEAD ");
    let mut answers = Vec::new();
    let wanted = match case.expect {
        Expect::Passed(n) => n,
        _ => usize::MAX,
    };
    let end = loop {
        if answers.len() == wanted {
            break None;
        }
        let asked = Instant::now();
        match raw.answer(head) {
            Ok(answer) => answers.push(answer),
            Err(_) if asked.elapsed() > SOON => break None,
            Err(end) => break Some(end),
        }
    };
    judge(case, &answers, end, backend)?;
    if let Expect::Passed(_) = case.expect {
        // Nothing is left over on the connection: the next answer is that to the next request.
        raw.send("GET /v2/models/digits/next HTTP/1.1\r\nhost: a\r\n\r\n");
        let next = raw.answer(false).map_err(|end| format!("the connection did not go on: {end:?}"))?;
        if next.text() != "/v2/models/digits/next" {
            return Err(format!("the next answer on the connection was {next:?}"));
        }
    }
    Ok(())
}

fn judge(case: &Case, answers: &[Answer], end: Option<End>, backend: &Recorder) -> Result<(), String> {
    let seen = backend.read()?;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let complete = seen.requests.len();
    let is = |good: bool| {
        let why = || format!("answers {statuses:?}, end {end:?}, {complete} requests and {} cut", seen.unfinished);
        if good { Ok(()) } else { Err(why()) }
    };
    let closed = end == Some(End::Closed);
    let ok = |n: usize| statuses.len() == n && statuses.iter().all(|status| *status == 200) && complete == n;
    let nothing = complete == 0 && seen.unfinished == 0;
    if seen.requests.iter().any(|request| request.target.contains("smuggled")) {
        return Err("the smuggled request went on".to_owned());
    }
    match case.expect {
        Expect::Refused(status) => is(statuses == [status] && closed && nothing)?,
        Expect::Closed => {
            is(closed && nothing && statuses.len() <= 1 && statuses.iter().all(|s| (400..500).contains(s)))?;
        }
        Expect::Passed(n) => is(ok(n) && seen.unfinished == 0)?,
        Expect::PassedLast(n) => is(ok(n) && closed && seen.unfinished == 0)?,
        Expect::PassedThen(n, status) => {
            let last = statuses.last() == Some(&status) && statuses.len() == n + 1;
            is(last && statuses[..n].iter().all(|s| *s == 200) && complete == n && seen.unfinished == 0 && closed)?;
        }
        Expect::Broken(status) => {
            is(statuses == [status] && closed && complete == 0)?;
            wait("the backend's connection to be closed", || (backend.read().ok()?.hanging == 0).then_some(()));
        }
    }
    // Said about every refusal: why, in words, and nothing that could be taken for the backend's.
    for answer in answers.iter().filter(|answer| answer.status >= 400) {
        if answer.field("x-coalmine-variant").is_some() {
            return Err(format!("a refusal that names a variant: {answer:?}"));
        }
    }
    Ok(())
}
