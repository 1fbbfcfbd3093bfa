//! The tables of `docs/releases.md`, held against what is seen and what there is.

use coalmine::core::{
    judge::Reason,
    release::{Alert, Hold, State},
};
use std::{collections::BTreeSet, fs, path::Path};

/// Why the judge cannot tell.
pub(super) const REASONS: [Reason; 9] = [
    Reason::NoData,
    Reason::LowSamples,
    Reason::Overlap,
    Reason::SplitMismatch,
    Reason::StableUnhealthy,
    Reason::LabelStarved,
    Reason::Skewed,
    Reason::Guardrail,
    Reason::Endpoint,
];

/// The rows of the table under this heading whose first cell begins with `lead`, cell by cell.
fn rows(heading: &str, lead: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/releases.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with(&format!("| {lead}")));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The words in back-quotes.
fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn firsts(heading: &str) -> BTreeSet<String> {
    rows(heading, "`").iter().flat_map(|row| words(&row[0])).collect()
}

/// Every pair of states, from and to, that the documentation has.
fn documented() -> BTreeSet<(String, String)> {
    let pairs = |row: &Vec<String>| {
        let (from, to) = (words(&row[0]), words(&row[1]));
        from.into_iter().flat_map(move |from| to.clone().into_iter().map(move |to| (from.clone(), to)))
    };
    rows("Transitions", "`").iter().flat_map(pairs).collect()
}

/// Fails if something was seen that is not documented, or the other way round: transitions, and reasons to hold.
pub(super) fn hold_against(seen: &BTreeSet<(&'static str, &'static str)>, holds: &BTreeSet<&'static str>) {
    let holds: BTreeSet<String> = holds.iter().map(|hold| (*hold).to_owned()).collect();
    let never: Vec<_> = firsts("Why it holds").difference(&holds).cloned().collect();
    assert!(never.is_empty(), "reasons to hold that no world has come to: {never:?}");
    let seen: BTreeSet<_> = seen.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
    let documented = documented();
    let (new, gone): (Vec<_>, Vec<_>) =
        (seen.difference(&documented).collect(), documented.difference(&seen).collect());
    assert!(
        new.is_empty() && gone.is_empty(),
        "seen, and not in docs/releases.md: {new:?}; there, and never seen: {gone:?}"
    );
}

#[test]
fn every_state_reason_and_alert_has_its_row() {
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(firsts("States"), set(&[&["idle"], &State::ALL[..]].concat()));
    let holds = [
        Hold::Undecided(Reason::NoData),
        Hold::Deadline(Reason::NoData),
        Hold::Paused,
        Hold::Frozen,
        Hold::NoGit,
        Hold::ByHand,
        Hold::BranchAhead,
        Hold::TakenBack,
        Hold::NoHeir,
        Hold::EndOfPlan,
    ];
    // These do not compile when there is another one: add it above, too.
    REASONS.iter().for_each(|reason| match reason {
        Reason::NoData | Reason::LowSamples | Reason::Overlap | Reason::SplitMismatch => {}
        Reason::StableUnhealthy | Reason::LabelStarved | Reason::Skewed | Reason::Guardrail | Reason::Endpoint => {}
    });
    holds.iter().for_each(|hold| match hold {
        Hold::Undecided(_) | Hold::Deadline(_) | Hold::Paused | Hold::Frozen | Hold::NoGit => {}
        Hold::ByHand | Hold::BranchAhead | Hold::TakenBack | Hold::NoHeir | Hold::EndOfPlan => {}
    });
    let all: Vec<&str> = REASONS.into_iter().map(Hold::Undecided).chain(holds).map(Hold::as_str).collect();
    assert_eq!(firsts("Why it holds"), set(&all));
    assert_eq!(firsts("Alerts"), set(&Alert::ALL.map(Alert::as_str)));
}

/// Every name of a test, by the lines that say `fn`.
fn tests_in(directory: &Path, all: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_in(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let parts = text.split("#[test]").skip(1).filter_map(|part| part.split_once("fn ")?.1.split_once('('));
            all.extend(parts.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn every_failure_that_is_documented_is_brought_about_by_a_test_that_there_is() {
    let mut all = BTreeSet::new();
    ["src", "tests/it"].iter().for_each(|part| tests_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &mut all));
    let rows = rows("When something fails", "");
    let named: Vec<_> = rows.iter().skip(1).map(|row| words(&row[2])).collect();
    assert!(named.len() > 20 && named.iter().all(|names| !names.is_empty()), "{named:?}");
    let gone: Vec<_> = named.concat().into_iter().filter(|name| !all.contains(name)).collect();
    assert!(gone.is_empty(), "no test is called {gone:?}");
}
