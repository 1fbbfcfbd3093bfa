//! What one independent observation of errors and latency is, and why: requests of one user or of one pod fail together.

/// What the route's file says of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ModeChoice {
    /// Users on a sticky route; endpoints if both variants have several; else requests.
    #[default]
    Auto,
    /// As [`Mode`].
    Fixed(Mode),
}

/// What is one independent observation of errors and latency. Fixed at the start of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Mode {
    /// A request.
    #[default]
    Requests,
    /// An endpoint during a [window](super::Policy::window_ms): a pod that pauses is one observation, not hundreds.
    Endpoints,
    /// A user's first failure: a user for whom all requests fail is one observation. Latency stays with requests.
    Users,
}

impl Mode {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Endpoints, Self::Users];

    /// The word in the routes file, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Endpoints => "endpoints",
            Self::Users => "users",
        }
    }
}

/// A mode, and whether the file said it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Chosen {
    /// The mode.
    pub mode: Mode,
    /// Whether the file said it; else the route's own traits chose it.
    pub said: bool,
}

impl Chosen {
    /// What the file says, or what a route of this kind needs. `sticky`: whether a user keeps their variant; `endpoints`: how many
    /// the canary and stable have. With one canary endpoint a bad pod cannot be told from a bad version by anything.
    #[must_use]
    pub fn new(choice: ModeChoice, sticky: bool, [canary, stable]: [usize; 2]) -> Self {
        match choice {
            ModeChoice::Fixed(mode) => Self { mode, said: true },
            ModeChoice::Auto if sticky => Self { mode: Mode::Users, said: false },
            ModeChoice::Auto if canary > 1 && stable > 1 => Self { mode: Mode::Endpoints, said: false },
            ModeChoice::Auto => Self { mode: Mode::Requests, said: false },
        }
    }

    /// Why this mode, in words.
    #[must_use]
    pub fn why(self) -> &'static str {
        match (self.mode, self.said) {
            (Mode::Requests, true) => "the routes file says that every request is one observation",
            (Mode::Endpoints, true) => "the routes file says that an endpoint during one window is one observation",
            (Mode::Users, true) => "the routes file says that a user's first failure is one observation",
            (Mode::Requests, false) => {
                "every request is one observation: users do not keep their variant, and not both variants have several endpoints"
            }
            (Mode::Endpoints, false) => {
                "both variants have several endpoints: an endpoint during one window is one observation, so that a pod that \
                 pauses alone is not taken for a slow version"
            }
            (Mode::Users, false) => {
                "users keep their variant: a user's first failure is one observation, so that one user in trouble is not taken \
                 for a bad version"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_goes_before_the_route_and_the_route_before_the_default() {
        let check = |choice, sticky, endpoints, mode| {
            let chosen = Chosen::new(choice, sticky, endpoints);
            assert_eq!(chosen.mode, mode, "{choice:?} {sticky} {endpoints:?}");
            assert!(!chosen.why().contains('\n') && chosen.why().contains("one observation"));
        };
        check(ModeChoice::Auto, false, [1, 5], Mode::Requests);
        check(ModeChoice::Auto, false, [5, 1], Mode::Requests);
        check(ModeChoice::Auto, false, [2, 3], Mode::Endpoints);
        check(ModeChoice::Auto, true, [2, 3], Mode::Users);
        for mode in Mode::ALL {
            check(ModeChoice::Fixed(mode), true, [4, 4], mode);
        }
        assert_eq!(Chosen::default(), Chosen::new(ModeChoice::Auto, false, [0, 0]));
    }
}
