//! Every change to the disk, one at a time, so that a test can pull the plug before any of them.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

use crate::Failure;

/// Temporary files begin with this; what a power cut leaves of them is removed at the next start.
pub(super) const TEMPORARY: &str = ".new-";

/// Values of apps are in some files, and keys: they are nobody else's.
const OWNER: u32 = 0o600;

/// What `dunlin import` leaves, as root perhaps, is for the agent to read. The folder keeps others out.
const EVERYBODY: u32 = 0o644;

/// A change that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A file comes to be.
    Create(&'a Path),
    /// So many bytes are written into a file; none where it is cut to its length.
    Write(&'a Path, u64),
    /// What was written into a file is to outlast a power cut.
    Sync(&'a Path),
    /// A file takes another's name, and its place.
    Rename(&'a Path, &'a Path),
    /// The names in a folder are to outlast a power cut.
    SyncFolder(&'a Path),
    /// A file goes.
    Remove(&'a Path),
}

/// A program is its owner's to start, and nobody else's.
const PROGRAM: u32 = 0o700;

/// Bytes copied at a time.
const BUFFER_BYTES: usize = 64 * 1024;

type New = tempfile::NamedTempFile<File>;

type Before = dyn Fn(Change<'_>) -> io::Result<()> + Send + Sync;

/// The disk.
#[derive(Clone, Default)]
pub struct Disk {
    before: Option<Arc<Before>>,
    unlocked: bool,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("watched", &self.before.is_some()).finish()
    }
}

impl Disk {
    /// A disk that asks before each change; an error takes the change's place.
    pub fn watched(before: impl Fn(Change<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { before: Some(Arc::new(before)), unlocked: false }
    }

    /// A disk on which state folders are not locked: for a process of thousands of agents, which gives each its own
    /// folder and has no descriptor to spare for each lock.
    pub fn unlocked() -> Self {
        Self { before: None, unlocked: true }
    }

    /// Whether who opens a state folder is to lock it.
    pub(super) fn is_locked(&self) -> bool {
        !self.unlocked
    }

    /// Puts these bytes in the place of a file, so that a power cut leaves the old ones or the new ones.
    pub fn write_atomically(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        self.replace(path, OWNER, |new| self.write(new, bytes)).map_err(Failure::disk("write", path))
    }

    /// Puts a copy of a file in the place of another, in the same way.
    pub fn copy_atomically(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        self.copy(from, to, EVERYBODY)
    }

    /// The same with a program, which can be started then.
    pub(crate) fn install_atomically(&self, from: &Path, to: &Path) -> Result<(), Failure> {
        self.copy(from, to, PROGRAM)
    }

    fn copy(&self, from: &Path, to: &Path, mode: u32) -> Result<(), Failure> {
        let mut from_file = File::open(from).map_err(Failure::disk("open", from))?;
        let copy = |new: &mut New| {
            let mut buffer = vec![0; BUFFER_BYTES];
            loop {
                match from_file.read(&mut buffer)? {
                    0 => return Ok(()),
                    read => self.write(new, &buffer[..read])?,
                }
            }
        };
        self.replace(to, mode, copy).map_err(Failure::disk("write", to))
    }

    fn replace(&self, path: &Path, mode: u32, fill: impl FnOnce(&mut New) -> io::Result<()>) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::Builder::new().prefix(TEMPORARY).make_in(folder, |path| {
            self.about_to(Change::Create(path))?;
            File::options().read(true).write(true).create_new(true).mode(mode).open(path)
        })?;
        fill(&mut new)?;
        self.sync(new.as_file(), new.path())?;
        self.about_to(Change::Rename(new.path(), path))?;
        new.persist(path)?;
        self.sync_folder(folder)
    }

    fn write(&self, new: &mut New, bytes: &[u8]) -> io::Result<()> {
        self.about_to(Change::Write(new.path(), bytes.len() as u64))?;
        new.as_file_mut().write_all(bytes)
    }

    /// Writes at an offset of an open file.
    pub(super) fn write_at(&self, file: &File, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.about_to(Change::Write(path, bytes.len() as u64))?;
        file.write_all_at(bytes, offset)
    }

    /// Gives an open file its length.
    pub(super) fn cut(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.about_to(Change::Write(path, 0))?;
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
