//! What people's orders do to a release and to the ledger, and what they are told comes next.

use super::{
    Action, ByHand, Hold, Release, Seen, State, due,
    intent::{Intent, Move, Outcome},
    ledger::{Frozen, Ledger, News, World},
    quarantine::Entry,
};
use crate::core::{
    command::{Command, Order, Refused, Wish},
    name::{Artefact, RouteName, VariantName},
    now::Now,
    route::Route,
    split::Weight,
    variant::Role,
};

/// What is told, and what it brought about.
type Done = (String, Vec<News>);

fn not_now<T>(text: &str) -> Result<T, Refused> {
    Err(Refused::NotNow(text.into()))
}

impl Release {
    /// Carries out a person's wish; what was done and what comes next, in words.
    ///
    /// # Errors
    /// [`Refused`] if it does not fit; nothing has then changed.
    pub fn obey(
        mut self,
        wish: &Wish,
        order: &Order,
        seen: &Seen<'_>,
    ) -> Result<(Self, Option<Action>, String), Refused> {
        if self.state.is_over() || seen.view(self.key).is_none() {
            return Err(Refused::NoRelease(seen.route.name.clone()));
        }
        let rolling_back = matches!(self.state, State::RollingBack(_));
        match wish {
            Wish::Pause => {
                self.paused_by = Some(order.by.clone());
                let next = self.withdraw(seen);
                Ok((self, None, format!("paused: no raises until resumed; a worse canary is still rolled back{next}")))
            }
            Wish::Resume if self.paused_by.is_none() => not_now("it is not paused"),
            Wish::Resume => {
                self.paused_by = None;
                let words = format!("resumed; {}", due::ahead(&self, seen));
                Ok((self, None, words))
            }
            Wish::Rollback if rolling_back => not_now("it is being rolled back already"),
            Wish::Rollback => match self.roll_back(seen, &order.by, &order.reason) {
                (_, None) => not_now(&format!("it cannot be rolled back: {}", Hold::NoHeir.words())),
                (this, action) => {
                    let next = if seen.git {
                        "the rollback is committed next"
                    } else {
                        "there is no Git remote: commit that yourself"
                    };
                    Ok((this, action, format!("clamped to 0; {next}; it stays at 0 until a person lets it in again")))
                }
            },
            Wish::Approve | Wish::Promote { .. } if rolling_back => not_now("it is being rolled back"),
            Wish::Approve => match due::approved(&self, seen) {
                Some(to) => Ok(self.go(seen, to, order)),
                None => not_now(&format!("nothing waits for approval: {}", due::ahead(&self, seen))),
            },
            Wish::Promote { override_judge } => {
                let to = due::asked(&self, seen, *override_judge).map_err(|why| Refused::NotNow(why.into()))?;
                Ok(self.go(seen, to, order))
            }
            // The ledger's business.
            Wish::SetWeight { .. } | Wish::ClearWeight | Wish::Readmit(_) => Ok((self, None, String::new())),
        }
    }

    fn go(mut self, seen: &Seen<'_>, to: Move, order: &Order) -> (Self, Option<Action>, String) {
        // A person's word goes before what the branch has answered the plan: the branch is asked anew.
        (self.behind, self.taken_back) = (None, None);
        self.advance(seen, to, &order.by, &order.reason);
        let words = due::ahead(&self, seen);
        (self, None, words)
    }

    /// Takes a raise back that has not reached the branch; in words what became of it.
    pub(super) fn withdraw(&mut self, seen: &Seen<'_>) -> &'static str {
        match (&self.state, seen.outcome) {
            (State::Advancing(..), Some(Outcome::Committed(_) | Outcome::There(_))) => {
                "; the raise in flight is on the branch already: revert it there, or roll back"
            }
            (State::Advancing(..), _) => {
                self.state = State::Baking;
                "; the raise in flight is withdrawn"
            }
            _ => "",
        }
    }
}

impl Ledger {
    /// Carries out a person's order; what was done and what comes next, in words.
    ///
    /// # Errors
    /// [`Refused`] if it does not fit; nothing has then changed.
    pub fn obey(&mut self, order: &Order, world: &World<'_>) -> Result<Done, Refused> {
        let now = world.snapshot.generation;
        if let Some(seen) = order.generation.filter(|seen| *seen != now) {
            return Err(Refused::Stale { seen, now });
        }
        match &order.command {
            Command::Freeze => Ok(self.freeze(order, world)),
            Command::Unfreeze if self.frozen.is_none() => not_now("nothing is frozen"),
            Command::Unfreeze => {
                self.frozen = None;
                let words = self.releases.iter().filter(|(_, release)| !release.state.is_over()).filter_map(
                    |(name, release)| {
                        let seen = self.seen(world, world.route(name)?, release);
                        Some(format!("; `{name}`: {}", due::ahead(release, &seen)))
                    },
                );
                Ok((format!("unfrozen{}", words.collect::<String>()), vec![News::Unfrozen]))
            }
            Command::Route(name, wish) => {
                let route = world.route(name).ok_or_else(|| Refused::NoRoute(name.as_str().into()))?;
                self.wish(wish, order, route, world)
            }
        }
    }

    fn wish(&mut self, wish: &Wish, order: &Order, route: &Route, world: &World<'_>) -> Result<Done, Refused> {
        if let Wish::Readmit(variant) = wish {
            return self.readmit(variant, order, route, world);
        }
        let before = self.releases.get(&route.name).ok_or_else(|| Refused::NoRelease(route.name.clone()))?.clone();
        let seen = self.seen(world, route, &before);
        let (after, action, words) = before.obey(wish, order, &seen)?;
        match wish {
            Wish::SetWeight { weight, for_ms } => {
                let (one, words) = by_hand(ByHand::end(world.now, *for_ms), *weight, order, &after, &seen)?;
                self.by_hand.insert(route.name.clone(), one);
                Ok((words, vec![News::ByHand(route.name.clone())]))
            }
            Wish::ClearWeight if self.by_hand.remove(&route.name).is_none() => not_now("no weight is set by hand"),
            Wish::ClearWeight => {
                let words = format!("the file's {} % again", after.stay.weight);
                Ok((words, vec![News::ByHandOver(route.name.clone())]))
            }
            Wish::Approve | Wish::Promote { .. } | Wish::Rollback | Wish::Pause | Wish::Resume | Wish::Readmit(_) => {
                let mut news = Vec::new();
                self.take(route.name.clone(), after, action, &mut news);
                Ok((words, news))
            }
        }
    }

    fn freeze(&mut self, order: &Order, world: &World<'_>) -> Done {
        self.frozen = Some(Frozen { by: order.by.clone(), reason: order.reason.clone(), since_ms: world.now.wall_ms });
        let mut words =
            "frozen: no raises on any route until unfrozen; worse canaries are still rolled back".to_owned();
        for (name, before) in self.releases.clone() {
            let Some(route) = world.route(&name) else { continue };
            let mut after = before.clone();
            let next = after.withdraw(&self.seen(world, route, &before));
            words += &if next.is_empty() { String::new() } else { format!("; `{name}`{next}") };
            self.releases.insert(name, after);
        }
        (words, vec![News::Frozen(order.by.clone())])
    }

    fn readmit(
        &mut self,
        name: &VariantName,
        order: &Order,
        route: &Route,
        world: &World<'_>,
    ) -> Result<Done, Refused> {
        let Some(variant) = route.variants.iter().find(|v| v.name == *name) else {
            return not_now(&format!("route `{}` has no variant `{name}`", route.name));
        };
        let of_it = |e: &Entry| e.intent.route == route.name && e.intent.artefact == variant.artefact;
        let first = route.plan.as_ref().and_then(|plan| plan.steps.first()).map(|step| step.weight);
        let Some(entry) = self.quarantine.iter_mut().find(|entry| of_it(entry)) else {
            return not_now(&format!("`{name}` is not rejected"));
        };
        let at_once = entry.diverged || (!world.git && variant.said > Weight::ZERO);
        if at_once {
            let news = vec![News::Lifted(Box::new(entry.intent.clone()))];
            self.lift(&route.name, &variant.artefact);
            return Ok((
                format!("let in again: it gets the {} % that the file says, and is judged afresh", variant.said),
                news,
            ));
        }
        match first {
            _ if !world.git => {
                not_now("there is no Git remote to commit to; commit `role: canary` and a weight yourself")
            }
            _ if self.frozen.is_some() => not_now("all raises are frozen; unfreeze first"),
            _ if entry.shown.is_none() => not_now("its rollback is not on the branch yet; wait for that"),
            _ if route.variants.iter().any(|v| v.role == Role::Canary && v.name != *name) => {
                not_now("the route has another canary")
            }
            Some(weight) if weight < Weight::FULL => {
                let intent = Intent {
                    to: Move::Readmit(weight),
                    by: order.by.clone(),
                    reason: order.reason.clone(),
                    digest: route.digest,
                    window_ms: [world.now.wall_ms; 2],
                    set: super::intent::besides(Move::Readmit(weight), route),
                    ..entry.intent.clone()
                };
                entry.readmit = Some(intent);
                let words = format!(
                    "`{name}` is committed as a canary at {weight} % next; it is judged afresh once that is delivered"
                );
                Ok((words, vec![News::Readmitting(route.name.clone())]))
            }
            Some(_) | None => {
                not_now("the plan has no first step for it to begin at; commit `role: canary` and a weight yourself")
            }
        }
    }

    /// Takes the ceiling from an artefact; its next attempt is another one.
    pub(super) fn lift(&mut self, route: &RouteName, artefact: &Artefact) {
        let of_it = |e: &Entry| e.intent.route == *route && e.intent.artefact == *artefact;
        if let Some(entry) = self.quarantine.iter().find(|entry| of_it(entry)) {
            self.remember(entry.intent.clone());
        }
        self.quarantine.retain(|entry| !of_it(entry));
    }
}

fn by_hand(
    until: Now,
    weight: Weight,
    order: &Order,
    release: &Release,
    seen: &Seen<'_>,
) -> Result<(ByHand, String), Refused> {
    if seen.held.is_some() {
        return not_now("it is rejected: only letting it in again gives it weight");
    }
    if !seen.heir {
        return not_now("there is no other variant to share with");
    }
    let (artefact, by, reason) = (release.artefact.clone(), order.by.clone(), order.reason.clone());
    let one = ByHand { artefact, weight, until, by, reason };
    let (left, said) = (one.left_ms(seen.now) / 1000, release.stay.weight);
    let words = format!(
        "{weight} % for {left} s, then the file's {said} % again; the plan waits so long, a worse canary is still rolled back"
    );
    Ok((one, words))
}
