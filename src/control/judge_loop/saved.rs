//! Evidence as it outlives the process, in one document of the store.

use super::Attempt;
use crate::{
    core::{
        judge::{Guardrails, SavedSpell},
        name::{GuardrailName, RouteName},
        tally::FailedUsers,
    },
    io::store::Store,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The store's document with the evidence.
const DOCUMENT: &str = "evidence";
/// Of the document's shape. What another version wrote is not guessed at.
const VERSION: u64 = 2;

#[derive(Serialize)]
struct Written<'a> {
    version: u64,
    attempts: BTreeMap<&'a str, Saved>,
}

/// One attempt.
#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) key: u64,
    pub(super) number: u32,
    pub(super) since_wall_ms: u64,
    /// What the trial gave.
    pub(super) bits: Vec<u64>,
    /// Users who have failed, word by word without the empty ones.
    #[serde(default)]
    users: Vec<(usize, u64)>,
    /// Guardrails that are broken: name, query, and for how many milliseconds.
    #[serde(default)]
    guardrails: Vec<(String, String, u64)>,
}

impl Saved {
    fn of(attempt: &Attempt) -> Self {
        let words = attempt.blocks.as_ref().map_or(&[][..], |blocks| blocks.users().saved());
        Self {
            key: attempt.key.0,
            number: attempt.number,
            since_wall_ms: attempt.since.wall_ms,
            bits: attempt.trial.saved(),
            guardrails: attempt.guardrails.saved().into_iter().map(written).collect(),
            users: words.iter().copied().enumerate().filter(|(_, word)| *word != 0).collect(),
        }
    }

    /// `answered`: whether the canary had answered anybody.
    pub(super) fn guardrails(&self, answered: bool) -> Guardrails {
        let read = |(name, query, broken_ms): &(String, String, u64)| {
            let name = GuardrailName::new(name).ok()?;
            Some(SavedSpell { name, query: query.as_str().into(), broken_ms: *broken_ms })
        };
        Guardrails::restored(self.guardrails.iter().filter_map(read).collect(), answered)
    }

    pub(super) fn users(&self) -> FailedUsers {
        FailedUsers::restored(&self.users)
    }
}

fn written(spell: SavedSpell) -> (String, String, u64) {
    (spell.name.as_str().to_owned(), spell.query.as_ref().to_owned(), spell.broken_ms)
}

/// What was saved, by route. What cannot be read is told, and judged afresh.
pub(super) fn load(store: &Store) -> BTreeMap<String, Saved> {
    let read = store.get(DOCUMENT).map_err(|error| error.to_string());
    let parsed = read.and_then(|bytes| bytes.map_or(Ok(BTreeMap::new()), |bytes| parse(&bytes)));
    parsed.unwrap_or_else(|error| {
        tracing::error!(error, "saved evidence cannot be read: judging starts afresh");
        BTreeMap::new()
    })
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Saved>, String> {
    let mut document: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match document.get("version").and_then(serde_json::Value::as_u64) {
        Some(VERSION) => {
            serde_json::from_value(document.get_mut("attempts").map(serde_json::Value::take).unwrap_or_default())
                .map_err(|error| error.to_string())
        }
        Some(other) => Err(format!("it is of version {other}, and this is {VERSION}")),
        None => Err(format!("it says no version, and this is {VERSION}")),
    }
}

pub(super) fn save(store: &Store, attempts: &BTreeMap<RouteName, Attempt>) {
    let attempts = attempts.iter().map(|(name, attempt)| (name.as_str(), Saved::of(attempt))).collect();
    let written = serde_json::to_vec(&Written { version: VERSION, attempts })
        .map_err(|error| error.to_string())
        .and_then(|bytes| store.put(DOCUMENT, &bytes).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::error!(error, "evidence not saved: a restart now would judge afresh");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_version_wrote_is_read() {
        let known =
            br#"{"version":2,"attempts":{"d":{"key":1,"number":2,"since_wall_ms":3,"bits":[4],"users":[[5,6]]}}}"#;
        let read = parse(known).unwrap();
        let saved = &read["d"];
        assert_eq!((saved.key, saved.number, saved.since_wall_ms, &*saved.bits), (1, 2, 3, &[4][..]));
        assert_eq!(saved.users().len(), 2, "6 is two bits");
        assert!(saved.guardrails(true).saved().is_empty(), "an earlier program wrote none");
        let broken = br#"{"version":2,"attempts":{"d":{"key":1,"number":2,"since_wall_ms":3,"bits":[4],"guardrails":[["cost","q",70]]}}}"#;
        let spells = parse(broken).unwrap()["d"].guardrails(true).saved();
        assert_eq!(spells.into_iter().map(written).collect::<Vec<_>>(), [("cost".into(), "q".into(), 70)]);
        for (text, part) in [
            (r#"{"version":1,"attempts":{}}"#, "version 1"),
            (r#"{"d":{"key":1,"number":2,"since_wall_ms":3,"bits":[4]}}"#, "no version"),
            ("{", "EOF"),
        ] {
            let error = parse(text.as_bytes()).map(|read| read.len()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
