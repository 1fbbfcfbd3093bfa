//! The whole way from text to a snapshot: plain or in a ConfigMap, bounded, all problems at once.

use super::{
    compile::compile,
    embedded::Embedded,
    fields::{Field, Problems},
    problem::{Problem, Warning},
    spec::{Spec, policy::policy},
    tree,
};
use crate::core::{clamp::Clamps, judge::Policy, snapshot::Snapshot};

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

/// A route's `judge` section from single settings, such as `errors.may_rise` = `0.1%`; what they do not say is as `base` has it.
///
/// # Errors
/// Every problem there is; their paths are the keys, their places mean nothing.
pub fn judge(settings: &[(&str, &str)], base: &Policy) -> Result<Policy, Vec<Problem>> {
    let mut sections: Vec<(&str, Vec<String>)> = Vec::new();
    for (key, value) in settings {
        // A quoted scalar, so that a value stays one whatever is in it.
        let value = serde_json::Value::from(*value);
        match key.split_once('.') {
            None => sections.push((key, vec![format!("{key}: {value}")])),
            Some((section, inner)) => {
                let inner = format!("{inner}: {value}");
                match sections.iter_mut().find(|(name, lines)| *name == section && lines.len() != 1) {
                    Some((_, lines)) => lines.push(inner),
                    None => sections.push((section, vec![format!("{section}:"), inner])),
                }
            }
        }
    }
    let lines = sections.into_iter().flat_map(|(_, lines)| lines.into_iter().enumerate());
    let text: String = lines.map(|(i, line)| format!("{}{line}\n", if i == 0 { "" } else { "  " })).collect();
    let Some(root) = tree::parse(&text).map_err(|problem| vec![problem])? else { return Ok(base.clone()) };
    let list = Problems::default();
    let read = policy(&Field::root(&root, &list), base);
    let (problems, _) = list.finish();
    read.filter(|_| problems.is_empty()).ok_or(problems)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_settings_stand_over_what_is_there() {
        let base = Policy { alpha: 0.02, ..Policy::default() };
        assert_eq!(judge(&[], &base), Ok(base.clone()));
        let said = [("errors.may_rise", "1%"), ("warmup", "0s"), ("errors.pass_ratio", "2"), ("accuracy", "off")];
        let policy = judge(&said, &base).unwrap();
        let errors = policy.errors.unwrap();
        assert_eq!((errors.may_rise, errors.pass_ratio, errors.pass_margin), (0.01, 2.0, 0.002));
        assert_eq!((policy.alpha, policy.warmup_ms, policy.accuracy), (0.02, 0, None));
        assert_eq!(policy.latency, base.latency);
    }

    #[track_caller]
    fn refused(said: &[(&str, &str)], path: &str, text: &str) {
        let problems = judge(said, &Policy::default()).unwrap_err();
        let found = problems.iter().any(|p| p.path == path && format!("{} {}", p.what, p.help).contains(text));
        assert!(found, "{problems:?}");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        refused(&[("errors.may_rice", "1%")], "errors.may_rice", "may_rise");
        refused(&[("errors.may_rise", "a: { lot }")], "errors.may_rise", "not a share");
        refused(&[("errors", "off"), ("latency", "off"), ("accuracy", "off")], "", "every signal is off");
        refused(&[("warmup", "1s"), ("warmup", "2s")], "warmup", "twice");
    }
}
