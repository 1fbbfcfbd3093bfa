//! What is told, once, and in which words.

use super::*;
use crate::core::{
    name::{Artefact, Generation},
    plan::RollbackKind,
    split::Weight,
};

const DOWN: Move = Move::RollBack { promoted: false, kind: RollbackKind::Weights };

fn wanted(to: Move, shown: Option<&str>) -> Wanted {
    let intent = Intent {
        route: RouteName::new("digits").unwrap(),
        artefact: Artefact::new("m/2@2"),
        attempt: 1,
        to,
        set: Box::default(),
        digest: 7,
        by: "judge".into(),
        reason: "worse in errors".into(),
        verdict: "fail errors".into(),
        numbers: "".into(),
        evidence: "".into(),
        window_ms: [1, 2],
    };
    Wanted { intent, shown: shown.map(Into::into), learned: false, diverged: false, generation: Generation(1) }
}

fn look(told: &mut Told, wanted: &[Wanted], outcome: Option<Outcome>) -> Vec<Kind> {
    let none = (BTreeMap::new(), BTreeMap::new());
    let outcomes = wanted.iter().filter_map(|w| Some((w.intent.id(), outcome.clone()?))).collect();
    let now = Now { mono_ms: 5, wall_ms: 6 };
    let mut made = Vec::new();
    if let Some(Outcome::Committed(commit)) = &outcome {
        wanted.iter().for_each(|wanted| Made::add(&mut made, &wanted.intent, commit));
    }
    let sight = Sight { judgements: &none.0, releases: &none.1, wanted, outcomes: &outcomes, made: &made, now };
    told.look(&sight).into_iter().map(|notice| notice.kind).collect()
}

#[test]
fn each_thing_is_told_once_and_a_block_once_each_time() {
    let (mut told, down) = (Told::default(), [wanted(DOWN, None)]);
    let failing = || Some(Outcome::Failing("protected".into()));
    assert_eq!(look(&mut told, &down, None), [Kind::Rollback]);
    assert_eq!(look(&mut told, &down, failing()), [Kind::WriteBlocked]);
    assert_eq!(look(&mut told, &down, failing()), []);
    assert_eq!(look(&mut told, &down, Some(Outcome::Committed("abc".into()))), [Kind::RollbackCommitted]);
    assert_eq!(look(&mut told, &down, failing()), [Kind::WriteBlocked]);
    let asked = [wanted(DOWN, Some("abc"))];
    assert_eq!(look(&mut told, &asked, failing()), [], "only asked what the branch says: no decision of ours");
}

#[test]
fn people_are_told_when_they_are_asked_and_when_they_have_refused_a_rollback() {
    let place = || "https://git.example/pulls/1".into();
    let (mut told, down) = (Told::default(), [wanted(DOWN, None)]);
    assert_eq!(look(&mut told, &down, Some(Outcome::Waiting(place()))), [Kind::Rollback, Kind::Waiting]);
    assert_eq!(look(&mut told, &down, Some(Outcome::Waiting(place()))), []);
    assert_eq!(look(&mut told, &down, Some(Outcome::Refused(place()))), [Kind::Refused]);
    assert_eq!(look(&mut told, &down, Some(Outcome::Refused(place()))), []);
    assert_eq!(look(&mut told, &down, Some(Outcome::Waiting(place()))), [Kind::Waiting], "reopened");
    let (mut told, up) = (Told::default(), [wanted(Move::Step(Weight::FULL), None)]);
    assert_eq!(look(&mut told, &up, Some(Outcome::Refused(place()))), [Kind::Refused]);
    let words = decided(&up[0].intent, "id", Kind::Refused, Some(&Outcome::Refused(place())), Now::default()).words();
    assert!(words.contains("the step to 100 % was refused, https://git.example/pulls/1 is closed"), "{words}");
    assert!(words.ends_with("`promote` does"), "{words}");
}

#[test]
fn steps_and_promotions_are_told_when_they_are_on_the_branch() {
    for (to, kind) in [
        (Move::Step(Weight::FULL), Kind::Step),
        (Move::Finish, Kind::Step),
        (Move::Promote { holdback: Weight::ZERO }, Kind::Promotion),
    ] {
        let (mut told, up) = (Told::default(), [wanted(to, None)]);
        assert_eq!(look(&mut told, &up, None), []);
        assert_eq!(look(&mut told, &up, Some(Outcome::There("abc".into()))), [], "somebody else's");
        assert_eq!(look(&mut told, &up, Some(Outcome::Committed("abc".into()))), [kind]);
    }
}

#[test]
fn a_commit_is_told_though_nobody_waits_for_it_any_more() {
    let mut made = Vec::new();
    Made::add(&mut made, &wanted(DOWN, None).intent, "abc");
    let sight = Sight {
        judgements: &BTreeMap::new(),
        releases: &BTreeMap::new(),
        wanted: &[],
        outcomes: &BTreeMap::new(),
        made: &made,
        now: Now::default(),
    };
    let mut told = Told::default();
    let kinds = |notices: Vec<Notice>| notices.iter().map(|notice| notice.kind).collect::<Vec<_>>();
    assert_eq!(kinds(told.look(&sight)), [Kind::RollbackCommitted]);
    assert_eq!(kinds(told.look(&sight)), []);
}

#[test]
fn the_same_decision_has_the_same_id_whoever_tells_it() {
    let wanted = wanted(DOWN, None);
    let id = |now| decided(&wanted.intent, &wanted.intent.id(), Kind::Rollback, None, now).id;
    assert_eq!(id(Now::default()), id(Now { mono_ms: 9, wall_ms: 9 }));
}

#[test]
fn a_notice_says_where_when_and_why() {
    let wanted = wanted(DOWN, None);
    let now = Now { mono_ms: 9, wall_ms: 90 };
    let told = |kind, outcome: Option<Outcome>| decided(&wanted.intent, "i", kind, outcome.as_ref(), now);
    let texts = |notice: &Notice| {
        [&notice.commit, &notice.trouble, &notice.place].map(|text| text.as_deref().map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let down = told(Kind::Rollback, None);
    // A clamp is told with the time at which it was decided, anything else with the present.
    assert_eq!((down.at_ms, texts(&down), &*down.id), (2, [None, None, None], "i-rollback"));
    assert_eq!(down.words(), "digits: the canary is held at 0 from now on: worse in errors (judge)");
    for (kind, outcome, wanted, words) in [
        (
            Kind::WriteBlocked,
            Outcome::Failing("protected".into()),
            [None, some("protected"), None],
            "digits: the rollback does not reach the branch: protected",
        ),
        (
            Kind::Waiting,
            Outcome::Waiting("pulls/1".into()),
            [None, None, some("pulls/1")],
            "digits: the rollback waits for people to merge pulls/1: worse in errors (judge)",
        ),
        (
            Kind::Refused,
            Outcome::Refused("pulls/1".into()),
            [None, None, some("pulls/1")],
            "digits: the rollback was refused, pulls/1 is closed: held at 0 until a commit or `readmit` decides",
        ),
    ] {
        let notice = told(kind, Some(outcome));
        assert_eq!((notice.at_ms, texts(&notice), &*notice.words()), (90, wanted, words), "{kind:?}");
    }
    let notice = committed(&Made { number: 1, intent: wanted.intent.clone(), commit: "abc".into() }, now);
    assert_eq!((notice.at_ms, texts(&notice)), (90, [some("abc"), None, None]));
    assert!(notice.id.ends_with("-rollback_committed"), "{}", notice.id);
    assert_eq!(notice.words(), "digits: the rollback is on the branch, commit abc: worse in errors (judge)");
}

#[test]
fn a_verdict_is_told_when_it_changes_and_again_of_another_attempt() {
    use crate::core::release::tests::{Bed, FAIL, OVERLAP, at};
    let mut bed = Bed::new(at(1_000));
    let mut told = Told::default();
    let mut look = |bed: &Bed| -> Vec<String> {
        let releases = BTreeMap::new();
        let sight = Sight {
            judgements: &bed.judgements,
            releases: &releases,
            wanted: &[],
            outcomes: &bed.outcomes,
            made: &[],
            now: bed.now,
        };
        told.look(&sight).iter().map(Notice::words).collect()
    };
    let none: [&str; 0] = [];
    bed.judge(OVERLAP, 9, 0);
    assert_eq!(look(&bed), none, "every trial begins undecided");
    bed.judge(Verdict::Pass, 99, 0);
    assert_eq!(look(&bed), ["digits: the judge says pass"]);
    assert_eq!(look(&bed), none);
    bed.judge(OVERLAP, 99, 0);
    assert_eq!(look(&bed), ["digits: the judge says undecided overlap"]);
    bed.judge(FAIL, 99, 0);
    assert_eq!(look(&bed), ["digits: the judge says fail errors"]);
    bed.judgements.values_mut().for_each(|judgement| judgement.attempt = 2);
    assert_eq!(look(&bed), ["digits: the judge says fail errors"], "of the second attempt for the first time");
    bed.judgements.values_mut().for_each(|judgement| judgement.release = ReleaseKey(9));
    assert_eq!(look(&bed), ["digits: the judge says fail errors"], "of another release, too");
    bed.judge(OVERLAP, 9, 0);
    assert_eq!(look(&bed), none, "and a new trial is undecided again");
}

#[test]
fn an_endpoint_that_holds_a_release_is_told_once_each_time() {
    use crate::core::{
        judge::Part,
        judge::Signal,
        release::tests::{Bed, OVERLAP, at},
    };
    let of = |endpoint| EndpointEvidence {
        endpoint,
        address: format!("10.0.0.{endpoint}:8080").into(),
        signal: Signal::Errors,
        part: Part::Rate,
        value: 0.5,
        others: 0.0,
        log_e: 9.0,
        log_e_at: 7.0,
    };
    let mut bed = Bed::new(at(1_000));
    let mut told = Told::default();
    let mut look = |bed: &Bed| {
        let releases = BTreeMap::new();
        let (judgements, outcomes) = (&bed.judgements, &bed.outcomes);
        told.look(&Sight { judgements, releases: &releases, wanted: &[], outcomes, made: &[], now: bed.now })
    };
    let mut says = |verdict, endpoints: &[u16]| {
        bed.judge(verdict, 99, 0);
        let judgement = bed.judgements.values_mut().next().unwrap();
        judgement.evidence.endpoints = endpoints.iter().map(|endpoint| of(*endpoint)).collect();
        look(&bed)
    };
    let held = Verdict::Undecided(Reason::Endpoint);
    assert_eq!(says(OVERLAP, &[1]), [], "it holds nothing");
    let news = says(held, &[1, 2]);
    assert_eq!(news.iter().map(|notice| notice.kind).collect::<Vec<_>>(), [Kind::Endpoint; 2]);
    assert!(news[0].id.ends_with("-1-endpoint-10.0.0.1:8080"), "{}", news[0].id);
    let why = "endpoint 10.0.0.1:8080 fails 50.0 % of its requests, the canary's others 0.0 %";
    assert_eq!(news[0].trouble.as_deref(), Some(why));
    assert_eq!(says(held, &[1, 2]), []);
    assert_eq!(says(held, &[2]), []);
    assert_eq!(says(held, &[1, 2]).len(), 1, "the first once more");
}
