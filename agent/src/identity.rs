//! What only this board has: the key that opens values which were sealed to it.

use std::{fs, io, path::Path};

use dunlin_core::wire::sealed::OpeningKey;

use crate::{Failure, store::Disk};

/// Where the key is in the state folder.
const FOLDER: &str = "identity";
const FILE: &str = "sealing.key";

/// Bytes of the key.
const KEY_BYTES: usize = 32;

/// The board's key. One is made if there is none yet; one that cannot be read is never replaced, because
/// with it would go whatever was sealed to it.
pub fn opening_key(disk: &Disk, state_dir: &Path) -> Result<OpeningKey, Failure> {
    if let Some(key) = known_key(state_dir)? {
        return Ok(key);
    }
    let folder = state_dir.join(FOLDER);
    let path = folder.join(FILE);
    let mut bytes = [0; KEY_BYTES];
    let random = |error: getrandom::Error| Failure::disk("make", &path)(io::Error::other(error.to_string()));
    getrandom::fill(&mut bytes).map_err(random)?;
    fs::create_dir_all(&folder).map_err(Failure::disk("create", &folder))?;
    disk.write_atomically(&path, &bytes)?;
    key(&bytes, &path)
}

/// The board's key, if it has one.
pub fn known_key(state_dir: &Path) -> Result<Option<OpeningKey>, Failure> {
    let path = state_dir.join(FOLDER).join(FILE);
    match fs::read(&path) {
        Ok(bytes) => key(&bytes, &path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::disk("read", &path)(error)),
    }
}

fn key(bytes: &[u8], path: &Path) -> Result<OpeningKey, Failure> {
    let key = <&[u8; KEY_BYTES]>::try_from(bytes).ok().and_then(OpeningKey::new);
    let damaged = || io::Error::other("it is no key: put it back from a copy, or remove it to have a new one made");
    key.ok_or_else(|| Failure::disk("read", path)(damaged()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_board_keeps_its_key_to_itself_and_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let first = opening_key(&Disk::default(), dir.path()).unwrap().public();
        assert_eq!(opening_key(&Disk::default(), dir.path()).unwrap().public(), first);
        let path = dir.path().join("identity/sealing.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"torn").unwrap();
        let error = opening_key(&Disk::default(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("sealing.key"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"torn", "it is not replaced");
    }
}
