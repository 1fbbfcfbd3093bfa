//! One row to one event: what each column may hold.

use crate::core::replay::{Event, Label};

/// Every column that means something, in the order of [`Fields`].
pub(super) const COLUMNS: [&str; 7] = ["t_ms", "variant", "latency_ms", "ok", "correct", "label_t_ms", "split"];
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

/// The event of a row.
pub(super) fn event(&[t_ms, variant, latency_ms, ok, correct, label_t_ms, split]: &Fields<'_>) -> Result<Event, Wrong> {
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
        text => number("latency_ms", text, "write milliseconds such as 12.5")?,
    };
    if latency_ms < 0.0 {
        return wrong("latency_ms", &latency_ms.to_string(), "is negative", "write milliseconds such as 12.5");
    }
    let label = if correct.is_empty() { None } else { Some(label(correct, label_t_ms, at_ms)?) };
    let share = match split {
        "" => None,
        text => match number("split", text.trim_end_matches('%'), "write per cent, such as 10")? {
            share if (0.0..=100.0).contains(&share) => Some(share / 100.0),
            _ => return wrong("split", text, "is no share", "write per cent from 0 to 100, such as 10"),
        },
    };
    Ok(Event { share, label, ..Event::new(at_ms, canary, ok, latency_ms) })
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

    const GOOD: Fields<'static> = ["1500", "canary", "12.5", "1", "0", "2500.5", "10"];

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
        let failed = ["1", "stable", "", "0", "", "", ""];
        assert_eq!(event(&failed), Ok(Event::new(1.0, false, false, 0.0)));
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
    }
}
