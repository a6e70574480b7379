//! Files that change all at once.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use crate::Failure;

/// Puts these bytes in the place of a file, so that a power cut leaves the old ones or the new ones.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder)
    };
    write().map_err(Failure::disk("write", path))
}

/// Makes a rename in a folder outlast a power cut.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
