//! What devices report, as JSON: `state` (retained, the whole) and `event` (one thing that happened).
//!
//! Unknown fields are to be ignored by readers: fields may be added, never change their meaning.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

use super::{AppName, DeviceId, Digest, FleetName, SealingKey, Timestamp, Version, plan::Labels};

/// A device as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceState {
    /// The device.
    pub device: DeviceId,
    /// Its fleet.
    pub fleet: FleetName,
    /// Its labels.
    pub labels: Labels,
    /// The agent's own version.
    pub agent: String,
    /// The version of the root in force.
    pub root: u64,
    /// What values are to be sealed to for this device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<SealingKey>,
    /// The plan that it obeys, if it ever accepted one.
    pub plan: Option<PlanState>,
    /// Every app that the plan gives it, or that still runs.
    pub apps: Vec<AppState>,
    /// The last thing that was refused, until a newer plan is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
    /// What its broker does not do for it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub broker: Vec<String>,
    /// What its disk did not take last, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// When this was written.
    pub at: Timestamp,
}

/// The plan that a device obeys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanState {
    /// Its sequence.
    pub sequence: u64,
    /// Its digest.
    pub digest: Digest,
}

/// An app on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppState {
    /// The app.
    pub app: AppName,
    /// The release's digest.
    pub release: Digest,
    /// The release's version, once the release is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// Why it is there, when that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Restarts since it was last well.
    #[serde(default)]
    pub failures: u32,
    /// Ports of the board that lead to it.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// UDP ports of the board that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub udp_ports: Vec<u16>,
    /// What it printed last before its failure, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
    /// Another release that is to replace this one, while this one still runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextState>,
}

/// A release that is to replace the one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextState {
    /// The release's digest.
    pub release: Digest,
    /// How far it is: [`Phase::Fetching`], [`Phase::Starting`]; or [`Phase::Refused`] or
    /// [`Phase::Reverted`], and then it stays away while the plan stays as it is.
    pub phase: Phase,
    /// Why, when that needs saying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it printed last before its failure, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// Where an app is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Its release or its module is on the way.
    Fetching,
    /// Started, and not known to be well yet.
    Starting,
    /// It has replaced another release, is well, and is to stay so for a while.
    Trial,
    /// Running, and well.
    Running,
    /// Put away until somebody connects to it.
    Asleep,
    /// It ended or was not well, and waits for its next start.
    BackingOff,
    /// It ended, and its restart policy leaves it so.
    Finished,
    /// The plan says so.
    Paused,
    /// This device refuses it.
    Refused,
    /// Its trial failed: what was good before it runs.
    Reverted,
}

impl Phase {
    /// Every one, in the order of a life.
    pub const ALL: [Self; 10] = [
        Self::Fetching,
        Self::Starting,
        Self::Trial,
        Self::Running,
        Self::Asleep,
        Self::BackingOff,
        Self::Finished,
        Self::Paused,
        Self::Refused,
        Self::Reverted,
    ];

    /// The word for it, the same as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Starting => "starting",
            Self::Trial => "trial",
            Self::Running => "running",
            Self::Asleep => "asleep",
            Self::BackingOff => "backing-off",
            Self::Finished => "finished",
            Self::Paused => "paused",
            Self::Refused => "refused",
            Self::Reverted => "reverted",
        }
    }
}

/// A refusal, reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The stable code.
    pub code: String,
    /// The sentence.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// One thing that happened on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The device.
    pub device: DeviceId,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    /// A plan was accepted.
    Accepted {
        /// The plan's sequence.
        sequence: u64,
    },
    /// A new root is in force.
    Root {
        /// Its version.
        version: u64,
    },
    /// Something was refused.
    Refused {
        /// The stable code.
        code: String,
        /// The sentence.
        why: String,
    },
    /// An app changed its phase.
    App {
        /// The app.
        app: AppName,
        /// The release's digest.
        release: Digest,
        /// Its new phase.
        phase: Phase,
        /// Why, when that needs saying.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

/// What an app printed, while somebody follows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// When the agent started: lines are numbered from then on.
    pub since: Timestamp,
    /// The lines, oldest first. A number that is missing is a line that was printed too fast.
    pub lines: Vec<Line>,
}

/// A line that an app printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counted from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// What.
    pub text: String,
}
