//! Listing a directory.

use std::mem::MaybeUninit;

use cap_std::fs::{Dir, MetadataExt};
use rustix::fs::{AtFlags, FileType, RawDir, RawDirEntry, SeekFrom};

use super::stat::filetype;
use super::{Cx, Outcome, Stop, directory};
use crate::fds::Rights;
use crate::state::State;

const DIRENT_BYTES: usize = 24;

/// What the kernel is asked for at once: a few dozen names.
const BATCH_BYTES: usize = 2048;

/// Entries that are listed before the others have their turn: a millisecond of work on a small board.
const AT_ONCE: u64 = 500;
/// What an entry costs: some file systems have to be asked for the type of each.
const ENTRY_FUEL: u64 = 100;

/// Fills the guest's buffer with entries, the last of them cut off where the buffer ends.
///
/// A cookie is the file system's own position, so that nothing is kept between calls, and what is
/// neither created nor removed meanwhile is listed exactly once however the directory changes.
pub(super) fn readdir(cx: &mut Cx<'_>, fd: u32, buf: u32, len: u32, cookie: u64, used: u32) -> Outcome {
    cx.memory.check(used, 4)?;
    let buffer = cx.memory.slice_mut(buf, len)?;
    let State { fds, wait, .. } = &mut *cx.state;
    let dir = &directory(fds, fd, Rights::FD_READDIR)?.dir;
    let own_inode = dir.dir_metadata()?.ino();

    // Where it was when the others had their turn.
    let (mut filled, mut next) = wait.listed.take().unwrap_or((0, cookie));
    rustix::fs::seek(dir, SeekFrom::Start(next))?;
    let mut batch = [MaybeUninit::uninit(); BATCH_BYTES];
    let mut entries = RawDir::new(dir, &mut batch);
    let mut listed = 0;
    while filled < buffer.len() {
        if listed == AT_ONCE {
            wait.listed = Some((filled, next));
            wait.turn = true;
            cx.state.work += AT_ONCE * ENTRY_FUEL;
            return Err(Stop::Wait);
        }
        let Some(entry) = entries.next() else { break };
        let entry = entry?;
        (listed, next) = (listed + 1, entry.next_entry_cookie());
        let name = entry.file_name().to_bytes();
        // A name that is not UTF-8 cannot be said in any other call.
        if std::str::from_utf8(name).is_err() {
            continue;
        }
        // Where ".." of a directory at the top leads is not the guest's business.
        let inode = if name == b".." { own_inode } else { entry.ino() };
        let header = dirent(next, inode, name.len(), number(entry_type(dir, &entry)));
        filled += copy(&header, &mut buffer[filled..]);
        filled += copy(name, &mut buffer[filled..]);
    }
    cx.state.work += listed * ENTRY_FUEL;
    // No more than the buffer's length, which came as 32 bits.
    cx.memory.put_u32(used, filled as u32)?;
    Ok(())
}

fn dirent(next: u64, inode: u64, name_len: usize, filetype: u8) -> [u8; DIRENT_BYTES] {
    let mut bytes = [0; DIRENT_BYTES];
    bytes[0..8].copy_from_slice(&next.to_le_bytes());
    bytes[8..16].copy_from_slice(&inode.to_le_bytes());
    // Names are at most 255 bytes long.
    bytes[16..20].copy_from_slice(&(name_len as u32).to_le_bytes());
    bytes[20] = filetype;
    bytes
}

/// The type of what an entry names.
pub(crate) fn entry_type(dir: &Dir, entry: &RawDirEntry<'_>) -> FileType {
    let mut file_type = entry.file_type();
    if file_type == FileType::Unknown {
        // Some file systems do not tell here.
        file_type = rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode));
    }
    file_type
}

fn number(file_type: FileType) -> u8 {
    match file_type {
        FileType::RegularFile => filetype::REGULAR_FILE,
        FileType::Directory => filetype::DIRECTORY,
        FileType::Symlink => filetype::SYMBOLIC_LINK,
        FileType::CharacterDevice => filetype::CHARACTER_DEVICE,
        FileType::BlockDevice => filetype::BLOCK_DEVICE,
        FileType::Fifo | FileType::Socket | FileType::Unknown => filetype::UNKNOWN,
    }
}

/// Copies as much as fits, and says how much that was.
fn copy(from: &[u8], into: &mut [u8]) -> usize {
    let n = from.len().min(into.len());
    into[..n].copy_from_slice(&from[..n]);
    n
}
