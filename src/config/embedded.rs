//! A ConfigMap manifest with the routes file in a block scalar (`data: routes.yaml: |`), and how bytes of the inner text
//! relate to bytes of the manifest.

use super::{
    problem::Problem,
    tree::{Node, Value},
};
use granit_parser::ScalarStyle;
use std::ops::Range;

/// The key under `data` that holds the routes file.
pub(super) const KEY: &str = "routes.yaml";

/// An inner text and where its lines stand in the outer one.
#[derive(Debug)]
pub(super) struct Embedded {
    pub(super) text: String,
    /// Outer byte of each inner line's first character.
    starts: Vec<usize>,
    /// The whole scalar in the outer text: where a problem goes that has no better place.
    span: Range<usize>,
}

impl Embedded {
    /// The routes file inside a manifest; `None` if the tree is not a ConfigMap.
    pub(super) fn find(root: &Node, outer: &str) -> Option<Result<Self, Problem>> {
        (root.entry("kind")?.value.text()? == "ConfigMap").then(|| Self::of_manifest(root, outer))
    }

    fn of_manifest(root: &Node, outer: &str) -> Result<Self, Problem> {
        let missing = || {
            let help = format!("write `data:` and under it `{KEY}: |` and the routes file, indented");
            Problem::new("data", root.span.clone(), format!("this ConfigMap has no `{KEY}`"), help)
        };
        let entry = root.entry("data").and_then(|data| data.value.entry(KEY)).ok_or_else(missing)?;
        let Value::Scalar { text, style } = &entry.value.value else {
            return Err(missing());
        };
        let starts = if *style == ScalarStyle::Literal { line_starts(text, outer, entry.key_span.end) } else { None };
        let span = entry.value.span.clone();
        // Without a line map problems still have a place (the scalar); only edits need the map.
        Ok(Self { text: text.clone(), starts: starts.unwrap_or_default(), span })
    }

    /// Where byte `inner` stands in the outer text; `None` if the scalar is not a literal block.
    pub(super) fn outer(&self, inner: usize) -> Option<usize> {
        let before = self.text.get(..inner)?;
        let line = before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1);
        Some(self.starts.get(line)? + column)
    }

    /// The problem, told about the outer text.
    pub(super) fn lift(&self, problem: Problem) -> Problem {
        let span = self.outer(problem.span.start).zip(self.outer(problem.span.end));
        Problem { span: span.map_or(self.span.clone(), |(start, end)| start..end), ..problem }
    }
}

/// The outer start of every inner line, checked byte for byte; `None` if the two do not agree.
fn line_starts(inner: &str, outer: &str, after: usize) -> Option<Vec<usize>> {
    let header_end = after + outer.get(after..)?.find('\n')? + 1;
    let mut starts = Vec::new();
    let mut at = header_end;
    let mut indent = None;
    for line in inner.split('\n') {
        let rest = outer.get(at..)?;
        let raw = rest.split('\n').next()?;
        let written = raw.strip_suffix('\r').unwrap_or(raw);
        if line.is_empty() {
            starts.push(at + written.len().min(indent.unwrap_or(0)));
        } else {
            let here = written.len().checked_sub(line.len())?;
            let agrees = written.ends_with(line) && *indent.get_or_insert(here) == here;
            agrees.then(|| starts.push(at + here))?;
        }
        at = (at + raw.len() + 1).min(outer.len());
    }
    Some(starts)
}
