//! Quantities as operators write them: sizes (`4GiB`) and durations (`1m30s`).

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A number stands alone.
    #[error("{0:?} has no unit")]
    NoUnit(String),
    /// The unit is not one of those known.
    #[error("{unit:?} is no unit of {what}; known are {known}")]
    BadUnit {
        /// What was written after the number.
        unit: String,
        /// "size" or "time".
        what: &'static str,
        /// The units there are.
        known: &'static str,
    },
    /// There is no number in front of the unit.
    #[error("{0:?} does not begin with a number")]
    NoNumber(String),
    /// The quantity does not fit.
    #[error("{0:?} is too large")]
    TooLarge(String),
}

const SIZE_UNITS: &str = "B, KiB, MiB, GiB, TiB, KB, MB, GB, TB";
const TIME_UNITS: &str = "ms, s, m, h, d";

impl ByteSize {
    /// So many MiB, the unit of a bare number in a job file.
    ///
    /// # Errors
    /// The product does not fit into 64 bits.
    pub fn from_mib(mib: u64) -> Result<Self, UnitError> {
        mib.checked_mul(1 << 20).map(Self).ok_or_else(|| UnitError::TooLarge(mib.to_string()))
    }

    /// Reads `512MiB`, `1.5 GiB`, `10MB`, `4G`. As with systemd, a bare letter is a power of 1024.
    ///
    /// # Errors
    /// No number, no unit, an unknown unit, or too large.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let (number, unit) = split(text)?;
        let factor: u64 = match unit {
            "" => return Err(UnitError::NoUnit(text.into())),
            "B" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1 << 40,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => {
                return Err(UnitError::BadUnit { unit: unit.into(), what: "size", known: SIZE_UNITS });
            }
        };
        scale(text, number, factor).map(Self)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (factor, unit) in [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}

/// Reads `10s`, `1m30s`, `1.5h`, `2d`, `250ms`.
///
/// # Errors
/// No number, no unit, an unknown unit, or too large.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(UnitError::NoNumber(text.into()));
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, tail) = split(rest)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(end);
        let factor: u64 = match unit.trim() {
            "" => return Err(UnitError::NoUnit(text.into())),
            "ms" => 1,
            "s" | "sec" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            unit => {
                return Err(UnitError::BadUnit { unit: unit.into(), what: "time", known: TIME_UNITS });
            }
        };
        total = total
            .checked_add(scale(text, number, factor)?)
            .ok_or_else(|| UnitError::TooLarge(text.into()))?;
        rest = next.trim_start();
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as [`parse_duration`] reads it, to the millisecond: `1m30s`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")] {
        if ms >= factor {
            text.push_str(&format!("{}{unit}", ms / factor));
            ms %= factor;
        }
    }
    text
}

fn split(text: &str) -> Result<(&str, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    if end == 0 {
        return Err(UnitError::NoNumber(text.into()));
    }
    Ok((&text[..end], text[end..].trim_start()))
}

/// `number` times `factor` in whole units; fractions ("1.5") are exact to the unit.
fn scale(text: &str, number: &str, factor: u64) -> Result<u64, UnitError> {
    let too_large = || UnitError::TooLarge(text.into());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(UnitError::NoNumber(text.into()));
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_large())? };
    let mut total = whole.checked_mul(factor).ok_or_else(too_large)?;
    if !fraction.is_empty() {
        let digits = &fraction[..fraction.len().min(9)];
        let numerator: u128 = digits.parse().map_err(|_| too_large())?;
        let part = numerator * u128::from(factor) / 10u128.pow(digits.len() as u32);
        total = total.checked_add(u64::try_from(part).map_err(|_| too_large())?).ok_or_else(too_large)?;
    }
    Ok(total)
}

/// Seconds for people, short: two units, or one with a fraction.
#[must_use]
pub fn short_time(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    let text = format_duration(Duration::from_secs(seconds as u64));
    let second_unit = text.match_indices(|c: char| c.is_ascii_alphabetic()).nth(1);
    second_unit.map_or(text.clone(), |(at, _)| text[..=at].to_owned())
}

/// Bytes for people, in the unit of a bare number in a job file.
#[must_use]
pub fn mebibytes(bytes: u64) -> String {
    format!("{}MiB", bytes.div_ceil(1 << 20))
}

/// The text in at most so many columns, with a mark where something is missing.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A number of things, for people: `1 file`, `2 files`.
#[must_use]
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Durations in records: whole milliseconds.
pub mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes milliseconds.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    /// Reads milliseconds.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let read = |text: &str| ByteSize::parse(text).map(|size| size.0);
        assert_eq!(read("4GiB"), Ok(4 << 30));
        assert_eq!(read("1.5 GiB"), Ok(3 << 29));
        assert_eq!(read("10MB"), Ok(10_000_000));
        assert_eq!(read("4G"), Ok(4 << 30));
        assert_eq!(read("0B"), Ok(0));
        assert!(matches!(read("512"), Err(UnitError::NoUnit(_))));
        assert!(matches!(read("5 bananas"), Err(UnitError::BadUnit { .. })));
        assert!(matches!(read("GiB"), Err(UnitError::NoNumber(_))));
        assert!(matches!(read(""), Err(UnitError::NoNumber(_))));
        assert!(matches!(read("1.2.3GiB"), Err(UnitError::NoNumber(_))));
        assert!(matches!(read("99999999999TiB"), Err(UnitError::TooLarge(_))));
        assert!(matches!(read("99999999999999999999999B"), Err(UnitError::TooLarge(_))));
        assert_eq!(ByteSize(4 << 30).to_string(), "4GiB");
        assert_eq!(ByteSize(1000).to_string(), "1000B");
    }

    #[test]
    fn for_people() {
        for (seconds, text) in [
            (0.0, "0.0s"),
            (59.94, "59.9s"),
            (60.0, "1m"),
            (61.9, "1m1s"),
            (3_661.0, "1h1m"),
            (90_061.0, "1d1h"),
        ] {
            assert_eq!(short_time(seconds), text);
        }
        assert_eq!(
            (mebibytes(0), mebibytes(1), mebibytes(64 << 20)),
            ("0MiB".into(), "1MiB".into(), "64MiB".into())
        );
        assert_eq!(
            (cut("abc", 3).as_str(), cut("äbcd", 3).as_str(), cut("a", 0).as_str()),
            ("abc", "äb…", "…")
        );
    }

    #[test]
    fn durations() {
        let read = |text: &str| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(read("10s"), Ok(10_000));
        assert_eq!(read("1m30s"), Ok(90_000));
        assert_eq!(read("1h 30min"), Ok(5_400_000));
        assert_eq!(read("1.5h"), Ok(5_400_000));
        assert_eq!(read("250ms"), Ok(250));
        assert!(matches!(read("10"), Err(UnitError::NoUnit(_))));
        assert!(matches!(read("-1s"), Err(UnitError::NoNumber(_))));
        assert!(matches!(read(""), Err(UnitError::NoNumber(_))));
        assert!(matches!(read("1y"), Err(UnitError::BadUnit { .. })));
        assert!(matches!(read("999999999999999d"), Err(UnitError::TooLarge(_))));
        for text in ["1d2h3m4s5ms", "0s", "59s"] {
            assert_eq!(format_duration(parse_duration(text).expect(text)), text);
        }
    }
}
