//! Model servers, callers and waiting, over real sockets on loopback.

use coalmine::{
    app::{self, App},
    config::settings::Settings,
    io::directory::Resolver,
};
use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long anything may take to come true.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `state` gives something.
#[track_caller]
pub(super) fn wait<T>(what: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = state() {
            return found;
        }
        assert!(Instant::now() < until, "waited {DEADLINE:?} for {what}");
        std::thread::yield_now();
    }
}

/// A model server of the V2 protocol that always answers `data: [answer]` with this status.
pub(super) fn model(status: u16, answer: u32) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || while answer_one(&stream, status, answer).is_some() {});
        }
    });
    address
}

fn answer_one(stream: &TcpStream, status: u16, answer: u32) -> Option<()> {
    let mut reader = BufReader::new(stream);
    message(&mut reader)?;
    let body = format!(r#"{{"outputs":[{{"name":"p","shape":[1],"datatype":"INT64","data":[{answer}]}}]}}"#);
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    (&*stream).write_all((head + &body).as_bytes()).ok()
}

/// First line, headers with names in lower case, body.
pub(super) type Message = (String, Vec<(String, String)>, Vec<u8>);

/// Reads one message.
pub(super) fn message(reader: &mut impl BufRead) -> Option<Message> {
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text).ok().filter(|n| *n > 0).map(|_| text.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, n)| n.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, headers, body))
}

/// An answer as a caller sees it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

/// A caller with one kept connection.
#[derive(Debug)]
pub(super) struct Caller(BufReader<TcpStream>);

impl Caller {
    pub(super) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(super) fn call(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let text =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}");
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        let (first, headers, body) = message(&mut self.0).expect("an answer");
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, headers: headers.into_iter().collect(), body: String::from_utf8(body).unwrap() }
    }

    pub(super) fn infer(&mut self) -> Answer {
        self.call("POST", "/v2/models/digits/infer", "", r#"{"inputs":[]}"#)
    }
}

/// A routes file of one route, `digits`, with these two servers.
pub(super) fn routes(stable: SocketAddr, canary: SocketAddr, canary_weight: u32) -> String {
    let stable_weight = 100 - canary_weight;
    format!(
        "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: {{ path: /v2/models/digits }}
    protocol: v2
    variants:
      - {{ name: v1, role: stable, weight: {stable_weight}, url: 'http://{stable}', model: {{ version: '1', uri: m/1 }} }}
      - {{ name: v2, role: canary, weight: {canary_weight}, url: 'http://{canary}', model: {{ version: '2', uri: m/2 }} }}
"
    )
}

/// Settings for free ports, the routes in `dir` and state in `state`, judging every 50 ms; `more` is settings text.
pub(super) fn settings(more: &str, dir: &Path, state: &Path) -> Settings {
    let mut settings = Settings::read(more, &[]).unwrap();
    settings.listen = "127.0.0.1:0".parse().unwrap();
    settings.admin = "127.0.0.1:0".parse().unwrap();
    settings.routes = Some(dir.to_owned());
    settings.state_dir = Some(state.to_owned());
    settings.threads = Some(2);
    settings.judge_interval = Duration::from_millis(50);
    settings.drain.lame_duck = Duration::ZERO;
    settings
}

/// Starts Coalmine and waits until it is ready.
pub(super) fn start_with(settings: Settings) -> App {
    ready(app::start(&settings).unwrap())
}

/// The same, where names have these addresses.
pub(super) fn start_named(settings: Settings, names: Vec<(&'static str, Vec<SocketAddr>)>) -> App {
    let resolver: Resolver = Arc::new(move |host, _| {
        let known = names.iter().find(|(name, _)| *name == host).map(|(_, addresses)| addresses.clone());
        Box::pin(async move { known.ok_or_else(|| io::Error::other("no such host")) })
    });
    ready(app::start_with(&settings, resolver).unwrap())
}

fn ready(app: App) -> App {
    let mut caller = Caller::new(app.admin);
    let mut last = String::new();
    let until = Instant::now() + DEADLINE;
    while last != "ok\n" {
        assert!(Instant::now() < until, "not ready: {last}");
        last = caller.call("GET", "/readyz", "", "").body;
    }
    app
}

/// Starts Coalmine over the routes in `dir`, with its state in `state`.
pub(super) fn start(dir: &Path, state: &Path) -> App {
    start_with(settings("", dir, state))
}

/// Ends it and waits for the end.
pub(super) fn stop(app: App) {
    app.drain();
    app.join();
}
