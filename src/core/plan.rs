//! The plan of a release: the ordered weights, what each step asks for, and what follows promotion.

use super::split::Weight;
use std::time::Duration;

/// The ordered weights of a release.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Steps with strictly rising weights.
    pub steps: Vec<Step>,
    /// What happens after promotion.
    pub watch: Watch,
    /// The whole release should be over by then; only alerts.
    pub deadline: Option<Duration>,
}

/// One step of a plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Step {
    /// The canary's weight.
    pub weight: Weight,
    /// Least time at this weight.
    pub hold: Duration,
    /// Least canary requests at this weight.
    pub requests: u64,
    /// Least canary labels at this weight.
    pub labels: u64,
    /// Whether it is left only once the judge has passed the canary, whatever its minima say.
    pub pass: bool,
    /// A person must say yes before this step is taken.
    pub approve: bool,
    /// What else the commit that takes it sets, such as the canary's replicas.
    pub set: Vec<FileEdit>,
}

/// The time after promotion, in which a late regression still rolls back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// How long the old model is kept; zero: not at all.
    pub hold: Duration,
    /// The share it keeps as a control.
    pub holdback: Weight,
}

/// How a rollback commit comes to say that the candidate gets nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RollbackKind {
    /// Weight and role of the variants involved.
    #[default]
    Weights,
    /// `git revert` of the release's commits; if that is not clean, or reaches beyond this route: as `Weights`.
    Revert,
    /// The route's block from the newest commit that passed; if there is none: as `Weights`.
    LastGood,
}

impl RollbackKind {
    /// The word the routes file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Revert => "revert",
            Self::LastGood => "last_good",
        }
    }
}

/// What a rollback does to the branch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rollback {
    /// How the route comes to say it.
    pub kind: RollbackKind,
    /// What else the same commit sets, such as the canary's replicas.
    pub set: Vec<FileEdit>,
}

/// Longest file, path and value of a [`FileEdit`], in bytes.
pub const FILE_EDIT_BYTES_MAX: usize = 256;

/// One scalar of another YAML file of the repository, set by the same commit as a weight.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FileEdit {
    file: Box<str>,
    path: Box<str>,
    value: Box<str>,
}

impl FileEdit {
    /// Sets the scalar at `path` (keys joined by dots; a number is a position in a list) of `file` to `value`.
    ///
    /// # Errors
    /// What is wrong with one of them, in words. Whoever may edit the routes file must not be able to reach out of the
    /// repository, nor to write more than one scalar.
    pub fn new(file: &str, path: &str, value: &str) -> Result<Self, &'static str> {
        let long =
            |text: &str| text.is_empty() || text.len() > FILE_EDIT_BYTES_MAX || text.chars().any(char::is_control);
        if long(file) || long(path) || long(value) {
            return Err("file, path and value are each one line of 1 to 256 bytes");
        }
        let strange = |part: &str| matches!(part, "" | "." | "..") || part.eq_ignore_ascii_case(".git");
        if file.contains(['\\', ':']) || file.starts_with('-') || file.split('/').any(strange) {
            return Err("the file is a path inside the repository, such as `models/digits/canary.yaml`");
        }
        if !file.ends_with(".yaml") && !file.ends_with(".yml") {
            return Err("only a file that ends in .yaml or .yml can be edited in place");
        }
        if path.split('.').any(|key| key.is_empty() || key.contains(char::is_whitespace)) {
            return Err("the path is keys joined by dots, such as `spec.replicas`");
        }
        Ok(Self { file: file.into(), path: path.into(), value: value.into() })
    }

    /// The file, relative to the repository's root.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The path as it was written.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The keys of the path, outermost first.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.path.split('.')
    }

    /// What the scalar is to say.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_stays_in_the_repository_and_is_one_scalar() {
        let check = |file: &str, path: &str, value: &str, good: bool| {
            assert_eq!(FileEdit::new(file, path, value).is_ok(), good, "{file} {path} {value}");
        };
        check("models/digits/canary.yaml", "spec.replicas", "4", true);
        check("canary.yml", "spec.containers.0.image", "repo/a:1", true);
        for file in
            ["/etc/a.yaml", "../a.yaml", "a/../b.yaml", "a//b.yaml", ".git/a.yaml", "-a.yaml", "a:b.yaml", "a.json", ""]
        {
            check(file, "spec.replicas", "4", false);
        }
        for path in ["", ".a", "a..b", "a b", "a."] {
            check("a.yaml", path, "4", false);
        }
        check("a.yaml", "a", "", false);
        check("a.yaml", "a", "1\nb: 2", false);
        check("a.yaml", "a", &"x".repeat(FILE_EDIT_BYTES_MAX), true);
        check("a.yaml", "a", &"x".repeat(FILE_EDIT_BYTES_MAX + 1), false);
    }

    #[test]
    fn an_edit_names_the_keys_on_the_way_to_its_scalar() {
        let edit = FileEdit::new("m/canary.yaml", "spec.containers.0.image", "repo/a:1").unwrap();
        assert_eq!(edit.keys().collect::<Vec<_>>(), ["spec", "containers", "0", "image"]);
        assert_eq!((edit.file(), edit.path(), edit.value()), ("m/canary.yaml", "spec.containers.0.image", "repo/a:1"));
    }

    #[test]
    fn kinds_of_rollback_are_written_as_in_the_file() {
        let kinds = [RollbackKind::Weights, RollbackKind::Revert, RollbackKind::LastGood];
        assert_eq!(kinds.map(RollbackKind::as_str), ["weights", "revert", "last_good"]);
    }
}
