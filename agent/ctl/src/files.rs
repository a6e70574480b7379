//! Files of the fleet folder: read with their names in errors, written whole or not at all.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everybody: mode 0644.
    All,
    /// Its owner alone: mode 0600.
    Owner,
}

impl Audience {
    const fn mode(self) -> u32 {
        match self {
            Self::All => 0o644,
            Self::Owner => 0o600,
        }
    }
}

/// Writes a file so that at every moment it is its old self or its new one, whole.
pub(crate) fn write(path: &Path, bytes: &[u8], audience: Audience) -> Result<()> {
    let temporary = temporary(path, bytes, audience).with_context(|| format!("cannot write {}", path.display()))?;
    let renamed = temporary.persist(path).map_err(|e| e.error).and_then(|_| sync_folder(path));
    renamed.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file piece by piece, so that at every moment it is its old self or its new one, whole. Before
/// it takes its name, `check` looks at it.
pub(crate) fn write_checked<T>(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<()>,
    check: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    let context = || format!("cannot write {}", path.display());
    let file = temporary(path, &[], Audience::All).with_context(context)?;
    let mut writer = io::BufWriter::new(file);
    fill(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    let checked = check(file.path())?;
    file.persist(path).map_err(|e| e.error).and_then(|_| sync_folder(path)).with_context(context)?;
    Ok(checked)
}

/// Writes a file that must not be there yet.
pub(crate) fn write_new(path: &Path, bytes: &[u8], audience: Audience) -> Result<()> {
    let temporary = temporary(path, bytes, audience).with_context(|| format!("cannot write {}", path.display()))?;
    match temporary.persist_noclobber(path) {
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already and is not overwritten", path.display())
        }
        renamed => {
            let synced = renamed.map_err(|e| e.error).and_then(|_| sync_folder(path));
            synced.with_context(|| format!("cannot write {}", path.display()))
        }
    }
}

fn temporary(path: &Path, bytes: &[u8], audience: Audience) -> io::Result<tempfile::NamedTempFile> {
    let folder = folder_of(path);
    fs::create_dir_all(&folder)?;
    let permissions = Permissions::from_mode(audience.mode());
    // The mode is there before the first byte is.
    let mut file = tempfile::Builder::new().prefix(".new-").permissions(permissions.clone()).tempfile_in(&folder)?;
    // `open` takes the umask off; the file is to have the mode that is promised.
    file.as_file().set_permissions(permissions)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(folder_of(path))?.sync_all()
}

/// A file's bytes.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A file's text.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// A file's bytes; nothing if there is no such file.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_with_its_mode_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/key");
        write(&path, b"one", Audience::Owner).unwrap();
        write(&path, b"two", Audience::Owner).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let error = write_new(&path, b"three", Audience::All).unwrap_err().to_string();
        assert!(error.contains("key is there already"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
