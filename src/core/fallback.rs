//! Where a request goes after its variant failed it: to stable once, or nowhere. Pure; asked before the first byte has
//! gone to the caller.

use super::{route::FallbackPolicy, tally::Outcome};
use http::StatusCode;

/// How an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Whose doing, and what.
    pub outcome: Outcome,
    /// The status, if the backend answered.
    pub status: Option<StatusCode>,
    /// Whether the request, body and all, can be sent again.
    pub replayable: bool,
}

/// Whether `failure` of a variant that is not stable is to be answered by stable.
#[must_use]
pub fn to_stable(policy: Option<&FallbackPolicy>, failure: Failure) -> bool {
    let Some(policy) = policy.filter(|_| failure.replayable) else {
        return false;
    };
    match failure.outcome {
        Outcome::BackendConnect => policy.connect,
        Outcome::BackendTimeout => policy.timeout,
        Outcome::BackendReset | Outcome::BackendMalformed | Outcome::BackendEmpty => policy.reset,
        Outcome::BackendStatus => failure.status.is_some_and(|status| policy.statuses.contains(&status)),
        Outcome::Ok | Outcome::ClientGone | Outcome::ClientBad | Outcome::Proxy => false,
    }
}

/// Whether a policy can ask for a request that was sent already: then its body is kept while it is sent.
#[must_use]
pub fn needs_replay(policy: Option<&FallbackPolicy>) -> bool {
    policy.is_some_and(|policy| policy.timeout || policy.reset || !policy.statuses.is_empty())
}

/// Endpoints of one backend that are tried for one request, while none can be reached.
pub const ENDPOINTS_TRIED_MAX: usize = 3;

/// Whether a request that has failed at the last of `tried` endpoints goes to another one: nothing of it was sent, and somebody else
/// may be there, as a connection to a name tries all its addresses. Which one, `core/balance` says.
#[must_use]
pub fn to_another_endpoint(tried: usize, unsent: bool, in_time: bool) -> bool {
    unsent && in_time && tried < ENDPOINTS_TRIED_MAX
}

/// Resends that may run beside `active` requests: a fifth of them, and three in any case, so that a backend in trouble is not
/// hit twice as hard.
#[must_use]
pub fn resend_allowed(active: usize, resending: usize) -> bool {
    resending < (active / 5).max(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_policy_names_and_only_if_it_can_be_sent_again() {
        let policy =
            FallbackPolicy { connect: true, statuses: vec![StatusCode::BAD_GATEWAY], ..FallbackPolicy::default() };
        let check = |outcome, status: Option<StatusCode>, replayable, wanted| {
            let failure = Failure { outcome, status, replayable };
            assert_eq!(to_stable(Some(&policy), failure), wanted, "{failure:?}");
            assert!(!to_stable(None, failure));
        };
        check(Outcome::BackendConnect, None, true, true);
        check(Outcome::BackendConnect, None, false, false);
        check(Outcome::BackendTimeout, None, true, false);
        check(Outcome::BackendStatus, Some(StatusCode::BAD_GATEWAY), true, true);
        check(Outcome::BackendStatus, Some(StatusCode::INTERNAL_SERVER_ERROR), true, false);
        check(Outcome::BackendEmpty, None, true, false);
        check(Outcome::ClientBad, None, true, false);
        check(Outcome::Proxy, None, true, false);
    }

    #[test]
    fn another_endpoint_only_for_what_was_not_sent_in_time_and_three_at_most() {
        for (tried, unsent, in_time, wanted) in [
            (1, true, true, true),
            (2, true, true, true),
            (3, true, true, false),
            (1, false, true, false),
            (1, true, false, false),
            (2, false, false, false),
        ] {
            assert_eq!(to_another_endpoint(tried, unsent, in_time), wanted, "{tried} {unsent} {in_time}");
        }
    }

    #[test]
    fn resends_stay_within_their_budget() {
        assert!(resend_allowed(0, 2) && !resend_allowed(0, 3));
        assert!(resend_allowed(100, 19) && !resend_allowed(100, 20));
    }

    #[test]
    fn a_body_is_kept_only_for_what_may_be_sent_twice() {
        let none = FallbackPolicy::default();
        assert!(!needs_replay(None) && !needs_replay(Some(&none)));
        // A connection that never stood has taken nothing of the body.
        assert!(!needs_replay(Some(&FallbackPolicy { connect: true, ..none.clone() })));
        for policy in [
            FallbackPolicy { timeout: true, ..none.clone() },
            FallbackPolicy { reset: true, ..none.clone() },
            FallbackPolicy { statuses: vec![StatusCode::BAD_GATEWAY], ..none.clone() },
        ] {
            assert!(needs_replay(Some(&policy)), "{policy:?}");
        }
    }
}
