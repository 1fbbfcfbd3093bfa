//! Numbers as people read them.

/// A time, to two places: `40 s`, `3 min`, `2 h 10 min`, `3.5 days`.
pub(super) fn span(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    if seconds < 1.0 {
        "now".to_owned()
    } else if seconds < 99.5 {
        format!("{seconds:.0} s")
    } else if minutes < 60.0 {
        format!("{minutes} min")
    } else if minutes < 600.0 {
        let hours = (minutes / 60.0).floor();
        format!("{hours} h {} min", minutes - hours * 60.0)
    } else if minutes < 2880.0 {
        format!("{:.0} h", minutes / 60.0)
    } else {
        format!("{:.1} days", minutes / 1440.0)
    }
}

/// A count with its thousands apart: `12,300`.
pub(super) fn count(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A share in per cent, to three places: `0.325 %`, `95 %`.
pub(super) fn per_cent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

/// A number to three places that tell something, without zeros at its end.
pub(super) fn short(number: f64) -> String {
    let before = number.abs().max(1e-9).log10().floor();
    let places = (2.0 - before).clamp(0.0, 6.0);
    let text =
        (0..=6).find(|p| f64::from(*p) >= places).map_or_else(String::new, |p| format!("{number:.p$}", p = p as usize));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let spans = [0.2, 42.0, 130.0, 7_800.0, 54_000.0, 302_400.0].map(span);
        assert_eq!(spans, ["now", "42 s", "2 min", "2 h 10 min", "15 h", "3.5 days"]);
        assert_eq!([0.4, 999.0, 1000.0, 1_234_567.0].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.00325, 0.95, 0.123_456, 0.0].map(per_cent), ["0.325 %", "95 %", "12.3 %", "0 %"]);
        assert_eq!([1.189, -0.0021, 41.42, 250.0].map(short), ["1.19", "-0.0021", "41.4", "250"]);
    }
}
