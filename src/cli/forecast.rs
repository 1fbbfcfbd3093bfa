//! What is still needed, in words: the same for `status` and `explain`.

use super::words;
use serde_json::Value;

fn number(value: &Value, path: &str) -> Option<f64> {
    value.pointer(path)?.as_f64()
}

fn seconds(span: &Value) -> Option<(String, String)> {
    let of = |key: &str| span[key].as_f64().map(words::span);
    Some((of("half")?, of("nine_in_ten").unwrap_or_else(|| "nobody knows when".to_owned())))
}

/// When a canary like stable passes everything; nothing if there is no forecast.
pub(super) fn pass(forecast: &Value) -> Option<String> {
    let span = forecast.get("pass_seconds")?;
    Some(match seconds(span) {
        Some((half, _)) if half == "now" => "every signal has what it needs to pass".to_owned(),
        Some((half, most)) => format!("a canary like stable passes in {half} (half of them), {most} (nine in ten)"),
        None => "when a canary like stable passes cannot be told yet".to_owned(),
    })
}

/// What each signal still needs.
pub(super) fn signals(forecast: &Value) -> Vec<String> {
    let lines = forecast["signals"].as_array().into_iter().flatten().map(|of| {
        let (name, unit) = (of["signal"].as_str().unwrap_or(""), of["unit"].as_str().unwrap_or(""));
        let needed = |needs: &Value| match (number(needs, "/exposures/half"), seconds(&needs["seconds"])) {
            (Some(n), _) if n <= 0.0 => "nothing more".to_owned(),
            (Some(n), Some((half, _))) => format!("{} more {unit}, {half}", words::count(n)),
            (Some(n), None) => format!("{} more {unit}, and none come", words::count(n)),
            (None, _) => "cannot be told yet".to_owned(),
        };
        let seen = number(of, "/seen/canary")
            .map_or(String::new(), |value| format!("; to see {}: {}", words::per_cent(value), needed(&of["seen"])));
        format!("{name:<9} to pass: {}{seen}", needed(&of["pass"]))
    });
    lines.collect()
}
