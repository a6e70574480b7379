//! What a depot says: a line for each thing that happens, for a service's log, or JSON.

use std::{collections::BTreeSet, fmt};

use anyhow::Result;
use dunlin_core::wire::Digest;
use serde::Serialize;

use crate::say;

/// Things that are wanted and not here, and are said once: more than these are not said at all.
const LACKS_MAX: usize = 64;

/// Where it is said.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) json: bool,
    /// What was wanted and is not here, and that was said.
    pub(super) lacks: BTreeSet<Digest>,
}

/// One thing that happened. As JSON it has the field `event`.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Entry {
    /// It begins, with so much.
    Stock { fleet: String, releases: usize, modules: usize },
    /// A broker is there.
    Connected { broker: String, retains: bool },
    /// It is gone.
    Disconnected { why: String },
    /// The broker was given what it had lost.
    Supplied { what: Vec<String> },
    /// Somebody wants what is here, and was not on its way already.
    Wanted { what: String, digest: Digest, chunks: u32, of: u32 },
    /// Somebody wants what is not here.
    Unknown { digest: Digest },
    /// Somebody wants nonsense.
    Refused { why: String },
    /// All that was wanted is sent, and the broker has it.
    Sent { chunks: u64, bytes: u64 },
    /// Something does not go, and the rest does.
    Failed { why: String },
}

impl Journal {
    /// Says it.
    pub(super) fn write(&self, entry: &Entry) -> Result<()> {
        let written = if self.json { say::result(serde_json::to_string(entry)?) } else { say::result(entry) };
        Ok(written?)
    }

    /// Says once that something is not here.
    pub(super) fn unknown(&mut self, digest: Digest) -> Result<()> {
        if self.lacks.len() < LACKS_MAX && self.lacks.insert(digest) {
            return self.write(&Entry::Unknown { digest });
        }
        Ok(())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stock { fleet, releases, modules } => {
                write!(f, "a depot for {fleet}: {releases} releases, {modules} modules")
            }
            Self::Connected { broker, retains: true } => write!(f, "connected to {broker}"),
            Self::Connected { broker, retains: false } => write!(f, "connected to {broker}, which retains nothing"),
            Self::Disconnected { why } => write!(f, "no broker: {why}"),
            Self::Supplied { what } => write!(f, "published again: {}", what.join(", ")),
            Self::Wanted { what, chunks, of, .. } => write!(f, "wanted: {what}, {chunks} of {of} chunks"),
            Self::Unknown { digest } => write!(f, "wanted, and not here: {digest}"),
            Self::Refused { why } => write!(f, "refused: {why}"),
            Self::Sent { chunks, bytes } => write!(f, "sent: {chunks} chunks, {bytes} bytes"),
            Self::Failed { why } => write!(f, "failed: {why}"),
        }
    }
}
