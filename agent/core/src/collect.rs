//! What on a device's disk nobody needs any more: a pure function of what is needed and what is there.
//!
//! Needed is what the plan orders, what each of its apps was started with last, and what each ran
//! well. What an app ran well before goes only when two successors did: the way back is always there.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use crate::{
    Refusal, limits,
    reconcile::Actual,
    refusal::ensure,
    upgrade::Record,
    wire::{AppName, Assignment, Digest, unseal},
};

/// The releases of an app that ran well on this device, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good(Vec<Proven>);

/// A release that ran well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The release's digest.
    pub release: Digest,
    /// Its module's.
    pub module: Digest,
}

impl Good {
    /// The record that a device wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let good: Self = unseal(bytes, "record of what an app ran well")?;
        let (count, max) = (good.0.len(), limits::GOOD_RELEASES_MAX);
        ensure!(count <= max, Malformed, "{count} releases that ran well, more than the {max} kept");
        Ok(good)
    }

    /// The record after a release ran well; nothing if that is no news.
    pub fn with(&self, proven: Proven) -> Option<Self> {
        if self.0.first() == Some(&proven) {
            return None;
        }
        let earlier = self.0.iter().copied().filter(|earlier| earlier.release != proven.release);
        Some(Self([proven].into_iter().chain(earlier).take(limits::GOOD_RELEASES_MAX).collect()))
    }
}

/// What is on the disk, by digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Releases.
    pub releases: BTreeSet<Digest>,
    /// Whole modules.
    pub modules: BTreeSet<Digest>,
    /// Modules of which some is there.
    pub parts: BTreeSet<Digest>,
}

/// What is needed no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// A release.
    Release(Digest),
    /// A whole module.
    Module(Digest),
    /// Some of a module.
    Part(Digest),
}

/// What may be removed on a device with these assignments.
///
/// As long as it is not known which module a needed release has, no module is garbage.
pub fn collect(
    assignments: &[&Assignment],
    actual: &Actual,
    good: &BTreeMap<AppName, Good>,
    stored: &Stored,
) -> Vec<Garbage> {
    let apps: BTreeSet<_> = assignments.iter().map(|assignment| &assignment.app).collect();
    let good = || apps.iter().filter_map(|app| good.get(*app)).flat_map(|good| &good.0);
    let last = apps.iter().filter_map(|app| actual.last.get(*app)).map(|last| last.order.digest);
    let running = actual.apps.values().map(|ran| ran.release);
    let must: BTreeSet<_> = assignments.iter().map(|a| a.release.digest).chain(last).chain(running).collect();
    // Which the agent's own programs are held against when they are started.
    let own = actual.own.iter().filter_map(|own| own.record.as_ref()).flat_map(Record::releases);
    let releases: BTreeSet<_> = must.iter().copied().chain(good().map(|proven| proven.release)).chain(own).collect();
    let gone = stored.releases.difference(&releases).copied().map(Garbage::Release);
    if !must.iter().all(|release| actual.releases.contains_key(release)) {
        return gone.collect();
    }
    let held = must.iter().filter_map(|release| actual.releases.get(release)).map(|release| release.module.sha256);
    let modules: BTreeSet<_> = held.chain(good().map(|proven| proven.module)).collect();
    let whole = stored.modules.difference(&modules).copied().map(Garbage::Module);
    let parts = stored.parts.iter().filter(|part| !modules.contains(part) || stored.modules.contains(part));
    gone.chain(whole).chain(parts.copied().map(Garbage::Part)).collect()
}
