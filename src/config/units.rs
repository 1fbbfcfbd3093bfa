//! Numbers with units, as people write them: durations, sizes, percentages, weights.

use crate::core::split::Weight;
use std::time::Duration;

/// Longest duration: a year.
const SECONDS_MAX: u64 = 365 * 24 * 3600;

/// `10m`, `1h30m`, `500ms`; a bare number has no unit and is refused.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration; write a number and ms, s, m, h or d, such as 30s or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0).ok_or_else(bad)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        sum = sum.saturating_add(Duration::from_millis(number.saturating_mul(millis)));
        rest = tail;
    }
    if text.is_empty() {
        return Err(bad());
    }
    if sum.as_secs() > SECONDS_MAX {
        return Err(format!("`{text}` is longer than a year"));
    }
    Ok(sum)
}

/// `64MiB`, `10kB`, `512`: bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("`{text}` is not a size; write a number and B, KiB, MiB or GiB, such as 64MiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let factor = match unit {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        _ => return Err(bad()),
    };
    number.checked_mul(factor).ok_or_else(bad)
}

/// `4.4%` or `0.044`: a fraction of one, at most one.
pub fn fraction(text: &str) -> Result<f64, String> {
    let bad = || format!("`{text}` is not a share; write a fraction between 0 and 1, or a percentage such as 4.4%");
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let value = decimal(number).ok_or_else(bad)? / scale;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(bad()) }
}

/// A plain decimal number, no sign, no exponent, no `nan`.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
        && text.len() <= 24;
    plain.then(|| text.parse().ok()).flatten()
}

/// `10`, `12.5`, `0.25`, and the same with `%`: per cent with at most two decimals.
pub(super) fn weight(text: &str) -> Result<Weight, String> {
    let bad = || format!("`{text}` is not a weight; write a number from 0 to 100 with at most two decimals");
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || rest.len() > 2 || !digits(whole) || !digits(rest) || number.ends_with('.')
    {
        return Err(bad());
    }
    let whole: u16 = whole.parse().map_err(|_| bad())?;
    let hundredths: u16 = format!("{rest:0<2}").parse().map_err(|_| bad())?;
    let points = whole.checked_mul(100).and_then(|points| points.checked_add(hundredths));
    points.and_then(Weight::new).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let millis = |text| duration(text).map(|d| d.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("0"), Ok(0));
        assert_eq!(millis("2d"), Ok(172_800_000));
        for bad in ["", "5", "s", "-1s", "1.5s", "1 s", "nan", "99999999999999999999s", "400d", "1w"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_shares() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("7"), Ok(7));
        for bad in ["", "MiB", "-1", "1.5MiB", "99999999999999999999", "99999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!((fraction("4.4%").unwrap() - 0.044).abs() < 1e-12);
        assert!((fraction("0.02").unwrap() - 0.02).abs() < 1e-12);
        for bad in ["", "%", "nan", "-0.1", "1.1", "101%", "1e-3", "inf"] {
            assert!(fraction(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn weights_have_two_decimals_at_most_and_zero_is_zero() {
        let points = |text| weight(text).map(Weight::basis_points);
        assert_eq!(points("0"), Ok(0));
        assert_eq!(points("100"), Ok(10_000));
        assert_eq!(points("12.5"), Ok(1_250));
        assert_eq!(points("0.25"), Ok(25));
        assert_eq!(points("10%"), Ok(1_000));
        for bad in ["", "-1", "100.01", "101", "656", "0.125", "nan", "1e1", ".5", "5.", "+5", "9999999"] {
            assert!(weight(bad).is_err(), "{bad}");
        }
    }
}
