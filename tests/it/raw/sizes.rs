//! Too much of anything, and callers that leave in the middle.

use super::{
    Stage,
    caller::{End, Raw},
    chunks, framing, heads, hosts,
    recorder::Recorder,
    table::{Case, Expect::*, PATH, case, check, chunked, get, post},
};
use crate::support::wait;
use std::{
    collections::HashSet,
    io::{Read as _, Write as _},
};

fn cases() -> Vec<Case> {
    let with = |line: &str| get(&format!("host: a\r\n{line}\r\n"));
    let many = |n: usize| (0..n).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    vec![
        case("a long target", format!("GET {PATH}/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(8_000)), Passed(1)),
        case(
            "a target of 70 KB",
            format!("GET {PATH}/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(70_000)),
            Refused(431),
        ),
        case(
            "a target of a megabyte",
            format!("GET {PATH}/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20)),
            Refused(431),
        ),
        case("a long value", with(&format!("x: {}", "y".repeat(16_000))), Passed(1)),
        case("a value of a megabyte", with(&format!("x: {}", "y".repeat(1 << 20))), Refused(431)),
        case("a name of 100 KB", with(&format!("{}: y", "x".repeat(100_000))), Refused(431)),
        case("a name of a megabyte", with(&format!("{}: y", "x".repeat(1 << 20))), Refused(431)),
        case("90 fields", get(&format!("host: a\r\n{}", many(90))), Passed(1)),
        case("101 fields", get(&format!("host: a\r\n{}", many(100))), Refused(431)),
        case("10,000 fields", get(&format!("host: a\r\n{}", many(10_000))), Refused(431)),
        case("a megabyte of Cookie", with(&format!("cookie: {}", "a=b; ".repeat(200_000))), Refused(431)),
        case("a long method", format!("{} {PATH} HTTP/1.1\r\nhost: a\r\n\r\n", "A".repeat(100)), Passed(1)),
        case(
            "a method of a megabyte",
            format!("{} {PATH} HTTP/1.1\r\nhost: a\r\n\r\n", "A".repeat(1 << 20)),
            Refused(431),
        ),
        case("empty lines without end", "\r\n".repeat(500_000), Closed),
    ]
}

#[test]
fn too_much_of_anything_is_refused() {
    check(&cases());
}

#[test]
fn there_are_more_than_a_hundred_and_fifty_inputs_all_different() {
    let all = [framing::cases(), chunks::cases(), heads::cases(), hosts::cases(), cases()];
    let different: HashSet<Vec<u8>> = all.into_iter().flatten().map(|case| case.send).collect();
    println!("{} different inputs", different.len());
    assert!(different.len() >= 150, "{}", different.len());
}

#[test]
fn a_caller_that_leaves_at_any_byte_leaves_no_request_behind_that_looks_complete() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let whole =
        [post("content-length: 5\r\nx-id: 1\r\n", "abcde"), chunked("2\r\nab\r\n3\r\ncde\r\n0\r\nx: y\r\n\r\n")];
    for text in &whole {
        for cut in 0..text.len() {
            drop(Raw::sent(stage.app.data, &text[..cut]));
        }
    }
    for text in &whole {
        let mut raw = Raw::sent(stage.app.data, text);
        assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
    }
    let seen = wait("the cut ones to be closed", || Some(backend.seen()).filter(|seen| seen.hanging == 0));
    assert_eq!(seen.requests.len(), whole.len(), "one of the cut ones looked complete");
    assert!(seen.requests.iter().all(|request| request.body == b"abcde"));
    let blamed = stage.metric(&["coalmine_requests_total{", "\"backend_"]);
    assert!(blamed < 0.5, "{blamed} callers that left were counted against the backend");
    stage.stop();
}

#[test]
fn who_is_refused_in_the_middle_of_much_can_send_it_and_read_why() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let much = vec![b'x'; 1 << 20];
    let large = post("content-length: 99999999999\r\n", "");
    for (head, status) in [(get("host: a\r\nx : y\r\n"), "400"), (large, "413")] {
        let mut raw = Raw::new(stage.app.data);
        for piece in [head.as_bytes()].into_iter().chain(much.chunks(16 * 1024)) {
            raw.stream.write_all(piece).expect("it is read on");
        }
        let mut all = Vec::new();
        raw.stream.read_to_end(&mut all).expect("an end, not a reset");
        let all = String::from_utf8_lossy(&all).into_owned();
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{all}");
    }
    // But not for ever.
    let mut raw = Raw::sent(stage.app.data, get("host: a\r\nx : y\r\n"));
    let taken = (0..1024).take_while(|_| raw.stream.write_all(&much).is_ok()).count();
    assert!(taken < 64, "{taken} MB were taken after a refusal");
    stage.stop();
}

#[test]
fn a_request_in_single_bytes_is_the_same_request() {
    let backend = Recorder::echo();
    let stage = Stage::new(backend.address, backend.address, 0, "");
    let mut raw = Raw::new(stage.app.data);
    for byte in chunked("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n").bytes() {
        raw.send([byte]);
    }
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200));
    let seen = backend.seen();
    assert_eq!((seen.requests.len(), &seen.requests[0].body[..]), (1, &b"abcde"[..]));
    // And an answer to one that was too large comes although its body is never read.
    let mut raw = Raw::sent(stage.app.data, post("content-length: 99999999999\r\n", &"x".repeat(1 << 20)));
    assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(413));
    assert_eq!(raw.end(), End::Closed);
    stage.stop();
}
