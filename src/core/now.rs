//! The present, as an argument: the core never reads a clock.

/// One reading of both clocks of the process.
#[derive(Clone, Copy, PartialEq, Hash, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Now {
    /// Milliseconds since the process started; never goes back. Windows, holds and deadlines are measured with it.
    pub mono_ms: u64,
    /// Milliseconds since 1970-01-01 UTC; may jump. For tickets, records and messages.
    pub wall_ms: u64,
}

impl Now {
    /// Milliseconds since `earlier` on the monotonic clock; zero if `earlier` is later.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.mono_ms.saturating_sub(earlier.mono_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_on_the_clock_that_never_goes_back() {
        let [before, after] =
            [(1_000, 9_000_000), (4_500, 8_000_000)].map(|(mono_ms, wall_ms)| Now { mono_ms, wall_ms });
        assert_eq!((after.since_ms(before), before.since_ms(after)), (3_500, 0));
    }
}
