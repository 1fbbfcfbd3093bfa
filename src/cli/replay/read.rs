//! Reading a recording: CSV by its header, or NDJSON by its keys.

use super::{
    Trouble,
    rows::{COLUMNS, Endpoints, Fields, NEEDED, NEEDED_WITH_LABELS, Wrong, event},
};
use crate::{config::problem::did_you_mean, core::replay::Event};
use csv::{ByteRecord, ReaderBuilder};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read},
    path::Path,
};

/// Requests in one file; each takes some 90 bytes of memory, and 24 more with a label.
const EVENTS_MAX: usize = 50_000_000;
/// Bytes of one line of NDJSON.
const LINE_BYTES_MAX: u64 = 1024 * 1024;
/// So many problems of a file are told.
const PROBLEMS_MAX: usize = 10;
const BUFFER_BYTES: usize = 256 * 1024;

/// A file that shows how far it has been read.
struct Shown<'a>(File, &'a ProgressBar);

impl Read for Shown<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(buffer)?;
        self.1.inc(n as u64);
        Ok(n)
    }
}

/// The events and what is wrong, line by line.
#[derive(Default)]
struct Found {
    events: Vec<Event>,
    endpoints: Endpoints,
    problems: Vec<String>,
    /// Problems that are not told.
    more: usize,
}

impl Found {
    fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX { self.problems.push(problem) } else { self.more += 1 }
    }

    /// Takes a row; whether there may be more.
    fn row(&mut self, line: u64, fields: &Fields<'_>) -> bool {
        match event(fields, &mut self.endpoints) {
            Ok(event) => self.events.push(event),
            Err(Wrong { column, what, help }) => self.problem(format!("{line}: {column}: {what}; {help}")),
        }
        if self.events.len() > EVENTS_MAX {
            self.problem(format!("{line}: more than {EVENTS_MAX} requests; split the recording"));
        }
        self.events.len() <= EVENTS_MAX
    }

    fn finish(mut self) -> Result<Vec<Event>, Trouble> {
        if self.problems.is_empty() && self.events.is_empty() {
            self.problem(
                "1: there is not one request in it; a recording has a header and a line per request".to_owned(),
            );
        }
        if self.more > 0 {
            let more = format!(" and {} problems more of this kind or another", self.more);
            self.problems.push(more);
        }
        if self.problems.is_empty() { Ok(self.events) } else { Err(Trouble::Problems(self.problems)) }
    }
}

/// The events of a file. `labels`: whether they are judged, so that they must be in it.
pub(super) fn events(path: &Path, labels: bool, bar: &ProgressBar) -> Result<Vec<Event>, Trouble> {
    let unreadable = |error: std::io::Error| Trouble::Unreadable(format!("cannot be read: {error}"));
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.is_dir() {
        return Err(Trouble::Unreadable("this is a directory; name the files in it".to_owned()));
    }
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, Shown(file, bar));
    // A byte order mark is no part of the first name.
    if reader.fill_buf().map_err(unreadable)?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let lines = path.extension().is_some_and(|ending| ending == "ndjson" || ending == "jsonl");
    let mut found = Found::default();
    let read = if lines { ndjson(reader, labels, &mut found) } else { csv(reader, labels, &mut found) };
    read.map_err(unreadable)?;
    found.finish()
}

/// Where each column stands; `None`: it does not.
type Places = [Option<usize>; COLUMNS.len()];

fn places(header: &ByteRecord, labels: bool, found: &mut Found) -> Places {
    let names: Vec<String> = header.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    if let [one] = names.as_slice()
        && one.contains([';', '\t'])
    {
        found.problem("1: the header is one field; separate the columns by commas".to_owned());
        return [None; COLUMNS.len()];
    }
    let known: Vec<&str> = names.iter().map(String::as_str).filter(|name| !COLUMNS.contains(name)).collect();
    let place = |column: &str, found: &mut Found| {
        let mut places = names.iter().enumerate().filter(|(_, name)| *name == column).map(|(place, _)| place);
        let first = places.next();
        if places.next().is_some() {
            found.problem(format!("1: {column}: there are two columns of this name; remove one"));
        }
        first
    };
    let mut all = [None; COLUMNS.len()];
    for (index, (column, slot)) in COLUMNS.iter().zip(&mut all).enumerate() {
        *slot = place(column, found);
        if slot.is_none() && index < if labels { NEEDED_WITH_LABELS } else { NEEDED } {
            let help = match did_you_mean(column, &known) {
                Some(near) => near,
                None if index >= NEEDED => "add it, or judge without labels by `--set accuracy=off`".to_owned(),
                None => format!("the header needs {}", COLUMNS.get(..NEEDED).unwrap_or_default().join(", ")),
            };
            found.problem(format!("1: {column}: there is no such column; {help}"));
        }
    }
    all
}

fn csv(reader: impl Read, labels: bool, found: &mut Found) -> std::io::Result<()> {
    let mut rows =
        ReaderBuilder::new().has_headers(false).flexible(true).buffer_capacity(BUFFER_BYTES).from_reader(reader);
    let mut record = ByteRecord::new();
    if !rows.read_byte_record(&mut record)? {
        return Ok(());
    }
    let (places, width) = (places(&record, labels, found), record.len());
    if !found.problems.is_empty() {
        return Ok(());
    }
    while rows.read_byte_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != width {
            found.problem(format!("{line}: {} fields, and the header has {width}; is a comma missing", record.len()));
            continue;
        }
        let mut fields: Fields<'_> = [""; COLUMNS.len()];
        let mut text = true;
        for (field, place) in fields.iter_mut().zip(places) {
            match place.and_then(|place| record.get(place)).map(std::str::from_utf8) {
                Some(Ok(value)) => *field = value.trim_ascii(),
                Some(Err(_)) => text = false,
                None => {}
            }
        }
        if !text {
            found.problem(format!("{line}: this is not UTF-8 text; is this the right file"));
            return Ok(());
        }
        if !found.row(line, &fields) {
            return Ok(());
        }
    }
    Ok(())
}

/// One line; numbers and words stay as they are written.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    t_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    variant: Option<&'a RawValue>,
    #[serde(borrow)]
    latency_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    ok: Option<&'a RawValue>,
    #[serde(borrow)]
    correct: Option<&'a RawValue>,
    #[serde(borrow)]
    label_t_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    split: Option<&'a RawValue>,
    #[serde(borrow)]
    endpoint: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    first_token_ms: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    /// Words lose their quotes; nothing that means something needs an escape.
    fn fields(&self) -> Fields<'a> {
        let text = |value: Option<&'a RawValue>| {
            let text = value.map_or("", RawValue::get);
            text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
        };
        [
            self.t_ms,
            self.variant,
            self.latency_ms,
            self.ok,
            self.correct,
            self.label_t_ms,
            self.split,
            self.endpoint,
            self.user,
            self.first_token_ms,
        ]
        .map(text)
    }
}

/// A key that no line has is missing, as a column is.
fn ndjson(mut reader: BufReader<Shown<'_>>, labels: bool, found: &mut Found) -> std::io::Result<()> {
    let (mut line, mut number, mut labelled) = (Vec::new(), 0, false);
    loop {
        line.clear();
        number += 1;
        if (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() as u64 >= LINE_BYTES_MAX {
            found.problem(format!("{number}: the line is longer than {LINE_BYTES_MAX} bytes; is this the right file"));
            return Ok(());
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Line<'_>>(&line) {
            Ok(read) => {
                labelled |= read.correct.is_some();
                if !found.row(number, &read.fields()) {
                    return Ok(());
                }
            }
            Err(error) => {
                // serde_json counts lines within what it was given, which is one.
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                found.problem(format!("{number}:{}: not a JSON object: {what}", error.column()));
            }
        }
    }
    if labels && !labelled && !found.events.is_empty() {
        found.problem("1: correct: no line has it; add it, or judge without labels by `--set accuracy=off`".to_owned());
    }
    Ok(())
}
