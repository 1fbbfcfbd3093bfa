//! Server-sent events of generated answers, read while they pass: when the first token came, the gaps between tokens, how
//! many there were, why they ended, and whether there was anything in it at all.
//!
//! Hand-written because it must never hold a chunk back or copy it: it looks at the bytes on their way to the caller, and keeps
//! only what an unfinished line or event needs, [`LINE_BYTES_MAX`] at most. Framing is that of the HTML standard, section
//! "Server-sent events": lines end with LF, CRLF or CR, several `data` lines are one text, an event ends with an empty line and
//! one without its empty line never happened. What an event says is read in [`said`].

mod said;

use crate::core::{
    route::Protocol,
    tally::{Finish, Outcome},
};
use said::{Kind, Said};
use std::time::Duration;

/// Longest line, and longest data of one event, that is read. A longer one is passed on all the same and counts as a piece of
/// content, unless its `event:` field says that it is something else.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Buffers larger than this are given back after the event that needed them, or one long line would cost its connection 128 KiB
/// until its stream ends.
const KEPT_BYTES: usize = 4 * 1024;

/// What a generated answer was like.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    /// When the first content came; `None` for answers that are not streamed.
    pub first_token: Option<Duration>,
    /// Mean time between two pieces of content; `None` if there was one at most.
    pub mean_gap: Option<Duration>,
    /// Tokens, as the backend says; else how many pieces had content.
    pub tokens: u64,
    /// Why it ended.
    pub finish: Finish,
    /// It ended without any content, and nothing in it says why it may.
    pub empty: bool,
    /// Something in it is not JSON.
    pub malformed: bool,
    /// The backend reported an error of its own after it had answered with a success.
    pub failed: bool,
}

impl Summary {
    /// What counts against the backend in an answer that was complete as far as HTTP goes.
    #[must_use]
    pub fn fault(&self) -> Option<Outcome> {
        match self {
            Self { failed: true, .. } => Some(Outcome::BackendStatus),
            Self { malformed: true, .. } => Some(Outcome::BackendMalformed),
            Self { empty: true, .. } => Some(Outcome::BackendEmpty),
            _ => None,
        }
    }
}

/// Whether answers of this protocol can be generated text. `MLflow` takes `"stream": true` and ignores it.
#[must_use]
pub fn generates(protocol: &Protocol) -> bool {
    match protocol {
        Protocol::OpenAi | Protocol::V2 => true,
        Protocol::V1 | Protocol::Mlflow | Protocol::Raw { .. } => false,
    }
}

/// What a whole answer says: a chat, a completion, a response, or V2's `generate`. `None` if it is something else, as embeddings
/// or `infer` are.
#[must_use]
pub fn unary(protocol: &Protocol, body: &[u8]) -> Option<Summary> {
    if !generates(protocol) {
        return None;
    }
    let Ok(said) = said::read(body, None) else {
        return Some(Summary { malformed: true, ..Summary::default() });
    };
    let empty = !said.content && !said.whole && !said.refused && said.finish != Finish::ContentFilter;
    (said.known || said.failed || said.refused).then(|| Summary {
        first_token: None,
        mean_gap: None,
        tokens: said.tokens.unwrap_or_default(),
        finish: said.finish,
        empty: empty && !said.failed,
        malformed: false,
        failed: said.failed,
    })
}

/// Reads one stream.
#[derive(Debug, Default)]
pub struct Scanner {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// The rest of this line is too long to be looked at.
    skipping: bool,
    /// The last line ended with CR: an LF now belongs to that.
    after_cr: bool,
    /// A byte order mark may only stand before the first line.
    past_first_line: bool,
    event: Event,
    /// When the last content came.
    last: Option<Duration>,
    pieces: u64,
    told_tokens: Option<u64>,
    tools: bool,
    /// There are events that are not of this protocol: nothing can be said about what they hold.
    foreign: bool,
    refused: bool,
    summary: Summary,
}

/// The event whose empty line has not come.
#[derive(Debug, Default)]
struct Event {
    /// Data that does not lie in the chunk at hand as a whole.
    data: Vec<u8>,
    begun: bool,
    too_long: bool,
    name: Option<Kind>,
}

impl Event {
    fn append(&mut self, value: &[u8]) {
        if self.data.len() + value.len() >= LINE_BYTES_MAX {
            self.too_long = true;
        } else {
            if self.begun {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
        }
        self.begun = true;
    }
}

/// A line, as far as it matters here.
enum Field<'a> {
    End,
    Data(&'a [u8]),
    Name(&'a [u8]),
    /// A comment, an id, a time to retry after.
    Other,
}

impl<'a> Field<'a> {
    fn of(line: &'a [u8]) -> Self {
        let value = |name: &[u8]| match line.strip_prefix(name)? {
            [] => Some(&[][..]),
            [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
            _ => None,
        };
        if line.is_empty() {
            Field::End
        } else if let Some(data) = value(b"data") {
            Field::Data(data)
        } else {
            value(b"event").map_or(Field::Other, Field::Name)
        }
    }
}

impl Scanner {
    /// A scanner, if streams of this protocol can be read.
    #[must_use]
    pub fn new(protocol: &Protocol) -> Option<Self> {
        generates(protocol).then(Self::default)
    }

    /// Looks at the next bytes. `elapsed` is the time since the request's head was there, without the caller's own slowness;
    /// `gap` is told the time between each two pieces of content.
    pub fn feed(&mut self, chunk: &[u8], elapsed: Duration, gap: &mut dyn FnMut(Duration)) {
        // Data of an event whose only data line lies in this chunk: the usual case, and never copied.
        let mut held: Option<&[u8]> = None;
        let mut rest = chunk;
        if std::mem::take(&mut self.after_cr) {
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            // An empty chunk decides nothing.
            self.after_cr = chunk.is_empty();
        }
        while let Some((line, end, tail)) = cut(rest) {
            rest = tail;
            if end == b'\r' {
                self.after_cr = tail.is_empty();
                rest = tail.strip_prefix(b"\n").unwrap_or(tail);
            }
            let joined = !self.line.is_empty();
            if joined || self.skipping || line.len() > LINE_BYTES_MAX {
                self.keep(line);
            }
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            let carried = std::mem::take(&mut self.line);
            let whole = if joined { &carried } else { line };
            match Field::of(self.unmarked(whole)) {
                Field::End => self.end(held.take(), elapsed, gap),
                Field::Data(_) if !joined && held.is_none() && !self.event.begun => {
                    // Cut again from the chunk itself, which outlives the carried line.
                    if let Field::Data(value) = Field::of(strip_mark(line)) {
                        held = Some(value);
                    }
                }
                Field::Data(value) => {
                    if let Some(first) = held.take() {
                        self.event.append(first);
                    }
                    self.event.append(value);
                }
                Field::Name(name) => self.event.name = std::str::from_utf8(name).ok().and_then(Kind::of),
                Field::Other => {}
            }
            self.line = emptied(carried);
        }
        self.keep(rest);
        if let Some(data) = held {
            self.event.append(data);
        }
    }

    /// What the stream was like so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let explained = self.foreign
            || self.refused
            || self.summary.failed
            || self.summary.malformed
            || self.summary.finish == Finish::ContentFilter;
        let gaps = u32::try_from(self.pieces.saturating_sub(1)).ok();
        let span = self.last.zip(self.summary.first_token).map(|(last, first)| last.saturating_sub(first));
        Summary {
            mean_gap: span.zip(gaps).and_then(|(span, gaps)| span.checked_div(gaps)),
            tokens: self.told_tokens.unwrap_or(self.pieces),
            empty: self.pieces == 0 && !explained,
            ..self.summary
        }
    }

    /// Keeps a piece of a line until the rest of it comes, or gives the line up.
    fn keep(&mut self, piece: &[u8]) {
        if self.skipping {
            return;
        }
        if self.line.len() + piece.len() <= LINE_BYTES_MAX {
            self.line.extend_from_slice(piece);
            return;
        }
        let start = self.line.iter().chain(piece).take(5);
        self.event.too_long |= start.eq(b"data:");
        (self.line, self.skipping, self.past_first_line) = (Vec::new(), true, true);
    }

    /// The line without the byte order mark that the first one may have.
    fn unmarked<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        if std::mem::replace(&mut self.past_first_line, true) { line } else { strip_mark(line) }
    }

    fn end(&mut self, held: Option<&[u8]>, elapsed: Duration, gap: &mut dyn FnMut(Duration)) {
        let event = std::mem::take(&mut self.event);
        let data = held.unwrap_or(&event.data);
        if event.too_long {
            self.hear(said::unread(event.name), elapsed, gap);
        } else if !matches!(data.trim_ascii(), b"" | b"[DONE]") {
            // An event without data never happened; some keep a connection alive by it.
            match said::read(data, event.name) {
                Ok(said) => self.hear(said, elapsed, gap),
                Err(said::NotJson) => self.summary.malformed = true,
            }
        }
        self.event.data = emptied(event.data);
    }

    fn hear(&mut self, said: Said, elapsed: Duration, gap: &mut dyn FnMut(Duration)) {
        self.tools |= said.tools;
        self.refused |= said.refused;
        self.summary.failed |= said.failed;
        self.foreign |= !said.known && !said.failed && !said.refused;
        if said.content || (said.whole && self.pieces == 0) {
            self.pieces += 1;
            match self.last.replace(elapsed) {
                Some(last) => gap(elapsed.saturating_sub(last)),
                None => self.summary.first_token = Some(elapsed),
            }
        }
        self.told_tokens = said.tokens.or(self.told_tokens);
        match said.finish {
            Finish::None => {}
            Finish::Stop if self.tools => self.summary.finish = Finish::ToolCalls,
            finish => self.summary.finish = finish,
        }
    }
}

fn strip_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// The buffer for the next use, or a new one if this one has grown too large to be kept.
fn emptied(mut buffer: Vec<u8>) -> Vec<u8> {
    if buffer.capacity() > KEPT_BYTES {
        return Vec::new();
    }
    buffer.clear();
    buffer
}

/// The first line, the byte it ends with, and what follows.
fn cut(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // A block is compared as a whole: without an early way out the compiler makes vector instructions of it.
    let (blocks, _) = bytes.as_chunks::<32>();
    let plain = blocks.iter().take_while(|block| !block.iter().fold(false, |any, byte| any | ends(byte))).count() * 32;
    let at = plain + bytes.get(plain..)?.iter().position(ends)?;
    let (line, rest) = bytes.split_at_checked(at)?;
    let (end, tail) = rest.split_first()?;
    Some((line, *end, tail))
}

#[cfg(test)]
mod tests;
