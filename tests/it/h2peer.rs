//! Both ends of HTTP/2 by the h2 crate, frame by frame where it matters: a backend that does as the path says, and a caller.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, Request, Response, request::Parts};
use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Notify,
    time::timeout,
};

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A request as the backend got it.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) head: Parts,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

/// What the backend has seen.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) requests: Vec<Received>,
    pub(super) connections: usize,
    /// Of those, the ones that are open.
    pub(super) open: usize,
    /// Most streams at a time.
    pub(super) together: usize,
    active: usize,
    /// Streams that the proxy reset.
    pub(super) resets: Vec<Reason>,
}

/// A backend that speaks HTTP/2 by prior knowledge. What it does is the last segment of the path:
/// `echo` sends the body back with a trailer; `json` sends a small prediction with its length and a trailer; `slow` answers after [`H2Backend::go`]; `events` sends a piece, waits for that, sends
/// the rest; `refuse` refuses the first of two in a row; `reset` breaks off before an answer, `half` in the middle of one; `big` has 8 MiB; a number is a status without a body.
pub(super) struct H2Backend {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    go: Arc<Notify>,
}

impl H2Backend {
    pub(super) fn new() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, go) = (Arc::<Mutex<Seen>>::default(), Arc::new(Notify::new()));
        let (all, wait) = (seen.clone(), go.clone());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    all.lock().unwrap().connections += 1;
                    all.lock().unwrap().open += 1;
                    let (all, wait) = (all.clone(), wait.clone());
                    tokio::spawn(async move {
                        serve(stream, all.clone(), wait).await;
                        all.lock().unwrap().open -= 1;
                    });
                }
            });
        });
        Self { address, seen, go }
    }

    pub(super) fn url(&self) -> String {
        format!("h2c://{}", self.address)
    }

    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    pub(super) fn last(&self) -> Received {
        self.look(|seen| seen.requests.last().expect("a request").clone())
    }

    /// Lets everybody who waits go on.
    pub(super) fn go(&self) {
        self.go.notify_waiters();
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Seen>>, go: Arc<Notify>) {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 22).max_concurrent_streams(1000);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        {
            let mut seen = seen.lock().unwrap();
            seen.active += 1;
            seen.together = seen.together.max(seen.active);
        }
        let (seen, go) = (seen.clone(), go.clone());
        tokio::spawn(async move {
            answer(request, respond, &seen, &go).await;
            seen.lock().unwrap().active -= 1;
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: &Mutex<Seen>,
    go: &Notify,
) -> Option<()> {
    let (head, body) = request.into_parts();
    let what = head.uri.path().rsplit('/').next().unwrap().to_owned();
    let going = go.notified();
    tokio::pin!(going);
    going.as_mut().enable();
    let refused_last;
    let at = {
        let mut seen = seen.lock().unwrap();
        refused_last = seen.requests.last().is_some_and(|last| last.head.uri.path() == head.uri.path());
        seen.requests.push(Received { head, body: Vec::new(), trailers: None });
        seen.requests.len() - 1
    };
    let (all, trailers) = match take(body).await {
        Ok(all) => all,
        Err(error) => {
            seen.lock().unwrap().resets.extend(error.reason());
            return None;
        }
    };
    {
        let received = &mut seen.lock().unwrap().requests[at];
        (received.body, received.trailers) = (all.clone(), trailers.clone());
    }
    let ok = Response::builder().header("content-type", "text/plain").header("trailer", "x-end, x-t");
    match what.as_str() {
        "reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        // Every other one, beginning with the first.
        "refuse" if refused_last => respond.send_response(Response::new(()), true).map(drop).ok()?,
        "refuse" => respond.send_reset(Reason::REFUSED_STREAM),
        "echo" => {
            let mut end = trailers.unwrap_or_default();
            end.insert("x-end", "1".parse().unwrap());
            let mut stream = respond.send_response(ok.body(()).unwrap(), false).ok()?;
            send(&mut stream, all.into(), false).await?;
            stream.send_trailers(end).ok()?;
        }
        "json" => {
            let text = r#"{"outputs":[{"data":[7]}]}"#;
            let head =
                Response::builder().header("content-type", "application/json").header("content-length", text.len());
            let mut stream = respond.send_response(head.body(()).unwrap(), false).ok()?;
            let (first, rest) = text.split_at(9);
            send(&mut stream, first.into(), false).await?;
            send(&mut stream, rest.into(), false).await?;
            stream.send_trailers(HeaderMap::from_iter([("x-end".parse().unwrap(), "1".parse().unwrap())])).ok()?;
        }
        "slow" | "events" | "half" => slowly(&what, ok, respond, seen, going).await?,
        "big" => {
            let mut stream = respond.send_response(ok.body(()).unwrap(), false).ok()?;
            for _ in 0..128 {
                if send(&mut stream, vec![b'x'; 64 * 1024].into(), false).await.is_none() {
                    seen.lock().unwrap().resets.push(Reason::CANCEL);
                    return None;
                }
            }
            stream.send_data(Bytes::new(), true).ok()?;
        }
        status => {
            let status: u16 = status.parse().unwrap_or(200);
            let head = Response::builder().status(status).header("x-status", status).body(()).unwrap();
            respond.send_response(head, true).ok()?;
        }
    }
    Some(())
}

/// An answer that waits to be let go on, or to be reset.
async fn slowly(
    what: &str,
    ok: http::response::Builder,
    mut respond: SendResponse<Bytes>,
    seen: &Mutex<Seen>,
    going: impl Future<Output = ()>,
) -> Option<()> {
    let early = what != "slow";
    let mut stream = None;
    if early {
        let response = ok.header("content-type", "text/event-stream").body(()).unwrap();
        let mut begun = respond.send_response(response, false).ok()?;
        begun.send_data("data: one\n\n".into(), false).ok()?;
        stream = Some(begun);
    }
    tokio::select! {
        () = going => {}
        reset = poll_fn(|cx| match &mut stream {
            Some(stream) => stream.poll_reset(cx),
            None => respond.poll_reset(cx),
        }) => {
            seen.lock().unwrap().resets.push(reset.unwrap_or(Reason::NO_ERROR));
            return None;
        }
    }
    match stream {
        Some(mut stream) if what == "half" => stream.send_reset(Reason::INTERNAL_ERROR),
        Some(mut stream) => stream.send_data("data: two\n\n".into(), true).ok()?,
        None => {
            let mut stream = respond.send_response(Response::new(()), false).ok()?;
            stream.send_data("late".into(), true).ok()?;
        }
    }
    Some(())
}

/// A body to its end.
async fn take(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        all.extend_from_slice(&piece);
    }
    Ok((all, body.trailers().await?))
}

async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, last: bool) -> Option<()> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        let piece = bytes.split_to(room.min(bytes.len()));
        stream.send_data(piece, last && bytes.is_empty()).ok()?;
    }
    Some(())
}

/// A caller's connection.
pub(super) struct H2Caller {
    pub(super) send: h2::client::SendRequest<Bytes>,
    /// Ends when the connection does, with what the proxy said.
    pub(super) ended: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// An answer as a whole.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) head: http::response::Parts,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl H2Caller {
    pub(super) async fn new(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), 1 << 20).await
    }

    /// Over `stream`, with windows of this size for answers.
    pub(super) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, window: u32) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_max_send_streams(256);
        if window > 1 << 16 {
            builder.initial_connection_window_size(1 << 24);
        }
        let (send, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        Self { send: send.ready().await.unwrap(), ended: tokio::spawn(connection) }
    }

    /// Sends a request without waiting for its answer; `body: None` ends it with its head.
    pub(super) async fn start(
        &self,
        request: Request<()>,
        body: Option<&[u8]>,
        trailers: Option<HeaderMap>,
    ) -> (h2::client::ResponseFuture, SendStream<Bytes>) {
        let mut send = self.send.clone().ready().await.unwrap();
        let (response, mut stream) = send.send_request(request, body.is_none()).unwrap();
        if let Some(body) = body {
            stream.send_data(Bytes::copy_from_slice(body), trailers.is_none()).unwrap();
        }
        if let Some(trailers) = trailers {
            stream.send_trailers(trailers).unwrap();
        }
        (response, stream)
    }

    pub(super) async fn call(
        &self,
        request: Request<()>,
        body: Option<&[u8]>,
        trailers: Option<HeaderMap>,
    ) -> Result<Whole, h2::Error> {
        let (response, _stream) = self.start(request, body, trailers).await;
        whole(response).await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Whole, h2::Error> {
        self.call(request("GET", path), None, None).await
    }
}

/// Reads an answer to its end.
pub(super) async fn whole(response: h2::client::ResponseFuture) -> Result<Whole, h2::Error> {
    let read = async {
        let (head, incoming) = response.await?.into_parts();
        let (body, trailers) = take(incoming).await?;
        Ok(Whole { head, body, trailers })
    };
    timeout(DEADLINE, read).await.expect("an answer in time")
}

pub(super) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("http://models.test{path}")).body(()).unwrap()
}

/// Waits until `state` gives something, while the tasks of this runtime go on.
pub(super) async fn until<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = state() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
}
