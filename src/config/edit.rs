//! Sets weight and role of variants in the text of a routes file, plain or inside a ConfigMap; every other byte stays.

use super::{
    read::{self, read},
    tree::{self, Node, Value},
};
use crate::core::{clamp::Clamps, release::intent::Change};
use std::ops::Range;

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

/// The text with the changes made to `route`.
///
/// # Errors
/// [`EditError`]; the text is then to be left as it is.
pub fn edit(text: &str, route: &str, changes: &[Change]) -> Result<String, EditError> {
    let invalid = |problem: super::Problem| EditError::Invalid(problem.one_line("routes.yaml"));
    let embedded = read::embedded(text).map_err(invalid)?;
    let inner = embedded.as_ref().map_or(text, |embedded| &embedded.text);
    let mut wanted = parse(inner)?;
    let mut splices: Vec<(Range<usize>, String)> = Vec::new();
    for change in changes {
        for (key, value) in [("weight", change.weight.to_string()), ("role", change.role.as_str().to_owned())] {
            let name = format!("`{key}` of variant `{}` of route `{route}`", change.variant);
            let scalar = find(&mut wanted, route, change.variant.as_str(), key);
            let span = scalar.map(|node| set(node, &value)).ok_or_else(|| EditError::NoPlace(name.clone()))?;
            let place = match &embedded {
                None => Some(span),
                Some(embedded) => embedded.outer(span.start).zip(embedded.outer(span.end)).map(|(a, b)| a..b),
            };
            splices.push((place.ok_or(EditError::NoPlace(name))?, value));
        }
    }
    splices.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut edited = text.to_owned();
    for (span, value) in splices {
        edited.replace_range(span, &value);
    }
    let embedded = read::embedded(&edited).map_err(invalid)?;
    let inner = embedded.as_ref().map_or(edited.as_str(), |embedded| &embedded.text);
    if parse(inner)?.canonical() != wanted.canonical() {
        return Err(EditError::Unsound);
    }
    let first = |problems: Vec<super::Problem>| problems.into_iter().next().map_or(EditError::Unsound, invalid);
    read(&edited, &Clamps::default()).map_err(first)?;
    Ok(edited)
}

fn parse(text: &str) -> Result<Node, EditError> {
    let root = tree::parse(text).map_err(|problem| EditError::Invalid(problem.one_line("routes.yaml")))?;
    root.ok_or_else(|| EditError::Invalid("it is empty".into()))
}

fn find<'a>(root: &'a mut Node, route: &str, variant: &str, key: &str) -> Option<&'a mut Node> {
    entry(named(entry(named(entry(root, "routes")?, route)?, "variants")?, variant)?, key)
}

fn entry<'a>(node: &'a mut Node, key: &str) -> Option<&'a mut Node> {
    let Value::Map(entries) = &mut node.value else { return None };
    entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
}

fn named<'a>(list: &'a mut Node, name: &str) -> Option<&'a mut Node> {
    let Value::List(items) = &mut list.value else { return None };
    items.iter_mut().find(|item| item.entry("name").and_then(|entry| entry.value.text()) == Some(name))
}

/// Sets a scalar in the tree; where it stands in the text.
fn set(node: &mut Node, value: &str) -> Range<usize> {
    if let Value::Scalar { text, .. } = &mut node.value {
        value.clone_into(text);
    }
    node.span.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{name::VariantName, split::Weight, variant::Role};

    const PLAIN: &str = "# ours\r\napiVersion: coalmine.dev/v1alpha1\nkind: RouteTable\nroutes:\n  - name: a   # one\n    match: { path: /a }\n    variants:\n      - { name: v1, role: stable, weight: 90, url: 'http://h:1' }   # old\n      - name: v2\n        weight: \"10\"  # new\n        role: 'canary'\n        url: http://h:2\n";

    fn rollback() -> [Change; 2] {
        let name = |name| VariantName::new(name).unwrap();
        [
            Change { variant: name("v1"), weight: Weight::FULL, role: Role::Stable },
            Change { variant: name("v2"), weight: Weight::ZERO, role: Role::Rejected },
        ]
    }

    #[test]
    fn all_else_stays_byte_for_byte() {
        let wanted = PLAIN.replace("weight: 90", "weight: 100").replace("\"10\"", "0").replace("'canary'", "rejected");
        assert_eq!(edit(PLAIN, "a", &rollback()).unwrap(), wanted);
    }

    #[test]
    fn a_config_map_is_edited_in_its_block() {
        let map = |inner: &str| {
            let indented: String = inner.lines().map(|line| format!("    {line}\n")).collect();
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: r }}\ndata:\n  routes.yaml: |\n{indented}")
        };
        let inner = PLAIN.replace('\r', "");
        let wanted = inner.replace("weight: 90", "weight: 100").replace("\"10\"", "0").replace("'canary'", "rejected");
        assert_eq!(edit(&map(&inner), "a", &rollback()).unwrap(), map(&wanted));
    }

    #[test]
    fn what_cannot_be_edited_is_said() {
        assert!(matches!(edit(PLAIN, "b", &rollback()), Err(EditError::NoPlace(_))));
        assert!(matches!(edit("routes: [", "a", &rollback()), Err(EditError::Invalid(_))));
        let half = &rollback()[..1];
        assert!(matches!(edit(PLAIN, "a", half), Err(EditError::Invalid(_))), "110 % must not be written");
    }
}
