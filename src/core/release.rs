//! Stub: the state of a release.

/// Where a release stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Release {
    /// Stub.
    Idle,
}

impl Release {
    /// The word in metrics, messages and the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
        }
    }

    /// The state in a sentence, with what it waits for.
    #[must_use]
    pub fn describe(&self) -> String {
        self.as_str().into()
    }
}
