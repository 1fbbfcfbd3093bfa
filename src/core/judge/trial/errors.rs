//! Errors: by request, by endpoint and window, or by user; times what shadow copies showed before the canary had callers.

use crate::core::{
    judge::{EndpointBlock, ErrorsPolicy, Mode, Pairs, Part, PartEvidence, RequestBlock, Test, Unit, UserBlock},
    stats::{
        Counts, Numbers,
        endpoint::{Units, cap, thinned, unit_fraction},
        mixture::HORIZON_BLOCKS,
        rate::{ERRORS_GRID, Edge, RatePromote, RateRollback},
        window::{capped_mean, level},
    },
};

use super::pairs::Paired;

/// The tests of the error signal. Requests, windows and users feed the same two tests: which of them is fixed at the start.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Errors {
    mode: Mode,
    /// Rollback and promotion.
    edges: [Edge; 2],
    rollback: RateRollback,
    promote: RatePromote,
    /// With users and endpoints, requests must pass, too. First failures alone would speak for a canary for which everybody has
    /// failed already, and capped units for one whose failures all come from one pod.
    promote_requests: RatePromote,
    /// What the tests of this mode have seen.
    seen: Counts,
    /// Requests of past windows: what is expected of a unit.
    past: Counts,
    pub(super) pairs: Paired,
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn counts(block: &RequestBlock) -> Counts {
    Counts {
        canary_events: block.canary.errors as f64,
        stable_events: block.stable.errors as f64,
        canary: block.canary.completed as f64,
        stable: block.stable.completed as f64,
    }
}

impl Errors {
    pub(super) fn new(policy: ErrorsPolicy, mode: Mode) -> Self {
        let rise = Edge { ratio: 1.0, margin: policy.may_rise };
        let pass = Edge { ratio: policy.pass_ratio, margin: policy.pass_margin };
        Self {
            mode,
            edges: [rise, pass],
            rollback: RateRollback::new(rise, &ERRORS_GRID, HORIZON_BLOCKS),
            promote: RatePromote::new(pass),
            promote_requests: RatePromote::new(pass),
            seen: Counts::default(),
            past: Counts::default(),
            // A canary at the edge by rates is at least this much worse in pairs: `p_c - p_s >= pass_margin`.
            pairs: Paired::new(policy.may_rise, policy.pass_margin),
        }
    }

    /// With what copies have told already.
    pub(super) fn with_pairs_of(self, other: &Self) -> Self {
        Self { pairs: other.pairs.clone(), ..self }
    }

    fn take(&mut self, counts: &Counts) {
        self.rollback.update(counts);
        self.promote.update(counts);
        self.seen.add(counts);
    }

    /// Takes finished requests, and the users who failed for the first time meanwhile.
    pub(super) fn take_requests(&mut self, block: &RequestBlock, users: Option<&UserBlock>) {
        let counts = counts(block);
        match (self.mode, users) {
            (Mode::Requests, _) => self.take(&counts),
            (Mode::Endpoints, _) => self.promote_requests.update(&counts),
            (Mode::Users, users) => {
                self.promote_requests.update(&counts);
                // Whom a user's first failure befalls is drawn with the configured share, whoever asks most. Where the share
                // changed meanwhile, nothing can be said.
                if let (Some(users), Some(share)) = (users, block.share) {
                    self.take(&of_users(users, &counts, share));
                }
            }
        }
    }

    /// Takes a window of endpoints.
    pub(super) fn take_window(&mut self, block: &EndpointBlock) {
        let loads = |units: &[Unit]| units.iter().map(|unit| unit.completed).collect::<Vec<_>>();
        let Some(load) = level(&loads(&block.canary), &loads(&block.stable)) else { return };
        // What is expected comes from windows before this one; where there were none, from none.
        let expected = self.past.stable_rate();
        let [rise, pass] = self.edges;
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let m = load as f64;
        if self.past.stable > 0.0 {
            // A unit at the edge must fit under the cap, or much traffic would make the margin all there is, and the test blind.
            let most = cap(m * rise.at(expected));
            let edge = Edge { ratio: 1.0, margin: m * rise.margin / most };
            let units = units(block, load, most);
            self.rollback.update_units(&units, edge);
            self.seen.add(&units.counts());
            // At the edge of promotion fewer events must be lost to the cap, or a bad canary would look better than it is.
            let most = cap(m * pass.at(expected));
            let mean = |rate: f64| capped_mean(m * rate, most) / most;
            let margin = (mean(pass.at(expected)) - pass.ratio * mean(expected)).max(0.0);
            self.promote.update_units(&self::units(block, load, most), Edge { ratio: pass.ratio, margin });
        }
        let sum = |units: &[Unit], of: fn(&Unit) -> u64| units.iter().map(of).sum::<u64>();
        #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        self.past.add(&Counts {
            canary_events: sum(&block.canary, |unit| unit.errors) as f64,
            stable_events: sum(&block.stable, |unit| unit.errors) as f64,
            canary: sum(&block.canary, |unit| unit.completed) as f64,
            stable: sum(&block.stable, |unit| unit.completed) as f64,
        });
    }

    /// Takes copies; their mean difference is asked for by the same margins.
    pub(super) fn take_pairs(&mut self, pairs: &Pairs) {
        self.pairs.take(pairs);
    }

    /// Natural log of the own test's e-value against the canary, without the pairs'.
    pub(super) fn log_e_own(&self) -> f64 {
        self.rollback.log_e()
    }

    pub(super) fn log_e_against(&self) -> f64 {
        self.log_e_own() + self.pairs.log_e_against()
    }

    /// Natural log of the own test's e-value for the canary.
    fn log_e_own_for(&self) -> f64 {
        match self.mode {
            Mode::Users | Mode::Endpoints => self.promote.log_e().min(self.promote_requests.log_e()),
            Mode::Requests => self.promote.log_e(),
        }
    }

    pub(super) fn log_e_for(&self) -> f64 {
        self.log_e_own_for() + self.pairs.log_e_for()
    }

    pub(super) fn parts(&self) -> Vec<PartEvidence> {
        let rate = |events: f64, n: f64| if n > 0.0 { events / n } else { 0.0 };
        let seen = &self.seen;
        let own = PartEvidence {
            part: Part::Rate,
            test: test(self.mode),
            canary: rate(seen.canary_events, seen.canary),
            stable: rate(seen.stable_events, seen.stable),
            canary_n: seen.canary,
            stable_n: seen.stable,
            canary_events: seen.canary_events,
            stable_events: seen.stable_events,
            weight: Some(1.0),
            log_e_rollback: Some(self.log_e_own()),
            log_e_promote: Some(self.log_e_own_for()),
            took: None,
        };
        std::iter::once(own).chain(self.pairs.part()).collect()
    }
}

/// How the requests of this mode are compared.
pub(super) fn test(mode: Mode) -> Test {
    match mode {
        Mode::Requests => Test::Requests,
        Mode::Endpoints => Test::Endpoints,
        Mode::Users => Test::Users,
    }
}

/// First failures among the requests of a block, which fall on the two as they were drawn.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn of_users(users: &UserBlock, requests: &Counts, share: f64) -> Counts {
    let all = requests.canary + requests.stable;
    Counts {
        canary_events: users.canary as f64,
        stable_events: users.stable as f64,
        canary: all * share,
        stable: all * (1.0 - share),
    }
}

/// Shares of `most` failures, of every unit with at least `load` requests, as if it had no more.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn units(block: &EndpointBlock, load: u64, most: f64) -> Units {
    let of = |units: &[Unit]| {
        let kept = units.iter().filter(|unit| unit.completed >= load);
        kept.map(|unit| unit_fraction(thinned(unit.errors as f64, unit.completed as f64, load as f64, most), most))
            .collect()
    };
    Units { canary: of(&block.canary), stable: of(&block.stable) }
}

impl Numbers for Errors {
    fn numbers(&mut self, visit: &mut dyn FnMut(&mut f64)) {
        self.rollback.numbers(visit);
        self.promote.numbers(visit);
        self.promote_requests.numbers(visit);
        self.seen.numbers(visit);
        self.past.numbers(visit);
        self.pairs.numbers(visit);
    }
}
