//! Where the messages of one HTTP/1 connection begin and end, read strictly from its bytes: one reading, or none.
//!
//! hyper repairs what it can: it ends lines at a bare LF, drops a length beside chunks, merges equal lengths, skips chunk
//! extensions, cuts a `#fragment` off. Whoever stands before us may read such bytes in another way, and once hyper has parsed them
//! nobody can tell any more. So this reads along and stops at the first byte that is in doubt. It knows lines and framing only;
//! names, values, methods and limits are hyper's. What both accept ends at the same byte for both.

/// What of a line is kept when it comes in pieces. A field that frames a message is not longer; no other one is looked at.
const LINE_KEPT: usize = 64;
/// Digits of a chunk's size: as many as a `u64` has.
const SIZE_DIGITS: u8 = 16;
/// Fields that a trailer must not have: they say where a message ends, whom it is for, or what becomes of the connection.
const NOT_IN_TRAILERS: [&[u8]; 8] =
    [b"content-length", b"transfer-encoding", b"host", b"trailer", b"te", b"connection", b"keep-alive", b"upgrade"];

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A request line, or an empty line before it.
    Request,
    /// A line of a head, after the first.
    Field,
    /// A body of a known length.
    Body,
    /// The line before a chunk.
    Size,
    /// A chunk.
    Data,
    /// The line that ends a chunk.
    DataEnd,
    /// A line after the last chunk.
    Trailer,
    /// After a head that asks for another protocol: whether it is HTTP is not decided.
    Waiting,
    /// Another protocol.
    Opaque,
    /// After a byte in doubt.
    Doubt,
}

/// How a request says its length, and what else of its head matters here.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Head {
    http11: bool,
    chunked: bool,
    length: Option<u64>,
    upgrade: bool,
}

/// The current line, as far as it came in pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Line {
    kept: [u8; LINE_KEPT],
    len: usize,
}

impl Line {
    const EMPTY: Self = Self { kept: [0; LINE_KEPT], len: 0 };

    fn push(&mut self, piece: &[u8]) {
        for (to, from) in self.kept.iter_mut().skip(self.len).zip(piece) {
            *to = *from;
        }
        self.len = self.len.saturating_add(piece.len());
    }

    fn kept(&self) -> &[u8] {
        self.kept.get(..self.len.min(LINE_KEPT)).unwrap_or_default()
    }
}

/// The reader of one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wire {
    place: Place,
    /// Bytes that are left of a body or a chunk; while a size is read, what it says so far.
    left: u64,
    /// Digits of the size that is being read.
    digits: u8,
    /// The line's CR has come, and its LF has to.
    cr: bool,
    /// The method has ended.
    spaced: bool,
    line: Line,
    head: Head,
    heads: u64,
}

impl Default for Wire {
    fn default() -> Self {
        Self {
            place: Place::Request,
            left: 0,
            digits: 0,
            cr: false,
            spaced: false,
            line: Line::EMPTY,
            head: Head::default(),
            heads: 0,
        }
    }
}

impl Wire {
    /// Reads on. How many of these bytes may be used: all, or those up to the end of a head that asks for another protocol.
    /// The others must be shown again after [`Self::answered`].
    ///
    /// # Errors
    /// The offset of the first byte that is in doubt. It and all that follow must not be used, whatever comes.
    pub fn check(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.place {
                Place::Body | Place::Data => self.skip(rest),
                Place::Waiting => return Ok(at),
                Place::Opaque => return Ok(bytes.len()),
                Place::Doubt => return Err(at),
                Place::Request | Place::Field | Place::Size | Place::DataEnd | Place::Trailer => {
                    self.line(rest).map_err(|doubt| {
                        self.place = Place::Doubt;
                        at + doubt
                    })?
                }
            };
        }
        Ok(at)
    }

    /// Heads that have come to their end.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether the last head asked for another protocol, and the bytes after it wait for [`Self::answered`].
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.place == Place::Waiting
    }

    /// Whether a head has begun and not ended.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        match self.place {
            Place::Request => self.cr || self.spaced || self.line.len > 0,
            Place::Field => true,
            _ => false,
        }
    }

    /// Whether nothing but whole messages has come.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.place == Place::Request && !self.is_in_head()
    }

    /// Whether the protocol that the last head asked for is spoken from now on.
    pub fn answered(&mut self, changed: bool) {
        if self.is_waiting() {
            self.place = if changed { Place::Opaque } else { Place::Request };
        }
    }

    fn skip(&mut self, bytes: &[u8]) -> usize {
        let here = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= here as u64;
        if self.left == 0 {
            self.place = if self.place == Place::Data { Place::DataEnd } else { Place::Request };
        }
        here
    }

    /// Reads to the end of a line, or of what there is: how many bytes that were, or the offset of the first one in doubt.
    fn line(&mut self, bytes: &[u8]) -> Result<usize, usize> {
        if self.cr {
            return if bytes.first() == Some(&b'\n') { self.end(None).map(|()| 1).ok_or(0) } else { Err(0) };
        }
        let Some(end) = find(bytes, *b"\r\n") else {
            return self.piece(bytes).map(|()| bytes.len());
        };
        let (piece, rest) = bytes.split_at_checked(end).unwrap_or_default();
        match rest {
            // The whole line is here: no field has to be copied.
            [b'\r', b'\n', ..] if self.line.len == 0 && matches!(self.place, Place::Field | Place::Trailer) => {
                self.end(Some(piece)).map(|()| end + 2).ok_or(end + 1)
            }
            [b'\r', b'\n', ..] => {
                self.piece(piece)?;
                self.end(None).map(|()| end + 2).ok_or(end + 1)
            }
            [b'\r', _, ..] => self.piece(piece).and(Err(end + 1)),
            [b'\r'] => {
                self.piece(piece)?;
                self.cr = true;
                Ok(end + 1)
            }
            _ => self.piece(piece).and(Err(end)),
        }
    }

    /// A part of a line, without its end; the offset of the first byte in doubt.
    fn piece(&mut self, piece: &[u8]) -> Result<(), usize> {
        match self.place {
            Place::Request => return self.request_line(piece),
            Place::Size => return self.size(piece),
            Place::DataEnd if !piece.is_empty() => return Err(0),
            _ => self.line.push(piece),
        }
        Ok(())
    }

    /// Of a request line only the last word is kept: the version.
    fn request_line(&mut self, piece: &[u8]) -> Result<(), usize> {
        let target = if self.spaced { 0 } else { find(piece, *b"  ").unwrap_or(piece.len()) };
        if let Some(hash) = find(piece.get(target..).unwrap_or_default(), *b"##") {
            return Err(target + hash);
        }
        match piece.iter().rposition(|b| *b == b' ') {
            Some(space) => {
                self.spaced = true;
                self.line.len = 0;
                self.line.push(piece.get(space + 1..).unwrap_or_default());
            }
            None => self.line.push(piece),
        }
        Ok(())
    }

    fn size(&mut self, piece: &[u8]) -> Result<(), usize> {
        for (at, byte) in piece.iter().enumerate() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                _ => return Err(at),
            };
            if self.digits == SIZE_DIGITS {
                return Err(at);
            }
            self.digits += 1;
            self.left = self.left << 4 | u64::from(digit);
        }
        Ok(())
    }

    /// The current line ends; `None`: something about it is in doubt. `whole` is the line if it did not come in pieces.
    fn end(&mut self, whole: Option<&[u8]>) -> Option<()> {
        self.cr = false;
        match self.place {
            Place::Request if self.spaced || self.line.len > 0 => {
                self.head = Head { http11: self.line.kept() == b"HTTP/1.1", ..Head::default() };
                self.place = Place::Field;
                self.spaced = false;
            }
            Place::Size if self.digits > 0 => {
                self.place = if self.left == 0 { Place::Trailer } else { Place::Data };
            }
            Place::Size => return None,
            Place::DataEnd => self.begin_size(),
            Place::Field | Place::Trailer => {
                let line = self.line;
                let (line, len) = whole.map_or((line.kept(), line.len), |line| (line, line.len()));
                match (self.place, len) {
                    (Place::Field, 0) => self.end_head(),
                    (Place::Field, _) => self.field(line, len)?,
                    (_, 0) => self.place = Place::Request,
                    _ => trailer(line)?,
                }
            }
            _ => {}
        }
        self.line.len = 0;
        Some(())
    }

    fn begin_size(&mut self) {
        self.place = Place::Size;
        (self.left, self.digits) = (0, 0);
    }

    fn end_head(&mut self) {
        self.heads += 1;
        match self.head {
            Head { chunked: true, .. } => self.begin_size(),
            Head { length: Some(length @ 1..), .. } => {
                self.place = Place::Body;
                self.left = length;
            }
            // Behind a body the protocol never changes (proxy/strict).
            Head { upgrade: true, http11: true, .. } => self.place = Place::Waiting,
            Head { .. } => self.place = Place::Request,
        }
    }

    /// A line of a head; `line` is at least its first [`LINE_KEPT`] bytes of `len`.
    fn field(&mut self, line: &[u8], len: usize) -> Option<()> {
        // Only three names matter, and their first letters tell them from nearly all others.
        match line.first()?.to_ascii_lowercase() {
            b' ' | b'\t' => return None,
            b'c' => {
                if let Some(value) = value(line, b"content-length") {
                    let alone = self.head.length.is_none() && !self.head.chunked && len <= LINE_KEPT;
                    self.head.length = Some(number(value).filter(|_| alone)?);
                }
            }
            b't' => {
                if let Some(value) = value(line, b"transfer-encoding") {
                    let alone = self.head.length.is_none() && !self.head.chunked && len <= LINE_KEPT;
                    let known = value.eq_ignore_ascii_case(b"chunked") && self.head.http11;
                    self.head.chunked = (alone && known).then_some(true)?;
                }
            }
            b'u' if value(line, b"upgrade").is_some() => self.head.upgrade = true,
            _ => {}
        }
        Some(())
    }
}

/// A trailer line; `None` if it is in doubt.
fn trailer(line: &[u8]) -> Option<()> {
    let folded = matches!(line.first()?, b' ' | b'\t');
    (!folded && NOT_IN_TRAILERS.iter().all(|name| value(line, name).is_none())).then_some(())
}

/// The value of a field of this name, without spaces around it.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (said, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    said.eq_ignore_ascii_case(name).then(|| trim(value))
}

fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

fn number(digits: &[u8]) -> Option<u64> {
    let add = |sum: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    digits.iter().try_fold(0, add).filter(|_| !digits.is_empty())
}

/// The first byte that is one of two. Eight at a time: in `word ^ needle` a wanted byte is zero, and taking one away borrows from
/// zero bytes only, up to the first of them.
pub(super) fn find(bytes: &[u8], wanted: [u8; 2]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let [one, other] = wanted.map(|byte| ONES * u64::from(byte));
    let (blocks, rest) = bytes.as_chunks::<8>();
    for (n, block) in blocks.iter().enumerate() {
        let word = u64::from_le_bytes(*block);
        let found = zeros(word ^ one) | zeros(word ^ other);
        if found != 0 {
            return Some(n * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| wanted.contains(byte)).map(|at| blocks.len() * 8 + at)
}

#[cfg(test)]
mod tests;
