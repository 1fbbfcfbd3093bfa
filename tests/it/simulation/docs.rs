//! Routes files of the made-up world: each text is compiled once for each set of clamps.

use coalmine::{
    config::{self, edit::edit},
    core::{
        clamp::Clamps,
        name::{Artefact, RouteName},
        release::intent::Change,
        route::Route,
        snapshot::Snapshot,
        split::Weight,
        variant::Role,
    },
};
use std::{collections::HashMap, sync::Arc};

/// A text, by its number.
pub(super) type Doc = usize;

pub(super) const FIRST: &str = "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: digits
    match: { path: /d }
    variants:
      - { name: v1, role: stable, weight: 99, url: 'http://h:1' }
      - { name: v2, role: canary, weight: 1, url: 'http://h:2' }
    plan:
      steps:
        - { weight: 1, hold: 10s, requests: 100 }
        - { weight: 10, hold: 10s, requests: 100 }
        - { weight: 50, hold: 10s, labels: 100, approve: true }
        - { weight: 100 }
      watch: { hold: 20s, holdback: 5 }
      deadline: 1h
    judge: { warmup: 1s, on_inconclusive: rollback_on_stall }
";

pub(super) fn digits() -> RouteName {
    RouteName::new("digits").unwrap()
}

/// All texts so far.
#[derive(Default)]
pub(super) struct Docs {
    texts: Vec<String>,
    numbers: HashMap<String, Doc>,
    plain: Vec<Option<Arc<Route>>>,
    clamped: HashMap<(Doc, Clamps), Snapshot>,
    edited: HashMap<(Doc, Vec<Change>), Result<Doc, String>>,
}

/// One variant's line, as people edit it.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) weight: Weight,
    pub(super) url: String,
}

impl Docs {
    pub(super) fn number(&mut self, text: &str) -> Doc {
        if let Some(known) = self.numbers.get(text) {
            return *known;
        }
        let read = config::read(text, &Clamps::default()).ok();
        let route = read.and_then(|(snapshot, _)| Some(snapshot.routes.named("digits")?.1.clone()));
        self.texts.push(text.to_owned());
        self.plain.push(route);
        self.numbers.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }

    pub(super) fn text(&self, doc: Doc) -> &str {
        &self.texts[doc]
    }

    /// The route without clamps; `None`: the text is not valid.
    pub(super) fn route(&self, doc: Doc) -> Option<&Arc<Route>> {
        self.plain[doc].as_ref()
    }

    /// What the text says of an artefact.
    pub(super) fn said(&self, doc: Doc, artefact: &Artefact) -> Option<(Role, Weight)> {
        let variant = self.route(doc)?.variants.iter().find(|v| v.artefact == *artefact)?;
        Some((variant.role, variant.said))
    }

    pub(super) fn weight(&self, doc: Doc, artefact: &Artefact) -> Weight {
        self.said(doc, artefact).map_or(Weight::ZERO, |(_, weight)| weight)
    }

    /// The table under clamps; only of a valid text.
    pub(super) fn under(&mut self, doc: Doc, clamps: Clamps) -> Snapshot {
        let text = &self.texts[doc];
        self.clamped
            .entry((doc, clamps))
            .or_insert_with_key(|(_, clamps)| config::read(text, clamps).unwrap().0)
            .clone()
    }

    pub(super) fn edit(&mut self, doc: Doc, changes: Vec<Change>) -> Result<Doc, String> {
        if let Some(known) = self.edited.get(&(doc, changes.clone())) {
            return known.clone();
        }
        let text = edit(self.text(doc), "digits", &changes).map_err(|error| error.to_string());
        let edited = text.map(|text| self.number(&text));
        self.edited.insert((doc, changes), edited.clone());
        edited
    }

    /// The variants as a person sees them; nothing if the text is not valid.
    pub(super) fn lines(&self, doc: Doc) -> Vec<Line> {
        let variants = self.route(doc).map(|route| route.variants.as_slice()).unwrap_or_default();
        let line = |v: &coalmine::core::variant::Variant| Line {
            name: v.name.to_string(),
            role: v.role,
            weight: v.said,
            url: v.artefact.to_string(),
        };
        variants.iter().map(line).collect()
    }

    /// The first text with these variants and this path.
    pub(super) fn write(&mut self, lines: &[Line], path: &str) -> Doc {
        let line = |l: &Line| {
            let Line { name, role, weight, url } = l;
            format!("      - {{ name: {name}, role: {}, weight: {weight}, url: '{url}' }}\n", role.as_str())
        };
        let variants: String = lines.iter().map(line).collect();
        let (head, rest) = FIRST.split_once("    variants:\n").unwrap();
        let plan = rest.find("    plan:").unwrap();
        let head = head.replace("/d", path);
        self.number(&format!("{head}    variants:\n{variants}{}", &rest[plan..]))
    }
}
