//! The guardrails of a route's `judge`.

use super::policy::millis;
use crate::{
    config::fields::{Field, Map},
    core::{
        judge::{Bound, Guardrail},
        name::GuardrailName,
    },
};

/// More of them are refused: each is a query every few seconds.
const GUARDRAILS_MAX: usize = 8;
/// A longer query is refused; it travels in a url.
const QUERY_BYTES_MAX: usize = 4_096;
/// A guardrail that says nothing of it must be broken for so long.
const LASTING_MS: u64 = 60_000;

pub(super) fn guardrails(map: &Map<'_>) -> Vec<Guardrail> {
    let Some(field) = map.get("guardrails") else { return Vec::new() };
    let items = field.items();
    if items.len() > GUARDRAILS_MAX {
        field.wrong(format!("more than {GUARDRAILS_MAX} guardrails"), "join some in one query");
    }
    let mut read: Vec<Guardrail> = Vec::new();
    for item in items {
        let Some(guardrail) = guardrail(&item) else { continue };
        if read.iter().any(|other| other.name == guardrail.name) {
            item.wrong(format!("there is another guardrail `{}`", guardrail.name), "give each a name of its own");
        }
        read.push(guardrail);
    }
    read
}

fn guardrail(field: &Field<'_>) -> Option<Guardrail> {
    let map = field.map()?;
    let name = map.need("name", "it stands in metrics and commits");
    let name = name.and_then(|field| field.parse(|text| GuardrailName::new(text).map_err(|error| error.to_string())));
    let text = map.need("query", "PromQL that gives one number").and_then(|field| field.parse(query));
    let bound = match (map.get("max"), map.get("min")) {
        (Some(field), None) => field.parse(number).map(Bound::Max),
        (None, Some(field)) => field.parse(number).map(Bound::Min),
        (Some(field), Some(_)) => {
            field.wrong(
                "a guardrail has one bound",
                "keep `max` or `min`, and write the other as a guardrail of its own",
            );
            None
        }
        (None, None) => {
            field.wrong("there is no bound", "say `max`, or `min`: beyond it the canary is rolled back");
            None
        }
    };
    let lasting_ms = map.or("for", LASTING_MS, millis);
    map.done();
    Some(Guardrail { name: name?, query: text?.into(), bound: bound?, lasting_ms })
}

fn query(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("the query is empty".to_owned()),
        long if long.len() > QUERY_BYTES_MAX => Err(format!("the query has more than {QUERY_BYTES_MAX} bytes")),
        some => Ok(some.to_owned()),
    }
}

fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
    number.ok_or_else(|| format!("`{text}` is not a number, such as 0.5 or -3e2"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config, core::clamp::Clamps};

    fn read(guardrails: &str) -> Result<Vec<Guardrail>, Vec<String>> {
        let text = format!(
            "apiVersion: coalmine.dev/v1alpha1
kind: RouteTable
routes:
  - name: r
    match: {{ path: / }}
    variants: [ {{ name: a, role: stable, weight: 100, url: 'http://a' }} ]
    judge:
      guardrails: {guardrails}
"
        );
        let read = config::read(&text, &Clamps::default());
        read.map(|(snapshot, _)| snapshot.routes.iter().next().unwrap().policy.guardrails.clone()).map_err(|told| {
            told.iter()
                .map(|problem| format!("{}: {}", problem.path.trim_start_matches("routes[0].judge."), problem.what))
                .collect()
        })
    }

    #[test]
    fn guardrails_are_read_and_what_is_wrong_with_them_is_told() {
        let read_ones =
            read("[{ name: cost, query: 'sum(x)', max: 0.5 }, { name: free, query: y, min: -3e2, for: 0s }]");
        let ones = read_ones.unwrap();
        let shown = ones.iter().map(|of| (of.name.as_str(), &*of.query, of.bound, of.lasting_ms)).collect::<Vec<_>>();
        assert_eq!(shown, [("cost", "sum(x)", Bound::Max(0.5), 60_000), ("free", "y", Bound::Min(-300.0), 0)]);
        let nine: Vec<_> = (0..9).map(|n| format!("{{ name: g{n}, query: x, max: 1 }}")).collect();
        for (text, part) in [
            ("[{ name: a, query: x }]", "guardrails[0]: there is no bound"),
            ("[{ name: a, query: x, max: 1, min: 0 }]", "guardrails[0].max: a guardrail has one bound"),
            ("[{ name: 'a b', query: x, max: 1 }]", "guardrails[0].name: a name is letters"),
            ("[{ name: a, query: ' ', max: 1 }]", "guardrails[0].query: the query is empty"),
            ("[{ name: a, query: x, max: inf }]", "guardrails[0].max: `inf` is not a number"),
            ("[{ name: a, query: x, max: 1, fro: 1m }]", "guardrails[0].fro: unknown key"),
            ("[{ name: a, query: x, max: 1 }, { name: a, query: y, max: 1 }]", "guardrails[1]: there is another"),
            (&format!("[{}]", nine.join(", ")), "guardrails: more than 8"),
            (
                &format!("[{{ name: a, query: {}, max: 1 }}]", "x".repeat(4_097)),
                "guardrails[0].query: the query has more",
            ),
        ] {
            let told = read(text).unwrap_err();
            assert!(told.iter().any(|line| line.starts_with(part)), "{part}: {told:?}");
        }
    }
}
