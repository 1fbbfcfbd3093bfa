//! What the branch should come to say, why, and what became of it.

use super::{Release, Seen};
use crate::core::{
    account,
    judge::{EndpointEvidence, Evidence, GuardrailEvidence, Judgement, Verdict},
    name::{Artefact, Generation, ReleaseKey, RouteName, VariantName},
    plan::{FileEdit, RollbackKind},
    route::Route,
    split::{Weight, siphash},
    variant::{Role, Variant},
};

/// A move along the plan, or off it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Move {
    /// The canary to this weight.
    Step(Weight),
    /// The canary becomes stable; stable becomes the previous one and keeps this share.
    Promote {
        /// 0: the old model is not watched.
        holdback: Weight,
    },
    /// The watch is over: everything to the new stable.
    Finish,
    /// The candidate is rejected.
    RollBack {
        /// Whether it may be stable by our own promotion.
        promoted: bool,
        /// How the branch comes to say it.
        kind: RollbackKind,
    },
    /// What was rejected is a canary again, because a person asked for it.
    Readmit(Weight),
}

impl Move {
    /// The word in subjects, trailers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step(_) => "step",
            Self::Promote { .. } => "promote",
            Self::Finish => "done",
            Self::RollBack { .. } => "rollback",
            Self::Readmit(_) => "readmit",
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Self::Step(weight) => format!("the step to {weight} %"),
            Self::Promote { .. } => "the promotion".into(),
            Self::Finish => "the end of the watch".into(),
            Self::RollBack { .. } => "the rollback".into(),
            Self::Readmit(weight) => format!("letting it in again at {weight} %"),
        }
    }
}

/// Who decides what nobody ordered.
pub const JUDGE: &str = "judge";

/// A decision that the branch should show.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Intent {
    /// The route.
    pub route: RouteName,
    /// What is under release.
    pub artefact: Artefact,
    /// Which attempt at it.
    pub attempt: u32,
    /// What to do.
    pub to: Move,
    /// What else the same commit sets in other files of the repository.
    pub set: Box<[FileEdit]>,
    /// The route's digest when it was decided: a raise is for that file only.
    pub digest: u64,
    /// [`JUDGE`], or who ordered it.
    pub by: Box<str>,
    /// Why, in one line.
    pub reason: Box<str>,
    /// The judge's word then.
    pub verdict: Box<str>,
    /// The numbers, a line a signal, for people.
    pub numbers: Box<str>,
    /// The same as JSON in one line, for machines; empty if nothing was judged.
    pub evidence: Box<str>,
    /// From when to when they were gathered, milliseconds since 1970 UTC.
    pub window_ms: [u64; 2],
}

/// What became of an intent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    /// The branch has it, by this commit of ours.
    Committed(Box<str>),
    /// The branch says so at this commit, without us.
    There(Box<str>),
    /// The branch has another file than the one that was judged: the raise is off.
    Moved,
    /// A person made the candidate stable meanwhile; that is not ours to take back.
    NotOurs,
    /// The branch had the raise, by this commit of ours, and a person has put the file back as it was: their no.
    TakenBack(Box<str>),
    /// After our rollback somebody gave the artefact weight again, as seen at this commit: a newer decision than ours.
    Readmitted(Box<str>),
    /// People are asked to merge it, there; nothing is wrong.
    Waiting(Box<str>),
    /// People were asked there, and have closed that without merging it: their no.
    Refused(Box<str>),
    /// Not yet; this is in the way.
    Failing(Box<str>),
}

impl Outcome {
    /// For people.
    #[must_use]
    pub fn words(&self) -> &str {
        match self {
            Self::Committed(_) => "committed",
            Self::There(_) => "the branch says so already",
            Self::Moved => "not committed: the branch has another file than the one that was judged",
            Self::NotOurs => "not committed: a person has made it stable",
            Self::TakenBack(_) => "people have taken it back on the branch",
            Self::Readmitted(_) => "let in again by a commit",
            Self::Waiting(_) => "people are asked to merge it",
            Self::Refused(_) => "people have refused it",
            Self::Failing(why) => why,
        }
    }
}

impl Intent {
    /// The decision to move `release` like this, with what the judge has to say about it.
    #[must_use]
    pub fn new(release: &Release, seen: &Seen<'_>, to: Move, by: &str, reason: &str) -> Self {
        let judged = seen.judged(release);
        Self {
            route: seen.route.name.clone(),
            artefact: release.artefact.clone(),
            attempt: release.attempt,
            to,
            set: besides(to, seen.route),
            digest: seen.route.digest,
            by: by.into(),
            reason: reason.into(),
            verdict: judged.map_or("none".into(), |judgement| said(judgement.verdict)),
            numbers: judged.map_or("".into(), numbers),
            evidence: judged.map_or("".into(), |judgement| account::record(judgement).into()),
            window_ms: judged
                .map_or([seen.now.wall_ms; 2], |judgement| [judgement.since.wall_ms, judgement.at.wall_ms]),
        }
    }

    /// Identity of the decision, the same after a restart. A raise by the plan is for one file, and the same on every replica.
    /// A rollback, a readmission and a raise that a person orders are each one decision at one time: another replica's rollback
    /// that a person has reverted since must not pass for this one, nor a raise that was taken back for the same one ordered anew.
    #[must_use]
    pub fn id(&self) -> String {
        let raise = if &*self.by == JUDGE { self.digest } else { self.digest ^ self.window_ms[1] };
        let (to, digest) = match self.to {
            Move::Step(weight) => (weight.basis_points(), raise),
            Move::Promote { .. } | Move::Finish => (0, raise),
            Move::RollBack { .. } => (0, self.window_ms[1]),
            Move::Readmit(weight) => (weight.basis_points(), self.window_ms[1]),
        };
        let release = ReleaseKey::of(&self.route, &self.artefact);
        let word = self.to.as_str().as_bytes();
        let parts =
            [&release.0.to_le_bytes()[..], &self.attempt.to_le_bytes(), word, &to.to_le_bytes(), &digest.to_le_bytes()];
        format!("{:016x}", siphash(&parts))
    }

    /// Whether `route` gives the artefact nothing: what a rollback of whatever kind must come to.
    #[must_use]
    pub fn rejected_by(&self, route: &Route) -> bool {
        route.variants.iter().all(|v| v.artefact != self.artefact || v.said == Weight::ZERO)
    }

    /// Whether it is a step up of the plan, or off it: not a rollback, nor a readmission.
    #[must_use]
    pub fn is_raise(&self) -> bool {
        !matches!(self.to, Move::RollBack { .. } | Move::Readmit(_))
    }

    /// What it means that the branch has had this for a raise or a readmission, by `commit`, and says `route` by now.
    #[must_use]
    pub fn found(&self, route: &Route, commit: Box<str>) -> Outcome {
        let back = route.digest == self.digest && self.is_raise();
        if back { Outcome::TakenBack(commit) } else { Outcome::There(commit) }
    }

    /// What is to change in `route` as the branch has it; for a rollback that is no [`RollbackKind::Weights`], what is to
    /// change if its own way does not lead to [`Intent::rejected_by`].
    #[must_use]
    pub fn edit(&self, route: &Route) -> Edit {
        let Some(candidate) = route.variants.iter().find(|v| v.artefact == self.artefact) else { return Edit::Nothing };
        let role = |role: Role| route.variants.iter().find(|v| v.role == role);
        let Some(stable) = role(Role::Stable) else { return Edit::Nothing };
        match self.to {
            // A revert, or an older block, may leave it as it was before its release: at 0.
            Move::RollBack { kind: RollbackKind::Revert | RollbackKind::LastGood, .. }
                if candidate.role != Role::Stable && candidate.said == Weight::ZERO =>
            {
                Edit::Nothing
            }
            Move::RollBack { promoted, .. } => {
                // Older ones may be kept at 0.
                let previous = route.variants.iter().filter(|v| v.role == Role::Previous).max_by_key(|v| v.said);
                roll_back(candidate, stable, previous, promoted)
            }
            Move::Readmit(_) if candidate.role != Role::Rejected => Edit::Nothing,
            Move::Readmit(_) if role(Role::Canary).is_some() => Edit::Moved,
            Move::Readmit(weight) => Edit::Set(vec![
                set(candidate, weight, Role::Canary),
                set(stable, stable.said.minus(weight), Role::Stable),
            ]),
            Move::Step(_) | Move::Promote { .. } | Move::Finish if route.digest != self.digest => Edit::Moved,
            Move::Step(weight) => {
                let rest = stable.said.minus(weight.minus(candidate.said));
                Edit::Set(vec![set(candidate, weight, Role::Canary), set(stable, rest, Role::Stable)])
            }
            Move::Promote { holdback } => {
                let mut changes = vec![
                    set(candidate, Weight::FULL.minus(holdback), Role::Stable),
                    set(stable, holdback, Role::Previous),
                ];
                changes.extend(others(route, &[candidate, stable]));
                Edit::Set(changes)
            }
            Move::Finish => {
                let mut changes = vec![set(candidate, Weight::FULL, Role::Stable)];
                changes.extend(others(route, &[candidate]));
                Edit::Set(changes)
            }
        }
    }
}

/// An intent that the branch should take, or be asked about.
#[derive(Clone, PartialEq, Debug)]
pub struct Wanted {
    /// The intent.
    pub intent: Intent,
    /// The commit at which the branch has shown it: only ask what it says by now. People may take a raise back before it is
    /// delivered.
    pub shown: Option<Box<str>>,
    /// Known only from a file: nothing is committed.
    pub learned: bool,
    /// A person made the candidate stable against us: only ask what it says by now.
    pub diverged: bool,
    /// The table in force: another one is a reason to ask again at once.
    pub generation: Generation,
}

impl Wanted {
    /// Whether it is to be asked about again and again, and not only carried out once.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.learned || self.shown.is_some() || self.diverged
    }

    /// What is to be done about a branch whose tip `commit` has this route, and whose history has, or has not, the commit at
    /// which it was shown: an outcome without a commit, or a commit with these changes.
    ///
    /// # Errors
    /// The outcome, if there is nothing to commit.
    pub fn on(&self, route: &Route, commit: &str, contained: bool) -> Result<Vec<Change>, Outcome> {
        if let Some(shown) = self.shown.as_ref().filter(|_| self.intent.is_raise()) {
            // It was there. Whether people have reverted it or forced it away, it is not made again.
            return Err(self.intent.found(route, shown.clone()));
        }
        let has_weight = !self.intent.rejected_by(route);
        // What a file told us is older than a tip that says otherwise; whoever decided it says it again if need be.
        let newer = contained || self.learned;
        if newer {
            return Err(if has_weight { Outcome::Readmitted(commit.into()) } else { Outcome::There(commit.into()) });
        }
        match self.intent.edit(route) {
            Edit::Nothing => Err(Outcome::There(commit.into())),
            Edit::Moved => Err(Outcome::Moved),
            Edit::NotOurs => Err(Outcome::NotOurs),
            Edit::Set(changes) => Ok(changes),
        }
    }
}

/// What a variant is to say.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Change {
    /// Which.
    pub variant: VariantName,
    /// Its new weight.
    pub weight: Weight,
    /// Its new role.
    pub role: Role,
}

/// What an intent means for a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// It says so already, or has nothing of the kind.
    Nothing,
    /// It is another file than the one that was judged.
    Moved,
    /// A person made the candidate stable.
    NotOurs,
    /// These.
    Set(Vec<Change>),
}

/// What the file wants set by the commit that makes this move.
pub(super) fn besides(to: Move, route: &Route) -> Box<[FileEdit]> {
    let steps = route.plan.as_ref().map(|plan| plan.steps.as_slice()).unwrap_or_default();
    let of = |weight: Weight| steps.iter().find(|step| step.weight == weight).map(|step| step.set.as_slice());
    let set = match to {
        Move::Step(weight) | Move::Readmit(weight) => of(weight),
        Move::Promote { .. } => of(Weight::FULL),
        Move::RollBack { .. } => Some(route.rollback.set.as_slice()),
        Move::Finish => None,
    };
    set.unwrap_or_default().into()
}

fn set(variant: &Variant, weight: Weight, role: Role) -> Change {
    Change { variant: variant.name.clone(), weight, role }
}

/// Everybody else who has traffic gives it up.
fn others<'a>(route: &'a Route, but: &'a [&Variant]) -> impl Iterator<Item = Change> + 'a {
    let other = |v: &&Variant| v.said > Weight::ZERO && but.iter().all(|named| named.name != v.name);
    route.variants.iter().filter(other).map(|v| set(v, Weight::ZERO, v.role))
}

fn roll_back(candidate: &Variant, stable: &Variant, previous: Option<&Variant>, promoted: bool) -> Edit {
    let heir = match candidate.role {
        Role::Rejected => return Edit::Nothing,
        Role::Stable if !promoted => return Edit::NotOurs,
        Role::Stable => previous,
        Role::Canary => Some(stable),
        Role::Previous | Role::Shadow if candidate.said == Weight::ZERO => return Edit::Nothing,
        Role::Previous | Role::Shadow => Some(stable),
    };
    let Some(heir) = heir else { return Edit::NotOurs };
    let weight = heir.said.plus(candidate.said);
    Edit::Set(vec![set(candidate, Weight::ZERO, Role::Rejected), set(heir, weight, Role::Stable)])
}

pub(in crate::core) fn said(verdict: Verdict) -> Box<str> {
    match verdict {
        Verdict::Pass => "pass".into(),
        Verdict::Fail(signal) => format!("fail {}", signal.as_str()).into(),
        Verdict::Undecided(reason) => format!("undecided {}", reason.as_str()).into(),
    }
}

pub(in crate::core) fn numbers(judgement: &Judgement) -> Box<str> {
    let Evidence { signals, mode, guardrails, endpoints, log_e_rollback, log_e_rollback_at, .. } = &judgement.evidence;
    let told = signals.iter().filter(|signal| signal.canary_n > 0 && signal.stable_n > 0);
    let mut lines: Vec<String> = told.map(|signal| account::line(signal, *mode)).collect();
    lines.extend(guardrails.iter().map(GuardrailEvidence::line));
    lines.extend(endpoints.iter().map(EndpointEvidence::line));
    lines.push(format!("together: log e against {log_e_rollback:.2}, rolled back at {log_e_rollback_at:.2}"));
    lines.join("\n").into()
}
