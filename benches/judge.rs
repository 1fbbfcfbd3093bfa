//! What deciding costs: a look of the judge and its state, a request's entry in the tallies, a sticky draw, a ticket sealed and opened, an
//! event of a stream read in passing, the framing of a request; and `replay` of a million requests. The entry is counted in instructions
//! too, where valgrind is installed.
#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench prints, and runs itself under valgrind")]

use coalmine::{
    config,
    core::{
        clamp::Clamps,
        judge::{Arm, Block, LabelBlock, Policy, RequestBlock, trial::Trial},
        name::{ReleaseKey, RouteName, VariantName},
        route::Protocol,
        split::Draw,
        stats::histogram::Histogram,
        tally::{Board, Outcome, VariantCells},
        ticket::{Prediction, Ticket, TicketKey},
        wire::Wire,
    },
    proxy::events::Scanner,
};
use criterion::{Criterion, criterion_group};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    env,
    fmt::Write as _,
    fs,
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

/// Most bytes of evidence that a release may keep.
const STATE_MAX: usize = 16 * 1024;

fn arm(requests: u64) -> Arm {
    let mut latency = Histogram::default();
    for bucket in 0..40 {
        latency.add(bucket, requests / 40);
    }
    Arm { completed: requests, assigned: requests, errors: requests / 500, latency, streams: None }
}

/// All signals, 4,000 requests and 400 labels.
fn block() -> Block {
    Block {
        requests: Some(RequestBlock { canary: arm(400), stable: arm(3600), share: Some(0.1), warming_up: false }),
        labels: Some(LabelBlock {
            canary: 40,
            stable: 360,
            canary_wrong_micro: 3_000_000,
            stable_wrong_micro: 25_000_000,
        }),
        ..Block::default()
    }
}

fn judge(c: &mut Criterion) {
    let block = block();
    let mut trial = Trial::new(&Policy::default());
    c.bench_function("judge: one look, all signals, 4,000 requests", |b| b.iter(|| trial.observe(black_box(&block))));
}

fn split(c: &mut Criterion) {
    let route = RouteName::new("digits").unwrap_or_else(|error| unreachable!("{error}"));
    c.bench_function("split: a sticky draw", |b| {
        b.iter(|| Draw::sticky(black_box(&route), ReleaseKey(7), black_box(b"user-4711")));
    });
}

fn ticket(c: &mut Criterion) {
    let name = |error| -> ! { unreachable!("{error}") };
    let ticket = Ticket {
        route: RouteName::new("digits").unwrap_or_else(|error| name(error)),
        release: ReleaseKey(7),
        variant: VariantName::new("v2").unwrap_or_else(|error| name(error)),
        at_ms: 1_800_000_000_000,
        nonce: 42,
        prediction: Prediction::of_json("7"),
    };
    let key = TicketKey::new(&[7; 32]);
    let sealed = ticket.seal(&key);
    c.bench_function("ticket: seal", |b| b.iter(|| black_box(&ticket).seal(&key)));
    c.bench_function("ticket: open", |b| b.iter(|| Ticket::open(black_box(&sealed), &key)));
}

/// As an `OpenAI` server sends a token: some 200 bytes, one event a chunk.
const EVENT: &[u8] = b"data: {\"id\":\"chatcmpl-9f8e7d6c5b4a\",\"object\":\"chat.completion.chunk\",\"created\":1790000000,\
\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

fn events(c: &mut Criterion) {
    let mut elapsed = Duration::ZERO;
    let Some(mut scanner) = Scanner::new(&Protocol::OpenAi) else { return };
    c.bench_function(&format!("events: one of {} bytes", EVENT.len()), |b| {
        b.iter(|| {
            elapsed += Duration::from_millis(10);
            scanner.feed(black_box(EVENT), elapsed, &mut |gap| {
                black_box(gap);
            });
        });
    });
    assert!(scanner.summary().fault().is_none() && scanner.summary().tokens > 0);
}

/// As a script asks a model.
const POST: &[u8] =
    b"POST /v2/models/digits/infer HTTP/1.1\r\nhost: models.example.com\r\nuser-agent: python-requests/2.32.3\r\n\
accept-encoding: gzip, deflate\r\naccept: */*\r\nconnection: keep-alive\r\n\
content-type: application/json\r\ncontent-length: 66\r\n\r\n\
{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1],\"data\":[1]}]}";

fn wire(c: &mut Criterion) {
    let mut wire = Wire::default();
    c.bench_function(&format!("wire: a POST of {} bytes", POST.len()), |b| b.iter(|| wire.check(black_box(POST))));
    assert!(wire.heads() > 0 && !wire.is_in_head());
}

/// A small request's whole entry, as `proxy/observe` makes it.
fn count(cells: &VariantCells, us: u64) {
    cells.begun.add(1);
    cells.assigned.add(1);
    cells.bytes_in.add(66);
    cells.first_byte.observe_us(us);
    if let Some(cell) = cells.status_classes.get(1) {
        cell.add(1);
    }
    cells.bytes_out.add(120);
    cells.ended.add(1);
    cells.outcome(Outcome::Ok).add(1);
    cells.latency.observe_us(us);
    let endpoint = cells.endpoint(3);
    endpoint.completed.add(1);
    endpoint.latency.observe_us(us);
}

fn with_cells<T>(then: impl FnOnce(&VariantCells) -> T) -> T {
    let text = include_str!("../config/minimal.yaml");
    let (snapshot, _) = config::read(text, &Clamps::default()).unwrap_or_else(|problems| unreachable!("{problems:?}"));
    let board = Board::default().next(&snapshot, 1);
    then(board.cells(0, 1, 0).unwrap_or_else(|| unreachable!("the file has two variants")))
}

fn tally(c: &mut Criterion) {
    with_cells(|cells| c.bench_function("tally: a request's entry", |b| b.iter(|| count(cells, black_box(12_345)))));
}

/// Entries made by this very program under callgrind: all instructions of `n` of them and of its start.
fn instructions(n: u64) -> Option<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe().ok()?);
    let output = command.args([ENTRIES, &n.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find_map(|line| line.split_once("Collected :"))?.1.trim().parse().ok()
}

/// So many requests are replayed.
const REPLAYED: u64 = 1_000_000;

/// A recording of two models that are alike: a tenth goes to the canary, one request in five is labelled.
fn recording() -> String {
    let mut dice = StdRng::seed_from_u64(7);
    let mut text = String::from("t_ms,variant,latency_ms,ok,correct,label_t_ms,split\n");
    for at in 0..REPLAYED {
        let variant = if dice.random_bool(0.1) { "canary" } else { "stable" };
        let (ms, ok) = (10.0 + 20.0 * dice.random::<f64>().powi(4), u8::from(!dice.random_bool(0.002)));
        let label = match dice.random_bool(0.2) {
            true => format!("{},{}", u8::from(dice.random_bool(0.9)), at + dice.random_range(1_000..60_000)),
            false => ",".to_owned(),
        };
        let _ = writeln!(text, "{at},{variant},{ms:.2},{ok},{label},10");
    }
    text
}

/// The command itself, from its start to its end, the best of five. Margins of 0 keep it from deciding before the last request.
fn replay() {
    let file = env::temp_dir().join(format!("coalmine-bench-{}.csv", std::process::id()));
    let text = recording();
    fs::write(&file, &text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let margins = ["errors.pass_margin=0", "errors.pass_ratio=1", "latency.pass=0%", "latency.pass_tail=0%"];
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coalmine"));
        command.arg("replay").arg(&file).args(["--may-drop", "0"]).args(margins.iter().flat_map(|set| ["--set", set]));
        let began = Instant::now();
        let output = command.output().unwrap_or_else(|error| panic!("replay: {error}"));
        best = best.min(began.elapsed());
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("\"keep\""), "{told}{output:?}");
    }
    let _ = fs::remove_file(&file);
    println!(
        "replay: {REPLAYED} requests ({} MB) in {:.2} s, of at most 2",
        text.len() / 1_000_000,
        best.as_secs_f64()
    );
}

const ENTRIES: &str = "--entries";

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let Some(n) = arguments.windows(2).find_map(|pair| pair.first().filter(|a| *a == ENTRIES).and(pair.last())) {
        let n: u64 = n.parse().unwrap_or_default();
        return with_cells(|cells| (0..n).for_each(|i| count(black_box(cells), 1_000 + i % 100_000)));
    }
    let mut trial = Trial::new(&Policy::default());
    (0..50).for_each(|_| _ = trial.observe(&block()));
    let state = trial.saved().len() * size_of::<u64>();
    println!("judge: {state} bytes of state a release, of at most {STATE_MAX}");
    assert!(state <= STATE_MAX, "more state than a release may have");
    match instructions(1_000).zip(instructions(101_000)) {
        Some((few, many)) => println!("tally: {} instructions a request's entry", (many - few) / 100_000),
        None => println!("tally: not counted, as there is no valgrind"),
    }
    replay();
    benches();
    Criterion::default().configure_from_args().final_summary();
}

criterion_group!(benches, judge, tally, split, ticket, events, wire);
