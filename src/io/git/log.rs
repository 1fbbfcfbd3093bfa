//! The record of releases: commits of the branch that carry our trailers.

/// What ends a field in what `git log` is asked for; no text has it.
const FIELD: char = '\u{1f}';

/// The format that [`Recorded::read`] reads.
pub(super) const FORMAT: &str = "--format=%H%x1f%P%x1f%ct%x1f%an%x1f%B%x1f%(trailers:only=true,unfold=true)";

/// A commit with trailers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// The commit.
    pub commit: String,
    /// Its parents.
    pub parents: Vec<String>,
    /// When it was made, seconds since 1970 UTC.
    pub time_s: i64,
    /// Who made it.
    pub author: String,
    /// The whole message.
    pub message: String,
    /// Names and values, in their order.
    pub trailers: Vec<(String, String)>,
}

impl Recorded {
    /// The first trailer of that name.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first line.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }

    /// One commit of `git log -z` in our format.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut fields = text.split(FIELD);
        let mut next = || fields.next();
        let (commit, parents, time, author, message, trailers) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let trailer = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self {
            commit: commit.trim().to_owned(),
            parents: parents.split(' ').filter(|parent| !parent.is_empty()).map(str::to_owned).collect(),
            time_s: time.parse().ok()?,
            author: author.to_owned(),
            message: message.to_owned(),
            trailers: trailers.lines().filter_map(trailer).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_from_the_log() {
        let text =
            "ab12\u{1f}cd34 ef56\u{1f}1700000000\u{1f}Ann\u{1f}step(a): x\n\nbody\n\u{1f}A-Route: a\nA-By: x: y\n";
        let read = Recorded::read(text).unwrap();
        assert_eq!((read.commit.as_str(), read.subject(), read.time_s), ("ab12", "step(a): x", 1_700_000_000));
        assert_eq!(read.parents, ["cd34", "ef56"]);
        assert_eq!((read.trailer("A-Route"), read.trailer("A-By"), read.trailer("B")), (Some("a"), Some("x: y"), None));
        assert_eq!(Recorded::read("ab12\u{1f}"), None);
    }
}
