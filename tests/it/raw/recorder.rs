//! A model server that keeps every byte it was sent, connection by connection, and does as a test says.

use super::parse::{self, Request, Stop};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A connection as the server saw it.
#[derive(Clone, Default)]
pub(in super::super) struct Line {
    pub(in super::super) bytes: Vec<u8>,
    /// The other side has closed it.
    pub(in super::super) closed: bool,
}

/// The server.
pub(in super::super) struct Recorder {
    pub(in super::super) address: SocketAddr,
    lines: Arc<Mutex<Vec<Line>>>,
}

/// Everything a server was sent.
pub(in super::super) struct Seen {
    pub(in super::super) requests: Vec<Request>,
    /// Connections that ended, or are, in the middle of a request.
    pub(in super::super) unfinished: usize,
    /// Of those, the ones that are still open.
    pub(in super::super) hanging: usize,
}

impl Recorder {
    /// `answer` gets each whole request; `None` closes the connection.
    pub(in super::super) fn new(
        answer: impl Fn(&Request, &mut TcpStream) -> Option<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (answer, all) = (Arc::new(answer), lines.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, all) = (answer.clone(), all.clone());
                thread::spawn(move || {
                    let at = {
                        let mut all = all.lock().unwrap();
                        all.push(Line::default());
                        all.len() - 1
                    };
                    record(stream, at, &all, &*answer);
                    all.lock().unwrap()[at].closed = true;
                });
            }
        });
        Self { address, lines }
    }

    /// Answers every request with its own target.
    pub(in super::super) fn echo() -> Self {
        Self::new(|request, stream| {
            let body = if request.method == "HEAD" { "" } else { &request.target };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", request.target.len());
            stream.write_all(head.as_bytes()).ok()
        })
    }

    pub(in super::super) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }

    /// Every byte of every connection, read strictly; panics if one of them must not be there.
    #[track_caller]
    pub(in super::super) fn seen(&self) -> Seen {
        self.read().unwrap()
    }

    pub(in super::super) fn read(&self) -> Result<Seen, String> {
        let mut seen = Seen { requests: Vec::new(), unfinished: 0, hanging: 0 };
        for line in self.lines.lock().unwrap().iter() {
            let (requests, left) = parse::all(&line.bytes)?;
            seen.requests.extend(requests);
            seen.unfinished += usize::from(left > 0);
            seen.hanging += usize::from(left > 0 && !line.closed);
        }
        Ok(seen)
    }

    /// Forgets what closed connections and whole requests were about, so that long tables stay fast.
    pub(in super::super) fn forget(&self) {
        for line in self.lines.lock().unwrap().iter_mut() {
            line.bytes.clear();
        }
    }
}

fn record(
    mut stream: TcpStream,
    at: usize,
    lines: &Mutex<Vec<Line>>,
    answer: &dyn Fn(&Request, &mut TcpStream) -> Option<()>,
) {
    let (mut pending, mut bytes) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let Ok(n @ 1..) = stream.read(&mut bytes) else { return };
        lines.lock().unwrap()[at].bytes.extend_from_slice(&bytes[..n]);
        pending.extend_from_slice(&bytes[..n]);
        loop {
            match parse::one(&pending) {
                Ok((request, length)) => {
                    pending.drain(..length);
                    if answer(&request, &mut stream).is_none() {
                        return;
                    }
                }
                Err(Stop::More) => break,
                // It stays in the record for the test to find.
                Err(Stop::Bad(_)) => return,
            }
        }
    }
}
