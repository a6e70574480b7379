//! What the fleet's folder has of releases and modules, by digest, as boards ask for it.
//!
//! In memory there is only what describes them; a chunk is read when it is sent, and held against its
//! hash, so that a damaged file gives nothing.

use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt, path::PathBuf};

use anyhow::{Context, Result, ensure};
use dunlin_core::{
    trust,
    wire::{Digest, Envelope, Kind, Module, Topic},
};

use crate::{files, fleet::Fleet};

/// Releases to a board are one chunk.
const ONE_CHUNK: u32 = 1;

/// What is there.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    /// Releases, each with its module's digest.
    pub(crate) releases: BTreeMap<Digest, (Digest, Kept)>,
    pub(crate) modules: BTreeMap<Digest, (Module, Kept)>,
}

/// A file, and what people call what is in it.
#[derive(Debug)]
pub(crate) struct Kept {
    name: String,
    path: PathBuf,
}

impl Stock {
    /// What the fleet's folder has now.
    pub(crate) fn load(fleet: &Fleet) -> Result<Self> {
        let mut stock = Self::default();
        for app in fleet.apps()? {
            for record in fleet.records(&app)? {
                let release = &record.release;
                let name = format!("{} {}", release.app, release.version);
                let path = fleet.release_file(&release.app, &release.version);
                let kept = Kept { name: name.clone(), path };
                stock.releases.insert(record.envelope.digest(), (release.module.sha256, kept));
                let path = fleet.module_file(&release.module.sha256);
                if path.exists() {
                    let kept = Kept { name, path };
                    stock.modules.insert(release.module.sha256, (release.module.clone(), kept));
                }
            }
        }
        Ok(stock)
    }

    /// How many chunks something has; nothing if it is not here.
    pub(crate) fn chunks(&self, digest: &Digest) -> Option<u32> {
        let module = self.modules.get(digest).map(|(module, _)| module.count());
        module.or_else(|| self.releases.contains_key(digest).then_some(ONE_CHUNK))
    }

    /// The module of a release.
    pub(crate) fn module_of(&self, release: &Digest) -> Option<Digest> {
        self.releases.get(release).map(|(module, _)| *module)
    }

    /// What people call it.
    pub(crate) fn name(&self, digest: &Digest) -> String {
        let kept =
            self.modules.get(digest).map(|(_, kept)| kept).or_else(|| self.releases.get(digest).map(|(_, kept)| kept));
        kept.map(|kept| kept.name.clone()).unwrap_or_default()
    }

    /// A chunk of it, checked, and its topic.
    pub(crate) fn read(&self, digest: &Digest, index: u32) -> Result<(Topic, Vec<u8>)> {
        if let Some((module, kept)) = self.modules.get(digest) {
            return Ok((Topic::Blob(*digest, index), chunk(module, kept, index)?));
        }
        let (_, kept) = self.releases.get(digest).context("it is not here any more")?;
        let bytes = files::read(&kept.path)?;
        let envelope = Envelope::decode(&bytes, Kind::Release).with_context(|| kept.path.display().to_string())?;
        ensure!(envelope.digest() == *digest, "{} is another release now", kept.path.display());
        Ok((Topic::Release(*digest), bytes))
    }

    /// It cannot be read.
    pub(crate) fn forget(&mut self, digest: &Digest) {
        self.modules.remove(digest);
        self.releases.remove(digest);
    }
}

fn chunk(module: &Module, kept: &Kept, index: u32) -> Result<Vec<u8>> {
    let path = &kept.path;
    let (offset, length) = module.range(index).with_context(|| format!("{} has no chunk {index}", kept.name))?;
    let mut bytes = vec![0; length];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, offset));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    trust::check_chunk(module, index, &bytes).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(bytes)
}
