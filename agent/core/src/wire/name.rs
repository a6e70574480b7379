//! Names that people give: of fleets, devices, apps, labels, variables.
//!
//! A name becomes a topic level, a file's name and a word on a command line, so it holds nothing
//! that means something there: no `/`, `+`, `#`, no space, and it never starts with a dot or dash.

use alloc::{format, string::String};
use core::{fmt, str::FromStr};
use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;

/// What is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(String);

fn check(text: &str, what: &str, also: &[u8], hint: &str) -> Result<(), BadName> {
    let fits = |c: &u8| c.is_ascii_alphanumeric() || also.contains(c);
    let starts_well = text.as_bytes().first().is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_');
    if text.len() <= NAME_BYTES_MAX && starts_well && text.as_bytes().iter().all(fits) {
        return Ok(());
    }
    Err(BadName(format!(
        "{text:?} is not {what}: use 1 to {NAME_BYTES_MAX} of {hint}, starting with a letter or digit"
    )))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $also:literal, $hint:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;

            fn try_from(text: String) -> Result<Self, BadName> {
                check(&text, $what, $also, $hint)?;
                Ok(Self(text))
            }
        }

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::try_from(String::from(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A fleet: all the boards that share a root of trust.
    FleetName, "a fleet's name", b"-_.", "a-z A-Z 0-9 - _ ."
);
name!(
    /// One board.
    DeviceId, "a device's id", b"-_.", "a-z A-Z 0-9 - _ ."
);
name!(
    /// One app.
    AppName, "an app's name", b"-_.", "a-z A-Z 0-9 - _ ."
);
name!(
    /// The left side of a label, as `site` in `site=kitchen`.
    LabelKey, "a label's key", b"-_.", "a-z A-Z 0-9 - _ ."
);
name!(
    /// The right side of a label, as `kitchen` in `site=kitchen`.
    LabelValue, "a label's value", b"-_.", "a-z A-Z 0-9 - _ ."
);
name!(
    /// A release's version, for people. Boards compare counters, never versions.
    Version, "a version", b"-_.+", "a-z A-Z 0-9 - _ . +"
);
name!(
    /// An environment variable's name.
    EnvName, "an environment variable's name", b"_", "a-z A-Z 0-9 _"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_means_something_elsewhere() {
        for good in ["hello", "a", "Hall-2.1_b", "_x", "0"] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", ".", "..", "-x", "a/b", "a+", "#", "a b", "ä", "a\0", &long] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
        assert!("1.2.0+build".parse::<Version>().is_ok());
        assert!("PATH=".parse::<EnvName>().is_err());
    }
}
