//! Commits of ours, for those who tell people of them.

use super::intent::Intent;

/// A commit that this process has made. An outcome is gone as soon as nobody waits for it; this is told to whoever comes late.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Made {
    /// From 1 on, without gaps, for as long as the process lives.
    pub number: u64,
    /// What it does.
    pub intent: Intent,
    /// The commit's name.
    pub commit: Box<str>,
}

impl Made {
    /// So many of the last ones are kept.
    pub const MAX: usize = 64;

    /// Adds a commit to the last ones, unless it is among them: what has become of an intent is asked more than once.
    pub fn add(all: &mut Vec<Self>, intent: &Intent, commit: &str) {
        if all.iter().any(|made| *made.commit == *commit && made.intent.id() == intent.id()) {
            return;
        }
        let number = all.last().map_or(0, |last| last.number) + 1;
        all.drain(..(all.len() + 1).saturating_sub(Self::MAX));
        all.push(Self { number, intent: intent.clone(), commit: commit.into() });
    }

    /// Those that came after the one of number `seen`, which becomes that of the last one.
    pub fn news<'a>(all: &'a [Self], seen: &mut u64) -> impl Iterator<Item = &'a Self> + use<'a> {
        let before = std::mem::replace(seen, all.last().map_or(*seen, |last| last.number));
        all.iter().filter(move |made| made.number > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::{Signal, Verdict};
    use crate::core::release::tests::{Bed, at};

    #[test]
    fn each_commit_is_told_once_to_each_and_only_the_last_ones_are_kept() {
        let mut bed = Bed::new(at(1_000));
        bed.judge(Verdict::Fail(Signal::Errors), 100, 0);
        bed.look();
        let intent = bed.wanted()[0].intent.clone();
        let (mut all, mut seen) = (Vec::new(), 0);
        let mut news =
            |all: &[Made]| Made::news(all, &mut seen).map(|made| made.commit.to_string()).collect::<Vec<_>>();
        let none: [&str; 0] = [];
        assert_eq!(news(&all), none);
        Made::add(&mut all, &intent, "a");
        Made::add(&mut all, &intent, "a");
        Made::add(&mut all, &intent, "b");
        assert_eq!(news(&all), ["a", "b"]);
        assert_eq!(news(&all), none);
        Made::add(&mut all, &Intent { attempt: 2, ..intent.clone() }, "b");
        assert_eq!(news(&all), ["b"], "of another intent");
        (0..Made::MAX).for_each(|at| Made::add(&mut all, &intent, &format!("c{at}")));
        assert_eq!((all.len(), all[0].number, news(&all).len()), (Made::MAX, 4, Made::MAX));
        Made::add(&mut all, &intent, "d");
        assert_eq!((all.len(), all[0].number, news(&all)), (Made::MAX, 5, vec!["d".to_owned()]));
    }
}
