//! How a request ended, and why a model stopped generating: the labels of the counts.

/// How a request ended, by whose doing. Only the variants whose name starts with `Backend` count against a variant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Outcome {
    /// The whole answer went to the caller, and its status is below 500.
    Ok,
    /// The backend answered with a 5xx status, or with the error that stands for one in a stream or in gRPC.
    BackendStatus,
    /// No connection to the backend.
    BackendConnect,
    /// The backend broke the connection, or cut its answer off.
    BackendReset,
    /// The backend kept a time limit waiting.
    BackendTimeout,
    /// The backend's answer is not valid HTTP, or not what its protocol calls an answer.
    BackendMalformed,
    /// The answer ended well and there is nothing in it, where the protocol must have something: a model that says nothing.
    BackendEmpty,
    /// The caller went away, or stopped reading.
    ClientGone,
    /// The caller's request is not valid, too large or too slow.
    ClientBad,
    /// We refused: a limit of ours, or draining.
    Proxy,
}

impl Outcome {
    /// Every outcome, in the order of their cells.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::BackendStatus,
        Self::BackendConnect,
        Self::BackendReset,
        Self::BackendTimeout,
        Self::BackendMalformed,
        Self::BackendEmpty,
        Self::ClientGone,
        Self::ClientBad,
        Self::Proxy,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BackendStatus => "backend_status",
            Self::BackendConnect => "backend_connect",
            Self::BackendReset => "backend_reset",
            Self::BackendTimeout => "backend_timeout",
            Self::BackendMalformed => "backend_malformed",
            Self::BackendEmpty => "backend_empty",
            Self::ClientGone => "client_gone",
            Self::ClientBad => "client_bad",
            Self::Proxy => "proxy",
        }
    }

    /// Whether the backend is to blame.
    #[must_use]
    pub fn is_backend_fault(self) -> bool {
        match self {
            Self::BackendStatus
            | Self::BackendConnect
            | Self::BackendReset
            | Self::BackendTimeout
            | Self::BackendMalformed
            | Self::BackendEmpty => true,
            Self::Ok | Self::ClientGone | Self::ClientBad | Self::Proxy => false,
        }
    }
}

/// Why a model stopped generating, in the words of `OpenAI`'s `finish_reason`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Finish {
    /// It had said what it had to say.
    Stop,
    /// It ran into the limit on tokens.
    Length,
    /// It wants a tool called.
    ToolCalls,
    /// A filter took the rest.
    ContentFilter,
    /// A reason that we do not know.
    Other,
    /// It did not say; a stream that ends so may have been cut off.
    #[default]
    None,
}

impl Finish {
    /// Every reason, in the order of their cells.
    pub const ALL: [Self; 6] =
        [Self::Stop, Self::Length, Self::ToolCalls, Self::ContentFilter, Self::Other, Self::None];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::Other => "other",
            Self::None => "none",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_has_the_cell_at_its_position() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, position);
            assert_eq!(outcome.is_backend_fault(), outcome.as_str().starts_with("backend_"), "{outcome:?}");
        }
        for (position, finish) in Finish::ALL.into_iter().enumerate() {
            assert_eq!(finish as usize, position);
        }
    }

    #[test]
    fn reasons_to_stop_are_called_what_openai_calls_them() {
        let words = Finish::ALL.map(Finish::as_str);
        assert_eq!(words, ["stop", "length", "tool_calls", "content_filter", "other", "none"]);
    }
}
