//! A disk whose power is cut: what was not synced may be lost, a rename happens or doesn't.

use std::collections::BTreeMap;

use crate::common::seeded::Chance;

/// The power is gone: nothing more happens on this board before its next start.
#[derive(Debug)]
pub(crate) struct PowerCut;

#[derive(Default)]
pub(crate) struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes that were written in place and not synced: file, offset, length.
    unsynced: Vec<(String, usize, usize)>,
    /// How likely each change is the last one, in a hundred.
    pub(crate) cuts: u64,
}

impl Disk {
    pub(crate) fn read(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    /// Write, sync, rename, sync of the folder: the old bytes or the new ones.
    pub(crate) fn write_atomically(&mut self, name: &str, bytes: &[u8], chance: &mut Chance) -> Result<(), PowerCut> {
        let cut = chance.percent(self.cuts);
        if !cut || chance.percent(50) {
            self.files.insert(name.into(), bytes.into());
        }
        if cut { Err(PowerCut) } else { Ok(()) }
    }

    /// Writes in place, unsynced.
    pub(crate) fn write_at(
        &mut self,
        name: &str,
        offset: usize,
        bytes: &[u8],
        chance: &mut Chance,
    ) -> Result<(), PowerCut> {
        let file = self.files.entry(name.into()).or_default();
        file.resize(file.len().max(offset + bytes.len()), 0);
        file[offset..][..bytes.len()].copy_from_slice(bytes);
        self.unsynced.push((name.into(), offset, bytes.len()));
        if chance.percent(self.cuts) { Err(PowerCut) } else { Ok(()) }
    }

    /// Syncs a file and gives it another name.
    pub(crate) fn finish(&mut self, from: &str, to: &str, chance: &mut Chance) -> Result<(), PowerCut> {
        if chance.percent(self.cuts) {
            return Err(PowerCut);
        }
        self.unsynced.retain(|(name, ..)| name != from);
        let bytes = self.files.remove(from).unwrap();
        self.files.insert(to.into(), bytes);
        if chance.percent(self.cuts) { Err(PowerCut) } else { Ok(()) }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// What is left of it when the power is back.
    pub(crate) fn after_cut(&mut self, chance: &mut Chance) {
        for (name, offset, length) in std::mem::take(&mut self.unsynced) {
            if let Some(file) = self.files.get_mut(&name)
                && chance.percent(50)
            {
                file[offset..][..length].fill(0);
            }
        }
    }
}
