//! The promises: what must hold in every state of the made-up world, whoever does what.

use super::{
    docs::digits,
    world::{Broken, Made, Rejected, Rule},
};
use coalmine::core::{
    release::{
        Alert,
        intent::{Intent, Outcome},
        ledger::News,
        quarantine::Next,
    },
    split::Weight,
    variant::Role,
};

impl Made<'_> {
    pub(super) fn broken<T>(&self, what: &str) -> Result<T, Broken> {
        Err(Broken(format!("{what}\n{}", self.log.text())))
    }

    /// What the replica tells, held against what happened in the world.
    pub(super) fn hear(&mut self, at: usize, news: &[News]) -> Result<(), Broken> {
        for one in news {
            self.log.note(format_args!("{at}: {one:?}"));
            match one {
                News::Clamped(intent) => {
                    self.replicas[at].rejected.insert(intent.artefact.clone(), Rejected::default());
                }
                News::Learned(intent) => {
                    // From an old file, when the branch has it in again already.
                    let readmitted = self.docs.weight(self.tip().doc, &intent.artefact) > Weight::ZERO;
                    self.replicas[at].rejected.insert(intent.artefact.clone(), Rejected { readmitted });
                }
                News::Lifted(intent) => {
                    let rejected = self.replicas[at].rejected.remove(&intent.artefact);
                    // Without a branch to ask, other words of the file that give it weight are a person's.
                    let other = self.docs.route(self.replicas[at].doc).is_some_and(|on| on.digest != intent.digest);
                    let said = self.docs.weight(self.replicas[at].doc, &intent.artefact) > Weight::ZERO;
                    let by_file = !self.git && other && said;
                    if !by_file && !rejected.is_some_and(|rejected| rejected.readmitted) {
                        return self.broken("lifted although no person let it in again");
                    }
                }
                News::Begins(_)
                | News::Enters(..)
                | News::OnBranch(_)
                | News::Diverged(_)
                | News::Readmitting(_)
                | News::ByHand(_)
                | News::ByHandOver(_)
                | News::Frozen(_)
                | News::Unfrozen => {}
            }
        }
        Ok(())
    }

    /// What traffic gets is never more than the file says, unless a person says so for a while; nothing while it is rejected.
    pub(super) fn check(&mut self, at: usize) -> Result<(), Broken> {
        let replica = &self.replicas[at];
        let (_, route) = replica.live.routes.named("digits").unwrap();
        let allowed = replica.by_hand.filter(|(until, _)| *until > replica.looked_ms).map(|(_, weight)| weight);
        let candidate = route.release.as_ref().map(|view| view.candidate);
        for (position, variant) in route.variants.iter().enumerate() {
            // What a rejected one had goes to stable, also while that is new: there is nobody else.
            let freed = route
                .variants
                .iter()
                .filter(|v| variant.role == Role::Stable && replica.rejected.contains_key(&v.artefact));
            let freed = freed.fold(Weight::ZERO, |sum, v| sum.plus(v.said));
            let most =
                variant.said.plus(freed).max(allowed.filter(|_| Some(position) == candidate).unwrap_or_default());
            if variant.effective > most && (Some(position) == candidate || variant.role == Role::Rejected) {
                return self.broken("above the file");
            }
            if replica.rejected.contains_key(&variant.artefact) && variant.effective > Weight::ZERO {
                let heirless = self.with(at, |ledger, world| ledger.alerts(&digits(), world)).contains(&Alert::NoHeir);
                let dropped = self.rule == Rule::DropOnArrival;
                if dropped || !heirless {
                    return self.broken("a rejected artefact is served");
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether everything that is rejected here is at 0 on the branch, or a person is told that it is not.
    pub(super) fn settled(&mut self, at: usize) -> Result<(), Broken> {
        let alerts = self.with(at, |ledger, world| ledger.alerts(&digits(), world));
        let tip = self.tip().doc;
        for entry in self.replicas[at].ledger.quarantine.clone() {
            let arrived = self.docs.weight(tip, &entry.intent.artefact) == Weight::ZERO;
            // Without a branch to commit to, people are told that the file still says otherwise.
            let blocked = if self.git { Alert::WriteBlocked } else { Alert::ClampStale };
            let told = [Alert::Diverged, Alert::NoHeir, blocked].iter().any(|alert| alerts.contains(alert));
            if !arrived && !told {
                return self.broken("a clamp neither arrived nor alerts");
            }
        }
        Ok(())
    }

    /// Whether nothing is wanted of the branch that it does not say.
    pub(super) fn rests(&mut self, at: usize) -> bool {
        self.with(at, |ledger, world| {
            let entries = ledger.quarantine.iter().all(|e| {
                let next = e.next(
                    world.snapshot.routes.named("digits").map(|(_, route)| &**route),
                    world.outcomes.get(&e.intent.id()),
                    world.git,
                );
                next == Next::Rest || e.diverged
            });
            entries
                && ledger.releases.values().all(|release| {
                    // A raise that a person has reverted is not made again for the same file.
                    let outcome = |intent: &Intent| world.outcomes.get(&intent.id());
                    release.state.raise().is_none_or(|raise| matches!(outcome(raise), Some(Outcome::There(_))))
                })
        })
    }
}
