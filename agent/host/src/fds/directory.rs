//! Directories as capabilities: every path is resolved inside one, and none leads out of it.
//!
//! cap-std does the resolving. A path that would leave, by `..`, an absolute name or a symbolic
//! link, is `PermissionDenied`, whoever renames what meanwhile.

use std::io;
use std::path::Path;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, File, FileTypeExt, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;

/// An open directory.
pub(crate) struct Directory {
    pub(crate) dir: Dir,
    /// What the guest calls it, if it was there at the start.
    pub(crate) name: Option<String>,
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
    /// Opens a directory of the host, with all that it holds.
    pub(crate) fn preopen(path: &Path, name: String) -> io::Result<Self> {
        // Not `Dir::open_ambient_dir`, whose descriptor can be neither listed nor synced.
        let file = std::fs::File::open(path)?;
        if !file.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { dir: Dir::from_std_file(file), name: Some(name) })
    }

    /// Opens a file, a device such as `/dev/null`, or a directory. What else a path may name, a FIFO
    /// for example, could block the thread and is `Unsupported`.
    pub(crate) fn open(&self, path: &str, access: Access) -> io::Result<Opened> {
        let file = self.dir.open_with(path, &access.options())?;
        let file_type = file.metadata()?.file_type();
        if file_type.is_dir() {
            Ok(Opened::Directory(Self { dir: Dir::from_std_file(file.into_std()), name: None }))
        } else if file_type.is_file() || file_type.is_char_device() {
            Ok(Opened::File(file))
        } else {
            Err(io::ErrorKind::Unsupported.into())
        }
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
