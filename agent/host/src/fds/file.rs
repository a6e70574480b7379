//! Open files. What makes one larger is held against the budget of the directory that it was opened below.

use std::cell::Cell;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use cap_std::fs::{Metadata, MetadataExt};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::budget::{BLOCK_BYTES, Budget, Inode, blocks};

/// An open file, or a device.
pub(crate) struct File {
    file: cap_std::fs::File,
    held: Option<Held>,
}

/// How a file is held against a budget. Where it is and how long it is are remembered: asking the kernel at each
/// write would cost as much as a third of the write.
struct Held {
    budget: Arc<Budget>,
    inode: Inode,
    position: Cell<u64>,
}

/// Where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the file is at, which moves.
    Position,
    At(u64),
}

impl File {
    /// A file that was this long before it was opened, if that may have cut it.
    pub(super) fn new(
        file: cap_std::fs::File,
        budget: Option<&Arc<Budget>>,
        metadata: &Metadata,
        before: Option<u64>,
    ) -> Self {
        // What is written to a device takes no room.
        let held = budget.filter(|_| metadata.is_file()).map(|budget| {
            let inode = Inode::of(metadata);
            budget.opened(inode, before, metadata.len());
            Held { budget: Arc::clone(budget), inode, position: Cell::new(0) }
        });
        Self { file, held }
    }

    /// Another descriptor of the same file, which shares its position.
    #[cfg(feature = "components")]
    pub(crate) fn duplicate(&self) -> io::Result<Self> {
        let file = self.file.try_clone()?;
        let held = self.held.as_ref().map(|Held { budget, inode, position }| {
            let len = budget.len(*inode);
            budget.opened(*inode, None, len);
            Held { budget: Arc::clone(budget), inode: *inode, position: position.clone() }
        });
        Ok(Self { file, held })
    }

    pub(crate) fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let n = (&self.file).read(into)?;
        if let Some(held) = &self.held {
            held.position.set(held.position.get() + n as u64);
        }
        Ok(n)
    }

    pub(crate) fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        let position = (&self.file).seek(to)?;
        if let Some(held) = &self.held {
            held.position.set(position);
        }
        Ok(position)
    }

    /// Writes all of it, or as much as there is room for. What is set to append does so wherever it is
    /// told to write: Linux has it so.
    pub(crate) fn write(&self, from: &[IoSlice<'_>], place: Place, appends: bool) -> io::Result<usize> {
        let Some(Held { budget, inode, position }) = &self.held else { return self.put(from, place) };
        let len = budget.len(*inode);
        let start = match place {
            _ if appends => len,
            Place::Position => position.get(),
            Place::At(offset) => offset,
        };
        let wanted = from.iter().map(|slice| slice.len() as u64).sum::<u64>();
        // Everything up to there is paid for, or can be.
        let end_max = blocks(len).saturating_add(budget.room() / BLOCK_BYTES * BLOCK_BYTES);
        let fits = end_max.saturating_sub(start);
        if fits == 0 && wanted > 0 {
            return Err(Errno::DQUOT.into());
        }
        let n = if wanted <= fits { self.put(from, place)? } else { self.put(&first(from, fits as usize), place)? };
        let end = start + n as u64;
        if place == Place::Position {
            position.set(end);
        }
        if n > 0 {
            budget.resized(*inode, len.max(end));
        }
        Ok(n)
    }

    fn put(&self, from: &[IoSlice<'_>], place: Place) -> io::Result<usize> {
        match place {
            Place::Position => (&self.file).write_vectored(from),
            Place::At(offset) => Ok(rustix::io::pwritev(&self.file, from, offset)?),
        }
    }

    pub(crate) fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(|_| len, || self.file.set_len(len))
    }

    /// Makes sure that there is room on the disk for these bytes.
    pub(crate) fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len);
        let allocate = || Ok(rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len)?);
        self.resize(|before| before.max(end), allocate)
    }

    fn resize(&self, after: impl FnOnce(u64) -> u64, operation: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let Some(Held { budget, inode, .. }) = &self.held else { return operation() };
        let before = budget.len(*inode);
        let after = after(before);
        if blocks(after).saturating_sub(blocks(before)) > budget.room() {
            return Err(Errno::DQUOT.into());
        }
        operation()?;
        budget.resized(*inode, after);
        Ok(())
    }
}

/// The first so many bytes.
fn first<'a>(from: &'a [IoSlice<'_>], mut len: usize) -> Vec<IoSlice<'a>> {
    let mut slices = Vec::with_capacity(from.len());
    for slice in from {
        let n = slice.len().min(len);
        slices.push(IoSlice::new(&slice[..n]));
        len -= n;
    }
    slices
}

impl Deref for File {
    type Target = cap_std::fs::File;

    fn deref(&self) -> &cap_std::fs::File {
        &self.file
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(Held { budget, inode, .. }) = &self.held {
            budget.closed(*inode, || self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0));
        }
    }
}
