//! The backends, both in one process: HTTP/1.1 or HTTP/2 by what a connection opens with; small answers, event streams, gRPC.
//!
//! `GET /counts` tells how many requests stable and the canary have had, and how many events or messages went out.

use super::{Done, grpc};
use std::{
    cell::Cell,
    io::{self, Write as _},
    rc::Rc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{LocalSet, spawn_local},
    time::{Instant, sleep_until},
};

/// Events of one stream, and how far apart they are.
pub(super) const EVENTS: u32 = 50;
pub(super) const EVENT_EVERY: Duration = Duration::from_millis(10);
/// The prediction, padded to about 300 bytes.
pub(super) const ANSWER: &str = r#"{"model_name":"digits","id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","outputs":[{"name":"p","shape":[1],"datatype":"INT64","data":[7]}]}"#;
const EVENT: &str = "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"token\"}}]}\n\n";

/// What was served.
#[derive(Default)]
pub(super) struct Counts {
    /// Requests to stable, and to the canary.
    pub(super) asked: [Cell<u64>; 2],
    /// Events or messages sent.
    pub(super) events: Cell<u64>,
}

pub(super) fn add_one(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}

/// Serves until it is ended; says its two ports first.
pub(super) fn serve() -> Done<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let counts = Rc::new(Counts::default());
        let (stable, canary) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        println!("{} {}", stable.local_addr()?.port(), canary.local_addr()?.port());
        io::stdout().flush()?;
        let other = spawn_local(accept(canary, 1, Rc::clone(&counts)));
        accept(stable, 0, counts).await?;
        other.await?
    })
}

async fn accept(listener: TcpListener, variant: usize, counts: Rc<Counts>) -> Done<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let counts = Rc::clone(&counts);
        // A connection that breaks off is the proxy's affair; the counts tell.
        spawn_local(async move {
            let _ = connection(stream, variant, &counts).await;
        });
    }
}

async fn connection(stream: TcpStream, variant: usize, counts: &Rc<Counts>) -> Done<()> {
    stream.set_nodelay(true)?;
    let mut first = [0; 4];
    while stream.peek(&mut first).await? < first.len() {
        if stream.peek(&mut first).await? == 0 {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
    if first == *b"PRI " { grpc::serve(stream, variant, counts).await } else { http1(stream, variant, counts).await }
}

/// What the head of a request asks for.
struct Head {
    bytes: usize,
    body: usize,
    path: Vec<u8>,
}

fn head(buffer: &[u8]) -> Done<Option<Head>> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(bytes) = request.parse(buffer)? else { return Ok(None) };
    let mut body = 0;
    for field in request.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            body = std::str::from_utf8(field.value)?.parse()?;
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("every body of the benches has a length, and proxies pass it on".into());
        }
    }
    Ok(Some(Head { bytes, body, path: request.path.unwrap_or_default().as_bytes().to_vec() }))
}

async fn http1(mut stream: TcpStream, variant: usize, counts: &Rc<Counts>) -> Done<()> {
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        let head = loop {
            if let Some(head) = head(&buffer)? {
                break head;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        buffer.drain(..head.bytes);
        let mut left = head.body;
        loop {
            let here = left.min(buffer.len());
            buffer.drain(..here);
            left -= here;
            if left == 0 {
                break;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        if head.path == b"/counts" {
            let [stable, canary] = counts.asked.each_ref().map(Cell::get);
            let text = format!("{stable} {canary} {}", counts.events.get());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            stream.write_all(answer.as_bytes()).await?;
            continue;
        }
        counts.asked.get(variant).map(add_one);
        if head.path.ends_with(b"/events") {
            events(&mut stream, counts).await?;
        } else {
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

async fn events(stream: &mut TcpStream, counts: &Counts) -> Done<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let chunk = format!("{:x}\r\n{EVENT}\r\n", EVENT.len());
    let mut next = Instant::now();
    for _ in 0..EVENTS {
        stream.write_all(chunk.as_bytes()).await?;
        add_one(&counts.events);
        next += EVENT_EVERY;
        sleep_until(next).await;
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(())
}
