//! What is noted, and what is not kept.

use super::*;
use crate::core::{
    judge::{Policy, Reason, Signal, trial::Trial},
    release::intent::Wanted,
};

fn judgement(attempt: u32, verdict: Verdict, at_ms: u64) -> Judgement {
    Judgement {
        route: RouteName::new("digits").unwrap(),
        release: ReleaseKey(1),
        attempt,
        verdict,
        evidence: Trial::new(&Policy::default()).evidence(),
        since: Now::default(),
        at: Now { mono_ms: at_ms, wall_ms: at_ms },
    }
}

fn at(at_ms: u64) -> Now {
    Now { mono_ms: at_ms, wall_ms: at_ms }
}

fn told(history: &RouteHistory, after: u64) -> Vec<(u64, &str)> {
    history.after(after).map(|one| (one.number, &*one.text)).collect()
}

#[test]
fn a_verdict_is_noted_when_it_changes_and_the_oldest_make_room_for_the_newest() {
    let mut history = RouteHistory::default();
    let fail = Verdict::Fail(Signal::Errors);
    for (ms, verdict) in [(1, Verdict::Undecided(Reason::NoData)), (2, Verdict::Undecided(Reason::NoData)), (3, fail)] {
        history.take_judgement(Some(&judgement(1, verdict, ms)), at(ms));
    }
    assert_eq!(told(&history, 0), [(1, "undecided (no_data)"), (2, "fail (errors)")]);
    assert_eq!(told(&history, 1), [(2, "fail (errors)")]);
    assert_eq!(history.happened[1].at_ms, 3);
    // At the limit: exactly so many stay, the last ones, with the numbers they had.
    for number in 3..=200 {
        let reason = if number % 2 == 0 { Reason::Overlap } else { Reason::LowSamples };
        history.take_judgement(Some(&judgement(1, Verdict::Undecided(reason), number)), at(number));
    }
    history.keep(200);
    assert_eq!((history.happened.len(), history.happened[0].number, history.last), (200, 1, 200));
    history.take_judgement(Some(&judgement(1, fail, 201)), at(201));
    history.keep(200);
    assert_eq!((history.happened.len(), history.happened[0].number, history.last), (200, 2, 201));
    assert_eq!(told(&history, 200), [(201, "fail (errors)")]);
    history.take_judgement(None, at(202));
    assert_eq!(history.last, 201, "that nothing is judged any more is seen by the release");
}

#[test]
fn points_go_back_to_the_beginning_of_the_attempt_and_never_become_too_many() {
    let mut history = RouteHistory::default();
    for look in 0..5_000 {
        history.take_judgement(Some(&judgement(1, Verdict::Pass, look * 2_000)), at(look * 2_000));
        assert!(history.points.len() < POINTS_MAX);
    }
    let times: Vec<u64> = history.points.iter().map(|point| point.at_ms).collect();
    assert_eq!(times[0], 0);
    assert!(times.len() >= POINTS_MAX / 2 - 1, "{}", times.len());
    let pause = times[1] - times[0];
    assert!(times.windows(2).all(|two| two[1] - two[0] == pause), "evenly: {times:?}");
    assert!(*times.last().unwrap() > 4_900 * 2_000);
    // The same look again is no new point; another attempt begins anew.
    let points = history.points.len();
    history.take_judgement(Some(&judgement(1, Verdict::Pass, 4_999 * 2_000)), at(1));
    assert_eq!(history.points.len(), points);
    history.take_judgement(Some(&judgement(2, Verdict::Pass, 5_001 * 2_000)), at(2));
    assert_eq!(history.points.len(), 1);
}

#[test]
fn a_commit_is_noted_once_when_it_is_made_or_when_the_branch_shows_it_of_others() {
    use crate::core::release::tests::{Bed, at as canary_at};
    let mut bed = Bed::new(canary_at(1_000));
    bed.judge(Verdict::Fail(Signal::Errors), 100, 0);
    bed.look();
    let before = bed.wanted();
    let intent = before[0].intent.clone();
    let mut made = Vec::new();
    Made::add(&mut made, &intent, "c1");
    bed.branch(Outcome::Committed("c1".into()));
    bed.look();
    let after = bed.wanted();
    assert!(before[0].shown.is_none() && after[0].shown.is_some(), "{after:?}");
    let by = |outcome: Outcome| BTreeMap::from([(intent.id(), outcome)]);
    let (nobody, ours, theirs) =
        (BTreeMap::new(), by(Outcome::Committed("c1".into())), by(Outcome::There("c2".into())));
    type Look<'a> = (&'a [Wanted], &'a BTreeMap<String, Outcome>, &'a [Made]);
    let notes = |looks: &[Look<'_>]| {
        let mut history = History::new(10);
        for (wanted, outcomes, made) in looks.iter().copied() {
            let sight =
                Sight { judgements: &BTreeMap::new(), releases: &BTreeMap::new(), wanted, outcomes, made, now: at(5) };
            history.look(&bed.snapshot, &sight);
        }
        let happened = history.routes.values().next().unwrap().happened.clone();
        let commits = happened.iter().filter(|one| one.what == What::Commit);
        commits.map(|one| format!("{} {}", one.text, one.commit.as_deref().unwrap())).collect::<Vec<_>>()
    };
    let once = ["the rollback c1"];
    let none: [&str; 0] = [];
    // Each step seen, and any of them missed: it is on the branch before anybody looks, or nobody wants it any more.
    assert_eq!(
        notes(&[(&before, &nobody, &[]), (&before, &ours, &made), (&after, &ours, &made), (&[], &nobody, &made)]),
        once
    );
    assert_eq!(notes(&[(&after, &ours, &made), (&after, &ours, &made)]), once);
    assert_eq!(
        notes(&[(&before, &nobody, &[]), (&[], &nobody, &[]), (&[], &nobody, &made), (&after, &ours, &made)]),
        once
    );
    assert_eq!(notes(&[(&[], &nobody, &made)]), once);
    // Of another replica; or of before this process began.
    assert_eq!(notes(&[(&before, &nobody, &[]), (&before, &theirs, &[]), (&after, &theirs, &[])]), ["the rollback c2"]);
    assert_eq!(notes(&[(&before, &nobody, &[]), (&after, &nobody, &[])]), once);
    assert_eq!(notes(&[(&after, &nobody, &[]), (&after, &theirs, &[])]), none);
}

#[test]
fn weights_are_noted_when_they_change_and_a_route_that_is_gone_is_forgotten() {
    use crate::core::release::tests::{Bed, at as canary_at};
    let mut bed = Bed::new(canary_at(1_000));
    // So few that each look has to make room.
    let mut history = History::new(1);
    let mut look = |bed: &Bed, ms| {
        let sight = Sight {
            judgements: &BTreeMap::new(),
            releases: &BTreeMap::new(),
            wanted: &[],
            outcomes: &BTreeMap::new(),
            made: &[],
            now: at(ms),
        };
        history.look(&bed.snapshot, &sight);
        let known = history.routes.values().next().cloned();
        known.map(|known| known.happened.iter().map(|one| format!("{} {}", one.number, one.text)).collect::<Vec<_>>())
    };
    let first = look(&bed, 1).unwrap();
    assert!(first.len() == 1 && first[0].starts_with("1 v1 90 %, v2 10 %"), "{first:?}");
    assert_eq!(look(&bed, 2).unwrap(), first, "nothing has happened");
    bed.deliver(canary_at(2_500));
    let second = look(&bed, 3).unwrap();
    assert!(second.len() == 1 && second[0].starts_with("2 v1 75 %, v2 25 %"), "{second:?}");
    bed.snapshot.routes = crate::core::route::RouteTable::default();
    assert_eq!(look(&bed, 4), None);
}

#[test]
fn a_release_is_noted_by_its_state_and_by_what_is_in_its_way() {
    use crate::core::release::tests::Bed;
    let status =
        |bed: &Bed| ReleaseStatus::of(&RouteName::new("digits").unwrap(), bed.release(), &bed.ledger, &bed.world());
    let mut history = RouteHistory::default();
    let mut bed = Bed::rolling_back();
    history.take_release(None, at(0));
    assert_eq!(history.last, 0, "there was none");
    history.take_release(Some(&status(&bed)), at(1));
    history.take_release(Some(&status(&bed)), at(2));
    bed.branch(Outcome::Failing("protected".into()));
    history.take_release(Some(&status(&bed)), at(3));
    history.take_release(Some(&status(&bed)), at(4));
    bed.branch(Outcome::Committed("c1".into()));
    history.take_release(Some(&status(&bed)), at(5));
    history.take_release(None, at(6));
    history.take_release(None, at(7));
    let noted: Vec<(u64, &str, &str)> =
        history.happened.iter().map(|one| (one.at_ms, one.what.as_str(), &*one.text)).collect();
    let state = "attempt 1, rolling back: the rollback: worse in errors";
    assert_eq!(noted, [(1, "release", state), (3, "trouble", "protected"), (6, "release", "it is over")]);
    let words = [What::Verdict, What::Weights, What::Commit].map(What::as_str);
    assert_eq!(words, ["verdict", "weights", "commit"]);
}
