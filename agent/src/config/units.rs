//! Sizes and times as people write them: `16MiB`, `30s`.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;

/// A size in bytes: a number and one of `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct ByteSize(pub u64);

/// A time: a number and one of `ms`, `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(pub Duration);

/// Not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct BadQuantity {
    text: String,
    what: &'static str,
}

const SIZES: [(&str, u64); 8] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl FromStr for ByteSize {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let what = "a size: write a number and a unit, as in \"64KiB\", \"16MiB\" or \"1GiB\"";
        parse(text, &SIZES).map(Self).ok_or_else(|| BadQuantity { text: text.into(), what })
    }
}

impl FromStr for Span {
    type Err = BadQuantity;

    fn from_str(text: &str) -> Result<Self, BadQuantity> {
        let what = "a time: write a number and a unit, as in \"500ms\", \"30s\", \"5m\", \"12h\" or \"90d\"";
        let ms = parse(text, &TIMES).map(Duration::from_millis);
        ms.map(Self).ok_or_else(|| BadQuantity { text: text.into(), what })
    }
}

macro_rules! from_string {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = BadQuantity;

            fn try_from(text: String) -> Result<Self, BadQuantity> {
                text.parse()
            }
        }
    };
}

from_string!(ByteSize);
from_string!(Span);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match SIZES[..4].iter().rev().find(fits) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units() {
        for (text, bytes) in [("64KiB", 65_536), ("16 MiB", 16 << 20), ("1GB", 1_000_000_000), ("0B", 0)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("90d", 7_776_000_000)] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))));
        }
        for bad in ["", "16", "MiB", "-1s", "1.5s", "16mib", "99999999999999999999s", "18446744073709551615KiB"] {
            assert!(bad.parse::<ByteSize>().is_err() && bad.parse::<Span>().is_err(), "{bad}");
        }
        assert_eq!(ByteSize(48 << 20).to_string(), "48MiB");
        assert_eq!(ByteSize(1025).to_string(), "1025B");
    }
}
