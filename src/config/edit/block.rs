//! One route's block taken from an older text of the file; every byte outside of it stays.

use super::{
    EditError, finish, named,
    page::{Page, Splice},
};
use crate::config::tree::{Node, Value};
use std::ops::Range;

/// The text with the block of `route` as it stands in `good`, an older text of the file.
///
/// # Errors
/// [`EditError`]; the text is then to be left as it is.
pub fn restore(text: &str, good: &str, route: &str) -> Result<String, EditError> {
    let (page, good) = (Page::open(text)?, Page::open(good)?);
    let (mut wanted, mut older) = (page.tree()?, good.tree()?);
    let missing = || EditError::NoPlace(format!("route `{route}`"));
    let now = item(&mut wanted, route).ok_or_else(missing)?;
    let before = item(&mut older, route).ok_or_else(missing)?;
    let (place, source) = (place(now, page.inner()), place(before, good.inner()));
    // Lines of the block begin under its first key.
    let (from, to) = (column(good.inner(), source.start), column(page.inner(), place.start));
    let block = good.inner().get(source).unwrap_or("");
    let lines = block.split('\n').enumerate().map(|(i, line)| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let bare = line.get(from..).filter(|_| line.get(..from).is_some_and(|head| head.trim().is_empty()));
        match bare {
            _ if i == 0 => line.to_owned(),
            _ if line.trim().is_empty() => String::new(),
            Some(bare) => format!("{}{bare}", " ".repeat(to)),
            // A comment that stands further left.
            None => format!("{}{}", " ".repeat(to), line.trim_start()),
        }
    });
    let splice = Splice { span: place, text: lines.collect::<Vec<_>>().join("\n") };
    *now = before.clone();
    finish(&page, vec![splice], &wanted)
}

fn item<'a>(root: &'a mut Node, route: &str) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut root.value else { return None };
    named(&mut entries.iter_mut().find(|entry| entry.key == "routes")?.value, route)
}

/// From the first byte of the block to the end of its last line.
fn place(node: &Node, text: &str) -> Range<usize> {
    let end = last(node, text);
    let line_end = text.get(end..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| end + at);
    let bare_end = text.get(end..line_end).filter(|rest| rest.trim_start().starts_with('#')).map_or(end, |_| line_end);
    let end = if text.get(..bare_end).is_some_and(|text| text.ends_with('\r')) { bare_end - 1 } else { bare_end };
    node.span.start..end
}

/// Where the last thing in it ends: a collection without brackets ends with its last scalar, not where the next thing begins.
fn last(node: &Node, text: &str) -> usize {
    let bracket = text.get(node.span.start..).is_some_and(|rest| rest.starts_with(['{', '[']));
    match &node.value {
        Value::Map(entries) if !bracket => {
            entries.last().map_or(node.span.end, |entry| last(&entry.value, text).max(entry.key_span.end + 1))
        }
        Value::List(items) if !bracket => items.last().map_or(node.span.end, |item| last(item, text)),
        Value::Map(_) | Value::List(_) | Value::Scalar { .. } => node.span.end,
    }
}

/// Characters before a byte on its line.
fn column(text: &str, at: usize) -> usize {
    text.get(..at).map_or(0, |before| before.len() - before.rfind('\n').map_or(0, |i| i + 1))
}
