//! Names that people give: of fleets, devices, apps, labels, variables, directories, hosts.
//!
//! A name becomes a topic level, a file's name and a word on a command line, so it holds nothing
//! that means something there: no `/`, `+`, `#`, no space, and it never starts with a dot or dash.

use alloc::{format, string::String};
use core::{fmt, str::FromStr};
use serde::{Deserialize, Serialize};

use crate::limits::{NAME_BYTES_MAX, REACH_BYTES_MAX};

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

name!(
    /// A directory that a board's owner lets apps use: a guest sees it as `/NAME`.
    MountName, "a directory's name", b"-_.", "a-z A-Z 0-9 - _ ."
);

name!(
    /// What an app publishes or hears: one level of a topic, because some brokers take few.
    TopicName, "a topic's name", b"-_.", "a-z A-Z 0-9 - _ ."
);

/// What the names of the agent's own programs begin with, and no other app's.
const AGENT: &str = "dunlin-";

impl AppName {
    /// What plans call the agent's own program for the boards of this target triple.
    pub fn of_agent(target: &str) -> Result<Self, BadName> {
        format!("{AGENT}{target}").parse()
    }

    /// The target triple of the boards for which this is the agent's own program; nothing if it is an app.
    pub fn agent_target(&self) -> Option<&str> {
        self.0.strip_prefix(AGENT)
    }
}

/// Whom an app connects to: `db.example:5432`, `10.0.0.0/8:1024-2047`, `[::1]:80`, `*:443`.
///
/// Documents and decisions know it as text. It is understood where it is obeyed and, before that,
/// where it is signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reach(String);

impl Reach {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Reach {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_.:/[]*".contains(&c);
        if text.len() <= REACH_BYTES_MAX && text.contains(':') && text.bytes().all(fits) {
            return Ok(Self(text));
        }
        Err(BadName(format!("{text:?} is not HOST:PORT, as in db.example:5432, 10.0.0.0/8:1024-2047 or *:443")))
    }
}

impl FromStr for Reach {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        Self::try_from(String::from(text))
    }
}

impl From<Reach> for String {
    fn from(reach: Reach) -> Self {
        reach.0
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

    #[test]
    fn a_reach_is_a_host_and_ports() {
        for good in ["db.example:5432", "10.0.0.0/8:1024-2047", "[fd00::/8]:*", "*:443"] {
            assert_eq!(good.parse::<Reach>().unwrap().as_str(), good);
        }
        let long = format!("{}:80", "x".repeat(REACH_BYTES_MAX));
        for bad in ["", "host", "a b:80", "ä:80", "a:80\n", "user@host:80", &long] {
            assert!(bad.parse::<Reach>().is_err(), "{bad}");
        }
    }
}
