//! What the device keeps: documents and modules, named by their digests, changed all at once.
//!
//! ```text
//! state/lock              held while an agent runs
//!       plan              the envelope in force
//!       roots/<n>         envelopes, from the one after the root that the board was given
//!       releases/<digest> envelopes
//!       last/<app>        what an app last ran well with
//!       good/<app>        which of its releases ran well
//!       trials/<app>      what an app was tried with, and how that ended
//!       blobs/<sha256>    whole modules; <sha256>.part while they are fetched
//!       import/bundle     what `dunlin import` left for the agent
//!       agent/programs    which program the agent is started as; agent/<sha256>, those programs
//! ```
//!
//! A file changes by write, fsync, rename and fsync of its folder: a power cut leaves the old
//! one or the new one. Nothing that is read back is trusted before it was verified again.

mod disk;
mod folder;
mod part;

use std::{
    fs::{self, File},
    ops::Deref,
    path::Path,
};

use dunlin_core::{collect::Garbage, wire::Module};
use rustix::fs::{FlockOperation, flock};

use crate::Failure;
pub use disk::{Change, Disk};
pub use folder::Folder;
use part::part_path;
pub use part::{NotFinished, Part};
pub(crate) use part::{hash, hash_file};

/// The state folder, held by one agent at a time.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    folder: Folder,
    _lock: Option<File>,
}

impl Deref for Store {
    type Target = Folder;

    fn deref(&self) -> &Folder {
        &self.folder
    }
}

impl Store {
    /// Opens or makes the folder, and holds it.
    pub fn open(disk: Disk, dir: &Path) -> Result<Self, Failure> {
        let mut folders = Vec::new();
        const FOLDERS: [&str; 9] = ["", "roots", "releases", "last", "good", "trials", "blobs", "import", "agent"];
        for folder in FOLDERS.map(|name| dir.join(name)) {
            fs::create_dir_all(&folder).map_err(Failure::disk("create", &folder))?;
            folders.push(folder);
        }
        let lock = disk.is_locked().then(|| lock(dir)).transpose()?;
        let store = Self { disk, folder: Folder::at(dir), _lock: lock };
        for folder in folders {
            if let Err(failure) = store.sweep(&folder) {
                // What is half-written is never read.
                tracing::error!("{failure}");
            }
        }
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

    /// Removes what is needed no more. What is left of it after a power cut goes the next time.
    pub fn sweep_out(&self, garbage: &[Garbage]) -> Result<(), Failure> {
        garbage.iter().try_for_each(|garbage| {
            let path = match garbage {
                Garbage::Release(digest) => self.release_path(digest),
                Garbage::Module(digest) => self.module_path(digest),
                Garbage::Part(digest) => part_path(&self.module_path(digest)),
            };
            tracing::debug!("{} is needed no more", path.display());
            self.disk.remove(&path)
        })
    }

    /// A module on its way, with what an earlier attempt left of it.
    pub fn part(&self, module: Module) -> Result<Part, Failure> {
        let path = self.module_path(&module.sha256);
        Part::open(self.disk.clone(), path, module)
    }
}

fn lock(dir: &Path) -> Result<File, Failure> {
    let path = dir.join("lock");
    // On a disk that can't be written (any more) the one of earlier serves as well.
    let lock = File::create(&path).or_else(|error| File::open(&path).map_err(|_| error));
    let lock = lock.map_err(Failure::disk("create", &path))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| Failure::InUse(dir.into()))?;
    Ok(lock)
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
        assert_eq!(left.len(), 10, "no temporary file stays: {left:?}");
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
