//! A module on its way: a file that says by itself what it holds.
//!
//! Every chunk has its hash in the release, so no second file needs to say which chunks are
//! there: after a restart the ones that hash are. A module gets its name only when all of it hashes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use dunlin_core::{
    Refusal,
    trust::{check_chunk, check_module},
    wire::{Bitmap, Digest, Module},
};
use sha2::Digest as _;

use super::Disk;
use crate::Failure;

/// The extension of what is not whole.
pub(super) const PART: &str = "part";

/// Bytes read at a time to hash a file.
const BUFFER_BYTES: usize = 64 * 1024;

/// The file of a module that is being fetched. It is open only while it is read or written: who waits for a chunk
/// holds no descriptor.
#[derive(Debug)]
pub struct Part {
    disk: Disk,
    module: Module,
    whole: PathBuf,
    path: PathBuf,
}

/// Why a module could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum NotFinished {
    /// It does not hash.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl Part {
    pub(super) fn open(disk: Disk, whole: PathBuf, module: Module) -> Result<Self, Failure> {
        let path = part_path(&whole);
        let part = Self { disk, module, whole, path };
        part.file().map(|_| part)
    }

    fn file(&self) -> Result<File, Failure> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path);
        open.map_err(Failure::disk("open", &self.path))
    }

    /// The chunks that are there already: those that hash.
    pub fn present(&self) -> Result<Bitmap, Failure> {
        let mut present = Bitmap::new(self.module.count());
        let file = self.file()?;
        let length = file.metadata().map_err(Failure::disk("look at", &self.path))?.len();
        let mut buffer = Vec::new();
        for index in 0..self.module.count() {
            let Some((offset, bytes)) = self.module.range(index) else { break };
            if offset + bytes as u64 > length {
                break;
            }
            buffer.resize(bytes, 0);
            file.read_exact_at(&mut buffer, offset).map_err(Failure::disk("read", &self.path))?;
            if check_chunk(&self.module, index, &buffer).is_ok() {
                present.set(index);
            }
        }
        Ok(present)
    }

    /// Writes a chunk that was checked.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Failure> {
        self.disk.write_at(&self.file()?, &self.path, offset, bytes).map_err(Failure::disk("write", &self.path))
    }

    /// Gives the module its name, once all of it hashes. Blocks until the disk has it.
    pub fn finish(self) -> Result<(), NotFinished> {
        let file = self.file()?;
        let Self { disk, module, whole, path } = self;
        disk.cut(&file, &path, module.bytes).map_err(Failure::disk("cut", &path))?;
        if let Err(refusal) = check_module(&module, module.bytes, hash_file(&path)?) {
            // Chunks that hash make a whole that hashes, unless the release contradicts itself.
            disk.remove(&path)?;
            return Err(refusal.into());
        }
        disk.sync(&file, &path).map_err(Failure::disk("sync", &path))?;
        disk.rename(&path, &whole).map_err(Failure::disk("rename", &path))?;
        Ok(())
    }
}

/// Where some of a module is kept while it is fetched.
pub(super) fn part_path(whole: &Path) -> PathBuf {
    whole.with_extension(PART)
}

/// The digest of a file.
pub(crate) fn hash_file(path: &Path) -> Result<Digest, Failure> {
    File::open(path).and_then(|mut file| hash(&mut file)).map_err(Failure::disk("read", path))
}

/// The digest of what is read of an open file.
pub(crate) fn hash(file: &mut File) -> io::Result<Digest> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest(hasher.finalize().into())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dunlin_core::Code;
    use std::fs;

    const CHUNK: u32 = 1024;

    fn whole() -> Vec<u8> {
        (0..2500u32).map(|i| (i * i) as u8).collect()
    }

    #[test]
    fn what_an_earlier_attempt_left_is_found_by_its_hashes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, whole) = (dir.path().join("m"), whole());
        let module = Module::describe(&whole, CHUNK);
        let part = Part::open(Disk::default(), path.clone(), module.clone()).unwrap();
        assert_eq!(part.present().unwrap().missing().count(), 3);
        part.write(2048, &whole[2048..]).unwrap();
        part.write(0, &whole[..1000]).unwrap();
        drop(part);
        let part = Part::open(Disk::default(), path.clone(), module.clone()).unwrap();
        assert_eq!(part.present().unwrap().missing().collect::<Vec<_>>(), [0, 1]);
        part.write(0, &whole[..2048]).unwrap();
        part.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert!(!path.with_extension("part").exists());
    }

    #[test]
    fn a_whole_that_does_not_hash_gets_no_name_and_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (path, whole) = (dir.path().join("m"), whole());
        let module = Module { sha256: Digest::of(b"other"), ..Module::describe(&whole, CHUNK) };
        let part = Part::open(Disk::default(), path.clone(), module).unwrap();
        part.write(0, &whole).unwrap();
        match part.finish() {
            Err(NotFinished::Refused(refusal)) => assert_eq!(refusal.code, Code::WrongModule),
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
