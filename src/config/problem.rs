//! What is wrong with a text, told to the person who edits it: where, what, and what to do.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The place in words: `routes[0].variants[1].weight`; empty for the whole text.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it; may be empty.
    pub help: String,
    /// The bytes it is about.
    pub span: Range<usize>,
    /// Line of the first of them, from 1.
    pub line: usize,
    /// Column of the first of them in characters, from 1.
    pub column: usize,
}

/// Something that is allowed and probably not meant.
pub type Warning = Problem;

impl Problem {
    /// A problem whose line and column are filled in by [`Problem::locate`].
    #[must_use]
    pub fn new(path: &str, span: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into(), help: help.into(), span, line: 0, column: 0 }
    }

    /// Works out line and column in `text`, whose bytes the span counts.
    #[must_use]
    pub fn locate(mut self, text: &str) -> Self {
        let before = text.get(..self.span.start).unwrap_or(text);
        self.line = before.matches('\n').count() + 1;
        self.column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        self
    }

    /// The problem on one line: `routes.yaml:3:7: routes[0].name: ...`.
    #[must_use]
    pub fn one_line(&self, file: &str) -> String {
        let path = if self.path.is_empty() { String::new() } else { format!("{}: ", self.path) };
        let help = if self.help.is_empty() { String::new() } else { format!("; {}", self.help) };
        format!("{file}:{}:{}: {path}{}{help}", self.line, self.column, self.what)
    }

    /// The problem as an excerpt of `text` with a caret under its place.
    #[must_use]
    pub fn render(&self, file: &str, text: &str, colour: bool) -> String {
        let title = if self.path.is_empty() { self.what.clone() } else { format!("{}: {}", self.path, self.what) };
        // Long lines and huge texts stay out of the excerpt: three lines around the place are enough.
        let (excerpt, first_line, start) = excerpt(text, self.span.start);
        let end = (self.span.end.saturating_sub(self.span.start) + start).min(excerpt.len());
        let place = start.min(excerpt.len())..end.max(start.min(excerpt.len()));
        let snippet =
            Snippet::source(excerpt).line_start(first_line).path(file).annotation(AnnotationKind::Primary.span(place));
        let mut group = Group::with_title(Level::ERROR.primary_title(title)).element(snippet);
        if !self.help.is_empty() {
            group = group.element(Level::HELP.message(self.help.clone()));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

/// The lines around byte `at`, the number of the first of them, and where `at` is in them.
fn excerpt(text: &str, at: usize) -> (&str, usize, usize) {
    let at = at.min(text.len());
    let line_start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |i| i + 1);
    let start = text.get(..line_start.saturating_sub(1)).and_then(|before| before.rfind('\n')).map_or(0, |i| i + 1);
    let line_end = text.get(at..).and_then(|after| after.find('\n')).map_or(text.len(), |i| at + i);
    let first = text.get(..start).unwrap_or("").matches('\n').count() + 1;
    (text.get(start..line_end).unwrap_or(""), first, at - start)
}

/// `did you mean` one of `known`, if one of them is near.
#[must_use]
pub fn did_you_mean(word: &str, known: &[&str]) -> Option<String> {
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min()?;
    Some(format!("did you mean `{}`?", near.1))
}
