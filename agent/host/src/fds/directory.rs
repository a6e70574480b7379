//! Directories as capabilities: every path is resolved inside one, and none leads out of it.
//!
//! cap-std does the resolving. A path that would leave, by `..`, an absolute name or a symbolic
//! link, is `PermissionDenied`, whoever renames what meanwhile.

use std::io;
use std::path::Path;
use std::sync::Arc;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, FileTypeExt, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::budget::{Budget, Inode, NAME_BYTES, blocks};
use super::file::File;
use crate::quota::Usage;

/// An open directory.
pub(crate) struct Directory {
    /// To look. What changes it goes through the methods here, which count.
    pub(crate) dir: Dir,
    /// What the guest calls it, if it was there at the start.
    pub(crate) name: Option<String>,
    /// Shared with everything that is opened below it.
    budget: Option<Arc<Budget>>,
}

/// How to open what is at a path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Access {
    pub(crate) follow: bool,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) create: bool,
    pub(crate) exclusive: bool,
    pub(crate) truncate: bool,
    pub(crate) directory: bool,
}

/// What was at the path.
pub(crate) enum Opened {
    File(File),
    Directory(Directory),
}

impl Directory {
    /// Opens a directory of the host, with all that it holds. Where a guest may not keep more than so many bytes
    /// in it, they are counted now.
    pub(crate) fn preopen(path: &Path, name: String, bytes_max: Option<u64>, usage: &Arc<Usage>) -> io::Result<Self> {
        // Not `Dir::open_ambient_dir`, whose descriptor can be neither listed nor synced.
        let file = std::fs::File::open(path)?;
        if !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let budget = bytes_max.map(|max| Budget::count(&file, max, usage)).transpose()?.map(Arc::new);
        Ok(Self { dir: Dir::from_std_file(file), name: Some(name), budget })
    }

    /// Opens a file, a device such as `/dev/null`, or a directory. What else a path may name, a FIFO
    /// for example, could block the thread and is `Unsupported`.
    pub(crate) fn open(&self, path: &str, access: Access) -> io::Result<Opened> {
        // Who counts has to know what was there.
        let before = (self.budget.is_some() && (access.create || access.truncate)).then(|| self.look(path, access));
        let created = access.create && matches!(&before, Some(Err(error)) if error.kind() == io::ErrorKind::NotFound);
        let name = if created { NAME_BYTES } else { 0 };
        let file = self.spend(name, || self.dir.open_with(path, &access.options()))?;
        let metadata = file.metadata()?;
        let file_type = metadata.file_type();
        if file_type.is_dir() {
            let dir = Dir::from_std_file(file.into_std());
            Ok(Opened::Directory(Self { dir, name: None, budget: self.budget.clone() }))
        } else if file_type.is_file() || file_type.is_char_device() {
            let before = before.and_then(Result::ok).map(|before| before.len());
            Ok(Opened::File(File::new(file, self.budget.as_ref(), &metadata, before)))
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn look(&self, path: &str, access: Access) -> io::Result<Metadata> {
        if access.follow { self.dir.metadata(path) } else { self.dir.symlink_metadata(path) }
    }

    pub(crate) fn create_dir(&self, path: &str) -> io::Result<()> {
        self.spend(NAME_BYTES, || self.dir.create_dir(path))
    }

    pub(crate) fn symlink(&self, target: &str, link: &str) -> io::Result<()> {
        self.spend(NAME_BYTES + blocks(target.len() as u64), || self.dir.symlink(target, link))
    }

    /// Gives a file one more name.
    pub(crate) fn hard_link(&self, from: impl AsRef<Path>, target: &Self, to: &str) -> io::Result<()> {
        self.shares_with(target)?;
        self.spend(NAME_BYTES, || self.dir.hard_link(from, &target.dir, to))
    }

    pub(crate) fn rename(&self, from: &str, target: &Self, to: &str) -> io::Result<()> {
        self.shares_with(target)?;
        // A slash at its end says that a name is a directory's; on the new name, cap-std lets it pass.
        if to.ends_with('/') && !self.dir.symlink_metadata(from)?.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        let Some(budget) = &self.budget else { return self.dir.rename(from, &target.dir, to) };
        let moved = self.dir.symlink_metadata(from)?;
        let replaced = target.dir.symlink_metadata(to).ok();
        self.dir.rename(from, &target.dir, to)?;
        // Two names of one file stay as they are.
        if let Some(replaced) = replaced.filter(|replaced| Inode::of(replaced) != Inode::of(&moved)) {
            budget.removed(&replaced);
        }
        Ok(())
    }

    pub(crate) fn remove_file(&self, path: &str) -> io::Result<()> {
        let Some(budget) = &self.budget else { return self.dir.remove_file(path) };
        let removed = self.dir.symlink_metadata(path)?;
        self.dir.remove_file(path)?;
        budget.removed(&removed);
        Ok(())
    }

    pub(crate) fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.dir.remove_dir(path)?;
        if let Some(budget) = &self.budget {
            budget.give_back(NAME_BYTES);
        }
        Ok(())
    }

    fn spend<T>(&self, bytes: u64, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match &self.budget {
            Some(budget) => budget.spend(bytes, operation),
            None => operation(),
        }
    }

    /// A file that had names under two budgets would be nobody's: to each other, they are other disks.
    fn shares_with(&self, other: &Self) -> io::Result<()> {
        let shared = match (&self.budget, &other.budget) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if shared { Ok(()) } else { Err(Errno::XDEV.into()) }
    }
}

impl Access {
    fn options(self) -> OpenOptions {
        // A directory is never written to as a file. Creating and truncating need write access
        // on the host even where the guest will have none.
        let write = !self.directory && (self.write || self.create || self.truncate);
        let mut flags = OFlags::NOCTTY;
        if self.append {
            flags |= OFlags::APPEND;
        }
        if self.directory {
            flags |= OFlags::DIRECTORY;
        }
        let mut options = OpenOptions::new();
        options
            .read(self.read || !write)
            .write(write)
            .truncate(self.truncate)
            .create(self.create)
            .create_new(self.create && self.exclusive)
            .custom_flags(flags.bits().cast_signed())
            .follow(if self.follow { FollowSymlinks::Yes } else { FollowSymlinks::No })
            // So that opening a FIFO returns.
            .nonblock(true);
        options
    }
}
