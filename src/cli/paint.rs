//! Colours, where somebody looks at a terminal and has not said no.

use std::io::IsTerminal as _;

/// Whether to paint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// As standard output is: a terminal, and `NO_COLOR` is not set.
    pub(super) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(std::io::stdout().is_terminal() && !refused)
    }

    fn with(self, code: u8, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with(32, text)
    }

    pub(super) fn warn(self, text: &str) -> String {
        self.with(33, text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with(31, text)
    }
}
