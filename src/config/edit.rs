//! Edits of YAML texts in place: named scalars, or one route's block, change; every other byte stays.
//!
//! Whatever an edit cannot do safely it refuses, with the line, and it compares what the result says with what was asked for.

mod block;
mod page;

pub use block::restore;

use super::{
    problem::Problem,
    read::read,
    tree::{self, Node, Value},
};
use crate::core::{clamp::Clamps, plan::FileEdit, release::intent::Change};
use page::{Page, Splice, written};

/// What a routes file is called in messages: its path in the repository is known to whoever reads them.
const ROUTES: &str = "routes.yaml";

/// Why the text was left alone.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditError {
    /// The text does not compile, before or after.
    #[error("the file on the branch is not valid: {0}")]
    Invalid(String),
    /// There is nothing of that name, or it is not a plain scalar.
    #[error("cannot edit {0} in place; write it as a plain scalar (in a ConfigMap: under `routes.yaml: |`)")]
    NoPlace(String),
    /// The result says something else than was asked for.
    #[error("the edit would have changed more than it should; nothing was written")]
    Unsound,
}

/// The text of a routes file, plain or in a ConfigMap, with the changes made to `route`.
///
/// # Errors
/// [`EditError`]; the text is then to be left as it is.
pub fn edit(text: &str, route: &str, changes: &[Change]) -> Result<String, EditError> {
    let page = Page::open(text)?;
    let mut wanted = page.tree()?;
    let mut splices = Vec::new();
    for change in changes {
        for (key, value) in [("weight", change.weight.to_string()), ("role", change.role.as_str().to_owned())] {
            let name = format!("`{key}` of variant `{}` of route `{route}`", change.variant);
            let node = find(&mut wanted, route, change.variant.as_str(), key);
            let node = node.ok_or_else(|| EditError::NoPlace(name.clone()))?;
            splices.extend(set_node(node, page.inner(), &value).map_err(|at| page.no_place(&name, at))?);
        }
    }
    finish(&page, splices, &wanted)
}

/// The text of any YAML file with the scalars of `edits` set.
///
/// # Errors
/// [`EditError`]; the text is then to be left as it is.
pub fn set(text: &str, edits: &[&FileEdit]) -> Result<String, EditError> {
    let file = edits.first().map_or("", |edit| edit.file());
    let invalid = |problem: Problem| EditError::Invalid(problem.locate(text).one_line(file));
    let root = tree::parse(text).map_err(invalid)?;
    let mut wanted = root.ok_or_else(|| EditError::Invalid(format!("{file} is empty")))?;
    let page = Page::plain(text);
    let mut splices = Vec::new();
    for edit in edits {
        let name = format!("`{}` of {file}", edit.path());
        let node = follow(&mut wanted, edit.keys()).ok_or_else(|| EditError::NoPlace(name.clone()))?;
        splices.extend(set_node(node, text, edit.value()).map_err(|at| page.no_place(&name, at))?);
    }
    let edited = page.put(splices)?;
    let result = tree::parse(&edited).map_err(invalid)?.ok_or(EditError::Unsound)?;
    if result.canonical() == wanted.canonical() { Ok(edited) } else { Err(EditError::Unsound) }
}

/// What the scalar of a [`FileEdit`] says; `None` if there is none.
#[must_use]
pub fn value(text: &str, edit: &FileEdit) -> Option<String> {
    let mut root = tree::parse(text).ok()??;
    follow(&mut root, edit.keys())?.text().map(str::to_owned)
}

/// Puts the splices in; the result must be a good routes file that says `wanted`.
fn finish(page: &Page<'_>, splices: Vec<Splice>, wanted: &Node) -> Result<String, EditError> {
    let edited = page.put(splices)?;
    if Page::open(&edited)?.tree()?.canonical() != wanted.canonical() {
        return Err(EditError::Unsound);
    }
    let first = |problems: Vec<Problem>| {
        problems.first().map_or(EditError::Unsound, |problem| EditError::Invalid(problem.one_line(ROUTES)))
    };
    read(&edited, &Clamps::default()).map_err(first)?;
    Ok(edited)
}

/// Sets a scalar in the tree; what that means for the text, which is nothing if it says so already. On an error, where it is.
fn set_node(node: &mut Node, text: &str, value: &str) -> Result<Option<Splice>, usize> {
    let at = node.span.start;
    let said = written(node, text, value).ok_or(at)?;
    let Value::Scalar { text: now, .. } = &mut node.value else { return Err(at) };
    if now == value {
        return Ok(None);
    }
    value.clone_into(now);
    Ok(Some(Splice { span: node.span.clone(), text: said }))
}

fn find<'a>(root: &'a mut Node, route: &str, variant: &str, key: &str) -> Option<&'a mut Node> {
    entry(named(entry(named(entry(root, "routes")?, route)?, "variants")?, variant)?, key)
}

/// The node at a path of keys and positions.
fn follow<'a, 'k>(root: &'a mut Node, mut keys: impl Iterator<Item = &'k str>) -> Option<&'a mut Node> {
    keys.try_fold(root, |node, key| match &mut node.value {
        Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value),
        Value::List(items) => items.get_mut(key.parse::<usize>().ok()?),
        Value::Scalar { .. } => None,
    })
}

fn entry<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

fn named<'a>(list: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    let Value::List(items) = &mut list.value else { return None };
    items.iter_mut().find(|item| item.entry("name").and_then(|entry| entry.value.text()) == Some(name))
}
