//! When an endpoint that keeps failing is left out, for how long, and how it comes back. Pure: outcomes in, health out.
//!
//! Passive: only real requests are looked at. Failures in a row eject; the time out doubles with every ejection; whoever
//! comes back is on trial. After Envoy's outlier detection (consecutive gateway failures, ejection time times the number of
//! ejections, `max_ejection_time`; its `success_rate` mode needs more traffic than an inference route has) and linkerd's
//! consecutive-failures accrual (exponential back-off, and a probation in which one failure is enough). Whether an
//! ejection is heeded is `core/balance`'s business: the last one stays in.

use super::tally::Outcome;
use http::StatusCode;
use std::time::Duration;

/// How patient a route is with an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Policy {
    /// Failures in a row that eject; so many successes in a row forgive all ejections.
    pub failures: u32,
    /// Length of the first ejection; each one after it is twice as long.
    pub eject: Duration,
    /// Longest ejection.
    pub eject_max: Duration,
}

impl Policy {
    /// How long the ejection number `ejections` (from 1) lasts, in milliseconds.
    #[must_use]
    pub fn eject_ms(&self, ejections: u32) -> u64 {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let doubled = 1_u64.checked_shl(ejections.saturating_sub(1)).unwrap_or(u64::MAX);
        millis(self.eject).saturating_mul(doubled).min(millis(self.eject_max))
    }
}

/// The health of one endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// Taken for good.
    Good {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Left out, and from `until_ms` on let in again, on trial.
    Ejected {
        /// On the monotonic clock.
        until_ms: u64,
        /// How often it has been ejected since it was last good.
        ejections: u32,
    },
    /// Let in again; the next failure ejects it at once.
    Trial {
        /// How often it has been ejected since it was last good.
        ejections: u32,
        /// Successes in a row since it is back.
        successes: u32,
    },
}

impl Default for Health {
    fn default() -> Self {
        Self::Good { failures: 0 }
    }
}

/// What one outcome says about the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sign {
    Success,
    Failure,
    Nothing,
}

/// An answer speaks for itself, whatever became of it: 502, 503 and 504 are what a process without its model says, and any
/// other shows that it is alive. A 500 is no sign of illness: a bug of the model is in all its pods, and ejecting them one
/// after the other would help nobody. Without an answer, only what the backend did counts: a caller that hangs up must
/// neither eject an endpoint nor keep a hung one in.
fn sign(outcome: Outcome, status: Option<StatusCode>) -> Sign {
    match outcome {
        Outcome::BackendConnect | Outcome::BackendReset | Outcome::BackendTimeout | Outcome::BackendMalformed => {
            Sign::Failure
        }
        Outcome::Ok
        | Outcome::BackendStatus
        | Outcome::BackendEmpty
        | Outcome::ClientGone
        | Outcome::ClientBad
        | Outcome::Proxy => match status {
            Some(StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
                Sign::Failure
            }
            Some(_) => Sign::Success,
            None if matches!(outcome, Outcome::Ok | Outcome::BackendStatus | Outcome::BackendEmpty) => Sign::Success,
            None => Sign::Nothing,
        },
    }
}

impl Health {
    /// Whether it is left out at `now_ms`.
    #[must_use]
    pub fn is_ejected(self, now_ms: u64) -> bool {
        match self {
            Self::Ejected { until_ms, .. } => now_ms < until_ms,
            Self::Good { .. } | Self::Trial { .. } => false,
        }
    }

    /// The health after a request to it ended like this; `status` if it answered.
    ///
    /// While it is ejected nothing changes: what ends then was begun before, or had nowhere else to go.
    #[must_use]
    pub fn on_outcome(self, outcome: Outcome, status: Option<StatusCode>, now_ms: u64, policy: &Policy) -> Self {
        let eject =
            |ejections: u32| Self::Ejected { until_ms: now_ms.saturating_add(policy.eject_ms(ejections)), ejections };
        let now = match self {
            Self::Ejected { until_ms, ejections } if now_ms >= until_ms => Self::Trial { ejections, successes: 0 },
            other => other,
        };
        match (now, sign(outcome, status)) {
            (_, Sign::Nothing) | (Self::Ejected { .. }, _) => self,
            (Self::Good { .. }, Sign::Success) => Self::default(),
            (Self::Good { failures }, Sign::Failure) => match failures.saturating_add(1) {
                failures if failures >= policy.failures => eject(1),
                failures => Self::Good { failures },
            },
            (Self::Trial { ejections, .. }, Sign::Failure) => eject(ejections.saturating_add(1)),
            (Self::Trial { ejections, successes }, Sign::Success) => match successes.saturating_add(1) {
                successes if successes >= policy.failures => Self::default(),
                successes => Self::Trial { ejections, successes },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { failures: 3, eject: Duration::from_secs(10), eject_max: Duration::from_secs(30) };

    /// A story of letters, each at its second: `.` a success, `x` a failure, `-` nothing; health after each.
    #[track_caller]
    fn check(story: &[(u64, char)], wanted: Health) {
        let mut health = Health::default();
        for (second, what) in story {
            let (outcome, status) = match what {
                '.' => (Outcome::Ok, Some(StatusCode::OK)),
                'x' => (Outcome::BackendConnect, None),
                _ => (Outcome::ClientGone, None),
            };
            health = health.on_outcome(outcome, status, second * 1000, &POLICY);
        }
        assert_eq!(health, wanted, "{story:?}");
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time_until_it_proves_itself() {
        let ejected = |until_ms, ejections| Health::Ejected { until_ms, ejections };
        let out = [(0, 'x'), (0, 'x'), (0, 'x')];
        let then = |more: &[(u64, char)]| [&out[..], more].concat();
        check(&out[..2], Health::Good { failures: 2 });
        check(&[(0, 'x'), (0, 'x'), (1, '.'), (1, 'x')], Health::Good { failures: 1 });
        check(&[(0, 'x'), (0, 'x'), (1, '-'), (1, 'x')], ejected(11_000, 1));
        check(&out, ejected(10_000, 1));
        // What still ends while it is out changes nothing.
        check(&then(&[(9, 'x'), (9, '.')]), ejected(10_000, 1));
        check(&then(&[(10, '-')]), ejected(10_000, 1));
        check(&then(&[(10, '.')]), Health::Trial { ejections: 1, successes: 1 });
        check(&then(&[(10, 'x')]), ejected(30_000, 2));
        check(&then(&[(10, '.'), (10, '.'), (11, 'x')]), ejected(31_000, 2));
        // 40 s would be next; 30 s is the longest.
        check(&then(&[(10, 'x'), (30, 'x')]), ejected(60_000, 3));
        check(&then(&[(10, 'x'), (30, '.'), (30, '.'), (30, '.')]), Health::default());
        check(&then(&[(10, '.'), (10, '.'), (10, '.'), (11, 'x')]), Health::Good { failures: 1 });
    }

    #[test]
    fn an_ejection_ends_by_itself() {
        let health = Health::Ejected { until_ms: 10_000, ejections: 1 };
        assert!(health.is_ejected(9_999) && !health.is_ejected(10_000));
        assert!(!Health::default().is_ejected(0) && !Health::Trial { ejections: 9, successes: 0 }.is_ejected(0));
    }

    #[test]
    fn every_outcome_is_a_sign_of_something_or_of_nothing() {
        let [fine, bug, gone] = [200, 500, 503].map(|code| Some(StatusCode::from_u16(code).unwrap()));
        for outcome in Outcome::ALL {
            let wanted = match outcome {
                Outcome::BackendConnect
                | Outcome::BackendReset
                | Outcome::BackendTimeout
                | Outcome::BackendMalformed => [Sign::Failure; 4],
                Outcome::Ok | Outcome::BackendStatus | Outcome::BackendEmpty => {
                    [Sign::Success, Sign::Success, Sign::Success, Sign::Failure]
                }
                Outcome::ClientGone | Outcome::ClientBad | Outcome::Proxy => {
                    [Sign::Nothing, Sign::Success, Sign::Success, Sign::Failure]
                }
            };
            assert_eq!([None, fine, bug, gone].map(|status| sign(outcome, status)), wanted, "{outcome:?}");
        }
    }

    #[test]
    fn lengths_double_up_to_the_longest_and_never_overflow() {
        let lengths = [0, 1, 2, 3, 64, 65, u32::MAX].map(|n| POLICY.eject_ms(n));
        assert_eq!(lengths, [10_000, 10_000, 20_000, 30_000, 30_000, 30_000, 30_000]);
        let endless = Policy { failures: 1, eject: Duration::MAX, eject_max: Duration::MAX };
        let health = Health::default().on_outcome(Outcome::BackendReset, None, u64::MAX - 1, &endless);
        assert_eq!(health, Health::Ejected { until_ms: u64::MAX, ejections: 1 });
    }
}
