//! A weight that a person set for a while: the only thing that may go above the delivered weight. It ends by itself.

use crate::core::{command::BY_HAND_MS_MAX, name::Artefact, now::Now, split::Weight};

/// A candidate's weight, set by hand.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ByHand {
    /// Whose weight.
    pub artefact: Artefact,
    /// Which.
    pub weight: Weight,
    /// When it ends: on either clock, so that a clock that is set back does not keep it.
    pub until: Now,
    /// Who set it.
    pub by: Box<str>,
    /// Why.
    pub reason: Box<str>,
}

impl ByHand {
    /// When a weight that is set `now` for `for_ms` milliseconds ends.
    #[must_use]
    pub fn end(now: Now, for_ms: u64) -> Now {
        let for_ms = for_ms.min(BY_HAND_MS_MAX);
        Now { mono_ms: now.mono_ms.saturating_add(for_ms), wall_ms: now.wall_ms.saturating_add(for_ms) }
    }

    /// When, after a restart at `now`, something ends that was to end at `wall_ms` since 1970 UTC.
    #[must_use]
    pub fn end_again(now: Now, wall_ms: u64) -> Now {
        Self::end(now, wall_ms.saturating_sub(now.wall_ms))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        now.mono_ms >= self.until.mono_ms || now.wall_ms >= self.until.wall_ms
    }

    /// How long it lasts still, milliseconds.
    #[must_use]
    pub fn left_ms(&self, now: Now) -> u64 {
        let mono = self.until.mono_ms.saturating_sub(now.mono_ms);
        mono.min(self.until.wall_ms.saturating_sub(now.wall_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_whichever_clock_is_first_and_a_restart_does_not_make_it_longer() {
        let now = Now { mono_ms: 1_000, wall_ms: 500_000 };
        let set = |until| ByHand {
            artefact: Artefact::new("a"),
            weight: Weight::FULL,
            until,
            by: "ann".into(),
            reason: "".into(),
        };
        let one = set(ByHand::end(now, 60_000));
        assert!(!one.is_over(Now { mono_ms: 60_999, wall_ms: 559_999 }));
        assert!(one.is_over(Now { mono_ms: 61_000, wall_ms: 0 }), "the clock was set back");
        assert!(one.is_over(Now { mono_ms: 1_000, wall_ms: 560_000 }));
        let restarted = Now { mono_ms: 0, wall_ms: 530_000 };
        let again = set(ByHand::end_again(restarted, one.until.wall_ms));
        assert_eq!(again.left_ms(restarted), 30_000);
        assert_eq!(set(ByHand::end(now, u64::MAX)).left_ms(now), BY_HAND_MS_MAX);
    }
}
