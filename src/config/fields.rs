//! Reading a map field by field. Every problem goes on one list; unknown keys are found by what nobody asked for.

use super::{
    problem::{Problem, did_you_mean},
    tree::{Entry, Node, Value},
};
use std::{cell::RefCell, ops::Range};

/// The list of problems and warnings of one text.
#[derive(Debug, Default)]
pub(super) struct Problems {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Problems {
    pub(super) fn add(&self, place: &Place, what: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::new(&place.path, place.span.clone(), what, help);
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn warn(&self, place: &Place, what: impl Into<String>, help: impl Into<String>) {
        let warning = Problem::new(&place.path, place.span.clone(), what, help);
        self.warnings.borrow_mut().push(warning);
    }

    pub(super) fn any(&self) -> bool {
        !self.problems.borrow().is_empty()
    }

    /// Problems and warnings, each in the order of the text.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let sorted = |mut list: Vec<Problem>| {
            list.sort_by_key(|problem| problem.span.start);
            list
        };
        (sorted(self.problems.into_inner()), sorted(self.warnings.into_inner()))
    }
}

/// Where something stands: its path in words and its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    pub(super) path: String,
    pub(super) span: Range<usize>,
}

/// Something the text says, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

/// A value of the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    node: &'a Node,
    list: &'a Problems,
}

/// A value with its path.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    at: At<'a>,
    path: String,
}

impl<'a> Field<'a> {
    pub(super) fn root(node: &'a Node, list: &'a Problems) -> Self {
        Self { at: At { node, list }, path: String::new() }
    }

    pub(super) fn place(&self) -> Place {
        Place { path: self.path.clone(), span: self.at.node.span.clone() }
    }

    pub(super) fn node(&self) -> &'a Node {
        self.at.node
    }

    pub(super) fn wrong(&self, what: impl Into<String>, help: impl Into<String>) {
        self.at.list.add(&self.place(), what, help);
    }

    pub(super) fn warn(&self, what: impl Into<String>, help: impl Into<String>) {
        self.at.list.warn(&self.place(), what, help);
    }

    /// The scalar's text; an empty one and a collection are problems.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.at.node.text() {
            Some(text) if !text.is_empty() => Some(text),
            Some(_) => {
                self.wrong("this has no value", "give it one, or remove the key");
                None
            }
            None => {
                self.wrong("one value is expected here", "not a list and not a map");
                None
            }
        }
    }

    /// The value through `parse`, whose error says what is wrong.
    pub(super) fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(self.text()?).map_err(|what| self.wrong(what, "")).ok()
    }

    /// The same, with its place.
    pub(super) fn said<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<Said<T>> {
        Some(Said { value: self.parse(parse)?, place: self.place() })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = did_you_mean(text, &known).unwrap_or_else(|| format!("one of {}", known.join(", ")));
        self.wrong(format!("`{text}` is not known here"), help);
        None
    }

    /// Whether it is the word `off` (or `false`), which turns an optional part off.
    pub(super) fn is_off(&self) -> bool {
        matches!(self.at.node.text(), Some("off" | "false"))
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Self> {
        match &self.at.node.value {
            Value::List(items) => {
                let at = |(i, node)| Self { at: At { node, list: self.at.list }, path: format!("{}[{i}]", self.path) };
                items.iter().enumerate().map(at).collect()
            }
            Value::Scalar { .. } | Value::Map(_) => {
                self.wrong("a list is expected here", "begin each item with `- `");
                Vec::new()
            }
        }
    }

    /// Entries of a map whose keys are free, such as header names.
    pub(super) fn free_entries(&self) -> Vec<(&'a str, Self)> {
        match &self.at.node.value {
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.as_str(), self.child(entry))).collect(),
            Value::Scalar { .. } | Value::List(_) => {
                self.wrong("a map is expected here", "write `key: value`");
                Vec::new()
            }
        }
    }

    /// The value as a map whose keys are known; `None` (and a problem) if it is none.
    pub(super) fn map(&self) -> Option<Map<'a>> {
        let Value::Map(entries) = &self.at.node.value else {
            self.wrong("a map is expected here", "write `key: value`");
            return None;
        };
        Some(Map { field: self.clone(), entries, asked: RefCell::default() })
    }

    fn child(&self, entry: &'a Entry) -> Self {
        let path = if self.path.is_empty() { entry.key.clone() } else { format!("{}.{}", self.path, entry.key) };
        Self { at: At { node: &entry.value, list: self.at.list }, path }
    }
}

/// A map that remembers which keys were asked for. Call [`Map::done`] at the end: it is what finds unknown keys.
#[derive(Debug)]
pub(super) struct Map<'a> {
    pub(super) field: Field<'a>,
    entries: &'a [Entry],
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Map<'a> {
    /// The value of `key`, if it is there.
    pub(super) fn get(&self, key: &'static str) -> Option<Field<'a>> {
        self.asked.borrow_mut().push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.field.child(entry))
    }

    /// The value of `key`; a problem if it is missing.
    pub(super) fn need(&self, key: &'static str, help: &str) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            // The first line of the map is where the key would stand.
            let mut place = self.field.place();
            place.span.end = self.entries.first().map_or(place.span.end, |entry| entry.key_span.end);
            self.field.at.list.add(&place, format!("`{key}` is missing"), help);
        }
        field
    }

    /// `parse`d value of `key`, or `otherwise` if it is missing or wrong (a problem is noted if it is wrong).
    pub(super) fn or<T>(&self, key: &'static str, otherwise: T, parse: impl FnOnce(&str) -> Result<T, String>) -> T {
        self.get(key).and_then(|field| field.parse(parse)).unwrap_or(otherwise)
    }

    /// Finds keys nobody asked for and keys that stand twice.
    pub(super) fn done(self) {
        let asked = self.asked.borrow();
        for (i, entry) in self.entries.iter().enumerate() {
            let place = Place { path: self.field.child(entry).path, span: entry.key_span.clone() };
            let list = self.field.at.list;
            if !asked.contains(&entry.key.as_str()) {
                let help =
                    did_you_mean(&entry.key, &asked).unwrap_or_else(|| format!("known here: {}", asked.join(", ")));
                list.add(&place, format!("unknown key `{}`", entry.key), help);
            } else if self.entries.iter().take(i).any(|earlier| earlier.key == entry.key) {
                list.add(&place, format!("`{}` stands here twice", entry.key), "keep one of them");
            }
        }
    }
}

/// `true` or `false`.
pub(super) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("`{other}` is neither true nor false")),
    }
}

/// A whole number of at most `max`.
pub(super) fn whole(max: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match text.parse::<u64>() {
        Ok(number) if number <= max && text.bytes().all(|b| b.is_ascii_digit()) => Ok(number),
        _ => Err(format!("`{text}` is not a whole number from 0 to {max}")),
    }
}
