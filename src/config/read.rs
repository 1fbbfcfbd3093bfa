//! The whole way from text to a snapshot: plain or in a ConfigMap, bounded, all problems at once.

use super::{
    compile::compile,
    embedded::Embedded,
    fields::{Field, Problems},
    problem::{Problem, Warning},
    spec::Spec,
    tree,
};
use crate::core::{clamp::Clamps, snapshot::Snapshot};

/// Compiles a routes file, plain or inside a ConfigMap manifest. Places are those of `text` as it was given.
///
/// # Errors
/// Every problem there is, in the order of the text.
pub fn read(text: &str, clamps: &Clamps) -> Result<(Snapshot, Vec<Warning>), Vec<Problem>> {
    let locate = |list: Vec<Problem>| list.into_iter().map(|p| p.locate(text)).collect::<Vec<_>>();
    let result = match embedded(text) {
        Err(problem) => Err(vec![problem]),
        Ok(None) => read_plain(text, clamps),
        Ok(Some(inner)) => {
            let lift = |list: Vec<Problem>| list.into_iter().map(|p| inner.lift(p)).collect::<Vec<_>>();
            match read_plain(&inner.text, clamps) {
                Ok((snapshot, warnings)) => Ok((snapshot, lift(warnings))),
                Err(problems) => Err(lift(problems)),
            }
        }
    };
    match result {
        Ok((snapshot, warnings)) => Ok((snapshot, locate(warnings))),
        Err(problems) => Err(locate(problems)),
    }
}

/// The routes file inside `text` if that is a ConfigMap manifest; `None` if it is the routes file itself.
pub(super) fn embedded(text: &str) -> Result<Option<Embedded>, Problem> {
    let Some(root) = tree::parse(text)? else {
        return Ok(None);
    };
    Embedded::find(&root, text).transpose()
}

fn read_plain(text: &str, clamps: &Clamps) -> Result<(Snapshot, Vec<Warning>), Vec<Problem>> {
    let root = tree::parse(text).map_err(|problem| vec![problem])?;
    let Some(root) = root else {
        let help = "write `apiVersion`, `kind: RouteTable` and `routes`; config/minimal.yaml is an example";
        return Err(vec![Problem::new("", 0..0, "the file is empty", help)]);
    };
    let list = Problems::default();
    let spec = Spec::read(&Field::root(&root, &list));
    let (problems, mut warnings) = list.finish();
    let compiled = compile(&spec, clamps);
    match compiled {
        Ok((snapshot, more)) if problems.is_empty() => {
            warnings.extend(more);
            Ok((snapshot, warnings))
        }
        Ok(_) => Err(problems),
        Err(more) => Err([problems, more].concat()),
    }
}
