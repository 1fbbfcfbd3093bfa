//! A text with a routes file in it, and bytes put in place of others: the only way an edit writes.

use super::{EditError, ROUTES};
use crate::config::{
    embedded::Embedded,
    problem::Problem,
    read,
    tree::{self, Node, Value},
};
use granit_parser::ScalarStyle;
use std::{cmp::Reverse, ops::Range};

/// New bytes for a place in the inner text.
#[derive(Debug)]
pub(super) struct Splice {
    pub(super) span: Range<usize>,
    pub(super) text: String,
}

/// A text, and the routes file in it.
#[derive(Debug)]
pub(super) struct Page<'a> {
    outer: &'a str,
    embedded: Option<Embedded>,
}

impl<'a> Page<'a> {
    /// A routes file, plain or in a ConfigMap.
    pub(super) fn open(outer: &'a str) -> Result<Self, EditError> {
        let invalid = |problem: Problem| EditError::Invalid(problem.locate(outer).one_line(ROUTES));
        Ok(Self { outer, embedded: read::embedded(outer).map_err(invalid)? })
    }

    /// Any text.
    pub(super) fn plain(outer: &'a str) -> Self {
        Self { outer, embedded: None }
    }

    /// The routes file.
    pub(super) fn inner(&self) -> &str {
        self.embedded.as_ref().map_or(self.outer, |embedded| &embedded.text)
    }

    /// The routes file as a tree whose spans are those of [`Self::inner`].
    pub(super) fn tree(&self) -> Result<Node, EditError> {
        let lift = |problem: Problem| match &self.embedded {
            Some(embedded) => embedded.lift(problem),
            None => problem,
        };
        let invalid = |problem: Problem| EditError::Invalid(lift(problem).locate(self.outer).one_line(ROUTES));
        tree::parse(self.inner()).map_err(invalid)?.ok_or_else(|| EditError::Invalid("it is empty".into()))
    }

    /// Why `name`, which stands at byte `at` of the inner text, cannot be edited.
    pub(super) fn no_place(&self, name: &str, at: usize) -> EditError {
        let outer = self.outer_byte(at).unwrap_or(at);
        let line = self.outer.get(..outer).unwrap_or("").matches('\n').count() + 1;
        EditError::NoPlace(format!("{name} (line {line})"))
    }

    /// The whole text with the splices put in. What is put in has `\n` for line breaks and no indentation of the ConfigMap's.
    pub(super) fn put(&self, mut splices: Vec<Splice>) -> Result<String, EditError> {
        splices.sort_by_key(|splice| Reverse(splice.span.start));
        let line_break = if self.outer.contains("\r\n") { "\r\n" } else { "\n" };
        let mut edited = self.outer.to_owned();
        let mut end = self.outer.len();
        for Splice { span, text } in splices {
            let place = self.outer_byte(span.start).zip(self.outer_byte(span.end));
            let (from, to) = place.ok_or_else(|| self.no_place("the routes file", span.start))?;
            // One within another would be cut off.
            if from > to || to > end {
                return Err(EditError::Unsound);
            }
            let indent = " ".repeat(self.indent(span.start));
            let lines = text.split('\n').enumerate();
            let lines =
                lines.map(|(i, line)| if i == 0 || line.is_empty() { line.into() } else { format!("{indent}{line}") });
            edited.replace_range(from..to, &lines.collect::<Vec<String>>().join(line_break));
            end = from;
        }
        Ok(edited)
    }

    fn outer_byte(&self, inner: usize) -> Option<usize> {
        self.embedded.as_ref().map_or(Some(inner), |embedded| embedded.outer(inner))
    }

    /// How far a ConfigMap's block is indented at the line of this byte.
    fn indent(&self, inner: usize) -> usize {
        let line = self.inner().get(..inner).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        match &self.embedded {
            None => 0,
            Some(embedded) => embedded.outer(line).map_or(0, |outer| {
                outer - self.outer.get(..outer).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
            }),
        }
    }
}

/// How `value` is written in place of a scalar, in the scalar's own quotes; `None` if that takes more than its bytes.
pub(super) fn written(node: &Node, text: &str, value: &str) -> Option<String> {
    let Value::Scalar { style, .. } = &node.value else { return None };
    let there = text.get(node.span.clone()).filter(|there| !there.is_empty() && !there.contains('\n'))?;
    match style {
        ScalarStyle::Plain if is_plain(value) => Some(value.to_owned()),
        ScalarStyle::SingleQuoted if there.starts_with('\'') => Some(format!("'{}'", value.replace('\'', "''"))),
        // JSON's escapes are YAML's.
        ScalarStyle::Plain => Some(serde_json::Value::from(value).to_string()),
        ScalarStyle::DoubleQuoted if there.starts_with('"') => Some(serde_json::Value::from(value).to_string()),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted | ScalarStyle::Literal | ScalarStyle::Folded => None,
    }
}

/// Whether it means itself without quotes wherever a scalar may stand, also between brackets.
fn is_plain(value: &str) -> bool {
    let Ok(Some(Node { value: Value::List(items), .. })) = tree::parse(&format!("[{value}]")) else { return false };
    matches!(items.as_slice(), [Node { value: Value::Scalar { text, style: ScalarStyle::Plain }, .. }] if text == value)
}
