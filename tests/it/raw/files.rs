//! Bad routes files in front of the real process: the last good one stays, little memory and time is spent, the next good
//! one works at once. And swaps without end leave nothing behind.

use super::{caller::Raw, metric, process::Process, table::get, unjudged};
use crate::support::{model, wait};
use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

const MB: u64 = 1 << 20;

/// Everything that is wrong with a file, by name.
fn bad(good: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (from, to) in "abcdefgh".chars().zip("bcdefghi".chars()) {
        let _ = writeln!(
            bomb,
            "{to}: &{to} [*{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}, *{from}]"
        );
    }
    let blocks: String = (0..2_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    let of = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1).into_bytes()
    };
    vec![
        ("empty", Vec::new()),
        ("only white space", b"\n\n   \n".to_vec()),
        ("only a comment", b"# nothing yet\n".to_vec()),
        ("null", b"null\n".to_vec()),
        ("half written", good.as_bytes()[..good.len() / 2].to_vec()),
        ("cut in the last line", good.as_bytes()[..good.len() - 10].to_vec()),
        ("binary", (0..=255).cycle().take(100_000).collect()),
        ("zeros", vec![0; 4096]),
        ("a UTF-16 file", good.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("an alias bomb", bomb.into_bytes()),
        ("merge keys", [good.as_bytes(), b"x: &x { a: 1 }\ny: { <<: *x }\n"].concat()),
        ("100,000 levels deep, flow", "[".repeat(100_000).into_bytes()),
        ("100,000 maps deep, flow", "{a: ".repeat(100_000).into_bytes()),
        ("100,000 levels deep, lists", "- ".repeat(100_000).into_bytes()),
        ("2,000 levels deep, blocks", blocks.into_bytes()),
        ("64 MB", [good.as_bytes(), "# x\n".repeat(16 << 20).as_bytes()].concat()),
        ("64 MB in one line", [b"routes: ", "x".repeat(64 << 20).as_bytes()].concat()),
        ("a million values", format!("routes: [{}]", "a,".repeat(900_000)).into_bytes()),
        ("an unknown field", of("    protocol: v2", "    protocoll: v2")),
        ("an unknown field on top", of("routes:", "rutes: []\nroutes:")),
        ("a key twice", of("    protocol: v2", "    protocol: v2\n    protocol: v1")),
        ("NaN", of("weight: 0", "weight: .nan")),
        ("NaN in letters", of("weight: 0", "weight: NaN")),
        ("infinity", of("weight: 0", "weight: .inf")),
        ("negative", of("weight: 0", "weight: -1")),
        ("negative zero", of("weight: 0", "weight: -0.5")),
        ("zero sum", of("weight: 100", "weight: 0")),
        ("more than all", of("weight: 0", "weight: 1")),
        ("past counting", of("weight: 0", "weight: 99999999999999999999")),
        ("hexadecimal", of("weight: 0", "weight: 0x0a")),
        ("no stable", of("role: stable", "role: previous")),
        ("two stables", of("role: canary", "role: stable")),
        ("two documents", [good.as_bytes(), b"---\n", good.as_bytes()].concat()),
        ("a tag", of("weight: 0", "weight: !!int 0")),
        ("a list for a map", of("match: { path: /v2/models/digits }", "match: [path]")),
        ("JSON that is no table", b"{\"routes\": {}}".to_vec()),
        ("HTML", b"<html><body>404</body></html>".to_vec()),
        (
            "a merge conflict",
            of("    protocol: v2", "<<<<<<< HEAD\n    protocol: v2\n=======\n    protocol: v1\n>>>>>>> x"),
        ),
    ]
}

#[test]
fn no_bad_file_takes_over_and_the_next_good_one_works_at_once() {
    let (stable, canary) = (model(200, 1), model(200, 2));
    let good = unjudged(stable, canary, 0, "");
    let process = Process::under("", &good, "");
    let (before, began) = (process.memory(), process.cpu());
    process.peak();
    let valid = |wanted: f64, what: &str| {
        wait(what, || ((metric(process.admin, &["coalmine_config_valid"]) - wanted).abs() < 0.5).then_some(()));
    };
    let serving = || Raw::sent(process.data, get("host: a\r\n")).answer(false).map(|answer| answer.status);
    let (mut slowest, mut dearest) = ((Duration::ZERO, ""), (0, ""));
    for (number, (name, text)) in bad(&good).into_iter().enumerate() {
        let begin = Instant::now();
        process.routes(&text);
        valid(0.0, name);
        slowest = slowest.max((begin.elapsed(), name));
        assert_eq!(serving(), Ok(200), "{name}");
        dearest = dearest.max((process.peak().saturating_sub(before), name));
        // Not the same text as before, so that it has to be read.
        let begin = Instant::now();
        process.routes(format!("# {number}\n{good}").as_bytes());
        valid(1.0, "the next good file");
        assert!(begin.elapsed() < Duration::from_secs(3), "{name}: the good file took {:?}", begin.elapsed());
        assert_eq!(serving(), Ok(200), "after {name}");
    }
    println!("the slowest was {slowest:?}, the dearest {} KB of memory ({})", dearest.0 / 1024, dearest.1);
    println!("{:?} of processor time in all", process.cpu().saturating_sub(began));
    assert!(slowest.0 < Duration::from_secs(5), "{slowest:?}");
    assert!(dearest.0 < 64 * MB, "{dearest:?}");
    let log = process.log.lock().unwrap().clone();
    let said = log.matches("WARN").count() + log.matches("ERROR").count();
    assert!(said >= 20, "hardly a word about any of it: {said} lines");
}

#[test]
fn what_is_no_file_at_all_leaves_the_last_good_one() {
    let address = model(200, 1);
    let good = unjudged(address, address, 0, "");
    let process = Process::under("", &good, "");
    let file = process.dir.path().join("routes/routes.yaml");
    let valid = |wanted: f64, what: &str| {
        wait(what, || ((metric(process.admin, &["coalmine_config_valid"]) - wanted).abs() < 0.5).then_some(()));
        assert_eq!(
            Raw::sent(process.data, get("host: a\r\n")).answer(false).map(|answer| answer.status),
            Ok(200),
            "{what}"
        );
    };
    fs::remove_file(&file).unwrap();
    valid(0.0, "vanished");
    process.routes(format!("{good}# 1\n").as_bytes());
    valid(1.0, "back");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    valid(0.0, "a directory");
    fs::remove_dir(&file).unwrap();
    symlink("/dev/zero", &file).unwrap();
    valid(0.0, "a link to a device without end");
    fs::remove_file(&file).unwrap();
    symlink("routes.yaml", &file).unwrap();
    valid(0.0, "a link to itself");
    fs::remove_file(&file).unwrap();
    symlink("nowhere", &file).unwrap();
    valid(0.0, "a link to nowhere");
    process.routes(format!("{good}# 2\n").as_bytes());
    valid(1.0, "back again");
    // The whole directory goes and returns.
    let (dir, aside) = (process.dir.path().join("routes"), process.dir.path().join("aside"));
    fs::rename(&dir, &aside).unwrap();
    valid(0.0, "the directory is gone");
    fs::rename(&aside, &dir).unwrap();
    valid(1.0, "the directory is back");
    process.routes(format!("{good}# 3\nbad").as_bytes());
    valid(0.0, "it is still being watched");
}

/// An hour of life at one swap each four seconds, as fast as they are taken.
#[test]
fn nine_hundred_swaps_leave_nothing_behind() {
    let (stable, canary) = (model(200, 1), model(200, 2));
    let process = Process::under("", &unjudged(stable, canary, 0, ""), "");
    let generation = || metric(process.admin, &["coalmine_config_generation"]);
    let mut raw = Raw::new(process.data);
    let mut swap = |number: u32| {
        let before = generation();
        process.routes(
            unjudged(stable, canary, number % 50, "").replace("uri: m/2", &format!("uri: m/{number}")).as_bytes(),
        );
        wait("the swap", || (generation() > before).then_some(()));
        raw.send(get("host: a\r\n"));
        assert_eq!(raw.answer(false).map(|answer| answer.status), Ok(200), "swap {number}");
    };
    (1..100).for_each(&mut swap);
    let (memory, descriptors, threads) = (process.memory(), process.descriptors(), process.threads());
    let begin = Instant::now();
    (100..1_000).for_each(&mut swap);
    let grown = process.memory().saturating_sub(memory);
    println!("900 swaps in {:?}: {} KB more", begin.elapsed(), grown / 1024);
    assert!(grown < 8 * MB, "{grown} bytes in 900 swaps");
    assert!(process.descriptors() <= descriptors + 4, "{descriptors} -> {}", process.descriptors());
    assert_eq!(process.threads(), threads);
}
