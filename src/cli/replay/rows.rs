//! One row to one event: what each column may hold.

use crate::core::{
    replay::{Event, Label},
    split::siphash,
    stats::histogram::bucket_of_ms,
};
use std::collections::HashMap;

/// Every column that means something, in the order of [`Fields`].
pub(super) const COLUMNS: [&str; 10] =
    ["t_ms", "variant", "latency_ms", "ok", "correct", "label_t_ms", "split", "endpoint", "user", "first_token_ms"];
/// Endpoints of one recording, of both variants together.
const ENDPOINTS_MAX: usize = 1_000;
/// So many of them a recording must have; the next two, too, where labels are judged.
pub(super) const NEEDED: usize = 4;
/// See [`NEEDED`].
pub(super) const NEEDED_WITH_LABELS: usize = 6;

/// The texts of [`COLUMNS`]; empty where there is nothing.
pub(super) type Fields<'a> = [&'a str; COLUMNS.len()];

/// What is wrong with a row: the column, what, and what to do.
#[derive(PartialEq, Debug)]
pub(super) struct Wrong {
    pub(super) column: &'static str,
    pub(super) what: String,
    pub(super) help: &'static str,
}

fn wrong<T>(column: &'static str, text: &str, what: &str, help: &'static str) -> Result<T, Wrong> {
    let what = if text.is_empty() { "there is no value".to_owned() } else { format!("`{text}` {what}") };
    Err(Wrong { column, what, help })
}

fn number(column: &'static str, text: &str, help: &'static str) -> Result<f64, Wrong> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => wrong(column, text, "is not a number", help),
    }
}

/// Names of endpoints as numbers, in the order in which they came.
#[derive(Default)]
pub(super) struct Endpoints(HashMap<String, u16>);

impl Endpoints {
    fn number(&mut self, name: &str) -> Result<Option<u16>, Wrong> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.0.get(name) {
            return Ok(Some(*known));
        }
        let number = u16::try_from(self.0.len()).ok().filter(|number| usize::from(*number) < ENDPOINTS_MAX);
        let Some(number) = number else {
            return wrong(
                "endpoint",
                name,
                "is one more than 1,000 of them",
                "is this the column with the endpoint's name",
            );
        };
        self.0.insert(name.to_owned(), number);
        Ok(Some(number))
    }
}

fn milliseconds(column: &'static str, text: &str) -> Result<f64, Wrong> {
    let help = "write milliseconds such as 12.5";
    match number(column, text, help)? {
        negative if negative < 0.0 => wrong(column, text, "is negative", help),
        ms => Ok(ms),
    }
}

/// The event of a row.
pub(super) fn event(fields: &Fields<'_>, endpoints: &mut Endpoints) -> Result<Event, Wrong> {
    let &[t_ms, variant, latency_ms, ok, correct, label_t_ms, split, endpoint, user, first_token_ms] = fields;
    let at_ms = number("t_ms", t_ms, "write milliseconds on any clock, such as 1500")?;
    let canary = match variant {
        "canary" => true,
        "stable" => false,
        _ => return wrong("variant", variant, "is no variant", "write `stable` or `canary`"),
    };
    let ok = match ok {
        "1" | "true" | "True" | "1.0" => true,
        "0" | "false" | "False" | "0.0" => false,
        _ => return wrong("ok", ok, "is neither", "write 1 for a good answer and 0 for an error"),
    };
    let latency_ms = match latency_ms {
        // What failed may have no latency; it would not count.
        "" if !ok => 0.0,
        text => milliseconds("latency_ms", text)?,
    };
    let first_token = match first_token_ms {
        "" => None,
        text => Some(bucket_of_ms(milliseconds("first_token_ms", text)?)),
    };
    let label = if correct.is_empty() { None } else { Some(label(correct, label_t_ms, at_ms)?) };
    let share = match split {
        "" => None,
        text => match number("split", text.trim_end_matches('%'), "write per cent, such as 10")? {
            share if (0.0..=100.0).contains(&share) => Some(share / 100.0),
            _ => return wrong("split", text, "is no share", "write per cent from 0 to 100, such as 10"),
        },
    };
    let endpoint = endpoints.number(endpoint)?;
    let user = (!user.is_empty()).then(|| siphash(&[user.as_bytes()]));
    Ok(Event { share, label, endpoint, user, first_token, ..Event::new(at_ms, canary, ok, latency_ms) })
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
fn label(correct: &str, label_t_ms: &str, served_ms: f64) -> Result<Label, Wrong> {
    let help = "write 1 (right), 0 (wrong) or a score between; leave it empty if it was never labelled";
    let score = match correct {
        "true" | "True" => 1.0,
        "false" | "False" => 0.0,
        text => number("correct", text, help)?,
    };
    if !(0.0..=1.0).contains(&score) {
        return wrong("correct", correct, "is not between 0 and 1", help);
    }
    let at_ms = match label_t_ms {
        "" => served_ms,
        text => number("label_t_ms", text, "write milliseconds on the clock of t_ms, or leave it empty")?,
    };
    Ok(Label { at_ms, wrong_micro: ((1.0 - score) * 1e6).round() as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Fields<'static> = ["1500", "canary", "12.5", "1", "0", "2500.5", "10", "", "", ""];

    fn event(fields: &Fields<'_>) -> Result<Event, Wrong> {
        super::event(fields, &mut Endpoints::default())
    }

    fn with(column: &str, text: &'static str) -> Fields<'static> {
        let mut fields = GOOD;
        fields[COLUMNS.iter().position(|c| *c == column).unwrap()] = text;
        fields
    }

    #[test]
    fn a_row_is_an_event() {
        let label = Some(Label { at_ms: 2500.5, wrong_micro: 1_000_000 });
        let wanted = Event { share: Some(0.1), label, ..Event::new(1500.0, true, true, 12.5) };
        assert_eq!(event(&GOOD), Ok(wanted));
        let at_once = Some(Label { at_ms: 1500.0, wrong_micro: 1_000_000 });
        assert_eq!(event(&with("label_t_ms", "")).unwrap().label, at_once);
        assert_eq!(event(&with("correct", "")).unwrap().label, None);
        assert_eq!(event(&with("correct", "0.75")).unwrap().label.unwrap().wrong_micro, 250_000);
        assert_eq!(event(&with("split", "")).unwrap().share, None);
        assert_eq!(event(&with("split", "12.5%")).unwrap().share, Some(0.125));
        let failed = ["1", "stable", "", "0", "", "", "", "", "", ""];
        assert_eq!(event(&failed), Ok(Event::new(1.0, false, false, 0.0)));
    }

    #[test]
    fn endpoints_users_and_first_tokens_are_read_where_they_are() {
        let mut endpoints = Endpoints::default();
        let mut of = |endpoint| super::event(&with("endpoint", endpoint), &mut endpoints).map(|event| event.endpoint);
        assert_eq!([of("pod-a"), of("pod-b"), of(""), of("pod-a")], [Ok(Some(0)), Ok(Some(1)), Ok(None), Ok(Some(0))]);
        let user = |text| event(&with("user", text)).unwrap().user;
        assert_eq!(user(""), None);
        assert!(user("ann").is_some() && user("ann") == user("ann") && user("ann") != user("bob"));
        assert_eq!(event(&with("first_token_ms", "2")).unwrap().first_token, Some(16));
        assert_eq!(event(&GOOD).unwrap().first_token, None);
        for n in endpoints.0.len()..ENDPOINTS_MAX {
            assert!(endpoints.number(&n.to_string()).is_ok());
        }
        assert!(endpoints.number("one more").unwrap_err().what.contains("one more than 1,000"));
    }

    #[track_caller]
    fn check(column: &'static str, text: &'static str, what: &str) {
        let wrong = event(&with(column, text)).unwrap_err();
        assert_eq!(wrong.column, column);
        assert!(wrong.what.contains(what) && !wrong.help.is_empty(), "{wrong:?}");
    }

    #[test]
    fn what_is_wrong_is_told_by_column() {
        check("t_ms", "", "no value");
        check("t_ms", "NaN", "`NaN` is not a number");
        check("variant", "v2", "`v2` is no variant");
        check("latency_ms", "fast", "`fast` is not a number");
        check("latency_ms", "-1", "negative");
        check("latency_ms", "", "no value");
        check("ok", "2", "`2`");
        check("correct", "yes", "`yes`");
        check("correct", "1.5", "not between");
        check("label_t_ms", "soon", "`soon`");
        check("split", "110", "no share");
        check("split", "ten", "not a number");
        check("first_token_ms", "-1", "negative");
        check("first_token_ms", "soon", "not a number");
    }
}
