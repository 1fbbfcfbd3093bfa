//! YAML text as a tree of nodes that know their bytes. Bounded before anything is built: size, depth, nodes; anchors,
//! aliases and tags are refused, so that nothing can multiply.

use super::problem::Problem;
use granit_parser::{Event, Parser, ScalarStyle, Span};
use std::ops::Range;

/// Largest text that is looked at. A ConfigMap holds at most 1 MiB.
pub(super) const TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Deepest nesting.
pub(super) const DEPTH_MAX: usize = 24;
/// Most nodes.
pub(super) const NODES_MAX: usize = 200_000;

/// A value and the bytes it was written with.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Scalar { text: String, style: ScalarStyle },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value`.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

impl Node {
    /// The entry called `key`, of a map.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    /// The scalar's text, of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// What it says, without how it is written: comments, quotes and order of keys do not matter.
    pub(super) fn canonical(&self) -> String {
        match &self.value {
            Value::Scalar { text, .. } => format!("{text:?}"),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(Self::canonical).collect();
                format!("[{}]", items.join(","))
            }
            Value::Map(entries) => {
                let mut entries: Vec<String> =
                    entries.iter().map(|entry| format!("{:?}:{}", entry.key, entry.value.canonical())).collect();
                entries.sort();
                format!("{{{}}}", entries.join(","))
            }
        }
    }
}

/// A collection that is being read.
struct Open {
    start: Range<usize>,
    items: Vec<Node>,
    map: bool,
}

/// The one document in `text`; `None` if there is nothing in it but comments.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Problem> {
    let whole = |what: String, help: &str| Problem::new("", 0..0, what, help);
    if text.len() > TEXT_BYTES_MAX {
        let what = format!("the text has {} bytes, more than {TEXT_BYTES_MAX}", text.len());
        return Err(whole(what, "a ConfigMap holds at most 1 MiB; is this the right file?"));
    }
    if let Some(at) = text.find('\0') {
        return Err(Problem::new("", at..at + 1, "this is not text", "a NUL byte was found; is this the right file?"));
    }
    let mut builder = Builder::default();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| syntax(&error, text))?;
        builder.take(event, &bytes(&span, text))?;
    }
    Ok(builder.root)
}

fn syntax(error: &granit_parser::ScanError, text: &str) -> Problem {
    let at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    Problem::new("", at..at, format!("not valid YAML: {}", error.info()), "")
}

fn bytes(span: &Span, text: &str) -> Range<usize> {
    span.byte_range().filter(|range| text.get(range.clone()).is_some()).unwrap_or(0..0)
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    nodes: usize,
    documents: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Range<usize>) -> Result<(), Problem> {
        let refuse = |what: String, help: &str| Err(Problem::new("", span.clone(), what, help));
        if event.tag().is_some() {
            return refuse("YAML tags are not used here".into(), "remove the `!...`");
        }
        match event {
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                refuse("anchors are not used here".into(), "remove the `&...`")
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                refuse("aliases are not used here".into(), "write the value out instead of `*...`")
            }
            Event::Scalar(text, style, ..) => {
                self.add(Node { span: span.clone(), value: Value::Scalar { text: text.into_owned(), style } })
            }
            Event::SequenceStart(..) => self.begin(span, false),
            Event::MappingStart(..) => self.begin(span, true),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::DocumentStart(..) if self.documents > 0 => {
                refuse("more than one document".into(), "keep one document in the file")
            }
            Event::DocumentStart(..) => {
                self.documents += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, span: &Range<usize>, map: bool) -> Result<(), Problem> {
        if self.open.len() >= DEPTH_MAX {
            let what = format!("nested deeper than {DEPTH_MAX} levels");
            return Err(Problem::new("", span.clone(), what, "no key of this file is that deep"));
        }
        self.open.push(Open { start: span.clone(), items: Vec::new(), map });
        Ok(())
    }

    fn end(&mut self, span: &Range<usize>) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let whole = open.start.start..span.end.max(open.start.end);
        let value = if open.map { Value::Map(entries(open.items)?) } else { Value::List(open.items) };
        self.add(Node { span: whole, value })
    }

    fn add(&mut self, node: Node) -> Result<(), Problem> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let what = format!("more than {NODES_MAX} values");
            return Err(Problem::new("", node.span, what, "is this the right file?"));
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}

fn entries(items: Vec<Node>) -> Result<Vec<Entry>, Problem> {
    let mut items = items.into_iter();
    let mut entries = Vec::new();
    while let (Some(key), Some(value)) = (items.next(), items.next()) {
        let Value::Scalar { text, .. } = key.value else {
            return Err(Problem::new("", key.span, "a key must be plain text", ""));
        };
        entries.push(Entry { key: text, key_span: key.span, value });
    }
    Ok(entries)
}
