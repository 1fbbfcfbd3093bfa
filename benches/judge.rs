//! What deciding costs: a look of the judge, a sticky draw, a ticket sealed and opened, an event of a stream read in passing, the
//! framing of a request.

use coalmine::{
    core::{
        judge::{Arm, Block, LabelBlock, Policy, RequestBlock, trial::Trial},
        name::{ReleaseKey, RouteName, VariantName},
        route::Protocol,
        split::Draw,
        stats::histogram::Histogram,
        ticket::{Prediction, Ticket, TicketKey},
        wire::Wire,
    },
    proxy::events::Scanner,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, time::Duration};

fn arm(requests: u64) -> Arm {
    let mut latency = Histogram::default();
    for bucket in 0..40 {
        latency.add(bucket, requests / 40);
    }
    Arm { completed: requests, assigned: requests, errors: requests / 500, latency, streams: None }
}

fn judge(c: &mut Criterion) {
    let block = Block {
        requests: Some(RequestBlock { canary: arm(400), stable: arm(3600), share: Some(0.1), warming_up: false }),
        labels: Some(LabelBlock {
            canary: 40,
            stable: 360,
            canary_wrong_micro: 3_000_000,
            stable_wrong_micro: 25_000_000,
        }),
        ..Block::default()
    };
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

criterion_group!(benches, judge, split, ticket, events, wire);
criterion_main!(benches);
