//! One connection of a caller: finds out what it speaks, serves it, and ends it politely.

use super::{
    body::ResponseBody,
    flow::Flow,
    headers::Caller,
    thread::Thread,
    used::{Held, NoHead, Streams, Used, ending},
};
use crate::io::{
    checked::{Answers, Checked},
    gather::Gather,
    listener::Guarded,
    meters::Refusal,
    tls::ServerTls,
};
use http::{Request, StatusCode};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::Poll,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy, sink},
    sync::watch,
    time::{Duration, Instant, sleep, timeout},
};

/// What a client that speaks HTTP/2 without asking first begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest head of a request; a larger one is answered with 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A kept HTTP/1.1 connection gives its buffers back after so long without a request.
const QUIET_AFTER: Duration = Duration::from_secs(1);
/// How long a head that is not complete may hold a connection that is to end.
const HALF_A_HEAD: Duration = Duration::from_secs(1);
/// A connection that ends in the middle of what its caller sends is read on for so long, and so much.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes that a connection reads at a time, and ahead of what is passed on. Half as many cost a large upload twice the system calls;
/// more of them would be more memory for each upload whose backend does not read.
const READ_BYTES_MAX: usize = 128 * 1024;
/// Requests on one HTTP/2 connection at a time.
const STREAMS_MAX: u32 = 256;
/// What one request body over HTTP/2 may have on its way to us, and all of a connection together.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What of one answer over HTTP/2 may wait for its caller.
const SEND_BYTES_MAX: usize = 128 * 1024;
/// Streams that a client opened and reset at once, before the connection is ended (CVE-2023-44487).
const RESETS_MAX: usize = 64;
/// Streams that we had to reset for the client's faults, before the connection is ended (CVE-2025-8671).
const FAULTS_MAX: usize = 256;
/// A silent HTTP/2 caller is asked so often whether it lives.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_LIMIT: Duration = Duration::from_secs(20);
/// Once it was told that we close, an HTTP/2 caller without streams may take so long to say that it has heard.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Becomes `true` when connections are to end.
pub(super) type Closing = watch::Receiver<bool>;

/// One connection of a caller.
pub(super) struct Connection {
    pub(super) thread: Rc<Thread>,
    pub(super) caller: Caller,
    pub(super) closing: Closing,
}

impl Connection {
    /// HTTP/1.1, or HTTP/2 if the caller begins with its preface.
    pub(super) async fn plain(&mut self, mut stream: Guarded) {
        let begins = {
            let sniff = timeout(self.thread.settings.header_read, stream.begins_with(PREFACE));
            tokio::select! {
                begins = sniff => begins,
                _ = self.closing.wait_for(|closing| *closing) => return,
            }
        };
        match begins {
            Ok(Ok(true)) => Box::pin(self.http2(Gather::new(stream))).await,
            Ok(Ok(false)) => {
                let (unsent, (mut stream, answers)) = (stream.unsent(), Checked::new(stream));
                while let Some(quiet) = self.http1(stream, &answers, &unsent, Some(QUIET_AFTER)).await {
                    stream = quiet;
                    if !self.parked(stream.get_ref()).await {
                        return;
                    }
                }
            }
            // It broke, or said nothing in time.
            Ok(Err(_)) | Err(_) => {}
        }
    }

    pub(super) async fn tls(&mut self, stream: Guarded, tls: &ServerTls) {
        let unsent = stream.unsent();
        let gather = Gather::new(stream);
        let handshake = timeout(self.thread.settings.handshake, tls.acceptor().accept(gather.clone()));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            _ = self.closing.wait_for(|closing| *closing) => return,
        };
        let Ok(Ok(stream)) = shaken else {
            self.thread.meters.tls_handshake_failures.up();
            return;
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2_over(stream, gather).await;
        } else {
            let (stream, answers) = Checked::new(stream);
            // Never parked: what TLS has read already does not make the socket readable.
            self.http1(stream, &answers, &unsent, None).await;
        }
    }

    /// Waits for the caller's next byte with hardly anything in memory; whether there is one.
    async fn parked(&mut self, stream: &Guarded) -> bool {
        let meter = &self.thread.meters.connections_parked;
        meter.up();
        let more = tokio::select! {
            more = timeout(self.thread.settings.keep_alive, stream.readable()) => matches!(more, Ok(Ok(()))),
            _ = self.closing.wait_for(|closing| *closing) => false,
        };
        meter.down();
        more
    }

    /// Serves HTTP/1.1 to its end; or, with `quiet`, until nobody has wanted anything for so long, and gives the stream back then.
    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &mut self,
        stream: Checked<S>,
        answers: &Answers,
        unsent: &AtomicBool,
        quiet: Option<Duration>,
    ) -> Option<Checked<S>> {
        let (thread, caller, closing) = (&self.thread, &self.caller, &self.closing);
        let (told, used) = (answers, Rc::new(Used::default()));
        let service = service_fn(|request: Request<Incoming>| {
            let one = used.one();
            // In a box: an idle connection would keep its four kilobytes.
            Box::pin(async move {
                let answer = thread.serve(request, caller, closing).await;
                told.answer(answer.status() == StatusCode::SWITCHING_PROTOCOLS);
                Ok::<_, Infallible>(answer.map(|body| Held { body, _one: one }))
            })
        });
        let connection = http1::Builder::new()
            // Ours, below: hyper would make a timer for every head.
            .header_read_timeout(None)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(READ_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // In a box: a parked connection gives its memory back.
        let mut connection = Box::new(connection);
        let (in_head, unsent_now) = (|| answers.is_in_head(), || unsent.load(Relaxed));
        let head = used.wait_for_head(quiet, thread.settings.header_read, in_head, unsent_now);
        let until = until(Pin::new(&mut *connection), closing.clone(), head, || used.active.get() == 0).await;
        let ended = match until {
            Until::Ended(ended) => ended,
            Until::NoHead(NoHead::Late { begun }) => {
                // A connection that was only idle for too long has nothing to be blamed for.
                if begun {
                    thread.meters.refuse(Refusal::SlowHead);
                }
                return None;
            }
            Until::NoHead(NoHead::Quiet) => {
                let parts = connection.into_parts()?;
                // Only empty lines can be left over: a head that has begun is waited for.
                return parts.read_buf.iter().all(|byte| b"\r\n".contains(byte)).then(|| parts.io.into_inner());
            }
            Until::Closing => {
                Pin::new(&mut *connection).graceful_shutdown();
                // What is being answered is finished; half a head is not waited for.
                loop {
                    tokio::select! {
                        ended = &mut *connection => break ended,
                        () = sleep(HALF_A_HEAD) => {}
                    }
                    if used.active.get() == 0 && !unsent.load(Relaxed) {
                        return None;
                    }
                }
            }
        };
        // Not of a connection that has changed its protocol: a tunnel has it.
        let refusal = ended.err().and_then(|error| refusal(&error));
        if let Some(parts) = connection.into_parts() {
            linger(parts.io.into_inner(), refusal.is_some(), closing.clone()).await;
        }
        if let Some(refusal) = refusal {
            thread.meters.refuse(refusal);
        }
        None
    }

    async fn http2(&mut self, gather: Gather<Guarded>) {
        self.http2_over(gather.clone(), gather).await;
    }

    /// HTTP/2 over `stream`, which ends in `gather`.
    async fn http2_over<S: AsyncRead + AsyncWrite + Unpin + 'static>(&mut self, stream: S, gather: Gather<Guarded>) {
        gather.start();
        let used = Rc::new(Used::default());
        let shared = Rc::new((self.thread.clone(), self.caller.clone(), self.closing.clone()));
        let service = service_fn(move |request: Request<Incoming>| {
            let shared = shared.clone();
            // In a box: the stream's task moves it several times before it runs.
            Box::pin(async move {
                let (thread, caller, closing) = &*shared;
                let response = thread.serve(request, caller, closing).await;
                if let (ResponseBody::Whole(Some(_)) | ResponseBody::Trailed(..), Some(flow)) =
                    (response.body(), Flow::current())
                {
                    // It leaves in one piece, if its caller lets it.
                    flow.handed(Instant::now());
                    thread.flows.watch(&flow);
                }
                Ok::<_, Infallible>(response)
            })
        });
        let connection = http2::Builder::new(Streams(used.clone()))
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BYTES_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(FAULTS_MAX)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut ending = pin!(ending(self.closing.clone(), used.clone(), self.thread.settings.http2_idle));
        let mut last_words = pin!(async {
            sleep(LAST_WORDS).await;
            used.unused_for(LAST_WORDS).await;
        });
        let mut stuck = pin!(used.stuck.notified());
        let mut told = false;
        poll_fn(|cx| {
            if !told && ending.as_mut().poll(cx).is_ready() {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            // A caller must not keep what it does not take, and a silent one must not hold the exit.
            if stuck.as_mut().poll(cx).is_ready() || (told && last_words.as_mut().poll(cx).is_ready()) {
                return Poll::Ready(());
            }
            let polled = connection.as_mut().poll(cx).map(drop);
            match gather.poll_send(cx) {
                // The caller does not read, or is gone.
                Poll::Ready(Err(_)) => Poll::Ready(()),
                Poll::Ready(Ok(())) | Poll::Pending => polled,
            }
        })
        .await;
    }
}

/// Ends a connection so that its caller can read why. One that is closed while bytes are unread is reset, and the answer that said
/// what was wrong with them may be lost: so we say that nothing more comes, and read on for a moment what we have no use for.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(stream: Checked<S>, refused: bool, mut closing: Closing) {
    // After whole messages there is rarely anything: what has come already is taken, and nothing waited for. But who has been
    // refused may be sending still, whole as the head was.
    let wait = refused || !stream.is_between();
    let mut stream = stream.into_inner();
    let mut rest = pin!(timeout(LINGER, async {
        stream.shutdown().await?;
        copy(&mut stream.take(LINGER_BYTES_MAX), &mut sink()).await
    }));
    let ended = poll_fn(|cx| Poll::Ready(rest.as_mut().poll(cx).is_ready())).await;
    if wait && !ended {
        tokio::select! {
            _ = rest => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }
}

/// What hyper refused, and answered if it could, before there was a request. Any other error is the connection breaking: the
/// request on it has been counted where it belongs.
fn refusal(error: &hyper::Error) -> Option<Refusal> {
    if error.is_parse_too_large() { Some(Refusal::LargeHead) } else { error.is_parse().then_some(Refusal::Invalid) }
}

/// Why [`until`] gave up.
enum Until<T> {
    Ended(T),
    Closing,
    NoHead(NoHead),
}

/// Runs `work` until it ends, all connections are to end, or `head` says so while the connection is `idle`. `work` is polled for every
/// piece of a request; the others only when they may have something to say: their first poll has left them our waker.
async fn until<F: Future>(
    mut work: Pin<&mut F>,
    mut closing: Closing,
    head: impl Future<Output = NoHead>,
    idle: impl Fn() -> bool,
) -> Until<F::Output> {
    let (look, mut armed) = (closing.clone(), false);
    let mut told = pin!(closing.wait_for(|closing| *closing));
    let mut head = pin!(head);
    poll_fn(|cx| {
        let due = !std::mem::replace(&mut armed, true) || look.has_changed().unwrap_or(true);
        if due && told.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Until::Closing);
        }
        if let Poll::Ready(ended) = work.as_mut().poll(cx) {
            return Poll::Ready(Until::Ended(ended));
        }
        if idle()
            && let Poll::Ready(none) = head.as_mut().poll(cx)
        {
            return Poll::Ready(Until::NoHead(none));
        }
        Poll::Pending
    })
    .await
}
