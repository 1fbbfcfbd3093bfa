//! Every file in `config/` and the one in the README compile, and the two references name every key that their readers know.

use coalmine::{
    config::{self, Problem, settings::Settings},
    core::clamp::Clamps,
};
use serde_yaml::{Mapping, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

const SETTINGS: &str = "settings.yaml";
/// A key that no reader knows and that resembles none.
const STRANGER: &str = "zzzzzzzzzzzzzzzz";

fn read(file: &str) -> String {
    let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn told(name: &str, problems: &[Problem]) -> String {
    problems.iter().map(|problem| problem.one_line(name) + "\n").collect()
}

/// Also without a warning: an example should not need an excuse.
#[track_caller]
fn compiles(name: &str, text: &str) {
    match config::read(text, &Clamps::default()) {
        Ok((_, warnings)) => assert!(warnings.is_empty(), "{}", told(name, &warnings)),
        Err(problems) => panic!("{}", told(name, &problems)),
    }
}

#[test]
fn every_file_of_ours_compiles() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(format!("{}/config", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        let text = read(&format!("config/{name}"));
        if name == SETTINGS {
            Settings::read(&text, &[]).unwrap_or_else(|problems| panic!("{}", told(&name, &problems)));
        } else {
            compiles(&name, &text);
        }
        seen.insert(name);
    }
    for name in ["demo.yaml", "example.yaml", "minimal.yaml", SETTINGS] {
        assert!(seen.contains(name), "config/{name} is missing");
    }
}

#[test]
fn the_references_name_every_key_there_is() {
    let routes = |text: &str| config::read(text, &Clamps::default()).err().unwrap_or_default();
    let settings = |text: &str| Settings::read(text, &[]).err().unwrap_or_default();
    let free = complete("config/example.yaml", &routes);
    assert_eq!(free, BTreeSet::from(["metadata".to_owned(), "routes[].match.headers".to_owned()]));
    assert_eq!(complete("config/settings.yaml", &settings), BTreeSet::new());
}

/// Asks the reader itself: a strange key in any map of the file makes it list the keys that it knows there. Those that stand
/// nowhere in the file at that place are missing from it. Gives the places where any key is welcome.
fn complete(file: &str, problems: &dyn Fn(&str) -> Vec<Problem>) -> BTreeSet<String> {
    let whole: Value = serde_yaml::from_str(&read(file)).unwrap();
    let (mut written, mut known, mut free) = (Keys::default(), Keys::default(), BTreeSet::new());
    for place in maps(&whole) {
        let mut strange = whole.clone();
        let map = follow(&mut strange, &place);
        let path = words(&place);
        written.entry(path.clone()).or_default().extend(map.keys().map(|key| key.as_str().unwrap().to_owned()));
        map.insert(STRANGER.into(), 1.into());
        let told = problems(&serde_yaml::to_string(&strange).unwrap());
        let what = format!("unknown key `{STRANGER}`");
        match told.iter().find(|problem| problem.what == what) {
            Some(problem) => {
                let keys = problem.help.strip_prefix("known here: ").expect("the known keys");
                known.entry(path).or_default().extend(keys.split(", ").map(str::to_owned));
            }
            None => drop(free.insert(path)),
        }
    }
    for (path, keys) in known {
        let missing: Vec<_> = keys.difference(&written[&path]).collect();
        assert!(missing.is_empty(), "{file}: the reader knows {missing:?} in `{path}`, and the file does not show it");
    }
    free
}

type Keys = BTreeMap<String, BTreeSet<String>>;

/// A way through a document: keys of maps and positions in lists.
type Way = Vec<Value>;

fn maps(value: &Value) -> Vec<Way> {
    let below = |step: Value, value: &Value| {
        maps(value).into_iter().map(move |way| std::iter::once(step.clone()).chain(way).collect())
    };
    match value {
        Value::Mapping(map) => {
            std::iter::once(Way::new()).chain(map.iter().flat_map(|(key, value)| below(key.clone(), value))).collect()
        }
        Value::Sequence(items) => (0..).zip(items).flat_map(|(i, item): (u64, _)| below(i.into(), item)).collect(),
        _ => Vec::new(),
    }
}

fn follow<'a>(value: &'a mut Value, way: &[Value]) -> &'a mut Mapping {
    let found = way.iter().fold(value, |at, step| match step.as_u64() {
        Some(position) => &mut at[usize::try_from(position).unwrap()],
        None => &mut at[step],
    });
    found.as_mapping_mut().unwrap()
}

/// `routes[].match.headers`: positions do not matter.
fn words(way: &[Value]) -> String {
    let step = |step: &Value| step.as_str().map_or("[]".to_owned(), |key| format!(".{key}"));
    way.iter().map(step).collect::<String>().trim_start_matches('.').to_owned()
}
