//! A model server that does as it is told, and remembers what it was sent.

use super::support::message;
use std::{
    io::{BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A request as it came over the wire.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) line: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Received {
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }
}

/// The server.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
}

impl Backend {
    /// A server that answers by writing to the stream; `None` closes the connection.
    pub(super) fn new(answer: impl Fn(&Received, &mut TcpStream) -> Option<()> + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answer)
    }

    /// The same at an address that is chosen already.
    pub(super) fn on(
        listener: TcpListener,
        answer: impl Fn(&Received, &mut TcpStream) -> Option<()> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (answer, all) = (Arc::new(answer), seen.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, all) = (answer.clone(), all.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().ok()?);
                    let mut stream = stream;
                    loop {
                        let (line, headers, body) = message(&mut reader)?;
                        let received = Received { line, headers, body: String::from_utf8_lossy(&body).into_owned() };
                        all.lock().unwrap().push(received.clone());
                        answer(&received, &mut stream)?;
                    }
                    #[allow(unreachable_code, reason = "it says what the closure gives")]
                    Some(())
                });
            }
        });
        Self { address, seen }
    }

    /// A server that always answers with this status and body.
    pub(super) fn always(status: u16, body: &'static str) -> Self {
        Self::new(move |_, stream| write(stream, status, "", body))
    }

    pub(super) fn seen(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }
}

/// Writes a whole answer.
pub(super) fn write(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> Option<()> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).ok()
}
