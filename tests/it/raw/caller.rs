//! A caller that sends any bytes, and reads answers without trusting them.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer as the bytes say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) struct Answer {
    pub(in super::super) status: u16,
    /// As it came, in lower case.
    pub(in super::super) head: String,
    pub(in super::super) body: Vec<u8>,
}

impl Answer {
    pub(in super::super) fn field(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").skip(1).find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    pub(in super::super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a connection gave instead of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum End {
    /// Closed between answers.
    Closed,
    /// Closed in the middle of one, of which these bytes came.
    Cut(String),
    /// Nothing came for so long.
    Silent,
}

/// One connection.
pub(in super::super) struct Raw {
    pub(in super::super) stream: TcpStream,
    got: Vec<u8>,
    ended: bool,
}

impl Raw {
    pub(in super::super) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, got: Vec::new(), ended: false }
    }

    /// A connection on which these bytes were sent; that the other side stops reading is no error here.
    pub(in super::super) fn sent(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        let mut raw = Self::new(address);
        raw.send(bytes);
        raw
    }

    pub(in super::super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    fn more(&mut self) -> Result<(), End> {
        let mut bytes = [0; 16 * 1024];
        match self.stream.read(&mut bytes) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(End::Silent),
            Ok(n @ 1..) => {
                self.got.extend_from_slice(&bytes[..n]);
                Ok(())
            }
            _ => {
                self.ended = true;
                if self.got.is_empty() { Err(End::Closed) } else { Err(End::Cut(text(&self.got))) }
            }
        }
    }

    /// The next final answer; `bodyless` if it answers HEAD. What is longer than said, or cut off, is not an answer.
    pub(in super::super) fn answer(&mut self, bodyless: bool) -> Result<Answer, End> {
        loop {
            let end = loop {
                if let Some(end) = find(&self.got, b"\r\n\r\n") {
                    break end + 4;
                }
                self.more()?;
            };
            let head = text(&self.got[..end]).to_ascii_lowercase();
            let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
            let mut answer = Answer { status, head, body: Vec::new() };
            if (100..200).contains(&status) && status != 101 {
                self.got.drain(..end);
                continue;
            }
            if bodyless || [101, 204, 304].contains(&status) {
                self.got.drain(..end);
                return Ok(answer);
            }
            let chunked = answer.field("transfer-encoding") == Some("chunked");
            let length = answer.field("content-length").map(|length| length.parse::<usize>().unwrap());
            let used = match length {
                _ if chunked => self.chunks(end, &mut answer.body)?,
                Some(length) => {
                    while self.got.len() < end + length {
                        self.more()?;
                    }
                    answer.body = self.got[end..end + length].to_vec();
                    end + length
                }
                None => {
                    while self.more().is_ok() {}
                    answer.body = self.got[end..].to_vec();
                    self.got.len()
                }
            };
            self.got.drain(..used);
            return Ok(answer);
        }
    }

    fn chunks(&mut self, mut at: usize, body: &mut Vec<u8>) -> Result<usize, End> {
        loop {
            let line = self.line(at)?;
            let size = usize::from_str_radix(text(&self.got[at..line]).trim(), 16).expect("a chunk size");
            at = line + 2;
            if size == 0 {
                break;
            }
            while self.got.len() < at + size + 2 {
                self.more()?;
            }
            body.extend_from_slice(&self.got[at..at + size]);
            at += size + 2;
        }
        loop {
            let line = self.line(at)?;
            let empty = line == at;
            at = line + 2;
            if empty {
                return Ok(at);
            }
        }
    }

    fn line(&mut self, at: usize) -> Result<usize, End> {
        loop {
            if let Some(end) = find(&self.got[at..], b"\r\n") {
                return Ok(at + end);
            }
            self.more()?;
        }
    }

    /// Waits until these bytes have come.
    pub(in super::super) fn until(&mut self, wanted: &str) -> Result<(), End> {
        while find(&self.got, wanted.as_bytes()).is_none() {
            self.more()?;
        }
        Ok(())
    }

    /// How the connection ends if nothing more is sent.
    pub(in super::super) fn end(&mut self) -> End {
        loop {
            if self.ended {
                return if self.got.is_empty() { End::Closed } else { End::Cut(text(&self.got)) };
            }
            if let Err(end) = self.more() {
                return end;
            }
        }
    }

    /// How the connection ends, and after how long.
    pub(in super::super) fn end_after(&mut self) -> (End, Duration) {
        let begin = Instant::now();
        (self.end(), begin.elapsed())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
