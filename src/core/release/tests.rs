//! Releases told as stories: a made-up world for one route, `digits`, and what its ledger makes of it.

mod branch;
mod due;
mod ledger;
mod people;
mod rejected;
mod story;

use super::{
    ledger::{Ledger, News, World},
    *,
};
use crate::core::{
    command::{Command, Order, Refused, Wish},
    judge::{Evidence, Policy, Reason, Signal},
    name::{Generation, RouteName},
    plan::{Plan, Step, Watch},
    release::intent::Wanted,
    route::{RouteTable, tests::route},
    snapshot::Snapshot,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(in crate::core) fn weight(basis_points: u16) -> Weight {
    Weight::new(basis_points).unwrap()
}

pub(in crate::core) fn digits() -> RouteName {
    RouteName::new("digits").unwrap()
}

/// 10 % for two minutes and a hundred requests, 25 % for one minute and ten labels, 50 % with a person's yes, then all, with the old
/// one kept at 5 % for ten minutes; in an hour.
pub(in crate::core) fn plan() -> Plan {
    let step = |basis_points, hold, requests, labels, approve| Step {
        weight: weight(basis_points),
        hold: Duration::from_secs(hold),
        requests,
        labels,
        approve,
        ..Step::default()
    };
    Plan {
        steps: vec![
            step(1_000, 120, 100, 0, false),
            step(2_500, 60, 0, 10, false),
            step(5_000, 0, 0, 0, true),
            step(10_000, 0, 0, 0, false),
        ],
        watch: Watch { hold: Duration::from_secs(600), holdback: weight(500) },
        deadline: Some(Duration::from_secs(3_600)),
    }
}

pub(in crate::core) fn planned(variants: &[(&str, Role, u16)]) -> Route {
    Route { plan: Some(plan()), ..route("digits", variants) }
}

/// `v1` stable, and `v2` a canary at this weight.
pub(in crate::core) fn at(basis_points: u16) -> Route {
    planned(&[("v1", Role::Stable, 10_000 - basis_points), ("v2", Role::Canary, basis_points)])
}

/// `v2` promoted, `v1` kept at 5 %.
fn promoted() -> Route {
    planned(&[("v2", Role::Stable, 9_500), ("v1", Role::Previous, 500)])
}

/// `v2` rejected.
fn rejected() -> Route {
    planned(&[("v1", Role::Stable, 10_000), ("v2", Role::Rejected, 0)])
}

#[derive(Clone)]
pub(in crate::core) struct Bed {
    pub(in crate::core) ledger: Ledger,
    pub(in crate::core) snapshot: Snapshot,
    pub(in crate::core) judgements: BTreeMap<RouteName, Judgement>,
    pub(in crate::core) outcomes: BTreeMap<String, Outcome>,
    git: bool,
    pub(in crate::core) now: Now,
}

impl Bed {
    pub(in crate::core) fn new(route: Route) -> Self {
        let mut bed = Self {
            ledger: Ledger::default(),
            snapshot: Snapshot::default(),
            judgements: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            git: true,
            now: Now::default(),
        };
        bed.time(0);
        bed.deliver(route);
        bed
    }

    pub(in crate::core) fn time(&mut self, ms: u64) {
        self.now = Now { mono_ms: ms, wall_ms: 1_000_000 + ms };
    }

    /// Another file is in force, and looked at.
    pub(in crate::core) fn deliver(&mut self, route: Route) -> Vec<News> {
        self.snapshot.generation.0 += 1;
        self.snapshot.routes = RouteTable::new(vec![Arc::new(route)]);
        self.look()
    }

    pub(in crate::core) fn world(&self) -> World<'_> {
        World {
            snapshot: &self.snapshot,
            judgements: &self.judgements,
            outcomes: &self.outcomes,
            git: self.git,
            now: self.now,
        }
    }

    pub(in crate::core) fn look(&mut self) -> Vec<News> {
        let mut ledger = std::mem::take(&mut self.ledger);
        let news = ledger.look(&self.world());
        self.ledger = ledger;
        news
    }

    /// The state after a look at this time, in milliseconds.
    fn state_at(&mut self, ms: u64) -> &'static str {
        self.time(ms);
        self.look();
        self.state()
    }

    pub(in crate::core) fn release(&self) -> &Release {
        &self.ledger.releases[&digits()]
    }

    fn state(&self) -> &'static str {
        self.release().state.as_str()
    }

    /// Why it does not go on after a look now.
    fn hold(&mut self) -> Option<Hold> {
        self.look();
        match self.release().state {
            State::Holding(hold) => Some(hold),
            _ => None,
        }
    }

    /// What the judge says of the release under way, gathered since the beginning.
    pub(in crate::core) fn judge(&mut self, verdict: Verdict, requests: u64, labels: u64) {
        let log_e_rollback_at = 100.0_f64.ln();
        let evidence =
            Evidence { canary_requests: requests, canary_labels: labels, log_e_rollback_at, ..Evidence::default() };
        let judgement = Judgement {
            route: digits(),
            release: self.release().key,
            attempt: self.release().attempt,
            verdict,
            evidence,
            since: Now { mono_ms: 0, wall_ms: 1_000_000 },
            at: self.now,
        };
        self.judgements.insert(digits(), judgement);
    }

    /// Evidence against the canary, of which ln 100 rolls back and ln 10 stops a raise.
    fn against(&mut self, log_e: f64) {
        self.judgements.get_mut(&digits()).unwrap().evidence.log_e_rollback = log_e;
    }

    /// The same world once more, to try something else.
    fn again(&self) -> Self {
        self.clone()
    }

    pub(in crate::core) fn wanted(&self) -> Vec<Wanted> {
        self.ledger.wanted(&self.world())
    }

    /// What the branch should take.
    fn moves(&self) -> Vec<Move> {
        self.wanted().into_iter().map(|wanted| wanted.intent.to).collect()
    }

    /// This has become of what the branch should take first, or shows.
    pub(in crate::core) fn branch(&mut self, outcome: Outcome) {
        let down = self.ledger.quarantine.first().map(|entry| &entry.intent);
        let id = down.or(self.release().state.intent()).unwrap().id();
        self.outcomes.insert(id, outcome);
    }

    fn order(&mut self, command: Command) -> Result<(String, Vec<News>), Refused> {
        let order = Order { command, by: "ann".into(), reason: "because".into(), generation: None };
        self.give(&order)
    }

    fn give(&mut self, order: &Order) -> Result<(String, Vec<News>), Refused> {
        let mut ledger = std::mem::take(&mut self.ledger);
        let done = ledger.obey(order, &self.world());
        self.ledger = ledger;
        done
    }

    fn wish(&mut self, wish: Wish) -> Result<(String, Vec<News>), Refused> {
        self.order(Command::Route(digits(), wish))
    }

    /// At 10 %, judged well, with the raise to 25 % under way since two minutes.
    pub(in crate::core) fn raising() -> Self {
        let mut bed = Self::new(at(1_000));
        bed.time(120_000);
        bed.judge(OVERLAP, 100, 0);
        assert_eq!(bed.state_at(120_000), "advancing");
        bed
    }

    /// At 10 %, found worse after a minute.
    pub(in crate::core) fn rolling_back() -> Self {
        let mut bed = Self::new(at(1_000));
        bed.time(60_000);
        bed.judge(FAIL, 60, 0);
        assert_eq!(bed.state_at(60_000), "rolling_back");
        bed
    }

    /// ... and rejected on the branch and in the file.
    fn rolled_back() -> Self {
        let mut bed = Self::rolling_back();
        bed.branch(committed());
        bed.deliver(rejected());
        assert_eq!(bed.state(), "rolled_back");
        bed
    }

    /// Promoted, and watched since ten minutes after the start.
    fn watched() -> Self {
        let mut bed = Self::new(at(5_000));
        bed.judge(Verdict::Pass, 1_000, 100);
        assert_eq!(bed.state_at(600_000), "advancing");
        assert_eq!(bed.moves(), [Move::Promote { holdback: weight(500) }]);
        bed.deliver(promoted());
        assert_eq!(bed.state(), "watching");
        bed.judge(Verdict::Pass, 1_000, 100);
        bed
    }
}

pub(in crate::core) const OVERLAP: Verdict = Verdict::Undecided(Reason::Overlap);
pub(in crate::core) const FAIL: Verdict = Verdict::Fail(Signal::Errors);

pub(in crate::core) fn committed() -> Outcome {
    Outcome::Committed("c1".into())
}

fn place() -> Box<str> {
    "https://git.example/pulls/1".into()
}
