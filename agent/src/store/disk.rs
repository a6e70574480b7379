//! Every change to the disk, one at a time, so that a test can pull the plug before any of them.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use crate::Failure;

/// Temporary files begin with this; what a power cut leaves of them is removed at the next start.
pub(super) const TEMPORARY: &str = ".new-";

/// A change that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A file comes to be.
    Create(&'a Path),
    /// Bytes are written into a file, or it is cut to its length.
    Write(&'a Path),
    /// What was written into a file is to outlast a power cut.
    Sync(&'a Path),
    /// A file takes another's name, and its place.
    Rename(&'a Path, &'a Path),
    /// The names in a folder are to outlast a power cut.
    SyncFolder(&'a Path),
    /// A file goes.
    Remove(&'a Path),
}

type Before = dyn Fn(Change<'_>) -> io::Result<()> + Send + Sync;

/// The disk.
#[derive(Clone, Default)]
pub struct Disk {
    before: Option<Arc<Before>>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("watched", &self.before.is_some()).finish()
    }
}

impl Disk {
    /// A disk that asks before each change; an error takes the change's place.
    pub fn watched(before: impl Fn(Change<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { before: Some(Arc::new(before)) }
    }

    /// Puts these bytes in the place of a file, so that a power cut leaves the old ones or the new ones.
    pub fn write_atomically(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let write = || -> io::Result<()> {
            let new = tempfile::Builder::new().prefix(TEMPORARY).make_in(folder, |path| {
                self.about_to(Change::Create(path))?;
                // Values of apps are in some of them, and keys: they are nobody else's.
                File::options().write(true).create_new(true).mode(0o600).open(path)
            })?;
            self.about_to(Change::Write(new.path()))?;
            new.as_file().write_all(bytes)?;
            self.sync(new.as_file(), new.path())?;
            self.about_to(Change::Rename(new.path(), path))?;
            new.persist(path)?;
            self.sync_folder(folder)
        };
        write().map_err(Failure::disk("write", path))
    }

    /// Writes at an offset of an open file.
    pub(super) fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.about_to(Change::Write(path))?;
        file.write_all_at(bytes, offset)
    }

    /// Gives an open file its length.
    pub(super) fn cut(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.about_to(Change::Write(path))?;
        file.set_len(length)
    }

    /// Waits until the disk has all of a file.
    pub(super) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.about_to(Change::Sync(path))?;
        file.sync_all()
    }

    /// Renames a file within its folder, for good.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.about_to(Change::Rename(from, to))?;
        fs::rename(from, to)?;
        self.sync_folder(to.parent().unwrap_or(Path::new(".")))
    }

    /// Removes a file.
    pub fn remove(&self, path: &Path) -> Result<(), Failure> {
        let remove = || {
            self.about_to(Change::Remove(path))?;
            fs::remove_file(path)
        };
        remove().map_err(Failure::disk("remove", path))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.about_to(Change::SyncFolder(folder))?;
        File::open(folder)?.sync_all()
    }

    fn about_to(&self, change: Change<'_>) -> io::Result<()> {
        self.before.as_ref().map_or(Ok(()), |before| before(change))
    }
}
