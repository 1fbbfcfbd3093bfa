//! gRPC on the h2 crate: the backend's side, and a caller that looks at status and trailers.

use super::{
    Done,
    backend::{Counts, EVENT_EVERY, EVENTS, add_one},
};
use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client, server, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use std::rc::Rc;
use tokio::{
    net::TcpStream,
    task::{LocalSet, spawn_local},
    time::{Instant, sleep_until},
};

/// A call, and a stream of messages.
pub(super) const CALL: &str = "/inference.GRPCInferenceService/ModelInfer";
pub(super) const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";
const WINDOW: u32 = 1 << 20;
const STREAMS_MAX: u32 = 1_000;

/// A length-prefixed message of this many bytes.
pub(super) fn message(bytes: u8) -> Bytes {
    let mut message = vec![0, 0, 0, 0, bytes];
    message.resize(5 + usize::from(bytes), b'x');
    message.into()
}

/// A V2 `ModelInferResponse` of 200 bytes and its prefix: a model's name, an id for padding, and one output, an INT64 of 7.
fn prediction() -> Bytes {
    let output = b"\x2a\x12\x0a\x01p\x12\x05INT64\x1a\x01\x01\x2a\x03\x1a\x01\x07";
    let mut message = b"\0\0\0\0\xc8\x0a\x06digits\x1a".to_vec();
    let padding = 205 - message.len() - 2 - output.len();
    // A length from 128 on takes two bytes.
    message.extend([u8::try_from(padding & 0x7f).unwrap_or(0) | 0x80, 1]);
    message.resize(message.len() + padding, b'x');
    message.extend(output);
    message.into()
}

pub(super) async fn serve(stream: TcpStream, variant: usize, counts: &Rc<Counts>) -> Done<()> {
    let mut builder = server::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(16 * WINDOW).max_concurrent_streams(STREAMS_MAX);
    let mut connection = builder.handshake::<_, Bytes>(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let counts = Rc::clone(counts);
        spawn_local(async move {
            counts.asked.get(variant).map(add_one);
            let _ = answer(request, respond, &counts).await;
        });
    }
    Ok(())
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, counts: &Counts) -> Done<()> {
    let streams = request.uri().path() == STREAM;
    read(request.into_body()).await?;
    let response = Response::builder().header("content-type", "application/grpc").body(())?;
    let mut body = respond.send_response(response, false)?;
    if streams {
        let mut next = Instant::now();
        for _ in 0..EVENTS {
            send(&mut body, message(100))?;
            add_one(&counts.events);
            next += EVENT_EVERY;
            sleep_until(next).await;
        }
    } else {
        send(&mut body, prediction())?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers)?;
    Ok(())
}

fn send(body: &mut SendStream<Bytes>, bytes: Bytes) -> Result<(), h2::Error> {
    body.reserve_capacity(bytes.len());
    body.send_data(bytes, false)
}

/// Reads a body to its end; how many bytes it had.
async fn read(mut body: RecvStream) -> Done<usize> {
    let mut sum = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        sum += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    if body.trailers().await?.is_some_and(|trailers| trailers.get("grpc-status").is_none_or(|status| status != "0")) {
        return Err("grpc-status is not 0".into());
    }
    Ok(sum)
}

/// Makes a few calls and looks at everything in their answers: rates alone do not show a lost trailer.
pub(super) fn check(port: u16, path: &str) -> Done<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut sender, connection) = client::handshake(stream).await?;
        spawn_local(async move {
            let _ = connection.await;
        });
        for _ in 0..10 {
            sender = sender.ready().await?;
            let request = Request::post(format!("http://127.0.0.1:{port}{path}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(())?;
            let (response, mut body) = sender.send_request(request, false)?;
            body.send_data(message(200), true)?;
            let mut body = response.await?.into_body();
            let mut bytes = 0;
            while let Some(data) = body.data().await {
                let data = data?;
                bytes += data.len();
                body.flow_control().release_capacity(data.len())?;
            }
            let trailers = body.trailers().await?.ok_or("no trailers")?;
            let expected = if path == STREAM { 105 * usize::try_from(EVENTS)? } else { 205 };
            if trailers.get("grpc-status").is_none_or(|status| status != "0") || bytes != expected {
                return Err(format!(
                    "{path}: {bytes} bytes of {expected}, trailers {trailers:?} ({})",
                    Reason::NO_ERROR
                )
                .into());
            }
        }
        Ok(())
    })
}
