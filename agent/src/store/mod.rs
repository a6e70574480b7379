//! What the device keeps: documents and modules, named by their digests, changed all at once.
//!
//! ```text
//! state/lock              held while an agent runs
//!       plan              the envelope in force
//!       roots/<n>         envelopes, from the one after the root that the board was given
//!       releases/<digest> envelopes
//!       last/<app>        what an app last ran well with
//!       trials/<app>      what an app was tried with, and how that ended
//!       blobs/<sha256>    whole modules; <sha256>.part while they are fetched
//! ```
//!
//! A file changes by write, fsync, rename and fsync of its folder: a power cut leaves the old
//! one or the new one. Nothing that is read back is trusted before it was verified again.

mod disk;
mod part;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use dunlin_core::{
    limits,
    wire::{AppName, Digest, Module},
};
use rustix::fs::{FlockOperation, flock};

use crate::Failure;
pub use disk::{Change, Disk};
pub use part::{NotFinished, Part};

/// The state folder, held by one agent at a time.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    dir: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens or makes the folder, and holds it.
    pub fn open(disk: Disk, dir: &Path) -> Result<Self, Failure> {
        let mut folders = Vec::new();
        for folder in ["", "roots", "releases", "last", "trials", "blobs"].map(|name| dir.join(name)) {
            fs::create_dir_all(&folder).map_err(Failure::disk("create", &folder))?;
            folders.push(folder);
        }
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(Failure::disk("create", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| Failure::InUse(dir.into()))?;
        let store = Self { disk, dir: dir.into(), _lock: lock };
        folders.iter().try_for_each(|folder| store.sweep(folder))?;
        Ok(store)
    }

    /// Removes what a power cut left half-written.
    fn sweep(&self, folder: &Path) -> Result<(), Failure> {
        let entries = fs::read_dir(folder).map_err(Failure::disk("list", folder))?;
        for entry in entries {
            let entry = entry.map_err(Failure::disk("list", folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(disk::TEMPORARY.as_bytes()) {
                self.disk.remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// The disk that all changes go through.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The envelope of the plan in force.
    pub fn plan(&self) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.plan_path())
    }

    /// Where the plan is kept.
    pub fn plan_path(&self) -> PathBuf {
        self.dir.join("plan")
    }

    /// The envelope of a root.
    pub fn root(&self, version: u64) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.root_path(version))
    }

    /// Where a root is kept.
    pub fn root_path(&self, version: u64) -> PathBuf {
        self.dir.join("roots").join(version.to_string())
    }

    /// The envelope of a release.
    pub fn release(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.release_path(digest))
    }

    /// Where a release is kept.
    pub fn release_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("releases").join(digest.to_string())
    }

    /// What an app last ran well with.
    pub fn last(&self, app: &AppName) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.last_path(app))
    }

    /// Where that is kept.
    pub fn last_path(&self, app: &AppName) -> PathBuf {
        self.dir.join("last").join(app.as_str())
    }

    /// The last trial of an app that was not passed.
    pub fn trial(&self, app: &AppName) -> Result<Option<Vec<u8>>, Failure> {
        read(&self.trial_path(app))
    }

    /// Where that is kept.
    pub fn trial_path(&self, app: &AppName) -> PathBuf {
        self.dir.join("trials").join(app.as_str())
    }

    /// Whether a module was stored whole. It is hashed again before it is run.
    pub fn has_module(&self, digest: &Digest) -> bool {
        self.module_path(digest).exists()
    }

    /// Where a module is kept.
    pub fn module_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.to_string())
    }

    /// A module on its way, with what an earlier attempt left of it.
    pub fn part(&self, module: Module) -> Result<Part, Failure> {
        let path = self.module_path(&module.sha256);
        Part::open(self.disk.clone(), path, module)
    }
}

/// A document's bytes; a file longer than any document is cut short, and then does not verify.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    use io::Read;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::disk("open", path)(error)),
    };
    let mut bytes = Vec::new();
    let limit = limits::ENVELOPE_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(Failure::disk("read", path))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Result<Store, Failure> {
        Store::open(Disk::default(), dir)
    }

    #[test]
    fn one_agent_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap();
        assert!(matches!(open(dir.path()), Err(Failure::InUse(_))));
        drop(store);
        open(dir.path()).unwrap();
    }

    #[test]
    fn what_was_written_is_read_and_nothing_is_not_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).unwrap();
        assert_eq!(store.plan().unwrap(), None);
        store.disk().write_atomically(&store.plan_path(), b"old").unwrap();
        store.disk().write_atomically(&store.plan_path(), b"new").unwrap();
        assert_eq!(store.plan().unwrap().as_deref(), Some(&b"new"[..]));
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 7, "no temporary file stays: {left:?}");
    }

    #[test]
    fn what_a_power_cut_left_half_written_is_swept_away() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let [half, whole] = [".new-x", "x"].map(|name| dir.path().join("releases").join(name));
        fs::write(&half, b"h").unwrap();
        fs::write(&whole, b"w").unwrap();
        drop(open(dir.path()).unwrap());
        assert!(!half.exists() && whole.exists());
    }
}
