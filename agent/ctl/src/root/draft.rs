//! A root that is being made: signed with what is here, and what it lacks until boards take it.

use std::path::PathBuf;

use anyhow::{Result, bail};
use dunlin_core::wire::{Envelope, PublicKey, Root};
use serde::Serialize;

use crate::{
    files::{self, Audience},
    fleet::Fleet,
    keys::Key,
    say, sign,
};

/// Signatures that a root lacks.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lack {
    /// Which root asks for them: the one in force, or the new one itself.
    root: u64,
    /// How many more.
    signatures: usize,
    /// Whose count and are not there.
    keys: Vec<PublicKey>,
}

/// The envelope of a root with the signatures of those of these keys that count for it.
pub(super) fn seal<'a>(current: &Root, next: &Root, keys: impl Iterator<Item = &'a Key>) -> Result<Envelope> {
    let signers: Vec<&Key> = keys.filter(|key| counts(current, next, &key.public())).collect();
    sign::seal(next, &signers)
}

/// Whether a signature by this key is asked for.
pub(super) fn counts(current: &Root, next: &Root, key: &PublicKey) -> bool {
    current.root.keys.contains(key) || next.root.keys.contains(key)
}

/// What a root lacks: *root n is signed by thresholds of root n-1 and of root n*.
pub(super) fn lacks(current: &Root, next: &Root, envelope: &Envelope) -> Vec<Lack> {
    let has = |key: &PublicKey| envelope.signatures.iter().any(|signature| signature.key == *key);
    let asked = [current, next].into_iter().map(|root| {
        let missing: Vec<_> = root.root.keys.iter().filter(|key| !has(key)).copied().collect();
        let there = root.root.keys.len() - missing.len();
        let signatures = usize::from(root.root.threshold).saturating_sub(there);
        Lack { root: root.version, signatures, keys: missing }
    });
    asked.filter(|lack| lack.signatures > 0).collect()
}

/// Where a root waits for signatures.
pub(super) fn file(fleet: &Fleet, version: u64) -> PathBuf {
    fleet.dir.join(format!("root-{version}.draft.dunlin"))
}

/// Holds if no other root waits for signatures: two successors would be a fork.
pub(super) fn check_alone(fleet: &Fleet) -> Result<()> {
    let version = fleet.root().version + 1;
    let path = file(fleet, version);
    if path.exists() {
        let path = path.display();
        bail!("a root {version} waits in {path}: `dunlinctl root publish {path}` first, or remove the file");
    }
    Ok(())
}

/// Writes a root that waits for signatures.
pub(super) fn keep(fleet: &Fleet, version: u64, envelope: &Envelope) -> Result<PathBuf> {
    let path = file(fleet, version);
    files::write_new(&path, &envelope.encode(), Audience::All)?;
    Ok(path)
}

/// Says who must sign, and how.
pub(super) fn explain(path: &std::path::Path, lacks: &[Lack]) -> Result<()> {
    let path = path.display();
    for lack in lacks {
        let (root, count) = (lack.root, lack.signatures);
        say::result(format_args!("  root {root} asks for {count} more signatures by its root keys:"))?;
        for key in &lack.keys {
            say::result(format_args!("    {key}"))?;
        }
    }
    if !lacks.is_empty() {
        say::result("next:")?;
        say::result("  1. take the file to each machine that has such a key, and there:")?;
        say::result(format_args!("       dunlinctl root sign {path} --key KEYFILE"))?;
        say::result("  2. bring it back, and here:")?;
    }
    Ok(say::result(format_args!("       dunlinctl root publish {path}"))?)
}
